package stages_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/stages"
)

// outNames are the names under out/.
func outNames(t *testing.T, opt pipeline.Options) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(opt.Workdir, "out"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(opt.Workdir, "out", e.Name())); err != nil {
			t.Errorf("out/%s leads nowhere", e.Name())
		}
		names = append(names, e.Name())
	}
	return names
}

func TestTwoStagesOfOneOutput(t *testing.T) {
	dir := corpus(t, 20)
	for steps, parts := range map[string][]string{
		"[{export: {}}, {normalize: {}}, {export: {format: jsonl}}]":                    {"export-1", "export-2", "out/data"},
		"[{export: {to: out/tokens}}, {tokenize: {sequence_length: 32}}]":               {"export", "tokenize", "out/tokens"},
		"[{export: {to: out/a}}, {export: {to: out/a, format: jsonl}, id: second}]":     {"export-1", "second", "out/a"},
		"[{tokenize: {sequence_length: 32}}, {tokenize: {sequence_length: 64}, id: b}]": {"tokenize-1", "b", "out/tokens"},
		"[{route: {}}, {export: {to: out/routing}}]":                                    {"route", "export", "out/routing"},
	} {
		plan := "name: p\nmax_reject_fraction: 0.1\nnetwork: {base: {model: base}}\ninput: [{path: data/*.jsonl, source: s}]\nstages: " + steps + "\n"
		tinyBase(t, filepath.Join(dir, "base"), problems(40))
		opt := options(dir)
		is[*pipeline.UsageError](t, fails(t, dir, plan, opt, append(parts, "plan.yaml:5", "both write")...))
		if _, err := pipeline.Outlook(parse(t, dir, plan), opt); err == nil || !strings.Contains(err.Error(), parts[2]) {
			t.Errorf("check says %v", err)
		}
		if _, err := os.Stat(opt.Workdir); err == nil {
			t.Error("the mistaken plan has made a work directory")
		}
	}
}

// TestDecontaminateStandsBeforeWhatTakesDocuments is about plans, also implied ones, in
// which documents that overlap with held-out text have left before they are looked for.
func TestDecontaminateStandsBeforeWhatTakesDocuments(t *testing.T) {
	plan := func(held, steps string) (*pipeline.Plan, error) {
		src := "name: p\nnetwork: {base: {model: base}}\ninput: [{path: data}]\n" + held + "stages: [" + steps + "]\n"
		return pipeline.ParsePlan("plan.yaml", []byte(src), stages.All(), pipeline.ParseOptions{Complete: stages.Complete})
	}
	const held = "held_out: {fraction: 0.1}\n"
	for _, taker := range []string{"export: {}", "tokenize: {}", "route: {}"} {
		_, err := plan(held, "{normalize: {}}, {"+taker+"}, {decontaminate: {}}")
		var mistakes pipeline.Diags
		name, _, _ := strings.Cut(taker, ":")
		if !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Line != 5 ||
			!strings.Contains(mistakes[0].Msg, "behind "+name) || mistakes[0].Path != "stages[2].decontaminate" {
			t.Errorf("%s before decontaminate: %v", taker, err)
		}
		if _, err := plan("", "{"+taker+"}, {decontaminate: {}}"); err != nil {
			t.Errorf("%s before decontaminate in a plan that holds nothing out: %v", taker, err)
		}
		if _, err := plan(held, "{decontaminate: {}}, {"+taker+"}, {decontaminate: {}, id: again}"); err != nil {
			t.Errorf("%s between two of decontaminate: %v", taker, err)
		}
	}
	for steps, want := range map[string]string{
		"{normalize: {}}, {exact_dedup: {}}, {export: {}}":               "normalize exact_dedup decontaminate export",
		"{exact_dedup: {}}, {export: {}}, {minhash: {}}, {tokenize: {}}": "exact_dedup decontaminate export minhash tokenize",
		"{normalize: {}}, {export: {}}, {minhash: {}}, {tokenize: {}}":   "normalize decontaminate export minhash tokenize",
		"{export: {}}, {exact_dedup: {}}, {tokenize: {}}":                "decontaminate export exact_dedup tokenize",
		"{normalize: {}}, {export: {}}":                                  "decontaminate normalize export",
		"{exact_dedup: {}}, {minhash: {}}, {mix: {weights: {data: 1}}}":  "exact_dedup minhash decontaminate mix",
	} {
		p, err := plan(held, steps)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.Stages {
			got = append(got, s.Kind.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s becomes %s, want %s", steps, got, want)
		}
	}
}

// TestNothingOldBesideARefusal runs into a check of the data, and into the gate, after runs
// of other plans that had passed: their outputs must not look like this plan's.
func TestNothingOldBesideARefusal(t *testing.T) {
	dir := corpus(t, 60)
	opt := options(dir)
	run(t, dir, smallPlan, opt)
	none := strings.Replace(smallPlan, "preset: connito", "preset: connito, limits: {characters_min: 99999}", 1)
	is[*pipeline.DataError](t, fails(t, dir, none, opt, "no document is left"))
	if names := outNames(t, opt); len(names) > 0 {
		t.Errorf("beside a run that kept nothing there is %v", names)
	}
	write(t, filepath.Join(opt.Workdir, "out", "mine.txt"), "mine")
	run(t, dir, smallPlan, opt)
	is[*pipeline.DataError](t, fails(t, dir, none, opt))
	if names := outNames(t, opt); !slices.Equal(names, []string{"mine.txt"}) {
		t.Errorf("beside a run that kept nothing there is %v", names)
	}

	dir = modelCorpus(t, 120)
	opt = options(dir)
	good := strings.Replace(modelPlan, "documents_min: 8", "documents_min: 8, confidence: 0.5", 1)
	run(t, dir, good, opt)
	all := []string{"bundle", "data", "routing", "score.json", "tokens", "update"}
	if names := outNames(t, opt); !slices.Equal(names, all) {
		t.Fatalf("a run that passed the gate has %v under out/", names)
	}
	before, err := os.ReadFile(filepath.Join(opt.Workdir, "out", "score.json"))
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.NewReplacer("max_steps: 12", "max_steps: 1", "learning_rate: 0.01", "learning_rate: 1e-12").Replace(good)
	for range 2 { // also when the refusal is remembered
		is[*pipeline.GateError](t, fails(t, dir, bad, opt))
		if names := outNames(t, opt); !slices.Equal(names, all[1:]) {
			t.Errorf("beside a refused update there is %v, want %v", names, all[1:])
		}
		after, err := os.ReadFile(filepath.Join(opt.Workdir, "out", "score.json"))
		if err != nil || string(after) == string(before) {
			t.Errorf("the score under out/ is not that of the refused update: %v", err)
		}
	}
}

// refuser is a stage that refuses, having written one of its two outputs.
type refuser struct{}

func refuserKind() pipeline.Kind {
	return pipeline.Spec[refuser]{
		Name: "refuser", Version: 1, Summary: "Refuses.", Example: "refuser: {}", Takes: []pipeline.Data{pipeline.Documents},
		New: func(refuser) (pipeline.Program, error) {
			return pipeline.Program{
				Links: []pipeline.Link{{Name: "out/why.txt", From: "why.txt"}, {Name: "out/made", From: "made"}},
				Run: func(_ context.Context, t *pipeline.Task) error {
					t.Report.Refused = "it refuses"
					return t.WriteFile("why.txt", func(w io.Writer) error { _, err := io.WriteString(w, "so"); return err })
				},
			}, nil
		},
	}.Kind()
}

func TestRefusedTaskLinksWhatItWrote(t *testing.T) {
	dir := corpus(t, 20)
	reg := pipeline.NewRegistry(append(stages.All().Kinds(), refuserKind())...)
	src := "name: p\nmax_reject_fraction: 0.1\ninput: [{path: data/*.jsonl, source: s}]\nstages: [{export: {}}, {refuser: {}}]\n"
	plan, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(src), reg, pipeline.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	opt := options(dir)
	for range 2 {
		_, err := pipeline.Run(context.Background(), plan, opt)
		is[*pipeline.GateError](t, err)
		if names := outNames(t, opt); !slices.Equal(names, []string{"data", "why.txt"}) {
			t.Errorf("under out/ there is %v", names)
		}
	}
}
