package store

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	swarOnes = 0x0101010101010101
	swarHigh = 0x8080808080808080
)

// plainRun returns the first index at or after i of a byte that means something in a
// JSON string (a quote, a backslash, or a control character below 0x20), or len(b),
// and a value that is not zero if any byte passed on the way is not ASCII; bytes
// after the returned index may set it too. [plainRunSlow] is its twin.
func plainRun(b []byte, i int) (end int, high uint64) {
	// Most names and many pieces between escapes end in the first bytes.
	if i+8 <= len(b) {
		v := binary.LittleEndian.Uint64(b[i:])
		high = v & swarHigh
		if m := swarHits(v) & swarHigh; m != 0 {
			return i + bits.TrailingZeros64(m)>>3, high
		}
		i += 8
	}
	n, more := plainBlocks(b[i:])
	return plainRest(b, i+n, high|more)
}

// plainRest is [plainRun] without blocks. It tests eight bytes at a time: for bytes x < 0x80
// the high bit of x-n is set exactly if x < n, up to borrows from a lower byte that is a hit
// itself, so the lowest hit is always true (Mycroft's test).
func plainRest(b []byte, i int, high uint64) (int, uint64) {
	for i+8 <= len(b) {
		v := binary.LittleEndian.Uint64(b[i:])
		high |= v & swarHigh
		if m := swarHits(v) & swarHigh; m != 0 {
			return i + bits.TrailingZeros64(m)>>3, high
		}
		i += 8
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
		high |= uint64(b[i]) & 0x80
		i++
	}
	return i, high
}

// validUTF8 is [utf8.Valid], with blocks first: what they leave open is looked at again.
func validUTF8(b []byte) bool {
	n, ok := validBlocks(b)
	if !ok {
		return false
	}
	for i := n - 1; i >= max(0, n-3); i-- {
		if utf8.RuneStart(b[i]) {
			return utf8.Valid(b[i:])
		}
	}
	return utf8.Valid(b[n:])
}

// swarHits has the high bit set in the lowest byte of v that is a quote, a backslash
// or below 0x20, and in no lower byte.
func swarHits(v uint64) uint64 {
	q, s := v^(swarOnes*'"'), v^(swarOnes*'\\')
	return (q-swarOnes)&^q | (s-swarOnes)&^s | (v-swarOnes*0x20)&^v
}

// plainRunSlow is [plainRun] byte by byte; its second result counts only bytes
// before the returned index.
func plainRunSlow(b []byte, i int) (end int, high uint64) {
	for ; i < len(b); i++ {
		if b[i] == '"' || b[i] == '\\' || b[i] < 0x20 {
			break
		}
		if b[i] >= utf8.RuneSelf {
			high = 1
		}
	}
	return i, high
}

// escapeLen returns the length of the escape that b starts with, surrogate pairs
// counting as one, or -1 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return -1
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		u := hex4(b, 2)
		if u < 0 {
			return -1
		}
		if !utf16.IsSurrogate(u) {
			return 6
		}
		if len(b) < 12 || b[6] != '\\' || b[7] != 'u' ||
			utf16.DecodeRune(u, hex4(b, 8)) == utf8.RuneError {
			return -1
		}
		return 12
	}
	return -1
}

// hex4 reads four hexadecimal digits at b[i:], or returns -1.
func hex4(b []byte, i int) rune {
	if len(b) < i+4 {
		return -1
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// unescapeBlock is how much of a string is marked at a time.
const unescapeBlock = 4 << 10

// appendUnescaped decodes the inside of a string that is known to be valid.
// [appendUnescapedSlow] is its twin.
func appendUnescaped(dst, s []byte) []byte {
	if len(s) < 64 {
		return appendUnescapedSlow(dst, s)
	}
	dst = slices.Grow(dst, len(s)+pieceBytes) // no escape is shorter than what it stands for
	out, o := dst[:cap(dst)], len(dst)
	var marks [unescapeBlock / 64]uint64
	at := 0 // up to where s is decoded
	for from := 0; from < len(s); from += unescapeBlock {
		block := s[from:min(len(s), from+unescapeBlock)]
		if _, ok := markBlocks(block, marks[:]); !ok {
			return appendUnescapedSlow(dst, s)
		}
		for w, m := range marks[:(len(block)+63)/64] {
			for ; m != 0; m &= m - 1 {
				i := from + w<<6 + bits.TrailingZeros64(m)
				if i < at {
					continue // within the escape before it
				}
				o += copyPiece(out[o:], s[at:], i-at)
				var n int
				n, at = unescape(out[o:], s, i)
				o += n
			}
		}
	}
	o += copy(out[o:], s[at:])
	return out[:o]
}

// pieceBytes is the length of pieces between escapes that are copied without a call.
const pieceBytes = 32

// copyPiece copies n bytes, and may write some more behind them.
func copyPiece(dst, src []byte, n int) int {
	if n <= pieceBytes && len(src) >= pieceBytes && len(dst) >= pieceBytes {
		*(*[pieceBytes]byte)(dst) = [pieceBytes]byte(src)
		return n
	}
	return copy(dst, src[:n])
}

// unescape decodes the escape at i into dst, and returns the number of bytes written and
// the index after the escape.
func unescape(dst, s []byte, i int) (n, next int) {
	if c := shortEscapes[s[i+1]]; c != 0 {
		dst[0] = c
		return 1, i + 2
	}
	length, r := escapeLen(s[i:]), hex4(s, i+2)
	if length == 12 {
		r = utf16.DecodeRune(r, hex4(s, i+8))
	}
	return utf8.EncodeRune(dst, r), i + length
}

// appendUnescapedSlow decodes a string piece by piece.
func appendUnescapedSlow(dst, s []byte) []byte {
	var decoded [utf8.UTFMax]byte
	for {
		i, _ := plainRun(s, 0)
		dst = append(dst, s[:i]...)
		if i == len(s) {
			return dst
		}
		n, next := unescape(decoded[:], s, i)
		dst, s = append(dst, decoded[:n]...), s[next:]
	}
}

// shortEscapes are what escapes of one character stand for.
var shortEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// AppendText appends to dst what the JSON string raw stands for, which must be valid, as
// values of records are: it is [Unquote] without looking for mistakes.
func AppendText(dst, raw []byte) []byte { return appendUnescaped(dst, raw[1:len(raw)-1]) }

// Unquote appends to dst what the JSON string raw, with its quotes, stands for. It is
// as strict as [Scan]: the error is a [*SyntaxError], and dst is then returned as it was.
func Unquote(dst, raw []byte) ([]byte, error) {
	r := Record{line: raw, wide: true}
	if len(raw) == 0 || raw[0] != '"' {
		return dst, &SyntaxError{0, "expected a string in double quotes"}
	}
	end, escaped := r.str(0)
	switch {
	case end < 0:
		return dst, r.fail
	case end < len(raw):
		return dst, &SyntaxError{int64(end), "text after the end of the string"}
	case escaped:
		return appendUnescaped(dst, raw[1:end-1]), nil
	}
	return append(dst, raw[1:end-1]...), nil
}

// AppendQuote appends s to dst as a JSON string, escaping only what must be: quote,
// backslash and control characters. Bytes that are not UTF-8 become U+FFFD.
func AppendQuote[S ~string | ~[]byte](dst []byte, s S) []byte {
	from := len(dst)
	dst = appendQuoted(dst, []byte(s))
	if validUTF8(dst[from:]) {
		return dst
	}
	return appendQuoted(dst[:from], []byte(string([]rune(string(s)))))
}

// appendQuoted is [AppendQuote] without a look at the encoding: bytes that are not
// UTF-8 pass through, which makes a text that [Scan] refuses.
func appendQuoted(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for {
		i, _ := plainRun(s, 0)
		dst = append(dst, s[:i]...)
		if i == len(s) {
			return append(dst, '"')
		}
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		s = s[i+1:]
	}
}
