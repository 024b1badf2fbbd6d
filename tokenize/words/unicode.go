package words

import (
	"encoding/binary"
	"sync"
	"unicode"
	"unicode/utf8"
)

// What a character does in the Shingle rule.
const (
	roleEnd   = iota // ends a word, belongs to none
	roleWord         // starts or continues a word
	roleMark         // continues a word
	roleAlone        // is a word by itself, with the marks that follow it
)

// alone lists the scripts whose letters are words by themselves.
var alone = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// roleOf returns what r does in the Shingle rule.
func roleOf(r rune) uint32 {
	switch {
	case r == 0x200c || r == 0x200d || unicode.Is(unicode.M, r):
		return roleMark
	case unicode.Is(unicode.Nd, r):
		return roleWord
	case !unicode.IsLetter(r) && !unicode.IsNumber(r):
		return roleEnd
	case unicode.In(r, alone...), r >= 0x3000 && r <= 0x30ff, r >= 0xff66 && r <= 0xff9f:
		return roleAlone
	}
	return roleWord
}

// entry packs what the scan needs of a character of the Basic Multilingual Plane: the UTF-8
// of its lower case, at most three bytes, low byte first, in bits 0 to 23; their number in
// bits 24 and 25; its role in bits 28 and 29. An entry of 0 is a character that ends words.
type entry uint32

// pack returns the entry of r, which and whose lower case must be below U+10000.
func pack(r rune, role uint32) entry {
	var utf [4]byte
	n := utf8.EncodeRune(utf[:], unicode.ToLower(r))
	return entry(binary.LittleEndian.Uint32(utf[:])) | entry(n)<<24 | entry(role)<<28
}

// basicPlane returns the entries of the Basic Multilingual Plane. It is built on first use
// because most programs that import the package never meet a character beyond ASCII.
var basicPlane = sync.OnceValue(func() *[0x10000]entry {
	var t [0x10000]entry
	for _, table := range []*unicode.RangeTable{unicode.L, unicode.N, unicode.M} {
		for _, r16 := range table.R16 {
			for r := rune(r16.Lo); r <= rune(r16.Hi); r += rune(r16.Stride) {
				t[r] = pack(r, roleOf(r))
			}
		}
	}
	t[0x200c], t[0x200d] = pack(0x200c, roleMark), pack(0x200d, roleMark)
	return &t
})

// lowered hashes the bytes of a word as they come: [Hash] of all of them.
type lowered struct {
	h     uint64 // of the full chunks
	chunk uint64 // the bytes of the open chunk
	bits  uint   // how many bits of chunk are filled, below 64
	n     int    // bytes so far
}

// add appends the n low bytes of utf, 1 to 4; its other bytes must be 0.
func (l *lowered) add(utf uint64, n uint) {
	l.n += int(n)
	l.chunk |= utf << l.bits
	if l.bits += 8 * n; l.bits >= 64 {
		l.h = fold(l.h^l.chunk, hashChunk)
		l.bits -= 64
		l.chunk = utf >> (8*n - l.bits)
	}
}

// sum returns the hash of the bytes added.
func (l *lowered) sum() uint64 {
	h := l.h
	if l.bits > 0 {
		h = fold(h^l.chunk, hashChunk)
	}
	return finish(h, l.n)
}

// character is what the scan needs of one: the UTF-8 bytes of its lower case, low byte
// first, and their number; its role; and its own length in the text.
type character struct {
	utf  uint64
	n    uint
	role uint32
	size int
}

// characterAt returns the character at text[i]. A byte that is not UTF-8 ends words.
func characterAt(table *[0x10000]entry, text string, i int) character {
	r, size := rune(text[i]), 1
	if r >= utf8.RuneSelf {
		r, size = utf8.DecodeRuneInString(text[i:])
	}
	if r < 0x10000 {
		e := table[uint16(r)]
		return character{uint64(e & 0xffffff), uint(e >> 24 & 3), uint32(e >> 28), size}
	}
	var utf [8]byte
	n := utf8.EncodeRune(utf[:], unicode.ToLower(r))
	return character{binary.LittleEndian.Uint64(utf[:]), uint(n), roleOf(r), size}
}

// scanUnicode collects the words of text from text[pos] on, where no word is open, up to an
// ASCII byte outside words that is followed by seven more ASCII bytes, from where scanASCII
// is faster, or to the end. It returns that place.
func (f *found) scanUnicode(text string, pos int) int {
	table := basicPlane()
	start, single := -1, false // of the open word; single: it is a roleAlone character
	var word lowered
	for pos < len(text) {
		c := characterAt(table, text, pos)
		if start >= 0 && c.role != roleMark && (single || c.role != roleWord) {
			f.add(start, pos, word.sum())
			start = -1
		}
		if start < 0 && (c.role == roleWord || c.role == roleAlone) {
			start, single = pos, c.role == roleAlone
			word = lowered{h: hashSeed}
		}
		if start >= 0 {
			word.add(c.utf, c.n)
		} else if c.size == 1 && pos+8 <= len(text) && ascii8(text[pos:]) {
			return pos
		}
		pos += c.size
	}
	if start >= 0 {
		f.add(start, pos, word.sum())
	}
	return pos
}

// ascii8 reports whether the first eight bytes of text, which has them, are ASCII.
func ascii8(text string) bool {
	return binary.LittleEndian.Uint64(bytesOf(text))&0x8080808080808080 == 0
}
