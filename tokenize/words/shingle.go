package words

import (
	"math/bits"
	"unicode/utf8"
)

// AppendWords appends the spans of text's words by the Shingle rule of the package comment.
func AppendWords[T Text](dst []Span, text T) []Span {
	out := found{spans: dst, wantSpans: true}
	out.scan(view(text))
	return out.spans
}

// AppendHashes appends the hash of each of text's words by the Shingle rule of the package
// comment: [Hash] of the lower-cased word.
func AppendHashes[T Text](dst []uint64, text T) []uint64 {
	out := found{hashes: dst, wantHashes: true}
	out.scan(view(text))
	return out.hashes
}

// AppendHashed is AppendWords and AppendHashes in one pass: as many spans as hashes are
// appended, in the same order.
func AppendHashed[T Text](spans []Span, hashes []uint64, text T) ([]Span, []uint64) {
	out := found{spans: spans, hashes: hashes, wantSpans: true, wantHashes: true}
	out.scan(view(text))
	return out.spans, out.hashes
}

// found collects words.
type found struct {
	spans                 []Span
	hashes                []uint64
	wantSpans, wantHashes bool
	masks                 [blocksPerCall]uint64
}

func (f *found) add(start, end int, hash uint64) {
	if f.wantSpans {
		f.spans = append(f.spans, Span{int32(start), int32(end)})
	}
	if f.wantHashes {
		f.hashes = append(f.hashes, hash)
	}
}

// scan collects the words of text: stretches of ASCII by masks of 64 bytes, the words that
// touch other characters one character at a time.
func (f *found) scan(text string) { f.scanBy(text, bestKernel()) }

func (f *found) scanBy(text string, k kernel) {
	b := bytesOf(text)
	for pos := 0; pos < len(b); {
		pos = f.scanASCII(b, pos, k)
		if pos < len(b) {
			pos = f.scanUnicode(text, pos)
		}
	}
}

// kernel names an implementation of classify.
//
// classify(k, text, out) sets out[i] to the mask of ASCII letters and digits among the 64
// bytes at text[64*i], bit j for byte j, for each whole block of text up to len(out) or to
// the first block that has a byte beyond ASCII. It returns the number of blocks done.
//
// classifySpace(k, text, space, suspects) sets space[i] to the mask of ASCII white space and
// suspects[i] to that of the bytes 0xc2, 0xe1, 0xe2 and 0xe3, with which all other white space
// starts, for each whole block of text up to len(space). It returns the number of blocks done.
//
// classifyRuns(k, text, mask, special) does the same with the mask of ASCII letters, digits,
// "_" and bytes beyond ASCII, and with that of the last two.
type kernel uint8

const (
	kernelPlain kernel = iota
	kernelAVX2
)

// alnum is 1 for ASCII letters and digits, 2 for bytes beyond ASCII.
var alnum = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= utf8.RuneSelf:
			t[c] = 2
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			t[c] = 1
		}
	}
	return t
}()

// classifyPlain is the plain classify.
func classifyPlain(text []byte, out []uint64) int {
	for i := range out {
		if len(text) < 64 {
			return i
		}
		mask, high := block(text[:64])
		if high != 0 {
			return i
		}
		out[i], text = mask, text[64:]
	}
	return len(out)
}

// block returns the mask of ASCII letters and digits and that of bytes beyond ASCII in up
// to 64 bytes.
func block(text []byte) (mask, high uint64) {
	for j, c := range text {
		t := uint64(alnum[c])
		mask |= (t & 1) << (j & 63)
		high |= (t >> 1) << (j & 63)
	}
	return mask, high
}

// blocksPerCall is how many masks are made before their words are collected: 4 KiB of text.
const blocksPerCall = 64

// scanASCII collects the words of the ASCII text that starts at text[pos], where no word
// is open. It returns where scanUnicode has to go on: at the first byte beyond ASCII, or at
// the start of the word that touches it, or at the end of text.
func (f *found) scanASCII(text []byte, pos int, k kernel) int {
	start := -1 // of the open word, -1 outside
	for {
		n := classify(k, text[pos:], f.masks[:])
		for _, mask := range f.masks[:n] {
			start = f.collect(text, start, mask, pos, 64)
			pos += 64
		}
		if n == len(f.masks) {
			continue
		}
		mask, high := block(text[pos:min(pos+64, len(text))])
		width := min(bits.TrailingZeros64(high), len(text)-pos)
		start = f.collect(text, start, mask, pos, width)
		pos += width
		switch {
		case pos == len(text) && start >= 0:
			f.add(start, pos, asciiHash(text, start, pos))
		case start >= 0:
			return start
		}
		return pos
	}
}

// collect adds the words that end in the block of width bytes at text[base], whose letters
// and digits are given by mask. The word open before the block began at start, if that is
// not negative; collect returns the same for after it.
func (f *found) collect(text []byte, start int, mask uint64, base, width int) int {
	edges := mask ^ mask<<1 // where words start and where they have ended, in turn
	if start >= 0 {
		edges ^= 1
	}
	if width < 64 {
		edges &= 1<<width - 1
	}
	if start < 0 {
		if edges == 0 {
			return -1
		}
		start = base + bits.TrailingZeros64(edges)
		edges &= edges - 1
	}
	spans, hashes := f.spans, f.hashes
	for edges != 0 {
		end := base + bits.TrailingZeros64(edges)
		edges &= edges - 1
		if f.wantSpans {
			spans = append(spans, Span{int32(start), int32(end)})
		}
		if f.wantHashes {
			hashes = append(hashes, asciiHash(text, start, end))
		}
		if start = -1; edges == 0 {
			break
		}
		start = base + bits.TrailingZeros64(edges)
		edges &= edges - 1
	}
	f.spans, f.hashes = spans, hashes
	return start
}
