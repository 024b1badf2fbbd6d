package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"bzdata/pipeline/spill"
	"bzdata/pipeline/store"
)

// Out takes what a mapper decides about the document at hand.
type Out struct {
	ledger  *Ledger
	verdict Verdict
	matched string
	detail  string
	send    func(key uint64, payload []byte)
}

// Drop removes the document for a named reason, with the measured value.
func (o *Out) Drop(reason string, value float64) {
	o.verdict.Reason, o.verdict.Value = reason, value
}

// Detail adds a remark to the drop log, such as the limit that was crossed.
func (o *Out) Detail(format string, args ...any) { o.detail = fmt.Sprintf(format, args...) }

// Matched names the other document, for the drop log.
func (o *Out) Matched(name string) { o.matched = name }

// Carry takes a barrier's verdict.
func (o *Out) Carry(v Verdict) { o.verdict = v }

// Carried is the barrier's verdict, if there is one.
func (o *Out) Carried() Verdict { return o.verdict }

// Dropped reports whether the document is dropped so far.
func (o *Out) Dropped() bool { return o.verdict.Reason != "" }

// Edit counts an edit of the document's text by kind.
func (o *Out) Edit(kind string, n int64) {
	if n != 0 {
		o.ledger.Edits[kind] += n
	}
}

// Send gives a record to the pass's barrier. The payload is copied.
func (o *Out) Send(key uint64, payload []byte) { o.send(key, payload) }

// Observe counts a value in one of the stage's histograms.
func (o *Out) Observe(histogram string, value float64) {
	h := o.ledger.Observed[histogram]
	if h == nil {
		h = NewHistogram()
		o.ledger.Observed[histogram] = h
	}
	h.Observe(value)
}

// The files of a segment's task.
const (
	docsName     = "docs"     // documents stored anew
	keepName     = "keep"     // or: which documents of the stored ones are left
	exchangeName = "exchange" // records for the barrier
	heldOutName  = "held_out" // documents that went to the held-out set
	dropsName    = "drops.jsonl.zst"
	rejectsName  = "rejects.jsonl"
)

// stagePass is one pass of one stage of the plan.
type stagePass struct {
	step    *Step
	pass    *Pass
	barrier []*node // of the stage's previous pass
	reads   readSet
}

// segment is one shard's reading by a run of fused passes.
type segment struct {
	shard  int
	passes []stagePass
	parts  int // of the exchange of the last pass; 0 if it has no barrier
	stores bool
	source docSource
}

// docSource gives the documents of a shard: an input file, or an earlier segment.
type docSource interface {
	each(ctx context.Context, t *Task, shard int, visit func(d *Doc) error) error
}

// segmentTask is the state of one execution of a segment.
type segmentTask struct {
	*segment
	t       *Task
	mappers []Mapper
	skims   []Skimmer // the mappers that are any; nil for others
	outs    []*Out
	waiting []*waiting    // by mapper: those that decide later have one
	sent    *spill.Sorter // for the barrier, or nil
	short   error         // of sending
	drops   *dropLog
	keep    keepList
	docs    *docWriter
	heldOut *docWriter
	left    int64
}

func (s *segment) work(ctx context.Context, t *Task) error {
	st := &segmentTask{segment: s, t: t}
	if s.parts > 0 {
		st.sent = spill.NewSorter(t.spillOptions(t.budget().exchange))
	}
	defer st.stopMappers()
	if err := st.open(ctx); err != nil {
		return err
	}
	return st.writeAll(ctx)
}

// stopMappers lets go of what mappers hold outside the program.
func (st *segmentTask) stopMappers() {
	for _, w := range st.waiting {
		if w != nil {
			w.docs.close()
		}
	}
	for _, m := range st.mappers {
		if s, ok := m.(Stopper); ok {
			s.Stop()
		}
	}
}

// open makes the mappers, each with a view of the task as its own stage.
func (st *segmentTask) open(ctx context.Context) error {
	for _, p := range st.passes {
		view := *st.t
		n := *st.t.node
		n.barrier, n.files, n.parts, n.heldOut = p.barrier, p.reads.files, p.reads.parts, p.reads.heldOut
		view.Step, view.node = p.step, &n
		m, err := p.pass.Open(ctx, &view)
		if err != nil {
			return err
		}
		l := newLedger(p.step.Label())
		l.Pass = p.pass.Name
		st.t.Report.Ledgers = append(st.t.Report.Ledgers, l)
		skimmer, _ := m.(Skimmer)
		st.mappers, st.skims = append(st.mappers, m), append(st.skims, skimmer)
		st.outs = append(st.outs, &Out{ledger: l})
		st.waiting = append(st.waiting, st.waitingFor(m))
	}
	return nil
}

// writeAll reads the shard once and writes every output. The outputs that grow with
// the documents are open at the same time, one inside the other.
func (st *segmentTask) writeAll(ctx context.Context) error {
	t := st.t
	read := func() error {
		if err := st.source.each(ctx, t, st.shard, func(d *Doc) error { return st.from(0, d) }); err != nil {
			return err
		}
		return st.closeMappers()
	}
	withDocs := read
	if st.stores {
		withDocs = func() error { return st.withDocWriter(docsName, &st.docs, read) }
	}
	withHeldOut := withDocs
	if st.divertsHeldOut() {
		withHeldOut = func() error { return st.withDocWriter(heldOutName, &st.heldOut, withDocs) }
	}
	err := t.WriteFile(dropsName, func(w io.Writer) error {
		var err error
		if st.drops, err = newDropLog(w); err != nil {
			return err
		}
		return errors.Join(withHeldOut(), st.drops.Close())
	})
	if err != nil {
		return err
	}
	if !st.stores {
		if err := t.WriteFile(keepName, st.keep.writeTo); err != nil {
			return err
		}
	}
	if st.parts == 0 {
		return nil
	}
	err = t.WriteFile(exchangeName, func(w io.Writer) error { return writeExchange(w, st.sent, st.parts) })
	return errors.Join(err, st.sent.Close())
}

func (st *segmentTask) withDocWriter(name string, to **docWriter, inner func() error) error {
	return st.t.WriteFile(name, func(w io.Writer) error {
		dw := newDocWriter(w, st.t.run.storesPlain())
		*to = dw
		return errors.Join(inner(), dw.Close())
	})
}

func (st *segmentTask) divertsHeldOut() bool {
	for _, p := range st.passes {
		if p.step.Kind.Name == heldOutStage {
			return true
		}
	}
	return false
}

// closeMappers lets the mappers decide about what they hold back, and send what they have
// gathered.
func (st *segmentTask) closeMappers() error {
	for i, m := range st.mappers {
		if w := st.waiting[i]; w != nil {
			if err := w.end(); err != nil {
				return err
			}
		}
		c, ok := m.(Closer)
		if !ok {
			continue
		}
		st.outs[i].send = func(key uint64, payload []byte) { st.send(Ref{uint32(st.shard), 0}, key, payload) }
		if err := c.Close(st.outs[i]); err != nil {
			return err
		}
	}
	return st.short
}

// from takes one document through the mappers from the i-th on.
func (st *segmentTask) from(i int, d *Doc) error {
	for ; i < len(st.mappers); i++ {
		if w := st.waiting[i]; w != nil {
			return w.see(d)
		}
		if stays, err := st.judge(i, d); err != nil || !stays {
			return err
		}
	}
	return st.store(d)
}

// judge lets one mapper decide about a document.
func (st *segmentTask) judge(i int, d *Doc) (stays bool, err error) {
	o := st.outs[i]
	l := o.ledger
	o.verdict, o.detail, o.matched = Verdict{}, "", ""
	o.send = func(key uint64, payload []byte) { st.send(d.Ref, key, payload) }
	if s := st.skims[i]; s == nil || !s.Skims(d) {
		if err := d.fill(); err != nil {
			return false, err
		}
	}
	before := int64(d.TextBytes())
	if err := st.mappers[i].Map(d, o); err != nil {
		return false, fmt.Errorf("%s: %w", st.t.DocName(d.Ref), err)
	}
	if st.short != nil {
		return false, st.short
	}
	src := l.source(d.Source)
	l.In, l.BytesIn, src.In = l.In+1, l.BytesIn+before, src.In+1
	switch v := o.verdict; {
	case v.HeldOut:
		l.HeldOut++
		if err := d.fill(); err != nil {
			return false, err
		}
		return false, st.heldOut.Write(d)
	case v.Reason != "":
		return false, st.drop(i, d, o)
	case v.Copies > 1:
		l.Extra += int64(d.Copies * (v.Copies - 1))
		d.Copies *= v.Copies
	}
	l.Kept, l.BytesOut, src.Kept = l.Kept+1, l.BytesOut+int64(d.TextBytes()), src.Kept+1
	return true, nil
}

func (st *segmentTask) store(d *Doc) error {
	if st.stores {
		if err := d.fill(); err != nil {
			return err
		}
		return st.docs.Write(d)
	}
	st.keep.add(d.Ref.Record, d.Copies)
	return nil
}

func (st *segmentTask) send(ref Ref, key uint64, payload []byte) {
	if st.short == nil && st.sent != nil {
		r := Record{key, ref, payload}.spilled()
		st.short = st.sent.Add(&r)
	}
}

func (st *segmentTask) drop(i int, d *Doc, o *Out) error {
	v, l := o.verdict, o.ledger
	l.Dropped[v.Reason]++
	matched := cmp.Or(o.matched, v.MatchedName)
	if v.Matched != nil {
		matched = st.t.DocName(*v.Matched)
	}
	rank := HashID(st.t.Plan.Seed, "example", d.Source, d.Path, d.Ref.Record)
	wanted := l.wanted(v.Reason, rank)
	if wanted || st.t.Plan.KeepDropped {
		if err := d.fill(); err != nil {
			return err
		}
	}
	if wanted {
		l.example(Example{v.Reason, d.Source, d.Path, d.Ref.Record, finite(v.Value), matched, excerpt(d.Text), rank})
	}
	text := ""
	if st.t.Plan.KeepDropped {
		text = d.Text
	}
	return st.drops.Write(Drop{Source: d.Source, File: d.Path, Row: d.Ref.Record, Stage: l.Stage,
		Reason: v.Reason, Value: v.Value, Matched: matched, Detail: o.detail, Text: text})
}

// finite replaces what JSON cannot hold.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// Drop is one row of the drop log.
type Drop struct {
	Source, File          string
	Row                   uint64
	Stage, Reason         string
	Value                 float64
	Matched, Detail, Text string
}

// dropLog writes a task's drop log: JSON lines, compressed.
type dropLog struct {
	z io.WriteCloser
	w *store.JSONLWriter
}

func newDropLog(w io.Writer) (*dropLog, error) {
	z, err := store.NewCompressor(w, store.Zstd, store.EffortFastest)
	if err != nil {
		return nil, err
	}
	return &dropLog{z, store.NewJSONLWriter(z)}, nil
}

// Fields returns the row as it is written.
func (d Drop) Fields() []store.Field {
	quote := func(s string) []byte { return store.AppendQuote(nil, s) }
	value := []byte("null")
	if !math.IsNaN(d.Value) && !math.IsInf(d.Value, 0) {
		value = strconv.AppendFloat(nil, d.Value, 'g', -1, 64)
	}
	fs := []store.Field{
		{Key: "source", Value: quote(d.Source)}, {Key: "file", Value: quote(d.File)},
		{Key: "row", Value: strconv.AppendUint(nil, d.Row, 10)},
		{Key: "stage", Value: quote(d.Stage)}, {Key: "reason", Value: quote(d.Reason)},
		{Key: "value", Value: value}, {Key: "matched", Value: quote(d.Matched)},
		{Key: "detail", Value: quote(d.Detail)},
	}
	if d.Text != "" && utf8.ValidString(d.Text) {
		fs = append(fs, store.Field{Key: "text", Value: quote(d.Text)})
	}
	return fs
}

func (l *dropLog) Write(d Drop) error { return l.w.Write(d.Fields()) }

func (l *dropLog) Close() error { return errors.Join(l.w.Close(), l.z.Close()) }
