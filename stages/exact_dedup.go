package stages

import (
	"context"
	"encoding/binary"
	"errors"
	"math"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/tokenize/words"
)

// ExactDedup is the configuration of the exact_dedup stage.
type ExactDedup struct {
	Compare string              `yaml:"compare" enum:"text|words" doc:"What must be equal: the text as it stands, or its words in lower case, whatever stands between them."`
	Keep    pipeline.KeepPolicy `yaml:"keep" doc:"Which copy stays: the first by source, file and row, the longest, or one chosen by a field or by source. Ties go to the first; a value that is missing or cannot be read comes last, and is counted as no_keep_value."`
	Against []Against           `yaml:"against" doc:"Files whose documents are compared with, too: copies of them are dropped, whatever keep says, and they never go on. Copies among them do not matter."`
	Pairs   bool                `yaml:"pairs" doc:"Writes out/pairs-LABEL.parquet: each dropped document with the one that it was dropped for."`
	Columns bool                `yaml:"cluster_columns" doc:"Adds to each document that stays the fields cluster_id, its own source:file:row, and cluster_size: 1 and those of this run that were dropped for it. Fields that it had under these names get _original behind them."`
	Index   *KeptIndex          `yaml:"index" doc:"Where to keep the hashes of what stays, so that later runs drop its copies, too. Documents of earlier generations win whatever keep says."`
}

func exactDedupSpec() pipeline.Spec[ExactDedup] {
	return pipeline.Spec[ExactDedup]{
		Name: "exact_dedup", Version: 6,
		Summary: "Drops documents whose text is equal to that of another.",
		Doc: code(`
Documents are compared by the 128-bit XXH3 hash of their text, conversations by who says what. Of each
group of copies one stays; the others are dropped as ‹exact_duplicate›, naming it. With ‹compare: words›
texts that differ only in case, punctuation or white space count as copies; those without any word
are compared as they stand. A copy of a document in ‹against› names its file and row, counted from 0.`),
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
	index := c.index()
	barrier := &pipeline.Barrier{Parts: partsOf, Global: withPairs(c.Pairs, index.global()), Links: pairLinks(c.Pairs),
		Reduce: func(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
			return c.reduceCopies(t, part, index)
		}}
	if index != nil {
		barrier.Publish = index.publish
	}
	return pipeline.Program{Reads: dedupReads(c.Against, index), Passes: []pipeline.Pass{
		{Name: "hash", Open: c.openHash, Turn: turnOf(c.Against), RecordBytes: 21 + keepBytes(c.Keep), Barrier: barrier},
		applyClusters(c.Columns),
	}}
}

// index is nil if the plan keeps none.
func (c ExactDedup) index() *keptIndex {
	if c.Index == nil {
		return nil
	}
	return &keptIndex{c.Index, "exact_dedup", func(*pipeline.Plan) map[string]string {
		return map[string]string{"compare": c.Compare, "hash": "xxh3-128", "words": wordsVersion}
	}}
}

// openHash sends, for each document, half of its hash as key, and the other half before a byte 1
// and the keep rank: records of one hash sort together, in keep order. Documents of against come
// before them, with a byte 0 and their order.
func (c ExactDedup) openHash(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	content := &contentWriter{words: c.Compare == "words"}
	rank := keepRanker(c.Keep)
	var payload, order []byte
	send := func(d *pipeline.Doc, out *pipeline.Out, kind byte, order []byte) {
		sum := dedup.Hash128(content.of(d))
		payload = append(append(append(payload[:0], sum[8:]...), kind), order...)
		out.Send(binary.BigEndian.Uint64(sum[:8]), payload)
	}
	return &againstReader{ctx: ctx, t: t, against: c.Against,
		MapFunc: func(d *pipeline.Doc, out *pipeline.Out) error {
			order = rank(order[:0], d, out)
			send(d, out, 1, order)
			return nil
		},
		visit: func(file int, d *pipeline.Doc, out *pipeline.Out) error {
			order = appendOrder(order[:0], againstOrder(file, d))
			send(d, out, 0, order)
			return nil
		}}, nil
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
	t       *pipeline.Task
	against []againstFile
	earlier *keptGenerations
	names   map[uint64]string  // of documents of earlier generations with the key, by the other half
	kept    *dedup.IndexWriter // or nil

	columns bool // sizes are wanted
	size    int  // of the latest group

	key     uint64 // of the latest text: half of its hash
	half    uint64 // and the other half
	some    bool
	first   pipeline.Ref // which stays, unless
	matched string       // it is in an earlier generation, or in against
}

func (c *copiesReducer) add(r pipeline.Record) error {
	half, known := binary.BigEndian.Uint64(r.Payload), r.Payload[8] == 0
	if !c.some || r.Key != c.key {
		clear(c.names)
		if err := c.earlier.find(r.Key, math.MaxInt, c.remember); err != nil {
			return err
		}
	}
	if !c.some || r.Key != c.key || half != c.half {
		c.end()
		c.size = 1
		c.key, c.half, c.some, c.first, c.matched = r.Key, half, true, r.Ref, c.names[half]
		if known {
			c.matched = againstName(c.t, c.against, binary.BigEndian.Uint64(r.Payload[9:]))
		}
		if c.matched == "" && c.kept != nil {
			return c.kept.Document(r.Key, c.t.DocName(r.Ref), []uint64{half})
		}
		if c.matched == "" {
			return nil
		}
	}
	if known {
		return nil
	}
	c.size++
	v := pipeline.Verdict{Reason: "exact_duplicate", Value: 1, MatchedName: c.matched}
	if first := c.first; c.matched == "" {
		v.Matched = &first
	}
	c.t.Decide(r.Ref, v)
	return nil
}

// end decides about the document that stays.
func (c *copiesReducer) end() {
	if c.columns && c.matched == "" {
		decideSize(c.t, c.first, c.size)
	}
}

// remember notes a document of an earlier generation with the key at hand.
func (c *copiesReducer) remember(d earlierDoc) error {
	name, set, err := c.earlier.found(d)
	if err == nil && len(set) == 1 && c.names[set[0]] == "" {
		c.names[set[0]] = name
	}
	return err
}

func (c ExactDedup) reduceCopies(t *pipeline.Task, part *pipeline.Partition, index *keptIndex) error {
	earlier, err := index.open(t)
	if err != nil {
		return err
	}
	r := &copiesReducer{t: t,
		columns: c.Columns, against: againstFiles(t, c.Against), earlier: earlier, names: map[uint64]string{}}
	read := func() error {
		err := errors.Join(part.Each(r.add), earlier.close())
		r.end()
		return err
	}
	if index == nil {
		return read()
	}
	return writeIndex(t, indexPart, func(kept *dedup.IndexWriter) error {
		r.kept = kept
		return read()
	})
}
