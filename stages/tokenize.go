package stages

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"bzdata/pipeline"
	"bzdata/tokenize"
)

// Tokenize is the configuration of the tokenize stage.
type Tokenize struct {
	SequenceLength int     `yaml:"sequence_length" min:"8" max:"1048576" network:"tokenize.sequence_length" doc:"Tokens of a sequence."`
	Packing        string  `yaml:"packing" enum:"truncate-pad|eos-concat|best-fit|esft" network:"tokenize.packing" doc:"How documents become sequences: one each, truncated or padded; all joined by the end-of-text token and cut; whole ones put together where they fit; or as ESFT joins them."`
	SpecialTokens  bool    `yaml:"special_tokens" network:"tokenize.special_tokens" doc:"Put the tokenizer's own special tokens around each text, as its template says; not around what a chat template wrote."`
	LongDocuments  string  `yaml:"long_documents" enum:"truncate|window" network:"tokenize.long_documents" doc:"What stays of a document longer than a sequence: with truncate-pad its head, with the joined packings all of it; or a window whose place its hash gives."`
	ConcatRatio    float64 `yaml:"concat_ratio" min:"0" max:"1" doc:"With packing esft, how many of the documents behind another in a sequence lose their first token, as a rule the beginning-of-text token."`

	ChatTemplate     pipeline.Path `yaml:"chat_template" doc:"How messages are written: auto, by the base model's own template, or as User: and Assistant: if it has none; esft, as ESFT does, with its special tokens; none, the contents alone; or by the template in this file."`
	GenerationPrompt bool          `yaml:"generation_prompt" network:"tokenize.generation_prompt" doc:"Let a model's template end with the beginning of one more answer, as Block Zero does."`
	LossOn           string        `yaml:"loss_on" enum:"all|assistant" doc:"Which tokens of a training conversation are to be predicted: all, or those of the assistant."`

	Shuffle    string   `yaml:"shuffle" enum:"documents|sequences" doc:"What is put into seeded order for training: the documents before they are packed, or the sequences afterwards, too."`
	TokenWidth string   `yaml:"token_width" enum:"auto|uint16|uint32" doc:"Bytes of a token in files: two where the vocabulary fits, or as told."`
	Also       []string `yaml:"also" enum:"datatrove|megatron" doc:"Formats of other programs that the documents' tokens are written in, too, below out/tokens."`
}

func tokenizeSpec() pipeline.Spec[Tokenize] {
	return pipeline.Spec[Tokenize]{
		Name: "tokenize", Version: 4,
		Summary: "Turns the documents and the held-out set into token shards.",
		Doc: code(`
Writes token shards under out/tokens with the base model's tokenizer: ‹train› in a seeded order of
documents, ‹select› and ‹judge› of the held-out set. Every sequence knows which documents its tokens
are from, so that losses can be told by document and source. Padding, truncation and leftovers are
counted. ‹train› draws sequences in a seeded order of its own for each epoch, and goes on at its
position in it; ‹shuffle: sequences› is for programs that read the shards from front to back.

‹packing›: ‹truncate-pad› is what Block Zero and Connito score on, ‹eos-concat› what Subnet 9 does. ‹best-fit› cuts no
document that fits a sequence: it holds back 16 MiB of tokens, or 64 sequences if those are more, but no more than
65536 documents, and lays them out from the longest to the shortest, each where it leaves the least room (Ding et
al. 2024). ‹esft› joins documents as ESFT's published code does: the last one of a sequence loses what does not fit
from its left. A token attends to all tokens before it in its sequence, also to those of other documents: the
networks train and score like that, and ‹train› has no attention by document.

Messages are written by the base model's chat template, from ‹chat_template.jinja› or ‹tokenizer_config.json›, in the
part of Jinja that such templates use; anything else is an error. Special tokens that it spells are found, also in what
the messages say, as transformers does. A model without one gets ‹User: …› and ‹Assistant: …›. With
‹loss_on: assistant› only what the assistant says, with the token that ends it, is learnt, but for messages with
‹mask: 1›, as ESFT's data has it; ‹select› and ‹judge› count every token all the same, as the networks do.

Each run reads the shards back and audits them: ids without a token, texts that do not come back from their tokens,
documents without the tokens that begin or end them. What is amiss is a note in the report.

‹also› writes each document's tokens, as long as packing leaves them, with an end-of-text token behind:
‹datatrove/PART_00000_doc_shuffled.ds› with its ‹.index›, ‹.loss› and ‹.metadata›, and ‹megatron/PART.bin› with ‹PART.idx›.
It is a key of this stage since their order and tokens are at hand here.`),
		Example: `
tokenize:
  sequence_length: 1024
  packing: truncate-pad`,
		Takes: documentsOnly, Makes: []pipeline.Data{pipeline.Tokens},
		Default: Tokenize{SequenceLength: 1024, Packing: "truncate-pad", LongDocuments: "truncate", ConcatRatio: 0.2,
			ChatTemplate: chatAuto, LossOn: "all", Shuffle: "documents", TokenWidth: "auto"},
		New: func(c Tokenize) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check asks for a tokenizer, and for settings that go together.
func (c *Tokenize) Check(at *pipeline.Fields) {
	if at.Plan().Network.Base.Model == "" {
		at.Errorf("sequence_length", "the plan names no base model, whose tokenizer is used; set network.base.model")
	}
	if c.Packing != string(tokenize.PackESFT) && at.IsSet("concat_ratio") {
		at.Errorf("concat_ratio", "goes with packing: esft")
	}
	if c.Packing == string(tokenize.PackESFT) && c.LongDocuments == "window" {
		at.Errorf("long_documents", "packing: esft keeps the end of a long document; write long_documents: truncate")
	}
	if (c.ChatTemplate == chatESFT || c.ChatTemplate == chatNone) && at.IsSet("generation_prompt") && c.GenerationPrompt {
		at.Errorf("generation_prompt", "chat_template: %s has none; leave it out", c.ChatTemplate)
	}
	if c.ChatTemplate == "" {
		at.Errorf("chat_template", "is empty; write auto, esft, none or the name of a file")
	}
}

func (c Tokenize) program() pipeline.Program {
	return pipeline.Program{
		WriteShare: 2 + 2*float64(len(c.Also)), // of some four bytes, a token takes four, and half of that while it is sorted
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			return append([]pipeline.Read{readTokenizer(p), {Name: "held_out", HeldOut: true}}, c.chat().reads(p)...)
		},
		Run: c.run, Uses: uses(pipeline.Exam),
		Links: []pipeline.Link{{Name: "out/tokens", From: "tokens"}},
	}
}

func (c Tokenize) options(tok *tokenize.Tokenizer) tokenize.PackOptions {
	o := tokenize.PackOptions{Packing: tokenize.Packing(c.Packing), SequenceLength: c.SequenceLength, ConcatRatio: c.ConcatRatio,
		AddSpecial: c.SpecialTokens, Window: tokenize.WindowHead, MaskPadID: c.Packing == string(tokenize.PackTruncatePad)}
	if c.LongDocuments == "window" {
		o.Window = tokenize.WindowHash
	}
	return o.WithTokenizer(tok)
}

// tokenBytes is the width of a token in files, as [tokenize.ShardMeta] has it.
func (c Tokenize) tokenBytes(tok *tokenize.Tokenizer) (int, error) {
	switch {
	case c.TokenWidth == "uint32":
		return 4, nil
	case c.TokenWidth == "auto":
		return 0, nil
	case tok.VocabSize() > 1<<16:
		return 0, &pipeline.UsageError{Msg: fmt.Sprintf("tokenize.token_width: the %d tokens of the vocabulary do not fit "+
			"uint16; write auto or uint32", tok.VocabSize())}
	}
	return 2, c.checkAlso(tokenize.ForeignOptions{TokenBytes: 2, VocabSize: tok.VocabSize()})
}

// tokenized is one document's tokens.
type tokenized struct {
	sum     [sha256.Size]byte // of the text
	differs bool              // the text does not come back from the tokens
	doc     tokenize.Document
}

func (c Tokenize) run(ctx context.Context, t *pipeline.Task) error {
	tok, err := tokenize.Load(t.Inputs, t.Files("tokenizer")[0])
	if err != nil {
		return err
	}
	w := &tokenWriter{Tokenize: c, t: t, tok: tok, sources: map[string]uint32{}}
	if w.width, err = c.tokenBytes(tok); err != nil {
		return err
	}
	if w.conv, err = c.chat().open(t, tok); err != nil {
		return err
	}
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
	meta := tokensMeta{Tokenizer: tok.Hash(), SequenceLength: c.SequenceLength, Packing: c.Packing,
		Parts: map[string]tokensPart{}}
	for _, part := range []struct {
		name string
		docs documents
	}{{"train", sortedDocuments(train)}, {"select", documentsOf(held[pipeline.Select])},
		{"judge", documentsOf(held[pipeline.Judge])}} {
		if err := w.part(part.name, part.docs, &meta); err != nil {
			return err
		}
	}
	if w.beyond != nil {
		meta.Domain = &tokensDomain{w.beyond}
	}
	w.report()
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
		doc, err := w.prepare(d, false)
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
	conv    *conversations
	width   int // bytes of a token in files, 0 for the least
	mu      sync.Mutex
	sources map[string]uint32
	names   []string
	beyond  []uint64 // of tokensDomain; nil if there is none
	parts   []*partWriter
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
			doc, err := w.prepare(d, w.LossOn == "assistant")
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

func (w *tokenWriter) prepare(d *pipeline.Doc, onlyAnswers bool) (tokenized, error) {
	info := tokenize.DocumentInfo{Source: w.source(d.Source), ID: d.Name()}
	doc, text, err := w.conv.prepare(w.options(w.tok), info, d, onlyAnswers)
	if err != nil {
		return tokenized{}, fmt.Errorf("%s: %w", d.Name(), err)
	}
	ownLayout := d.Messages != nil && w.conv.template == chatESFT // which has no text
	return tokenized{sha256.Sum256([]byte(text)), !ownLayout && !w.tok.Spells(doc, text), doc}, nil
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
