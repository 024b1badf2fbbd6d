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
	return b
}

// cut reads what append wrote.
func (x *tokenized) cut(b []byte) error {
	bad := false
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, n = true, 0
		}
		b = b[n:]
		return v
	}
	if len(b) < orderBytes+len(x.sum) {
		return errTokenized
	}
	b = b[orderBytes:]
	b = b[copy(x.sum[:], b):]
	n := next()
	if n > uint64(len(b)) {
		return errTokenized
	}
	info := tokenize.DocumentInfo{ID: string(b[:n])}
	b = b[n:]
	info.Source, info.Tokens, info.TextBytes = uint32(next()), uint32(next()), next()
	x.doc = tokenize.Document{DocumentInfo: info, Tokens: x.doc.Tokens[:0], Start: int(next())}
	for n := next(); n > 0 && !bad; n-- {
		x.doc.Tokens = append(x.doc.Tokens, int32(next()))
	}
	if bad || len(b) > 0 {
		return errTokenized
	}
	return nil
}

// errTokenized is the error of a document that is not as it was put into the sorter.
var errTokenized = errors.New("a tokenized document was damaged on the disk")
