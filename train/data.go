package train

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"bzdata/tokenize"
	"bzdata/train/model"
)

// Data is a numbered set of sequences of one length. A *tokenize.Shard is one, and [Join] makes one of
// several.
type Data interface {
	// Sequences is their number.
	Sequences() int
	// Sequence reads sequence i into dst, whose slices may be used again.
	Sequence(i int, dst *tokenize.Sequence) error
}

// Join is the sequences of all parts, one part after the other.
func Join(parts ...Data) Data {
	j := joined{parts: parts, ends: make([]int, len(parts))}
	n := 0
	for i, p := range parts {
		n += p.Sequences()
		j.ends[i] = n
	}
	return j
}

type joined struct {
	parts []Data
	ends  []int // number of sequences up to and with each part
}

func (j joined) Sequences() int {
	if len(j.ends) == 0 {
		return 0
	}
	return j.ends[len(j.ends)-1]
}

func (j joined) Sequence(i int, dst *tokenize.Sequence) error {
	start := 0
	for k, end := range j.ends {
		if i < end {
			return j.parts[k].Sequence(i-start, dst)
		}
		start = end
	}
	return fmt.Errorf("sequence %d of %d", i, start)
}

// order draws the sequences of each epoch in a seeded order.
type order struct {
	n       int
	seed    uint64
	epoch   int64
	shuffle []uint32 // of the epoch; nil before the first
}

// at returns the sequence at a position of the run, counted from 0 over all epochs.
func (o *order) at(position int64) int {
	epoch := position / int64(o.n)
	if o.shuffle == nil || epoch != o.epoch {
		o.epoch = epoch
		o.shuffle = permutation(o.shuffle, o.n, o.seed, uint64(epoch))
	}
	return int(o.shuffle[position%int64(o.n)])
}

// permutation fills dst with a permutation of n numbers: Fisher and Yates' shuffle (Durstenfeld 1964)
// by PCG of the seed and the stream.
func permutation(dst []uint32, n int, seed, stream uint64) []uint32 {
	if dst == nil {
		dst = make([]uint32, n)
	}
	for i := range dst {
		dst[i] = uint32(i)
	}
	rng := rand.NewPCG(seed, stream)
	for i := n - 1; i > 0; i-- {
		// The high word of a product is uniform to within 2^-32 for any number of sequences here.
		j, _ := bits.Mul64(rng.Uint64(), uint64(i+1))
		dst[i], dst[j] = dst[j], dst[i]
	}
	return dst
}

// micro is one batch with where it came from.
type micro struct {
	batch     model.Batch
	sequences []int  // their numbers in the data
	attended  []bool // by position: of a document, not padding
	targets   int    // tokens to predict
	skipped   bool
}

// reader makes batches of sequences.
type reader struct {
	data  Data
	order order
	seq   tokenize.Sequence
}

// read fills the batch with the sequences at count positions from one on.
func (r *reader) read(b *micro, position int64, count int) error {
	b.batch = model.Batch{Sequences: count, Tokens: b.batch.Tokens[:0], Targets: b.batch.Targets[:0]}
	b.sequences, b.attended, b.targets, b.skipped = b.sequences[:0], b.attended[:0], 0, false
	for k := range count {
		i := r.order.at(position + int64(k))
		if err := r.data.Sequence(i, &r.seq); err != nil {
			return err
		}
		n := len(r.seq.Tokens)
		if k == 0 {
			b.batch.Length = n
		}
		if n != b.batch.Length || len(r.seq.Target) != n || n == 0 {
			return fmt.Errorf("sequence %d has %d tokens and %d target marks; the batch has sequences of %d",
				i, n, len(r.seq.Target), b.batch.Length)
		}
		b.sequences = append(b.sequences, i)
		b.add(&r.seq)
	}
	return nil
}

// add appends a sequence: each position's target is the token after it, if that is one.
func (b *micro) add(seq *tokenize.Sequence) {
	b.batch.Tokens = append(b.batch.Tokens, seq.Tokens...)
	for i := range seq.Tokens {
		target := int32(-1)
		if i+1 < len(seq.Tokens) && seq.Target[i+1] {
			target = seq.Tokens[i+1]
			b.targets++
		}
		b.batch.Targets = append(b.batch.Targets, target)
	}
	from := len(b.attended)
	b.attended = append(b.attended, make([]bool, len(seq.Tokens))...)
	for _, s := range seq.Segments {
		for i := max(0, s.Start); i < min(s.End, len(seq.Tokens)); i++ {
			b.attended[from+i] = true
		}
	}
}

// documents lists the documents of some batches, each once, in order.
func (r *reader) documents(batches ...*micro) ([]Document, error) {
	var out []Document
	seen := map[uint64]bool{}
	for _, b := range batches {
		for _, i := range b.sequences {
			if err := r.data.Sequence(i, &r.seq); err != nil {
				return nil, err
			}
			for _, s := range r.seq.Segments {
				if !seen[s.Document.Ordinal] {
					seen[s.Document.Ordinal] = true
					out = append(out, Document{s.Document.Ordinal, s.Document.ID})
				}
			}
		}
	}
	return out, nil
}
