package quality

import (
	"math/bits"

	"bzdata/tokenize/words"
)

// gramMax is the longest n-gram of table A1, in words.
const gramMax = 10

// gramStats hold what is known of a text's repeated n-grams. Words are numbered, and an
// n-gram is numbered from the pair of (n-1)-grams that overlap in it, so that equality is
// exact and no n-gram is ever spelt out. An n-gram can only occur twice if both of those
// do: each level looks at the positions that are left, which soon are few.
type gramStats struct {
	level int // n-grams done so far
	total int // characters in words

	top [gramMax + 1]int // characters of the most frequent n-gram times its count
	// firstAt and firstCount are the place and count of the most frequent n-gram, of several
	// with the same count the first in the text; 0 and 1 if none occurs twice.
	firstAt    [gramMax + 1]int32
	firstCount [gramMax + 1]int
	duplicate  [gramMax + 1]int // characters in words covered by repeated n-grams

	before []int32  // before[i] is the number of characters in words before word i
	at     []int32  // word positions of repeated level-grams, ascending
	number []uint32 // their numbers
	slots  []uint32 // open addressing; the number of a pair plus one, 0 where empty
	pairs  []uint64 // by number
	counts []uint32 // by number
}

// gram returns the statistics of n-grams of up to n words.
func (s *Scratch) gram(n int) *gramStats {
	g := &s.grams
	if s.first(groupGrams) {
		s.numberWords(g, s.wordSpans())
	}
	for g.level < n {
		g.next()
	}
	return g
}

// numberWords starts g with words of the text.
func (s *Scratch) numberWords(g *gramStats, spans []words.Span) {
	s.table.reset(len(spans))
	g.before, g.at, g.number, g.counts = append(g.before[:0], 0), g.at[:0], g.number[:0], g.counts[:0]
	total := int32(0)
	for _, span := range spans {
		number, _ := s.table.add(s.text, span)
		total += int32(s.length(span.Of(s.text)))
		g.number, g.before = append(g.number, number), append(g.before, total)
	}
	g.total, g.level = int(total), 1
	for _, e := range s.table.entries {
		g.counts = append(g.counts, e.count)
	}
	kept := g.number[:0]
	for i, number := range g.number {
		if g.counts[number] > 1 {
			g.at, kept = append(g.at, int32(i)), append(kept, number)
		}
	}
	g.number = kept
}

// next goes from n-grams to those one word longer.
func (g *gramStats) next() {
	g.level++
	n := int32(g.level)
	g.slots, g.pairs, g.counts = emptySlots(g.slots, len(g.at)), g.pairs[:0], g.counts[:0]
	// Reading runs ahead of writing: entry i is read with entry i+1 before it is replaced.
	kept := 0
	for i := 0; i+1 < len(g.at); i++ {
		if g.at[i+1] == g.at[i]+1 {
			g.at[kept], g.number[kept] = g.at[i], g.pair(g.number[i], g.number[i+1])
			kept++
		}
	}
	g.at, g.number = g.at[:kept], g.number[:kept]

	kept = 0
	g.firstAt[n], g.firstCount[n] = 0, 1
	var topCount uint32 = 1
	top, covered, end := int32(0), int32(0), int32(0)
	for i, p := range g.at {
		count := g.counts[g.number[i]]
		if count < 2 {
			continue
		}
		length := g.before[p+n] - g.before[p]
		if count > topCount || count == topCount && length > top {
			topCount, top = count, length
		}
		if int(count) > g.firstCount[n] {
			g.firstAt[n], g.firstCount[n] = p, int(count)
		}
		covered += g.before[p+n] - g.before[max(p, end)]
		end = p + n
		g.at[kept], g.number[kept] = p, g.number[i]
		kept++
	}
	g.at, g.number = g.at[:kept], g.number[:kept]
	g.top[n], g.duplicate[n] = int(top)*int(topCount), int(covered)
}

// pair counts the pair (a, b) and returns its number.
func (g *gramStats) pair(a, b uint32) uint32 {
	if 2*len(g.pairs) >= len(g.slots) {
		g.slots = grownSlots(g.slots, len(g.pairs), func(i int) uint64 { return pairHash(g.pairs[i]) })
	}
	pair, mask := uint64(a)<<32|uint64(b), uint64(len(g.slots)-1)
	for i := pairHash(pair) & mask; ; i = (i + 1) & mask {
		slot := g.slots[i]
		if slot == 0 {
			g.pairs, g.counts = append(g.pairs, pair), append(g.counts, 1)
			g.slots[i] = uint32(len(g.pairs))
			return uint32(len(g.pairs) - 1)
		}
		if g.pairs[slot-1] == pair {
			g.counts[slot-1]++
			return slot - 1
		}
	}
}

// pairHash spreads pairs of small numbers over all bits (Fibonacci hashing, folded).
func pairHash(pair uint64) uint64 {
	hi, lo := bits.Mul64(pair+1, 0x9e3779b97f4a7c15)
	return hi ^ lo
}

// topFraction returns the share of the characters in words that the most frequent n-gram
// takes up, 0 if none occurs twice.
func (s *Scratch) topFraction(n int) float64 {
	g := s.gram(n)
	return ratio(g.top[n], g.total)
}

// duplicateFraction returns the share of the characters in words that n-grams occurring
// more than once cover.
func (s *Scratch) duplicateFraction(n int) float64 {
	g := s.gram(n)
	return ratio(g.duplicate[n], g.total)
}
