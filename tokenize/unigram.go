package tokenize

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// unigram is the Unigram model: of all ways to cut a text into tokens, the one whose scores
// add up to the most.
type unigram struct {
	t        *Tokenizer
	scores   []float64 // by id
	contents map[string]int32
	fallback *[256]int32
	unknown  int32
	penalty  float64 // the score of a character that is no token
	children *pairTable
	ends     []int32 // by node of the trie: the token that ends there, or −1
}

// unknownPenalty is how much less than the worst token an unknown character scores.
const unknownPenalty = 10

func newUnigram(t *Tokenizer, s *unigramSettings) (*unigram, error) {
	u := &unigram{t: t, scores: s.scores, unknown: s.unknown, contents: make(map[string]int32, len(s.scores))}
	least := math.Inf(1)
	for i, v := range t.spec.vocab {
		u.contents[v.content] = v.id
		least = min(least, s.scores[i])
	}
	if u.unknown < 0 || int(u.unknown) >= len(s.scores) {
		return nil, errors.New("model.unk_id names no entry of model.vocab; Unigram cannot do without")
	}
	u.penalty = least - unknownPenalty
	if s.byteFallback {
		u.fallback = byteTokens(u.contents)
	}
	u.fillTrie()
	return u, nil
}

func (u *unigram) fillTrie() {
	tokens := make([]string, 0, len(u.contents))
	for c := range u.contents {
		tokens = append(tokens, c)
	}
	slices.Sort(tokens)
	nodes, before := 1, ""
	for _, c := range tokens {
		nodes += len(c) - common(before, c)
		before = c
	}
	u.children, u.ends = newPairTable(nodes), append(make([]int32, 0, nodes), -1)
	for _, c := range tokens {
		at := int32(0)
		for i := range len(c) {
			next := int32(len(u.ends))
			if u.children.add(at, int32(c[i]), pairMerge{id: next}) {
				u.ends = append(u.ends, -1)
			} else {
				next = u.children.get(at, int32(c[i])).id
			}
			at = next
		}
		u.ends[at] = u.contents[c]
	}
}

// common is the length of the common beginning.
func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// lattice is the working memory: for each place of the text the best way to it.
type lattice struct {
	best []bestPath
	cuts []modelToken
}

type bestPath struct {
	score float64
	start int32 // where its last token begins; −1 for no way
	id    int32
}

var lattices = sync.Pool{New: func() any { return new(lattice) }}

// solve returns the best tokens of text, unknown ones joined. They are good until l is used
// again.
func (u *unigram) solve(l *lattice, text string) []modelToken {
	l.best = slices.Grow(l.best[:0], len(text)+1)[:len(text)+1]
	for i := range l.best {
		l.best[i] = bestPath{0, -1, 0}
	}
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		u.reach(l, text, i, n)
		i += n
	}
	l.cuts = l.cuts[:0]
	for end := int32(len(text)); end > 0; {
		p := l.best[end]
		if last := len(l.cuts) - 1; p.id == u.unknown && last >= 0 && l.cuts[last].id == u.unknown {
			l.cuts[last].start = p.start
		} else {
			l.cuts = append(l.cuts, modelToken{p.id, p.start, end})
		}
		end = p.start
	}
	slices.Reverse(l.cuts)
	return l.cuts
}

// reach offers the ways that go on from i by one token. n is the length of the character
// there.
func (u *unigram) reach(l *lattice, text string, i, n int) {
	score, single := l.best[i].score, false
	node := int32(0)
	for j := i; j < len(text); j++ {
		child := u.children.get(node, int32(text[j]))
		if child.rank == noRank {
			break
		}
		node = child.id
		if id := u.ends[node]; id >= 0 {
			l.offer(i, j+1, score+u.scores[id], id)
			single = single || j+1 == i+n
		}
	}
	if !single {
		l.offer(i, i+n, score+u.penalty, u.unknown)
	}
}

func (l *lattice) offer(start, end int, score float64, id int32) {
	if p := &l.best[end]; p.start < 0 || score > p.score {
		*p = bestPath{score, int32(start), id}
	}
}

func (u *unigram) tokens(dst []modelToken, text string) []modelToken {
	l := lattices.Get().(*lattice)
	defer lattices.Put(l)
	for _, c := range u.solve(l, text) {
		piece := text[c.start:c.end]
		if id, ok := u.contents[piece]; ok {
			dst = append(dst, modelToken{id, c.start, c.end})
			continue
		}
		if bytes, ok := u.fallBack(piece); ok {
			for _, id := range bytes {
				dst = append(dst, modelToken{id, c.start, c.end})
			}
			continue
		}
		dst = append(dst, modelToken{u.unknown, c.start, c.end})
	}
	return dst
}

// fallBack returns the tokens of the bytes, if the vocabulary has them all.
func (u *unigram) fallBack(piece string) (ids []int32, ok bool) {
	if u.fallback == nil {
		return nil, false
	}
	for i := range len(piece) {
		if u.fallback[piece[i]] < 0 {
			return nil, false
		}
		ids = append(ids, u.fallback[piece[i]])
	}
	return ids, true
}

func (u *unigram) encode(dst []int32, text string) []int32 {
	cached := len(text) <= cachedPieceBytes
	slot := u.t.cache.slot(hashString(text))
	if cached {
		if e := slot.Load(); e != nil && e.is(text) {
			return append(dst, e.ids...)
		}
	}
	start := len(dst)
	for _, token := range u.tokens(nil, text) {
		dst = append(dst, token.id)
	}
	if cached {
		slot.Store(newCachedPiece(text, dst[start:]))
	}
	return dst
}

// score reads a number as serde_json 1.0 does, which may round the last bit twice: up to 19
// digits as a whole number, then one multiplication or division by a power of ten.
func (v value) score() (float64, error) {
	if err := v.want('0'); err != nil {
		return 0, err
	}
	text, negative := strings.CutPrefix(string(v.raw), "-")
	mantissa, power, _ := strings.Cut(strings.ToLower(text), "e")
	exponent := 0
	if power != "" {
		if _, err := fmt.Sscan(power, &exponent); err != nil || exponent < -400 || exponent > 300 {
			return 0, v.errorf("is %s, want a score", v.raw)
		}
	}
	digits, dropped, point := uint64(0), false, false
	for _, c := range []byte(mantissa) {
		if c == '.' {
			point = true
			continue
		}
		if d := uint64(c - '0'); !dropped && digits <= (math.MaxUint64-d)/10 {
			digits = 10*digits + d
			if point {
				exponent--
			}
		} else if dropped = true; !point {
			exponent++
		}
	}
	out := float64(digits)
	for ; exponent < -308 && out != 0; exponent += 308 {
		out /= 1e308
	}
	if exponent < 0 {
		out /= math.Pow10(-exponent)
	} else {
		out *= math.Pow10(exponent)
	}
	if negative {
		out = -out
	}
	if math.IsInf(out, 0) {
		return 0, v.errorf("is %s, want a score", v.raw)
	}
	return out, nil
}
