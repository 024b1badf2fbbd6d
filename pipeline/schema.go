package pipeline

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// Schema returns the JSON Schema (draft 2020-12) of the plans that r can read, for
// editors. It comes from the structs that decode them. It accepts every plan that
// [ParsePlan] accepts, but not the reverse: rules between fields and the flow of data
// are beyond it. The text is the same for the same registry.
func (r *Registry) Schema() ([]byte, error) {
	s := r.reflectSchema(reflect.TypeFor[Plan](), reflect.ValueOf(newPlan("")).Elem())
	s.Version, s.Type, s.Extras = jsonschema.Version, "object", nil
	s.Title = "bzdata plan"
	s.Definitions = jsonschema.Definitions{"variable": {
		Type: "string", Pattern: `\$\{[^}]*\}`,
		Description: "A value with a variable: ${name}, or ${env:NAME}.",
	}}
	text, err := json.MarshalIndent(s, "", "  ")
	return append(text, '\n'), err
}

// reflectSchema derives the schema of a struct from its types and tags.
func (r *Registry) reflectSchema(t reflect.Type, def reflect.Value) *jsonschema.Schema {
	reflector := jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, FieldNameTag: "yaml",
		Mapper: r.mapType,
	}
	s := reflector.ReflectFromType(t)
	s.Version = ""
	r.decorate(s, t, def)
	return s
}

// mapType gives the schema of types whose form in a plan is not that of the Go type.
func (r *Registry) mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Bytes]():
		units := make([]string, len(byteUnits))
		for i, u := range byteUnits {
			units[i] = u.name
		}
		pattern := `^[0-9._eE+]+ ?(` + strings.Join(units, "|") + `)?$|\$\{`
		return &jsonschema.Schema{Pattern: pattern, Extras: types("string", "integer")}
	case reflect.TypeFor[Paths]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Extras: types("string", "number")},
			{Type: "array", Items: &jsonschema.Schema{Extras: types("string", "number")}},
		}}
	case reflect.TypeFor[Texts]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Extras: types("string", "number", "boolean")},
			{Type: "array", Items: &jsonschema.Schema{Extras: types("string", "number", "boolean")}},
		}}
	case reflect.TypeFor[Vars]():
		return &jsonschema.Schema{
			PropertyNames:        &jsonschema.Schema{Pattern: "^[A-Za-z_][A-Za-z0-9_]*$"},
			AdditionalProperties: &jsonschema.Schema{Extras: types("string", "number", "boolean", "null")},
			Extras:               types("object", "null"),
		}
	case reflect.TypeFor[GroupChoice]():
		return GroupChoice{}.schema()
	case reflect.TypeFor[Step]():
		return r.stepSchema()
	}
	if reflect.PointerTo(t).Implements(textType) {
		return &jsonschema.Schema{Extras: types("string", "number", "boolean")}
	}
	return nil
}

// stepSchema is an object with one kind of stage as its key, and an optional id.
func (r *Registry) stepSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type: "object", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema,
	}
	s.Properties.Set("id", &jsonschema.Schema{
		Type: "string", Description: "Name of the stage, for --set and reports. Default: its kind.",
	})
	for _, k := range r.Kinds() {
		config := r.reflectSchema(k.config, k.def)
		config.Description = k.Summary
		s.Properties.Set(k.Name, config)
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: []string{k.Name}})
	}
	return s
}

func types(names ...string) map[string]any { return map[string]any{"type": names} }

// decorate adds to the schema of a struct what the tags of its fields say.
func (r *Registry) decorate(s *jsonschema.Schema, t reflect.Type, def reflect.Value) {
	s.Required = nil
	s.Type, s.Extras = "", types("object", "null") // a key with nothing behind it: the defaults
	for _, f := range fieldsOf(t) {
		p, ok := s.Properties.Get(f.key)
		switch {
		case !ok:
			continue
		case f.hidden:
			s.Properties.Delete(f.key)
			continue
		case f.required && f.alias == "" && f.unless == "" && def.FieldByIndex(f.index).IsZero():
			s.Required = append(s.Required, f.key)
		}
		p = r.decorateField(p, f, def.FieldByIndex(f.index))
		s.Properties.Set(f.key, p)
		if f.alias != "" {
			same := *p
			same.Description, same.Default = "The same as "+f.key+".", nil
			s.Properties.Set(f.alias, &same)
		}
	}
}

func (r *Registry) decorateField(p *jsonschema.Schema, f field, def reflect.Value) *jsonschema.Schema {
	t := elem(f.typ)
	r.decorateType(p, f, t, def)
	if t == reflect.TypeFor[HeldOut]() {
		inputs := r.reflectSchema(reflect.TypeFor[Input](), newElement(reflect.TypeFor[Input]()).Elem())
		one := uint64(1)
		p = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{p, {Type: "array", Items: inputs, MinItems: &one}}}
	}
	if t == reflect.TypeFor[KeepPolicy]() {
		words := &jsonschema.Schema{}
		for _, word := range keepWords {
			words.Enum = append(words.Enum, word)
		}
		p = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{words, {Ref: "#/$defs/variable"}, p}}
	}
	p.Description = f.doc
	if f.min+f.max != "" && t == reflect.TypeFor[Bytes]() {
		p.Description += " From " + f.min + " to " + f.max + "."
	}
	if shown := defaultOf(f, def); shown != nil {
		p.Default = shown
	}
	return p
}

// decorateType bounds the schema of a type, or of its elements.
func (r *Registry) decorateType(p *jsonschema.Schema, f field, t reflect.Type, def reflect.Value) {
	special := r.mapType(t) != nil
	switch {
	case t == reflect.TypeFor[Texts]() && len(f.enum) > 0:
		decorateScalar(p.AnyOf[0], f, reflect.TypeFor[string]())
		decorateScalar(p.AnyOf[1].Items, f, reflect.TypeFor[string]())
	case special:
	case isRecord(t):
		if def.Kind() == reflect.Pointer || def.Type() != t {
			def = newElement(t).Elem()
		}
		r.decorate(p, t, def)
	case t.Kind() == reflect.Slice:
		if one := uint64(1); f.required {
			p.MinItems = &one
		}
		r.decorateType(p.Items, f, elem(t.Elem()), newElement(elem(t.Elem())).Elem())
	case t.Kind() == reflect.Map:
		r.decorateType(p.AdditionalProperties, f, elem(t.Elem()), newElement(elem(t.Elem())).Elem())
	default:
		decorateScalar(p, f, t)
	}
}

// decorateScalar bounds a scalar, and admits a variable in its place.
func decorateScalar(p *jsonschema.Schema, f field, t reflect.Type) {
	if t.Kind() == reflect.String && len(f.enum) == 0 {
		p.Type, p.Extras = "", types("string", "number", "boolean")
		return
	}
	value := &jsonschema.Schema{Type: p.Type, Minimum: json.Number(f.min), Maximum: json.Number(f.max)}
	if f.min == "" && reflect.Zero(t).CanUint() {
		value.Minimum = "0"
	}
	for _, e := range f.enum {
		value.Enum = append(value.Enum, e)
	}
	choices := []*jsonschema.Schema{value, {Ref: "#/$defs/variable"}}
	if f.typ.Kind() == reflect.Pointer {
		choices = append(choices, &jsonschema.Schema{Type: "null"})
	}
	*p = jsonschema.Schema{AnyOf: choices}
}

// defaultOf is the default of a field as a plan would have it, or nil if there is none
// worth showing.
func defaultOf(f field, def reflect.Value) any {
	for def.Kind() == reflect.Pointer && !def.IsNil() {
		def = def.Elem()
	}
	if keep, ok := def.Interface().(KeepPolicy); ok && keep.Word != "" {
		return keep.Word
	}
	x, isNumber := number(def)
	low, bounded := parseBound(def.Type(), f.min)
	switch {
	case bounded && isNumber && x < low: // stands for "not set"
		return nil
	case f.required && def.IsZero(), def.Kind() == reflect.Pointer, isRecord(def.Type()):
		return nil
	case def.Kind() == reflect.Slice && def.Len() == 0, def.Kind() == reflect.Map && def.Len() == 0:
		return nil
	case def.IsZero() && !isNumber && def.Kind() != reflect.Bool:
		return nil
	}
	return canonical(def)
}
