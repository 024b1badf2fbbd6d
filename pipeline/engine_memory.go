package pipeline

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
)

// budget says how much of --memory the parts of one task may hold. A quarter is for what
// tasks sort, in equal shares for those that run at the same time; a quarter, under memory, for
// groups of records and what else tasks must hold at once; the rest is for documents on their
// way, readers, writers and the garbage collector's slack.
type budget struct {
	exchange int64 // a pass: the records that it sends
	sorter   int64 // a barrier or artifact: each of up to two sorters
	merging  int64 // and twice: the buffers of a merge, the decisions
}

func (t *Task) budget() budget {
	share := t.MemoryBytes / 4
	if n := t.node; n.shard >= 0 || n.reduces { // others run alone
		share /= int64(t.run.tasksMax())
	}
	return budget{exchange: share, sorter: 3 * share / 8, merging: share / 8}
}

// taskBytes is the default of [Options].TaskBytes: measured for passes over JSON lines.
const taskBytes = 16 << 20

// tasksMax is how many tasks run at a time.
func (r *run) tasksMax() int {
	room := r.opt.MemoryBytes / 2 / cmp.Or(r.opt.TaskBytes, taskBytes)
	return int(max(1, min(int64(r.opt.Workers), room)))
}

// memory is the run's budget for what its tasks hold beside sorters, which they all share.
type memory struct {
	limit int64
	used  atomic.Int64
}

// accountBytes is how much a task takes at a time, where that much is there.
const accountBytes = 64 << 10

// account is what one task holds of the run's memory; spare is not in use yet.
type account struct {
	of          *memory
	held, spare int64
}

// take asks for more. A [*BudgetError] says that it is not there.
func (a *account) take(bytes int64) error {
	if a.spare >= bytes {
		a.spare -= bytes
		return nil
	}
	bytes -= a.spare
	a.spare = 0
	if more := max(bytes, accountBytes); a.reserve(more) {
		a.spare = more - bytes
		return nil
	}
	if a.reserve(bytes) {
		return nil
	}
	return &BudgetError{What: "records of one key", others: a.of.used.Load() > a.held}
}

func (a *account) reserve(bytes int64) bool {
	if a.of.used.Add(bytes) > a.of.limit {
		a.of.used.Add(-bytes)
		return false
	}
	a.held += bytes
	return true
}

// Hold takes so many more bytes of the run's memory for what the task holds beside sorters,
// until it ends. A [*BudgetError] says that they are not there.
func (t *Task) Hold(bytes int64) error {
	err := t.held.take(bytes)
	var budget *BudgetError
	if errors.As(err, &budget) {
		budget.What = "documents held at once"
	}
	return err
}

// release gives back all that was taken.
func (a *account) release() {
	a.of.used.Add(-a.held)
	a.held, a.spare = 0, 0
}

// attempt carries a node out. If memory ran short because of what other tasks held, it
// waits for them to end and is carried out again, alone: whether a run fits into its
// budget does not depend on the number of workers.
func (r *run) attempt(ctx context.Context, n *node) (*TaskReport, error) {
	r.alone.RLock()
	report, err := n.execute(ctx)
	r.alone.RUnlock()
	var budget *BudgetError
	if !errors.As(err, &budget) || !budget.others {
		return report, err
	}
	r.alone.Lock()
	defer r.alone.Unlock()
	return n.execute(ctx)
}
