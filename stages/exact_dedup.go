package stages

import (
	"context"
	"encoding/binary"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/tokenize/words"
)

// ExactDedup is the configuration of the exact_dedup stage.
type ExactDedup struct {
	Compare string              `yaml:"compare" enum:"text|words" doc:"What must be equal: the text as it stands, or its words in lower case, whatever stands between them."`
	Keep    pipeline.KeepPolicy `yaml:"keep" doc:"Which copy stays: the first by source, file and row, the longest, or one chosen by a field or by source. Ties go to the first; a value that is missing or cannot be read comes last, and is counted as no_keep_value."`
}

func exactDedupSpec() pipeline.Spec[ExactDedup] {
	return pipeline.Spec[ExactDedup]{
		Name: "exact_dedup", Version: 3,
		Summary: "Drops documents whose text is equal to that of another.",
		Doc: code(`
Documents are compared by the 128-bit XXH3 hash of their text, conversations by who says what. Of each
group of copies one stays; the others are dropped as ‹exact_duplicate›, naming it. With ‹compare: words›
texts that differ only in case, punctuation or white space count as copies; those without any word
are compared as they stand.`),
		Example: `
exact_dedup:
  compare: text
  keep: first`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: ExactDedup{Compare: "text", Keep: keepFirst},
		New:     func(c ExactDedup) (pipeline.Program, error) { return c.program(), nil },
	}
}

func (c ExactDedup) program() pipeline.Program {
	return pipeline.Program{Passes: []pipeline.Pass{
		{Name: "hash", Open: c.openHash, RecordBytes: 28, Barrier: &pipeline.Barrier{Parts: partsOf, Reduce: reduceCopies}},
		pipeline.Apply("drop"),
	}}
}

// openHash sends, for each document, half of its hash as key, and the other half before the
// keep rank: records of one hash sort together, in keep order.
func (c ExactDedup) openHash(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
	content := &contentWriter{words: c.Compare == "words"}
	rank := keepRanker(c.Keep)
	var payload []byte
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		sum := dedup.Hash128(content.of(d))
		payload = binary.BigEndian.AppendUint64(append(payload[:0], sum[8:]...), rank(d, out))
		out.Send(binary.BigEndian.Uint64(sum[:8]), payload)
		return nil
	}), nil
}

// contentWriter writes what of a document must be equal: its text, or for each message its
// role and content, as parts that start with a letter for their kind.
type contentWriter struct {
	words  bool
	hashes []uint64
	buf    []byte
}

// of returns the content of d, valid until the next call.
func (c *contentWriter) of(d *pipeline.Doc) []byte {
	c.buf = c.buf[:0]
	if d.Messages == nil {
		c.text(d.Text)
		return c.buf
	}
	for _, m := range d.Messages {
		c.part('r', m.Role)
		c.text(m.Content)
	}
	c.buf = append(c.buf, 'm') // so that a list of no messages is no text
	return c.buf
}

// text adds a text: the hashes of its words if those are compared and there are any, or
// itself.
func (c *contentWriter) text(text string) {
	if c.words {
		c.hashes = words.AppendHashes(c.hashes[:0], text)
	}
	if !c.words || len(c.hashes) == 0 {
		c.part('t', text)
		return
	}
	c.buf = binary.AppendUvarint(append(c.buf, 'w'), uint64(len(c.hashes)))
	for _, h := range c.hashes {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, h)
	}
}

func (c *contentWriter) part(kind byte, text string) {
	c.buf = binary.AppendUvarint(append(c.buf, kind), uint64(len(text)))
	c.buf = append(c.buf, text...)
}

// copiesReducer sees the copies of one text after the other, in keep order.
type copiesReducer struct {
	t     *pipeline.Task
	first pipeline.Record
	half  [8]byte // of the hash; the other is the key
	some  bool
}

func (c *copiesReducer) add(r pipeline.Record) error {
	if c.some && r.Key == c.first.Key && string(r.Payload[:8]) == string(c.half[:]) {
		match := c.first.Ref
		c.t.Decide(r.Ref, pipeline.Verdict{Reason: "exact_duplicate", Value: 1, Matched: &match})
		return nil
	}
	c.first, c.some = pipeline.Record{Key: r.Key, Ref: r.Ref}, true
	copy(c.half[:], r.Payload)
	return nil
}

func reduceCopies(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	return part.Each((&copiesReducer{t: t}).add)
}
