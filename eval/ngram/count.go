package ngram

import (
	"encoding/binary"
	"slices"
)

// counter takes the adjusted counts of every order in one pass. An n-gram is known by
// the place of its first n-1 words, itself an n-gram of the order below, and its last
// word; so each token costs one table insertion for each order above 1.
//
// The pass needs no second look for the adjusted counts: the first time that vg is
// seen is when g gains v as a word that occurs before it. Only the longest n-gram that
// ends at a token, of full order or begun by <s>, is counted by occurrence.
type counter struct {
	order    int
	unigrams []uint32
	grams    []gramTable // grams[n-2] is order n
}

func newCounter(order, vocabulary int) *counter {
	return &counter{order, make([]uint32, vocabulary), make([]gramTable, order-1)}
}

// count adds a corpus, whose words become numbers[word].
func (c *counter) count(docs *corpus, numbers []uint32) {
	var context [OrderMax]uint32 // context[k] is the place of the last k+1 tokens
	context[0] = numberBegin
	have := 1
	for _, chunk := range docs.chunks {
		for _, word := range chunk {
			number := numbers[word]
			have = c.token(&context, min(have, c.order-1), number)
			if number == numberEnd {
				context[0], have = numberBegin, 1
			}
		}
	}
}

// token counts the n-grams that end in a word after a context of the given length,
// makes them the context, and returns its length.
func (c *counter) token(context *[OrderMax]uint32, length int, word uint32) int {
	place, counts := word, c.unigrams
	for n := range length {
		table := &c.grams[n]
		above, fresh := table.insert(uint64(context[n])<<32 | uint64(word))
		if fresh {
			counts[place]++
		}
		context[n] = place
		place, counts = above, table.counts
	}
	counts[place]++
	context[length] = place
	return length + 1
}

// gramTable numbers keys, the place of a context above the number of a word, from 0 in
// order of appearance, and counts something about each.
type gramTable struct {
	keys   []uint64
	counts []uint32
	slots  []uint32 // open addressing; place + 1, 0 is free
}

func (t *gramTable) insert(key uint64) (place uint32, fresh bool) {
	if 2*len(t.keys) >= len(t.slots) {
		t.grow()
	}
	i := home(key, len(t.slots))
	for ; t.slots[i] != 0; i = after(i, len(t.slots)) {
		if place = t.slots[i] - 1; t.keys[place] == key {
			return place, false
		}
	}
	place = uint32(len(t.keys))
	t.slots[i] = place + 1
	t.keys, t.counts = append(t.keys, key), append(t.counts, 0)
	return place, true
}

func (t *gramTable) grow() {
	t.slots = make([]uint32, max(1024, 4*len(t.keys)))
	for place, key := range t.keys {
		i := home(key, len(t.slots))
		for t.slots[i] != 0 {
			i = after(i, len(t.slots))
		}
		t.slots[i] = uint32(place + 1)
	}
}

// encode returns the body of the file and fills in the header's counts.
func (c *counter) encode(vocabulary []uint64, head *header) []byte {
	var body []byte
	for _, hash := range vocabulary {
		body = binary.LittleEndian.AppendUint64(body, hash)
	}
	for _, count := range c.unigrams {
		body = binary.AppendUvarint(body, uint64(count))
	}
	ranks := make([]uint32, len(c.unigrams))
	for i := range ranks {
		ranks[i] = uint32(i)
	}
	for n := range c.grams {
		head.grams[n] = uint64(len(c.grams[n].keys))
		body, ranks = c.grams[n].encode(body, ranks)
		c.grams[n] = gramTable{}
	}
	head.bytes = uint64(len(body))
	return body
}

// encode appends the n-grams of one order in file order, given the ranks in the file
// of the order below by place, and returns the ranks of this one.
func (t *gramTable) encode(body []byte, below []uint32) ([]byte, []uint32) {
	ends := make([]uint32, len(below)) // by rank of the context: where its successors end
	for _, key := range t.keys {
		ends[below[key>>32]]++
	}
	var total uint32
	for i, n := range ends {
		ends[i] = total
		total += n
	}
	sorted := make([]uint64, len(t.keys)) // word above place, successors of a context together
	for place, key := range t.keys {
		at := &ends[below[key>>32]]
		sorted[*at] = key<<32 | uint64(place)
		*at++
	}
	ranks := make([]uint32, len(t.keys))
	var begin uint32
	for _, end := range ends {
		successors := sorted[begin:end]
		slices.Sort(successors)
		body = binary.AppendUvarint(body, uint64(len(successors)))
		var least uint64
		for i, s := range successors {
			word, place := s>>32, uint32(s)
			body = binary.AppendUvarint(body, word-least)
			body = binary.AppendUvarint(body, uint64(t.counts[place]))
			ranks[place] = begin + uint32(i)
			least = word + 1
		}
		begin = end
	}
	return body, ranks
}
