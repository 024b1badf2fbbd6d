package stages_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
)

const tokensPlan = `
name: model
seed: 3
network: {base: {model: base}}
input: [{path: data/*.jsonl}]
held_out: {fraction: 0.3}
stages:
  - tokenize: {sequence_length: 64}
`

const fromTokensPlan = `
name: model
seed: 3
network: {base: {model: base}}
input: [{tokens: run/out/tokens}]
stages:
  - train: {trainable: all, max_steps: 6, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 0, dtype: F32}
  - proof_of_loss: {documents_min: 8}
  - bundle: {}
`

// TestInputTokens trains on the tokens of another run, to the bits of one run from documents.
func TestInputTokens(t *testing.T) {
	dir := modelCorpus(t, 200)
	whole := options(dir)
	_, training, _ := strings.Cut(fromTokensPlan, "stages:\n")
	if _, err := pipeline.Run(context.Background(), parse(t, dir, tokensPlan+training), whole); err != nil {
		t.Fatal(err)
	}
	parts := options(dir)
	parts.Workdir = filepath.Join(dir, "cycle")
	res, err := pipeline.Run(context.Background(), parse(t, dir, fromTokensPlan), parts)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Complete {
		t.Error("the run is not complete")
	}
	for _, name := range []string{"out/update", "out/bundle"} {
		got, want := map[string]string{}, map[string]string{}
		walk(t, parts.FS, filepath.Join(parts.Workdir, name), "", got)
		walk(t, whole.FS, filepath.Join(whole.Workdir, name), "", want)
		sameTree(t, name, got, want)
	}
}

// TestBadInputTokens damages what another run has made, and asks for what does not go with tokens.
func TestBadInputTokens(t *testing.T) {
	for what, c := range map[string]struct {
		damage func(t *testing.T, dir, tokens string)
		want   string
	}{
		"no description": {func(t *testing.T, _, tokens string) { remove(t, filepath.Join(tokens, "tokens.json")) }, "has no tokens.json"},
		"no shard": {func(t *testing.T, _, tokens string) {
			names, err := filepath.Glob(filepath.Join(tokens, "judge*"))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			remove(t, names[0])
		}, "lacks judge"},
		"cut short": {func(t *testing.T, _, tokens string) {
			names, err := filepath.Glob(filepath.Join(tokens, "train*"))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			if err := os.Truncate(names[0], 1000); err != nil {
				t.Fatal(err)
			}
		}, "tokenize again"},
		"another tokenizer": {func(t *testing.T, dir, _ string) { tinyBase(t, filepath.Join(dir, "base"), problems(30)) }, "another tokenizer"},
		"text":              {func(t *testing.T, _, tokens string) { write(t, filepath.Join(tokens, "tokens.json"), "tokens") }, "tokenize again"},
		"a way out": {func(t *testing.T, _, tokens string) {
			write(t, filepath.Join(tokens, "tokens.json"), `{"tokenizer_sha256":"x","sequence_length":8,"parts":{"train":{"files":["../x"]}}}`)
		}, "outside of its folder"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := modelCorpus(t, 60)
			if _, err := pipeline.Run(context.Background(), parse(t, dir, tokensPlan), options(dir)); err != nil {
				t.Fatal(err)
			}
			tokens, err := filepath.EvalSymlinks(filepath.Join(dir, "run", "out", "tokens"))
			if err != nil {
				t.Fatal(err)
			}
			c.damage(t, dir, tokens)
			opt := options(dir)
			opt.Workdir = filepath.Join(dir, "cycle")
			plan := parse(t, dir, fromTokensPlan)
			if _, err := pipeline.Outlook(plan, opt); (err == nil) != (what == "cut short") {
				t.Errorf("what a run would do: %v", err)
			}
			_, err = pipeline.Run(context.Background(), plan, opt)
			var usage *pipeline.UsageError
			var data *pipeline.DataError
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &usage) && !errors.As(err, &data) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
