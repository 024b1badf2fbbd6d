package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/stages/quality"
)

// Quality is the configuration of the quality stage.
type Quality struct {
	Preset     pipeline.Texts     `yaml:"preset" enum:"gopher-paper|fineweb|gopher-datatrove|c4-tfds|c4-datatrove|dclm|madlad|code|connito" doc:"Named sets of rules, applied in this order."`
	Limits     map[string]float64 `yaml:"limits" doc:"Other limits, by the name of the preset's rule."`
	DropIf     pipeline.Texts     `yaml:"drop_if" doc:"Conditions on measurements; a document for which one is true is dropped."`
	PerMessage bool               `yaml:"per_message" doc:"Lets a preset that removes lines edit each message of a conversation by itself."`
}

func qualitySpec() pipeline.Spec[Quality] {
	return pipeline.Spec[Quality]{
		Name: "quality", Version: 3,
		Summary: "Drops documents that fail named sets of rules, or rules of one's own, about their text.",
		Doc:     qualityDoc(),
		Example: `
quality:
  preset: [fineweb, gopher-paper]
  limits: {word_count_min: 30}
  drop_if:
    - mean_word_length > 9 and stop_words < 3
    - "mostly digits: alpha_word_ratio < 0.5"`,
		Takes: documentsOnly, Makes: documentsOnly,
		New: func(c Quality) (pipeline.Program, error) { return c.program() },
	}
}

// qualityDoc lists every preset's rules and every measurement, from the presets themselves.
func qualityDoc() string {
	var b strings.Builder
	b.WriteString(code(`
A document is dropped for the first rule that it fails, in the order of the presets and of their
sources, and then for the first condition of ‹drop_if› that is true. The rule's name is the reason in
the drop log, with the measured value; a condition's reason is its text, or the name before its colon.
What several rules need is measured once.

A condition compares measurements and numbers with < <= > >= == != and joins comparisons with ‹and›,
‹or›, ‹not› and parentheses: ‹mean_word_length > 10 and not (word_count < 100 or stop_words >= 2)›.

A preset that removes lines judges what the source of its rules judges and passes on the lines that are
left; removed lines are counted by reason. A conversation's messages are edited one by one, and only with
‹per_message: true›; it is judged as a whole.
`))
	for _, name := range quality.Presets() {
		rules, err := quality.Preset(name)
		if err != nil {
			continue // unreachable: Presets lists what Preset knows, which a test checks
		}
		fmt.Fprintf(&b, "\n`%s`: %s\n\n", name, rules.Doc())
		for _, r := range rules.Describe() {
			fmt.Fprintf(&b, "- `%s`: %s %s %g (%s)\n", r.Name, r.Measure, r.Bound, r.Limit, r.Source)
		}
	}
	b.WriteString("\nMeasurements:\n\n")
	for _, m := range quality.Measurements() {
		fmt.Fprintf(&b, "- `%s`: %s\n", m.Name, m.Doc)
	}
	return b.String()
}

// Check reports a configuration without rules, limits of rules that no preset has,
// conditions that cannot be read, and presets that would remove lines from conversations.
func (c *Quality) Check(at *pipeline.Fields) {
	if len(c.Preset) == 0 && len(c.DropIf) == 0 {
		at.Errorf("", "there is no rule; set preset, one of %s, or drop_if", strings.Join(quality.Presets(), ", "))
		return
	}
	for i, text := range c.DropIf {
		checkCondition(at, c.conditionKey(i), text)
	}
	c.checkLimits(at)
	chain, err := c.chain()
	if err != nil || c.PerMessage || !chain.Edits() {
		return
	}
	for i, in := range at.Plan().Input {
		if in.Messages != "" {
			at.Errorf("preset", "it removes lines, and input[%d] has messages; set per_message: true, to edit each by itself", i)
		}
	}
}

// conditionKey is where the condition stands.
func (c *Quality) conditionKey(i int) string {
	if len(c.DropIf) == 1 {
		return "drop_if"
	}
	return fmt.Sprintf("drop_if[%d]", i)
}

// checkCondition reports a condition that cannot be read.
func checkCondition(at *pipeline.Fields, key, text string) {
	_, err := quality.ParseCondition(text)
	var wrong *quality.ParseError
	switch {
	case err == nil:
	case errors.As(err, &wrong) && wrong.Unknown != "":
		hint := pipeline.Suggest(wrong.Unknown, quality.MeasurementNames())
		if hint == "" {
			hint = "bzdata stages quality lists them"
		}
		at.Errorf(key, "%v; %s", err, hint)
	default:
		at.Errorf(key, "%v", err)
	}
}

// checkLimits reports limits that belong to no rule of the presets, or to several.
func (c *Quality) checkLimits(at *pipeline.Fields) {
	if len(c.Preset) == 0 && len(c.Limits) > 0 {
		at.Errorf("limits", "these are of rules of presets, and preset is not set; set it, or write the limits in drop_if")
		return
	}
	owners, known := map[string][]string{}, []string{}
	for _, name := range c.Preset {
		rules, err := quality.Preset(name)
		if err != nil {
			return // the list of names has been checked already
		}
		for _, r := range rules.Describe() {
			owners[r.Name] = append(owners[r.Name], name)
			known = append(known, r.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Limits)) {
		switch n := len(owners[name]); {
		case n == 0:
			at.Errorf("limits", "%s has no rule %s; %s", strings.Join(c.Preset, " and "), name,
				cmp.Or(pipeline.Suggest(name, known), "its rules are "+strings.Join(known, ", ")))
		case n > 1:
			at.Errorf("limits", "%s each have a rule %s; use a quality stage for each", strings.Join(owners[name], " and "), name)
		}
	}
}

// chain builds what the configuration asks for.
func (c Quality) chain() (*quality.Chain, error) {
	chain := &quality.Chain{}
	for _, name := range c.Preset {
		rules, err := quality.Preset(name)
		if err != nil {
			return nil, err
		}
		limits := map[string]float64{}
		for _, r := range rules.Describe() {
			if limit, ok := c.Limits[r.Name]; ok {
				limits[r.Name] = limit
			}
		}
		if rules, err = rules.With(limits); err != nil {
			return nil, err
		}
		chain.Sets = append(chain.Sets, rules)
	}
	for _, text := range c.DropIf {
		condition, err := quality.ParseCondition(text)
		if err != nil {
			return nil, err
		}
		chain.Drops = append(chain.Drops, condition)
	}
	return chain, nil
}

func (c Quality) program() (pipeline.Program, error) {
	chain, err := c.chain()
	if err != nil {
		return pipeline.Program{}, err
	}
	open := func(context.Context, *pipeline.Task) (pipeline.Mapper, error) { return &qualifier{chain: chain}, nil }
	return pipeline.Program{Passes: []pipeline.Pass{{Edits: chain.Edits(), Open: open}}}, nil
}

// qualifier judges the documents of one shard.
type qualifier struct {
	chain   *quality.Chain
	scratch quality.Scratch
}

// Map judges one document and edits it if it stays.
func (q *qualifier) Map(d *pipeline.Doc, out *pipeline.Out) error {
	text, v := q.chain.Judge(d.Text, &q.scratch)
	switch {
	case v.Keep && text == d.Text:
		return nil
	case v.Keep:
		return q.edit(d, text, out)
	case v.Detail != "":
		out.Detail("%s", v.Detail)
	default:
		out.Detail("%s, limit %g", v.Measure, v.Limit)
	}
	out.Drop(v.Reason, v.Value)
	return nil
}

// edit gives a document the text that is left of it.
func (q *qualifier) edit(d *pipeline.Doc, text string, out *pipeline.Out) error {
	count := func(kind string, n int) { out.Edit(kind, int64(n)) }
	out.Edit("documents", 1)
	if d.Messages == nil {
		q.scratch.Edits(count)
		d.SetText(text)
		return nil
	}
	for i := range d.Messages {
		d.Messages[i].Content = q.chain.Edit(d.Messages[i].Content, &q.scratch)
		q.scratch.Edits(count)
	}
	return d.SetMessages(d.Messages)
}
