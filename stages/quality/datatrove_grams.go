package quality

// joinedGrams find n-grams that occur again as datatrove's find_all_duplicate does: n-grams
// are compared joined without a separator, so that "ab c" equals "a bc"; the text is walked
// from the start, and a repeated n-gram is jumped over.
//
// Joined n-grams are pieces of the joined tokens. A piece's hash is the difference of two
// sums over bytes c(i) * base^i, divided by the power at its start; equality is checked.
type joinedGrams struct {
	level  int // n-grams done so far
	joined []byte
	marks  []joinedMark // at each token's start and at the end

	duplicate [gramMax + 1]int // characters of repeated n-grams
	slots     []uint32         // open addressing; a token's number plus one, 0 where empty
	used      int
}

// joinedMark is the state at the start of a token.
type joinedMark struct {
	sum, inverse      uint64 // of the bytes before, and base^-bytes
	bytes, characters int32  // before
}

// joinedBase and its inverse modulo 2^64.
const (
	joinedBase    = 0x9e3779b97f4a7c15
	joinedInverse = 0xf1de83e19937733d
)

// datatroveDuplicateFraction returns the characters of repeated n-grams per character of the
// text, for n from 5 to 10.
func (s *Scratch) datatroveDuplicateFraction(n int) float64 {
	g := &s.joined
	if s.first(groupJoined) {
		g.reset(s)
	}
	for g.level < n {
		g.level++
		g.duplicate[g.level] = g.find(g.level)
	}
	return ratio(g.duplicate[n], s.characterCount())
}

// reset starts over with the tokens of s.
func (g *joinedGrams) reset(s *Scratch) {
	g.level, g.joined, g.marks = 4, g.joined[:0], g.marks[:0]
	mark, power := joinedMark{inverse: 1}, uint64(1)
	for _, span := range s.datatroveTokens() {
		g.marks = append(g.marks, mark)
		token := span.Of(s.text)
		for i := range len(token) {
			mark.sum += uint64(token[i]) * power
			power *= joinedBase
			mark.inverse *= joinedInverse
		}
		mark.bytes += int32(len(token))
		mark.characters += int32(s.length(token))
		g.joined = append(g.joined, token...)
	}
	g.marks = append(g.marks, mark)
}

// find returns the characters of repeated n-grams.
func (g *joinedGrams) find(n int) (characters int) {
	g.slots, g.used = emptySlots(g.slots, len(g.marks)), 0
	for i := 0; i+n < len(g.marks); {
		if g.seen(i, n) {
			characters += int(g.marks[i+n].characters - g.marks[i].characters)
			i += n
		} else {
			i++
		}
	}
	return characters
}

// seen reports whether the n-gram at token i has been added, and adds it if not.
func (g *joinedGrams) seen(i, n int) bool {
	if 2*g.used >= len(g.slots) {
		g.grow(n)
	}
	mask := uint64(len(g.slots) - 1)
	for at := g.hash(i, n) & mask; ; at = (at + 1) & mask {
		slot := g.slots[at]
		if slot == 0 {
			g.slots[at] = uint32(i + 1)
			g.used++
			return false
		}
		if g.equal(int(slot-1), i, n) {
			return true
		}
	}
}

// grow makes the table four times as long.
func (g *joinedGrams) grow(n int) {
	old := g.slots
	g.slots = make([]uint32, 4*len(old))
	mask := uint64(len(g.slots) - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		at := g.hash(int(slot-1), n) & mask
		for g.slots[at] != 0 {
			at = (at + 1) & mask
		}
		g.slots[at] = slot
	}
}

func (g *joinedGrams) hash(i, n int) uint64 {
	from, to := &g.marks[i], &g.marks[i+n]
	return pairHash((to.sum - from.sum) * from.inverse)
}

func (g *joinedGrams) equal(i, j, n int) bool {
	a, b := g.joined[g.marks[i].bytes:g.marks[i+n].bytes], g.joined[g.marks[j].bytes:g.marks[j+n].bytes]
	return string(a) == string(b)
}

// datatroveTopFraction returns the characters of the most frequent n-gram, the blanks between
// its tokens included, times its count, per character of the text. Of several with the same
// count the first counts, also if none occurs twice (datatrove's find_top_duplicate).
func (s *Scratch) datatroveTopFraction(n int) float64 {
	tokens := s.datatroveTokens()
	if len(tokens) < n {
		return 0
	}
	g := &s.spacyGrams
	if s.first(groupSpacyGrams) {
		s.numberWords(g, tokens)
	}
	for g.level < n {
		g.next()
	}
	length := int(g.before[g.firstAt[n]+int32(n)]-g.before[g.firstAt[n]]) + n - 1
	return ratio(length*g.firstCount[n], s.characterCount())
}
