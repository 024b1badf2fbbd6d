package tokenize

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"unsafe"
)

// noRank is the rank of a pair that is never merged.
const noRank = ^uint32(0)

// pairTable finds the merge of two adjacent tokens: open addressing, at most half full.
type pairTable struct {
	slots []pairSlot
	shift uint
}

type pairSlot struct {
	key  uint64 // left+1 above, right below; 0 is an empty slot
	rank uint32
	id   int32
}

func newPairTable(count int) *pairTable {
	size := bits.Len(uint(2*count + 1))
	return &pairTable{slots: make([]pairSlot, 1<<size), shift: uint(64 - size)}
}

func pairKey(left, right int32) uint64 { return uint64(left+1)<<32 | uint64(uint32(right)) }

func (t *pairTable) slot(key uint64) *pairSlot {
	mask := uint64(len(t.slots) - 1)
	for i := key * 0x9E3779B97F4A7C15 >> t.shift; ; i++ {
		s := &t.slots[i&mask]
		if s.key == key || s.key == 0 {
			return s
		}
	}
}

// get returns the rank and result of merging left and right, or noRank.
func (t *pairTable) get(left, right int32) (uint32, int32) {
	s := t.slot(pairKey(left, right))
	if s.key == 0 {
		return noRank, 0
	}
	return s.rank, s.id
}

// add enters a merge; false means that the pair is there already.
func (t *pairTable) add(left, right int32, rank uint32, id int32) bool {
	s := t.slot(pairKey(left, right))
	if s.key != 0 {
		return false
	}
	*s = pairSlot{pairKey(left, right), rank, id}
	return true
}

// wordTable finds the token that a whole piece stands for.
type wordTable struct {
	slots  []wordSlot
	shift  uint
	tokens []string // bytes by id, shared with the tokenizer
}

type wordSlot struct {
	tag uint32 // low half of the hash, with the lowest bit set; 0 is an empty slot
	id  int32
}

func newWordTable(count int, tokens []string) *wordTable {
	size := bits.Len(uint(2*count + 1))
	return &wordTable{slots: make([]wordSlot, 1<<size), shift: uint(64 - size), tokens: tokens}
}

func (t *wordTable) add(id int32) {
	h := hashString(t.tokens[id])
	mask := uint64(len(t.slots) - 1)
	i := h >> t.shift
	for t.slots[i&mask].tag != 0 {
		i++
	}
	t.slots[i&mask] = wordSlot{uint32(h) | 1, id}
}

// get returns the token whose bytes are piece, or −1. hash is hashString(piece).
func (t *wordTable) get(piece string, hash uint64) int32 {
	mask := uint64(len(t.slots) - 1)
	for i := hash >> t.shift; ; i++ {
		s := &t.slots[i&mask]
		if s.tag == 0 {
			return -1
		}
		if s.tag == uint32(hash)|1 && t.tokens[s.id] == piece {
			return s.id
		}
	}
}

// hashString mixes a string into 64 bits, two overlapping words for the common
// lengths. It decides where things are kept, never what is answered.
func hashString(s string) uint64 {
	const k0, k1, k2 = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3
	p := unsafe.Slice(unsafe.StringData(s), len(s))
	var a, b uint64
	switch n := len(p); {
	case n >= 8:
		a, b = binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[n-8:])
		for i := 8; i+8 < n; i += 8 {
			hi, lo := bits.Mul64(a^k2, binary.LittleEndian.Uint64(p[i:])^k1)
			a = hi ^ lo
		}
	case n >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(p)), uint64(binary.LittleEndian.Uint32(p[n-4:]))
	case n > 0:
		a = uint64(p[0])<<16 | uint64(p[n/2])<<8 | uint64(p[n-1])
	}
	hi, lo := bits.Mul64(a^k0^uint64(len(p)), b^k1)
	return (hi ^ lo) * 0x9E3779B97F4A7C15
}

// shortPieceBytes is the length up to which a piece is merged by scanning all ranks
// after each merge: quadratic, but on two cache lines. Longer pieces use a heap.
const shortPieceBytes = 96

// merge appends the tokens of one piece to dst: the adjacent pair of lowest rank is
// merged, the leftmost of equals first, until no pair has a merge.
func (t *Tokenizer) merge(dst []int32, piece string) []int32 {
	if len(piece) <= shortPieceBytes {
		return t.mergeShort(dst, piece)
	}
	return t.mergeLong(dst, piece)
}

func (t *Tokenizer) mergeShort(dst []int32, piece string) []int32 {
	var ids, news [shortPieceBytes]int32
	var ranks [shortPieceBytes]uint32
	n := len(piece)
	for i := range n {
		ids[i] = t.byteIDs[piece[i]]
	}
	for i := range n - 1 {
		ranks[i], news[i] = t.pairs.get(ids[i], ids[i+1])
	}
	for n > 1 {
		best, at := noRank, 0
		for i, r := range ranks[:n-1] {
			if r < best {
				best, at = r, i
			}
		}
		if best == noRank {
			break
		}
		ids[at] = news[at]
		copy(ids[at+1:n-1], ids[at+2:n])
		copy(ranks[at+1:n-1], ranks[at+2:n])
		copy(news[at+1:n-1], news[at+2:n])
		n--
		if at < n-1 {
			ranks[at], news[at] = t.pairs.get(ids[at], ids[at+1])
		}
		if at > 0 {
			ranks[at-1], news[at-1] = t.pairs.get(ids[at-1], ids[at])
		}
	}
	return append(dst, ids[:n]...)
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
	rank, id := t.pairs.get(left.id, right.id)
	if rank != uint32(due>>32) {
		return
	}
	left.id, left.next, right.id = id, right.next, -1
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
	if rank, _ := t.pairs.get(left.id, c.links[left.next].id); rank != noRank {
		c.push(uint64(rank)<<32 | uint64(uint32(i)))
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
