package ngram

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Model is a trained language model. It does not change and is safe for concurrent use.
type Model struct {
	head  header
	body  []byte
	stats []OrderStats

	// words holds the unigrams: an open-addressing table by word hash, then <unk>,
	// <s> and </s>. A word is known to the tables above by its place here.
	words []entry
	// middle[n-2] holds order n, open addressing by gramKey. An n-gram is known to
	// the table above by its place.
	middle [][]entry
	// last holds the full order; without backoffs, for nothing is longer.
	last []lastEntry
}

// entry is an n-gram: log p(last word | words before) and log γ of it as a context.
type entry struct {
	key     uint64 // 0 is free
	logProb float64
	backoff float64
}

type lastEntry struct {
	key     uint64
	logProb float64
}

// gramKey is never 0.
func gramKey(context, word uint32) uint64 { return uint64(context+1)<<32 | uint64(word) }

// home is where the search for a key begins in a table of the given size.
func home(key uint64, size int) int {
	hi, lo := bits.Mul64(key^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	at, _ := bits.Mul64(hi^lo, uint64(size))
	return int(at)
}

func after(i, size int) int {
	if i++; i == size {
		return 0
	}
	return i
}

// tableSize leaves a third of a table free, and at least one place.
func tableSize(entries int) int { return entries + entries/2 + 1 }

// none is the place of what is not in a table.
const none = math.MaxUint32

func find(table []entry, key uint64) uint32 {
	for i := home(key, len(table)); ; i = after(i, len(table)) {
		switch table[i].key {
		case key:
			return uint32(i)
		case 0:
			return none
		}
	}
}

func findLast(table []lastEntry, key uint64) uint32 {
	for i := home(key, len(table)); ; i = after(i, len(table)) {
		switch table[i].key {
		case key:
			return uint32(i)
		case 0:
			return none
		}
	}
}

// special is the place of <unk>, <s> or </s> in words.
func (m *Model) special(number int) uint32 { return uint32(len(m.words) - specials + number) }

// word returns the place of a word, of <unk> if it was not kept.
func (m *Model) word(hash uint64) uint32 {
	if at := find(m.words[:len(m.words)-specials], hash); at != none {
		return at
	}
	return m.special(numberUnk)
}

// context is the places of the n-grams that end at the last token, shortest first, as
// far as the model has them.
type context struct {
	places [OrderMax]uint32
	length int
}

func (m *Model) begin() context {
	c := context{length: min(1, m.head.order-1)}
	c.places[0] = m.special(numberBegin)
	return c
}

// step returns log p(word | context), in nats, and the length of the longest n-gram
// that the model has of context and word, and moves the context on.
func (m *Model) step(c *context, word uint32) (logProb float64, matched int) {
	logProb, matched = m.words[word].logProb, 1
	next := context{}
	next.places[0] = word
	for n := 2; n <= c.length+1; n++ {
		key := gramKey(c.places[n-2], word)
		if n == m.head.order {
			if at := findLast(m.last, key); at != none {
				logProb, matched = m.last[at].logProb, n
			}
			break
		}
		at := find(m.middle[n-2], key)
		if at == none {
			break
		}
		logProb, matched = m.middle[n-2][at].logProb, n
		next.places[n-1] = at
	}
	for k := matched; k <= c.length; k++ {
		logProb += m.backoff(k, c.places[k-1])
	}
	next.length = min(matched, m.head.order-1)
	*c = next
	return logProb, matched
}

// backoff returns log γ of the context of the given length.
func (m *Model) backoff(length int, place uint32) float64 {
	if length == 1 {
		return m.words[place].backoff
	}
	return m.middle[length-2][place].backoff
}

// Score returns the natural logarithm of a document's probability and the number of
// its tokens: its words and an end for each sentence.
func (m *Model) Score(words []uint64) (logProbNats float64, tokens int) {
	c, open := m.begin(), false
	end := m.special(numberEnd)
	for _, hash := range words {
		word := end
		if hash != Break {
			word = m.word(hash)
		} else if !open {
			continue
		}
		logProb, _ := m.step(&c, word)
		logProbNats += logProb
		tokens++
		if open = hash != Break; !open {
			c = m.begin()
		}
	}
	if open || tokens == 0 {
		logProb, _ := m.step(&c, end)
		logProbNats += logProb
		tokens++
	}
	return logProbNats, tokens
}

// Token is how a model sees one token of a document.
type Token struct {
	LogProbNats float64 // of the token after those before it
	Matched     int     // length of the longest known n-gram that ends here, at least 1
	Unknown     bool    // the word was not kept and stands as <unk>
	End         bool    // the end of a sentence
}

// AppendTokens appends how the model sees each token of a document. Their logarithms
// sum, in order, to that of [Model.Score].
func (m *Model) AppendTokens(dst []Token, words []uint64) []Token {
	c, open, first := m.begin(), false, len(dst)
	add := func(word uint32) {
		logProb, matched := m.step(&c, word)
		dst = append(dst, Token{logProb, matched, word == m.special(numberUnk), word == m.special(numberEnd)})
	}
	for _, hash := range words {
		if hash != Break {
			add(m.word(hash))
		} else if open {
			add(m.special(numberEnd))
			c = m.begin()
		}
		open = hash != Break
	}
	if open || len(dst) == first {
		add(m.special(numberEnd))
	}
	return dst
}

// Perplexity is exp(-logProbNats/tokens), the inverse geometric mean of the tokens'
// probabilities.
func Perplexity(logProbNats float64, tokens int) float64 {
	return math.Exp(-logProbNats / float64(tokens))
}

// Order returns the length of the longest n-grams.
func (m *Model) Order() int { return m.head.order }

// MinCount returns how often a word had to occur to be kept, 0 if they were given.
func (m *Model) MinCount() int { return int(m.head.minCount) }

// Documents returns how many documents the model was trained on.
func (m *Model) Documents() int { return int(m.head.documents) }

// Tokens returns how many words and sentence ends the model was trained on.
func (m *Model) Tokens() int { return int(m.head.tokens) }

// Vocabulary returns the hashes of the kept words, rising.
func (m *Model) Vocabulary() []uint64 {
	words := make([]uint64, m.head.words)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(m.body[8*i:])
	}
	return words
}

// Stats describes each order, the unigrams first.
func (m *Model) Stats() []OrderStats { return append([]OrderStats(nil), m.stats...) }

// MemoryBytes returns how much memory the model holds.
func (m *Model) MemoryBytes() int {
	bytes := len(m.body) + 24*len(m.words) + 16*len(m.last)
	for _, table := range m.middle {
		bytes += 24 * len(table)
	}
	return bytes
}
