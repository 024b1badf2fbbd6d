package tokenize

import (
	"fmt"
	"math"
	"math/rand/v2"
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
	// PackBestFit puts whole documents, an EOS after each, where they leave the least room:
	// best-fit-decreasing within a buffer (Ding et al. 2024, Fewer Truncations Improve
	// Language Modeling). Only a document longer than a sequence is cut, into full sequences
	// and a rest.
	PackBestFit Packing = "best-fit"
	// PackESFT joins documents as ESFT trains on them (get_examples_from_buffer_pad, utils.py):
	// the last document of a sequence loses what does not fit from its left, and some documents
	// behind others lose their first token, the BOS; see ConcatRatio.
	PackESFT Packing = "esft"
)

// Packings lists the packings.
func Packings() []Packing {
	return []Packing{PackTruncatePad, PackEOSConcat, PackBestFit, PackESFT}
}

// separates reports whether an EOS is put behind each document.
func (p Packing) separates() bool { return p == PackEOSConcat || p == PackBestFit }

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
	// Window says what stays of a document longer than a sequence; WindowHead if empty. But
	// for truncate-pad, WindowHead cuts nothing. WindowHash does not go with esft.
	Window Window
	// DocumentTokensMax cuts longer documents of all packings but truncate-pad, their special
	// tokens kept (truncation=True at the tokenizer's model_max_length); 0 for no limit.
	DocumentTokensMax int
	// ConcatRatio is how likely [PackESFT] takes the first token off a document that does not
	// begin a sequence, 0 to 1: random_concat_ratio, by default 0.2 there. Seed makes the choices.
	ConcatRatio float64
	Seed        uint64
	// AddSpecial puts the template's special tokens around each text
	// (add_special_tokens=True).
	AddSpecial bool
	// FindSpecial finds special tokens spelled out in the text: chat templates.
	FindSpecial bool
	// EOS ends each document of eos-concat and best-fit, which need it; −1 for none.
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
	case !slices.Contains(Packings(), o.Packing):
		return fmt.Errorf("unknown packing %q: choose one of %q", o.Packing, Packings())
	case o.Window != WindowHead && o.Window != WindowHash:
		return fmt.Errorf("unknown window %q: choose %q or %q", o.Window, WindowHead, WindowHash)
	case o.Window == WindowHash && o.Packing == PackESFT:
		return fmt.Errorf("packing %q keeps the end of long documents, which does not go with window %q", o.Packing, o.Window)
	case o.DocumentTokensMax < 0:
		return fmt.Errorf("document tokens max is %d, want 0 for no limit or more", o.DocumentTokensMax)
	case o.SequenceLength < 2 || o.SequenceLength > math.MaxInt32:
		return fmt.Errorf("sequence length %d: a sequence needs 2 tokens to have a target", o.SequenceLength)
	case !(o.ConcatRatio >= 0 && o.ConcatRatio <= 1):
		return fmt.Errorf("concat ratio is %g, want 0 to 1", o.ConcatRatio)
	case o.Packing.separates() && o.EOS < 0:
		return fmt.Errorf("packing %q needs an EOS token, and the tokenizer names none", o.Packing)
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
	// before truncation and without the separator of eos-concat and best-fit.
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
	// Start is the first token that is kept, but for esft.
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
// PlacedTokens + TruncatedTokens + HeadTokens + DroppedTokens, and
// Sequences × length = PlacedTokens + PaddingTokens.
type PackStats struct {
	Documents int64 // given to the packer
	Empty     int64 // had no token, and gave nothing
	// WithoutTarget documents of truncate-pad, and sequences of the other packings, had
	// nothing to predict and were not emitted; their tokens are DroppedTokens.
	WithoutTarget int64
	Truncated     int64 // documents that lost tokens to a length limit
	Split         int64 // documents that lie in several sequences, their separator counted
	Sequences     int64

	DocumentTokens  int64 // of all documents, before truncation
	SeparatorTokens int64 // EOS put after documents by eos-concat and best-fit
	PlacedTokens    int64 // in sequences
	TruncatedTokens int64
	HeadTokens      int64 // first tokens that esft took off documents behind others
	DroppedTokens   int64
	PaddingTokens   int64
	TargetTokens    int64
}

// Packer lays documents out in sequences, in the order in which they are added; best-fit
// looks ahead in a buffer, see [bestFit]. It is not safe for concurrent use; the costly
// part, [PackOptions.Prepare], is.
type Packer struct {
	opt   PackOptions
	emit  func(*Sequence) error
	seq   Sequence
	fill  int // tokens placed in seq
	stats PackStats

	fit  *bestFit   // of best-fit
	coin *rand.Rand // of esft
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
	switch o.Packing {
	case PackBestFit:
		p.fit = newBestFit(o.SequenceLength)
	case PackESFT:
		p.coin = rand.New(rand.NewPCG(o.Seed, 0))
	}
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
	switch p.opt.Packing {
	case PackTruncatePad:
		return p.addAlone(d)
	case PackESFT:
		return p.addESFT(d)
	}
	d = p.separated(d)
	if p.opt.Packing == PackBestFit {
		return p.addFitted(d)
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

// separated returns the document, cut to its window if one is asked for, with an EOS behind it.
func (p *Packer) separated(d Document) Document {
	end := len(d.Tokens)
	if p.opt.Window == WindowHash {
		end = min(end, d.Start+p.opt.SequenceLength)
	}
	p.truncated(int64(d.DocumentInfo.Tokens) - int64(end-d.Start))
	p.stats.SeparatorTokens++
	d.Tokens = append(d.Tokens[:end:end], p.opt.EOS)
	if d.Masked != nil {
		d.Masked = append(d.Masked[:end:end], false)
	}
	return d
}

func (p *Packer) addJoined(d Document) error {
	if len(d.Tokens)-d.Start > p.opt.SequenceLength-p.fill {
		p.stats.Split++
	}
	for from := d.Start; from < len(d.Tokens); {
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

// addESFT joins a document as ESFT does: it keeps the end of one that does not fit, and
// then, behind another document, may lose its first token.
func (p *Packer) addESFT(d Document) error {
	from := max(0, len(d.Tokens)-(p.opt.SequenceLength-p.fill))
	p.truncated(int64(d.DocumentInfo.Tokens) - int64(len(d.Tokens)-from))
	if p.fill > 0 && p.coin.Float64() < p.opt.ConcatRatio {
		from++
		p.stats.HeadTokens++
	}
	if from < len(d.Tokens) {
		p.place(d, from, len(d.Tokens))
	}
	if p.fill < p.opt.SequenceLength {
		return nil
	}
	return p.flush()
}

// Close emits what is still held back and returns the counts.
func (p *Packer) Close() (PackStats, error) {
	if p.fit != nil {
		if err := p.packBuffer(); err != nil {
			return p.stats, err
		}
	}
	if p.fill == 0 {
		return p.stats, nil
	}
	err := p.flush()
	return p.stats, err
}

// Stats returns the counts so far.
func (p *Packer) Stats() PackStats { return p.stats }
