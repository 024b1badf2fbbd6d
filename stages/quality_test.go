package stages_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/stages"
)

// TestQualityMistakes has the messages that a plan's author sees.
func TestQualityMistakes(t *testing.T) {
	for step, want := range map[string]string{
		`{drop_if: "mean_word_lenth > 10"}`: `drop_if: at character 1 of "mean_word_lenth > 10": no measurement is named mean_word_lenth; ` +
			`did you mean "mean_word_length"?`,
		`{drop_if: quatsch > 10}`: `no measurement is named quatsch; bzdata stages quality lists them`,
		`{drop_if: [stop_words < 2, (word_count > 3]}`: `drop_if[1]: at character 1 of "(word_count > 3": this parenthesis is not ` +
			`closed before the end; add a )`,
		`{preset: conito}`:            `preset: "conito" is none of gopher-paper, fineweb`,
		`{preset: [fineweb, conito]}`: `preset[1]: "conito" is none of gopher-paper, fineweb`,
		`{}`:                          `quality: there is no rule; set preset, one of gopher-paper, fineweb`,
		`{preset: []}`:                `quality: there is no rule; set preset`,
		`{preset: fineweb, limits: {word_min: 4}}`:             `limits: fineweb has no rule word_min; its rules are empty, line_punct_ratio`,
		`{preset: gopher-paper, limits: {word_count_mn: 4}}`:   `limits: gopher-paper has no rule word_count_mn; did you mean "word_count_min"?`,
		`{drop_if: "stop_words < 80%"}`:                        `drop_if: at character 14 of "stop_words < 80%": numbers have no %; write 0.8, if the measurement is a share`,
		`{preset: [fineweb, connito], limits: {empty: 4}}`:     `limits: fineweb and connito each have a rule empty; use a quality stage for each`,
		`{drop_if: [word_count > 1], limits: {word_count: 4}}`: `limits: these are of rules of presets, and preset is not set; set it, or write the limits in drop_if`,
	} {
		_, err := pipeline.ParsePlan("p.yaml", []byte("name: p\ninput: [{path: a}]\nstages:\n  - quality: "+step+"\n  - export: {}\n"),
			stages.All(), pipeline.ParseOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", step, err, want)
		}
	}
}

// TestQualityStage runs presets and conditions together and reads the drop log.
func TestQualityStage(t *testing.T) {
	dir := t.TempDir()
	keep := strings.Repeat("Anna counted the boats, and then she wrote the number down in her book with care. ", 3) + "Yes."
	jsonl(t, filepath.Join(dir, "a.jsonl"), keep, "short", strings.Repeat("lo ", 100), "a \u20ac 7 8 9 10 11 12 "+keep)
	plan := `
name: p
input: [{path: a.jsonl}]
stages:
  - quality:
      preset: [connito, fineweb]
      limits: {characters_min: 10}
      drop_if: [mean_word_length < 2.5, "digits: alpha_word_ratio < 0.9 and characters > 3"]
  - export: {}
`
	opt := options(dir)
	res := run(t, dir, plan, opt)
	l := ledger(t, res, "quality")
	if l.Kept != 1 || l.Dropped["characters_min"] != 1 || l.Dropped["line_punct_ratio"] != 1 || l.Dropped["digits"] != 1 {
		t.Errorf("kept %d, dropped %v", l.Kept, l.Dropped)
	}
}

// TestQualityEdits runs a preset that removes lines, on plain text and on conversations.
func TestQualityEdits(t *testing.T) {
	dir := t.TempDir()
	lines := "This is one of the lines.\nmenu\nThis is the second of them.\nThis is a third line.\nAnd here is one more.\nIt ends here now."
	left := strings.ReplaceAll(lines, "menu\n", "")
	jsonl(t, filepath.Join(dir, "a.jsonl"), lines, "Too short.", left)
	talk := fmt.Sprintf(`{"messages":[{"role":"user","content":%q,"x":1},{"role":"bot","content":"menu"}]}`, lines)
	write(t, filepath.Join(dir, "b.jsonl"), talk+"\n")
	plan := "name: p\ninput: [{path: a.jsonl}, {path: b.jsonl, messages: messages}]\nstages:\n" +
		"  - quality: {preset: c4-datatrove}\n  - export: {format: jsonl}\n"
	reg := stages.All()
	_, err := pipeline.ParsePlan("p.yaml", []byte(plan), reg, pipeline.ParseOptions{})
	want := "preset: it removes lines, and input[1] has messages; set per_message: true, to edit each by itself"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want %s", err, want)
	}
	opt := options(dir)
	res := run(t, dir, strings.Replace(plan, "c4-datatrove}", "c4-datatrove, per_message: true}", 1), opt)
	l := ledger(t, res, "quality")
	if l.Kept != 3 || l.Dropped["too_few_sentences"] != 1 || l.Edits["documents"] != 2 || l.Edits["lines_no_end_mark"] != 3 {
		t.Errorf("kept %d, dropped %v, edits %v", l.Kept, l.Dropped, l.Edits)
	}
	all := strings.Join(exportedLines(t, opt), "\n")
	for _, want := range []string{
		fmt.Sprintf(`{"text":%q}`, left), fmt.Sprintf(`{"messages":[{"role":"user","content":%q,"x":1},{"role":"bot","content":""}]`, left),
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not among\n%s", want, all)
		}
	}
}
