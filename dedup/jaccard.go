package dedup

import (
	"math"
	"math/bits"
)

// Jaccard returns the similarity |a and b| / |a or b| of two sets of shingles as
// [Distinct] leaves them. It is 0 if both are empty: a document without shingles
// resembles nothing.
func Jaccard(a, b []uint64) float64 {
	shared, _ := countShared(a, b, 0)
	return similarity(shared, len(a)+len(b))
}

// similarity is the Jaccard similarity of two sets with this many shared elements and
// this sum of sizes. Equal fractions give equal bits, since division rounds correctly.
func similarity(shared, total int) float64 {
	if total == 0 {
		return 0
	}
	return float64(shared) / float64(total-shared)
}

// leastShared returns the smallest number of shared elements with which two sets of
// this sum of sizes reach verify, as similarity computes it. It may be more than the
// sets can share.
func leastShared(verify float64, total int) int {
	n := int(math.Ceil(verify * float64(total) / (1 + verify)))
	for n > 0 && similarity(n-1, total) >= verify {
		n--
	}
	for 2*n <= total && similarity(n, total) < verify {
		n++
	}
	return n
}

// countShared returns the number of elements that two sorted sets share. It may stop
// early with false once that number cannot reach least.
func countShared(a, b []uint64, least int) (shared int, ok bool) {
	const stretch = 32 // merge steps between two looks at the bound
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		if shared+min(len(a)-i, len(b)-j) < least {
			return shared, false
		}
		for range stretch {
			if i == len(a) || j == len(b) {
				break
			}
			x, y := a[i], b[j]
			i += boolInt(x <= y)
			j += boolInt(y <= x)
			shared += boolInt(x == y)
		}
	}
	return shared, shared >= least
}

// boolInt compiles to a flag set, so that merging random hashes has no branch to
// mispredict.
func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A sketch is a set folded into bits: bit h mod 64*len(sketch) is the parity of the
// number of elements h with that remainder. Where two sketches differ, the sets differ,
// so the number of differing bits bounds the shared elements from above
// (Sandes, Teodoro and Melo 2020, "Bitmap filter", section 3, xor bitmaps).
//
// One to two bits per element keep the bound useful at any size.

// sketchWords returns the length of the sketch of a set: a power of two, in words.
func sketchWords(elements int) int {
	return 1 << bits.Len(uint(max(elements, 1)-1)/64)
}

// appendSketch appends the sketch of a set to dst.
func appendSketch(dst, set []uint64) []uint64 {
	words := sketchWords(len(set))
	from := len(dst)
	for range words {
		dst = append(dst, 0)
	}
	sketch := dst[from:]
	for _, h := range set {
		sketch[h/64&uint64(words-1)] ^= 1 << (h % 64)
	}
	return dst
}

// mostShared returns a bound on the number of elements that two sets share, from their
// sketches and the sum of their sizes. The longer sketch is folded to the length of the
// shorter one, which leaves parities parities.
func mostShared(a, b []uint64, total int) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	differing := 0
	for i, x := range a {
		for j := i; j < len(b); j += len(a) {
			x ^= b[j]
		}
		differing += bits.OnesCount64(x)
	}
	return (total - differing) / 2
}
