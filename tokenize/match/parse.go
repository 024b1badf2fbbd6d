package match

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	kindEmpty kind = iota
	kindClass
	kindConcat
	kindAlternate
	kindRepeat
	kindLook      // look-ahead; subs[0] is what is looked for
	kindLineStart // ^
	kindLineEnd   // $
	kindTextStart // \A
	kindTextEnd   // \z
)

type mode uint8

const (
	greedy mode = iota
	lazy
	possessive
)

// node is a part of an expression.
type node struct {
	kind     kind
	set      set // kindClass
	subs     []*node
	min, max int // kindRepeat; max −1 for no bound
	mode     mode
	negative bool // kindLook
}

// Error says what an expression has that this package does not support, or that is no
// expression.
type Error struct{ Expression, What string }

// Error names the construct.
func (e *Error) Error() string {
	return fmt.Sprintf("regular expression %q: %s is not supported", e.Expression, e.What)
}

// Bounds, so that a damaged file cannot ask for a program of gigabytes.
const (
	repeatMax     = 1000
	expressionMax = 1 << 16
	depthMax      = 100
)

type parser struct {
	whole, rest string
	fold        bool // inside (?i:…)
	depth       int
}

func (p *parser) fail(format string, args ...any) error {
	return &Error{p.whole, fmt.Sprintf(format, args...)}
}

func parse(expression string) (*node, error) {
	if len(expression) > expressionMax {
		return nil, &Error{expression[:20] + "…", "an expression of so many bytes"}
	}
	p := &parser{whole: expression, rest: expression}
	n, err := p.alternation()
	if err == nil && p.rest != "" {
		err = p.fail("an unpaired )")
	}
	return n, err
}

// take removes prefix from the rest if it is there.
func (p *parser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = rest
	return ok
}

func (p *parser) rune() rune {
	r, n := utf8.DecodeRuneInString(p.rest)
	p.rest = p.rest[n:]
	return r
}

func (p *parser) alternation() (*node, error) {
	if p.depth++; p.depth > depthMax {
		return nil, p.fail("nesting deeper than %d", depthMax)
	}
	defer func() { p.depth-- }()
	n, err := p.concatenation()
	if err != nil || !strings.HasPrefix(p.rest, "|") {
		return n, err
	}
	out := &node{kind: kindAlternate, subs: []*node{n}}
	for p.take("|") {
		if n, err = p.concatenation(); err != nil {
			return nil, err
		}
		out.subs = append(out.subs, n)
	}
	return out, nil
}

func (p *parser) concatenation() (*node, error) {
	out := &node{kind: kindConcat}
	last := ' '
	for p.rest != "" && p.rest[0] != '|' && p.rest[0] != ')' {
		if pair := string(last) + p.rest[:1]; p.fold && foldsTogether(strings.ToLower(pair)) {
			return nil, p.fail("(?i:…) over %q, which one ligature stands for,", pair)
		}
		last = rune(p.rest[0])
		n, err := p.item()
		if err != nil {
			return nil, err
		}
		out.subs = append(out.subs, n)
	}
	switch len(out.subs) {
	case 0:
		return &node{kind: kindEmpty}, nil
	case 1:
		return out.subs[0], nil
	}
	return out, nil
}

// foldsTogether tells whether Unicode folds one character to these two, so that Oniguruma
// would match it without regard to case: "ß" for "ss".
func foldsTogether(pair string) bool {
	switch pair {
	case "ss", "st", "ff", "fi", "fl":
		return true
	}
	return false
}

// item reads what one quantifier would apply to, and its quantifiers.
func (p *parser) item() (*node, error) {
	n, err := p.atom()
	if err != nil {
		return nil, err
	}
	for repeated := 0; ; repeated++ {
		min, max, ok, interval, err := p.quantifier()
		if err != nil || !ok {
			return n, err
		}
		if n.kind != kindClass && n.nullable() {
			return nil, p.fail("a repeat of what can be empty")
		}
		if repeated > 0 && !interval && n.mode != greedy {
			return nil, p.fail("a repeat of a lazy or possessive repeat")
		}
		out := &node{kind: kindRepeat, subs: []*node{n}, min: min, max: max}
		switch {
		case interval && min == max && strings.HasPrefix(p.rest, "?"):
			return nil, p.fail("{n}?")
		case p.take("?"):
			out.mode = lazy
		case !interval && p.take("+"):
			out.mode = possessive
			if n.kind != kindClass {
				return nil, p.fail("a possessive repeat of more than one character")
			}
		}
		n = out
	}
}

// quantifier reads *, +, ? or {…}.
func (p *parser) quantifier() (min, max int, ok, interval bool, err error) {
	switch {
	case p.take("*"):
		return 0, -1, true, false, nil
	case p.take("+"):
		return 1, -1, true, false, nil
	case p.take("?"):
		return 0, 1, true, false, nil
	case !strings.HasPrefix(p.rest, "{"):
		return 0, 0, false, false, nil
	}
	body, rest, _ := strings.Cut(p.rest[1:], "}")
	low, high, two := strings.Cut(body, ",")
	min, okLow := count(low)
	max, okHigh := count(high)
	switch {
	case !two:
		max, okHigh = min, low != ""
	case high == "":
		max, okHigh = -1, low != ""
	}
	if !okLow || !okHigh || max >= 0 && min > max || min > repeatMax || max > repeatMax {
		return 0, 0, false, false, p.fail("the repeat count {%s}", body)
	}
	p.rest = rest
	return min, max, true, true, nil
}

// count reads a number; an empty one is 0.
func count(text string) (n int, ok bool) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || n > repeatMax {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// nullable tells whether n can match without taking a character.
func (n *node) nullable() bool {
	switch n.kind {
	case kindClass:
		return false
	case kindConcat:
		for _, s := range n.subs {
			if !s.nullable() {
				return false
			}
		}
	case kindAlternate:
		for _, s := range n.subs {
			if s.nullable() {
				return true
			}
		}
		return false
	case kindRepeat:
		return n.min == 0 || n.subs[0].nullable()
	}
	return true
}

func (p *parser) atom() (*node, error) {
	switch {
	case p.take("("):
		return p.group()
	case p.take("["):
		return p.class()
	case p.take("^"):
		return &node{kind: kindLineStart}, nil
	case p.take("$"):
		return &node{kind: kindLineEnd}, nil
	case p.take(`\A`):
		return &node{kind: kindTextStart}, nil
	case p.take(`\z`):
		return &node{kind: kindTextEnd}, nil
	case p.take("."):
		return &node{kind: kindClass, set: set{{'\n', '\n'}}.complement()}, nil
	}
	switch p.rest[0] {
	case '*', '+', '?', '{':
		return nil, p.fail("%q with nothing to repeat", p.rest[:1])
	}
	s, _, err := p.character(false)
	if err == nil && p.fold {
		s, err = p.folded(s)
	}
	return &node{kind: kindClass, set: s}, err
}

func (p *parser) group() (*node, error) {
	out, fold := (*node)(nil), p.fold
	switch {
	case p.take("?="):
		out = &node{kind: kindLook}
	case p.take("?!"):
		out = &node{kind: kindLook, negative: true}
	case p.take("?i:"):
		p.fold = true
	case p.take("?-i:"):
		p.fold = false
	case p.take("?:"):
	case strings.HasPrefix(p.rest, "?"), strings.HasPrefix(p.rest, "*"):
		return nil, p.fail("the group (%s…", p.rest[:min(len(p.rest), 3)])
	}
	n, err := p.alternation()
	p.fold = fold
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.fail("an unpaired (")
	}
	if out != nil {
		out.subs = []*node{n}
		return out, nil
	}
	return n, nil
}

// folded adds the other case of what s holds. Outside ASCII it must be closed under case
// already.
func (p *parser) folded(s set) (set, error) {
	out := s
	for _, r := range s {
		for x := r.lo; x <= r.hi; x++ {
			for y := unicode.SimpleFold(x); y != x; y = unicode.SimpleFold(y) {
				if x >= utf8.RuneSelf && !s.has(y) {
					return nil, p.fail("(?i:…) over %q", x)
				}
				if !s.has(y) {
					out = append(out[:len(out):len(out)], span{y, y})
				}
			}
		}
	}
	return newSet(append(set(nil), out...)), nil
}
