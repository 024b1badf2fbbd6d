package dedup

import (
	"fmt"
	"slices"
)

// OverlapIndex holds reference documents, such as held-out text, and says which other
// documents overlap with them. A document overlaps if
//
//   - a run of n of its words is also a run of n words of a reference, or
//   - its words are those of a reference, all of them and no others, at any length.
//
// So a reference of fewer than n words is found where it is the whole document, and not
// where it is quoted. Runs and documents are compared by 64-bit hash: a document of w
// words overlaps by accident with probability about w*Runs/2^64. A reference or
// document without words overlaps with nothing.
//
// The index takes 26 to 52 bytes per different run, half as much again for a moment
// while it grows. Any number of goroutines may ask at once as long as nothing is added.
type OverlapIndex struct {
	n     int
	runs  table // hash of a run: lowest reference that has it, counted from 1
	whole table // hash of all words: lowest reference with them, counted from 1
	refs  int
}

// Overlap says how a document overlaps with the references.
type Overlap struct {
	// Ref is the reference that the document is equal to; else the one that has the
	// most of its runs. A run that several references have counts for the lowest of
	// them, and the lowest reference wins a tie.
	Ref      int
	Equal    bool // the document has the same words as Ref
	Position int  // first word of the document's first run that counts for Ref
	Runs     int  // runs of the document that any reference has, by place
	RunsAll  int  // runs of the document, 0 if it has fewer than n words
}

// NewOverlapIndex returns an index without references for runs of n words.
func NewOverlapIndex(n int) (*OverlapIndex, error) {
	if n < 1 {
		return nil, fmt.Errorf("overlap: runs of %d words, must be at least 1", n)
	}
	return &OverlapIndex{n: n}, nil
}

// Add makes the words of a document a reference and returns its number, counted from 0.
func (x *OverlapIndex) Add(words []uint64) int {
	x.refs++
	ref := int32(x.refs)
	if len(words) == 0 {
		return x.refs - 1
	}
	claim(&x.whole, wholeHash(words), ref)
	if len(words) >= x.n {
		for _, run := range Shingles(nil, words, x.n) {
			claim(&x.runs, run, ref)
		}
	}
	return x.refs - 1
}

// claim gives a hash to ref unless an earlier reference has it.
func claim(t *table, hash uint64, ref int32) {
	if owner := t.at(hash); *owner == 0 {
		*owner = ref
	}
}

// Len returns the number of references added.
func (x *OverlapIndex) Len() int { return x.refs }

// Runs returns the number of different runs in the index.
func (x *OverlapIndex) Runs() int { return x.runs.used }

// MemoryBytes returns the memory in use.
func (x *OverlapIndex) MemoryBytes() int { return x.runs.bytes() + x.whole.bytes() }

// Check returns how the words of a document overlap with the references, and whether
// they do at all.
func (x *OverlapIndex) Check(words []uint64) (Overlap, bool) {
	var hits []hit
	var out Overlap
	if len(words) >= x.n {
		hits = x.hits(words)
		out.Runs, out.RunsAll = len(hits), len(words)-x.n+1
	}
	// A document that is equal to a reference shares all its runs with it.
	if out.Runs == out.RunsAll && len(words) > 0 {
		if ref := x.whole.get(wholeHash(words)); ref != 0 {
			out.Ref, out.Equal = int(ref-1), true
			return out, true
		}
	}
	if len(hits) == 0 {
		return Overlap{RunsAll: out.RunsAll}, false
	}
	out.Ref, out.Position = mostHit(hits)
	return out, true
}

// hit is a run of the document that a reference has.
type hit struct {
	ref      int32 // counted from 1
	position int
}

func (x *OverlapIndex) hits(words []uint64) []hit {
	var hits []hit
	g := newGram(words[:x.n])
	for i := 0; ; i++ {
		if ref := x.runs.get(g.hash()); ref != 0 {
			hits = append(hits, hit{ref, i})
		}
		if i+x.n == len(words) {
			return hits
		}
		g.roll(words[i], words[i+x.n])
	}
}

// mostHit returns the reference with the most hits, the lowest at a tie, and the
// position of its first one.
func mostHit(hits []hit) (ref, position int) {
	slices.SortStableFunc(hits, func(a, b hit) int { return int(a.ref) - int(b.ref) })
	most := 0
	for from := 0; from < len(hits); {
		to := from + 1
		for to < len(hits) && hits[to].ref == hits[from].ref {
			to++
		}
		if to-from > most {
			most, ref, position = to-from, int(hits[from].ref-1), hits[from].position
		}
		from = to
	}
	return ref, position
}

// wholeHash hashes a sequence of words of any length. It is a chain and no polynomial,
// since a polynomial in 2^64 arithmetic has collisions at large degrees.
func wholeHash(words []uint64) uint64 {
	h := uint64(len(words)) * lengthStep
	for _, w := range words {
		h = mix(h + w)
	}
	return h
}
