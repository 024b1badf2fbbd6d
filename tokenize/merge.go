package tokenize

import (
	"math/bits"
	"sync"
)

// noRank is the rank of a pair that is never merged.
const noRank = ^uint32(0)

// pairTable finds the merge of two adjacent tokens: open addressing, at most half full, and for two bytes by a
// table of all of them. Most pairs have none: a bit for each of many hashes tells so of most, in a second-level cache.
type pairTable struct {
	maybe   []uint64
	slots   []pairSlot
	shift   uint
	count   uint32
	ofBytes [][256]pairMerge
}

// pairMerge is a merge: its rank, or noRank for none, and the token that comes of it.
type pairMerge struct {
	rank uint32
	id   int32
}

// maybeBits is the binary logarithm of how many hashes have a bit: 128 KiB.
const maybeBits = 20

type pairSlot struct {
	key uint64 // left+1 above, right below; 0 is an empty slot
	pairMerge
}

func newPairTable(count int) *pairTable {
	size := bits.Len(uint(2*count + 1))
	return &pairTable{maybe: make([]uint64, 1<<maybeBits/64), slots: make([]pairSlot, 1<<size), shift: uint(64 - size)}
}

// fillBytes makes the table of the merges of two bytes, which [Tokenizer.merge] needs; ids has the token of each byte.
func (t *pairTable) fillBytes(ids *[256]int32) {
	t.ofBytes = make([][256]pairMerge, 256)
	for a := range t.ofBytes {
		for b := range t.ofBytes[a] {
			t.ofBytes[a][b] = t.get(ids[a], ids[b])
		}
	}
}

func pairKey(left, right int32) uint64 { return uint64(left+1)<<32 | uint64(uint32(right)) }

func pairHash(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 }

func (t *pairTable) slot(key, hash uint64) *pairSlot {
	mask := uint64(len(t.slots) - 1)
	for i := hash >> t.shift; ; i++ {
		s := &t.slots[i&mask]
		if s.key == key || s.key == 0 {
			return s
		}
	}
}

// bit returns where the bit of a hash is.
func (t *pairTable) bit(hash uint64) (word *uint64, bit uint64) {
	hash >>= 64 - maybeBits
	return &t.maybe[hash/64], 1 << (hash % 64)
}

// get returns the merge of left and right.
func (t *pairTable) get(left, right int32) pairMerge {
	key := pairKey(left, right)
	hash := pairHash(key)
	if word, bit := t.bit(hash); *word&bit == 0 {
		return pairMerge{rank: noRank}
	}
	s := t.slot(key, hash)
	if s.key == 0 {
		return pairMerge{rank: noRank}
	}
	return s.pairMerge
}

// add enters a merge; false means that the pair is there already.
func (t *pairTable) add(left, right int32, m pairMerge) bool {
	key := pairKey(left, right)
	hash := pairHash(key)
	s := t.slot(key, hash)
	if s.key != 0 {
		return false
	}
	*s = pairSlot{key, m}
	word, bit := t.bit(hash)
	*word |= bit
	t.count++
	return true
}

const (
	// shortPieceBytes is the length up to which a piece is merged by looking through all pairs for each merge:
	// quadratic, but on a few cache lines and without a branch that fails. Longer pieces use a heap.
	shortPieceBytes = 96
	// placeBits hold a place in a short piece, below the rank of the pair that begins there.
	placeBits = 7
	noPair    = ^uint32(0)
	// shortMergesMax is how many merges there may be for ranks to fit above a place.
	shortMergesMax = noPair >> placeBits
)

// merge appends the tokens of one piece to dst: the adjacent pair of lowest rank is
// merged, the leftmost of equals first, until no pair has a merge.
func (t *Tokenizer) merge(dst []int32, piece string) []int32 {
	if len(piece) <= shortPieceBytes && t.pairs.count < shortMergesMax {
		return t.mergeShort(dst, piece)
	}
	return t.mergeLong(dst, piece)
}

// shortPiece is the working memory of mergeShort. A token is at the place of its first byte; due has the rank of
// the merge with its right neighbour above the place, or noPair, and made what comes of it.
type shortPiece struct {
	ids, made  [shortPieceBytes]int32
	due        [shortPieceBytes]uint32
	prev, next [shortPieceBytes]uint8
}

func (t *Tokenizer) mergeShort(dst []int32, piece string) []int32 {
	var c shortPiece
	n := len(piece)
	for i := range n {
		c.ids[i], c.prev[i], c.next[i] = t.byteIDs[piece[i]], uint8(i-1), uint8(i+1)
	}
	for i := range n - 1 {
		c.offer(t.pairs.ofBytes[piece[i]][piece[i+1]], i)
	}
	padded := (n + 3) &^ 3
	for i := n - 1; i < padded; i++ {
		c.due[i] = noPair
	}
	for {
		due := least(c.due[:padded])
		if due == noPair {
			break
		}
		t.settleShort(&c, int(due&(1<<placeBits-1)), n)
	}
	for i := 0; i < n; i = int(c.next[i]) {
		dst = append(dst, c.ids[i])
	}
	return dst
}

// offer enters the merge of the token at a place with its right neighbour, if there is one.
func (c *shortPiece) offer(p pairMerge, at int) {
	c.made[at], c.due[at] = p.id, p.rank<<placeBits|uint32(at)
	if p.rank == noRank {
		c.due[at] = noPair
	}
}

// settleShort merges the token at a place of n with its right neighbour.
func (t *Tokenizer) settleShort(c *shortPiece, at, n int) {
	gone := c.next[at]
	after := int(c.next[gone])
	c.ids[at], c.next[at], c.due[gone] = c.made[at], uint8(after), noPair
	if after < n {
		c.prev[after] = uint8(at)
		c.offer(t.pairs.get(c.ids[at], c.ids[after]), at)
	} else {
		c.due[at] = noPair
	}
	if at > 0 {
		before := int(c.prev[at])
		c.offer(t.pairs.get(c.ids[before], c.ids[at]), before)
	}
}

// least returns the smallest of numbers, whose count is a multiple of four.
func least(all []uint32) uint32 {
	a, b, c, d := noPair, noPair, noPair, noPair
	for ; len(all) >= 4; all = all[4:] {
		a, b, c, d = min(a, all[0]), min(b, all[1]), min(c, all[2]), min(d, all[3])
	}
	return min(a, b, c, d)
}

// chain is the working memory of mergeLong: a linked list of tokens over the piece's
// positions, and a heap of the merges that may be due, each as rank<<32 | position.
type chain struct {
	links []link
	heap  []uint64
}

type link struct {
	id         int32 // −1: taken up by the token to the left
	prev, next int32
}

var chains = sync.Pool{New: func() any { return new(chain) }}

func (t *Tokenizer) mergeLong(dst []int32, piece string) []int32 {
	c := chains.Get().(*chain)
	defer chains.Put(c)
	c.links, c.heap = c.links[:0], c.heap[:0]
	for i := range int32(len(piece)) {
		c.links = append(c.links, link{t.byteIDs[piece[i]], i - 1, i + 1})
	}
	c.links[len(piece)-1].next = -1
	for i := range int32(len(piece) - 1) {
		t.offer(c, i)
	}
	for len(c.heap) > 0 {
		t.settle(c, c.pop())
	}
	for i := int32(0); i >= 0; i = c.links[i].next {
		dst = append(dst, c.links[i].id)
	}
	return dst
}

// settle does a merge that is due, unless its tokens have changed since it was offered.
func (t *Tokenizer) settle(c *chain, due uint64) {
	at := int32(uint32(due))
	left := &c.links[at]
	if left.id < 0 || left.next < 0 {
		return
	}
	right := &c.links[left.next]
	m := t.pairs.get(left.id, right.id)
	if m.rank != uint32(due>>32) {
		return
	}
	left.id, left.next, right.id = m.id, right.next, -1
	if left.next >= 0 {
		c.links[left.next].prev = at
		t.offer(c, at)
	}
	if left.prev >= 0 {
		t.offer(c, left.prev)
	}
}

// offer enters the merge of the token at i with its right neighbour, if there is one.
func (t *Tokenizer) offer(c *chain, i int32) {
	left := c.links[i]
	if m := t.pairs.get(left.id, c.links[left.next].id); m.rank != noRank {
		c.push(uint64(m.rank)<<32 | uint64(uint32(i)))
	}
}

// The heap has four children a node: half the levels, and siblings share a cache line.

func (c *chain) push(x uint64) {
	c.heap = append(c.heap, x)
	i := len(c.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if c.heap[up] <= x {
			break
		}
		c.heap[i] = c.heap[up]
		i = up
	}
	c.heap[i] = x
}

func (c *chain) pop() uint64 {
	h := c.heap
	top, last := h[0], len(h)-1
	x := h[last]
	h = h[:last]
	c.heap = h
	i := 0
	for {
		down := 4*i + 1
		if down >= last {
			break
		}
		least := down
		for k := down + 1; k < min(down+4, last); k++ {
			if h[k] < h[least] {
				least = k
			}
		}
		if h[least] >= x {
			break
		}
		h[i] = h[least]
		i = least
	}
	if last > 0 {
		h[i] = x
	}
	return top
}
