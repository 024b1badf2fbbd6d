package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// FromJSON reads a JSON value. Whole numbers are int64, if they fit, and other numbers float64.
func FromJSON(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := readJSON(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("a second value follows")
	}
	return v, nil
}

func readJSON(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > depthMax {
		return nil, fmt.Errorf("nested deeper than %d levels", depthMax)
	}
	switch t := t.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return i, nil
		}
		return strconv.ParseFloat(t.String(), 64)
	case json.Delim:
		if t == '[' {
			return readList(d, depth)
		}
		return readMap(d, depth)
	}
	return t, nil // nil, a bool or a string
}

func readList(d *json.Decoder, depth int) (any, error) {
	out := &List{}
	for d.More() {
		v, err := readJSON(d, depth+1)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, v)
	}
	_, err := d.Token()
	return out, err
}

func readMap(d *json.Decoder, depth int) (any, error) {
	out := &Map{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := readJSON(d, depth+1)
		if err != nil {
			return nil, err
		}
		out.Set(key.(string), v)
	}
	_, err := d.Token()
	return out, err
}

// jsonWriter writes as Python's json.dumps does.
type jsonWriter struct {
	*state
	strings.Builder
	ascii        bool
	indent       string
	lines        bool // each item has a line of its own
	comma, colon string
	sortKeys     bool
}

// tojson is the filter of transformers: unlike Jinja2's own, it does not escape HTML.
func tojson(s *state, v any, a args) any {
	in := s.take("tojson", a, 0, "ensure_ascii", "indent", "separators", "sort_keys")
	w := &jsonWriter{state: s, comma: ", ", colon: ": "}
	w.ascii = in[0] != nil && truth(in[0])
	w.sortKeys = in[3] != nil && truth(in[3])
	switch v := in[1].(type) {
	case nil:
	case string:
		w.lines, w.indent = true, v
	default:
		w.lines, w.indent = true, s.repeat(" ", s.integer(v, "tojson")).(string)
	}
	if w.lines {
		w.comma = ","
	}
	if in[2] != nil {
		list, ok := in[2].(*List)
		if !ok || len(list.Items) != 2 {
			s.fail("tojson: separators are two strings")
		}
		w.comma, w.colon = s.str(list.Items[0], "tojson"), s.str(list.Items[1], "tojson")
	}
	w.value(v, 0)
	return s.made(w.String())
}

func (w *jsonWriter) value(v any, depth int) {
	w.step(1)
	w.limit(w.Len(), depth)
	switch v := v.(type) {
	case nil:
		w.WriteString("null")
	case bool:
		w.WriteString(strconv.FormatBool(v))
	case int64:
		w.WriteString(strconv.FormatInt(v, 10))
	case float64:
		w.WriteString(map[string]string{"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[floatText(v)])
		if v-v == 0 {
			w.WriteString(floatText(v))
		}
	case string:
		w.quote(v)
	case *List:
		w.group("[", "]", len(v.Items), depth, func(i int) { w.value(v.Items[i], depth+1) })
	case *Map:
		keys := v.keys
		if w.sortKeys {
			keys = slices.Sorted(slices.Values(keys))
		}
		w.group("{", "}", len(keys), depth, func(i int) {
			w.quote(keys[i])
			w.WriteString(w.colon)
			w.value(v.values[keys[i]], depth+1)
		})
	default:
		w.mustBeDefined(v)
		w.fail("tojson of a %s is not supported", typeName(v))
	}
}

func (w *jsonWriter) group(open, end string, n, depth int, item func(i int)) {
	w.WriteString(open)
	for i := range n {
		if i > 0 {
			w.WriteString(w.comma)
		}
		w.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.WriteString(end)
}

func (w *jsonWriter) newline(depth int) {
	if !w.lines {
		return
	}
	w.limit(w.Len()+depth*len(w.indent), 0)
	w.WriteString("\n" + strings.Repeat(w.indent, depth))
}

func (w *jsonWriter) quote(v string) {
	w.step(len(v) / 64)
	w.WriteByte('"')
	for _, r := range v {
		switch {
		case r == '"' || r == '\\':
			w.WriteByte('\\')
			w.WriteRune(r)
		case r == '\n':
			w.WriteString(`\n`)
		case r == '\r':
			w.WriteString(`\r`)
		case r == '\t':
			w.WriteString(`\t`)
		case r == '\b':
			w.WriteString(`\b`)
		case r == '\f':
			w.WriteString(`\f`)
		case r < ' ' || w.ascii && r >= 0x7f && r < 0x10000:
			if r == 0x7f {
				w.WriteRune(r)
				continue
			}
			fmt.Fprintf(w, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(w, `\u%04x\u%04x`, high, low)
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
}
