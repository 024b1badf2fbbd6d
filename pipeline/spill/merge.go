package spill

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// Merged are sorted parts of files, read as one.
type Merged struct {
	opt   Options
	parts []Part
	made  []string // temporary files, by number; "" once removed
	begun int      // number of temporary files ever made
	lines *memory  // records beside the files, sorted; or nil
	total uint64
}

// NewMerged returns the records of some parts, which must be sorted each. Nothing is read yet.
func NewMerged(opt Options, parts []Part) *Merged { return &Merged{opt: opt, parts: parts} }

// Each calls visit with every record, in order. The record and its payload are valid until
// visit returns. Each may be called again.
func (m *Merged) Each(visit func(r *Record) error) error {
	if err := m.narrow(); err != nil {
		return err
	}
	return m.merge(m.parts, m.lines, visit)
}

// Total is the number of records. It is known once Each has called visit.
func (m *Merged) Total() uint64 { return m.total }

// narrow merges groups of parts into temporary files until the fan-in holds for the rest.
func (m *Merged) narrow() error {
	most := m.opt.fanIn()
	for len(m.parts) > most {
		group := m.parts[:min(most, len(m.parts)-most+1)]
		run, err := m.run(func(w *Writer) error {
			return m.merge(group, nil, func(r *Record) error { return w.Write(0, r) })
		})
		if err != nil {
			return err
		}
		if err := m.remove(group); err != nil {
			return err
		}
		m.parts = append(m.parts[len(group):len(m.parts):len(m.parts)], run)
	}
	return nil
}

// run writes a temporary file of one part.
func (m *Merged) run(write func(w *Writer) error) (Part, error) {
	fsys := m.opt.FS
	if m.begun == 0 {
		if err := fsys.MkdirAll(m.opt.Dir); err != nil {
			return Part{}, err
		}
	}
	name := filepath.Join(m.opt.Dir, fmt.Sprintf("run-%06d", m.begun))
	m.begun++
	f, err := fsys.Create(name)
	if err != nil {
		return Part{}, err
	}
	m.made = append(m.made, name)
	w := NewWriter(f, 1)
	w.check = m.opt.check
	if err := errors.Join(write(w), w.Close(), f.Close()); err != nil {
		return Part{}, err
	}
	return Part{Name: name}, nil
}

// remove removes the temporary files among some parts.
func (m *Merged) remove(parts []Part) error {
	gone := map[string]bool{}
	for _, p := range parts {
		gone[p.Name] = true
	}
	kept := m.made[:0]
	for _, name := range m.made {
		if !gone[name] {
			kept = append(kept, name)
			continue
		}
		if err := m.opt.FS.Remove(name); err != nil {
			return err
		}
	}
	m.made = kept
	return nil
}

// Close removes the temporary files.
func (m *Merged) Close() error {
	m.lines = nil
	made := make([]Part, len(m.made))
	for i, name := range m.made {
		made[i] = Part{Name: name}
	}
	m.parts = nil
	return m.remove(made)
}

// source gives sorted records.
type source interface {
	Next(r *Record) error
}

// merge merges parts and what is in memory.
func (m *Merged) merge(parts []Part, lines *memory, visit func(r *Record) error) (err error) {
	m.total = 0
	var sources []source
	for _, p := range parts {
		r, openErr := OpenPart(m.opt.FS, p)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		r.check = m.opt.check
		m.total += r.Records()
		sources = append(sources, r)
	}
	if lines != nil {
		m.total += uint64(len(lines.entries))
		sources = append(sources, &memorySource{memory: lines})
	}
	if len(sources) == 1 {
		return each(sources[0], visit)
	}
	t, err := newTree(sources)
	if err != nil {
		return err
	}
	for len(t.heads) > 0 && !t.done[t.losers[0]] {
		first := t.losers[0]
		if err := visit(&t.heads[first]); err != nil {
			return err
		}
		if err := t.advance(first); err != nil {
			return err
		}
	}
	return nil
}

// each calls visit with every record of one source.
func each(s source, visit func(r *Record) error) error {
	var r Record
	for {
		switch err := s.Next(&r); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		if err := visit(&r); err != nil {
			return err
		}
	}
}

// tree is a tournament of sources, in which the least record wins: at each inner node stands
// the loser of its match (Knuth, volume 3, section 5.4.1). Node i has the children 2i and
// 2i+1; the leaf of source i is len(sources)+i.
type tree struct {
	sources []source
	heads   []Record // of the sources
	done    []bool
	losers  []int // by node; at 0 the winner; -1 is nobody yet, who wins
}

func newTree(sources []source) (*tree, error) {
	n := len(sources)
	t := &tree{sources, make([]Record, n), make([]bool, n), make([]int, n)}
	for i := range t.losers {
		t.losers[i] = -1
	}
	for i := n - 1; i >= 0; i-- {
		if err := t.advance(i); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// advance reads the next record of a source and plays its matches again.
func (t *tree) advance(i int) error {
	switch err := t.sources[i].Next(&t.heads[i]); err {
	case nil:
	case io.EOF:
		t.done[i] = true
	default:
		return err
	}
	for node := (i + len(t.losers)) / 2; node > 0; node /= 2 {
		if t.before(t.losers[node], i) {
			t.losers[node], i = i, t.losers[node]
		}
	}
	t.losers[0] = i
	return nil
}

// before reports whether source a wins over source b.
func (t *tree) before(a, b int) bool {
	switch {
	case a < 0 || b < 0:
		return a < 0 && b >= 0
	case t.done[a] || t.done[b]:
		return !t.done[a]
	case t.heads[a].Key != t.heads[b].Key:
		return t.heads[a].Key < t.heads[b].Key
	}
	return Compare(&t.heads[a], &t.heads[b]) < 0
}
