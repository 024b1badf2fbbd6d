package tokenize

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// A text of some length is cut 64 bytes at a time: a bit for each byte says what class it is of, a few operations on
// those words find where pieces begin, and no branch depends on where. Where that is not known from the words alone,
// at a character that no rule of these foresees or in a long piece, [splitter.next] goes on. Each begins afresh at the
// beginning of a piece, since what begins there depends on nothing before it.

const (
	// windowBlocks is how many times 64 bytes are cut at once at most.
	windowBlocks = 32
	windowBytes  = 64 * windowBlocks
	// windowBytesMin is the length from which on a text is cut by words of bits.
	windowBytesMin = 32
	// foresightBytes is how far a beginning of a piece may depend on what follows, other than spaces.
	foresightBytes = 16
	// pauseBytesMin and pauseBytesMax are how much is left to [splitter.next] after a window of little use.
	pauseBytesMin = 128
	pauseBytesMax = 4096
)

// block says of 64 bytes what they are; bit i stands for byte i. A character of several bytes has the same
// bits in each of them.
type block struct {
	// What a kernel finds: letters, capitals among them, digits, spaces, \r and \n among them, ' ', "'", "/", and
	// bytes beyond ASCII, whose class is added later.
	letter, upper, number, space, newline, blank, quote, slash, wide uint64
	// Of characters beyond ASCII: their bytes but the first, letters without case and marks, marks alone, and what
	// the rules do not foresee.
	inner, both, mark, hard uint64
}

// cutRules is a pattern, as far as text is cut by words of bits.
type cutRules struct {
	plane     *[1 << 16]scanClass
	beyond    func(r rune) scanClass // of characters beyond the plane
	gpt2      bool                   // a space alone goes before any run, and line breaks are spaces as others
	cased     bool                   // words end where capitals begin, slashes follow line breaks
	fold      bool                   // contractions in any case
	suffixed  bool                   // contractions belong to the word before
	plain     bool                   // no contractions
	digitsMax int
}

// scanClass is what a character beyond ASCII is: 0 for symbols, or bits.
type scanClass uint8

const (
	scanLetter scanClass = 1 << iota
	scanUpper
	scanBoth
	scanMark
	scanHard
)

// window is the working memory of a search.
type window struct {
	blocks [windowBlocks + 1]block
	// ends has a bit where a piece ends.
	ends [windowBlocks + 1]uint64
	// bytes is how far the text was looked at; hard says that a character ended it, final that the text did.
	bytes       int
	hard, final bool
	spill       spill
	// resume is where to look again, pause how much was left out for little use.
	resume, pause int
}

// spill is the part of a character that lies in the next block.
type spill struct {
	class scanClass
	bits  uint64
}

// edge is what a block must know of the one before it.
type edge struct {
	letter, lower, other, kept, space, newline, white, blank, number, both uint64
	// Carries: of breaks after symbols, a symbol's end, spaces after the last break, beginnings of three digits, and
	// of a contraction what it clears and may set.
	flood, after, reach, threes, clear, set uint64
	// open is where the last run of spaces after a line break begins, spent where the last contraction ended.
	open, spent int
}

// begin makes w ready for another text.
func (w *window) begin() { w.resume, w.pause = 0, 0 }

// cut cuts text from i on, where a piece begins. It returns how many bytes of whole pieces there are, whose ends are
// marked in w.ends; or more than windowBytes, the length of a single piece.
func (w *window) cut(p *splitter, text string, i int) int {
	if p.rules != nil && i >= w.resume && len(text)-i >= windowBytesMin {
		if n := w.cutByWords(p.rules, text, i); n > 0 {
			return n
		}
	}
	clear(w.ends[:])
	n := 0
	for more := true; more && i+n < len(text); more = n < windowBytes && (p.rules == nil || i+n < w.resume) {
		end := p.next(text, i+n) - i
		if end > windowBytes {
			if n == 0 {
				return end
			}
			break
		}
		n = end
		w.ends[n/64] |= 1 << (n % 64)
	}
	return n
}

// cutByWords is cut by words of bits; 0 says that they do not tell where the first piece ends.
func (w *window) cutByWords(r *cutRules, text string, i int) int {
	w.find(r, text[i:])
	n := w.bytes
	if !w.final {
		n = w.last()
	}
	if w.hard {
		w.resume = i + w.bytes + 1
	}
	if w.pause *= 2; w.final || n >= 64 {
		w.pause = 0
	} else {
		w.pause = min(max(w.pause, pauseBytesMin), pauseBytesMax)
		w.resume = max(w.resume, i+n+w.pause)
	}
	w.ends[n/64] |= 1 << (n % 64)
	return n
}

// last returns the last beginning that is marked, or 0.
func (w *window) last() int {
	for k := (w.bytes - 1) / 64; k >= 0; k-- {
		if w.ends[k] != 0 {
			return 64*k + 63 - bits.LeadingZeros64(w.ends[k])
		}
	}
	return 0
}

// find marks in w.ends where pieces of text begin but the first.
func (w *window) find(r *cutRules, text string) {
	w.bytes, w.hard = min(len(text), windowBytes), false
	w.final = w.bytes == len(text)
	count := (w.bytes + 63) / 64
	e, ready := edge{spent: -1}, 0
	w.spill = spill{}
	k := 0
	for ; k < count; k++ {
		if ready < min(k+2, count) {
			ready = w.classify(r, text, ready, min(ready+4, count))
		}
		valid := ^uint64(0)
		if left := w.bytes - 64*k; left < 64 {
			valid = 1<<left - 1
		}
		if hard := w.unforeseen(k, &e) & valid; hard != 0 {
			at := bits.TrailingZeros64(hard)
			valid, w.bytes, w.hard, w.final = 1<<at-1, 64*k+at, true, false
			w.cutBlock(r, text, k, valid, 0, &e)
			k++
			break
		}
		next := uint64(0)
		if k+1 < count {
			next = ^w.blocks[k+1].space << 63
		}
		w.cutBlock(r, text, k, valid, next, &e)
	}
	w.ends[0] &^= 1
	w.settle(&e, k)
}

// settle drops the beginnings that what follows may yet change.
func (w *window) settle(e *edge, count int) {
	clear(w.ends[count:])
	if w.final {
		return
	}
	w.drop(w.bytes - foresightBytes)
	if e.reach != 0 {
		w.drop(e.open)
	}
}

// drop clears the beginnings from a place on.
func (w *window) drop(from int) {
	from = max(from, 0)
	k := from / 64
	if k >= windowBlocks {
		return
	}
	w.ends[k] &= 1<<(from%64) - 1
	clear(w.ends[k+1:])
}

// back moves each bit to the byte after it; before is the word before.
func back(x, before uint64) uint64 { return x<<1 | before>>63 }

// unforeseen returns where characters of block k begin that the rules do not foresee: some beyond ASCII, a capital
// right after a letter without case, and a mark that follows no letter.
func (w *window) unforeseen(k int, e *edge) uint64 {
	b := &w.blocks[k]
	return b.hard | b.upper&back(b.both, e.both) | b.mark&^b.inner&^back(b.letter, e.letter)
}

// cutBlock marks the beginnings in block k, as far as bytes are valid. next has the highest bit if no space follows the
// block.
func (w *window) cutBlock(r *cutRules, text string, k int, valid, next uint64, e *edge) {
	b := &w.blocks[k]
	letter, number, space, newline := b.letter&valid, b.number&valid, b.space&valid, b.newline&valid
	other, inSpace := valid&^(letter|number|space), space
	trail := newline
	if r.cased {
		trail |= b.slash & valid
	}
	if r.gpt2 {
		newline, trail = 0, 0
	}
	// Line breaks, and slashes, after symbols: the carry of an addition runs through them.
	seeds := newline & back(other, e.other) &^ e.flood
	sum, flood := bits.Add64(trail, seeds, e.flood)
	tail := trail&^sum | seeds
	space, newline = space&^tail, newline&^tail
	kept, white := other&^tail, space&^newline

	symbols := kept &^ back(kept, e.kept) &^ back(b.blank, e.blank) &^ b.inner
	starts := symbols | space&^back(space, e.space) | white&((valid&^inSpace)>>1|next)
	if r.gpt2 {
		prefixed := back(b.blank, e.blank) | b.inner
		starts |= letter&^back(letter, e.letter)&^prefixed | number&^back(number, e.number)&^prefixed
	} else {
		// A word has the space or the single symbol before it; the carry of an addition runs through a symbol's bytes.
		end, over := bits.Add64(b.inner, symbols<<1|e.after, 0)
		words := letter &^ back(letter, e.letter) &^ back(white, e.white) &^ end
		e.after = symbols>>63 | over
		if r.cased {
			lower := letter &^ b.upper
			words |= letter & b.upper & back(lower, e.lower)
			e.lower = lower
		}
		starts |= words&^b.inner | e.digits(number, r.digitsMax)
		starts |= w.afterBreaks(white, newline, valid, k, e)
	}
	if !r.plain {
		starts = e.contractions(r, text, k, starts, b.quote&symbols, letter)
	}
	w.ends[k] = starts
	e.letter, e.other, e.kept, e.space, e.newline = letter, other, kept, space, newline
	e.white, e.blank, e.number, e.both, e.flood = white, b.blank, number, b.both, flood
}

// afterBreaks returns where spaces begin after the last line break of a run of spaces. Where line breaks follow yet,
// a beginning that was marked in an earlier block is cleared.
func (w *window) afterBreaks(white, newline, valid uint64, k int, e *edge) uint64 {
	begin := white & back(newline, e.newline)
	sum, reach := bits.Add64(white, begin, e.reach)
	all := begin
	for ends := sum &^ white & newline; ends != 0; ends &= ends - 1 {
		if before := all & (ends&-ends - 1); before != 0 {
			begin &^= 1 << (63 - bits.LeadingZeros64(before))
		} else {
			w.ends[e.open/64] &^= 1 << (e.open % 64)
		}
	}
	if all != 0 {
		e.open = 64*k + 63 - bits.LeadingZeros64(all)
	}
	e.reach = reach | sum&(valid+1)
	return begin
}

// digits returns where pieces of at most so many numbers begin, 1 or 3.
func (e *edge) digits(number uint64, most int) uint64 {
	if most == 1 {
		return number
	}
	before := back(number, e.number)
	third := number & before & (number<<2 | e.number>>62)
	a := number&^before | third&e.threes
	b := a << 3 & third
	starts := a | b
	for b = b << 3 & third; b != 0; b = b << 3 & third {
		starts |= b
	}
	e.threes = starts >> 61
	return starts
}

// contractions returns starts as the contractions of block k have it, whose apostrophes are among quotes. The
// letters of a contraction begin nothing, those after it do.
func (e *edge) contractions(r *cutRules, text string, k int, starts, quotes, letter uint64) uint64 {
	none, set := e.clear, e.set
	e.clear, e.set = 0, 0
	if r.suffixed {
		quotes &= back(letter, e.letter)
	}
	for ; quotes != 0; quotes &= quotes - 1 {
		p := bits.TrailingZeros64(quotes)
		at := 64*k + p
		if r.suffixed && at == e.spent {
			continue
		}
		n := contraction(text[at+1:], r.fold)
		if n == 0 {
			continue
		}
		span, end := uint64(2)<<n-2, uint64(2)<<n
		if r.suffixed {
			span |= 1
		}
		none, e.clear = none|span<<p, e.clear|span>>(64-p)
		set, e.set = set|end<<p, e.set|end>>(64-p)
		e.spent = at + 1 + n
	}
	return starts&^none | set&letter
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
func (b *block) widen(r *cutRules, text string, first spill) spill {
	b.add(first.class, first.bits, first.bits)
	last := spill{}
	for wide := b.wide &^ first.bits; wide != 0; {
		p := bits.TrailingZeros64(wide)
		c, n := utf8.DecodeRuneInString(text[p:])
		var class scanClass
		if c < 1<<16 {
			class = r.plane[c]
		} else {
			class = r.beyond(c)
		}
		all := uint64(1)<<n - 1
		b.add(class, all<<p, (all-1)<<p)
		wide &^= all << p
		last = spill{class, all >> (64 - p)}
	}
	return last
}

// add gives bytes a class.
func (b *block) add(class scanClass, bytes, inner uint64) {
	one := func(bit scanClass) uint64 {
		if class&bit != 0 {
			return bytes
		}
		return 0
	}
	b.letter |= one(scanLetter)
	b.upper |= one(scanUpper)
	b.both |= one(scanBoth)
	b.mark |= one(scanMark)
	b.hard |= one(scanHard)
	b.inner |= inner
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
}

// gather brings the highest bits of eight bytes together.
func gather(w uint64) uint64 { return (w >> 7 & eachByte) * 0x0102040810204080 >> 56 }
