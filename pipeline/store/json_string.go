package store

import (
	"encoding/binary"
	"math/bits"
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
// after the returned index may set it too.
//
// It tests eight bytes at a time: for bytes x < 0x80 the high bit of x-n is set
// exactly if x < n, up to borrows from a lower byte that is a hit itself, so the
// lowest hit is always true (Mycroft's test). [plainRunSlow] is its twin.
func plainRun(b []byte, i int) (end int, high uint64) {
	for i+32 <= len(b) {
		w := b[i : i+32 : i+32]
		v0, v1 := binary.LittleEndian.Uint64(w), binary.LittleEndian.Uint64(w[8:])
		v2, v3 := binary.LittleEndian.Uint64(w[16:]), binary.LittleEndian.Uint64(w[24:])
		high |= (v0 | v1 | v2 | v3) & swarHigh
		if (swarHits(v0)|swarHits(v1)|swarHits(v2)|swarHits(v3))&swarHigh != 0 {
			break
		}
		i += 32
	}
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

// appendUnescaped decodes the inside of a string that is known to be valid.
func appendUnescaped(dst, s []byte) []byte {
	for {
		i, _ := plainRun(s, 0)
		dst = append(dst, s[:i]...)
		if i == len(s) {
			return dst
		}
		n := escapeLen(s[i:])
		dst = appendEscape(dst, s[i:i+n])
		s = s[i+n:]
	}
}

// appendEscape decodes one valid escape.
func appendEscape(dst, esc []byte) []byte {
	switch esc[1] {
	case 'b':
		return append(dst, '\b')
	case 'f':
		return append(dst, '\f')
	case 'n':
		return append(dst, '\n')
	case 'r':
		return append(dst, '\r')
	case 't':
		return append(dst, '\t')
	case 'u':
		r := hex4(esc, 2)
		if len(esc) == 12 {
			r = utf16.DecodeRune(r, hex4(esc, 8))
		}
		return utf8.AppendRune(dst, r)
	default:
		return append(dst, esc[1])
	}
}

// Unquote appends to dst what the JSON string raw, with its quotes, stands for. It is
// as strict as [Scan]: the error is a [*SyntaxError], and dst is then returned as it was.
func Unquote(dst, raw []byte) ([]byte, error) {
	r := Record{line: raw}
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
	if utf8.Valid(dst[from:]) {
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
