package eval

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"bzdata/tokenize"
	"bzdata/train/model"

	"github.com/zeebo/xxh3"
)

// Data is a numbered set of sequences of one length. A *tokenize.Shard is one.
type Data interface {
	// Sequences is their number.
	Sequences() int
	// Sequence reads sequence i into dst, whose slices may be used again.
	Sequence(i int, dst *tokenize.Sequence) error
}

// Options say how to measure.
type Options struct {
	// BatchSize is the number of sequences of one forward pass, 1 if 0. It changes no bit.
	BatchSize int
	// TokensMax is how many tokens an [Evaluator] has on their way through the layers at once, 0 for all.
	// For each it holds 4 bytes times the hidden size, for the base and for the candidate, and it reads
	// the weights once for so many. It changes no bit.
	TokensMax int
	// Sources names the documents' sources by number.
	Sources []string
	// OnProgress, if not nil, is called after each batch of [Measure], with sequences, and after each
	// layer of an [Evaluator], with layers.
	OnProgress func(done, total int)
}

// SequenceLoss is one sequence's sum of token losses.
type SequenceLoss struct {
	Nats   float64
	Tokens int // targets
}

// DocumentLoss is one document's sum of token losses, over all its sequences.
type DocumentLoss struct {
	Ordinal uint64
	Source  uint32
	Nats    float64
	Tokens  int // targets
	// Bytes is the length of the text that stands in sequences, see the package comment.
	Bytes float64
}

// Losses are one model's losses on a data set.
type Losses struct {
	Sequences []SequenceLoss // as in the data
	Documents []DocumentLoss // in the order of their first appearance
	Sources   []string       // names by [DocumentLoss.Source]; may be short
	// DataHash identifies tokens, targets and documents.
	DataHash uint64
	// CopyOfBase says that the weights measured are the base's own, but for the rounding to the type
	// that they are stored in; see [Evaluator].
	CopyOfBase bool
}

// Nats is the sum of all token losses.
func (l *Losses) Nats() float64 {
	sum := 0.0
	for _, s := range l.Sequences {
		sum += s.Nats
	}
	return sum
}

// Tokens is the number of targets.
func (l *Losses) Tokens() int {
	n := 0
	for _, s := range l.Sequences {
		n += s.Tokens
	}
	return n
}

// Mean is the mean token loss in nats; NaN without targets.
func (l *Losses) Mean() float64 { return l.Nats() / float64(l.Tokens()) }

// BitsPerByte is the loss in bits for each byte of text; false if a document's length is not known.
func (l *Losses) BitsPerByte() (bits float64, ok bool) {
	bytes := 0.0
	for _, d := range l.Documents {
		if d.Bytes == 0 {
			return 0, false
		}
		bytes += d.Bytes
	}
	if bytes == 0 {
		return 0, false
	}
	return l.Nats() / math.Ln2 / bytes, true
}

// NonFinite counts the sequences whose loss is NaN or infinite.
func (l *Losses) NonFinite() int {
	n := 0
	for _, s := range l.Sequences {
		if !finite(s.Nats) {
			n++
		}
	}
	return n
}

// BatchLosses returns the mean token loss of each batch of consecutive sequences, the last one
// possibly smaller, as a network's evaluation loop sees them. A batch without targets has NaN.
func BatchLosses(l *Losses, batchSequences int) []float64 {
	batchSequences = max(1, batchSequences)
	var out []float64
	for from := 0; from < len(l.Sequences); from += batchSequences {
		nats, tokens := 0.0, 0
		for _, s := range l.Sequences[from:min(len(l.Sequences), from+batchSequences)] {
			nats, tokens = nats+s.Nats, tokens+s.Tokens
		}
		out = append(out, nats/float64(tokens))
	}
	return out
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Measure computes the losses of m on data.
func Measure(ctx context.Context, m *model.Model, data Data, opts Options) (*Losses, error) {
	if data.Sequences() == 0 {
		return nil, errNoSequence
	}
	ms, p, tokenLoss := newMeasurement(opts), &piece{}, []float32{}
	for total := data.Sequences(); p.to < total; {
		if err := p.read(data, p.to, min(total, p.to+max(1, opts.BatchSize))); err != nil {
			return nil, p.wrap(err)
		}
		tokenLoss = slices.Grow(tokenLoss[:0], len(p.batch.Tokens))[:len(p.batch.Tokens)]
		if _, _, err := m.Loss(ctx, p.batch, tokenLoss); err != nil {
			return nil, p.wrap(err)
		}
		if err := ms.piece(p, tokenLoss); err != nil {
			return nil, p.wrap(err)
		}
		if opts.OnProgress != nil {
			opts.OnProgress(p.to, total)
		}
	}
	return ms.finish()
}

var errNoSequence = errors.New("the held-out data has no sequence; give it more documents")

// piece is the sequences [from, to) of the data, as a batch.
type piece struct {
	from, to int
	seqs     []tokenize.Sequence
	batch    model.Batch
}

func (p *piece) wrap(err error) error {
	return fmt.Errorf("held-out sequences %d to %d: %w", p.from, p.to-1, err)
}

func (p *piece) read(data Data, from, to int) error {
	p.from, p.to = from, to
	for len(p.seqs) < to-from {
		p.seqs = append(p.seqs, tokenize.Sequence{})
	}
	b := &p.batch
	*b = model.Batch{Sequences: to - from, Tokens: b.Tokens[:0], Targets: b.Targets[:0]}
	for k := range to - from {
		seq := &p.seqs[k]
		if err := data.Sequence(from+k, seq); err != nil {
			return err
		}
		if k == 0 {
			b.Length = len(seq.Tokens)
		}
		if n := len(seq.Tokens); n != b.Length || n != len(seq.Target) || n == 0 {
			return fmt.Errorf("sequence %d has %d tokens and %d target marks; the batch has sequences of %d",
				from+k, n, len(seq.Target), b.Length)
		}
		appendSequence(b, seq)
	}
	return nil
}

// measurement books one model's losses.
type measurement struct {
	losses *Losses
	index  map[uint64]int // of each document, by ordinal
	placed map[int]int    // tokens in sequences, by index
	hash   *xxh3.Hasher
}

func newMeasurement(opts Options) *measurement {
	return &measurement{
		losses: &Losses{Sources: opts.Sources}, index: map[uint64]int{}, placed: map[int]int{}, hash: xxh3.New(),
	}
}

// piece books the losses of a piece's tokens.
func (ms *measurement) piece(p *piece, tokenLoss []float32) error {
	for k := range p.to - p.from {
		lo, hi := k*p.batch.Length, (k+1)*p.batch.Length
		if err := ms.add(&p.seqs[k], p.batch.Targets[lo:hi], tokenLoss[lo:hi]); err != nil {
			return fmt.Errorf("sequence %d: %w", p.from+k, err)
		}
	}
	return nil
}

func (ms *measurement) finish() (*Losses, error) {
	if ms.losses.Tokens() == 0 {
		return nil, errors.New("no token of the held-out data is a target")
	}
	ms.losses.DataHash = ms.hash.Sum64()
	return ms.losses, nil
}

// appendSequence makes each position predict the token after it, if that is a target.
func appendSequence(b *model.Batch, seq *tokenize.Sequence) {
	b.Tokens = append(b.Tokens, seq.Tokens...)
	for i := range seq.Tokens {
		target := int32(-1)
		if i+1 < len(seq.Tokens) && seq.Target[i+1] {
			target = seq.Tokens[i+1]
		}
		b.Targets = append(b.Targets, target)
	}
}

// add books a sequence's losses: that of the position before a token to the token's document.
func (ms *measurement) add(seq *tokenize.Sequence, targets []int32, tokenLoss []float32) error {
	ms.hashSequence(seq, targets)
	var total SequenceLoss
	for _, seg := range seq.Segments {
		if seg.Start < 0 || seg.End < seg.Start || seg.End > len(seq.Tokens) {
			return fmt.Errorf("document %d stands at %d to %d of %d tokens",
				seg.Document.Ordinal, seg.Start, seg.End, len(seq.Tokens))
		}
		d := ms.document(seg)
		for t := max(0, seg.Start-1); t < seg.End-1; t++ {
			if targets[t] < 0 {
				continue
			}
			loss := float64(tokenLoss[t])
			d.Nats += loss
			d.Tokens++
			total.Nats += loss
			total.Tokens++
		}
	}
	all := 0
	for _, target := range targets {
		if target >= 0 {
			all++
		}
	}
	if all != total.Tokens {
		return fmt.Errorf("%d targets, of which %d belong to exactly one document", all, total.Tokens)
	}
	ms.losses.Sequences = append(ms.losses.Sequences, total)
	return nil
}

// document finds or makes the entry of a segment's document, and counts the segment's tokens.
func (ms *measurement) document(seg tokenize.Segment) *DocumentLoss {
	info := seg.Document
	i, ok := ms.index[info.Ordinal]
	if !ok {
		i = len(ms.losses.Documents)
		ms.index[info.Ordinal] = i
		ms.losses.Documents = append(ms.losses.Documents, DocumentLoss{Ordinal: info.Ordinal, Source: info.Source})
	}
	d := &ms.losses.Documents[i]
	if info.Tokens > 0 {
		ms.placed[i] = min(int(info.Tokens), ms.placed[i]+seg.End-seg.Start)
		d.Bytes = float64(info.TextBytes) * float64(ms.placed[i]) / float64(info.Tokens)
	}
	return d
}

func (ms *measurement) hashSequence(seq *tokenize.Sequence, targets []int32) {
	var buf []byte
	put := func(v uint64) { buf = binary.LittleEndian.AppendUint64(buf, v) }
	put(uint64(len(seq.Tokens)))
	for i, id := range seq.Tokens {
		put(uint64(uint32(id))<<32 | uint64(uint32(targets[i])))
	}
	put(uint64(len(seq.Segments)))
	for _, s := range seq.Segments {
		put(s.Document.Ordinal)
		put(uint64(s.Start)<<32 | uint64(s.End))
	}
	ms.hash.Write(buf)
}
