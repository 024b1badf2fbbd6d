package stages_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// tinyBase writes a base model of random weights with a tokenizer trained on texts.
func tinyBase(t *testing.T, dir string, texts []string) {
	t.Helper()
	tok, err := tokenize.Train(slices.Values(texts), tokenize.TrainOptions{VocabSize: 400, Special: []string{"<|endoftext|>", "<pad>"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := model.Config{ModelType: "bz_moe", HiddenSize: 32, NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1,
		HeadDim: 16, VocabSize: tok.VocabSize(), IntermediateSize: 64, FirstKDenseReplace: 1, MoeIntermediateSize: 32,
		NRoutedExperts: 4, NSharedExperts: 1, NumExpertsPerTok: 2, NormTopkProb: true, RoutedScalingFactor: 1,
		RMSNormEps: 1e-6, RopeTheta: 10000, MaxPositionEmbeddings: 256, TorchDtype: "float32"}
	m, err := model.New(cfg, tensor.New(tensor.Plain(), 2), 3)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []checkpoint.Tensor
	for _, p := range m.Params() {
		tensor, err := checkpoint.NewTensor(p.Name, checkpoint.F32, p.Shape, p.Values())
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, tensor)
	}
	config, err := json.Marshal(m.Config())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(config))
	for name, w := range map[string]func(io.Writer) error{
		"tokenizer.json":    tok.WriteJSON,
		"model.safetensors": func(w io.Writer) error { return checkpoint.Write(w, tensors, nil) },
	} {
		if err := store.WriteFile(store.OS(), filepath.Join(dir, name), w); err != nil {
			t.Fatal(err)
		}
	}
}

// trainsModels leaves a test out of the short set: the race detector, under which training is slow, sees
// all of it in TestModelPath.
func trainsModels(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("trains models")
	}
}

// problems are documents that a tiny model can learn something from.
func problems(n int) []string {
	rng := rand.New(rand.NewPCG(5, 6))
	names := []string{"Ana", "Bo", "Cy", "Di", "Ed", "Flo"}
	things := []string{"apples", "pens", "coins", "shells", "books"}
	texts := make([]string, n)
	for i := range texts {
		a, b := rng.IntN(90)+5, rng.IntN(90)+5
		texts[i] = fmt.Sprintf("%s has %d %s in row %d and %s brings %d more on day %d. How many are there? There are %d of them.",
			names[rng.IntN(6)], a, things[rng.IntN(5)], rng.IntN(9999), names[rng.IntN(6)], b, rng.IntN(9999), a+b)
	}
	return texts
}

func modelCorpus(t *testing.T, docs int) string {
	t.Helper()
	dir := t.TempDir()
	texts := problems(docs)
	var b strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&b, "{\"text\":%q}\n", text)
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), b.String())
	tinyBase(t, filepath.Join(dir, "base"), texts[:min(100, docs)])
	return dir
}

const modelPlan = `
name: model
seed: 3
network: {base: {model: base}}
input:
  - path: data/*.jsonl
held_out: {fraction: 0.3}
stages:
  - exact_dedup: {}
  - export: {format: jsonl}
  - route: {sample_tokens: 2000, sequence_length: 64, p: 0.5}
  - tokenize: {sequence_length: 64}
  - train: {max_steps: 12, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 1, eval_steps: 4, checkpoint_steps: 3, dtype: F32}
  - proof_of_loss: {documents_min: 8}
  - bundle: {}
`

func TestModelPath(t *testing.T) {
	dir := modelCorpus(t, 200)
	opt := options(dir)
	res, err := pipeline.Run(context.Background(), parse(t, dir, modelPlan), opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range res.Stages {
		for _, f := range s.Summary {
			t.Logf("%-20s %s", f.Name, f.Value)
		}
	}
	checks, err := stages.VerifyBundle(store.OS(), filepath.Join(opt.Workdir, "out", "bundle"))
	if err != nil || len(checks) != 4 {
		t.Fatalf("verify bundle: %v, %d checks", err, len(checks))
	}
	for _, c := range checks {
		if c.Fault != "" {
			t.Errorf("%s: %s", c.What, c.Fault)
		}
	}
	if _, err := os.Stat(filepath.Join(opt.Workdir, "out", "score.json")); err != nil {
		t.Error(err)
	}
}

func TestModelSameForAnyWorkers(t *testing.T) {
	dir := modelCorpus(t, 200)
	want := outTree(t, parse(t, dir, modelPlan), options(dir))
	for _, workers := range []int{1, 8} {
		opt := options(dir)
		opt.Workdir, opt.Workers = filepath.Join(dir, fmt.Sprint("run", workers)), workers
		sameTree(t, fmt.Sprint(workers, " workers"), outTree(t, parse(t, dir, modelPlan), opt), want)
	}
}
