package pipeline

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
	"golang.org/x/text/unicode/norm"
)

// ContentHash is the 64-bit hash by which copies are known when the held-out set is split
// off and references are kept apart: xxh3 of the text without what cannot be seen. Texts
// that differ only in white space, in Unicode normalisation form or in invisible characters
// have the same, so that no stage that cleans text up can undo a split by it.
func ContentHash(text string) uint64 {
	seen, ascii := appendVisible(make([]byte, 0, len(text)), text)
	if !ascii && !norm.NFC.IsNormal(seen) {
		seen = norm.NFC.Bytes(seen)
	}
	return xxh3.Hash(seen)
}

// contentHashSlow is the obvious twin of ContentHash: the characters of categories Cc and
// Cf but white space are left out, the rest is composed to normalisation form C, and white
// space is collapsed. Bytes that are not UTF-8 become U+FFFD, one each.
func contentHashSlow(text string) uint64 {
	text = norm.NFC.String(strings.Map(func(r rune) rune {
		if r == graphemeJoiner || unicode.In(r, unicode.Cc, unicode.Cf) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text))
	return xxh3.HashString(strings.Join(strings.Fields(text), " "))
}

// graphemeJoiner is U+034F, which Unicode normalisation puts into long runs of marks.
const graphemeJoiner = '\u034f'

// appendVisible appends text without invisible characters and with one space for each run
// of white space between others; ascii says that it appended nothing else.
func appendVisible(dst []byte, text string) (out []byte, ascii bool) {
	ascii = true
	start := len(dst)
	gap := false // white space since the last character
	for i := 0; i < len(text); {
		from := i
		for i < len(text) && text[i] > ' ' && text[i] < 0x7f {
			i++
		}
		r, size := rune(0), 0
		if i == from {
			r, size = utf8.DecodeRuneInString(text[i:])
			i += size
			if unicode.IsSpace(r) {
				gap = true
				continue
			}
			if isInvisible(r) {
				continue
			}
			ascii = false
		}
		if gap && len(dst) > start {
			dst = append(dst, ' ')
		}
		gap = false
		if size > 0 {
			dst = utf8.AppendRune(dst, r) // U+FFFD for a byte that is no UTF-8
		} else {
			dst = append(dst, text[from:i]...)
		}
	}
	return dst, ascii
}

// isInvisible reports whether r, which is no white space, is of category Cc or Cf, or
// U+034F. There are none in two large stretches.
func isInvisible(r rune) bool {
	switch {
	case r < 0x600:
		return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xad || r == graphemeJoiner
	case r >= 0x2070 && r < 0xfe00:
		return false
	}
	return unicode.Is(unicode.Cf, r)
}
