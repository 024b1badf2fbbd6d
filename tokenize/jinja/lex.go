package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// Error says what is wrong with a template, or with rendering it.
type Error struct {
	Name string // of the template
	Line int
	Msg  string
}

// Error is NAME:LINE: message.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Msg) }

// caught is the error that ended parsing or rendering; any other panic goes on.
func caught(r any) *Error {
	if r == nil {
		return nil
	}
	if e, ok := r.(*Error); ok {
		return e
	}
	panic(r)
}

type tokenKind byte

const (
	tokenText  tokenKind = iota // outside of tags
	tokenVar                    // {{
	tokenBlock                  // {%
	tokenEnd                    // }} or %}
	tokenName
	tokenString
	tokenInt
	tokenFloat
	tokenOp
	tokenEOF
)

type token struct {
	kind tokenKind
	text string // of a string: its value
	line int
}

// lexer cuts a template into tokens. Its methods panic with *Error.
type lexer struct {
	name   string
	src    string
	at     int
	line   int
	tokens []token
}

func (l *lexer) fail(format string, args ...any) {
	panic(&Error{l.name, l.line, fmt.Sprintf(format, args...)})
}

// lex returns the tokens of a template, with the text between tags stripped as its signs and
// transformers' settings say.
func lex(name, source string) []token {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	l := &lexer{name: name, src: strings.TrimSuffix(source, "\n"), line: 1}
	lineStart := true // what came before ended a line
	for l.at < len(l.src) {
		open := nextTag(l.src[l.at:])
		if open < 0 {
			l.add(tokenText, l.src[l.at:])
			break
		}
		text := l.src[l.at : l.at+open]
		kind := l.src[l.at+open+1]
		l.text(text, kind, lineStart)
		l.advance(len(text) + 2)
		if l.at < len(l.src) && (l.src[l.at] == '-' || l.src[l.at] == '+') {
			l.advance(1)
		}
		from := l.at
		l.tag(kind)
		lineStart = l.at > from && l.src[l.at-1] == '\n'
	}
	l.add(tokenEOF, "")
	return l.tokens
}

func nextTag(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

// advance moves on by n bytes and counts their lines.
func (l *lexer) advance(n int) {
	l.line += strings.Count(l.src[l.at:l.at+n], "\n")
	l.at += n
}

// text adds the text before a tag of a kind: %, { or #.
func (l *lexer) text(text string, kind byte, lineStart bool) {
	sign := byte(0)
	if i := l.at + len(text) + 2; i < len(l.src) {
		sign = l.src[i]
	}
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, isSpace)
	case sign != '+' && kind != '{':
		start := strings.LastIndexByte(text, '\n') + 1
		blank := strings.TrimLeftFunc(text[start:], isSpace) == ""
		if (start > 0 || lineStart) && blank {
			text = text[:start]
		}
	}
	if text != "" {
		l.add(tokenText, text)
	}
}

// tag reads what follows the opening of a tag, its end included.
func (l *lexer) tag(kind byte) {
	switch kind {
	case '#':
		l.comment()
	case '{':
		l.add(tokenVar, "")
		l.inside("}}", false)
	default:
		l.add(tokenBlock, "")
		l.inside("%}", true)
	}
}

func (l *lexer) comment() {
	n := strings.Index(l.src[l.at:], "#}")
	if n < 0 {
		l.fail("a comment {# has no end #}")
	}
	sign := byte(0)
	if n > 0 {
		sign = l.src[l.at+n-1]
	}
	l.advance(n + 2)
	l.afterTag(sign, true)
}

// afterTag skips what the end of a tag takes from the text behind it.
func (l *lexer) afterTag(sign byte, block bool) {
	rest := l.src[l.at:]
	switch {
	case sign == '-':
		l.advance(len(rest) - len(strings.TrimLeftFunc(rest, isSpace)))
	case block && sign != '+' && strings.HasPrefix(rest, "\n"):
		l.advance(1)
	}
}

// inside reads expressions up to the end of the tag. Inside of brackets an end is none.
func (l *lexer) inside(end string, block bool) {
	var open []byte
	for {
		l.spaces()
		rest := l.src[l.at:]
		if rest == "" {
			l.fail("a tag has no end %s", end)
		}
		if len(open) == 0 {
			sign := byte(0)
			if rest[0] == '-' || rest[0] == '+' && block {
				sign, rest = rest[0], rest[1:]
			}
			if strings.HasPrefix(rest, end) {
				l.add(tokenEnd, end)
				l.advance(len(l.src) - l.at - len(rest) + 2)
				l.afterTag(sign, block)
				return
			}
		}
		open = l.brackets(open, l.one())
	}
}

func (l *lexer) spaces() {
	rest := l.src[l.at:]
	l.advance(len(rest) - len(strings.TrimLeftFunc(rest, isSpace)))
}

// brackets keeps the stack of open brackets.
func (l *lexer) brackets(open []byte, op string) []byte {
	switch op {
	case "(", "[", "{":
		return append(open, op[0])
	case ")", "]", "}":
		want := map[string]byte{")": '(', "]": '[', "}": '{'}[op]
		if len(open) == 0 || open[len(open)-1] != want {
			l.fail("unexpected %q", op)
		}
		return open[:len(open)-1]
	}
	return open
}

// operators, longer ones first.
var operators = []string{"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

// one adds one token and returns its text if it is an operator.
func (l *lexer) one() string {
	rest := l.src[l.at:]
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case rest[0] == '\'' || rest[0] == '"':
		l.quoted(rest)
		return ""
	case rest[0] >= '0' && rest[0] <= '9':
		l.number(rest)
		return ""
	case r == '_' || unicode.IsLetter(r):
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if n < 0 {
			n = len(rest)
		}
		l.add(tokenName, rest[:n])
		l.advance(n)
		return ""
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			l.add(tokenOp, op)
			l.advance(len(op))
			return op
		}
	}
	l.fail("unexpected character %q", r)
	return ""
}

func (l *lexer) number(rest string) {
	n := 0
	kind := tokenInt
	digits := func() {
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '_') {
			n++
		}
	}
	digits()
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		n++
		digits()
		kind = tokenFloat
	}
	if e := exponent(rest[n:]); e > 0 {
		n += e
		kind = tokenFloat
	}
	text := strings.ReplaceAll(rest[:n], "_", "")
	next := byte(' ')
	if n < len(rest) {
		next = rest[n]
	}
	if strings.HasSuffix(rest[:n], "_") || next == '_' || next|0x20 >= 'a' && next|0x20 <= 'z' ||
		kind == tokenInt && len(text) > 1 && strings.Trim(text, "0") != "" && text[0] == '0' {
		l.fail("number %.20q is not supported", rest[:min(len(rest), n+1)])
	}
	l.add(kind, text)
	l.advance(n)
}

// exponent is the length of the exponent of a number at the head of s.
func exponent(s string) int {
	rest := strings.TrimPrefix(strings.TrimPrefix(s, "e"), "E")
	if len(rest) == len(s) {
		return 0
	}
	digits := strings.TrimLeft(strings.TrimLeft(rest, "+-"), "0123456789")
	n := len(s) - len(digits)
	if n < 2 || s[n-1] < '0' || s[n-1] > '9' {
		return 0
	}
	return n
}

// quoted reads a string, whose escapes are Python's.
func (l *lexer) quoted(rest string) {
	quote := rest[0]
	var b strings.Builder
	for i := 1; i < len(rest); {
		switch c := rest[i]; {
		case c == quote:
			l.add(tokenString, b.String())
			l.advance(i + 1)
			return
		case c == '\\' && i+1 < len(rest):
			i += 1 + l.escape(&b, rest[i+1:])
		default:
			b.WriteByte(c)
			i++
		}
	}
	l.fail("a string has no end")
}

// escapes are the one-letter escapes of Python's strings.
var escapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b",
	'f': "\f", 'v': "\v", '\n': ""}

// escape writes what the escape in s, behind its backslash, stands for, and returns its length.
func (l *lexer) escape(b *strings.Builder, s string) int {
	if text, ok := escapes[s[0]]; ok {
		b.WriteString(text)
		return 1
	}
	if n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]; n > 0 {
		code := s[1:min(len(s), 1+n)]
		v, err := strconv.ParseUint(code, 16, 32)
		if err != nil || len(code) < n || !utf8.ValidRune(rune(v)) {
			l.fail("escape \\%c%s in a string stands for no character", s[0], code)
		}
		b.WriteRune(rune(v))
		return 1 + n
	}
	if s[0] >= '0' && s[0] <= '7' || s[0] == 'N' || s[0] >= utf8.RuneSelf {
		r, _ := utf8.DecodeRuneInString(s)
		l.fail("escape \\%c in a string is not supported", r)
	}
	b.WriteByte('\\')
	return 0
}

func isSpace(r rune) bool { return words.IsSpace(r) }
