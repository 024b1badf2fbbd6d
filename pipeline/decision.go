package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

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
	// Copies is how often a document that is kept goes on; 0 counts as 1.
	Copies int
	// HeldOut diverts the document to the held-out set.
	HeldOut bool
}

type decision struct {
	ref Ref
	Verdict
}

// decisionsName is the file of a barrier task's decisions, a file of shard parts. The
// block of a shard holds the decisions about its documents, sorted by record:
//
//	uint64 record · byte flags · uint64 value bits · uint32 copies ·
//	uint32 matched shard · uint64 matched record · bytes reason
//
// Flag 1: held out. Flag 2: a matched document is named. Numbers are little-endian.
const decisionsName = "decisions"

// Decide records what becomes of a document in the pass after the barrier. Documents
// without a decision are kept. Reduce and Global may call it, once for a document.
func (t *Task) Decide(doc Ref, v Verdict) { t.decisions = append(t.decisions, decision{doc, v}) }

func writeDecisions(w io.Writer, ds []decision) error {
	slices.SortFunc(ds, func(a, b decision) int { return a.ref.Compare(b.ref) })
	parts := make([][]byte, ds[len(ds)-1].ref.Shard+1)
	for i, d := range ds {
		if i > 0 && d.ref == ds[i-1].ref {
			return fmt.Errorf("document %v was decided twice", d.ref)
		}
		parts[d.ref.Shard] = appendDecision(parts[d.ref.Shard], d)
	}
	return WriteShardParts(w, parts)
}

func appendDecision(b []byte, d decision) []byte {
	flags, matched := byte(0), Ref{}
	if d.HeldOut {
		flags |= 1
	}
	if d.Matched != nil {
		flags, matched = flags|2, *d.Matched
	}
	b = binary.LittleEndian.AppendUint64(b, d.ref.Record)
	b = append(b, flags)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(d.Value))
	b = binary.LittleEndian.AppendUint32(b, uint32(d.Copies))
	b = binary.LittleEndian.AppendUint32(b, matched.Shard)
	b = binary.LittleEndian.AppendUint64(b, matched.Record)
	return appendBytes(b, d.Reason)
}

// readDecisions returns the decisions about one shard's documents, by record. A
// folder without a decisions file has none.
func readDecisions(fsys store.FS, dir string, shard int, into map[uint64]Verdict) error {
	part, err := ReadShardPart(fsys, filepath.Join(dir, decisionsName), shard)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for s := newByteSource(bytes.NewReader(part)); !s.atEnd(); {
		record, v := s.decision()
		if s.err != nil {
			return fmt.Errorf("decisions: %w", s.err)
		}
		into[record] = v
	}
	return nil
}

func (s *byteSource) uint32() uint32 {
	var b [4]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		s.fail(err)
	}
	return binary.LittleEndian.Uint32(b[:])
}

func (s *byteSource) decision() (record uint64, v Verdict) {
	record = s.uint64()
	flags := s.byte()
	v = Verdict{Value: math.Float64frombits(s.uint64()), Copies: int(s.uint32()), HeldOut: flags&1 != 0}
	matched := Ref{s.uint32(), s.uint64()}
	if flags&2 != 0 {
		v.Matched = &matched
	}
	v.Reason = string(s.bytes())
	return record, v
}

// Apply is the pass that carries out a barrier's decisions.
func Apply(name string) Pass {
	return Pass{Name: name, Open: func(ctx context.Context, t *Task) (Mapper, error) {
		about := map[uint64]Verdict{}
		for _, dir := range t.BarrierDirs() {
			if err := readDecisions(t.FS, dir, t.shard, about); err != nil {
				return nil, err
			}
		}
		return MapFunc(func(d *Doc, out *Out) error {
			if v, ok := about[d.Ref.Record]; ok {
				out.Carry(v)
			}
			return nil
		}), nil
	}}
}
