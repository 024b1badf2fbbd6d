package pipeline

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// Step is one entry of a plan's stages.
type Step struct {
	Kind   Kind
	ID     string // unique in the plan; the kind's name unless the plan says otherwise
	Config any    // of the type of the kind's Spec
	// Line and Col are where the step stands in the file. An implied step has those of
	// the step it follows.
	Line, Col int
	// Effective lists every value of Config with its origin, in the order of its fields.
	Effective []Setting
	// Implied says that the step is not in the file.
	Implied bool

	plan   *Plan
	path   string
	reseed uint64 // not 0 in a variant whose random choices here are others
	node   *store.YAMLNode
}

// Label names the step in messages, flags and reports: its id.
func (s Step) Label() string { return s.ID }

// Program builds what the step compiles to.
func (s Step) Program() (Program, error) { return s.Kind.build(s.Config) }

// Setting is one effective value of a configuration.
type Setting struct {
	Key string `json:"key"` // relative to the configuration, such as index.dir or checks[0].above
	// Value is as a plan would have it: a scalar, a list or a map; nil if not set.
	Value any `json:"value"`
	// Origin is "plan", "--set", "default", "implied", "variant", or a profile's versioned name.
	Origin string `json:"from"`
}

// Origins of settings beside the names of profiles.
const (
	fromPlan    = "plan"
	fromFlag    = "--set"
	fromDefault = "default"
	fromImplied = "implied"
	fromVariant = "variant"
)

// stageEntry is what the tree of a plan says about a stage before it is decoded.
type stageEntry struct {
	kind   string          // the first key beside id, or empty
	id     string          // as written, or made from the kind
	idNode *store.YAMLNode // nil if the plan gives no id
	config *store.YAMLNode
}

// stageEntries reads kinds and ids off the list of stages. Stages of a kind that occurs
// several times are told apart by number: minhash-1, minhash-2.
func stageEntries(stages *store.YAMLNode) []stageEntry {
	if stages == nil || stages.Kind != store.YAMLList {
		return nil
	}
	entries, count, nth := make([]stageEntry, len(stages.Items)), map[string]int{}, map[string]int{}
	for i, item := range stages.Items {
		e := &entries[i]
		e.idNode = child(item, "id")
		for j, key := range item.Keys {
			if key.Text != "id" && e.kind == "" {
				e.kind, e.config = key.Text, item.Items[j]
			}
		}
		count[e.kind]++
	}
	for i := range entries {
		e := &entries[i]
		nth[e.kind]++
		switch {
		case e.idNode != nil:
			e.id = e.idNode.Text
		case count[e.kind] == 1:
			e.id = e.kind
		default:
			e.id = fmt.Sprintf("%s-%d", e.kind, nth[e.kind])
		}
	}
	return entries
}

// nameSteps gives every step its id, and checks those that are written.
func (d *decoder) nameSteps(root *store.YAMLNode) {
	stages := child(root, "stages")
	entries, taken := stageEntries(stages), map[string]int{}
	for i, e := range entries {
		if e.idNode == nil {
			taken[e.id] = i
		}
	}
	d.plan.Stages = nil
	d.ids = make(map[*store.YAMLNode]string, len(entries))
	for i, e := range entries {
		d.ids[stages.Items[i]] = e.id
		if e.idNode == nil || d.bad[e.idNode] {
			continue
		}
		path := join(indexed("stages", i), "id")
		_, isKind := d.reg.Lookup(e.id)
		switch other, dup := taken[e.id]; {
		case e.idNode.Kind != store.YAMLScalar || !isID(e.id):
			d.spoil(e.idNode, path, "", "want a name of lower-case letters, digits, - and _")
		case isKind || reservedKey(e.id):
			d.spoil(e.idNode, path, "", "%s is the name of a stage or section; choose another", e.id)
		case dup:
			d.spoil(e.idNode, path, "", "stages[%d] has the id %s already; choose another", other, e.id)
		}
		taken[e.id] = i
	}
}

func isID(s string) bool {
	return len(s) <= 64 && isKey(strings.ReplaceAll(s, "-", "_"))
}

// decodePlan decodes one entry of the list of stages.
func (s *Step) decodePlan(d *decoder, n *store.YAMLNode, path string, _ field) {
	s.Line, s.Col, s.path, s.node, s.ID = n.Line, n.Col, path, n, d.ids[n]
	if n.Kind != store.YAMLMap {
		hint := ""
		if _, ok := d.reg.Lookup(n.Text); ok {
			hint = "write " + n.Text + ": {}"
		}
		d.report(n, path, hint, "want a mapping with the kind of stage as its key, got %s", describe(n))
		return
	}
	var kindKey *store.YAMLNode
	ids := 0
	for i, key := range n.Keys {
		switch {
		case key.Text == "id":
			if ids++; ids > 1 {
				d.report(key, join(path, "id"), "", "set twice; remove one")
			}
		case kindKey == nil:
			kindKey = key
			s.lookupKind(d, key, n.Items[i])
		default:
			d.report(key, path, d.indentHint(kindKey.Text, key.Text),
				"a second key %s in one entry; an entry is one stage", quoteShort(key.Text))
		}
	}
	if kindKey == nil {
		d.report(n, path, "", "names no stage; write its kind as a key, such as %s: {}", d.reg.firstName())
	}
}

func (s *Step) lookupKind(d *decoder, key, config *store.YAMLNode) {
	s.path = join(s.path, short(key.Text))
	kind, ok := d.reg.Lookup(key.Text)
	if !ok {
		d.report(key, s.path, Suggest(key.Text, d.reg.Names()),
			"unknown stage; the stages are %s", list(d.reg.Names()))
		return
	}
	s.node = key
	s.decodeConfig(d, kind, config)
}

// decodeConfig decodes a configuration of a kind, whose path is s.path.
func (s *Step) decodeConfig(d *decoder, kind Kind, config *store.YAMLNode) {
	s.Kind, s.plan = kind, d.plan
	v := reflect.New(kind.config).Elem()
	v.Set(clone(kind.def))
	d.at[s.path], d.origins[s.path] = config, d.originOf(config)
	if !d.bad[config] {
		d.structure(config, s.path, v)
	}
	s.Config = v.Interface()
	s.Effective = d.settings(nil, s.path, "", v)
}

// clone copies a default with all it points to, so that no step shares it with another.
// Values with a text form are plain values and are copied as they are.
func clone(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(clone(v.Elem()))
	case v.Kind() == reflect.Slice && !v.IsNil():
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(clone(v.Index(i)))
		}
	case v.Kind() == reflect.Map && !v.IsNil():
		out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for _, key := range v.MapKeys() {
			out.SetMapIndex(key, clone(v.MapIndex(key)))
		}
	case isRecord(v.Type()):
		for _, f := range fieldsOf(v.Type()) {
			out.FieldByIndex(f.index).Set(clone(v.FieldByIndex(f.index)))
		}
	}
	return out
}

// indentHint recognises a key of the configuration that stands beside the stage's key.
func (d *decoder) indentHint(kind, key string) string {
	k, ok := d.reg.Lookup(kind)
	if ok && slices.Contains(keysOf(visible(fieldsOf(k.config))), key) {
		return fmt.Sprintf("%s is a key of %s: indent it below", key, kind)
	}
	if _, ok := d.reg.Lookup(key); ok {
		return fmt.Sprintf("start a new entry with - %s:", key)
	}
	return ""
}

func (r *Registry) firstName() string {
	if names := r.Names(); len(names) > 0 {
		return names[0]
	}
	return "KIND"
}

// Insert adds a step of a kind after the step at index after (-1: first). config is the
// YAML of its configuration, which has the plan's profile for defaults like any other.
// Insert may be called by [ParseOptions].Complete only; a mistake in config, or one that
// the configuration's Check finds, is reported as one of the plan.
func (p *Plan) Insert(after int, kind Kind, config string) {
	d := p.dec
	if d == nil {
		panic("pipeline: Insert outside of Complete")
	}
	from := origin{flag: "implied stage " + kind.Name, name: fromImplied}
	node, problems := store.ParseYAML([]byte(config))
	for _, problem := range problems {
		d.reportFlag(from.flag, "", "", "%s", problem.Msg)
	}
	if node == nil {
		node = &store.YAMLNode{Kind: store.YAMLMap}
	}
	d.mark(node, from)
	d.implied++
	path := join(indexed("implied", d.implied-1), kind.Name)
	s := Step{ID: p.freeID(kind.Name), Implied: true, path: path, node: node}
	if after >= 0 {
		s.Line, s.Col = p.Stages[after].Line, p.Stages[after].Col
	}
	s.decodeConfig(d, kind, node)
	p.Stages = slices.Insert(p.Stages, after+1, s)
}

// Mistake reports one of the step at index, with its line. It may be called by
// [ParseOptions].Complete only.
func (p *Plan) Mistake(index int, format string, args ...any) {
	if p.dec == nil {
		panic("pipeline: Mistake outside of Complete")
	}
	p.dec.report(p.Stages[index].node, p.Stages[index].path, "", format, args...)
}

// ParseExample decodes the documented example of a kind, in a plan made for it, which has
// an input of source "example", held-out documents, a base model and an expert group.
func (r *Registry) ParseExample(k Kind) (Step, error) {
	example := strings.ReplaceAll(strings.TrimSpace(k.Example), "\n", "\n    ")
	src := "input: [{path: example.jsonl}]\nheld_out: {fraction: 0.1}\n" +
		"network: {expert_group: 0, expert_groups: groups, base: {model: model}}\n" +
		"stages:\n  - " + example + "\n"
	d := newDecoder("example.yaml", []byte(src), r, ParseOptions{})
	d.alone = true
	plan, err := d.parse([]byte(src))
	switch {
	case err != nil:
		return Step{}, err
	case len(plan.Stages) != 1 || plan.Stages[0].Kind.Name != k.Name:
		return Step{}, fmt.Errorf("the example of %s must be one stage of that kind", k.Name)
	}
	return plan.Stages[0], nil
}

// freeID returns name, or the first of name-2, name-3, … that no step has.
func (p *Plan) freeID(name string) string {
	taken := func(id string) bool {
		return slices.ContainsFunc(p.Stages, func(s Step) bool { return s.ID == id })
	}
	id := name
	for i := 2; taken(id); i++ {
		id = fmt.Sprintf("%s-%d", name, i)
	}
	return id
}

// settings appends the values below v, whose path in the plan is at, with their origins.
func (d *decoder) settings(out []Setting, at, key string, v reflect.Value) []Setting {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch {
	case isRecord(v.Type()):
		for _, f := range fieldsOf(v.Type()) {
			if x := v.FieldByIndex(f.index); f.hidden && !x.IsZero() {
				return d.settings(cutBelow(out, key), at, key, x) // it stands in place of the others
			} else if !f.hidden {
				out = d.settings(out, join(at, f.key), join(key, f.key), x)
			}
		}
		return out
	case v.Kind() == reflect.Slice && isRecord(elem(v.Type().Elem())) && v.Len() > 0:
		for i := range v.Len() {
			out = d.settings(out, indexed(at, i), indexed(key, i), v.Index(i))
		}
		return out
	}
	name := d.origins[at]
	if name == "" {
		name = fromDefault
	}
	return append(out, Setting{Key: key, Value: canonical(v), Origin: name})
}

// cutBelow cuts off the settings below key.
func cutBelow(settings []Setting, key string) []Setting {
	return slices.DeleteFunc(settings, func(s Setting) bool { return strings.HasPrefix(s.Key, key+".") })
}

// Canonical is the canonical encoding of a configuration, for stage keys: JSON with every
// field, defaults included, keys sorted, sizes and durations in one spelling, and empty
// lists and maps as such whether they are nil or not. Equal configurations have equal
// encodings. It panics on numbers that are not finite, which no plan can hold.
func Canonical(config any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(canonical(reflect.ValueOf(config))); err != nil {
		panic("pipeline: configuration has no canonical form: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func canonical(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		return canonical(v.Elem())
	}
	if g, ok := v.Interface().(GroupChoice); ok && !g.Auto {
		return g.ID
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic("pipeline: configuration has no canonical form: " + err.Error())
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Struct:
		out := map[string]any{}
		for _, f := range fieldsOf(v.Type()) {
			out[f.key] = canonical(v.FieldByIndex(f.index))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for _, key := range v.MapKeys() {
			out[key.String()] = canonical(v.MapIndex(key))
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = canonical(v.Index(i))
		}
		return out
	}
	return v.Interface()
}

// sortedKeys are the keys of a map with string keys.
func sortedKeys(v reflect.Value) []string {
	var keys []string
	for _, key := range v.MapKeys() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	return keys
}
