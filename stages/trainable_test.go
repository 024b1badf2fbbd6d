package stages_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"
)

// patternPlan trains what stands for WHAT, on tokens of its own, without routing.
const patternPlan = `
name: model
seed: 3
network: {base: {model: base}}
input:
  - path: data/*.jsonl
held_out: {fraction: 0.3}
stages:
  - exact_dedup: {}
  - tokenize: {sequence_length: 64}
  - train: {trainable: WHAT, max_steps: 3, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, dtype: F32}
  - proof_of_loss: {documents_min: 8}
  - bundle: {}
`

// TestTrainablePatterns trains by patterns: the update holds just the tensors that they match, and all
// of them have changed; another list is another training.
func TestTrainablePatterns(t *testing.T) {
	dir := modelCorpus(t, 200)
	base, err := checkpoint.OpenDir(store.OS(), filepath.Join(dir, "base"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	opt := options(dir)
	for what, want := range map[string][]string{
		`[model.norm.weight, "model.layers.1.mlp.experts.[13].down_proj.*"]`: {
			"model.layers.1.mlp.experts.1.down_proj.weight", "model.layers.1.mlp.experts.3.down_proj.weight", "model.norm.weight"},
		`"*.self_attn.q_proj.weight"`: {"model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight"},
	} {
		plan := parse(t, dir, strings.Replace(patternPlan, "WHAT", what, 1))
		if _, err := pipeline.Run(context.Background(), plan, opt); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		u, err := stages.OpenUpdate(store.OS(), filepath.Join(opt.Workdir, "out", "update"))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		if got := slices.Sorted(slices.Values(u.Names())); !slices.Equal(got, want) {
			t.Errorf("%s trains %q", what, got)
		}
		for _, name := range want {
			before, err := base.Bytes(name)
			after, err2 := u.Bytes(name)
			if err := errors.Join(err, err2); err != nil || bytes.Equal(before, after) {
				t.Errorf("%s: %s has not changed: %v", what, name, err)
			}
		}
	}
}

// TestTrainableMistakes checks what is refused when a plan is read.
func TestTrainableMistakes(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ what, want string }{
		{"[]", "names nothing to train"},
		{"expert", `did you mean "experts"?`},
		{"[experts, model.norm.weight]", "experts stands alone"},
		{`["model.[norm"]`, "is no pattern"},
		{"[model.norm.weight], naming: qwen3next", "use native"},
	} {
		plan := strings.Replace(patternPlan, "WHAT", c.what, 1)
		_, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(plan), stages.All(),
			pipeline.ParseOptions{Complete: stages.Complete})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestTrainableNothingMatches checks that a pattern without a tensor is refused, with names near it,
// before anything is written.
func TestTrainableNothingMatches(t *testing.T) {
	dir := modelCorpus(t, 20)
	opt := options(dir)
	plan := strings.Replace(patternPlan, "WHAT", `[model.norm.weight, "model.layers.*.mlp.expert.3.*"]`, 1)
	_, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), `matches "model.layers.*.mlp.expert.3.*"`) ||
		!strings.Contains(err.Error(), "near it are model.layers.1.mlp.experts.0.") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if store.Exists(store.OS(), filepath.Join(opt.Workdir, "out")) {
		t.Error("something was written")
	}
}
