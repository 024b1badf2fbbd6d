package store

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// A typed column holds what a JSON value stands for. So that the value's own text can be
// restored, a record remembers by which common program's habits it was spelled. Values
// spelled in yet another way go to the extra column as well.

// escapes says which characters of a string are escaped beside those that must be.
type escapes uint8

const (
	// escapesLeast escapes what must be: JSON.stringify, serde, orjson and ourselves.
	escapesLeast escapes = iota
	// escapesASCII escapes all that is not printable ASCII: json.dumps of Python.
	escapesASCII
	// escapesHTML escapes <, >, &, U+2028 and U+2029: encoding/json of Go.
	escapesHTML
	escapesEnd
)

// spelling is how a value was written.
type spelling struct {
	escapes escapes
	// spaced says that a space follows each comma and colon, as json.dumps writes them.
	spaced bool
}

// number numbers the spellings from 0, the default.
func (s spelling) number() int {
	n := 2 * int(s.escapes)
	if s.spaced {
		n++
	}
	return n
}

// spellingOf is the inverse of [spelling.number]; ok is false if there is none.
func spellingOf(n int) (s spelling, ok bool) {
	return spelling{escapes(n / 2), n%2 == 1}, n < 2*int(escapesEnd)
}

// spellingsOf returns the spellings that a value may be in, the likelier first.
func spellingsOf(value []byte) []spelling {
	all := [...]spelling{{escapesLeast, false}, {escapesLeast, true}, {escapesASCII, true}, {escapesASCII, false},
		{escapesHTML, false}, {escapesHTML, true}}
	if bytes.Contains(value, []byte(`\u`)) {
		return all[:]
	}
	return all[:2]
}

// comma appends the comma between two elements, or members.
func (s spelling) comma(dst []byte) []byte {
	dst = append(dst, ',')
	if s.spaced {
		dst = append(dst, ' ')
	}
	return dst
}

// colon appends what follows a name that ends with its colon.
func (s spelling) colon(dst []byte) []byte {
	if s.spaced {
		dst = append(dst, ' ')
	}
	return dst
}

// appendSpelled appends valid UTF-8 as a JSON string in a spelling.
func appendSpelled(dst, text []byte, as spelling) []byte {
	if as.escapes == escapesLeast {
		return appendQuoted(dst, text)
	}
	from := len(dst)
	dst = appendQuoted(dst, text)
	plain := dst[from:]
	i := 0
	for i < len(plain) && !as.escapes.also(rune(plain[i])) && plain[i] < utf8.RuneSelf {
		i++
	}
	if i == len(plain) {
		return dst
	}
	rest := bytes.Clone(plain[i:])
	dst = dst[:from+i]
	for len(rest) > 0 {
		r, n := utf8.DecodeRune(rest)
		switch {
		case !as.escapes.also(r):
			dst = append(dst, rest[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = appendHex4(appendHex4(dst, high), low)
		default:
			dst = appendHex4(dst, r)
		}
		rest = rest[n:]
	}
	return dst
}

// also reports whether a character is escaped that need not be.
func (e escapes) also(r rune) bool {
	switch e {
	case escapesASCII:
		return r >= 0x7f
	case escapesHTML:
		return r == '<' || r == '>' || r == '&' || r == 0x2028 || r == 0x2029
	}
	return false
}

// appendHex4 appends \uXXXX.
func appendHex4(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
