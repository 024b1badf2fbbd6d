package stages_test

import (
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

const starvedPlan = `
network: {profile: connito}
input:
  - {path: "*.jsonl", source: gsm8k}
  - {path: "*.jsonl", source: allenai/c4}
  - {path: "*.jsonl", source: mine}
evaluate: {sources_from: config.yaml, mirror: mirror}
stages:
  - domain: {reference: ref.jsonl}
  - mix: {weights: WEIGHTS}
`

const starvedConfig = `group_id: 0
data:
  dataset_sources:
    - {path: openai/gsm8k, name: main, weight: 0.5}
    - {path: allenai/c4, name: en, weight: 0.3}
    - {path: allenai/c4, name: de, weight: 0.1}
    - {path: wiki/text, weight: 0.1}
`

func starvedOf(t *testing.T, weights string) *pipeline.Plan {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), starvedConfig)
	opt := pipeline.ParseOptions{Complete: stages.Complete,
		Profile: func(name string) (map[string]any, string, error) { return nil, name + "@1", nil }}
	src := strings.Replace(starvedPlan, "WEIGHTS", weights, 1)
	plan, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(src), stages.All(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestStarvedByMix compares shares with weights: gsm8k has 50 %, the two of c4 together 40 %.
func TestStarvedByMix(t *testing.T) {
	for weights, want := range map[string]string{
		"{gsm8k: 1, allenai/c4: 1}":          "",
		"{gsm8k: 25, allenai/c4: 75}":        "", // just half
		"{gsm8k: 24, allenai/c4: 76}":        "gives 24.0 % to source gsm8k, which validators weigh 50.0 %",
		"{gsm8k: 1}":                         "gives 0.0 % to source allenai/c4, which validators weigh 40.0 %",
		"{gsm8k: 3, allenai/c4: 2, mine: 1}": "",
		"{mine: 1}":                          "gives 0.0 % to source allenai/c4, which",
	} {
		said, err := stages.Starved(starvedOf(t, weights), store.OS(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(said["mix"], "\n")
		if !strings.HasPrefix(got, want) || want == "" && got != "" || len(said["domain"]) > 0 {
			t.Errorf("%s: %q, want %q", weights, got, want)
		}
		if weights == "{mine: 1}" && len(said["mix"]) != 2 {
			t.Errorf("%s: %q", weights, said["mix"])
		}
	}
}

// TestStarvedByDomain reads what a run has dropped of each source.
func TestStarvedByDomain(t *testing.T) {
	plan := starvedOf(t, "{gsm8k: 1, allenai/c4: 1}")
	res := &pipeline.Result{Stages: []pipeline.StageResult{{Label: "mix"}, {Label: "domain", Ledger: &pipeline.Ledger{
		Sources: map[string]*pipeline.SourceLedger{"gsm8k": {In: 10, Kept: 5}, "allenai/c4": {In: 10, Kept: 4}, "mine": {In: 10}}}}}}
	if err := stages.NoteStarved(plan, store.OS(), res); err != nil {
		t.Fatal(err)
	}
	notes := res.Stages[1].Notes
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "warning: dropped 6 of 10 documents of source allenai/c4, which validators weigh 40.0 %") ||
		len(res.Stages[0].Notes) > 0 {
		t.Errorf("%q", notes)
	}
	plan.Evaluate = nil
	if said, err := stages.Starved(plan, store.OS(), nil); err != nil || said != nil {
		t.Errorf("%v, %v without evaluate", said, err)
	}
}
