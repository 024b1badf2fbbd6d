package tokenize

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// wordBytesMax is the length up to which pieces are compared as two numbers; hardly any word is longer.
const wordBytesMax = 16

// wordKey is a piece of 1 to wordBytesMax bytes as three numbers, equal for equal pieces only: its bytes,
// little-endian, with zeros behind them, and their number.
type wordKey struct{ head, tail, size uint64 }

// keyOf returns the key of a piece of 1 to wordBytesMax bytes.
func keyOf(piece string) wordKey {
	var padded [wordBytesMax]byte
	n := copy(padded[:], piece)
	return wordKey{binary.LittleEndian.Uint64(padded[:]), binary.LittleEndian.Uint64(padded[8:]), uint64(n)}
}

// keyWithin is keyOf(text[i:i+n]) for a text that has wordBytesMax bytes from i on. No branch depends on n, which no
// processor foresees.
func keyWithin(text string, i, n int) wordKey {
	p := unsafe.Slice(unsafe.StringData(text), len(text))[i : i+wordBytesMax]
	m := &keyMasks[n&31]
	return wordKey{binary.LittleEndian.Uint64(p) & m[0], binary.LittleEndian.Uint64(p[8:]) & m[1], uint64(n)}
}

// keyMasks keep the first n of 16 bytes.
var keyMasks = makeKeyMasks()

func makeKeyMasks() (out [32][2]uint64) {
	for n := range out {
		for i := range min(n, wordBytesMax) {
			out[n][i/8] |= 0xFF << (i % 8 * 8)
		}
	}
	return out
}

// hash mixes a key into 64 bits. It decides where things are kept, never what is answered.
func (k wordKey) hash() uint64 {
	hi, lo := bits.Mul64(k.head^0xA0761D6478BD642F, k.tail^0xE7037ED1A0B428DB^k.size<<56)
	return (hi ^ lo) * 0x9E3779B97F4A7C15
}

// wordTable finds the token that a whole piece stands for: open addressing, at most half full, the pieces being
// in the slots, so that a hit touches one cache line.
type wordTable struct {
	slots []wordSlot
	shift uint
}

type wordSlot struct {
	head, tail uint64
	size       uint32 // 0 is an empty slot
	id         int32
}

func newWordTable(count int) *wordTable {
	size := bits.Len(uint(2*count + 1))
	return &wordTable{slots: make([]wordSlot, 1<<size), shift: uint(64 - size)}
}

func (t *wordTable) add(piece string, id int32) {
	k := keyOf(piece)
	mask := uint64(len(t.slots) - 1)
	i := k.hash() >> t.shift
	for t.slots[i&mask].size != 0 {
		i++
	}
	t.slots[i&mask] = wordSlot{k.head, k.tail, uint32(k.size), id}
}

// get returns the token whose bytes are the piece of key k, or −1. hash is k.hash().
func (t *wordTable) get(k wordKey, hash uint64) int32 {
	slots := t.slots
	mask := uint64(len(slots) - 1)
	for i := hash >> t.shift; ; i++ {
		s := &slots[i&mask]
		if s.head == k.head && s.tail == k.tail && uint64(s.size) == k.size {
			return s.id
		}
		if s.size == 0 {
			return -1
		}
	}
}

// memory is what a goroutine works with.
type memory struct {
	recent recentPieces
	window window
}

// recentPieces remembers the ids of short pieces that a goroutine has met lately: most of a text is some
// thousand pieces, and this table, of 1 MiB, fits into a second-level cache, unlike that of all words.
type recentPieces [recentSets]recentSet

// recentSet is a cache line of two pieces, of which the first was met last.
type recentSet [2]recentPiece

type recentPiece struct {
	head, tail  uint64
	ids         [recentIDs]int32
	size, count uint16
}

const (
	recentBits = 14
	recentSets = 1 << recentBits
	// recentIDs is how many ids of a piece are remembered; a piece of more is not.
	recentIDs = 3
)

// set returns where a key's piece would be.
func (r *recentPieces) set(hash uint64) *recentSet { return &r[hash>>(64-recentBits)] }

// is reports whether the piece of key k is here.
func (p *recentPiece) is(k wordKey) bool {
	return (p.head^k.head)|(p.tail^k.tail)|(uint64(p.size)^k.size) == 0
}

// keep puts the piece of key k here, of at most recentIDs ids.
func (p *recentPiece) keep(k wordKey, ids []int32) {
	*p = recentPiece{head: k.head, tail: k.tail, size: uint16(k.size), count: uint16(len(ids))}
	copy(p.ids[:], ids)
}

// hashString is [wordKey.hash] for pieces of any length.
func hashString(s string) uint64 {
	if len(s) <= wordBytesMax {
		return keyOf(s).hash()
	}
	p := unsafe.Slice(unsafe.StringData(s), len(s))
	k := wordKey{binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[len(p)-8:]), uint64(len(p))}
	for i := 8; i+8 < len(p); i += 8 {
		hi, lo := bits.Mul64(k.head^0x8EBC6AF09C88C6E3, binary.LittleEndian.Uint64(p[i:])^0xE7037ED1A0B428DB)
		k.head = hi ^ lo
	}
	return k.hash()
}
