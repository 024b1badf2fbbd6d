package stages

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize/words"
)

// SpanDedup is the configuration of the span_dedup stage.
type SpanDedup struct {
	Unit             string `yaml:"unit" enum:"line|paragraph|sentences" doc:"What is compared and removed: lines, paragraphs (between empty lines), or runs of sentences."`
	Sentences        int    `yaml:"sentences" min:"1" max:"64" doc:"Sentences in a span, with unit sentences."`
	Compare          string `yaml:"compare" enum:"text|lower|words" doc:"When spans are equal: as they stand but for white space at their ends, also in lower case, or by their words alone."`
	SpanWordsMin     int    `yaml:"span_words_min" min:"0" doc:"Spans of fewer words are never removed. 5 words is what a line must have in C4 (Raffel et al. 2020, section 2.2)."`
	DocumentWordsMin int    `yaml:"document_words_min" min:"0" doc:"A document that lost spans and has fewer words left is dropped."`
	PerMessage       bool   `yaml:"per_message" doc:"Also remove spans from conversations: from each message on its own."`
}

func spanDedupSpec() pipeline.Spec[SpanDedup] {
	return pipeline.Spec[SpanDedup]{
		Name: "span_dedup", Version: 1,
		Summary: "Removes lines, paragraphs or runs of sentences that occur before in the data.",
		Doc: code(`
Of every span that occurs more than once in the whole data, the first occurrence by source, file, row
and place stays, and every other is removed from its document. The first copy of a unit is never
removed, so that nothing is lost from the data but repetition and what the minima below drop. Of the
white space around what is removed, the stretch with the most line ends stays.

A document of which nothing is left is dropped as ‹nothing_left›, one below ‹document_words_min› as
‹few_words_left›; documents that lost nothing stay as they are. Spans are known by 128-bit hashes:
among n spans two different ones are taken for equal with probability n²/2^129, 1.5e-15 at 10^12 spans.
A sentence ends at . ! ? … and their like with closing quotes, before white space unless a lower-case
letter follows, and at a line end.

For lines as in C4's released code, ‹unit: line, compare: lower›; for what its paper says, ‹unit:
sentences, sentences: 3, compare: lower›; near datatrove's SentenceDedup, ‹unit: sentences, compare:
words, span_words_min: 0, document_words_min: 51›, since that keeps documents of more than 50 words.
Unlike those, the copy that stays is the first (C4's is chosen by a hash of its URL; datatrove 0.10
orders by number within the file before the file), blank lines are not spans, and the number of a
sentence may exceed 65,535.

Conversations are refused unless ‹per_message› is set: removing what one side says can leave an
answer without its question. No span then reaches from one message into the next.`),
		Example: `
span_dedup:
  unit: sentences
  sentences: 3
  compare: lower
  document_words_min: 50`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: SpanDedup{Unit: "line", Sentences: 3, Compare: "text", SpanWordsMin: 5},
		New:     func(c SpanDedup) (pipeline.Program, error) { return c.program() },
	}
}

// Check refuses conversations.
func (c *SpanDedup) Check(at *pipeline.Fields) {
	chat := slices.ContainsFunc(at.Plan().Input, func(in pipeline.Input) bool { return in.Messages != "" })
	if chat && !c.PerMessage {
		at.Errorf("per_message", "the input has messages, from which spans are removed only with per_message: true")
	}
}

func (c SpanDedup) options() dedup.SpanOptions {
	return dedup.SpanOptions{Unit: c.Unit, Sentences: c.Sentences, Compare: c.Compare, WordsMin: c.SpanWordsMin}
}

func (c SpanDedup) program() (pipeline.Program, error) {
	if err := c.options().Validate(); err != nil {
		return pipeline.Program{}, err
	}
	spans := func() any { return c.options() } // the minimum of words acts on what is left only
	return pipeline.Program{Passes: []pipeline.Pass{
		{Name: "hash", Open: c.openHash, Config: spans, RecordBytes: 300,
			Barrier: &pipeline.Barrier{Parts: partsOf, Reduce: reduceSpans, Config: spans}},
		{Name: "remove", Open: c.openRemove, Edits: true},
	}}, nil
}

// spansOf makes a function that cuts a document into spans.
func (c SpanDedup) spansOf() (*dedup.Spans, func(d *pipeline.Doc) error, error) {
	s, err := dedup.NewSpans(c.options())
	var texts []string
	return s, func(d *pipeline.Doc) error {
		switch {
		case d.Messages == nil:
			s.Cut(d.Text)
		case c.PerMessage:
			texts = texts[:0]
			for _, m := range d.Messages {
				texts = append(texts, m.Content)
			}
			s.Cut(texts...)
		default:
			return errors.New("is a conversation, from which spans are removed only with per_message: true")
		}
		return nil
	}, err
}

// openHash sends a record for each different span of a document: the hash's first half is the
// key; its other half, then document and number of the span are the payload, so that the
// records of one span stand together, the first document first.
func (c SpanDedup) openHash(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
	spans, cut, err := c.spansOf()
	var payload []byte
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		if err := cut(d); err != nil {
			return err
		}
		spans.Distinct(func(span int, key dedup.SpanKey) {
			payload = append(payload[:0], key[8:]...)
			payload = appendOrdered(payload, uint64(d.Ref.Shard))
			payload = appendOrdered(payload, d.Ref.Record)
			payload = binary.AppendUvarint(payload, uint64(span))
			out.Send(binary.BigEndian.Uint64(key[:8]), payload)
		})
		return nil
	}), err
}

// appendOrdered appends v so that the bytes of two numbers compare as they do: their count,
// then the bytes without leading zeros.
func appendOrdered(dst []byte, v uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	significant := bytes.TrimLeft(b[:], "\x00")
	return append(append(dst, byte(len(significant))), significant...)
}

// spanNumber returns the number of a span from the payload of its record.
func spanNumber(payload []byte) uint64 {
	rest := payload[8:]
	for range 2 {
		rest = rest[1+rest[0]:]
	}
	n, _ := binary.Uvarint(rest)
	return n
}

// repeatsName is the file of spans that occur before, a file of shard parts: the block of a
// shard has, for each, in the order of records and spans, the uvarint distance of its record
// from the one before and the uvarint number of the span in its document.
const repeatsName = "repeats"

func reduceSpans(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	repeats := t.Sorter()
	var key uint64
	var first, at []byte
	err := part.Each(func(r pipeline.Record) error {
		if len(first) == 0 || r.Key != key || !bytes.Equal(first, r.Payload[:8]) {
			key, first = r.Key, append(first[:0], r.Payload[:8]...)
			return nil
		}
		at = binary.BigEndian.AppendUint64(at[:0], r.Ref.Record)
		at = binary.BigEndian.AppendUint64(at, spanNumber(r.Payload))
		return repeats.Add(pipeline.Record{Key: uint64(r.Ref.Shard), Ref: r.Ref, Payload: at})
	})
	if err != nil {
		return err
	}
	var blocks [][]byte
	record := uint64(0)
	err = repeats.Each(func(r pipeline.Record) error {
		for uint32(len(blocks)) <= r.Ref.Shard {
			blocks, record = append(blocks, nil), 0
		}
		b := binary.AppendUvarint(blocks[r.Ref.Shard], r.Ref.Record-record)
		blocks[r.Ref.Shard] = binary.AppendUvarint(b, binary.BigEndian.Uint64(r.Payload[8:]))
		record = r.Ref.Record
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(t.WriteFile(repeatsName, func(w io.Writer) error { return pipeline.WriteShardParts(w, blocks) }),
		repeats.Close())
}

// repeats are the spans of one shard's documents that occur before, from all partitions: two
// to four bytes each.
type repeats struct{ heap []repeatBlock }

// repeatBlock is what one partition still has to say, from a record and span on.
type repeatBlock struct {
	record, span uint64
	rest         []byte
}

func (b *repeatBlock) next() bool {
	if len(b.rest) == 0 {
		return false
	}
	distance, n := binary.Uvarint(b.rest)
	span, m := binary.Uvarint(b.rest[max(n, 0):])
	b.record, b.span, b.rest = b.record+distance, span, b.rest[max(n, 0)+max(m, 0):]
	return n > 0 && m > 0
}

func openRepeats(fsys store.FS, dirs []string, shard int) (*repeats, error) {
	r := &repeats{}
	for _, dir := range dirs {
		block, err := pipeline.ReadShardPart(fsys, filepath.Join(dir, repeatsName), shard)
		if err != nil {
			return nil, err
		}
		if b := (repeatBlock{rest: block}); b.next() {
			r.heap = append(r.heap, b)
		}
	}
	for i := len(r.heap)/2 - 1; i >= 0; i-- {
		r.sink(i)
	}
	return r, nil
}

// sink restores the order below the i-th block: each record is at most those of its children.
func (r *repeats) sink(i int) {
	for {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(r.heap) && r.heap[child].record < r.heap[least].record {
				least = child
			}
		}
		if least == i {
			return
		}
		r.heap[i], r.heap[least] = r.heap[least], r.heap[i]
		i = least
	}
}

// of appends the spans of one document, in ascending order. Documents are asked for in order.
func (r *repeats) of(record uint64, dst []int) []int {
	for len(r.heap) > 0 && r.heap[0].record <= record {
		if r.heap[0].record == record {
			dst = append(dst, int(r.heap[0].span))
		}
		if !r.heap[0].next() {
			last := len(r.heap) - 1
			r.heap[0] = r.heap[last]
			r.heap = r.heap[:last]
		}
		r.sink(0)
	}
	slices.Sort(dst)
	return dst
}

// spanRemover removes spans from documents.
type spanRemover struct {
	config  SpanDedup
	spans   *dedup.Spans
	cut     func(d *pipeline.Doc) error
	repeats *repeats
	numbers []int
	left    []words.Span
}

func (c SpanDedup) openRemove(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	repeats, err := openRepeats(t.FS, t.BarrierDirs(), t.Shard())
	if err != nil {
		return nil, err
	}
	spans, cut, err := c.spansOf()
	return &spanRemover{config: c, spans: spans, cut: cut, repeats: repeats}, err
}

// Map edits one document.
func (s *spanRemover) Map(d *pipeline.Doc, out *pipeline.Out) error {
	if err := s.cut(d); err != nil {
		return err
	}
	s.numbers = s.repeats.of(d.Ref.Record, s.numbers[:0])
	texts, removed := s.spans.Remove(s.numbers)
	if removed.Units == 0 {
		return nil
	}
	left, reason := strings.Join(texts, "\n"), ""
	s.left = words.AppendWords(s.left[:0], left)
	switch {
	case isBlankText(left):
		reason = "nothing_left"
	case len(s.left) < s.config.DocumentWordsMin:
		reason = "few_words_left"
	}
	if reason != "" { // the drop log shows the document as it came
		out.Detail("%d of %d bytes were repeated", removed.Bytes, len(d.Text))
		out.Drop(reason, float64(len(s.left)))
		return nil
	}
	out.Edit("spans_removed", int64(removed.Spans))
	out.Edit("bytes_removed", int64(removed.Bytes))
	out.Edit("documents", 1)
	return setTexts(d, texts)
}

// isBlankText reports whether a text is all white space.
func isBlankText(text string) bool {
	return words.Trim(text, words.Span{End: int32(min(len(text), words.TextBytesMax))}).Len() == 0
}

// setTexts replaces the text of a document, or the contents of its messages in order.
func setTexts(d *pipeline.Doc, texts []string) error {
	if d.Messages == nil {
		d.SetText(texts[0])
		return nil
	}
	for i := range d.Messages {
		d.Messages[i].Content = texts[i]
	}
	return d.SetMessages(d.Messages)
}
