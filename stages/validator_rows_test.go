package stages_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

const rowsProfile = `
name: mix@1
source: test
tokenize: {packing: truncate-pad, sequence_length: 64}
train: {trainable: all}
held_out: {min_chars: 20, dedup_prefix_chars: 30}
evaluate: {rule: connito, batches_max: 5, batch_size: 1, exponent: 1.2, rank_points: [1]}
update: {dtype: F32, naming: native, hash: blake2b-24}
bundle: {directory: d, files: [{role: update, name: u.pt, format: torch}]}
`

const rowsPlan = `
name: rows
seed: 9
network: {profile: mix.yaml, base: {model: base}}
input: [{path: data/*.jsonl}]
held_out: {fraction: 0.1}
evaluate: {sources_from: config.yaml, mirror: mirror, rows: 25, seeds: 3}
stages:
  - tokenize: {}
  - train: {max_steps: 8, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 1}
  - proof_of_loss: {documents_min: 8}
`

// rowsCorpus has training text, of which some is in the mirror, too.
func rowsCorpus(t *testing.T) string {
	t.Helper()
	dir := modelCorpus(t, 60)
	writeMirror(t, dir)
	write(t, filepath.Join(dir, "mix.yaml"), rowsProfile)
	return dir
}

// rowsRun runs the plan and returns the result and score.json.
func rowsRun(t *testing.T, dir string, opt pipeline.Options) (*pipeline.Result, rowsScore) {
	t.Helper()
	return scoredRun(t, dir, rowsPlan, opt)
}

func scoredRun(t *testing.T, dir, plan string, opt pipeline.Options) (*pipeline.Result, rowsScore) {
	t.Helper()
	res, err := bundled(t, dir, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(opt.Workdir, "out", "score.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s rowsScore
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return res, s
}

// rowsScore is what the tests read of score.json.
type rowsScore struct {
	Difference float64             `json:"difference_nats"`
	Documents  int                 `json:"documents"`
	Tokens     int                 `json:"tokens"`
	DataKey    string              `json:"data_key"`
	MeasuredOn string              `json:"measured_on"`
	Mix        *stages.MixReport   `json:"mix"`
	Draws      *network.Draws      `json:"multi_seed_summary"`
	BySeed     []network.Judgement `json:"by_seed"`
	Sources    []map[string]any    `json:"sources"`
	Interval   [2]float64          `json:"interval_nats"`
}

// TestValidatorRows judges by the rows that OpenMix gives, and scores each seed by the losses of single rows.
func TestValidatorRows(t *testing.T) {
	trainsModels(t)
	dir := rowsCorpus(t)
	opt := options(dir)
	_, s := rowsRun(t, dir, opt)
	o := mixOptions(dir)
	profile, err := network.Find(store.OS(), dir, "mix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	exam, err := stages.OpenMix(t.Context(), store.OS(), profile, filepath.Join(dir, "base"), o)
	if err != nil {
		t.Fatal(err)
	}
	train, err := stages.OpenExam(store.OS(), filepath.Join(opt.Workdir, "out", "tokens"), "train", "")
	if err != nil {
		t.Fatal(err)
	}
	defer train.Close()
	want, err := exam.Report(train)
	if err != nil {
		t.Fatal(err)
	}
	if s.Mix == nil || s.Mix.String() != want.String() || *s.Mix.Trained == 0 || *s.Mix.Trained >= s.Mix.Distinct ||
		!slices.Equal(s.Mix.Seeds, exam.Seeds) || s.DataKey != exam.Key || s.Documents != exam.Sequences() || len(s.Sources) != 2 {
		t.Errorf("score.json has %v with key %s and %d documents, want %v with %s and %d", s.Mix, s.DataKey, s.Documents, want, exam.Key,
			exam.Sequences())
	}
	if s.MeasuredOn != "the mix of owner/web and owner/math that validators of mix@1 read, rows of 3 seeds" {
		t.Error(s.MeasuredOn)
	}
	testSeedScores(t, opt.Workdir, exam, s)
}

// testSeedScores scores the first six rows of each seed, one a batch, from losses.json.
func testSeedScores(t *testing.T, workdir string, exam *stages.MixExam, s rowsScore) {
	t.Helper()
	judged, err := stages.ReadJudged(store.OS(), workdir, "proof_of_loss")
	if err != nil || len(judged.Documents) != exam.Sequences() {
		t.Fatalf("%d documents in losses.json, %v", len(judged.Documents), err)
	}
	for i, own := range exam.BySeed {
		base, update := 0.0, 0.0
		for _, at := range own[:6] {
			d := judged.Documents[at]
			base, update = base+d.Base/float64(d.Tokens)/6, update+d.Update/float64(d.Tokens)/6
		}
		want := math.Pow(max(0, base-update), 1.2)
		if j := s.BySeed[i]; math.Abs(j.Baseline-base) > 1e-9 || math.Abs(j.Loss-update) > 1e-9 {
			t.Errorf("seed %d: losses %g and %g, want %g and %g", i, j.Baseline, j.Loss, base, update)
		}
		if got := s.Draws.PerSeed[i]; math.Abs(got-want) > 1e-9 || s.Draws.Seeds[i] != uint64(9+i) {
			t.Errorf("seed %d scores %g, want %g", i, got, want)
		}
	}
}

// TestValidatorRowsAreKept makes the rows once for any base weights and training text, and anew for other files, seeds
// and workers alike.
func TestValidatorRowsAreKept(t *testing.T) {
	trainsModels(t)
	dir := rowsCorpus(t)
	opt := options(dir)
	reused := func(res *pipeline.Result) bool {
		st, err := res.Stage("validator_rows")
		if err != nil {
			t.Fatal(err)
		}
		return st.Reused
	}
	res, first := rowsRun(t, dir, opt)
	if reused(res) {
		t.Error("reused what was not there")
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), fmt.Sprintf("{\"text\":%q}\n{\"text\":%q}\n", problems(900)[800], problems(900)[801])+
		readText(t, filepath.Join(dir, "data", "a.jsonl")))
	res, second := rowsRun(t, dir, opt)
	if !reused(res) || first.DataKey != second.DataKey || first.Difference == second.Difference {
		t.Errorf("other training text: reused %v, %v and %v", reused(res), first.Difference, second.Difference)
	}
	name := filepath.Join(dir, "mirror", "owner", "web", "en", "0.jsonl")
	write(t, name, strings.Replace(readText(t, name), "has", "had", 1))
	res, third := rowsRun(t, dir, opt)
	if reused(res) || third.DataKey == second.DataKey {
		t.Error("another file of the mirror gave the same rows")
	}
	opt.Workdir, opt.Workers = filepath.Join(dir, "run1"), 1
	if _, again := rowsRun(t, dir, opt); again.Difference != third.Difference || again.Interval != third.Interval {
		t.Errorf("one worker says %v %v, two %v %v", again.Difference, again.Interval, third.Difference, third.Interval)
	}
}

// ticking is a clock that every look at moves on by a second.
func ticking() func() time.Time {
	at := time.Unix(1_700_000_000, 0)
	return func() time.Time { at = at.Add(time.Second); return at }
}

// TestWindowKeepsTimeForRows keeps three times as long as judging both models on all rows takes: twice the time
// of the rows timed, one look at the clock, for each as many.
func TestWindowKeepsTimeForRows(t *testing.T) {
	trainsModels(t)
	dir := rowsCorpus(t)
	reserve := func(rows int) (seconds float64, distinct int) {
		plan, err := parseProfiled(dir, strings.Replace(rowsPlan, "rows: 25", fmt.Sprint("rows: ", rows), 1))
		if err != nil {
			t.Fatal(err)
		}
		now := ticking()
		deadline := now().Add(200 * time.Second)
		plan.Window = &pipeline.Window{ID: fmt.Sprint(rows), Deadline: func() time.Time { return deadline }, Now: now}
		res, err := pipeline.Run(context.Background(), plan, options(dir))
		if tolerated(err) != nil {
			t.Fatal(err)
		}
		st, err := res.Stage("train")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range st.Summary {
			left := 0.0
			if f.Name == "window" {
				if _, err := fmt.Sscanf(f.Value, "%f s were left, %f s of them kept", &left, &seconds); err != nil {
					t.Fatal(err)
				}
			}
		}
		if st, err = res.Stage("validator_rows"); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(st.Notes, func(n string) bool { return strings.Contains(n, "tokenized inside the window") }) {
			t.Errorf("%q", st.Notes)
		}
		return seconds, int(st.Values["distinct_rows"])
	}
	few, nFew := reserve(3)
	many, nMany := reserve(25)
	per := func(n int) float64 { return 2 * float64(n) / float64(min(n, 16)) } // of four batches of four rows
	if want := 3 * (per(nMany) - per(nFew)); math.Abs(many-few-want) > 1 || want < 5 {
		t.Errorf("%.1f s are kept for %d rows and %.1f for %d: a difference of %.1f s is right", many, nMany, few, nFew, want)
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestEvaluateWithoutProof needs no mirror where nothing judges: the section is there for warnings only.
func TestEvaluateWithoutProof(t *testing.T) {
	dir := rowsCorpus(t)
	if err := os.RemoveAll(filepath.Join(dir, "mirror")); err != nil {
		t.Fatal(err)
	}
	plan, err := parseProfiled(dir, strings.Split(rowsPlan, "  - train")[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Run(context.Background(), plan, options(dir)); err != nil {
		t.Error(err)
	}
	_, err = parseProfiled(dir, strings.Replace(strings.Split(rowsPlan, "  - train")[0], "evaluate:", "vars: {}\n#", 1)+"  - validator_rows: {}\n")
	if err == nil || !strings.Contains(err.Error(), "the plan does not say whose rows") {
		t.Error(err)
	}
}
