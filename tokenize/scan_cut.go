package tokenize

import "math/bits"

// edge is what a block must know of the one before it.
type edge struct {
	letter, lower, other, kept, space, newline, white, blank, number, both uint64
	// Carries: of line breaks after symbols, of the end of a single symbol, of spaces after the last line break, of
	// where three digits begin, and what a contraction clears and where letters begin after it.
	flood, after, reach, threes, clear, set uint64
	// open is where the last spaces after a line break begin, spent where the last contraction ended.
	open, spent int
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
	other := valid &^ (letter | number | space)
	beforeText := (valid&^space)>>1 | next
	if r.gpt2 {
		newline = 0
	}
	tail := e.tail(r, other, newline, b.slash&valid)
	space, newline = space&^tail, newline&^tail
	kept, white := other&^tail, space&^newline

	// Runs of symbols and of spaces begin, and the last of several spaces begins what is not the end of the text.
	symbols := kept &^ back(kept, e.kept) &^ back(b.blank, e.blank) &^ b.inner
	starts := symbols | space&^back(space, e.space) | white&beforeText
	if r.gpt2 {
		prefixed := back(b.blank, e.blank) | b.inner
		starts |= letter&^back(letter, e.letter)&^prefixed | number&^back(number, e.number)&^prefixed
	} else {
		starts |= e.words(r, letter, b.upper&letter, white, symbols, b.inner) | e.digits(number, r.digitsMax)
		starts |= w.afterBreaks(white, newline, valid, k, e)
	}
	if r.contractions {
		starts = e.contractions(r, text, k, starts, b.quote&symbols, letter)
	}
	w.ends[k] = starts
	e.letter, e.other, e.kept, e.space, e.newline = letter, other, kept, space, newline
	e.white, e.blank, e.number, e.both = white, b.blank, number, b.both
}

// tail returns the line breaks, and slashes between them, that belong to the symbols before them: the carry of an
// addition runs through them. Where it begins again, it leaves a bit behind.
func (e *edge) tail(r *cutRules, other, newline, slash uint64) uint64 {
	run := newline
	if r.cased {
		run |= slash
	}
	begin := newline & back(other, e.other)
	sum, flood := bits.Add64(run, begin, e.flood)
	e.flood = flood
	return run&^sum | begin
}

// words returns where words begin: with the space or the single symbol before them, if there is one, which begins
// at an earlier bit.
func (e *edge) words(r *cutRules, letter, upper, white, symbols, inner uint64) uint64 {
	// The carry of an addition runs through a symbol's bytes to the byte after it.
	after, over := bits.Add64(inner, symbols<<1|e.after, 0)
	e.after = symbols>>63 | over
	starts := letter &^ back(letter, e.letter) &^ back(white, e.white) &^ after
	if r.cased {
		lower := letter &^ upper
		starts |= upper & back(lower, e.lower)
		e.lower = lower
	}
	return starts &^ inner
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
