package spill

// Sorter sorts records. It is used by one goroutine.
type Sorter struct {
	runs Merged
	mem  *memory
	read bool
	n    uint64
}

// NewSorter returns an empty sorter.
func NewSorter(opt Options) *Sorter {
	return &Sorter{runs: Merged{opt: opt}, mem: newMemory(opt.Bytes)}
}

// Add adds a record, whose payload is copied. It must not be called after [Sorter.Each].
func (s *Sorter) Add(r *Record) error {
	if s.read {
		panic("spill: Add after Each")
	}
	s.n++
	if s.mem.add(r) {
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.mem.add(r) // the first always fits
	return nil
}

// spill writes what is in memory to a run.
func (s *Sorter) spill() error {
	s.mem.sort()
	run, err := s.runs.run(func(w *Writer) error {
		for _, e := range s.mem.entries {
			r := s.mem.record(e)
			if err := w.Write(0, &r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mem.reset()
	s.runs.parts = append(s.runs.parts, run)
	return nil
}

// Len is the number of records added.
func (s *Sorter) Len() uint64 { return s.n }

// Runs is the number of temporary files made so far.
func (s *Sorter) Runs() int { return s.runs.begun }

// Each calls visit with every record, in order. The record and its payload are valid until
// visit returns. Each may be called again.
func (s *Sorter) Each(visit func(r *Record) error) error {
	if !s.read {
		if err := s.end(); err != nil {
			return err
		}
	}
	return s.runs.Each(visit)
}

// end ends the adding. Where runs must be merged, their buffers take the memory of the
// records, which go to a last run.
func (s *Sorter) end() error {
	s.read = true
	if len(s.runs.parts) == 0 {
		s.mem.sort()
		s.runs.lines = s.mem
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.mem = nil
	return nil
}

// Close removes the temporary files and gives the memory back.
func (s *Sorter) Close() error {
	s.mem, s.read = nil, true
	return s.runs.Close()
}
