package store

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// show writes a tree on one line: line:column before each key and value, quotes around
// what is quoted.
func show(n *YAMLNode) string {
	if n == nil {
		return "none"
	}
	at := fmt.Sprintf("%d:%d ", n.Line, n.Col)
	var parts []string
	switch n.Kind {
	case YAMLMap:
		for i, key := range n.Keys {
			parts = append(parts, show(key)+"="+show(n.Items[i]))
		}
		return at + "{" + strings.Join(parts, ", ") + "}"
	case YAMLList:
		for _, item := range n.Items {
			parts = append(parts, show(item))
		}
		return at + "[" + strings.Join(parts, ", ") + "]"
	}
	if n.Quoted {
		return at + fmt.Sprintf("%q", n.Text)
	}
	return at + strings.ReplaceAll(n.Text, "\n", "\\n")
}

func TestParseYAML(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "none",
		"# only a comment\n":          "none",
		"a":                           "1:1 a",
		"a: 1\n":                      "1:1 {1:1 a=1:4 1}",
		"\ufeffa: 1\n":                "1:1 {1:1 a=1:4 1}",
		"---\na: 1\n...\n":            "2:1 {2:1 a=2:4 1}",
		"a:\n  b: x y # c\n  c: 'd'":  "1:1 {1:1 a=2:3 {2:3 b=2:6 x y, 3:3 c=3:6 \"d\"}}",
		"# a\r\na: 1\r\n":             "2:1 {2:1 a=2:4 1}",
		"a:\r\n  b: 1\r\n  c: 2\r\n":  "1:1 {1:1 a=2:3 {2:3 b=2:6 1, 3:3 c=3:6 2}}",
		"- a\n- - b\n  - c\n":         "1:1 [1:3 a, 2:3 [2:5 b, 3:5 c]]",
		"- a: 1\n  b: 2\n-\n- ~\n":    "1:1 [1:3 {1:3 a=1:6 1, 2:3 b=2:6 2}, 3:1 , 4:1 ]",
		"a: {b: [1, 'x'], \"c\": }":   "1:1 {1:1 a=1:4 {1:5 b=1:8 [1:9 1, 1:12 \"x\"], 1:18 \"c\"=1:18 }}",
		"a:\nb: null\n":               "1:1 {1:1 a=1:1 , 2:1 b=2:1 }",
		"a: 1\na: 2\n":                "1:1 {1:1 a=1:4 1, 2:1 a=2:4 2}",
		"é: ü\nb: c\n":                "1:1 {1:1 é=1:4 ü, 2:1 b=2:4 c}",
		"a: 1 \nb: 2 \n":              "1:1 {1:1 a=1:4 1, 2:1 b=2:4 2}",
		"a: # c\n\n  # d\n  x\n  y\n": "1:1 {1:1 a=4:3 x y}",
		"a: |\n  x\n  y\nb: 1\n":      "1:1 {1:1 a=1:4 \"x\\ny\\n\", 4:1 b=4:4 1}",
		"a: >-\n  x\n  y\n":           "1:1 {1:1 a=1:4 \"x y\"}",
		"a: x\n  y\nb: 1\n":           "1:1 {1:1 a=1:4 x y, 3:1 b=3:4 1}",
		"- a\n -b\n":                  "1:1 [1:3 a -b]",
		"a: \"x\\n\\u00e9\"\n":        "1:1 {1:1 a=1:4 \"x\\né\"}",
		"a: ${x}/*.y\n":               "1:1 {1:1 a=1:4 ${x}/*.y}",
		"1: a\nnull: b\ntrue: c\n":    "1:1 {1:1 1=1:4 a, 2:1 null=2:7 b, 3:1 true=3:7 c}",
		"a: 010\nb: 1_0\nc: .inf\n":   "1:1 {1:1 a=1:4 010, 2:1 b=2:4 1_0, 3:1 c=3:4 .inf}",
		"a: 2026-01-31\nb: 12:30\n":   "1:1 {1:1 a=1:4 2026-01-31, 2:1 b=2:4 12:30}",
		"a: b#c\nd: 'it''s'\n":        "1:1 {1:1 a=1:4 b#c, 2:1 d=2:4 \"it's\"}",
		"a:\n- b\n- c\nd: e\n":        "1:1 {1:1 a=2:1 [2:3 b, 3:3 c], 4:1 d=4:4 e}",
	} {
		n, problems := ParseYAML([]byte(text))
		if len(problems) > 0 {
			t.Errorf("%q: %v", text, problems)
		} else if got := show(n); got != want {
			t.Errorf("%q\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestParseYAMLProblems(t *testing.T) {
	for text, want := range map[string]string{
		"a: &x 1\nb: *x\n":              "[1:4] anchors; [2:4] aliases",
		"a: {<<: {b: 1}}\n":             "[1:5] merge keys",
		"? a\n: b\n":                    "[1:1] complex keys",
		"a: !!str 1\n":                  "[1:4] tags",
		"%YAML 1.2\n---\na: 1\n":        "[1:1] directives",
		"a: 1\n---\nb: [\n":             "[2:1] a second document",
		"a: 1\n...\nb: 2\n":             "[2:1] a second document",
		"a: &x 1\n---\nb: 1\n":          "[1:4] anchors; [2:1] a second document",
		"a: [${x}]\n":                   "[1:5] a variable inside",
		"a: {b: c/${x}/d}\n":            "[1:8] a variable inside",
		"a: {{b}}\n":                    "[1:4] a value that starts with {{",
		"a:\n\tb: 1\n":                  "[2:1] a tab",
		"a: b: c\n":                     "[1:4] a second",
		"a: 'b\n":                       "[1:4] this ' is never closed",
		"a: \"b\n":                      "[1:4] this \" is never closed",
		"a: [b\n":                       "[1:4] this '[' is never closed",
		"a: {b: c\n":                    "[1:4] this '{' is never closed",
		"a: [b}\n":                      "[1:4] this '[' is never closed",
		"a: {b: c]\n":                   "[1:4] this '{' is never closed",
		"a\nb: c\n":                     "[1:1] a key must stand on one line",
		"a: - b\n":                      "[1:4] a list cannot start",
		"a:\n  - b\n - c\n":             "[3:2] this line does not fit",
		"a: @b\n":                       "[1:4] a value cannot start with",
		"a: \"\\q\"\n":                  "[1:6] unknown escape",
		"a: b\xff\n":                    "[1:5] byte 0xff is not UTF-8",
		"a: 1\rb: 2\n":                  "[1:5] control character U+000D",
		"é\x00\n":                       "[1:2] control character U+0000",
		"a: " + strings.Repeat("[", 70): "[1:68] nested deeper",
		strings.Repeat("- ", 70) + "a":  "[1:129] nested deeper",
		strings.Repeat("a", 9000):       "[1:1] line of 9000 bytes",
		strings.Repeat("a\n", 600000):   "[1:1] 1200000 bytes",
		strings.Repeat("[]\n", 20000):   "[16385:1] more than 32768 words",
	} {
		_, problems := ParseYAML([]byte(text))
		var got []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		wants := strings.Split(want, "; ")
		ok := len(got) == len(wants)
		for i := range min(len(got), len(wants)) {
			ok = ok && strings.HasPrefix(got[i], wants[i])
		}
		if !ok {
			t.Errorf("%.40q\n got %s\nwant %s", text, strings.Join(got, "; "), want)
		}
	}
}

// same reports whether a tree has the keys, lengths and strings of what the library's
// own decoder makes of the text.
func same(n *YAMLNode, v any) bool {
	switch v := v.(type) {
	case yaml.MapSlice:
		if n.Kind != YAMLMap || len(n.Keys) != len(v) {
			return false
		}
		for i, pair := range v {
			if !same(n.Items[i], pair.Value) {
				return false
			}
		}
		return true
	case []any:
		if n.Kind != YAMLList || len(n.Items) != len(v) {
			return false
		}
		for i, item := range v {
			if !same(n.Items[i], item) {
				return false
			}
		}
		return true
	case string:
		return n.Kind == YAMLScalar && n.Text == v
	case nil:
		return n.Kind == YAMLScalar && !n.Quoted
	}
	return n.Kind == YAMLScalar && !n.Quoted
}

func inText(n *YAMLNode, lines []string) bool {
	if n.Line < 1 || n.Line > len(lines) || n.Col < 1 || n.Col > utf8.RuneCountInString(lines[n.Line-1])+1 {
		return false
	}
	for _, x := range append(n.Keys, n.Items...) {
		if !inText(x, lines) {
			return false
		}
	}
	return true
}

// FuzzParseYAML: reading ends without a panic, places lie in the text, and the tree
// holds what the library decodes.
func FuzzParseYAML(f *testing.F) {
	for _, seed := range []string{"a: 1\nb: [x, 'y']\n", "- a: {b: c}\n  d: |\n    e\n", "a: &x 1\n---\nb: *x\n", "a: >-\n x\n y\n",
		"? a\n: b", "a: {{b}}\n", "a: \"\\u00e9\\\n  x\"\n", "a: 'x\n\n  y'\n", "\ufeffa:\r\n- b\r\n", "%A\n", "a:\n\t- b\n", "- - -\n", "a: [\n b,\n c: d]\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		root, problems := ParseYAML(src)
		text := strings.ReplaceAll(strings.TrimPrefix(string(src), "\ufeff"), "\r\n", "\n")
		lines := strings.Split(text, "\n")
		for _, p := range problems {
			if p.Line < 1 || p.Col < 1 || p.Line > len(lines) || p.Msg == "" {
				t.Fatalf("problem without a place: %+v", p)
			}
		}
		if len(problems) > 0 || root == nil {
			return
		}
		if !inText(root, lines) {
			t.Errorf("places outside the text: %s", show(root))
		}
		var v any
		err := yaml.UnmarshalWithOptions([]byte(text), &v, yaml.UseOrderedMap(), yaml.AllowDuplicateMapKey())
		if err == nil && !same(root, v) {
			t.Errorf("tree %s, decoded %#v", show(root), v)
		}
	})
}
