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

// spaceAt returns the length of the white-space character that starts at text[i],
// 0 if another character starts there.
func spaceAt(text string, i int) int {
	if c := text[i]; c < utf8.RuneSelf {
		if asciiSpace[c] {
			return 1
		}
		return 0
	}
	if r, size := utf8.DecodeRuneInString(text[i:]); unicode.IsSpace(r) {
		return size
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

// AppendSpace appends the words that Python's str.split() finds in text: maximal runs of
// characters that are not white space ([IsSpace]).
func AppendSpace[T Text](dst []Span, text T) []Span {
	s, start := view(text), -1
	for i := 0; i < len(s); {
		n, space := 1, false
		if c := s[i]; c < utf8.RuneSelf {
			space = asciiSpace[c]
		} else {
			// Of white space beyond ASCII, every character starts with one of these bytes.
			if c == 0xc2 || c == 0xe1 || c == 0xe2 || c == 0xe3 {
				if n = spaceAt(s, i); n > 0 {
					space = true
				}
			}
			n = max(n, 1)
		}
		if space == (start >= 0) {
			if space {
				dst, start = append(dst, Span{int32(start), int32(i)}), -1
			} else {
				start = i
			}
		}
		i += n
	}
	if start >= 0 {
		dst = append(dst, Span{int32(start), int32(len(s))})
	}
	return dst
}
