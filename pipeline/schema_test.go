package pipeline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

func TestSchemaText(t *testing.T) {
	text, err := toyRegistry().Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "toy.schema.json"), string(text))
	again, err := toyRegistry().Schema()
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("two schemas of one registry differ (%v)", err)
	}
}

func TestReferenceText(t *testing.T) {
	var b strings.Builder
	if err := toyRegistry().WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "toy.reference.md"), b.String())
}

// TestSchemaAgainstPlans checks the schema with a small validator: every good plan must
// pass, and so must no plan whose mistake is one of structure, type, name or bounds.
func TestSchemaAgainstPlans(t *testing.T) {
	v := newValidator(t)
	for file, src := range plans(t, ".good.yaml") {
		if errs := v.plan(t, src); len(errs) > 0 {
			t.Errorf("%s: the schema refuses a good plan: %s", file, strings.Join(errs, "; "))
		}
	}
	for _, k := range toyKinds() {
		example := strings.ReplaceAll(k.Example, "\n", "\n    ")
		src := "input: [{path: a}]\nstages:\n  - " + example + "\n"
		if errs := v.plan(t, []byte(src)); len(errs) > 0 {
			t.Errorf("the schema refuses the example of %s: %s", k.Name, strings.Join(errs, "; "))
		}
	}
	for _, name := range []string{
		"config_not_indented", "empty_input", "empty_stages", "enum", "held_out_empty_list", "held_out_list",
		"held_out_text", "missing_required", "negative_fraction", "not_a_mapping", "only_text", "out_of_range",
		"stage_config_is_text", "stage_is_text", "stage_without_kind", "stages_is_mapping", "two_stages_in_one_item",
		"unknown_held_out_key", "unknown_input_key", "unknown_list_key", "unknown_nested_key", "unknown_network_key",
		"unknown_section", "unknown_stage", "unknown_stage_key", "vars_not_mapping", "wrong_types", "wrong_types_stage",
	} {
		src, ok := plans(t, ".bad.yaml")[filepath.Join("testdata", "plans", name+".bad.yaml")]
		if !ok {
			t.Errorf("%s: no such plan", name)
		} else if errs := v.plan(t, src); len(errs) == 0 {
			t.Errorf("%s: the schema accepts a bad plan", name)
		}
	}
}

// validator understands the words of JSON Schema that the generated schema uses, and
// fails on others.
type validator struct {
	root map[string]any
	errs []string
}

func newValidator(t *testing.T) *validator {
	t.Helper()
	text, err := toyRegistry().Schema()
	if err != nil {
		t.Fatal(err)
	}
	v := &validator{}
	if err := json.Unmarshal(text, &v.root); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *validator) plan(t *testing.T, src []byte) []string {
	t.Helper()
	root, problems := store.ParseYAML(src)
	if len(problems) > 0 {
		t.Fatalf("%v", problems)
	}
	v.errs = nil
	v.check("plan", v.root, plain(root))
	return v.errs
}

// plain gives a tree the types of YAML 1.2.
func plain(n *store.YAMLNode) any {
	switch n.Kind {
	case store.YAMLMap:
		out := map[string]any{}
		for i, key := range n.Keys {
			out[key.Text] = plain(n.Items[i])
		}
		return out
	case store.YAMLList:
		out := []any{}
		for _, item := range n.Items {
			out = append(out, plain(item))
		}
		return out
	}
	if n.Quoted {
		return n.Text
	}
	switch n.Text {
	case "", "~", "null":
		return nil
	case "true", "false":
		return n.Text == "true"
	}
	if i, err := strconv.ParseInt(n.Text, 0, 64); err == nil {
		return float64(i)
	}
	if x, err := strconv.ParseFloat(n.Text, 64); err == nil {
		return x
	}
	return n.Text
}

func (v *validator) fail(path, format string, args ...any) {
	v.errs = append(v.errs, path+": "+fmt.Sprintf(format, args...))
}

func (v *validator) check(path string, schema any, x any) {
	if allowed, ok := schema.(bool); ok {
		if !allowed {
			v.fail(path, "not allowed")
		}
		return
	}
	s := schema.(map[string]any)
	for word, arg := range s {
		switch word {
		case "$schema", "$defs", "title", "description", "default", "additionalProperties":
		case "$ref":
			name := strings.TrimPrefix(arg.(string), "#/$defs/")
			v.check(path, v.root["$defs"].(map[string]any)[name], x)
		case "type":
			v.checkType(path, arg, x)
		case "enum":
			if !slices.Contains(arg.([]any), x) {
				v.fail(path, "%v is none of %v", x, arg)
			}
		case "anyOf", "oneOf":
			v.checkAny(path, word, arg.([]any), x)
		case "items":
			for i, item := range asList(x) {
				v.check(fmt.Sprintf("%s[%d]", path, i), arg, item)
			}
		case "minItems":
			if list, ok := x.([]any); ok && len(list) < int(arg.(float64)) {
				v.fail(path, "too few items")
			}
		case "minimum", "maximum":
			n, ok := x.(float64)
			if ok && (word == "minimum" && n < arg.(float64) || word == "maximum" && n > arg.(float64)) {
				v.fail(path, "%v breaks %s %v", n, word, arg)
			}
		case "pattern":
			if text, ok := x.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(text) {
				v.fail(path, "%q does not match %s", text, arg)
			}
		case "properties", "required", "propertyNames":
			v.checkObject(path, word, s, x)
		default:
			v.fail(path, "the validator does not know %s", word)
		}
	}
	v.checkAdditional(path, s, x)
}

func asList(x any) []any {
	list, _ := x.([]any)
	return list
}

func (v *validator) checkAny(path, word string, choices []any, x any) {
	passed := 0
	for _, c := range choices {
		try := &validator{root: v.root}
		if try.check(path, c, x); len(try.errs) == 0 {
			passed++
		}
	}
	if passed == 0 || word == "oneOf" && passed > 1 {
		v.fail(path, "%d choices of %s pass", passed, word)
	}
}

func (v *validator) checkType(path string, arg, x any) {
	names := []any{arg}
	if list, ok := arg.([]any); ok {
		names = list
	}
	got := "object"
	switch x := x.(type) {
	case nil:
		got = "null"
	case bool:
		got = "boolean"
	case string:
		got = "string"
	case []any:
		got = "array"
	case float64:
		got = "number"
		if x == math.Trunc(x) && slices.Contains(names, any("integer")) {
			got = "integer"
		}
	}
	if !slices.Contains(names, any(got)) {
		v.fail(path, "%s is none of %v", got, names)
	}
}

func (v *validator) checkObject(path, word string, s map[string]any, x any) {
	object, ok := x.(map[string]any)
	if !ok {
		return
	}
	switch word {
	case "properties":
		for key, sub := range s[word].(map[string]any) {
			if value, ok := object[key]; ok {
				v.check(path+"."+key, sub, value)
			}
		}
	case "required":
		for _, key := range s[word].([]any) {
			if _, ok := object[key.(string)]; !ok {
				v.fail(path, "%s is missing", key)
			}
		}
	case "propertyNames":
		for key := range object {
			v.check(path, s[word], key)
		}
	}
}

func (v *validator) checkAdditional(path string, s map[string]any, x any) {
	object, isObject := x.(map[string]any)
	additional, ok := s["additionalProperties"]
	if !isObject || !ok {
		return
	}
	known, _ := s["properties"].(map[string]any)
	for key, value := range object {
		if _, ok := known[key]; !ok {
			v.check(path+"."+key, additional, value)
		}
	}
}

// TestExamples decodes what the documentation of each kind shows.
func TestExamples(t *testing.T) {
	for _, k := range toyKinds() {
		step, err := toyRegistry().ParseExample(k)
		if err != nil || step.Kind.Name != k.Name || step.Config == nil {
			t.Errorf("example of %s: %v", k.Name, err)
		}
	}
	bad := pipeline.Spec[struct{}]{Name: "bad", Example: "bad: {x: 1}", New: built[struct{}]("bad")}.Kind()
	if _, err := pipeline.NewRegistry(bad).ParseExample(bad); err == nil {
		t.Error("an example with an unknown key is accepted")
	}
	other := pipeline.Spec[struct{}]{Name: "other", Example: "bad: {}", New: built[struct{}]("other")}.Kind()
	if _, err := pipeline.NewRegistry(bad, other).ParseExample(other); err == nil {
		t.Error("an example of another kind is accepted")
	}
}
