package stages

import (
	"encoding/binary"

	"bzdata/pipeline"
	"bzdata/tokenize"
)

// shuffledSequences puts sequences into a seeded order, on disk where memory is too small.
type shuffledSequences struct {
	sorter *pipeline.Sorter
	seed   uint64
	length int
	n      uint64
	buf    []byte
}

func (p *partWriter) newShuffled() *shuffledSequences {
	return &shuffledSequences{sorter: p.t.Sorter(), seed: p.t.Seed("sequences"), length: p.SequenceLength}
}

// add takes the next sequence.
func (s *shuffledSequences) add(seq *tokenize.Sequence) error {
	s.buf = appendSequence(binary.BigEndian.AppendUint64(s.buf[:0], s.n), seq)
	key := pipeline.HashID(s.seed, "", "", "", s.n)
	s.n++
	return s.sorter.Add(pipeline.Record{Key: key, Payload: s.buf})
}

// each calls visit with every sequence, in order. It is valid until visit returns.
func (s *shuffledSequences) each(visit func(seq *tokenize.Sequence) error) error {
	var seq tokenize.Sequence
	return s.sorter.Each(func(r pipeline.Record) error {
		if len(r.Payload) < 8 || !cutSequence(r.Payload[8:], s.length, &seq) {
			return errTokenized
		}
		return visit(&seq)
	})
}

func (s *shuffledSequences) close() error { return s.sorter.Close() }

// appendSequence appends the tokens, targets and segments of a sequence.
func appendSequence(b []byte, seq *tokenize.Sequence) []byte {
	for _, id := range seq.Tokens {
		b = binary.AppendUvarint(b, uint64(id))
	}
	b = appendRuns(b, seq.Target)
	b = binary.AppendUvarint(b, uint64(len(seq.Segments)))
	for _, g := range seq.Segments {
		d := g.Document
		for _, v := range []uint64{d.Ordinal, uint64(d.Source), uint64(d.Tokens), d.TextBytes, uint64(g.Start), uint64(g.End),
			uint64(g.From), uint64(len(d.ID))} {
			b = binary.AppendUvarint(b, v)
		}
		b = append(b, d.ID...)
	}
	return b
}

// cutSequence reads what appendSequence wrote, and reports whether it could.
func cutSequence(b []byte, length int, seq *tokenize.Sequence) bool {
	r := uvarints{b: b}
	seq.Tokens = r.tokens(seq.Tokens[:0], uint64(length))
	seq.Target = r.runs(seq.Target[:0], length)
	seq.Segments = seq.Segments[:0]
	for n := r.next(); n > 0 && !r.bad; n-- {
		var g tokenize.Segment
		g.Document.Ordinal, g.Document.Source = r.next(), uint32(r.next())
		g.Document.Tokens, g.Document.TextBytes = uint32(r.next()), r.next()
		g.Start, g.End, g.From = int(r.next()), int(r.next()), int(r.next())
		g.Document.ID = r.text()
		seq.Segments = append(seq.Segments, g)
	}
	return !r.bad && len(r.b) == 0
}
