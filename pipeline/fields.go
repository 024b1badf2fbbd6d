package pipeline

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// field is what the tags of a struct field say about one configuration key.
type field struct {
	key, alias string
	doc        string
	min, max   string
	enum       []string
	required   bool
	unless     string // the key that may be set in place of a required one
	hidden     bool   // not a key of a plan, but part of the canonical form
	network    string
	index      []int // as for reflect.Value.FieldByIndex
	typ        reflect.Type
}

// checker is implemented by configurations with rules between fields.
type checker interface{ Check(*Fields) }

// defaulter is implemented by structs that are elements of lists or maps.
type defaulter interface{ SetDefaults() }

var (
	textType    = reflect.TypeFor[encoding.TextUnmarshaler]()
	decoderType = reflect.TypeFor[planDecoder]()
)

// fieldsOf reads the tags of a configuration struct, in source order; the fields of an
// embedded struct stand in its place, and fields tagged "-" are no keys.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
			continue
		}
		if !f.IsExported() || key == "-" {
			continue
		}
		fd := field{
			key: key, alias: f.Tag.Get("alias"), doc: f.Tag.Get("doc"),
			min: f.Tag.Get("min"), max: f.Tag.Get("max"),
			required: f.Tag.Get("required") == "true",
			unless:   f.Tag.Get("unless"),
			hidden:   f.Tag.Get("hidden") == "true",
			network:  f.Tag.Get("network"),
			index:    []int{i}, typ: f.Type,
		}
		if e := f.Tag.Get("enum"); e != "" {
			fd.enum = strings.Split(e, "|")
		}
		out = append(out, fd)
	}
	return out
}

func keysOf(fs []field) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.key
	}
	return out
}

// element is what the tags say about the elements of a list, a map or a pointer.
func (f field) element() field {
	f.typ, f.required = f.typ.Elem(), false
	return f
}

// visible leaves out fields that are no keys of a plan.
func visible(fields []field) []field {
	return slices.DeleteFunc(fields, func(f field) bool { return f.hidden })
}

// isRecord reports whether values of t have fields with keys, rather than a text form.
func isRecord(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType)
}

// elem strips pointers.
func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// mustDescribe panics if a field of t, or of a struct in it, lacks a key or a doc tag,
// has a type that cannot be decoded, or bounds that cannot be read.
func mustDescribe(where string, t reflect.Type, outer []reflect.Type) {
	for _, o := range outer {
		if o == t {
			panic(fmt.Sprintf("pipeline: %s: type %s holds itself", where, t))
		}
	}
	seen := map[string]bool{}
	for _, f := range fieldsOf(t) {
		at := where + ": field " + f.key
		switch {
		case !isKey(f.key) || f.doc == "":
			panic("pipeline: " + at + ": needs a yaml tag in lower snake case and a doc tag")
		case seen[f.key] || f.alias != "" && seen[f.alias]:
			panic("pipeline: " + at + ": the key is there twice")
		}
		seen[f.key], seen[f.alias] = true, f.alias != ""
		mustDecode(at, f.typ, append(outer, t))
		mustBound(at, f)
	}
}

func mustDecode(at string, t reflect.Type, outer []reflect.Type) {
	if p := reflect.PointerTo(t); p.Implements(textType) || p.Implements(decoderType) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		mustDescribe(at, t, outer)
	case reflect.Pointer, reflect.Slice:
		mustDecode(at, t.Elem(), outer)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			panic("pipeline: " + at + ": the keys of a map must be strings")
		}
		mustDecode(at, t.Elem(), outer)
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
	default:
		panic(fmt.Sprintf("pipeline: %s: type %s cannot be decoded", at, t))
	}
}

func mustBound(at string, f field) {
	leaf := leafType(f.typ)
	for _, bound := range []string{f.min, f.max} {
		if bound == "" {
			continue
		}
		if _, ok := parseBound(leaf, bound); !ok {
			panic(fmt.Sprintf("pipeline: %s: bound %q is no %s", at, bound, typeName(leaf)))
		}
	}
}

// mustDefault panics if a default breaks its field's own rules. A zero value is fine: it
// stands for "not set".
func mustDefault(where string, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		x := v.FieldByIndex(f.index)
		switch {
		case x.IsZero():
		case isRecord(x.Type()):
			mustDefault(where+": "+f.key, x)
		case !f.within(x), x.Kind() == reflect.String && !f.among(x.String()):
			panic(fmt.Sprintf("pipeline: %s: default of %s: want %s, got %v", where, f.key, wantName(f), x))
		}
	}
}

// within reports whether a number lies between the field's bounds; all else does.
func (f field) within(v reflect.Value) bool {
	x, ok := number(v)
	low, hasLow := parseBound(v.Type(), f.min)
	high, hasHigh := parseBound(v.Type(), f.max)
	return !ok || (!hasLow || x >= low) && (!hasHigh || x <= high)
}

// among reports whether a text is one of the field's enum, if it has one.
func (f field) among(text string) bool { return len(f.enum) == 0 || slices.Contains(f.enum, text) }

// leafType is the type that bounds and enums speak of: that of the elements for a
// list or a map.
func leafType(t reflect.Type) reflect.Type {
	for {
		if reflect.PointerTo(t).Implements(textType) {
			return t
		}
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			t = t.Elem()
		default:
			return t
		}
	}
}

// Fields lets a configuration's Check method report a mistake at the key that caused it.
// Keys are relative to the configuration: "bands", "index.dir", "weights.gsm8k", "against[0]".
type Fields struct {
	dec  *decoder
	path string
}

// Errorf reports a mistake at key, or where the configuration starts if the plan does not
// set it; an empty key is the whole configuration. The text says what, and what to do.
func (f *Fields) Errorf(key, format string, args ...any) {
	path := join(f.path, key)
	f.dec.report(f.dec.nodeAt(path), path, "", format, args...)
}

// Unknown reports a name at key that is none of known, with the nearest of them.
func (f *Fields) Unknown(key, got string, known []string) {
	path := join(f.path, key)
	f.dec.report(f.dec.nodeAt(path), path, Suggest(got, known), "%q is none of %s", got, list(known))
}

// IsSet reports whether the plan, a flag or the network profile sets key.
func (f *Fields) IsSet(key string) bool { return f.dec.origins[join(f.path, key)] != "" }

// FromEnvironment reports whether the plan takes key's value, or part of it, from the
// environment: such values may be secret.
func (f *Fields) FromEnvironment(key string) bool {
	return strings.Contains(f.dec.raw[f.dec.at[join(f.path, key)]], "${env:")
}

// Plan returns the plan's other sections (network, input, held-out); its steps are
// not decoded yet.
func (f *Fields) Plan() *Plan { return f.dec.plan }

// join puts a key or an index behind a path.
func join(path, key string) string {
	if path == "" || key == "" || key[0] == '[' {
		return path + key
	}
	return path + "." + key
}

// wantName says what a value of f must be.
func wantName(f field) string {
	many := f.typ.Kind() == reflect.Slice || f.typ.Kind() == reflect.Map
	if f.typ == reflect.TypeFor[Texts]() && len(f.enum) > 0 {
		return "one of " + list(f.enum) + ", or a list of them"
	}
	if many && f.typ != reflect.TypeFor[Paths]() && len(f.enum)+len(f.min)+len(f.max) > 0 {
		return typeName(f.typ) + ", each " + wantName(f.element())
	}
	if len(f.enum) > 0 {
		return "one of " + list(f.enum)
	}
	name := typeName(f.typ)
	if f.min+f.max != "" {
		name, _, _ = strings.Cut(name, " such as")
	}
	switch {
	case f.min != "" && f.max != "":
		return name + " from " + f.min + " to " + f.max
	case f.min != "":
		return name + " of at least " + f.min
	case f.max != "":
		return name + " of at most " + f.max
	}
	return name
}

// typeName says in words what a plan writes for a value of type t.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Bytes]():
		return "a size such as 512MiB"
	case reflect.TypeFor[Duration]():
		return "a duration such as 10m or 7d"
	case reflect.TypeFor[Path]():
		return "a path"
	case reflect.TypeFor[GroupChoice]():
		return "a whole number of at least 0, or auto"
	case reflect.TypeFor[*HeldOut]():
		return "a mapping, or a list of inputs"
	case reflect.TypeFor[KeepPolicy]():
		return "first, longest, or a mapping"
	case reflect.TypeFor[Paths]():
		return "a path or a list of paths"
	case reflect.TypeFor[Texts]():
		return "a text or a list of texts"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "a mapping of names to values"
	case reflect.Struct:
		if isRecord(t) {
			return "a mapping"
		}
		return "a text"
	}
	return "a whole number"
}

// list joins names for a message: at most twelve.
func list(names []string) string {
	const most = 12
	if len(names) == 0 {
		return "(nothing)"
	}
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
