package pipeline

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"bzdata/pipeline/store"
)

// diagsMax bounds how many mistakes are listed; a file with more is no plan.
const diagsMax = 100

// decoder turns the tree of a plan into typed values and gathers the mistakes.
type decoder struct {
	file  string
	lines []string
	reg   *Registry
	opt   ParseOptions
	plan  *Plan
	diags Diags

	root     *store.YAMLNode
	vars     Vars
	expanded int // bytes that variables have added
	declared map[string]bool
	raw      map[*store.YAMLNode]string // text before variables were replaced
	bad      map[*store.YAMLNode]bool   // a mistake is reported; say no more
	sources  map[*store.YAMLNode]origin // nodes that stand nowhere in the file
	at       map[string]*store.YAMLNode // values by path
	origins  map[string]string          // origin of the values that are set, by path
	ids      map[*store.YAMLNode]string // by entry of the list of stages
	implied  int                        // how many steps were inserted
	alone    bool                       // the plan is a stage's example: nothing stands before it
	profile  profile
}

// origin says where a node that is not in the file comes from.
type origin struct {
	flag string // stands for the place in messages; empty: the node has a place
	name string // as in Setting.Origin
}

// profile holds a network's defaults.
type profile struct {
	defaults map[string]any
	name     string // versioned, such as connito@0c936fa
	node     *store.YAMLNode
}

// planDecoder is implemented by types that a plan may write in more than one shape.
type planDecoder interface {
	decodePlan(d *decoder, n *store.YAMLNode, path string, f field)
}

// report adds a mistake at n; a nil n is the start of the file.
func (d *decoder) report(n *store.YAMLNode, path, hint, format string, args ...any) {
	if n == nil {
		n = &store.YAMLNode{Line: 1, Col: 1}
	}
	from, msg := d.sources[n], fmt.Sprintf(format, args...)
	if from.flag == "" && from.name != "" {
		msg += " (this is the default of " + from.name + ")"
	}
	d.add(Diag{File: d.file, Line: n.Line, Col: n.Col, Flag: from.flag, Path: path, Msg: msg, Hint: hint})
}

// reportFlag adds a mistake that a flag brought.
func (d *decoder) reportFlag(flag, path, hint, format string, args ...any) {
	d.add(Diag{File: d.file, Flag: flag, Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (d *decoder) add(diag Diag) {
	diag.Flag, diag.Msg, diag.Hint = store.RedactText(diag.Flag), store.RedactText(diag.Msg), store.RedactText(diag.Hint)
	if diag.Flag == "" && diag.Line >= 1 && diag.Line <= len(d.lines) {
		diag.Source = d.lines[diag.Line-1]
	}
	if len(d.diags) < diagsMax {
		d.diags = append(d.diags, diag)
	}
}

// mark gives n and all below it an origin outside the file.
func (d *decoder) mark(n *store.YAMLNode, from origin) {
	d.sources[n] = from
	for _, key := range n.Keys {
		d.mark(key, from)
	}
	for _, item := range n.Items {
		d.mark(item, from)
	}
}

// originOf is the origin of a value: that of a flag if any part of it comes from one.
func (d *decoder) originOf(n *store.YAMLNode) string {
	if from, ok := d.sources[n]; ok {
		return from.name
	}
	for _, item := range n.Items {
		if name := d.originOf(item); name != fromPlan {
			return name
		}
	}
	return fromPlan
}

// nodeAt is the value at path, or the nearest that encloses it.
func (d *decoder) nodeAt(path string) *store.YAMLNode {
	for path != "" {
		if n := d.at[path]; n != nil {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.root
}

// structure decodes the keys of a map into a struct that holds its defaults.
func (d *decoder) structure(n *store.YAMLNode, path string, v reflect.Value) {
	if n.Kind != store.YAMLMap && !isNull(n) {
		d.report(n, path, colonHint(n.Text, visible(fieldsOf(v.Type()))),
			"want a mapping of keys to values, got %s", describe(n))
		return
	}
	before, fields := len(d.diags), visible(fieldsOf(v.Type()))
	set, meant := d.keys(n, path, fields)
	for _, f := range fields {
		at := join(path, f.key)
		if item := set[f.key]; item != nil {
			d.value(item, at, f, v.FieldByIndex(f.index))
		} else if !meant[f.key] && len(d.diags) < diagsMax {
			d.absent(n, at, f, v.FieldByIndex(f.index))
		}
	}
	sound := len(d.diags) == before && before < diagsMax && !d.spoilt(n)
	if c, ok := v.Addr().Interface().(checker); ok && sound {
		c.Check(&Fields{dec: d, path: path})
	}
}

// colonHint recognises a key whose colon, or the blank behind it, is missing.
func colonHint(text string, fields []field) string {
	for _, key := range keysOf(fields) {
		rest, ok := strings.CutPrefix(text, key)
		value := strings.TrimLeft(rest, ": ")
		if ok && value != rest && value != "" {
			return "write " + key + ": " + short(value)
		}
	}
	return ""
}

// keys matches the keys of a map with fields. It returns the values by field key, and
// the fields that unknown keys seem to mean, which are not asked for again.
func (d *decoder) keys(n *store.YAMLNode, path string, fields []field) (
	set map[string]*store.YAMLNode, meant map[string]bool,
) {
	set, meant = map[string]*store.YAMLNode{}, map[string]bool{}
	first := map[string]*store.YAMLNode{}
	for i, key := range n.Keys {
		f := slices.IndexFunc(fields, func(f field) bool {
			return f.key == key.Text || f.alias != "" && f.alias == key.Text
		})
		at := join(path, short(key.Text))
		switch {
		case len(d.diags) >= diagsMax:
			return set, meant
		case f < 0:
			names := keysOf(fields)
			meant[nearest(key.Text, names)] = true
			d.report(key, at, Suggest(key.Text, names), "unknown key; the keys here are %s", list(names))
		case first[fields[f].key] != nil && first[fields[f].key].Text != key.Text:
			d.report(key, at, "", "the same as %s, which is set, too; remove one", first[fields[f].key].Text)
		case first[fields[f].key] != nil:
			d.report(key, at, "", "set twice, first on line %d; remove one", first[fields[f].key].Line)
		default:
			first[fields[f].key], set[fields[f].key] = key, n.Items[i]
		}
	}
	return set, meant
}

// absent deals with a field that the plan does not set; n is the map that lacks it.
func (d *decoder) absent(n *store.YAMLNode, path string, f field, v reflect.Value) {
	if def, ok := d.profile.defaults[f.network]; ok && f.network != "" {
		d.value(d.profileNode(def), path, f, v)
		return
	}
	switch {
	case f.required && v.IsZero() && f.unless != "" && child(n, f.unless) != nil:
	case f.required && v.IsZero():
		d.report(n, path, "", "required; add %s: with %s", f.key, wantName(f))
	case isRecord(f.typ) && !reflect.PointerTo(f.typ).Implements(decoderType):
		empty := &store.YAMLNode{Kind: store.YAMLMap, Line: n.Line, Col: n.Col}
		if from, ok := d.sources[n]; ok {
			d.sources[empty] = from
		}
		d.structure(empty, path, v)
	}
}

// spoilt reports whether a mistake in n or below it is already known.
func (d *decoder) spoilt(n *store.YAMLNode) bool {
	return d.bad[n] || slices.ContainsFunc(n.Items, d.spoilt)
}

// value decodes n into v, whatever its type.
func (d *decoder) value(n *store.YAMLNode, path string, f field, v reflect.Value) {
	d.at[path] = n
	d.origins[path] = d.originOf(n)
	if d.bad[n] || len(d.diags) >= diagsMax {
		return
	}
	if v.Kind() == reflect.Pointer {
		d.pointer(n, path, f, v)
		return
	}
	switch x := v.Addr().Interface().(type) {
	case planDecoder:
		x.decodePlan(d, n, path, f)
		return
	case encoding.TextUnmarshaler:
		if d.scalarNode(n, path, f) {
			d.text(n, path, f, v, x)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Slice:
		d.list(n, path, f, v)
	case reflect.Map:
		d.dict(n, path, f, v)
	default:
		if d.scalarNode(n, path, f) {
			d.scalar(n, path, f, v)
		}
	}
}

// pointer decodes into a new value, so that a default behind a pointer stays as it is.
func (d *decoder) pointer(n *store.YAMLNode, path string, f field, v reflect.Value) {
	if isNull(n) && !isRecord(elem(v.Type())) {
		v.SetZero()
		return
	}
	fresh := newElement(v.Type().Elem())
	if !v.IsNil() {
		fresh.Elem().Set(v.Elem())
	}
	d.value(n, path, f.element(), fresh.Elem())
	v.Set(fresh)
}

// newElement makes a value of type t with its own defaults, if it has any.
func newElement(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if x, ok := v.Interface().(defaulter); ok {
		x.SetDefaults()
	}
	return v
}

// listHint shows how an entry of a list begins that was written as a bare value: with
// its required key.
func listHint(text string, fields []field) string {
	for _, f := range fields {
		if f.required {
			return "write [{" + f.key + ": " + short(text) + "}]"
		}
	}
	return ""
}

func (d *decoder) list(n *store.YAMLNode, path string, f field, v reflect.Value) {
	if n.Kind != store.YAMLList {
		hint := ""
		if n.Kind == store.YAMLMap {
			hint = "begin each entry with - and a blank"
		} else if !isNull(n) {
			hint = "write [" + short(n.Text) + "]"
			if item := elem(f.typ.Elem()); isRecord(item) {
				hint = listHint(n.Text, visible(fieldsOf(item)))
			}
		}
		d.report(n, path, hint, "want a list, got %s", describe(n))
		return
	}
	if len(n.Items) == 0 && f.required {
		d.report(n, path, "", "the list is empty; give it at least one entry")
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Items))
	for i, item := range n.Items {
		x := newElement(v.Type().Elem()).Elem()
		d.value(item, indexed(path, i), f.element(), x)
		out = reflect.Append(out, x)
	}
	v.Set(out)
}

func (d *decoder) dict(n *store.YAMLNode, path string, f field, v reflect.Value) {
	if n.Kind != store.YAMLMap {
		d.report(n, path, "", "want a mapping of names to values, got %s", describe(n))
		return
	}
	if len(n.Keys) == 0 && f.required {
		d.report(n, path, "", "the mapping is empty; give it at least one entry")
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Keys))
	first := map[string]*store.YAMLNode{}
	for i, key := range n.Keys {
		at := join(path, key.Text)
		if old := first[key.Text]; old != nil {
			d.report(key, at, "", "set twice, first on line %d; remove one", old.Line)
			continue
		}
		first[key.Text] = key
		x := newElement(v.Type().Elem()).Elem()
		d.value(n.Items[i], at, f.element(), x)
		out.SetMapIndex(reflect.ValueOf(key.Text).Convert(v.Type().Key()), x)
	}
	v.Set(out)
}

// scalarNode reports a node that is no scalar, or none at all.
func (d *decoder) scalarNode(n *store.YAMLNode, path string, f field) bool {
	switch {
	case n.Kind != store.YAMLScalar:
		d.report(n, path, "", "want %s, got %s", wantName(f), describe(n))
	case isNull(n):
		d.report(n, path, "", "has no value; write %s, or remove the key", wantName(f))
	default:
		return true
	}
	return false
}

func (d *decoder) text(n *store.YAMLNode, path string, f field, v reflect.Value, x encoding.TextUnmarshaler) {
	if err := x.UnmarshalText([]byte(n.Text)); err != nil {
		d.report(n, path, "", "%v", err)
		return
	}
	d.bounds(n, path, f, v)
}

func (d *decoder) scalar(n *store.YAMLNode, path string, f field, v reflect.Value) {
	if v.Kind() == reflect.String {
		v.SetString(n.Text)
		if n.Text == "" && f.required {
			d.report(n, path, "", "must not be empty")
		}
		d.bounds(n, path, f, v)
		return
	}
	ok := false
	switch {
	case n.Quoted:
	case v.Kind() == reflect.Bool:
		var b bool
		b, ok = parseBool(n.Text)
		v.SetBool(b)
	case v.CanInt():
		var i int64
		i, ok = parseInteger(n.Text)
		ok = ok && !v.OverflowInt(i)
		v.SetInt(i)
	case v.CanUint():
		var u uint64
		u, ok = parseUnsigned(n.Text)
		ok = ok && !v.OverflowUint(u)
		v.SetUint(u)
	case v.CanFloat():
		var x float64
		x, ok = parseFloat(n.Text)
		v.SetFloat(x)
	}
	if !ok {
		d.report(n, path, d.scalarHint(n, v.Kind()), "want %s, got %s", wantName(f), describe(n))
		return
	}
	d.bounds(n, path, f, v)
}

// scalarHint guesses why a scalar has the wrong type.
func (d *decoder) scalarHint(n *store.YAMLNode, kind reflect.Kind) string {
	_, isNumber := parseFloat(n.Text)
	_, isBool := parseBool(n.Text)
	switch {
	case d.raw[n] != "":
		return "" // what is written holds variables
	case n.Quoted && (isNumber && kind != reflect.Bool || isBool && kind == reflect.Bool):
		return "remove the quotes"
	case kind == reflect.Bool && slices.Contains([]string{"yes", "on", "y"}, strings.ToLower(n.Text)):
		return "write true"
	case kind == reflect.Bool && slices.Contains([]string{"no", "off", "n"}, strings.ToLower(n.Text)):
		return "write false"
	case len(n.Text) > 1 && n.Text[0] == '0' && strings.Trim(n.Text, "01234567") == "":
		return "a leading zero is octal to some readers: write " +
			strings.TrimLeft(n.Text, "0") + ", or 0o" + strings.TrimLeft(n.Text, "0")
	}
	return ""
}

// bounds checks a decoded value against min, max and enum.
func (d *decoder) bounds(n *store.YAMLNode, path string, f field, v reflect.Value) {
	if !f.among(n.Text) {
		d.report(n, path, Suggest(n.Text, f.enum), "%s is none of %s", quoteShort(n.Text), list(f.enum))
	}
	if !f.within(v) {
		d.report(n, path, "", "%s is out of range; write %s", short(n.Text), wantName(f))
	}
}

// profileNode makes the node of a profile's default. It stands where the plan names
// the profile.
func (d *decoder) profileNode(value any) *store.YAMLNode {
	n := &store.YAMLNode{Line: d.profile.node.Line, Col: d.profile.node.Col}
	d.sources[n] = origin{name: d.profile.name}
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Slice:
		n.Kind = store.YAMLList
		for i := range v.Len() {
			n.Items = append(n.Items, d.profileNode(v.Index(i).Interface()))
		}
	case reflect.Map:
		n.Kind = store.YAMLMap
		for _, key := range sortedKeys(v) {
			n.Keys = append(n.Keys, d.profileNode(key))
			n.Items = append(n.Items, d.profileNode(v.MapIndex(reflect.ValueOf(key)).Interface()))
		}
	default:
		n.Text = fmt.Sprint(value)
	}
	return n
}

// describe names what a node is, for messages.
func describe(n *store.YAMLNode) string {
	switch {
	case n.Kind == store.YAMLMap:
		return "a mapping"
	case n.Kind == store.YAMLList:
		return fmt.Sprintf("a list of %d", len(n.Items))
	case isNull(n):
		return "nothing"
	}
	_, isNumber := parseFloat(n.Text)
	_, isBool := parseBool(n.Text)
	if !n.Quoted && (isNumber || isBool) {
		return short(n.Text)
	}
	return "the text " + quoteShort(n.Text)
}

// textMax is how many characters of a value are repeated in a message.
const textMax = 48

func short(s string) string {
	if utf8.RuneCountInString(s) > textMax {
		return string([]rune(s)[:textMax]) + "…"
	}
	return s
}

func quoteShort(s string) string { return fmt.Sprintf("%q", short(s)) }

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
