package stages_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// corpus writes a small data set with exact and near copies, short rows and a malformed
// line, and returns its folder.
func corpus(t *testing.T, docs int) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	var lines []string
	for i := range docs {
		text := sentence(rng, 60)
		lines = append(lines, fmt.Sprintf(`{"id":%d,"text":%q,"meta":{"a":[1,2.50,"x\u00e9"]}}`, i, text))
		switch {
		case i%10 == 3: // exact copy
			lines = append(lines, fmt.Sprintf(`{"id":%d,"text":%q}`, 1000+i, text))
		case i%10 == 5: // near copy: one word of sixty
			words := strings.Fields(text)
			words[7] = "altered"
			lines = append(lines, fmt.Sprintf(`{"id":%d,"text":%q}`, 2000+i, strings.Join(words, " ")))
		case i%10 == 7:
			lines = append(lines, `{"id":1,"text":"short"}`)
		}
	}
	half := len(lines) / 2
	write(t, filepath.Join(dir, "data", "a.jsonl"), strings.Join(lines[:half], "\n")+"\n")
	write(t, filepath.Join(dir, "data", "b.jsonl"), strings.Join(lines[half:], "\n")+"\n{\"text\": \"cut\n")
	return dir
}

func sentence(rng *rand.Rand, n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("w%d", rng.IntN(5000))
	}
	return strings.Join(words, " ")
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

const smallPlan = `
name: small
seed: 7
input:
  - path: data/*.jsonl
    source: s
held_out: {fraction: 0.1}
max_reject_fraction: 0.05
stages:
  - normalize: {}
  - quality: {preset: connito}
  - exact_dedup: {}
  - minhash: {}
  - export: {format: jsonl}
`

func parse(t *testing.T, dir, plan string) *pipeline.Plan {
	t.Helper()
	p, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(plan), stages.All(),
		pipeline.ParseOptions{Complete: stages.Complete})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func options(dir string) pipeline.Options {
	return pipeline.Options{Workdir: filepath.Join(dir, "run"), FS: store.OS(), Inputs: store.OS(),
		Workers: 2, MemoryBytes: 1 << 30, Build: "test", Kernels: "plain"}
}

func TestSmallRun(t *testing.T) {
	dir := corpus(t, 200)
	res, err := pipeline.Run(context.Background(), parse(t, dir, smallPlan), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range res.Stages {
		if s.Ledger != nil {
			t.Logf("%-14s in %d kept %d held %d rejected %d dropped %v", s.Label, s.Ledger.In, s.Ledger.Kept,
				s.Ledger.HeldOut, s.Ledger.Rejected, s.Ledger.Dropped)
		}
	}
}
