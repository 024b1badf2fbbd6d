package ngram

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// OrderStats describes the n-grams of one order.
type OrderStats struct {
	NGrams         int
	CountsOfCounts [4]int     // n-grams with an adjusted count of 1, 2, 3 and 4
	Discounts      [3]float64 // for adjusted counts of 1, 2, and 3 and above
	Fallback       bool       // the discounts are the fallback's
}

// fallbackDiscounts are those of lmplz --discount_fallback.
var fallbackDiscounts = [3]float64{0.5, 1, 1.5}

// discount sets the discounts from the counts of counts (Chen and Goodman 1998,
// equation 26; the fallback is described in the package comment).
func (s *OrderStats) discount() {
	t := [4]float64{}
	for k, n := range s.CountsOfCounts {
		t[k] = float64(n)
	}
	y := t[0] / (t[0] + 2*t[1])
	for k := range s.Discounts {
		count := float64(k + 1)
		d := count - float64((count+1)*y*t[k+1])/t[k]
		if !(t[k] > 0 && d > 0 && d <= count) {
			s.Discounts, s.Fallback = fallbackDiscounts, true
			return
		}
		s.Discounts[k] = d
	}
}

func (s *OrderStats) add(count uint32) {
	s.NGrams++
	if count >= 1 && count <= 4 {
		s.CountsOfCounts[count-1]++
	}
}

// level is the n-grams of one order in file order. Those of one context stand together,
// words rising.
type level struct {
	words  []uint32 // the last word's number
	counts []uint32 // adjusted
	begins []uint32 // by n-gram of the order below: where its successors begin; then their end
	suffix []uint32 // the n-gram of the order below that is this one without its first word
	prob   []float64
	place  []uint32 // in the model's table
}

var errDamaged = errors.New("ngram model: the counts contradict themselves; train the model again")

// compile computes the model that a file's counts stand for.
func compile(head header, body []byte) (*Model, error) {
	if err := head.limits(); err != nil {
		return nil, err
	}
	m := &Model{head: head, body: body}
	in := body[8*head.words:]
	below, in, err := m.compileWords(in)
	if err != nil {
		return nil, err
	}
	numbers := below.place // by word number, for the keys of every order
	for n := 2; n <= head.order; n++ {
		var l *level
		l, in, err = readLevel(in, len(below.words), int(head.grams[n-2]), len(numbers))
		if err != nil {
			return nil, err
		}
		if n == 2 {
			l.suffix = slices.Clone(l.words)
		} else if !l.findSuffixes(below) {
			return nil, errDamaged
		}
		m.compileLevel(n, l, below, numbers)
		below = l
	}
	if len(in) > 0 {
		return nil, errDamaged
	}
	return m, nil
}

// compileWords reads the unigrams' counts and fills the table of words.
func (m *Model) compileWords(in []byte) (*level, []byte, error) {
	n := int(m.head.words) + specials
	l := &level{words: make([]uint32, n), counts: make([]uint32, n)}
	for i := range n {
		count, size := binary.Uvarint(in)
		if size <= 0 || count > math.MaxUint32 {
			return nil, nil, errDamaged
		}
		in = in[size:]
		l.words[i], l.counts[i] = uint32(i), uint32(count)
	}
	if l.counts[numberBegin] != 0 || l.counts[numberEnd] == 0 {
		return nil, nil, errDamaged
	}
	size := tableSize(int(m.head.words))
	m.words = make([]entry, size+specials)
	l.place = make([]uint32, n)
	var before uint64
	for i := range n {
		if i < specials {
			l.place[i] = uint32(size + i)
			continue
		}
		hash := binary.LittleEndian.Uint64(m.body[8*(i-specials):])
		if hash <= before {
			return nil, nil, errDamaged
		}
		before = hash
		at := home(hash, size)
		for m.words[at].key != 0 {
			at = after(at, size)
		}
		m.words[at].key = hash
		l.place[i] = uint32(at)
	}
	m.unigramProbs(l)
	return l, in, nil
}

// unigramProbs computes p(w), which is interpolated with the uniform distribution over
// all words that can be predicted: all but <s>.
func (m *Model) unigramProbs(l *level) {
	stats := OrderStats{}
	for i, count := range l.counts {
		if i != numberBegin {
			stats.add(count)
		}
	}
	stats.discount()
	m.stats = append(m.stats, stats)
	sum, gamma := stats.context(l.counts)
	uniform := 1 / float64(len(l.counts)-1)
	l.prob = make([]float64, len(l.counts))
	for i, count := range l.counts {
		if i == numberBegin {
			continue
		}
		l.prob[i] = stats.prob(count, sum, gamma, uniform)
		m.words[l.place[i]].logProb = math.Log(l.prob[i])
	}
}

// context returns the sum of the successors' counts and γ.
func (s *OrderStats) context(counts []uint32) (sum, gamma float64) {
	var total uint64
	var n [3]int
	for _, count := range counts {
		total += uint64(count)
		if count > 0 {
			n[min(count, 3)-1]++
		}
	}
	sum = float64(total)
	for k, d := range s.Discounts {
		gamma += float64(d * float64(n[k]))
	}
	return sum, gamma / sum
}

// prob returns p(w|h) from the count of hw and p(w|h').
func (s *OrderStats) prob(count uint32, sum, gamma, lower float64) float64 {
	if count == 0 {
		return gamma * lower
	}
	return (float64(count)-s.Discounts[min(count, 3)-1])/sum + float64(gamma*lower)
}

// readLevel reads one order, of a declared number of n-grams, given how many there are
// of the order below and how many word numbers.
func readLevel(in []byte, below, grams, words int) (*level, []byte, error) {
	l := &level{begins: make([]uint32, below+1)}
	l.words, l.counts = make([]uint32, 0, grams), make([]uint32, 0, grams)
	for context := range below {
		successors, size := binary.Uvarint(in)
		if size <= 0 || successors > uint64(grams-len(l.words)) {
			return nil, nil, errDamaged
		}
		in = in[size:]
		least := uint64(0)
		for range successors {
			gap, size := binary.Uvarint(in)
			if size <= 0 || gap >= uint64(words)-least {
				return nil, nil, errDamaged
			}
			count, more := binary.Uvarint(in[size:])
			if more <= 0 || count == 0 || count > math.MaxUint32 || least+gap == numberBegin {
				return nil, nil, errDamaged
			}
			in = in[size+more:]
			l.words, l.counts = append(l.words, uint32(least+gap)), append(l.counts, uint32(count))
			least += gap + 1
		}
		l.begins[context+1] = uint32(len(l.words))
	}
	if len(l.words) != grams {
		return nil, nil, errDamaged
	}
	return l, in, nil
}

// findSuffixes sets suffix, or reports that an n-gram's is not there. The suffix of hw
// is h'w, so it stands among the successors of h', which is the suffix of h.
func (l *level) findSuffixes(below *level) bool {
	l.suffix = make([]uint32, len(l.words))
	for h := range below.words {
		rest := below.suffix[h]
		at, end := below.begins[rest], below.begins[rest+1]
		for i := l.begins[h]; i < l.begins[h+1]; i++ {
			step, ok := slices.BinarySearch(below.words[at:end], l.words[i])
			if !ok {
				return false
			}
			at += uint32(step)
			l.suffix[i] = at
		}
	}
	return true
}

// compileLevel computes the probabilities of order n and the backoffs of the order
// below, and fills the table of order n.
func (m *Model) compileLevel(n int, l, below *level, numbers []uint32) {
	stats := OrderStats{}
	for _, count := range l.counts {
		stats.add(count)
	}
	stats.discount()
	m.stats = append(m.stats, stats)
	contexts := m.words
	if n > 2 {
		contexts = m.middle[n-3]
	}
	full := n == m.head.order
	if full {
		m.last = make([]lastEntry, tableSize(len(l.words)))
	} else {
		m.middle = append(m.middle, make([]entry, tableSize(len(l.words))))
		l.prob, l.place = make([]float64, len(l.words)), make([]uint32, len(l.words))
	}
	for h := range below.words {
		begin, end := l.begins[h], l.begins[h+1]
		if begin == end {
			continue
		}
		sum, gamma := stats.context(l.counts[begin:end])
		contexts[below.place[h]].backoff = math.Log(gamma)
		for i := begin; i < end; i++ {
			prob := stats.prob(l.counts[i], sum, gamma, below.prob[l.suffix[i]])
			key := gramKey(below.place[h], numbers[l.words[i]])
			if full {
				insertLast(m.last, lastEntry{key, math.Log(prob)})
				continue
			}
			l.prob[i] = prob
			l.place[i] = insert(m.middle[n-2], entry{key: key, logProb: math.Log(prob)})
		}
	}
}

func insert(table []entry, e entry) uint32 {
	at := home(e.key, len(table))
	for table[at].key != 0 {
		at = after(at, len(table))
	}
	table[at] = e
	return uint32(at)
}

func insertLast(table []lastEntry, e lastEntry) {
	at := home(e.key, len(table))
	for table[at].key != 0 {
		at = after(at, len(table))
	}
	table[at] = e
}

// limits checks that places fit 32 bits.
func (h header) limits() error {
	for n, grams := range append([]uint64{h.words}, h.grams[:]...) {
		if grams > math.MaxUint32/2 {
			return fmt.Errorf("ngram: %d distinct %d-grams, more than %d; take less text or a lower order",
				grams, n+1, math.MaxUint32/2)
		}
	}
	return nil
}
