package pipeline

import (
	"errors"
	"io"
	"sync"
)

// Warm is what the stages of one process keep in memory from one run to the next, such as the weights
// of a base model: see [Options].Warm. All of it can be read again from the files that it was read from,
// and a run has the same results with it and without. A nil Warm keeps nothing.
type Warm struct {
	mu   sync.Mutex
	kept map[string]io.Closer
}

// NewWarm returns one that is empty.
func NewWarm() *Warm { return &Warm{kept: map[string]io.Closer{}} }

// Take removes what was put under a name, and returns it, or nil. Whoever takes something owns it, and puts
// it back when it is whole: after an error in between it is gone.
func (w *Warm) Take(name string) io.Closer {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.kept[name]
	delete(w.kept, name)
	return c
}

// Put keeps something under a name, and closes what is there. If nothing is kept, it closes c itself.
func (w *Warm) Put(name string, c io.Closer) error {
	old := c
	if w != nil {
		w.mu.Lock()
		old = w.kept[name]
		w.kept[name] = c
		w.mu.Unlock()
	}
	if old == nil {
		return nil
	}
	return old.Close()
}

// Close closes all that is kept.
func (w *Warm) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, c := range w.kept {
		errs = append(errs, c.Close())
	}
	clear(w.kept)
	return errors.Join(errs...)
}
