package stages

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/stages/quality"
)

// Quality is the configuration of the quality stage.
type Quality struct {
	Preset string             `yaml:"preset" required:"true" enum:"gopher-paper|fineweb|connito" doc:"Named set of rules."`
	Limits map[string]float64 `yaml:"limits" doc:"Other limits, by the name of the rule."`
}

func qualitySpec() pipeline.Spec[Quality] {
	return pipeline.Spec[Quality]{
		Name: "quality", Version: 1,
		Summary: "Drops documents that fail a named set of rules about their text.",
		Doc:     qualityDoc(),
		Example: `
quality:
  preset: gopher-paper
  limits: {word_count_min: 30}`,
		Takes: documentsOnly, Makes: documentsOnly,
		New: func(c Quality) (pipeline.Program, error) { return c.program() },
	}
}

// qualityDoc lists every preset's rules, from the presets themselves.
func qualityDoc() string {
	var b strings.Builder
	b.WriteString("A document is dropped for the first rule that it fails, in the order of the preset's source. The\n" +
		"rule's name is the reason in the drop log, with the measured value.\n")
	for _, name := range quality.Presets() {
		rules, err := quality.Preset(name)
		if err != nil {
			continue // unreachable: Presets lists what Preset knows, which a test checks
		}
		fmt.Fprintf(&b, "\n`%s`:\n\n", name)
		for _, r := range rules.Describe() {
			fmt.Fprintf(&b, "- `%s`: %s %s %g (%s)\n", r.Name, r.Measure, r.Bound, r.Limit, r.Source)
		}
	}
	return b.String()
}

// Check reports limits of rules that the preset does not have.
func (c *Quality) Check(at *pipeline.Fields) {
	rules, err := quality.Preset(c.Preset)
	if err != nil {
		return // the list of names has been checked already
	}
	var known []string
	for _, r := range rules.Describe() {
		known = append(known, r.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Limits)) {
		if !slices.Contains(known, name) {
			at.Errorf("limits", "%s has no rule %s; its rules are %s", c.Preset, name, strings.Join(known, ", "))
		}
	}
}

func (c Quality) program() (pipeline.Program, error) {
	rules, err := quality.Preset(c.Preset)
	if err != nil {
		return pipeline.Program{}, err
	}
	if rules, err = rules.With(c.Limits); err != nil {
		return pipeline.Program{}, err
	}
	open := func(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
		scratch := &quality.Scratch{}
		return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
			v := rules.Judge(d.Text, scratch)
			if !v.Keep {
				out.Detail("%s, limit %g", v.Measure, v.Limit)
				out.Drop(v.Reason, v.Value)
			}
			return nil
		}), nil
	}
	return pipeline.Program{Passes: []pipeline.Pass{{Open: open}}}, nil
}
