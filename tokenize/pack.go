package tokenize

import (
	"fmt"
	"math"
	"slices"
)

// Packing names a way to lay documents out in sequences of one length.
type Packing string

const (
	// PackTruncatePad gives each document a sequence of its own, truncated or padded:
	// what Block Zero and Connito train and score on.
	PackTruncatePad Packing = "truncate-pad"
	// PackEOSConcat joins all documents, an EOS after each, and cuts the stream into
	// sequences; the last one is padded. Subnet 9 scores on such sequences.
	PackEOSConcat Packing = "eos-concat"
)

// Window says which tokens of a document that is too long a truncated sequence keeps.
type Window string

const (
	// WindowHead keeps the first tokens, special tokens around the text included.
	WindowHead Window = "head"
	// WindowHash keeps a window whose start is drawn from the text's hash; see
	// [TokenWindow].
	WindowHash Window = "hash"
)

// PackOptions say how documents become sequences.
type PackOptions struct {
	Packing        Packing
	SequenceLength int // tokens of a sequence, at least 2
	// Window is for truncate-pad; WindowHead if empty.
	Window Window
	// DocumentTokensMax cuts longer documents of eos-concat, their special tokens
	// kept (truncation=True at the tokenizer's model_max_length); 0 for no limit.
	DocumentTokensMax int
	// AddSpecial puts the template's special tokens around each text
	// (add_special_tokens=True).
	AddSpecial bool
	// FindSpecial finds special tokens spelled out in the text: chat templates.
	FindSpecial bool
	// EOS ends each document in eos-concat, which needs it; −1 for none.
	EOS int32
	// Pad fills up sequences. If it is −1, EOS does, and if that is −1 too, id 0
	// (as Connito does for tokenizers without a padding token).
	Pad int32
	// MaskPadID excludes every token equal to Pad from the targets, not only the
	// filling: so does transformers' DataCollatorForLanguageModeling, on which Block
	// Zero and Connito stand. Where Pad is the EOS, documents' ends are then not learnt.
	MaskPadID bool
}

// WithTokenizer returns the options with EOS and Pad taken from t.
func (o PackOptions) WithTokenizer(t *Tokenizer) PackOptions {
	o.EOS, o.Pad = t.eos, t.pad
	return o
}

func (o *PackOptions) complete() error {
	if o.Pad < 0 {
		o.Pad = max(o.EOS, 0)
	}
	if o.Window == "" {
		o.Window = WindowHead
	}
	switch {
	case o.Packing != PackTruncatePad && o.Packing != PackEOSConcat:
		return fmt.Errorf("unknown packing %q: choose %q or %q", o.Packing, PackTruncatePad, PackEOSConcat)
	case o.Window != WindowHead && o.Window != WindowHash:
		return fmt.Errorf("unknown window %q: choose %q or %q", o.Window, WindowHead, WindowHash)
	case o.DocumentTokensMax < 0:
		return fmt.Errorf("document tokens max is %d, want 0 for no limit or more", o.DocumentTokensMax)
	case o.SequenceLength < 2 || o.SequenceLength > math.MaxInt32:
		return fmt.Errorf("sequence length %d: a sequence needs 2 tokens to have a target", o.SequenceLength)
	case o.Packing == PackEOSConcat && o.EOS < 0:
		return fmt.Errorf("packing %q needs an EOS token, and the tokenizer names none", PackEOSConcat)
	}
	return nil
}

// DocumentInfo is what a sequence remembers of a document, for attributing losses.
type DocumentInfo struct {
	// Ordinal is the document's number in the whole data set; an occurrence of its own
	// where a mix repeats documents.
	Ordinal uint64
	// Source is the index of the source's name; see [ShardMeta].
	Source uint32
	// Tokens is the document's length in tokens with the template's special tokens,
	// before truncation and without the separator of eos-concat.
	Tokens uint32
	// TextBytes is the length of the text in bytes.
	TextBytes uint64
	// ID names the document; may be empty.
	ID string
}

// Document is a tokenized document, ready to be packed. [PackOptions.Prepare] makes one.
type Document struct {
	DocumentInfo
	// Tokens holds the tokens to pack: all of them, or what truncation to the head left.
	Tokens []int32
	// Masked marks tokens that are never targets, such as prompts; nil for none.
	Masked []bool
	// Start is the first token that truncate-pad keeps.
	Start int
}

// Segment is a run of tokens of one sequence that come from one document, its
// separator included.
type Segment struct {
	Document DocumentInfo
	// Start and End delimit the run in the sequence.
	Start, End int
	// From is the position in the document of the run's first token.
	From int
}

// Sequence is one packed sequence. Target[i] says that token i is to be predicted from
// the tokens before it; it is false for the first token, for padding and for masked
// tokens.
type Sequence struct {
	Tokens   []int32
	Target   []bool
	Segments []Segment

	raw []byte // reading buffer
}

// PackStats counts what packing did. It balances: DocumentTokens + SeparatorTokens =
// PlacedTokens + TruncatedTokens + DroppedTokens, and
// Sequences × length = PlacedTokens + PaddingTokens.
type PackStats struct {
	Documents int64 // given to the packer
	Empty     int64 // had no token, and gave nothing
	// WithoutTarget documents of truncate-pad, and sequences of eos-concat, had nothing
	// to predict and were not emitted; their tokens are DroppedTokens.
	WithoutTarget int64
	Truncated     int64 // documents that lost tokens to a length limit
	Sequences     int64

	DocumentTokens  int64 // of all documents, before truncation
	SeparatorTokens int64 // EOS put after documents by eos-concat
	PlacedTokens    int64 // in sequences
	TruncatedTokens int64
	DroppedTokens   int64
	PaddingTokens   int64
	TargetTokens    int64
}

// Packer lays documents out in sequences, in the order in which they are added. It is
// not safe for concurrent use; the costly part, [PackOptions.Prepare], is.
type Packer struct {
	opt   PackOptions
	emit  func(*Sequence) error
	seq   Sequence
	fill  int // tokens placed in seq
	stats PackStats
}

// NewPacker returns a packer that calls emit with each finished sequence. The sequence
// is valid during the call only.
func NewPacker(o PackOptions, emit func(*Sequence) error) (*Packer, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	p := &Packer{opt: o, emit: emit}
	p.seq.Tokens = make([]int32, o.SequenceLength)
	p.seq.Target = make([]bool, o.SequenceLength)
	return p, nil
}

// Add packs a document.
func (p *Packer) Add(d Document) error {
	if d.Masked != nil && len(d.Masked) != len(d.Tokens) {
		return fmt.Errorf("document %d has %d tokens and a mask of %d",
			d.Ordinal, len(d.Tokens), len(d.Masked))
	}
	if d.Start < 0 || d.Start > len(d.Tokens) || len(d.Tokens) > int(d.DocumentInfo.Tokens) {
		return fmt.Errorf("document %d: start %d, %d tokens of %d do not fit together",
			d.Ordinal, d.Start, len(d.Tokens), d.DocumentInfo.Tokens)
	}
	p.stats.Documents++
	p.stats.DocumentTokens += int64(d.DocumentInfo.Tokens)
	if d.DocumentInfo.Tokens == 0 {
		p.stats.Empty++
		return nil
	}
	if p.opt.Packing == PackTruncatePad {
		return p.addAlone(d)
	}
	return p.addJoined(d)
}

func (p *Packer) addAlone(d Document) error {
	end := min(len(d.Tokens), d.Start+p.opt.SequenceLength)
	p.truncated(int64(d.DocumentInfo.Tokens) - int64(end-d.Start))
	p.place(d, d.Start, end)
	return p.flush()
}

func (p *Packer) truncated(cut int64) {
	if cut > 0 {
		p.stats.Truncated++
		p.stats.TruncatedTokens += cut
	}
}

func (p *Packer) addJoined(d Document) error {
	p.truncated(int64(d.DocumentInfo.Tokens) - int64(len(d.Tokens)))
	p.stats.SeparatorTokens++
	d.Tokens = append(slices.Clip(d.Tokens), p.opt.EOS)
	if d.Masked != nil {
		d.Masked = append(slices.Clip(d.Masked), false)
	}
	for from := 0; from < len(d.Tokens); {
		end := min(len(d.Tokens), from+p.opt.SequenceLength-p.fill)
		p.place(d, from, end)
		from = end
		if p.fill == p.opt.SequenceLength {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// place copies tokens from:end of d behind what the sequence holds.
func (p *Packer) place(d Document, from, end int) {
	at := p.fill
	p.fill += copy(p.seq.Tokens[at:], d.Tokens[from:end])
	for i := at; i < p.fill; i++ {
		masked := d.Masked != nil && d.Masked[from+i-at]
		padLike := p.opt.MaskPadID && p.seq.Tokens[i] == p.opt.Pad
		p.seq.Target[i] = i > 0 && !masked && !padLike
	}
	p.seq.Segments = append(p.seq.Segments, Segment{d.DocumentInfo, at, p.fill, from})
}

// flush pads the sequence and emits it, unless it has no target.
func (p *Packer) flush() error {
	targets := int64(0)
	for _, on := range p.seq.Target[:p.fill] {
		if on {
			targets++
		}
	}
	placed := int64(p.fill)
	for i := p.fill; i < len(p.seq.Tokens); i++ {
		p.seq.Tokens[i], p.seq.Target[i] = p.opt.Pad, false
	}
	p.fill = 0
	defer func() { p.seq.Segments = p.seq.Segments[:0] }()
	if targets == 0 {
		p.stats.WithoutTarget++
		p.stats.DroppedTokens += placed
		return nil
	}
	p.stats.Sequences++
	p.stats.PlacedTokens += placed
	p.stats.PaddingTokens += int64(len(p.seq.Tokens)) - placed
	p.stats.TargetTokens += targets
	return p.emit(&p.seq)
}

// Close emits the last, partly filled sequence and returns the counts.
func (p *Packer) Close() (PackStats, error) {
	if p.fill == 0 {
		return p.stats, nil
	}
	err := p.flush()
	return p.stats, err
}

// Stats returns the counts so far.
func (p *Packer) Stats() PackStats { return p.stats }
