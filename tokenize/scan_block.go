package tokenize

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// block says of 64 bytes what they are; bit i stands for byte i. A character of several bytes has the same
// bits in each of them.
type block struct {
	// What a kernel finds: letters, capitals among them, digits, spaces, \r and \n among them, ' ', "'", "/",
	// bytes beyond ASCII, whose class is added later, those that go on with a character, and those that begin
	// one of U+0400 to U+047F, 0xD0 and 0xD1.
	letter, upper, number, space, newline, blank, quote, slash, wide, follow, cyrillic uint64
	// Of characters beyond ASCII: their bytes but the first, letters without case and marks, marks alone, and what
	// the rules do not foresee.
	inner, both, mark, hard uint64
}

// classify fills the blocks from one to another, and returns the latter.
func (w *window) classify(r *cutRules, text string, from, to int) int {
	whole := min(to, w.bytes/64)
	if whole > from {
		classify(text[64*from:64*whole], w.blocks[from:whole])
	}
	if whole < to {
		var padded [64]byte
		copy(padded[:], text[64*whole:w.bytes])
		classify(unsafe.String(&padded[0], 64), w.blocks[whole:to])
	}
	for k := from; k < to; k++ {
		b := &w.blocks[k]
		b.inner, b.both, b.mark, b.hard = 0, 0, 0, 0
		if b.wide != 0 {
			w.spill = b.widen(r, text[64*k:], w.spill)
		}
	}
	return to
}

// widen adds the classes of characters beyond ASCII, the first of which began in the block before.
func (b *block) widen(r *cutRules, text string, first spill) (last spill) {
	letter, inner := b.letter, first.bits
	class, bytes := first.class, first.bits
	wide := b.wide &^ first.bits
	if !r.cased {
		// U+0400 to U+047F are all letters: of two bytes each, however many there are.
		begin := b.cyrillic & (b.follow >> 1)
		letter, inner, wide = letter|begin|begin<<1, inner|begin<<1, wide&^(begin|begin<<1)
	}
	for {
		if class == scanLetter {
			letter |= bytes
		} else {
			b.addClass(class, bytes)
		}
		if wide == 0 {
			break
		}
		p := bits.TrailingZeros64(wide)
		n := 2
		if p+1 < len(text) && text[p]-0xC2 < 0xE0-0xC2 && text[p+1]&0xC0 == 0x80 {
			class = r.plane[rune(text[p]&0x1F)<<6|rune(text[p+1]&0x3F)]
		} else {
			class, n = r.classAt(text, p)
		}
		all := uint64(1)<<(n&7) - 1
		bytes = all << (p & 63)
		inner |= bytes &^ (1 << (p & 63))
		wide &^= bytes
		last = spill{class, all >> (64 - p)}
	}
	b.letter |= letter
	b.inner = inner
	return last
}

// addClass gives bytes a class.
func (b *block) addClass(class scanClass, bytes uint64) {
	b.letter |= bytes & -uint64(class&1)
	b.upper |= bytes & -uint64(class>>1&1)
	b.both |= bytes & -uint64(class>>2&1)
	b.mark |= bytes & -uint64(class>>3&1)
	b.hard |= bytes & -uint64(class>>4)
}

const eachByte = 0x0101010101010101

// classifyPlain fills blocks with what 64 bytes each of text are, eight at a time.
func classifyPlain(text string, out []block) {
	p := unsafe.Slice(unsafe.StringData(text), len(text))
	for k := range out {
		b := block{}
		for i := range uint(8) {
			w := binary.LittleEndian.Uint64(p[64*k+8*int(i):])
			b.addEight(w, 8*i)
		}
		out[k] = b
	}
}

// addEight adds the classes of eight bytes at a place.
func (b *block) addEight(w uint64, at uint) {
	ascii, wide := w&(0x7F*eachByte), w&(0x80*eachByte)
	folded := ascii | 0x20*eachByte
	// In a byte of 0 to 127, adding 128 less c carries into the highest bit from c on.
	from := func(x uint64, c uint64) uint64 { return x + (0x80-c)*eachByte }
	in := func(x uint64, low, high uint64) uint64 {
		return gather(from(x, low)&^from(x, high+1)&^wide) << at
	}
	b.letter |= in(folded, 'a', 'z')
	b.upper |= in(ascii, 'A', 'Z')
	b.number |= in(ascii, '0', '9')
	b.newline |= in(ascii, '\n', '\n') | in(ascii, '\r', '\r')
	b.blank |= in(ascii, ' ', ' ')
	b.space |= in(ascii, '\t', '\r') | in(ascii, ' ', ' ')
	b.quote |= in(ascii, '\'', '\'')
	b.slash |= in(ascii, '/', '/')
	b.wide |= gather(wide) << at
	b.follow |= gather(wide&^(w<<1)) << at
	// Zero in a byte of 0xD0 or 0xD1; adding 127 to the lower bits of any other gives the highest, unless that is set.
	lead := w&(0xFE*eachByte) ^ 0xD0*eachByte
	b.cyrillic |= gather(^(lead&(0x7F*eachByte) + 0x7F*eachByte | lead)) << at
}

// gather brings the highest bits of eight bytes together.
func gather(w uint64) uint64 { return (w >> 7 & eachByte) * 0x0102040810204080 >> 56 }
