package tokenize

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// value is a JSON value with the key path that leads to it, so that every error can
// name its key. The text was checked as a whole: syntax, UTF-8, no key twice.
type value struct {
	path  string
	index int // 1 + the place in the array at path, 0 if path is the whole way
	raw   jsontext.Value
}

// where returns the full key path. It is put together on demand: an array of merges has
// hundreds of thousands of elements.
func (v value) where() string {
	if v.index == 0 {
		return v.path
	}
	return v.path + "[" + strconv.Itoa(v.index-1) + "]"
}

// member returns the key path of a member of an object at v.
func (v value) member(name string) string {
	if at := v.where(); at != "" {
		return at + "." + name
	}
	return name
}

// field is one member of an object.
type field struct {
	name string
	value
}

// parseJSON checks data and returns its top value.
func parseJSON(data []byte) (value, error) {
	raw := jsontext.Value(bytes.TrimPrefix(data, []byte("\uFEFF")))
	if !raw.IsValid() {
		d := jsontext.NewDecoder(bytes.NewReader(raw))
		if _, err := d.ReadValue(); err != nil {
			return value{}, fmt.Errorf("not JSON: %w", err)
		}
		return value{}, fmt.Errorf("not JSON: text after the value, at byte %d", d.InputOffset())
	}
	return value{raw: raw}, nil
}

func (v value) errorf(format string, args ...any) error {
	where := v.where()
	if where == "" {
		where = "the document"
	}
	return fmt.Errorf("%s %s", where, fmt.Sprintf(format, args...))
}

// kindNames says what a value is, for messages.
var kindNames = map[jsontext.Kind]string{
	'n': "null", 't': "a boolean", 'f': "a boolean", '"': "a string", '0': "a number",
	'{': "an object", '[': "an array",
}

func (v value) want(kind jsontext.Kind) error {
	got := v.raw.Kind()
	if got == kind || kind == 't' && got == 'f' {
		return nil
	}
	return v.errorf("is %s, want %s", kindNames[got], kindNames[kind])
}

func (v value) isNull() bool { return len(v.raw) == 0 || v.raw.Kind() == 'n' }

// decoder reads the inside of an object or array, whose opening bracket it has read.
func (v value) decoder() *jsontext.Decoder {
	d := jsontext.NewDecoder(bytes.NewBuffer(v.raw), jsontext.AllowDuplicateNames(true))
	d.ReadToken()
	return d
}

// read returns the next value that d, a decoder of v, finds, as a part of v's own text: files
// are large, and copies of their parts would be too.
func (v value) read(d *jsontext.Decoder) (jsontext.Value, error) {
	raw, err := d.ReadValue()
	if err != nil {
		return nil, v.errorf("cannot be read: %v", err)
	}
	end := int(d.InputOffset())
	return v.raw[end-len(raw) : end : end], nil
}

// fields returns the members of an object in order.
func (v value) fields() ([]field, error) {
	if err := v.want('{'); err != nil {
		return nil, err
	}
	var out []field
	for d := v.decoder(); d.PeekKind() != '}'; {
		name, err := d.ReadToken()
		if err != nil {
			return nil, v.errorf("cannot be read: %v", err)
		}
		key := name.String()
		raw, err := v.read(d)
		if err != nil {
			return nil, err
		}
		out = append(out, field{key, value{path: v.member(key), raw: raw}})
	}
	return out, nil
}

// each calls visit with the elements of an array.
func (v value) each(visit func(i int, e value) error) error {
	if err := v.want('['); err != nil {
		return err
	}
	d, where := v.decoder(), v.where()
	for i := 0; d.PeekKind() != ']'; i++ {
		raw, err := v.read(d)
		if err != nil {
			return err
		}
		if err := visit(i, value{where, i + 1, raw}); err != nil {
			return err
		}
	}
	return nil
}

// text returns a string.
func (v value) text() (string, error) {
	if err := v.want('"'); err != nil {
		return "", err
	}
	out, err := jsontext.AppendUnquote(nil, v.raw)
	if err != nil {
		return "", v.errorf("is no string: %v", err)
	}
	return string(out), nil
}

// flag returns a boolean; null and absent are false.
func (v value) flag() (bool, error) {
	if v.isNull() {
		return false, nil
	}
	return v.raw.Kind() == 't', v.want('t')
}

// id returns a token id: a whole number from 0 to 2³¹−2.
func (v value) id() (int32, error) {
	if err := v.want('0'); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(v.raw), 10, 32)
	if err != nil || n < 0 || n == 1<<31-1 {
		return 0, v.errorf("is %s, want a token id (a whole number from 0)", v.raw)
	}
	return int32(n), nil
}

// unsupported is the error for a construct that is valid but not built.
func (v value) unsupported() error {
	shown := v.oneLine()
	if len(shown) > 60 {
		shown = strings.ToValidUTF8(shown[:60], "") + "…"
	}
	return v.errorf("%s is not supported", shown)
}

// oneLine is the text without spaces and line breaks between its parts.
func (v value) oneLine() string {
	raw := v.raw.Clone()
	if err := raw.Compact(); err != nil {
		return string(v.raw)
	}
	return string(raw)
}

// object is a JSON object being taken apart: what is not taken is an error.
type object struct {
	value
	members map[string]value
	order   []string
}

func (v value) object() (*object, error) {
	fields, err := v.fields()
	if err != nil {
		return nil, err
	}
	o := &object{value: v, members: make(map[string]value, len(fields))}
	for _, f := range fields {
		o.members[f.name] = f.value
		o.order = append(o.order, f.name)
	}
	return o, nil
}

// take removes and returns a member; if it is absent, a null with its path.
func (o *object) take(name string) value {
	if m, ok := o.members[name]; ok {
		delete(o.members, name)
		return m
	}
	return value{path: o.member(name), raw: jsontext.Value("null")}
}

// component reads v as an object and removes its member "type", which says of which kind it is. at is that member.
func (v value) component() (o *object, name string, at value, err error) {
	if o, err = v.object(); err != nil {
		return nil, "", v, err
	}
	at = o.take("type")
	name, err = at.text()
	return o, name, at, err
}

// done fails if a member was not taken.
func (o *object) done() error {
	for _, name := range o.order {
		if m, ok := o.members[name]; ok {
			return m.unsupported()
		}
	}
	return nil
}
