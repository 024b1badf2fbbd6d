package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on YAML text. Each bounds work that grows faster than the text: the scanner
// looks ahead within a line, and the parser copies a map's pairs once for each key.
const (
	YAMLBytesMax     = 1 << 20
	YAMLLineBytesMax = 8 << 10
	YAMLTokensMax    = 1 << 15
	YAMLDepthMax     = 64
)

// YAMLKind tells the shapes of a [YAMLNode] apart.
type YAMLKind int

// The shapes of a node. A value that is left out is a scalar of empty text.
const (
	YAMLScalar YAMLKind = iota
	YAMLMap
	YAMLList
)

// YAMLNode is a value in a YAML text, with the place where it starts.
//
// The type of a scalar is not decided here: Text is what is written, without quotes
// and with escapes resolved, and Quoted says that it can only be a string.
type YAMLNode struct {
	Kind      YAMLKind
	Line, Col int // from 1; Col counts characters
	Text      string
	Quoted    bool
	// Keys are the scalar keys of a map, in order and as often as they are written.
	Keys []*YAMLNode
	// Items are the elements of a list, or the values of a map beside Keys.
	Items []*YAMLNode
}

// YAMLProblem is one mistake that keeps a text from being read.
type YAMLProblem struct {
	Line, Col int
	Msg       string // what, and what to do
}

// Error is the place and the message on one line.
func (p YAMLProblem) Error() string { return fmt.Sprintf("[%d:%d] %s", p.Line, p.Col, p.Msg) }

// ParseYAML reads one document of plain YAML: maps with scalar keys, lists and scalars.
// Anchors, aliases, merge keys, tags, directives and complex keys are refused, and so
// is a second document: every value has one place, and each place one value. Duplicate
// keys are left to the caller.
//
// The node of an empty text is nil. If there are problems, the node may be nil or
// hold what could still be read. ParseYAML never panics.
func ParseYAML(src []byte) (*YAMLNode, []YAMLProblem) {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n")) // the scanner miscounts lines otherwise
	if p, ok := checkYAMLText(src); !ok {
		return nil, []YAMLProblem{p}
	}
	tokens, err := guardYAML(func() (token.Tokens, error) { return lexer.Tokenize(string(src)), nil })
	if err != nil {
		return nil, []YAMLProblem{yamlProblem(src, err)}
	}
	tokens, problems := firstDocument(tokens)
	if refused := checkYAMLTokens(tokens); len(refused) > 0 {
		return nil, append(refused, problems...)
	}
	file, err := guardYAML(func() (*ast.File, error) {
		return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	})
	if err != nil {
		return nil, append(problems, yamlProblem(src, err))
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, problems
	}
	root, ok := yamlText(strings.Split(string(src), "\n")).node(file.Docs[0].Body)
	if !ok {
		msg := "unsupported YAML; write plain keys, lists and values"
		return nil, append(problems, YAMLProblem{root.Line, root.Col, msg})
	}
	return root, problems
}

// UnmarshalYAML decodes the first YAML document of data into v. A key that v has no
// field for is an error, as is a key given twice. Errors begin with [line:column].
func UnmarshalYAML(data []byte, v any) error {
	return yamlError(unmarshalYAML(data, v, yaml.Strict()))
}

// UnmarshalYAMLLoose is [UnmarshalYAML] for files that others define: keys that v has no
// field for are passed over.
func UnmarshalYAMLLoose(data []byte, v any) error {
	return yamlError(unmarshalYAML(data, v))
}

// yamlError keeps the position and message of a parser's error, without its code frame.
func yamlError(err error) error {
	if err == nil {
		return nil
	}
	message, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	return errors.New(message)
}

func unmarshalYAML(data []byte, v any, opts ...yaml.DecodeOption) error {
	_, err := guardYAML(func() (struct{}, error) {
		return struct{}{}, yaml.UnmarshalWithOptions(data, v, opts...)
	})
	return err
}

// guardYAML turns a panic of the parsing library into an error: the text is a user's.
func guardYAML[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be read as YAML (%v)", r)
		}
	}()
	return f()
}

// checkYAMLText refuses what is not text, and sizes that would make parsing slow.
func checkYAMLText(src []byte) (YAMLProblem, bool) {
	if len(src) > YAMLBytesMax {
		msg := fmt.Sprintf("%d bytes are more than the %d a file may have", len(src), YAMLBytesMax)
		return YAMLProblem{1, 1, msg}, false
	}
	for i, line := range bytes.Split(src, []byte("\n")) {
		if len(line) > YAMLLineBytesMax {
			return YAMLProblem{i + 1, 1, fmt.Sprintf("line of %d bytes; break it, the most is %d",
				len(line), YAMLLineBytesMax)}, false
		}
		col := 0
		for rest := line; len(rest) > 0; {
			col++
			r, size := utf8.DecodeRune(rest)
			switch {
			case r == utf8.RuneError && size == 1:
				msg := fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8", rest[0])
				return YAMLProblem{i + 1, col, msg}, false
			case r < ' ' && r != '\t', r == 0x7f, r == '\ufeff':
				return YAMLProblem{i + 1, col, fmt.Sprintf("control character U+%04X; remove it", r)}, false
			}
			rest = rest[size:]
		}
	}
	return YAMLProblem{}, true
}

// firstDocument cuts the tokens where a second document starts.
func firstDocument(tokens token.Tokens) (token.Tokens, []YAMLProblem) {
	content := false
	if len(tokens) > 0 && tokens[0].Type == token.DirectiveType {
		return tokens, nil // refused as a whole
	}
	for i, tk := range tokens {
		header, end := tk.Type == token.DocumentHeaderType, tk.Type == token.DocumentEndType
		if content && (header || end && i+1 < len(tokens)) {
			return tokens[:i], []YAMLProblem{atToken(tk,
				"a second document starts here; a file holds one, so put it in its own file")}
		}
		content = content || !header && !end && tk.Type != token.CommentType
	}
	return tokens, nil
}

// checkYAMLTokens finds what the parser would accept but a plan must not have, and what
// it would refuse with a message that does not help, or take long for.
func checkYAMLTokens(tokens token.Tokens) []YAMLProblem {
	var problems []YAMLProblem
	add := func(tk *token.Token, msg string) { problems = append(problems, atToken(tk, msg)) }
	depth, run := 0, 0
	for i, tk := range tokens {
		run = dashRun(tk, run)
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
			if msg := unquotedBrace(tokens, i, depth); msg != "" {
				add(tk.Prev, msg)
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		if msg := refusedYAML(tk); msg != "" {
			add(tk, msg)
		}
		switch {
		case i == YAMLTokensMax:
			add(tk, fmt.Sprintf("more than %d words and marks; cut the file", YAMLTokensMax))
			return problems
		case depth > YAMLDepthMax || run > YAMLDepthMax:
			add(tk, fmt.Sprintf("nested deeper than %d; a file needs no such depth", YAMLDepthMax))
			return problems
		}
	}
	return problems
}

// dashRun counts "- - -" on one line, the only nesting of blocks that costs no indentation.
func dashRun(tk *token.Token, run int) int {
	if tk.Type == token.SequenceEntryType {
		return run + 1
	}
	return 0
}

// refusedYAML says why a token's feature is not read, or "".
func refusedYAML(tk *token.Token) string {
	switch tk.Type {
	case token.AnchorType:
		return "anchors (&) are not read; write the value out, or quote a value that starts with &"
	case token.AliasType:
		return "aliases (*) are not read; write the value out, or quote a value that starts with *"
	case token.MergeKeyType:
		return "merge keys (<<) are not read; write the keys out"
	case token.TagType:
		return "tags (!) are not read; remove it, or quote a value that starts with !"
	case token.MappingKeyType:
		return "complex keys (?) are not read; write key: value, or quote a value that starts with ?"
	case token.DirectiveType:
		return "directives (%) are not read; remove it, or quote a value that starts with %"
	}
	return ""
}

// unquotedBrace recognises ${name} and {{field}} that YAML reads as a map, because
// they are unquoted inside {…} or […], or start a value. The message belongs to tokens[i-1].
func unquotedBrace(tokens token.Tokens, i, depth int) string {
	open := tokens[i]
	if i == 0 || open.Type != token.MappingStartType {
		return ""
	}
	prev := tokens[i-1]
	adjacent := prev.Position.Line == open.Position.Line &&
		prev.Position.Column+utf8.RuneCountInString(prev.Value) == open.Position.Column
	switch {
	case !adjacent:
		return ""
	case prev.Type == token.StringType && strings.HasSuffix(prev.Value, "$") && depth > 1:
		return `a variable inside {…} or […] must be quoted; write "${name}" with the quotes`
	case prev.Type == token.MappingStartType:
		return `a value that starts with {{ must be quoted; write "{{field}}" with the quotes`
	}
	return ""
}

func atToken(tk *token.Token, msg string) YAMLProblem {
	return YAMLProblem{max(tk.Position.Line, 1), max(tk.Position.Column, 1), msg}
}

// yamlProblem gives the parser's error a place and plain words. A tab in the
// indentation is named first: it is invisible and explains most of what follows.
func yamlProblem(src []byte, err error) YAMLProblem {
	for i, line := range strings.Split(string(src), "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
			return YAMLProblem{i + 1, tab + 1, "a tab in the indentation; indent with spaces"}
		}
	}
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil && located.GetToken().Position != nil {
		return atToken(located.GetToken(), plainYAML(located.GetMessage()))
	}
	return YAMLProblem{1, 1, plainYAML(err.Error())}
}

// plainYAML says in plain words what the library's message means and what to do.
func plainYAML(msg string) string {
	for _, m := range [...]struct{ part, plain string }{
		{"value is not allowed in this context. map",
			"this line is indented deeper than the key above it allows; check the indentation"},
		{"mapping value is not allowed",
			"a second \": \" in one value; quote the value, or check the indentation"},
		{"value is not allowed in this context",
			"this line does not fit the lines above it; check the indentation"},
		{"non-map value is specified", "want key: value here; add the colon, or check the indentation"},
		{"block sequence entries are not allowed",
			"a list cannot start on its key's line; put \"- \" on a new line"},
		{"',' or '}' must be specified", "want ',' or '}' here; the {…} before it is not closed"},
		{"',' or ']' must be specified", "want ',' or ']' here; the […] before it is not closed"},
		{"could not find flow mapping end", "this '{' is never closed; add '}'"},
		{"sequence end token ']' not found", "this '[' is never closed; add ']'"},
		{"end character of single-quoted", "this ' is never closed; add another '"},
		{"end character of double-quoted", "this \" is never closed; add another \""},
		{"found unknown escape character",
			"unknown escape after \\ in a double-quoted text; use single quotes, or write \\\\"},
		{"is a reserved character", "a value cannot start with @ or `; quote it"},
		{"cannot start any token", "a tab where only spaces may stand; indent with spaces"},
		{"unexpected key name", "a key must stand on one line, with its colon"},
	} {
		if strings.Contains(msg, m.part) {
			return m.plain
		}
	}
	return msg + "; check the YAML around here"
}

// yamlText is the lines that a tree was read from.
type yamlText []string

// node copies the library's tree. It reports false, with the place, at a node
// that the checks on tokens should have refused.
func (text yamlText) node(n ast.Node) (*YAMLNode, bool) {
	tk := n.GetToken()
	out := &YAMLNode{Line: max(tk.Position.Line, 1), Col: max(tk.Position.Column, 1)}
	switch n := n.(type) {
	case *ast.MappingNode:
		out.Kind = YAMLMap
		for _, pair := range n.Values {
			if bad, ok := text.addPair(out, pair); !ok {
				return bad, false
			}
		}
		placeMap(out, n.IsFlowStyle)
	case *ast.MappingValueNode:
		out.Kind = YAMLMap
		if bad, ok := text.addPair(out, n); !ok {
			return bad, false
		}
		placeMap(out, false)
	case *ast.SequenceNode:
		out.Kind = YAMLList
		for i, value := range n.Values {
			item, ok := text.node(value)
			if !ok {
				return item, false
			}
			if _, null := value.(*ast.NullNode); null && i < len(n.Entries) && n.Entries[i].Start != nil {
				start := n.Entries[i].Start.Position
				item.Line, item.Col = start.Line, start.Column
			}
			out.Items = append(out.Items, item)
		}
	case *ast.LiteralNode:
		out.Text, out.Quoted = n.Value.Value, true
	case *ast.NullNode:
		out.Text = ""
	case ast.ScalarNode:
		out.Text = tk.Value
		out.Quoted = tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType
		out.Line, out.Col = text.place(tk)
	default:
		return out, false
	}
	return out, true
}

func (text yamlText) addPair(n *YAMLNode, pair *ast.MappingValueNode) (*YAMLNode, bool) {
	key, ok := text.node(pair.Key)
	if !ok || key.Kind != YAMLScalar {
		return key, false
	}
	key.Text = pair.Key.GetToken().Value // also where it reads as null
	value, ok := text.node(pair.Value)
	if !ok {
		return value, false
	}
	if _, null := pair.Value.(*ast.NullNode); null {
		value.Line, value.Col = key.Line, key.Col
	}
	n.Keys, n.Items = append(n.Keys, key), append(n.Items, value)
	return n, true
}

// placeMap puts a block map where its first key is; the library puts it at the colon.
func placeMap(n *YAMLNode, flow bool) {
	if !flow && len(n.Keys) > 0 {
		n.Line, n.Col = n.Keys[0].Line, n.Keys[0].Col
	}
}

// place is where a scalar starts. The scanner places a plain one near its end if it has
// several lines, and a column off if blanks follow the last of the file; so a plain one is
// looked for behind the mark that precedes it.
func (text yamlText) place(tk *token.Token) (line, col int) {
	line, col = max(tk.Position.Line, 1), max(tk.Position.Column, 1)
	if tk.Prev == nil || tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType {
		return line, col
	}
	word, _, _ := strings.Cut(tk.Value, " ")
	at := tk.Prev.Position.Column - 1 + utf8.RuneCountInString(tk.Prev.Value)
	if tk.Prev.Type == token.CommentType {
		at = math.MaxInt
	}
	for i := tk.Prev.Position.Line - 1; i >= 0 && i < len(text); i, at = i+1, 0 {
		runes := []rune(text[i])
		rest := string(runes[min(max(at, 0), len(runes)):])
		found := strings.TrimLeft(rest, " \t")
		if found == "" || found[0] == '#' {
			continue
		}
		if strings.HasPrefix(found, word) {
			return i + 1, len(runes) - utf8.RuneCountInString(found) + 1
		}
		break
	}
	return line, col
}
