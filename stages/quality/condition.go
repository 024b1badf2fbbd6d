package quality

import (
	"fmt"
	"strconv"
	"strings"
)

// Condition is a rule of one's own: a document for which it is true is dropped. It does not
// change and may be shared.
//
// Its text compares measurements and numbers and combines comparisons:
//
//	condition  = [name ":"] or
//	or         = and {"or" and}
//	and        = not {"and" not}
//	not        = "not" not | "(" or ")" | comparison
//	comparison = operand ("<" | "<=" | ">" | ">=" | "==" | "!=") operand
//	operand    = measurement | number
//
// such as "long words: mean_word_length > 10 and not (word_count < 100 or stop_words >= 2)".
type Condition struct {
	Name string // what stands before the colon, or the whole text
	Text string // the text as it was given
	root node
	uses []Measurement // in the order of the text, each once
}

// ParseError says where the text of a condition is wrong.
type ParseError struct {
	Offset  int    // in bytes, from the start of the text
	Message string // what is wrong, and what to do
	Unknown string // the name that is no measurement, if that is what is wrong
	text    string
}

// Error returns the message with the place, in characters from 1 on.
func (e *ParseError) Error() string {
	at := len([]rune(e.text[:e.Offset])) + 1
	return fmt.Sprintf("at character %d of %q: %s", at, clip(e.text), e.Message)
}

// clip shortens a text that is no reasonable condition.
func clip(s string) string {
	if r := []rune(s); len(r) > 160 {
		return string(r[:160]) + "…"
	}
	return s
}

// MeasurementNames returns the names that a condition may use, in the order of the
// documentation.
func MeasurementNames() []string { return measurementNames() }

// node is a part of a condition.
type node interface {
	// holds reports whether it is true of the text, and which comparison decided.
	holds(s *Scratch) (bool, *comparison)
}

type both struct{ a, b node }
type either struct{ a, b node }
type negation struct{ of node }

// comparison compares two operands.
type comparison struct {
	left, right operand
	compare     func(a, b float64) bool
}

// operand is a measurement, or a number if it has no name.
type operand struct {
	measure Measurement
	number  float64
}

func (n both) holds(s *Scratch) (bool, *comparison) {
	if is, by := n.a.holds(s); !is {
		return false, by
	}
	return n.b.holds(s)
}

func (n either) holds(s *Scratch) (bool, *comparison) {
	if is, by := n.a.holds(s); is {
		return true, by
	}
	return n.b.holds(s)
}

func (n negation) holds(s *Scratch) (bool, *comparison) {
	is, by := n.of.holds(s)
	return !is, by
}

func (c *comparison) holds(s *Scratch) (bool, *comparison) {
	return c.compare(c.left.value(s), c.right.value(s)), c
}

func (o operand) value(s *Scratch) float64 {
	if o.measure.of == nil {
		return o.number
	}
	return o.measure.of(s)
}

// measured returns the comparison's measurement.
func (c *comparison) measured() Measurement {
	if c.left.measure.of != nil {
		return c.left.measure
	}
	return c.right.measure
}

// Judge returns Keep, or the condition's name with the measurement that decided: the one in
// the comparison that was looked at last.
func (c *Condition) Judge(s *Scratch) Verdict {
	is, by := c.root.holds(s)
	if !is {
		return Verdict{Keep: true}
	}
	m := by.measured()
	return Verdict{Reason: c.Name, Measure: m.Name, Value: m.of(s)}
}

// Values returns every measurement that the condition uses, as "name 1.5, name 2".
func (c *Condition) Values(s *Scratch) string {
	var parts []string
	for _, m := range c.uses {
		parts = append(parts, fmt.Sprintf("%s %.6g", m.Name, m.of(s)))
	}
	return strings.Join(parts, ", ")
}

// conditionDepthMax bounds how deep parentheses and "not" may be nested.
const conditionDepthMax = 100

// ParseCondition reads a condition. Every error is a [*ParseError].
func ParseCondition(text string) (*Condition, error) {
	p := &conditionParser{text: text}
	out := &Condition{Name: text, Text: text}
	if name, _, ok := strings.Cut(text, ":"); ok {
		if out.Name = strings.TrimSpace(name); out.Name == "" {
			return nil, p.errorf(0, "no name stands before the colon; write one, or remove the colon")
		}
		p.next = len(name) + 1
	}
	p.advance()
	root := p.or(0)
	if p.err == nil && p.kind != tokenEnd {
		p.fail(p.at, "%s is too much; join comparisons with and, or", p.show())
	}
	if p.err != nil {
		return nil, p.err
	}
	out.root, out.uses = root, p.uses
	return out, nil
}

// Kinds of tokens.
const (
	tokenEnd = iota
	tokenWord
	tokenNumber
	tokenSign // a comparison
	tokenOpen
	tokenClose
	tokenOther
)

// conditionParser reads a condition token by token. The first error stays.
type conditionParser struct {
	text string
	next int // where the token after this one starts, or the blank before it
	at   int // where this one starts
	kind int
	uses []Measurement
	err  *ParseError
}

func (p *conditionParser) errorf(at int, format string, args ...any) *ParseError {
	return &ParseError{Offset: at, Message: fmt.Sprintf(format, args...), text: p.text}
}

func (p *conditionParser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.err = p.errorf(at, format, args...)
	}
}

// token is the text of this token.
func (p *conditionParser) token() string { return p.text[p.at:p.next] }

// show names this token in a message.
func (p *conditionParser) show() string {
	if p.kind == tokenEnd {
		return "the end"
	}
	return strconv.Quote(clip(p.token()))
}

// advance goes to the next token.
func (p *conditionParser) advance() {
	for p.next < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.next]) >= 0 {
		p.next++
	}
	if p.at = p.next; p.at == len(p.text) {
		p.kind = tokenEnd
		return
	}
	c, rest := p.text[p.at], p.text[p.at:]
	span := func(of string) { p.next = p.at + len(rest) - len(strings.TrimLeft(rest, of)) }
	switch {
	case strings.IndexByte("<>=!", c) >= 0:
		p.kind = tokenSign
		span("<>=!")
	case c == '(' || c == ')':
		p.kind = tokenOpen
		if c == ')' {
			p.kind = tokenClose
		}
		p.next++
	case strings.IndexByte(wordBytes, c) >= 0:
		p.kind = tokenWord
		span(wordBytes + digitBytes)
	case strings.IndexByte(digitBytes+"+-.", c) >= 0:
		p.kind = tokenNumber
		p.next += numberLength(rest)
	case c == '&' || c == '|':
		p.kind = tokenOther
		span(string(c))
		p.fail(p.at, "%s is no word of conditions; write %s", p.show(), map[byte]string{'&': "and", '|': "or"}[c])
	default:
		p.kind = tokenOther
		p.next += len(string([]rune(rest)[:1]))
		if p.next > len(p.text) {
			p.next = len(p.text) // not UTF-8
		}
	}
}

const (
	digitBytes = "0123456789"
	wordBytes  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
)

// numberLength returns the length of what looks like a number, right or wrong.
func numberLength(s string) int {
	for i := 1; i < len(s); i++ {
		sign := (s[i] == '+' || s[i] == '-') && (s[i-1] == 'e' || s[i-1] == 'E')
		if !sign && strings.IndexByte(digitBytes+wordBytes+".", s[i]) < 0 {
			return i
		}
	}
	return len(s)
}

// is reports whether this token is a keyword.
func (p *conditionParser) is(word string) bool { return p.kind == tokenWord && p.token() == word }

func (p *conditionParser) or(depth int) node {
	left := p.and(depth)
	for p.err == nil && p.is("or") {
		p.advance()
		left = either{left, p.and(depth)}
	}
	return left
}

func (p *conditionParser) and(depth int) node {
	left := p.not(depth)
	for p.err == nil && p.is("and") {
		p.advance()
		left = both{left, p.not(depth)}
	}
	return left
}

func (p *conditionParser) not(depth int) node {
	if depth > conditionDepthMax {
		p.fail(p.at, "nested too deep; use at most %d parentheses", conditionDepthMax)
		return nil
	}
	switch {
	case p.err != nil:
		return nil
	case p.is("not"):
		p.advance()
		return negation{p.not(depth + 1)}
	case p.kind != tokenOpen:
		return p.comparison()
	}
	open := p.at
	p.advance()
	inner := p.or(depth + 1)
	if p.err == nil && p.kind != tokenClose {
		p.fail(open, "this parenthesis is not closed before %s; add a )", p.show())
	}
	p.advance()
	return inner
}

// signs are the comparisons.
var signs = map[string]func(a, b float64) bool{
	"<": func(a, b float64) bool { return a < b }, "<=": func(a, b float64) bool { return a <= b },
	">": func(a, b float64) bool { return a > b }, ">=": func(a, b float64) bool { return a >= b },
	"==": func(a, b float64) bool { return a == b }, "!=": func(a, b float64) bool { return a != b },
}

func (p *conditionParser) comparison() node {
	start := p.at
	left := p.operand()
	if p.err == nil && p.kind != tokenSign {
		p.fail(p.at, "want a comparison such as > 10, got %s", p.show())
	}
	if p.err != nil {
		return nil
	}
	compare, ok := signs[p.token()]
	if !ok {
		p.fail(p.at, "%s is no comparison; use < <= > >= == or !=", p.show())
	}
	p.advance()
	c := &comparison{left, p.operand(), compare}
	switch {
	case p.err == nil && p.kind == tokenSign:
		p.fail(p.at, "one comparison follows another; write a < b and b < c")
	case p.err == nil && c.measured().of == nil:
		p.fail(start, "two numbers are compared, and no measurement")
	}
	return c
}

func (p *conditionParser) operand() (out operand) {
	switch p.kind {
	case tokenNumber:
		x, err := strconv.ParseFloat(p.token(), 64)
		if err != nil {
			p.fail(p.at, "%s is no number; write one such as 10, 0.25 or 1e6", p.show())
		} else if strings.HasPrefix(strings.TrimLeft(p.text[p.next:], " "), "%") {
			p.fail(p.at, "numbers have no %%; write %g, if the measurement is a share", x/100)
		}
		out.number = x
	case tokenWord:
		m, ok := findMeasurement(p.token())
		if word := p.token(); !ok && (word == "and" || word == "or" || word == "not") {
			p.fail(p.at, "want a measurement or a number, got %s", p.show())
		} else if !ok {
			p.fail(p.at, "no measurement is named %s", word)
			p.err.Unknown = word
		}
		out.measure = m
		p.use(m)
	default:
		hint := ""
		if p.kind == tokenSign && p.token() == "!" {
			hint = "; write not for !"
		}
		p.fail(p.at, "want a measurement or a number, got %s%s", p.show(), hint)
	}
	p.advance()
	return out
}

func (p *conditionParser) use(m Measurement) {
	for _, known := range p.uses {
		if known.Name == m.Name {
			return
		}
	}
	p.uses = append(p.uses, m)
}
