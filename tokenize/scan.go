package tokenize

import "math/bits"

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
