package words

import (
	"strings"
	"unicode/utf8"
)

// prefix returns the length in bytes of what spaCy's prefix patterns find at the start of s,
// which is not empty; 0 for nothing.
func (t *spacyTables) prefix(s string) int {
	r, size, class := t.first(s)
	switch {
	case class&spacyPrefix != 0:
		return size
	case r == '+' && (len(s) == 1 || !isDigit(s[1])):
		return 1
	case r == '.':
		if n := len(s) - len(strings.TrimLeft(s, ".")); n > 1 {
			return n
		}
	case strings.HasPrefix(s, "US$"):
		return 3
	case strings.HasPrefix(s, "C$"), strings.HasPrefix(s, "A$"):
		return 2
	}
	return 0
}

// suffix returns the length in bytes of the longest that spaCy's suffix patterns find at the
// end of s; 0 for nothing.
func (t *spacyTables) suffix(s string) int {
	if s == "" {
		return 0
	}
	r, size, class := t.last(s)
	before := s[:len(s)-size]
	if class&spacyAlpha != 0 && r < utf8.RuneSelf && !endsInUnit(s) && r != 's' && r != 'S' {
		return 0 // the common end of a word
	}
	n := 0
	switch {
	case r == '…' && strings.HasSuffix(before, "…"):
		n = 2 * size
	case class&spacySuffix != 0:
		n = size
	case r == '.':
		n = t.stopSuffix(s, before)
	case r == '+' && endsInDigit(before):
		n = 1
	case r == 's' || r == 'S':
		if strings.HasSuffix(before, "'") {
			n = 2
		} else if strings.HasSuffix(before, "’") {
			n = 1 + len("’")
		}
	}
	return max(n, t.unitSuffix(s, before, class))
}

// stopSuffix is suffix for a text that ends in ".", behind before.
func (t *spacyTables) stopSuffix(s, before string) int {
	if n := len(s) - len(strings.TrimRight(s, ".")); n > 1 {
		return n
	}
	if before == "" {
		return 0
	}
	r, size, class := t.last(before)
	if class&spacyStopBefore != 0 {
		return 1
	}
	rest := before[:len(before)-size]
	if strings.ContainsRune("FfCcKk", r) && strings.HasSuffix(rest, "°") {
		return 1
	}
	if class&spacyUpper != 0 && rest != "" {
		if _, _, class := t.last(rest); class&spacyUpper != 0 {
			return 1
		}
	}
	return 0
}

// unitBytesMax is the length of the longest unit or currency.
const unitBytesMax = 14

// unitSuffix returns the length of a currency or a unit after a digit.
func (t *spacyTables) unitSuffix(s, before string, class uint16) int {
	if class&spacyCurrency != 0 && endsInDigit(before) {
		return len(s) - len(before)
	}
	for n := 1; n <= unitBytesMax && n < len(s); n++ {
		if !isDigit(s[len(s)-n-1]) {
			continue
		}
		switch unit := s[len(s)-n:]; {
		case unit == "US$", unit == "C$", unit == "A$", t.units[unit]:
			return n
		}
		return 0
	}
	return 0
}

// endsInUnit reports whether a digit is near the end of s, so that a unit may follow it.
func endsInUnit(s string) bool {
	for i := len(s) - 1; i >= max(0, len(s)-unitBytesMax-1); i-- {
		if isDigit(s[i]) {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func endsInDigit(s string) bool { return s != "" && isDigit(s[len(s)-1]) }

// infix returns the first match of spaCy's infix patterns in s at or after at: its start and
// end, or -1.
func (t *spacyTables) infix(s string, at int) (start, end int) {
	for i := at; i < len(s); {
		if alnum[s[i]] == 1 {
			i++
			continue
		}
		r, size, class := t.first(s[i:])
		if n := t.infixHere(s, i, r, size, class); n > 0 {
			return i, i + n
		}
		i += size
	}
	return -1, -1
}

// infixHere returns the length of the match at s[i:], whose first character is given.
func (t *spacyTables) infixHere(s string, i int, r rune, size int, class uint16) int {
	if class&spacyIcon != 0 || r == '…' {
		return size
	}
	if i == 0 && r != '.' {
		return 0 // nothing stands before it
	}
	after := s[i+size:]
	switch r {
	case '.':
		if n := len(after) - len(strings.TrimLeft(after, ".")); n > 0 {
			return n + 1
		}
		return t.joint(s[:i], after, spacyDotBefore, spacyDotAfter, false)
	case ',':
		return t.joint(s[:i], after, spacyAlpha, spacyAlpha, false)
	case ':', '<', '>', '=', '/':
		return t.joint(s[:i], after, spacyAlpha, spacyAlpha, true)
	case '+', '-', '*', '^':
		if endsInDigit(s[:i]) && after != "" && (isDigit(after[0]) || after[0] == '-') {
			return 1
		}
	}
	for _, hyphen := range spacyHyphens {
		if strings.HasPrefix(s[i:], hyphen) && t.joint(s[:i], s[i+len(hyphen):], spacyAlpha, spacyAlpha, true) > 0 {
			return len(hyphen)
		}
	}
	return 0
}

// spacyHyphens are tried in this order.
var spacyHyphens = [...]string{"-", "–", "—", "--", "---", "——", "~"}

// joint returns 1 if the character before belongs to one class, or is an ASCII digit if those
// are admitted, and the one after to the other; else 0.
func (t *spacyTables) joint(before, after string, classBefore, classAfter uint16, digits bool) int {
	if before == "" || after == "" {
		return 0
	}
	if _, _, class := t.last(before); class&classBefore == 0 && !(digits && endsInDigit(before)) {
		return 0
	}
	if _, _, class := t.first(after); class&classAfter == 0 {
		return 0
	}
	return 1
}
