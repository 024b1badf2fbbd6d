package match

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// class reads a bracketed class whose [ was read.
func (p *parser) class() (*node, error) {
	negative := p.take("^")
	var spans []span
	if strings.HasPrefix(p.rest, "]") {
		return nil, p.fail("an empty class, or ] first in one,")
	}
	for !p.take("]") {
		s, err := p.classItem()
		if err != nil {
			return nil, err
		}
		spans = append(spans, s...)
	}
	s, err := newSet(spans), error(nil)
	if p.fold {
		s, err = p.folded(s)
	}
	if negative {
		s = s.complement()
	}
	return &node{kind: kindClass, set: s}, err
}

// classItem reads a character, a range or a class inside brackets.
func (p *parser) classItem() (set, error) {
	switch {
	case p.rest == "":
		return nil, p.fail("an unpaired [")
	case strings.HasPrefix(p.rest, "["):
		return nil, p.fail("[ inside a class")
	case strings.HasPrefix(p.rest, "&&"):
		return nil, p.fail("&& inside a class")
	}
	s, single, err := p.character(true)
	if err != nil || !strings.HasPrefix(p.rest, "-") || strings.HasPrefix(p.rest, "-]") {
		return s, err
	}
	if !single {
		return nil, p.fail("a range that begins with a class")
	}
	p.rest = p.rest[1:]
	if p.rest == "" || p.rest[0] == '[' {
		return nil, p.fail("a range without an end")
	}
	to, single, err := p.character(true)
	if err != nil {
		return nil, err
	}
	if !single || to[0].lo < s[0].lo {
		return nil, p.fail("a range that ends before it begins, or with a class,")
	}
	return set{{s[0].lo, to[0].lo}}, nil
}

// character reads one literal or escape, and tells whether it is a single character.
func (p *parser) character(inClass bool) (s set, single bool, err error) {
	if !p.take(`\`) {
		r := p.rune()
		if r == utf8.RuneError {
			return nil, false, p.fail("U+FFFD, or what is not UTF-8,")
		}
		return set{{r, r}}, true, nil
	}
	if p.rest == "" {
		return nil, false, p.fail(`\ at the end`)
	}
	switch c := p.rune(); c {
	case 's', 'S':
		return complementIf(c == 'S', spaces()), false, nil
	case 'd', 'D':
		return complementIf(c == 'D', digits()), false, nil
	case 'w', 'W':
		return complementIf(c == 'W', words()), false, nil
	case 'h', 'H':
		return complementIf(c == 'H', hexes()), false, nil
	case 'p', 'P':
		s, err := p.property(c == 'P')
		return s, false, err
	case 'x', 'u':
		r, err := p.hexadecimal(c)
		return set{{r, r}}, true, err
	default:
		r, ok := escaped(c, inClass)
		if !ok {
			return nil, false, p.fail(`\%c`, c)
		}
		return set{{r, r}}, true, nil
	}
}

// escaped returns what \c stands for: a control character, or a symbol itself.
func escaped(c rune, inClass bool) (rune, bool) {
	if i := strings.IndexRune("nrtfvae", c); i >= 0 {
		return rune("\n\r\t\f\v\a\x1b"[i]), true
	}
	if c == 'b' && inClass {
		return '\b', true
	}
	symbol := c < utf8.RuneSelf && !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z')
	return c, symbol
}

func complementIf(negative bool, s set) set {
	if negative {
		return s.complement()
	}
	return s
}

// property reads {…} after \p or \P.
func (p *parser) property(negative bool) (set, error) {
	name, rest, ok := strings.Cut(p.rest, "}")
	if !ok || !strings.HasPrefix(name, "{") {
		return nil, p.fail(`\p without {…}`)
	}
	p.rest = rest
	bare, inverted := strings.CutPrefix(name[1:], "^")
	s, ok := property(bare)
	if !ok {
		return nil, p.fail(`the property \p%s}`, name)
	}
	return complementIf(negative != inverted, s), nil
}

// hexadecimal reads HH or {H…} after \x, HHHH after \u.
func (p *parser) hexadecimal(c rune) (rune, error) {
	digits, width := "", 2
	if c == 'u' {
		width = 4
	}
	if c == 'x' && strings.HasPrefix(p.rest, "{") {
		digits, p.rest, _ = strings.Cut(p.rest[1:], "}")
	} else if len(p.rest) >= width {
		digits, p.rest = p.rest[:width], p.rest[width:]
	}
	n, err := strconv.ParseUint(digits, 16, 31)
	byteAlone := width == len(digits) && c == 'x' && n >= utf8.RuneSelf // \xHH is a byte, not a character
	if err != nil || !utf8.ValidRune(rune(n)) || byteAlone {
		return 0, p.fail(`\%c%s`, c, digits)
	}
	return rune(n), nil
}
