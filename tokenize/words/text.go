package words

import (
	"math"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// TextBytesMax is the longest text whose offsets fit a [Span]. The functions of this
// package look at no more than that many bytes, 2 GiB less one, of what they are given.
const TextBytesMax = math.MaxInt32

// Span is a piece of a text: the bytes Start up to but not including End.
type Span struct{ Start, End int32 }

// Len returns the length of s in bytes.
func (s Span) Len() int { return int(s.End - s.Start) }

// Of returns the bytes of text that s spans.
func (s Span) Of(text string) string { return text[s.Start:s.End] }

// Text is what can be cut into words. A byte slice must not change during a call.
type Text interface{ ~string | ~[]byte }

// view returns text's bytes as a string without copying them. A slice header begins with
// the two words, pointer and length, of which a string header consists.
func view[T Text](text T) string {
	s := *(*string)(unsafe.Pointer(&text))
	if len(s) > TextBytesMax {
		s = s[:TextBytesMax]
	}
	return s
}

// bytesOf returns the bytes of s, which must not be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// asciiSpace marks the ASCII bytes that Python's str.isspace holds to be white space.
var asciiSpace = [utf8.RuneSelf]bool{
	'\t': true, '\n': true, '\v': true, '\f': true, '\r': true,
	0x1c: true, 0x1d: true, 0x1e: true, 0x1f: true, ' ': true,
}

// IsSpace reports whether r is white space to Python's str.isspace, str.split and
// str.strip: Unicode's White_Space and the four ASCII separators U+001C to U+001F.
func IsSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 0 && asciiSpace[r]
	}
	return unicode.IsSpace(r)
}

// spaceAt returns the length of the white-space character that starts at text[i], 0 if
// another character starts there. Beyond ASCII these are U+0085, U+00A0, U+1680, U+2000 to
// U+200A, U+2028, U+2029, U+202F, U+205F and U+3000.
func spaceAt(text string, i int) int {
	c := text[i]
	if c < utf8.RuneSelf {
		if asciiSpace[c] {
			return 1
		}
		return 0
	}
	if c == 0xc2 && i+1 < len(text) && (text[i+1] == 0x85 || text[i+1] == 0xa0) {
		return 2
	}
	if c < 0xe1 || c > 0xe3 || i+2 >= len(text) {
		return 0
	}
	next, last := text[i+1], text[i+2]
	switch {
	case c == 0xe1 && next == 0x9a && last == 0x80,
		c == 0xe2 && next == 0x80 && last >= 0x80 && last <= 0x8a,
		c == 0xe2 && next == 0x80 && (last == 0xa8 || last == 0xa9 || last == 0xaf),
		c == 0xe2 && next == 0x81 && last == 0x9f,
		c == 0xe3 && next == 0x80 && last == 0x80:
		return 3
	}
	return 0
}

// Trim returns s without the white space ([IsSpace]) at its ends, as Python's str.strip does.
func Trim[T Text](text T, s Span) Span { return trim(view(text), s) }

func trim(text string, s Span) Span {
	for s.Start < s.End {
		n := spaceAt(text[:s.End], int(s.Start))
		if n == 0 {
			break
		}
		s.Start += int32(n)
	}
	for s.Start < s.End {
		r, n := utf8.DecodeLastRuneInString(text[s.Start:s.End])
		if !IsSpace(r) {
			break
		}
		s.End -= int32(n)
	}
	return s
}
