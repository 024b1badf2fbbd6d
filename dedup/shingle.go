package dedup

import "slices"

// The base of the rolling polynomial, and the step by which shingles of different
// lengths are told apart: odd numbers without structure (2^64 over the golden ratio,
// and a multiplier of PCG).
const (
	polynomialBase = 0x9e3779b97f4a7c15
	lengthStep     = 0xda942042e4dd58b5
)

// Shingles appends to dst the hashes of all runs of n consecutive words, in order:
// len(words)-n+1 of them, or a single one over all words if there are fewer than n, or
// none if there are no words. The number of words is part of a hash, so that a short
// document is never equal to a run inside a long one. n must be at least 1.
//
// The hash of words w[0..n) is a polynomial in 2^64 arithmetic, sum of w[j]*B^(n-1-j),
// rolled from one run to the next, and then finalised.
func Shingles(dst, words []uint64, n int) []uint64 {
	if n < 1 {
		panic("dedup: a shingle needs at least one word")
	}
	if len(words) == 0 {
		return dst
	}
	n = min(n, len(words))
	g := newGram(words[:n])
	dst = append(slices.Grow(dst, len(words)-n+1), g.hash())
	for i, w := range words[n:] {
		g.roll(words[i], w)
		dst = append(dst, g.hash())
	}
	return dst
}

// gram is the rolling polynomial over a run of words.
type gram struct {
	sum, top, length uint64 // top is B^n
}

func newGram(words []uint64) gram {
	g := gram{top: 1, length: uint64(len(words)) * lengthStep}
	for _, w := range words {
		g.sum = g.sum*polynomialBase + w
		g.top *= polynomialBase
	}
	return g
}

// roll moves the run one word on: out leaves it, in enters.
func (g *gram) roll(out, in uint64) {
	g.sum = g.sum*polynomialBase + in - out*g.top
}

func (g *gram) hash() uint64 { return mix(g.sum + g.length) }

// Distinct sorts shingles in place and returns them without repetitions: the form
// that [Jaccard], [Resolver] and [NearIndex] take.
func Distinct(shingles []uint64) []uint64 {
	sortHashes(shingles)
	return slices.Compact(shingles)
}

// hashesMax is how many numbers [sortHashes] brings near their place; more are sorted as any.
const hashesMax = 1 << 10

// sortHashes sorts numbers that are as good as random: those of one first byte are brought
// together, which leaves little to insert. [slices.Sort] is its twin.
func sortHashes(v []uint64) {
	if len(v) > hashesMax {
		slices.Sort(v)
		return
	}
	var next [256]int
	for _, x := range v {
		next[x>>56]++
	}
	at := 0
	for b, n := range next {
		next[b] = at
		at += n
	}
	var near [hashesMax]uint64
	for _, x := range v {
		near[next[x>>56]] = x
		next[x>>56]++
	}
	for i, x := range near[:len(v)] {
		for ; i > 0 && v[i-1] > x; i-- {
			v[i] = v[i-1]
		}
		v[i] = x
	}
}
