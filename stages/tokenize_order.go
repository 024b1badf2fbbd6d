package stages

import (
	"encoding/binary"
	"errors"

	"bzdata/pipeline"
	"bzdata/tokenize"
)

// documents calls visit with tokenized documents, in order. What visit gets is valid until it
// returns. It may be called again.
type documents func(visit func(d *tokenized) error) error

// documentsOf are documents in memory.
func documentsOf(docs []tokenized) documents {
	return func(visit func(d *tokenized) error) error {
		for i := range docs {
			if err := visit(&docs[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// sortedDocuments are documents that [tokenized.append] put into a sorter.
func sortedDocuments(s *pipeline.Sorter) documents {
	return func(visit func(d *tokenized) error) error {
		var d tokenized
		return s.Each(func(r pipeline.Record) error {
			if err := d.cut(r.Payload); err != nil {
				return err
			}
			return visit(&d)
		})
	}
}

// orderBytes is what stands before a document in a sorter: its ref and copy, most significant
// byte first, so that documents of one key are in the order of these.
const orderBytes = 4 + 8 + 4

// append appends a document, as a sorter holds it: its place, the sum of its text, its name,
// and uvarints.
func (x *tokenized) append(b []byte, d *pipeline.Doc, copy int) []byte {
	b = binary.BigEndian.AppendUint32(b, d.Ref.Shard)
	b = binary.BigEndian.AppendUint64(b, d.Ref.Record)
	b = binary.BigEndian.AppendUint32(b, uint32(copy))
	b = append(b, x.sum[:]...)
	b = binary.AppendUvarint(b, uint64(len(x.doc.ID)))
	b = append(b, x.doc.ID...)
	for _, v := range []uint64{uint64(x.doc.Source), uint64(x.doc.DocumentInfo.Tokens), x.doc.TextBytes,
		uint64(x.doc.Start), uint64(len(x.doc.Tokens))} {
		b = binary.AppendUvarint(b, v)
	}
	for _, id := range x.doc.Tokens {
		b = binary.AppendUvarint(b, uint64(id))
	}
	flags := byte(0)
	if x.differs {
		flags |= tokenizedDiffers
	}
	if x.doc.Masked == nil {
		return append(b, flags)
	}
	return appendRuns(append(b, flags|tokenizedMasked), x.doc.Masked)
}

// Flags behind the tokens of a document in a sorter.
const (
	tokenizedDiffers = 1 << iota
	tokenizedMasked  // a mask follows, as lengths of its runs, the first of false
)

// appendRuns appends the lengths of the runs of flags, the first of them of false.
func appendRuns(b []byte, flags []bool) []byte {
	if len(flags) == 0 {
		return b
	}
	run, on := 0, false
	for _, f := range flags {
		if f != on {
			b, run, on = binary.AppendUvarint(b, uint64(run)), 0, f
		}
		run++
	}
	return binary.AppendUvarint(b, uint64(run))
}

// cut reads what append wrote.
func (x *tokenized) cut(b []byte) error {
	if len(b) < orderBytes+len(x.sum) {
		return errTokenized
	}
	b = b[orderBytes:]
	r := uvarints{b: b[copy(x.sum[:], b):]}
	info := tokenize.DocumentInfo{ID: r.text()}
	info.Source, info.Tokens, info.TextBytes = uint32(r.next()), uint32(r.next()), r.next()
	x.doc = tokenize.Document{DocumentInfo: info, Tokens: x.doc.Tokens[:0], Start: int(r.next())}
	x.doc.Tokens = r.tokens(x.doc.Tokens, r.next())
	flags := r.next()
	x.differs = flags&tokenizedDiffers != 0
	if flags&tokenizedMasked != 0 {
		x.doc.Masked = r.runs(nil, len(x.doc.Tokens))
	}
	if r.bad || len(r.b) > 0 {
		return errTokenized
	}
	return nil
}

// uvarints reads numbers and texts; bad says that they ended too early.
type uvarints struct {
	b   []byte
	bad bool
}

func (r *uvarints) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, n = true, 0
	}
	r.b = r.b[n:]
	return v
}

func (r *uvarints) text() string {
	n := r.next()
	if n > uint64(len(r.b)) {
		r.bad = true
		return ""
	}
	text := string(r.b[:n])
	r.b = r.b[n:]
	return text
}

func (r *uvarints) tokens(dst []int32, n uint64) []int32 {
	for ; n > 0 && !r.bad; n-- {
		dst = append(dst, int32(r.next()))
	}
	return dst
}

// runs appends n flags, as appendRuns wrote them.
func (r *uvarints) runs(dst []bool, n int) []bool {
	end := len(dst) + n
	for on := false; len(dst) < end && !r.bad; on = !on {
		run := r.next()
		if run > uint64(end-len(dst)) {
			r.bad = true
		}
		for ; run > 0 && !r.bad; run-- {
			dst = append(dst, on)
		}
	}
	if dst == nil {
		dst = []bool{}
	}
	return dst
}

// errTokenized is the error of a document that is not as it was put into the sorter.
var errTokenized = errors.New("a tokenized document was damaged on the disk")
