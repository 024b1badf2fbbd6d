package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"bzdata/pipeline/spill"
	"bzdata/pipeline/store"
)

// Verdict is what a barrier decides about a document.
type Verdict struct {
	// Reason drops the document if it is not empty.
	Reason string
	// Value is the measured value behind the decision.
	Value float64
	// Matched names the other document, if there is one.
	Matched *Ref
	// MatchedName names the other document if it is none of this run.
	MatchedName string
	// Copies is how often a document that is kept goes on; 0 counts as 1.
	Copies int
	// HeldOut diverts the document to the held-out set.
	HeldOut bool
}

// decisionsName is the file of a barrier task's decisions, a file of shard parts. The
// block of a shard holds the decisions about its documents, sorted by record:
//
//	uint64 record · byte flags · uint64 value bits · uint32 copies ·
//	uint32 matched shard · uint64 matched record · bytes reason · bytes matched name
//
// Flag 1: held out. Flag 2: a matched document is named by shard and record. Numbers are little-endian.
const decisionsName = "decisions"

// decisions are what a barrier task has decided so far, sorted by document.
type decisions struct {
	sorter *Sorter // nil if there is none
	buf    []byte
	err    error // of the sorter
}

// Decide records what becomes of a document in the pass after the barrier. Documents
// without a decision are kept. Reduce and Global may call it, once for a document.
func (t *Task) Decide(doc Ref, v Verdict) {
	d := t.decisions
	if d.sorter == nil {
		d.sorter = &Sorter{spill.NewSorter(t.spillOptions(t.budget().merging)), t}
	}
	d.buf = appendDecision(d.buf[:0], doc.Record, v)
	d.err = cmp.Or(d.err, d.sorter.Add(Record{Key: uint64(doc.Shard), Ref: doc, Payload: d.buf}))
}

// recordFirst puts a record's number in front of its decision, most significant byte first,
// so that payloads sort by it.
const recordFirst = 8

// writeDecisions writes what was decided, if anything was.
func (t *Task) writeDecisions() error {
	d := t.decisions
	if d.sorter == nil || d.err != nil {
		return d.err
	}
	err := t.WriteFile(decisionsName, func(w io.Writer) error {
		parts := NewShardPartsWriter(w)
		last, some := Ref{}, false
		err := d.sorter.Each(func(r Record) error {
			if some && r.Ref == last {
				return fmt.Errorf("document %v was decided twice", r.Ref)
			}
			last, some = r.Ref, true
			return parts.Write(int(r.Ref.Shard), r.Payload[recordFirst:])
		})
		return cmp.Or(err, parts.Close(0))
	})
	return errors.Join(err, d.sorter.Close())
}

func appendDecision(b []byte, record uint64, d Verdict) []byte {
	flags, matched := byte(0), Ref{}
	b = binary.BigEndian.AppendUint64(b, record)
	if d.HeldOut {
		flags |= 1
	}
	if d.Matched != nil {
		flags, matched = flags|2, *d.Matched
	}
	b = binary.LittleEndian.AppendUint64(b, record)
	b = append(b, flags)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(d.Value))
	b = binary.LittleEndian.AppendUint32(b, uint32(d.Copies))
	b = binary.LittleEndian.AppendUint32(b, matched.Shard)
	b = binary.LittleEndian.AppendUint64(b, matched.Record)
	return appendBytes(appendBytes(b, d.Reason), d.MatchedName)
}

// verdictOf is what a barrier decided about one document of a shard.
type verdictOf struct {
	record uint64
	Verdict
}

// verdicts are the decisions about a shard's documents, sorted by record, and how far they
// have been asked for.
type verdicts struct {
	all []verdictOf
	at  int
}

// readVerdicts reads the decisions about one shard's documents from a barrier's folders. A
// folder without a decisions file has none.
func readVerdicts(fsys store.FS, dirs []string, shard int) (*verdicts, error) {
	v := &verdicts{}
	reasons := map[string]string{} // one copy of each for all documents
	for _, dir := range dirs {
		part, err := ReadShardPart(fsys, filepath.Join(dir, decisionsName), shard)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for s := newByteSource(bytes.NewReader(part)); !s.atEnd(); {
			d := s.decision(reasons)
			if s.err != nil {
				return nil, fmt.Errorf("decisions: %w", s.err)
			}
			v.all = append(v.all, d)
		}
	}
	slices.SortFunc(v.all, func(a, b verdictOf) int { return cmp.Compare(a.record, b.record) })
	return v, nil
}

// EachDecision calls visit with what the reduce tasks of Global's barrier decided, in order of
// documents. It holds the decisions about one shard.
func (t *Task) EachDecision(visit func(doc Ref, v Verdict) error) error {
	for shard := range t.ShardCount() {
		about, err := readVerdicts(t.FS, t.BarrierDirs(), shard)
		if err != nil {
			return err
		}
		for _, v := range about.all {
			if err := visit(Ref{uint32(shard), v.record}, v.Verdict); err != nil {
				return err
			}
		}
	}
	return nil
}

// of returns the verdict about a record. Records are asked for in rising order.
func (v *verdicts) of(record uint64) (Verdict, bool) {
	for v.at < len(v.all) && v.all[v.at].record < record {
		v.at++
	}
	if v.at == len(v.all) || v.all[v.at].record != record {
		return Verdict{}, false
	}
	return v.all[v.at].Verdict, true
}

func (s *byteSource) uint32() uint32 {
	var b [4]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		s.fail(err)
	}
	return binary.LittleEndian.Uint32(b[:])
}

// decision reads one decision; reasons holds those that were seen before.
func (s *byteSource) decision(reasons map[string]string) verdictOf {
	v := verdictOf{record: s.uint64()}
	flags := s.byte()
	v.Value, v.Copies, v.HeldOut = math.Float64frombits(s.uint64()), int(s.uint32()), flags&1 != 0
	matched := Ref{s.uint32(), s.uint64()}
	if flags&2 != 0 {
		v.Matched = &matched
	}
	reason := s.bytes()
	known, ok := reasons[string(reason)]
	if !ok {
		known = string(reason)
		reasons[known] = known
	}
	v.Reason, v.MatchedName = known, string(s.bytes())
	return v
}

// Apply is the pass that carries out a barrier's decisions.
func Apply(name string) Pass {
	return Pass{Name: name, Open: func(ctx context.Context, t *Task) (Mapper, error) {
		about, err := readVerdicts(t.FS, t.BarrierDirs(), t.shard)
		if err != nil {
			return nil, err
		}
		return applier{about}, nil
	}}
}

// applier carries out what was decided about documents, of which it only knows the ids.
type applier struct{ about *verdicts }

// Skims is always true.
func (applier) Skims(*Doc) bool { return true }

// Map carries out what was decided about d, if anything was.
func (a applier) Map(d *Doc, out *Out) error {
	if v, ok := a.about.of(d.Ref.Record); ok {
		out.Carry(v)
	}
	return nil
}
