package stages

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"bzdata/pipeline"
	"bzdata/tokenize"
)

// Tokenize is the configuration of the tokenize stage.
type Tokenize struct {
	SequenceLength int    `yaml:"sequence_length" min:"8" max:"1048576" network:"tokenize.sequence_length" doc:"Tokens of a sequence."`
	Packing        string `yaml:"packing" enum:"truncate-pad|eos-concat" network:"tokenize.packing" doc:"How documents become sequences: one each, truncated or padded; or all joined by the end-of-text token and cut."`
	SpecialTokens  bool   `yaml:"special_tokens" network:"tokenize.special_tokens" doc:"Put the tokenizer's own special tokens around each text, as its template says."`
	LongDocuments  string `yaml:"long_documents" enum:"truncate|window" network:"tokenize.long_documents" doc:"With truncate-pad, what stays of a long document: its head, or a window whose place its hash gives."`
}

func tokenizeSpec() pipeline.Spec[Tokenize] {
	return pipeline.Spec[Tokenize]{
		Name: "tokenize", Version: 3,
		Summary: "Turns the documents and the held-out set into token shards.",
		Doc: code(`
Writes token shards under out/tokens with the base model's tokenizer: ‹train› in a seeded order of
documents, ‹select› and ‹judge› of the held-out set. Every sequence knows which documents its tokens
are from, so that losses can be told by document and source. Padding, truncation and leftovers are
counted. Messages are written as ‹User: …› and ‹Assistant: …›.`),
		Example: `
tokenize:
  sequence_length: 1024
  packing: truncate-pad`,
		Takes: documentsOnly, Makes: []pipeline.Data{pipeline.Tokens},
		Default: Tokenize{SequenceLength: 1024, Packing: "truncate-pad", LongDocuments: "truncate"},
		New:     func(c Tokenize) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check asks for a tokenizer.
func (c *Tokenize) Check(at *pipeline.Fields) {
	if at.Plan().Network.Base.Model == "" {
		at.Errorf("sequence_length", "the plan names no base model, whose tokenizer is used; set network.base.model")
	}
}

func (c Tokenize) program() pipeline.Program {
	return pipeline.Program{
		WriteShare: 2, // of some four bytes, a token takes four, and half of that while it is sorted
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			return []pipeline.Read{readTokenizer(p), {Name: "held_out", HeldOut: true}}
		},
		Run: c.run, Uses: uses(pipeline.Exam),
		Links: []pipeline.Link{{Name: "out/tokens", From: "tokens"}},
	}
}

// chatTemplate renders messages, in ESFT's layout (deepseek-ai/ESFT at 579a771, utils.py).
func chatTemplate() tokenize.ChatTemplate {
	return tokenize.ChatTemplate{Turns: map[string]string{
		"user": "User: {{content}}\n\n", "assistant": "Assistant: {{content}}\n\n", "": "{{role}}: {{content}}\n\n"}}
}

// modelText is what a model reads of a document: its text, or its messages as the template
// writes them.
func modelText(d *pipeline.Doc) (string, error) {
	if d.Messages == nil {
		return d.Text, nil
	}
	ms := make([]tokenize.Message, len(d.Messages))
	for i, m := range d.Messages {
		ms[i] = tokenize.Message(m)
	}
	text, err := chatTemplate().Render(ms)
	if err != nil {
		return "", fmt.Errorf("%s: %w", d.Name(), err)
	}
	return text, nil
}

func (c Tokenize) options(tok *tokenize.Tokenizer) tokenize.PackOptions {
	o := tokenize.PackOptions{Packing: tokenize.Packing(c.Packing), SequenceLength: c.SequenceLength,
		AddSpecial: c.SpecialTokens, Window: tokenize.WindowHead, MaskPadID: c.Packing == string(tokenize.PackTruncatePad)}
	if c.LongDocuments == "window" && o.Packing == tokenize.PackTruncatePad {
		o.Window = tokenize.WindowHash
	}
	return o.WithTokenizer(tok)
}

// tokenized is one document's tokens.
type tokenized struct {
	sum [sha256.Size]byte // of the text
	doc tokenize.Document
}

func (c Tokenize) run(ctx context.Context, t *pipeline.Task) error {
	tok, err := tokenize.Load(t.Inputs, t.Files("tokenizer")[0])
	if err != nil {
		return err
	}
	w := &tokenWriter{Tokenize: c, t: t, tok: tok, sources: map[string]uint32{}}
	for _, name := range t.Plan.Sources() {
		w.source(name)
	}
	train, err := w.training(ctx)
	if err != nil {
		return err
	}
	defer train.Close()
	held, err := w.exam(ctx)
	if err != nil {
		return err
	}
	table := &pipeline.Table{Columns: []string{"part", "documents", "sequences", "tokens", "targets", "padding",
		"truncated documents", "truncated tokens"}}
	meta := tokensMeta{Tokenizer: tok.Hash(), SequenceLength: c.SequenceLength, Packing: c.Packing,
		Parts: map[string]tokensPart{}}
	for _, part := range []struct {
		name string
		docs documents
	}{{"train", sortedDocuments(train)}, {"select", documentsOf(held[pipeline.Select])},
		{"judge", documentsOf(held[pipeline.Judge])}} {
		row, err := w.part(part.name, part.docs, &meta)
		if err != nil {
			return err
		}
		table.Rows = append(table.Rows, row)
	}
	if w.beyond != nil {
		meta.Domain = &tokensDomain{w.beyond}
	}
	t.Panel(pipeline.Panel{Title: "Tokens", Table: table})
	return writeTokensMeta(t, meta)
}

// exam tokenizes the held-out documents by their marks. Where domain has looked at them,
// judge is told which lie beyond its threshold.
func (w *tokenWriter) exam(ctx context.Context) (map[pipeline.Mark][]tokenized, error) {
	var beyond map[uint64]bool
	if dir := w.t.Input(pipeline.Exam); dir != "" {
		var err error
		if beyond, err = readExam(w.t.FS, dir); err != nil {
			return nil, err
		}
		w.beyond = []uint64{}
	}
	held := map[pipeline.Mark][]tokenized{}
	err := w.t.HeldOut(ctx, func(d *pipeline.Doc) error {
		if d.Mark == pipeline.NoMark {
			return nil
		}
		if d.Mark == pipeline.Judge && beyond[pipeline.ContentHash(d.Text)] {
			w.beyond = append(w.beyond, uint64(len(held[d.Mark]))) // the ordinal that it gets
		}
		doc, err := w.prepare(d)
		held[d.Mark] = append(held[d.Mark], doc)
		return err
	})
	return held, err
}

// tokensMeta is tokens.json: what a folder of token shards holds.
type tokensMeta struct {
	Tokenizer      string                `json:"tokenizer_sha256"`
	SequenceLength int                   `json:"sequence_length"`
	Packing        string                `json:"packing"`
	Parts          map[string]tokensPart `json:"parts"`
	// Dir is the folder of the shards, if it is not that of tokens.json.
	Dir string `json:"dir,omitempty"`
	// Domain is there if a domain stage has looked at the exam.
	Domain *tokensDomain `json:"domain,omitempty"`
}

// tokensDomain lists the documents of judge, by ordinal, that lie beyond domain's threshold.
type tokensDomain struct {
	Beyond []uint64 `json:"beyond_documents"`
}

// tokensPart describes the shards of train, select or judge.
type tokensPart struct {
	Files     []string `json:"files"`
	Documents int64    `json:"documents"`
	Sequences int64    `json:"sequences"`
	Tokens    int64    `json:"tokens"`
	DataKey   string   `json:"data_key"`
}

// tokenWriter tokenizes and packs.
type tokenWriter struct {
	Tokenize
	t       *pipeline.Task
	tok     *tokenize.Tokenizer
	mu      sync.Mutex
	sources map[string]uint32
	names   []string
	beyond  []uint64 // of tokensDomain; nil if there is none
}

// source returns the number of a source; new ones come only from the held-out set, in
// its order.
func (w *tokenWriter) source(name string) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, known := w.sources[name]
	if !known {
		n = uint32(len(w.names))
		w.sources[name], w.names = n, append(w.names, name)
	}
	return n
}

// training tokenizes all shards, several at a time, and orders the documents by a seeded
// hash.
func (w *tokenWriter) training(ctx context.Context) (*pipeline.Sorter, error) {
	sorter, order := w.t.Sorter(), w.t.Seed("order")
	var mu sync.Mutex
	err := parallel(ctx, w.t.Workers, w.t.ShardCount(), func(ctx context.Context, shard int) error {
		var payload []byte
		return w.t.EachDoc(ctx, shard, func(d *pipeline.Doc) error {
			doc, err := w.prepare(d)
			if err != nil {
				return err
			}
			for i := range d.Copies {
				key := pipeline.HashID(order, fmt.Sprint(i), d.Source, d.Path, d.Ref.Record)
				payload = doc.append(payload[:0], d, i)
				mu.Lock()
				err := sorter.Add(pipeline.Record{Key: key, Ref: d.Ref, Payload: payload})
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, errors.Join(err, sorter.Close())
	}
	return sorter, nil
}

func (w *tokenWriter) prepare(d *pipeline.Doc) (tokenized, error) {
	text, err := modelText(d)
	if err != nil {
		return tokenized{}, err
	}
	info := tokenize.DocumentInfo{Source: w.source(d.Source), ID: d.Name()}
	doc, err := w.options(w.tok).Prepare(w.tok, info, text)
	if err != nil {
		return tokenized{}, fmt.Errorf("%s: %w", d.Name(), err)
	}
	return tokenized{sha256.Sum256([]byte(text)), doc}, nil
}

// shardBytesMax is where a token shard ends and the next begins: it is held in memory.
const shardBytesMax = 64 << 20

// part packs documents and writes their shards.
func (w *tokenWriter) part(name string, docs documents, meta *tokensMeta) ([]string, error) {
	p := &partWriter{tokenWriter: w, name: name}
	var err error
	if p.info.DataKey, err = dataKey(w.Tokenize, w.tok, docs); err != nil {
		return nil, err
	}
	if p.shard, err = tokenize.NewShardWriter(p.meta()); err != nil {
		return nil, err
	}
	packer, err := tokenize.NewPacker(w.options(w.tok), p.add)
	if err != nil {
		return nil, err
	}
	ordinal := uint64(0)
	err = docs(func(d *tokenized) error {
		d.doc.Ordinal = ordinal
		ordinal++
		return packer.Add(d.doc)
	})
	if err != nil {
		return nil, err
	}
	stats, err := packer.Close()
	if err != nil {
		return nil, err
	}
	if err := p.flush(); err != nil {
		return nil, err
	}
	p.info.Documents, p.info.Sequences, p.info.Tokens = stats.Documents, stats.Sequences, stats.PlacedTokens
	meta.Parts[name] = p.info
	for figure, v := range map[string]int64{"documents": stats.Documents, "sequences": stats.Sequences,
		"tokens": stats.PlacedTokens, "targets": stats.TargetTokens, "padding": stats.PaddingTokens,
		"truncated_documents": stats.Truncated, "truncated_tokens": stats.TruncatedTokens} {
		w.t.Value(name+"_"+figure, float64(v))
	}
	w.t.Figure("tokens, "+name, "%d documents, %d sequences, %d tokens", stats.Documents, stats.Sequences, stats.PlacedTokens)
	return []string{name, fmt.Sprint(stats.Documents), fmt.Sprint(stats.Sequences), fmt.Sprint(stats.PlacedTokens),
		fmt.Sprint(stats.TargetTokens), fmt.Sprint(stats.PaddingTokens), fmt.Sprint(stats.Truncated),
		fmt.Sprint(stats.TruncatedTokens)}, nil
}

// dataKey names the data of a part by its texts, in order, and how they were packed.
func dataKey(c Tokenize, tok *tokenize.Tokenizer, docs documents) (string, error) {
	var h hash.Hash = sha256.New()
	fmt.Fprintf(h, "%s %d %s %t %s", tok.Hash(), c.SequenceLength, c.Packing, c.SpecialTokens, c.LongDocuments)
	err := docs(func(d *tokenized) error { h.Write(d.sum[:]); return nil })
	return hex.EncodeToString(h.Sum(nil)[:16]), err
}

// partWriter writes the shards of one part.
type partWriter struct {
	*tokenWriter
	name  string
	info  tokensPart
	shard *tokenize.ShardWriter
}

func (p *partWriter) meta() tokenize.ShardMeta {
	o := p.options(p.tok)
	bos, ok := p.tok.BOS()
	if !ok {
		bos = -1
	}
	return tokenize.ShardMeta{SequenceLength: p.SequenceLength, VocabSize: p.tok.VocabSize(), Tokenizer: p.tok.Hash(),
		Packing: o.Packing, DataKey: p.info.DataKey, BOS: bos, EOS: o.EOS, Pad: o.Pad, Sources: p.names}
}

func (p *partWriter) add(s *tokenize.Sequence) error {
	if p.shard.Size() >= shardBytesMax {
		if err := p.flush(); err != nil {
			return err
		}
	}
	return p.shard.Add(s)
}

// flush writes the shard that is being filled, also an empty one if it is the first.
func (p *partWriter) flush() error {
	if p.shard.Sequences() == 0 && len(p.info.Files) > 0 {
		return nil
	}
	name := fmt.Sprintf("%s-%05d.tokens", p.name, len(p.info.Files))
	p.info.Files = append(p.info.Files, name)
	err := p.t.WriteFile("tokens/"+name, func(w io.Writer) error { _, err := p.shard.WriteTo(w); return err })
	p.shard.Reset()
	return err
}

// parallel calls work for 0..n-1, up to workers at a time, and returns the error of the
// lowest index.
func parallel(ctx context.Context, workers, n int, work func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, n)
	slots := make(chan struct{}, max(1, workers))
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if errs[i] = cmp.Or(ctx.Err(), work(ctx, i)); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return ctx.Err()
}
