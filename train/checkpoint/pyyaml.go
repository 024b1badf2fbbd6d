package checkpoint

import (
	"bytes"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"unicode/utf8"

	"bzdata/pipeline/store"
)

// What PyYAML's SafeLoader (6.0) takes plain text for, by its resolver.py: YAML 1.1, in which
// 1e-5 and 0o7 are texts, and yes, 1:30 and 2024-01-02 are none.
var (
	pyNull   = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	pyTrue   = regexp.MustCompile(`^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$`)
	pyFalse  = regexp.MustCompile(`^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$`)
	pyWhole  = regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$`)
	pyPoint  = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$`)
	pyNonNum = regexp.MustCompile(`^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
	pySixty  = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`)
	pyTime   = regexp.MustCompile(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?$`)
	pyMarks  = regexp.MustCompile(`^(?:<<|=)$`)
)

// parsePyYAML reads YAML as PyYAML's safe_load does. Values that JSON cannot hold, keys that are
// no texts, and what [store.ParseYAML] refuses are errors.
func parsePyYAML(data []byte) (any, error) {
	root, err := parseGroupYAML(data)
	if root == nil || err != nil {
		return nil, err
	}
	if at := bytes.IndexFunc(data, isPyBreak); at >= 0 {
		r, _ := utf8.DecodeRune(data[at:])
		return nil, fmt.Errorf("line %d: PyYAML takes %U for the end of a line; write it as an escape in double quotes",
			1+bytes.Count(data[:at], []byte("\n")), r)
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	return (&pyYAML{strings.Split(text, "\n")}).node(root)
}

// isPyBreak tells the ends of lines of YAML 1.1 that are none in YAML 1.2.
func isPyBreak(r rune) bool { return r == 0x85 || r == 0x2028 || r == 0x2029 }

// pyYAML is a text of which the tree is read.
type pyYAML struct{ lines []string }

func (y *pyYAML) node(n *store.YAMLNode) (any, error) {
	switch n.Kind {
	case store.YAMLList:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			v, err := y.node(item)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case store.YAMLMap:
		m := map[string]any{}
		for i, key := range n.Keys {
			v, err := y.scalar(key)
			if err != nil {
				return nil, err
			}
			if _, text := v.(string); !text {
				return nil, atNode(key, "the key %s is no text to PyYAML; put it in quotes", cutText(key.Text))
			}
			if _, twice := m[key.Text]; twice {
				return nil, atNode(key, "the key %s occurs twice; remove one", cutText(key.Text))
			}
			if m[key.Text], err = y.node(n.Items[i]); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return y.scalar(n)
}

func atNode(n *store.YAMLNode, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...))
}

func (y *pyYAML) scalar(n *store.YAMLNode) (any, error) {
	text := n.Text
	switch {
	case n.Quoted:
		if own, ok := y.singleQuoted(n.Line, n.Col); ok {
			return own, nil
		}
		return text, nil
	case pyNull.MatchString(text):
		return nil, nil
	case pyTrue.MatchString(text):
		return true, nil
	case pyFalse.MatchString(text):
		return false, nil
	case pyWhole.MatchString(text):
		return pyYAMLInt(n)
	case pyPoint.MatchString(text):
		v, err := pyFloat(strings.ReplaceAll(text, "_", ""))
		if err != nil {
			return nil, atNode(n, "%v", err)
		}
		return v, nil
	case pyNonNum.MatchString(text), pySixty.MatchString(text), pyTime.MatchString(text), pyMarks.MatchString(text):
		return nil, atNode(n, "PyYAML reads %s as what JSON cannot hold, such as a time; put it in quotes", cutText(text))
	}
	return text, nil
}

// pyYAMLInt reads a whole number as PyYAML's construct_yaml_int does.
func pyYAMLInt(n *store.YAMLNode) (any, error) {
	text := strings.ReplaceAll(n.Text, "_", "")
	digits := strings.TrimLeft(text, "+-")
	base := 10
	switch {
	case strings.HasPrefix(digits, "0b"):
		base, digits = 2, digits[2:]
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	case digits != "0" && strings.HasPrefix(digits, "0"):
		base = 8
	}
	v, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return nil, atNode(n, "PyYAML cannot read the number %s", cutText(n.Text))
	}
	if strings.HasPrefix(text, "-") {
		v.Neg(v)
	}
	return pyInt(v.String()), nil
}

// singleQuoted reads the text in single quotes that starts at a place, folded as YAML has it, or
// says that none does. The scanner that makes the tree loses the blank of a line that goes on with
// ” and a blank, as PyYAML writes texts with such words.
func (y *pyYAML) singleQuoted(line, col int) (string, bool) {
	first := []rune(y.lines[line-1])
	if col > len(first) || first[col-1] != '\'' {
		return "", false
	}
	var out strings.Builder
	rest := string(first[col:])
	for breaks := 0; ; breaks++ {
		part, closed := quotedPart(rest)
		if breaks > 0 {
			part = strings.TrimLeft(part, " \t")
		}
		if !closed {
			part = strings.TrimRight(part, " \t")
		}
		if breaks > 0 && (part != "" || closed) {
			out.WriteString(folded(breaks))
			breaks = 0
		}
		out.WriteString(strings.ReplaceAll(part, "''", "'"))
		if closed || line == len(y.lines) {
			return out.String(), closed
		}
		rest = y.lines[line]
		line++
	}
}

// folded is what so many ends of lines in quotes stand for.
func folded(breaks int) string {
	if breaks == 1 {
		return " "
	}
	return strings.Repeat("\n", breaks-1)
}

// quotedPart is a line up to the quote that ends a text, if there is one.
func quotedPart(line string) (part string, closed bool) {
	for i := 0; i < len(line); i++ {
		if line[i] != '\'' {
			continue
		}
		if i+1 == len(line) || line[i+1] != '\'' {
			return line[:i], true
		}
		i++
	}
	return line, false
}
