package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// depthMax bounds how deep expressions, statements, lists and calls of macros nest.
const depthMax = 100

// sourceBytesMax bounds a template.
const sourceBytesMax = 1 << 20

// Parse reads a template. Errors are *[Error] and begin with name.
func Parse(name, source string) (t *Template, err error) {
	defer func() {
		if e := caught(recover()); e != nil {
			t, err = nil, e
		}
	}()
	if len(source) > sourceBytesMax {
		return nil, &Error{name, 1, fmt.Sprintf("the template has %d bytes, more than %d", len(source), sourceBytesMax)}
	}
	p := &parser{name: name, tokens: lex(name, source), template: &Template{name: name}}
	p.template.body = p.nodes()
	if !p.is(tokenEOF, "") {
		p.fail("unexpected tag %q", p.peek().text)
	}
	return p.template, nil
}

// parser turns tokens into a template. Its methods panic with *Error.
type parser struct {
	name     string
	tokens   []token
	at       int
	depth    int
	loops    int // open for statements in this function
	template *Template
}

func (p *parser) fail(format string, args ...any) {
	panic(&Error{p.name, p.peek().line, fmt.Sprintf(format, args...)})
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokenEOF {
		p.at++
	}
	return t
}

func (p *parser) is(kind tokenKind, text string) bool {
	t := p.peek()
	return t.kind == kind && (text == "" || t.text == text)
}

// accept takes the next token if it is the given one.
func (p *parser) accept(kind tokenKind, text string) bool {
	if !p.is(kind, text) {
		return false
	}
	p.next()
	return true
}

func (p *parser) want(kind tokenKind, text string) token {
	if !p.is(kind, text) {
		what := text
		if kind == tokenName && text == "" {
			what = "a name"
		}
		p.fail("%s where %s is wanted", p.peek(), what)
	}
	return p.next()
}

// String is the token for messages.
func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the tag"
	case tokenEOF:
		return "the end of the template"
	case tokenString:
		return fmt.Sprintf("string %.40q", t.text)
	}
	return fmt.Sprintf("%.40q", t.text)
}

// deeper counts a level of nesting; the function that it returns ends it.
func (p *parser) deeper() func() {
	if p.depth++; p.depth > depthMax {
		p.fail("nested deeper than %d levels", depthMax)
	}
	return func() { p.depth-- }
}

// nodes reads up to a block tag that is none of the names that begin a statement, such as
// endif: the caller takes it.
func (p *parser) nodes() (out []node) {
	defer p.deeper()()
	for {
		switch t := p.peek(); t.kind {
		case tokenText:
			p.next()
			out = append(out, textNode{t.text})
		case tokenVar:
			p.next()
			out = append(out, outputNode{t.line, p.tuple(true)})
			p.want(tokenEnd, "")
		case tokenBlock:
			if name := p.tokens[p.at+1]; name.kind == tokenName && closing(name.text) {
				p.next() // of the tag: only its name is left
				return out
			}
			p.next()
			out = append(out, p.statement())
		default:
			return out
		}
	}
}

func closing(name string) bool {
	return strings.HasPrefix(name, "end") || name == "else" || name == "elif"
}

func (p *parser) statement() node {
	t := p.want(tokenName, "")
	switch t.text {
	case "for":
		return p.forStatement(t.line)
	case "if":
		return p.ifStatement(t.line)
	case "set":
		return p.setStatement(t.line)
	case "macro":
		return p.macroStatement(t.line)
	case "generation":
		return p.generationStatement(t.line)
	case "break", "continue":
		if p.loops == 0 {
			p.fail("%s outside of a loop", t.text)
		}
		p.want(tokenEnd, "")
		return jumpNode{map[string]jump{"break": jumpBreak, "continue": jumpContinue}[t.text]}
	}
	p.at--
	p.fail("statement %q is not supported", t.text)
	return nil
}

// body reads nodes up to the given closing tags, and returns which of them it was.
func (p *parser) body(open string, ends ...string) ([]node, string) {
	out := p.nodes()
	if p.is(tokenEOF, "") {
		p.fail("%s has no %s", open, ends[len(ends)-1])
	}
	if t := p.peek(); !slices.Contains(ends, t.text) {
		p.fail("%q where %s is open", t.text, open)
	}
	return out, p.next().text
}

// end reads the rest of a closing tag.
func (p *parser) end() { p.want(tokenEnd, "") }

func (p *parser) forStatement(line int) node {
	n := forNode{line: line, target: p.targets()}
	p.want(tokenName, "in")
	n.over = p.tuple(false)
	if p.accept(tokenName, "if") {
		n.filter = p.expression()
	}
	if p.is(tokenName, "recursive") {
		p.fail("a recursive loop is not supported")
	}
	p.end()
	p.loops++
	var end string
	n.body, end = p.body("for", "else", "endfor")
	p.loops--
	if end == "else" {
		p.end()
		n.none, _ = p.body("for", "endfor")
	}
	p.end()
	return n
}

func (p *parser) targets() (t target) {
	paren := p.accept(tokenOp, "(")
	for {
		name := p.want(tokenName, "")
		if isConst(name.text) {
			p.at--
			p.fail("%s cannot be assigned to", name)
		}
		t.names = append(t.names, name.text)
		if !p.accept(tokenOp, ",") {
			break
		}
		if t.tuple = true; !p.is(tokenName, "") || p.is(tokenName, "in") {
			break
		}
	}
	if paren {
		p.want(tokenOp, ")")
	}
	return t
}

func (p *parser) ifStatement(line int) node {
	defer p.deeper()()
	n := ifNode{line: line, test: p.tuple(false)}
	p.end()
	var end string
	n.then, end = p.body("if", "elif", "else", "endif")
	switch end {
	case "elif":
		n.not = []node{p.ifStatement(p.peek().line)}
		return n
	case "else":
		p.end()
		n.not, _ = p.body("if", "endif")
	}
	p.end()
	return n
}

func (p *parser) setStatement(line int) node {
	t := p.targets()
	if !t.tuple && p.accept(tokenOp, ".") {
		t.attr = p.want(tokenName, "").text
	}
	if p.accept(tokenOp, "=") {
		n := setNode{line, t, p.tuple(true)}
		p.end()
		return n
	}
	n := setBlockNode{line: line, name: t.names[0]}
	for p.is(tokenOp, "|") {
		n.filters = append(n.filters, p.filter())
	}
	if t.tuple || t.attr != "" || !p.is(tokenEnd, "") {
		p.fail("%s where = is wanted", p.peek())
	}
	p.end()
	n.body = p.ownBody("set")
	return n
}

// ownBody parses up to the end of a statement in whose body the loops around it cannot be left.
func (p *parser) ownBody(name string) []node {
	loops := p.loops
	p.loops = 0
	body, _ := p.body(name, "end"+name)
	p.loops = loops
	p.end()
	return body
}

func (p *parser) macroStatement(line int) node {
	n := macroNode{line: line, name: p.want(tokenName, "").text}
	p.want(tokenOp, "(")
	for !p.accept(tokenOp, ")") {
		if len(n.params) > 0 {
			p.want(tokenOp, ",")
		}
		n.params = append(n.params, p.want(tokenName, "").text)
		if p.accept(tokenOp, "=") {
			n.defaults = append(n.defaults, p.expression())
		} else if len(n.defaults) > 0 {
			p.fail("a parameter without a default behind one that has one")
		}
	}
	p.end()
	n.body = p.ownBody("macro")
	return n
}

func (p *parser) generationStatement(line int) node {
	p.end()
	p.template.generations = true
	body := p.ownBody("generation")
	return generationNode{line, body}
}
