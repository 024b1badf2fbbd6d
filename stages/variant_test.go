package stages_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/eval"
	"bzdata/pipeline"
	"bzdata/stages"
)

// variantPlan holds a share of its input out, has references that the exam avoids, and an index
// that a variant must not add to.
const variantPlan = `
name: variant
seed: 3
network: {base: {model: base}}
input:
  - {path: data/a.jsonl, source: a}
  - {path: data/b.jsonl, source: b}
held_out: {fraction: 0.3}
stages:
  - normalize: {}
  - exact_dedup: {index: {dir: state, generation: g1}}
  - domain: {reference: ref/*.jsonl, keep_fraction: 0.7}
  - mix: {weights: {a: 0.6, b: 0.4}, repeat_max: 2}
  - export: {format: jsonl}
  - route: {sample_tokens: 2000, sequence_length: 64, p: 0.5}
  - tokenize: {sequence_length: 64}
  - train: {trainable: all, max_steps: 4, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 0, dtype: F32}
  - proof_of_loss: {documents_min: 8}
  - bundle: {}
`

func variantCorpus(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	texts := problems(360)
	line := func(text string) string { return `{"text":"` + text + `"}` + "\n" }
	var a, b, ref strings.Builder
	for i, text := range texts {
		if i%3 == 0 {
			b.WriteString(line(text))
		} else {
			a.WriteString(line(text))
		}
		if i%10 == 0 {
			a.WriteString(line(text))
		}
		if i%6 == 1 { // some of these are held out, which the exam is not to have
			ref.WriteString(line(text))
		}
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), a.String())
	write(t, filepath.Join(dir, "data", "b.jsonl"), b.String())
	write(t, filepath.Join(dir, "ref", "r.jsonl"), ref.String())
	tinyBase(t, filepath.Join(dir, "base"), texts[:100])
	return dir
}

// carry runs a variant and returns its tokens and, if it was judged, its losses.
func carry(t *testing.T, p *pipeline.Plan, opt pipeline.Options) (stages.TrialTokens, eval.Judged) {
	t.Helper()
	if _, err := pipeline.Run(context.Background(), p, opt); err != nil && !strings.Contains(err.Error(), "the gate refuses") {
		t.Fatal(err)
	}
	tokens, err := stages.ReadTrialTokens(opt.FS, opt.Workdir, "tokenize")
	if err != nil {
		t.Fatal(err)
	}
	judged, err := stages.ReadJudged(opt.FS, opt.Workdir, "proof_of_loss")
	if err != nil {
		t.Fatal(err)
	}
	return tokens, judged
}

func variant(t *testing.T) func(*pipeline.Plan, error) *pipeline.Plan {
	return func(p *pipeline.Plan, err error) *pipeline.Plan {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func labels(p *pipeline.Plan) (out []string) {
	for _, s := range p.Stages {
		out = append(out, s.Label())
	}
	return out
}

// TestVariantsShareTheExam leaves out each stage and each source of a plan: the judging documents and
// the base's losses stay the same to the last bit, training text changes, and the index stays empty.
func TestVariantsShareTheExam(t *testing.T) {
	trainsModels(t)
	dir := variantCorpus(t)
	opt := options(dir)
	full := variant(t)(parse(t, dir, variantPlan).UpTo("proof_of_loss"))
	want := []string{"normalize", "exact_dedup", "decontaminate", "domain", "mix", "tokenize", "train", "proof_of_loss"}
	if got := labels(full); !slices.Equal(got, want) {
		t.Fatalf("up to proof_of_loss there are %q, want %q", got, want)
	}
	tokens, judged := carry(t, full, opt)
	if len(judged.Documents) < 20 {
		t.Fatalf("only %d documents judge", len(judged.Documents))
	}
	variants := map[string]*pipeline.Plan{"source a": variant(t)(full.WithoutSource("a")),
		"source b": variant(t)(full.WithoutSource("b"))}
	for _, label := range want[:5] {
		variants[label] = variant(t)(full.Without(label))
	}
	for name, p := range variants {
		other, losses := carry(t, p, opt)
		if err := eval.SameExam(judged, losses); err != nil {
			t.Errorf("without %s: %v", name, err)
		}
		if other.JudgeKey != tokens.JudgeKey {
			t.Errorf("without %s the judging texts differ", name)
		}
		if other.TrainKey == tokens.TrainKey && name != "normalize" && name != "decontaminate" {
			t.Errorf("without %s the training texts are the same", name)
		}
	}
	if entries, err := opt.FS.ReadDir(filepath.Join(dir, "state")); err == nil && len(entries) > 0 {
		t.Errorf("a variant added to the index: %v", entries)
	}
	again, _ := carry(t, full, opt)
	if began := started(t, full, opt); len(began) > 0 || again != tokens {
		t.Errorf("after its variants the full plan began %q again", began)
	}
}

// TestReseeded trains by another seed: other losses, and nothing before training runs again. Seed 0
// is the plan's own.
func TestReseeded(t *testing.T) {
	trainsModels(t)
	dir := variantCorpus(t)
	opt := options(dir)
	full := variant(t)(parse(t, dir, variantPlan).UpTo("proof_of_loss"))
	_, own := carry(t, full, opt)
	if began := started(t, variant(t)(full.Reseeded("train", 0)), opt); len(began) > 0 {
		t.Errorf("seed 0 began %q", began)
	}
	other := variant(t)(full.Reseeded("train", 1))
	_, losses := carry(t, other, opt)
	if err := eval.SameExam(own, losses); err != nil {
		t.Error(err)
	}
	if slices.Equal(own.Documents, losses.Documents) {
		t.Error("another seed gave the same losses")
	}
	rec, err := pipeline.ReadRecord(opt.FS, opt.Workdir)
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(rec.Tasks, func(task pipeline.TaskRecord) bool { return !task.Done }); i >= 0 {
		t.Errorf("task %+v is not done", rec.Tasks[i])
	}
}

// TestUpToKeepsWhatIsNeeded keeps route where training goes by it, and leaves out what only writes.
func TestUpToKeepsWhatIsNeeded(t *testing.T) {
	dir := modelCorpus(t, 60)
	p := variant(t)(parse(t, dir, modelPlan).UpTo("proof_of_loss"))
	want := []string{"exact_dedup", "decontaminate", "route", "tokenize", "train", "proof_of_loss"}
	if got := labels(p); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	p = variant(t)(p.UpTo("tokenize"))
	if got := labels(p); !slices.Equal(got, []string{"exact_dedup", "decontaminate", "tokenize"}) {
		t.Errorf("up to tokenize there are %q", got)
	}
}

// TestVariantMistakes asks for what is not there.
func TestVariantMistakes(t *testing.T) {
	dir := variantCorpus(t)
	p := parse(t, dir, variantPlan)
	if _, err := p.Without("nosuch"); err == nil {
		t.Error("a stage that is not there was left out")
	}
	if _, err := p.Without("train"); err == nil || !strings.Contains(err.Error(), "which only train makes") {
		t.Errorf("without train: %v", err)
	}
	if _, err := p.UpTo("nosuch"); err == nil {
		t.Error("a plan goes up to a stage that is not there")
	}
	only, err := p.WithoutSource("a")
	if err == nil {
		_, err = only.WithoutSource("b")
	}
	if err == nil || !strings.Contains(err.Error(), "weights name no source beside b") {
		t.Errorf("without both sources: %v", err)
	}
}
