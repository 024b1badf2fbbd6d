package pipeline

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"bzdata/pipeline/store"
)

// progressEvery is how often a wave of document tasks tells how far it is.
const progressEvery = 250 * time.Millisecond

// pace is how far the tasks of a wave are, taken together: passes are counted in bytes of
// the input files that their documents come from, reduce tasks in parts.
type pace struct {
	mu          sync.Mutex
	done, total float64
	unit        string
	told        time.Time
}

// weigh gives a wave's nodes their shares of one pace.
func (w *wave) weigh() {
	p := &pace{unit: "bytes"}
	for _, n := range w.nodes {
		switch {
		case n.shard >= 0:
			n.weight = float64(n.bytes)
		case n.reduces:
			n.weight, p.unit = 1, "parts"
		default:
			continue // it tells its progress itself, if at all
		}
		n.pace, p.total = p, p.total+n.weight
	}
}

// advance notes that a node has done this part of its work, from 0 to 1, and tells it now
// and then.
func (n *node) advance(part float64) {
	p := n.pace
	if p == nil {
		return
	}
	now := time.Now()
	p.mu.Lock()
	p.done += (min(part, 1) - n.advanced) * n.weight
	n.advanced = min(part, 1)
	tell := now.Sub(p.told) >= progressEvery
	if tell {
		p.told = now
	}
	done, total := p.done, p.total
	p.mu.Unlock()
	if tell {
		if p.unit == "bytes" {
			done = math.Round(done)
		}
		n.run.progress(n, done, total, p.unit)
	}
}

// skip takes a node that need not run out of its wave's pace.
func (n *node) skip() {
	if n.pace != nil {
		n.pace.mu.Lock()
		n.pace.total -= n.weight
		n.pace.mu.Unlock()
	}
}

// meteredFS counts the bytes that are read, from which a pass knows how far it is in a file
// of any format.
type meteredFS struct {
	store.FS
	read *atomic.Int64
}

// Open opens a file whose bytes are counted.
func (m meteredFS) Open(name string) (store.ReadFile, error) {
	f, err := m.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return meteredFile{f, m.read}, nil
}

type meteredFile struct {
	store.ReadFile
	read *atomic.Int64
}

func (f meteredFile) Read(p []byte) (int, error) {
	n, err := f.ReadFile.Read(p)
	f.read.Add(int64(n))
	return n, err
}

func (f meteredFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.ReadFile.ReadAt(p, at)
	f.read.Add(int64(n))
	return n, err
}

// metered is a file system for a pass's reading of one file, and a visit that tells how
// much of the file's bytes are read.
func metered(t *Task, fsys store.FS, bytes int64, visit func(d *Doc) error) (store.FS, func(d *Doc) error) {
	read, told := new(atomic.Int64), int64(0)
	return meteredFS{fsys, read}, func(d *Doc) error {
		if now := read.Load(); now != told && bytes > 0 {
			told = now
			t.node.advance(float64(now) / float64(bytes))
		}
		return visit(d)
	}
}
