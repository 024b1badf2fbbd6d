package pipeline

import (
	"context"
	"errors"
	"sync/atomic"
)

// memory is the run's budget for exchange records, which all its tasks share.
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
	return &BudgetError{What: "exchange records", others: a.of.used.Load() > a.held}
}

func (a *account) reserve(bytes int64) bool {
	if a.of.used.Add(bytes) > a.of.limit {
		a.of.used.Add(-bytes)
		return false
	}
	a.held += bytes
	return true
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
