package words

import (
	"math/bits"
	"unicode/utf8"
)

// wordScan collects the UAX 29 segments of class Word. Most are runs of ASCII letters and
// digits with nothing beside them that could join on: those come from masks of 64 bytes, the
// others from a segmenter. A run is a stretch of ASCII letters, digits, "_" and bytes beyond
// ASCII; the last two are special.
type wordScan struct {
	found
	seg     segmenter
	start   int  // of the open run, -1 outside
	special bool // the open run has a special byte
}

// scanUAX29 appends the spans of the UAX 29 segments of class Word.
func scanUAX29(dst []Span, text string, k kernel) []Span {
	w := wordScan{found: found{spans: dst, wantSpans: true}, seg: segmenter{text: text}, start: -1}
	b := bytesOf(text)
	var special [blocksPerCall]uint64
	for pos := 0; pos < len(b); {
		n := classifyRuns(k, b[pos:], w.masks[:], special[:])
		width := 64
		if n == 0 {
			width = min(64, len(b)-pos)
			w.masks[0], special[0] = runBlock(b[pos : pos+width])
			n = 1
		}
		for i, mask := range w.masks[:n] {
			w.block(mask, special[i], pos, width)
			pos += width
		}
	}
	if w.start >= 0 {
		w.run(len(b))
	}
	return w.spans
}

// block goes over the block of width bytes at text[base]: mask has the bits of bytes that
// belong to runs, special those of special ones.
func (w *wordScan) block(mask, special uint64, base, width int) {
	edges := mask ^ mask<<1
	if w.start >= 0 {
		edges ^= 1
	}
	if width < 64 {
		edges &= 1<<width - 1
	}
	for edges != 0 {
		bit := bits.TrailingZeros64(edges)
		edges &= edges - 1
		if w.start < 0 {
			w.start, w.special = base+bit, false
			continue
		}
		// The special bits left below this edge lie in this run.
		if below := special & (1<<bit - 1); below != 0 {
			w.special = true
			special ^= below
		}
		w.run(base + bit)
		w.start = -1
	}
	w.special = w.special || special != 0
}

// run adds the words of the run from w.start to end and of what the segmenter joins to it.
func (w *wordScan) run(end int) {
	text, start := w.seg.text, w.start
	if start < w.seg.end {
		if end <= w.seg.end {
			return // joined to a run before it
		}
	} else if !w.special && !joinsOn(text, end) {
		w.add(start, end, 0)
		return
	} else if w.seg.end = start; start > 0 && text[start] >= utf8.RuneSelf {
		w.seg.end-- // the ASCII character before it may be part of its segment
	}
	for w.seg.end < end {
		if !w.seg.next() {
			return
		}
		if w.seg.class == Word {
			w.add(w.seg.start, w.seg.end, 0)
		}
	}
}

// joinsOn reports whether the byte at text[end], which follows an ASCII letter or digit and
// is ASCII but no letter, digit or "_", may join on what follows it.
func joinsOn(text string, end int) bool {
	if end+1 >= len(text) || asciiKind[text[end]&0x7f]&(joinsLetters|joinsDigits) == 0 {
		return false
	}
	return alnum[text[end+1]] != 0
}

// runByte is 1 for the ASCII letters and digits, 3 for special bytes.
var runByte = func() (t [256]uint8) {
	for c := range t {
		if alnum[c] == 1 {
			t[c] = 1
		} else if c == '_' || c >= utf8.RuneSelf {
			t[c] = 3
		}
	}
	return t
}()

// classifyRunsPlain is the plain classifyRuns.
func classifyRunsPlain(text []byte, mask, special []uint64) int {
	n := min(len(text)/64, len(mask))
	for i := range n {
		mask[i], special[i] = runBlock(text[64*i : 64*i+64])
	}
	return n
}

// runBlock returns the mask of the bytes that belong to runs and that of the special ones in
// up to 64 bytes.
func runBlock(text []byte) (mask, special uint64) {
	for j, c := range text {
		t := uint64(runByte[c])
		mask |= (t & 1) << (j & 63)
		special |= (t >> 1) << (j & 63)
	}
	return mask, special
}
