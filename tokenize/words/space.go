package words

import "math/bits"

// AppendSpace appends the words that Python's str.split() finds in text: maximal runs of
// characters that are not white space ([IsSpace]).
func AppendSpace[T Text](dst []Span, text T) []Span {
	out := found{spans: dst, wantSpans: true}
	out.scanSpace(view(text), bestKernel())
	return out.spans
}

// scanSpace collects the words between white space by masks of 64 bytes. Only some bytes can
// start white space beyond ASCII, and those are looked at one by one.
func (f *found) scanSpace(text string, k kernel) {
	b, start := bytesOf(text), -1
	var suspects [blocksPerCall]uint64
	spilled := uint64(0) // the bits of a character of white space that began in the block before
	for pos := 0; pos < len(b); {
		n := classifySpace(k, b[pos:], f.masks[:], suspects[:])
		width := 64
		if n == 0 {
			width = min(64, len(b)-pos)
			f.masks[0], suspects[0] = spaceBlock(b[pos : pos+width])
			n = 1
		}
		for i, space := range f.masks[:n] {
			space |= spilled
			spilled = 0
			for left := suspects[i]; left != 0; left &= left - 1 {
				at := bits.TrailingZeros64(left)
				character := uint64(1)<<spaceAt(text, pos+at) - 1
				space |= character << at
				spilled |= character >> (64 - at)
			}
			start = f.collect(b, start, ^space, pos, width)
			pos += width
		}
	}
	if start >= 0 {
		f.add(start, len(b), 0)
	}
}

// spaceByte is 1 for the bytes of ASCII white space and 2 for those that all other white
// space starts with.
var spaceByte = func() (t [256]uint8) {
	for c, space := range asciiSpace {
		if space {
			t[c] = 1
		}
	}
	t[0xc2], t[0xe1], t[0xe2], t[0xe3] = 2, 2, 2, 2
	return t
}()

// classifySpacePlain is the plain classifySpace.
func classifySpacePlain(text []byte, space, suspects []uint64) int {
	n := min(len(text)/64, len(space))
	for i := range n {
		space[i], suspects[i] = spaceBlock(text[64*i : 64*i+64])
	}
	return n
}

// spaceBlock returns the mask of ASCII white space and that of bytes that can start other
// white space in up to 64 bytes.
func spaceBlock(text []byte) (space, suspects uint64) {
	for j, c := range text {
		t := uint64(spaceByte[c])
		space |= (t & 1) << (j & 63)
		suspects |= (t >> 1) << (j & 63)
	}
	return space, suspects
}
