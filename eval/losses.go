package eval

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

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
	// Sources names the documents' sources by number.
	Sources []string
	// OnProgress, if not nil, is called after each batch.
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
	total := data.Sequences()
	if total == 0 {
		return nil, errors.New("the held-out data has no sequence; give it more documents")
	}
	ms := &measurement{
		losses: &Losses{Sources: opts.Sources}, index: map[uint64]int{}, placed: map[int]int{}, hash: xxh3.New(),
	}
	size := max(1, opts.BatchSize)
	for from := 0; from < total; from += size {
		to := min(total, from+size)
		if err := ms.batch(ctx, m, data, from, to); err != nil {
			return nil, fmt.Errorf("held-out sequences %d to %d: %w", from, to-1, err)
		}
		if opts.OnProgress != nil {
			opts.OnProgress(to, total)
		}
	}
	l := ms.losses
	if l.Tokens() == 0 {
		return nil, errors.New("no token of the held-out data is a target")
	}
	l.DataHash = ms.hash.Sum64()
	return l, nil
}

// measurement is a Measure under way.
type measurement struct {
	losses *Losses
	index  map[uint64]int // of each document, by ordinal
	placed map[int]int    // tokens in sequences, by index
	hash   *xxh3.Hasher

	seqs      []tokenize.Sequence // of the batch
	batchIn   model.Batch
	tokenLoss []float32
}

func (ms *measurement) batch(ctx context.Context, m *model.Model, data Data, from, to int) error {
	for len(ms.seqs) < to-from {
		ms.seqs = append(ms.seqs, tokenize.Sequence{})
	}
	b := &ms.batchIn
	*b = model.Batch{Sequences: to - from, Tokens: b.Tokens[:0], Targets: b.Targets[:0]}
	for k := range to - from {
		seq := &ms.seqs[k]
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
	if cap(ms.tokenLoss) < len(b.Tokens) {
		ms.tokenLoss = make([]float32, len(b.Tokens))
	}
	ms.tokenLoss = ms.tokenLoss[:len(b.Tokens)]
	if _, _, err := m.Loss(ctx, *b, ms.tokenLoss); err != nil {
		return err
	}
	for k := range to - from {
		lo, hi := k*b.Length, (k+1)*b.Length
		if err := ms.add(&ms.seqs[k], b.Targets[lo:hi], ms.tokenLoss[lo:hi]); err != nil {
			return fmt.Errorf("sequence %d: %w", from+k, err)
		}
	}
	return nil
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
