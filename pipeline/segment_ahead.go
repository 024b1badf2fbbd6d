package pipeline

import "fmt"

// waiting are the documents that a mapper has seen and not decided about.
type waiting struct {
	st   *segmentTask
	at   int // of the mapper
	m    Ahead
	docs docQueue
	// failed is the error of a decision, which names its document already.
	failed error
}

// waitingFor returns nil for a mapper that decides at once. The mapper is the next to be
// added to those of st.
func (st *segmentTask) waitingFor(m Mapper) *waiting {
	ahead, ok := m.(Ahead)
	if !ok {
		return nil
	}
	return &waiting{st: st, at: len(st.waiting), m: ahead, docs: docQueue{t: st.t, shard: uint32(st.shard)}}
}

func (w *waiting) see(d *Doc) error {
	if err := d.fill(); err != nil {
		return err
	}
	if err := w.docs.put(d); err != nil {
		return err
	}
	if err := w.m.See(d, w.due); err != nil && w.failed == nil {
		return fmt.Errorf("%s: %w", w.st.t.DocName(d.Ref), err)
	}
	return w.failed
}

// due decides about the oldest document and takes it on from there.
func (w *waiting) due() error {
	var stays bool
	d, err := w.docs.next()
	if err == nil {
		stays, err = w.st.judge(w.at, d)
	}
	if err == nil && stays {
		err = w.st.from(w.at+1, d)
	}
	if w.failed == nil {
		w.failed = err
	}
	return err
}

func (w *waiting) end() error {
	if err := w.m.End(w.due); err != nil {
		return err
	}
	if w.docs.count > 0 {
		return fmt.Errorf("%d documents were never decided about", w.docs.count)
	}
	return w.failed
}
