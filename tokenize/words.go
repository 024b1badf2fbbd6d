package tokenize

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

const (
	// wordBytesMax is the length up to which pieces are compared as two numbers; hardly any word is longer.
	wordBytesMax = 15
	// keyBytes is the length of both numbers: the last byte says how long the piece is.
	keyBytes = 16
)

// wordKey is a piece of 1 to wordBytesMax bytes as two numbers, equal for equal pieces only: its bytes,
// little-endian, with zeros behind them, and at last their number.
type wordKey struct{ head, tail uint64 }

// keyOf returns the key of a piece of 1 to wordBytesMax bytes.
func keyOf(piece string) wordKey {
	var padded [keyBytes]byte
	n := copy(padded[:], piece)
	padded[keyBytes-1] = byte(n)
	return wordKey{binary.LittleEndian.Uint64(padded[:]), binary.LittleEndian.Uint64(padded[8:])}
}

// keyWithin is keyOf of n bytes at p, where there are keyBytes. No branch depends on n, which no processor foresees.
func keyWithin(p unsafe.Pointer, n int) wordKey {
	b := (*[keyBytes]byte)(p)
	m := &keyMasks[n&15]
	return wordKey{binary.LittleEndian.Uint64(b[:]) & m[0], binary.LittleEndian.Uint64(b[8:])&m[1] | uint64(n)<<56}
}

// keyMasks keep the first n of 16 bytes.
var keyMasks = makeKeyMasks()

func makeKeyMasks() (out [keyBytes][2]uint64) {
	for n := range out {
		for i := range n {
			out[n][i/8] |= 0xFF << (i % 8 * 8)
		}
	}
	return out
}

// hash mixes a key into 64 bits. It decides where things are kept, never what is answered.
func (k wordKey) hash() uint64 {
	hi, lo := bits.Mul64(k.head^0xA0761D6478BD642F, k.tail^0xE7037ED1A0B428DB)
	return hi ^ lo
}

// wordTable finds the token that a whole piece stands for: open addressing, at most half full, the pieces being
// in the slots, so that a hit touches one cache line.
type wordTable struct {
	slots []wordSlot
	shift uint
}

type wordSlot struct {
	wordKey // of 0 bytes in an empty slot
	id      int32
}

func newWordTable(count int) *wordTable {
	size := bits.Len(uint(2*count + 1))
	return &wordTable{slots: make([]wordSlot, 1<<size), shift: uint(64 - size)}
}

func (t *wordTable) add(piece string, id int32) {
	k := keyOf(piece)
	mask := uint64(len(t.slots) - 1)
	i := k.hash() >> t.shift
	for t.slots[i&mask].tail != 0 {
		i++
	}
	t.slots[i&mask] = wordSlot{k, id}
}

// get returns the token whose bytes are the piece of key k, or −1. hash is k.hash().
func (t *wordTable) get(k wordKey, hash uint64) int32 {
	slots := t.slots
	mask := uint64(len(slots) - 1)
	for i := hash >> t.shift; ; i++ {
		s := &slots[i&mask]
		if s.wordKey == k {
			return s.id
		}
		if s.tail == 0 {
			return -1
		}
	}
}

// memory is what a goroutine works with.
type memory struct {
	recent  recentPieces
	earlier earlierPieces
	window  window
}

// recentPieces remembers the ids of short pieces that a goroutine has met lately. Most of a text is some ten thousand
// pieces: a table of 1 MiB is half as large as pays, although it would fit into a second-level cache.
type recentPieces [recentSets]recentSet

// recentSet is a cache line of two pieces, of which the first was met last.
type recentSet [2]recentPiece

type recentPiece struct {
	wordKey
	ids   [recentIDs]int32
	count uint32
}

const (
	recentBits = 15
	recentSets = 1 << recentBits
	// recentIDs is how many ids of a piece are remembered; a piece of more is not.
	recentIDs = 3
)

// set returns where a key's piece would be.
func (r *recentPieces) set(hash uint64) *recentSet { return &r[hash>>(64-recentBits)] }

// is reports whether the piece of key k is here.
func (p *recentPiece) is(k wordKey) bool {
	return (p.head^k.head)|(p.tail^k.tail) == 0
}

// keep puts the piece of key k here, of at most recentIDs ids.
func (p *recentPiece) keep(k wordKey, ids []int32) {
	*p = recentPiece{wordKey: k, count: uint32(len(ids))}
	copy(p.ids[:], ids)
}

// earlierPieces remembers the ids of longer pieces, of those of more ids, and of what recentPieces has forgotten.
type earlierPieces [1 << earlierBits]earlierPiece

// earlierPiece is a cache line.
type earlierPiece struct {
	longKey
	ids   [earlierIDs]int32
	count uint32
}

const (
	earlierBits = 15
	// earlierIDs is how many ids of a piece are remembered; a piece of more is not.
	earlierIDs = 7
	// longBytesMax is the length up to which a piece is kept there.
	longBytesMax = 31
	longKeyBytes = 32
)

// longKey is a piece of 1 to longBytesMax bytes as four numbers, equal for equal pieces only. That of a short piece is
// its [wordKey], that of another its bytes, and at last their number.
type longKey [longKeyBytes / 8]uint64

// long returns the same piece as a longKey.
func (k wordKey) long() longKey { return longKey{k.head, k.tail} }

// longKeyOf returns the key of a piece of more than wordBytesMax and at most longBytesMax bytes.
func longKeyOf(piece string) longKey {
	var padded [longKeyBytes]byte
	n := copy(padded[:], piece)
	padded[longKeyBytes-1] = byte(n)
	return longKey{binary.LittleEndian.Uint64(padded[:]), binary.LittleEndian.Uint64(padded[8:]),
		binary.LittleEndian.Uint64(padded[16:]), binary.LittleEndian.Uint64(padded[24:])}
}

// longKeyWithin is longKeyOf(text[i:i+n]) for a text that has longKeyBytes bytes from i on.
func longKeyWithin(text string, i, n int) longKey {
	p := unsafe.Slice(unsafe.StringData(text), len(text))[i : i+longKeyBytes]
	m := &keyMasks[(n-keyBytes)&15]
	return longKey{binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:]),
		binary.LittleEndian.Uint64(p[16:]) & m[0], binary.LittleEndian.Uint64(p[24:])&m[1] | uint64(n)<<56}
}

// hash is [wordKey.hash] of the key of a piece that is not short.
func (k *longKey) hash() uint64 {
	hi, lo := bits.Mul64(k[0]^0xA0761D6478BD642F, k[1]^0x8EBC6AF09C88C6E3)
	hi2, lo2 := bits.Mul64(k[2]^0xE7037ED1A0B428DB, k[3]^0x589965CC75374CC3)
	return hi ^ lo ^ hi2 ^ lo2
}

// place returns where a piece would be.
func (e *earlierPieces) place(hash uint64) *earlierPiece { return &e[hash>>(64-earlierBits)] }

// is reports whether the piece of key k is here.
func (p *earlierPiece) is(k *longKey) bool {
	q := &p.longKey
	return (q[0]^k[0])|(q[1]^k[1])|(q[2]^k[2])|(q[3]^k[3]) == 0
}

// keep puts the piece of key k here, if there is room for its ids.
func (p *earlierPiece) keep(k *longKey, ids []int32) {
	if len(ids) <= earlierIDs {
		*p = earlierPiece{longKey: *k, count: uint32(len(ids))}
		copy(p.ids[:], ids)
	}
}

// hashString is [wordKey.hash] for pieces of any length.
func hashString(s string) uint64 {
	switch {
	case len(s) <= wordBytesMax:
		return keyOf(s).hash()
	case len(s) <= longBytesMax:
		k := longKeyOf(s)
		return k.hash()
	}
	p := unsafe.Slice(unsafe.StringData(s), len(s))
	k := wordKey{binary.LittleEndian.Uint64(p) ^ uint64(len(p))<<56, binary.LittleEndian.Uint64(p[len(p)-8:])}
	for i := 8; i+8 < len(p); i += 8 {
		hi, lo := bits.Mul64(k.head^0x8EBC6AF09C88C6E3, binary.LittleEndian.Uint64(p[i:])^0xE7037ED1A0B428DB)
		k.head = hi ^ lo
	}
	return k.hash()
}
