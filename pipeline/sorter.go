package pipeline

import (
	"path/filepath"
	"strconv"

	"bzdata/pipeline/spill"
	"bzdata/pipeline/store"
)

// spillName is the folder below a task's own in which its temporary files are.
const spillName = store.TempPrefix + "spill"

// SpillOptions lets an algorithm sort within so many bytes of the task's budget. What it leaves
// is cleared away when the task ends.
func (t *Task) SpillOptions(bytes int64) spill.Options { return t.spillOptions(bytes) }

// spillOptions lets something of the task's sort within so many bytes, in a folder of its own.
func (t *Task) spillOptions(bytes int64) spill.Options {
	return spill.Options{FS: t.FS, Dir: t.spillDir(), Bytes: bytes, Check: t.check}
}

// spillDir names a new folder for temporary files, which whoever writes the first one makes.
func (t *Task) spillDir() string {
	return filepath.Join(t.dir, spillName, strconv.FormatInt(t.spills.Add(1), 10))
}

// removeSpills removes the task's temporary files.
func (t *Task) removeSpills() error {
	if t.spills.Load() == 0 {
		return nil
	}
	return store.RemoveAll(t.FS, filepath.Join(t.dir, spillName))
}

// Sorter sorts records of a task: it holds what fits into its part of the task's memory
// budget and spills the rest into the task's temporary folder. It is made by [Task.Sorter] and
// used by one goroutine at a time.
type Sorter struct {
	sorter *spill.Sorter
	task   *Task
}

// Sorter returns an empty sorter. A task should have no more than two in use at a time: the
// budget allows for that. What they leave is cleared away when the task ends.
func (t *Task) Sorter() *Sorter {
	return &Sorter{spill.NewSorter(t.spillOptions(t.budget().sorter)), t}
}

// Add adds a record, whose payload is copied. It must not be called after Each or Groups.
func (s *Sorter) Add(r Record) error {
	x := r.spilled()
	return s.sorter.Add(&x)
}

// Len is the number of records added.
func (s *Sorter) Len() uint64 { return s.sorter.Len() }

// Each calls visit with every record added, sorted by (key, payload, document). The payload
// is valid until visit returns. Each may be called again.
func (s *Sorter) Each(visit func(r Record) error) error {
	return s.sorter.Each(func(r *spill.Record) error { return visit(recordOf(r)) })
}

// Groups calls visit with each run of records of equal key, in order, as [Partition.Groups]
// does.
func (s *Sorter) Groups(visit func(group []Record) error) error {
	return groups(s.task.held, s.Each, visit)
}

// Close gives memory and files back before the task ends. The sorter is not used after it.
func (s *Sorter) Close() error { return s.sorter.Close() }
