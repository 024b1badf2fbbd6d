package words

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// isURL reports whether spaCy's URL pattern (spacy/lang/tokenizer_exceptions.py, URL_PATTERN)
// matches all of s, a text without white space: optional scheme, optional user, a host with a
// dot or a public IPv4 address, optional port, optional rest from "/", "?" or "#" on.
func (t *spacyTables) isURL(s string) bool {
	if strings.IndexByte(s, '.') < 0 {
		return false
	}
	if t.isHost(s) {
		return true
	}
	if i := strings.Index(s, "://"); i > 0 && isScheme(s[:i]) && t.isHost(s[i+3:]) {
		return true
	}
	for i := 1; i < len(s); i++ {
		if s[i] == '@' && t.isHost(s[i+1:]) {
			return true
		}
	}
	return false
}

// isScheme reports whether s is at least two of \w + - and "." of Python's re.
func isScheme(s string) bool {
	n := 0
	for _, r := range s {
		if !isPythonWord(r) && r != '+' && r != '-' && r != '.' {
			return false
		}
		n++
	}
	return n >= 2
}

// isPythonWord reports whether \w of Python's re matches r.
func isPythonWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

// isHost reports whether s is a host and what may follow one.
func (t *spacyTables) isHost(s string) bool {
	if s == "" {
		return false
	}
	if n := ipv4(s); n > 0 && isAfterHost(s[n:]) {
		return true
	}
	labels := 0
	for {
		n := label(s)
		if n == 0 || n == len(s) || s[n] != '.' {
			break
		}
		s = s[n+1:]
		labels++
	}
	if labels == 0 {
		return false
	}
	n, count := 0, 0
	for n < len(s) {
		_, size, class := t.first(s[n:])
		if class&spacyLower == 0 {
			break
		}
		n, count = n+size, count+1
	}
	return count >= 2 && count <= 63 && isAfterHost(s[n:])
}

// label returns the length of the host label that s starts with: 1 to 64 characters, _ and -
// inside only. It returns 0 if there is none, or if it does not end before another character.
func label(s string) int {
	n, count, inner := 0, 0, false
	for n < len(s) && count <= 64 {
		r, size := utf8.DecodeRuneInString(s[n:])
		inner = r == '_' || r == '-'
		if inner && count == 0 || !inner && !isLabel(r, size) {
			break
		}
		n, count = n+size, count+1
	}
	if count > 64 || n > 0 && (s[n-1] == '_' || s[n-1] == '-') {
		return 0
	}
	return n
}

// isLabel reports whether r, of so many bytes, may be anywhere in a host label.
func isLabel(r rune, size int) bool {
	switch {
	case r < utf8.RuneSelf:
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	case r == utf8.RuneError && size == 1:
		return false
	}
	return r >= 0xa1 && r <= 0xffff
}

// isAfterHost reports whether s is an optional port of 2 to 5 digits and an optional rest.
func isAfterHost(s string) bool {
	if rest, ok := strings.CutPrefix(s, ":"); ok {
		n, bytes := digits(rest, 5)
		if n < 2 {
			return false
		}
		s = rest[bytes:]
	}
	return s == "" || s[0] == '/' || s[0] == '?' || s[0] == '#'
}

// digits counts the decimal digits that s starts with, up to most, and their bytes.
func digits(s string, most int) (n, bytes int) {
	for _, r := range s {
		if n == most || !unicode.IsDigit(r) {
			break
		}
		n, bytes = n+1, bytes+utf8.RuneLen(r)
	}
	return n, bytes
}

// ipv4 returns the length of the address in dotted notation that s starts with, private,
// loopback and broadcast ones left out, as in the pattern; 0 if there is none.
func ipv4(s string) int {
	if s[0] < '1' || s[0] > '9' {
		return 0
	}
	var part [4]string
	at := 0
	for i := range part {
		n, bytes := digits(s[at:], 3)
		if n == 0 {
			return 0
		}
		part[i] = s[at : at+bytes]
		if at += bytes; i < 3 {
			if at >= len(s) || s[at] != '.' {
				return 0
			}
			at++
		}
	}
	private := part[0] == "10" || part[0] == "127" || part[0] == "169" && part[1] == "254" ||
		part[0] == "192" && part[1] == "168" || part[0] == "172" && isOneOf16(part[1])
	if private || !octet(part[0], false, 223) || !octet(part[1], true, 255) || !octet(part[2], true, 255) ||
		!octet(part[3], false, 254) {
		return 0
	}
	return at
}

// isOneOf16 reports whether a part of an address is 16 to 31.
func isOneOf16(part string) bool { return len(part) == 2 && part >= "16" && part <= "31" }

// octet reports whether a part is a number up to most. Parts that may be zero may also start
// with zeros, if they have at most two digits.
func octet(part string, zero bool, most int) bool {
	if len(part) == 0 || part[0] == '0' && (!zero || len(part) > 2) {
		return false
	}
	value := 0
	for _, c := range []byte(part) {
		if !isDigit(c) {
			return false // digits beyond ASCII: no address anybody writes
		}
		value = 10*value + int(c-'0')
	}
	return value <= most
}
