package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
)

// The values of Python's json module: nil, bool, string, pyInt, float64, []any, map[string]any.

// pyInt is a whole number of any size, as Python writes it.
type pyInt string

// pyJSONBytesMax is the longest JSON text that is read for a hash.
const pyJSONBytesMax = 16 << 20

// parsePyJSON reads JSON as Python's json.loads does, which tells whole numbers from floats.
// What Python reads but JSON does not allow is an error: NaN, infinities, halves of surrogate
// pairs, and keys that occur twice.
func parsePyJSON(data []byte) (any, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	v, err := decodePy(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the JSON value")
	}
	return v, nil
}

func decodePy(dec *jsontext.Decoder) (any, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return pyNumber(token.String())
	case '[':
		return decodePyList(dec)
	}
	return decodePyMap(dec)
}

func decodePyList(dec *jsontext.Decoder) (any, error) {
	list := []any{}
	for dec.PeekKind() != ']' {
		v, err := decodePy(dec)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := dec.ReadToken()
	return list, err
}

func decodePyMap(dec *jsontext.Decoder) (any, error) {
	m := map[string]any{}
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		name := key.String() // before the next token is read
		if m[name], err = decodePy(dec); err != nil {
			return nil, err
		}
	}
	_, err := dec.ReadToken()
	return m, err
}

// pyNumber is a number of JSON: whole if it has neither fraction nor exponent.
func pyNumber(text string) (any, error) {
	if !strings.ContainsAny(text, ".eE") {
		if text == "-0" {
			text = "0"
		}
		return pyInt(text), nil
	}
	return pyFloat(text)
}

func pyFloat(text string) (any, error) {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return nil, fmt.Errorf("%s is no finite number", cutText(text))
	}
	return x, nil
}

// cutText is a text for a message.
func cutText(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// appendPyJSON writes a value as Python's json.dumps(v, sort_keys=True, separators=(",", ":"))
// does: keys by code point, ASCII only, floats by repr.
func appendPyJSON(out []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(out, v)
	case string:
		return appendPyString(out, v)
	case pyInt:
		return append(out, v...)
	case float64:
		return append(out, pyRepr(v)...)
	case []any:
		out = append(out, '[')
		for i, item := range v {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendPyJSON(out, item)
		}
		return append(out, ']')
	case map[string]any:
		out = append(out, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) { // byte order of UTF-8 is that of code points
			if i > 0 {
				out = append(out, ',')
			}
			out = appendPyJSON(append(appendPyString(out, key), ':'), v[key])
		}
		return append(out, '}')
	}
	return append(out, "null"...)
}

func appendPyString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r >= ' ' && r <= '~':
			out = append(out, byte(r))
		case strings.ContainsRune("\b\f\n\r\t", r):
			out = append(out, '\\', "btnfr"[strings.IndexRune("\b\t\n\f\r", r)])
		case r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return append(out, '"')
}

// pyRepr is Python's repr of a finite float: the shortest digits that give it back, with an
// exponent below 1e-4 and from 1e16 on.
func pyRepr(x float64) string {
	if a := math.Abs(x); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	text := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
