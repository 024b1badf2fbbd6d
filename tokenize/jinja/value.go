package jinja

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Values are nil, bool, int64, float64, string, *[List], *[Map], and inside of a template
// also what follows here.
type (
	// undefined is a name, attribute or item that is not there. It prints as nothing.
	undefined struct{ what string }
	namespace struct{ vars map[string]any }
	// markup is a string that the filter safe returned. It is written as it is; Jinja2 would
	// escape what is added to it, so that is an error here.
	markup string
	// function is something that can be called: built in, a method, or a macro.
	function struct {
		name string
		call func(s *state, a args) any
	}
)

// List is a list, or a tuple.
type List struct {
	Items []any
	Tuple bool
}

// Map is a mapping from strings to values, in the order in which they were set.
type Map struct {
	keys   []string
	values map[string]any
}

// Get returns the value of a key, and whether it is there.
func (m *Map) Get(key string) (any, bool) {
	v, ok := m.values[key]
	return v, ok
}

// Set sets the value of a key.
func (m *Map) Set(key string, v any) {
	if m.values == nil {
		m.values = map[string]any{}
	}
	if _, ok := m.values[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.values[key] = v
}

// Len is the number of keys.
func (m *Map) Len() int { return len(m.keys) }

// typeName is Python's name of a value's type.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *List:
		if v.Tuple {
			return "tuple"
		}
		return "list"
	case *Map:
		return "dict"
	case undefined:
		return "Undefined"
	case *namespace:
		return "namespace"
	case markup:
		return "Markup"
	}
	return "function"
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *List:
		return len(v.Items) > 0
	case *Map:
		return v.Len() > 0
	}
	return true
}

// number returns a number, True and False being 1 and 0.
func number(v any) (i int64, f float64, isFloat, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, false, true
		}
		return 0, 0, false, true
	case int64:
		return v, float64(v), false, true
	case float64:
		return 0, v, true, true
	}
	return 0, 0, false, false
}

func (s *state) equal(a, b any) bool {
	s.step(1)
	ai, af, aIsFloat, aOK := number(a)
	bi, bf, bIsFloat, bOK := number(b)
	if aOK || bOK {
		if aOK && bOK && !aIsFloat && !bIsFloat {
			return ai == bi
		}
		return aOK && bOK && af == bf
	}
	switch a := a.(type) {
	case *List:
		b, ok := b.(*List)
		return ok && a.Tuple == b.Tuple && slices.EqualFunc(a.Items, b.Items, s.equal)
	case *Map:
		b, ok := b.(*Map)
		if !ok || a.Len() != b.Len() {
			return false
		}
		for key, v := range a.values {
			if w, ok := b.values[key]; !ok || !s.equal(v, w) {
				return false
			}
		}
		return true
	case undefined:
		_, ok := b.(undefined)
		return ok
	}
	if c, ok := a.(string); ok {
		s.step(len(c) / 64)
	}
	return a == b
}

// less reports whether a < b.
func (s *state) less(a, b any, op string) bool {
	ai, af, aIsFloat, aOK := number(a)
	bi, bf, bIsFloat, bOK := number(b)
	x, xOK := a.(string)
	y, yOK := b.(string)
	switch {
	case aOK && bOK && !aIsFloat && !bIsFloat:
		return ai < bi
	case aOK && bOK:
		return af < bf
	case xOK && yOK:
		return x < y // UTF-8 sorts as code points do
	}
	s.mustBeDefined(a)
	s.mustBeDefined(b)
	s.fail("%s of %s and %s is not supported", op, typeName(a), typeName(b))
	return false
}

// text is str(v), as output writes a value.
func (s *state) text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case undefined:
		return ""
	}
	var b strings.Builder
	s.repr(&b, v, 0)
	return b.String()
}

// repr writes Python's repr(v).
func (s *state) repr(b *strings.Builder, v any, depth int) {
	s.step(1)
	s.limit(b.Len(), depth)
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(floatText(v))
	case string:
		quoteText(b, v)
	case *List:
		s.reprList(b, v, depth)
	case *Map:
		b.WriteByte('{')
		for i, key := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			quoteText(b, key)
			b.WriteString(": ")
			s.repr(b, v.values[key], depth+1)
		}
		b.WriteByte('}')
	case undefined:
		b.WriteString("Undefined")
	default:
		s.fail("a %s cannot be written as text", typeName(v))
	}
}

func (s *state) reprList(b *strings.Builder, v *List, depth int) {
	ends := [2]string{"[", "]"}
	if v.Tuple {
		ends = [2]string{"(", ")"}
	}
	b.WriteString(ends[0])
	for i, item := range v.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		s.repr(b, item, depth+1)
	}
	if v.Tuple && len(v.Items) == 1 {
		b.WriteByte(',')
	}
	b.WriteString(ends[1])
}

// floatText is Python's repr of a float.
func floatText(v float64) string {
	switch {
	case math.IsInf(v, 0) || math.IsNaN(v):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64)), "+")
	case v != 0 && (math.Abs(v) < 1e-4 || math.Abs(v) >= 1e16):
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	out := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(out, ".") {
		out += ".0"
	}
	return out
}

// quoteText is Python's repr of a string.
func quoteText(b *strings.Builder, v string) {
	quote := '\''
	if strings.Contains(v, "'") && !strings.Contains(v, `"`) {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, r := range v {
		switch {
		case r == quote || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
}

// items returns what a loop over v visits.
func (s *state) items(v any) []any {
	switch v := v.(type) {
	case *List:
		return v.Items
	case undefined:
		return nil
	case string:
		s.step(len(v))
		var out []any
		for _, r := range v {
			out = append(out, string(r))
		}
		return out
	case *Map:
		s.step(v.Len())
		out := make([]any, v.Len())
		for i, key := range v.keys {
			out[i] = key
		}
		return out
	}
	s.fail("a %s cannot be looped over", typeName(v))
	return nil
}
