package doctor

import (
	"math"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
)

// healthy is a run of which every line is fine that can be.
func healthy() *Run {
	stage := func(kind string, dropped int64, values map[string]float64, settings ...pipeline.Setting) pipeline.StageResult {
		return pipeline.StageResult{Label: kind, Kind: kind, Finished: true, Values: values, Settings: settings,
			Ledger: &pipeline.Ledger{Stage: kind, In: 100, Kept: 100 - dropped, Dropped: map[string]int64{"x": dropped}}}
	}
	set := func(key string, v float64, from string) pipeline.Setting {
		return pipeline.Setting{Key: key, Value: v, Origin: from}
	}
	return &Run{Name: "runs/a", Profile: map[string]any{"train.learning_rate": 3e-5}, Result: &pipeline.Result{
		Network: "net@1", Inputs: []pipeline.InputRecord{{Records: 1000}}, Stages: []pipeline.StageResult{
			stage("held_out_set", 0, nil), stage("quality", 5, nil), stage("exact_dedup", 4, nil), stage("minhash", 3, nil),
			stage("decontaminate", 2, nil), stage("domain", 1, nil),
			stage("route", 0, map[string]float64{"group_0_share": 0.3, "group_0_share_low": 0.28, "group_0_share_high": 0.32,
				"group_0_lift": 1.2, "group_1_share": 0.2, "group_1_share_low": 0.18, "group_1_share_high": 0.22, "group_1_lift": 0.8}),
			stage("tokenize", 0, map[string]float64{"train_tokens": 1000, "train_truncated_tokens": 10, "train_documents": 90,
				"train_truncated_documents": 2, "train_padding": 100}, set("sequence_length", 64, "net@1")),
			stage("train", 0, map[string]float64{"passes": 2, "steps": 100, "last_fall_nats": 0.01,
				"last_fall_standard_error_nats": 0.02, "select_best_nats": 2, "select_last_nats": 2, "select_best_step": 100,
				"select_evaluations": 5, "skipped_batches": 0, "batches": 100, "warmup_steps": 10, "expert_group": 0,
				"base_global_version": 7},
				set("learning_rate", 3e-5, "net@1"), set("warmup_steps", 10, "net@1")),
			stage("proof_of_loss", 0, map[string]float64{"difference_nats": -0.05, "low_nats": -0.06, "high_nats": -0.04,
				"effective_documents": 150, "documents": 200}, set("documents_min", 100, "default"), set("min_delta", 0, "default")),
			stage("bundle", 0, nil),
		}}}
}

func (r *Run) of(t *testing.T, kind string) *pipeline.StageResult {
	t.Helper()
	s := r.stage(kind)
	if s == nil {
		t.Fatalf("no stage %s", kind)
	}
	return s
}

func answer(t *testing.T, r *Run, check string) Answer {
	t.Helper()
	answers := Examine(r)
	i := slices.IndexFunc(answers, func(a Answer) bool { return a.Check == check })
	if i < 0 {
		t.Fatalf("no line %s", check)
	}
	return answers[i]
}

// TestHealthy has every line fine but the version of the base, which no report can answer.
func TestHealthy(t *testing.T) {
	for _, a := range Examine(healthy()) {
		want := Fine
		if a.Check == "version of the base" {
			want = Unknown
		}
		if a.State != want || a.Says == "" {
			t.Errorf("%s is %s: %s", a.Check, a.State, a.Says)
		}
	}
}

// TestValidatorsExam has lines about rows of validators.
func TestValidatorsExam(t *testing.T) {
	r := healthy()
	r.Stages = append(r.Stages, pipeline.StageResult{Label: "validator_rows", Kind: "validator_rows", Finished: true})
	v := r.of(t, "proof_of_loss").Values
	v["exam_rows_trained"], v["effective_documents"] = 0, 50
	if a := answer(t, r, "held-out text in training"); a.State != Fine {
		t.Errorf("%+v", a)
	}
	if a := answer(t, r, "held-out documents of the verdict"); a.State != Change || !strings.Contains(a.Do, "evaluate.rows") {
		t.Errorf("%+v", a)
	}
	v["exam_rows_trained"] = 3
	if a := answer(t, r, "held-out text in training"); a.State != Change || !strings.Contains(a.Says, "3 of the 200 rows") {
		t.Errorf("%+v", a)
	}
}

// TestTokensOfAnotherRun is about a cycle's plan, which can have no stage of documents: no line asks for one.
func TestTokensOfAnotherRun(t *testing.T) {
	r := healthy()
	r.Inputs = nil
	r.Stages = slices.DeleteFunc(r.Stages, func(s pipeline.StageResult) bool {
		return !slices.Contains([]string{"train", "proof_of_loss", "bundle"}, s.Kind)
	})
	r.Stages = append(r.Stages, pipeline.StageResult{Label: "tokens", Kind: "tokens", Finished: true})
	earlier := 0
	for _, a := range Examine(r) {
		if a.State == Change || strings.HasPrefix(a.Do, "add ") || strings.Contains(a.Do, "run the plan again") {
			t.Errorf("%+v", a)
		}
		if strings.Contains(a.Do, "bzdata doctor") {
			earlier++
		}
	}
	if earlier != 8 {
		t.Errorf("%d lines are left to the run that made the tokens, want 8", earlier)
	}
}

// TestFaults plants one fault at a time: its line, and no other, asks for a change, and comes first.
func TestFaults(t *testing.T) {
	for check, plant := range map[string]func(r *Run){
		"the gate and its margin":           func(r *Run) { r.of(t, "proof_of_loss").Values["high_nats"] = 0.01 },
		"held-out documents of the verdict": func(r *Run) { r.of(t, "proof_of_loss").Values["effective_documents"] = 60 },
		"held-out text in training": func(r *Run) {
			r.Stages = slices.DeleteFunc(r.Stages, func(s pipeline.StageResult) bool { return s.Kind == "decontaminate" })
		},
		"malformed and poor rows":     func(r *Run) { r.Inputs[0].Rejected = 9 },
		"token lengths: truncation":   func(r *Run) { r.of(t, "tokenize").Values["train_truncated_tokens"] = 200 },
		"token lengths: padding":      func(r *Run) { r.of(t, "tokenize").Values["train_padding"] = 600 },
		"passes over the data":        func(r *Run) { r.of(t, "train").Values["passes"] = 9 },
		"loss at the end of training": func(r *Run) { r.of(t, "train").Values["last_fall_nats"] = 0.3 },
		"select loss: overfit": func(r *Run) {
			v := r.of(t, "train").Values
			v["select_best_step"], v["select_last_nats"] = 40, 2.1
		},
		"skipped batches": func(r *Run) { r.of(t, "train").Values["skipped_batches"] = 3 },
		"learning rate":   func(r *Run) { r.of(t, "train").Settings[0].Value = 1e-3 },
		"expert group":    func(r *Run) { r.of(t, "train").Values["expert_group"] = 1 },
	} {
		r := healthy()
		plant(r)
		first := Examine(r)[0]
		if first.Check != check || first.State != Change || first.Do == "" {
			t.Errorf("%s: the first line is %+v", check, first)
		}
		for _, a := range Examine(r)[1:] {
			if a.State == Change {
				t.Errorf("%s: %s asks for a change, too: %s", check, a.Check, a.Says)
			}
		}
	}
}

// TestUnanswered takes stages and figures away: their lines then say what would answer them.
func TestUnanswered(t *testing.T) {
	for kind, lines := range map[string]int{"minhash": 1, "exact_dedup": 1, "domain": 1, "route": 1, "bundle": 1, "tokenize": 2,
		"train": 8, "proof_of_loss": 2} {
		r := healthy()
		r.Stages = slices.DeleteFunc(r.Stages, func(s pipeline.StageResult) bool { return s.Kind == kind })
		n := 0
		for _, a := range Examine(r) {
			if a.State == Unknown && a.Do != "" && strings.Contains(a.Says+a.Do, kind) {
				n++
			}
			if a.State == Change {
				t.Errorf("without %s, %s asks for a change: %s", kind, a.Check, a.Says)
			}
		}
		if n < lines {
			t.Errorf("without %s %d lines say so, want %d", kind, n, lines)
		}
	}
	r := healthy()
	r.of(t, "train").Values = nil
	if a := answer(t, r, "passes over the data"); a.State != Unknown || !strings.Contains(a.Do, "--fresh") {
		t.Errorf("without figures: %+v", a)
	}
}

// TestSpearman compares with values worked out by hand, with ties.
func TestSpearman(t *testing.T) {
	for _, c := range []struct {
		x, y []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{10, 20, 30}, 1}, {[]float64{1, 2, 3, 4}, []float64{9, 7, 5, 1}, -1},
		{[]float64{1, 2, 3, 4}, []float64{1, 3, 2, 4}, 0.8},
		{[]float64{1, 2, 3, 4}, []float64{1, 1, 2, 3}, 0.9486833}, // 4.5 / sqrt(5 * 4.5)
	} {
		got := spearman(c.x, c.y)
		if got == nil || math.Abs(*got-c.want) > 1e-6 {
			t.Errorf("spearman(%v, %v) is %v, want %v", c.x, c.y, got, c.want)
		}
	}
	if spearman([]float64{1, 2}, []float64{1, 2}) != nil || spearman([]float64{1, 2, 3}, []float64{4, 4, 4}) != nil {
		t.Error("two pairs, or equal scores, have a correlation")
	}
}

// TestPaid finds the run that was paid nothing for a gain, and one whose ranks are far apart.
func TestPaid(t *testing.T) {
	var runs []*Run
	for i, name := range []string{"runs/a", "runs/b", "runs/c", "runs/d"} {
		r := healthy()
		r.Name = name
		v := r.of(t, "proof_of_loss").Values
		v["difference_nats"] = -0.01 * float64(i+1)
		r.of(t, "train").Values["base_global_version"] = float64(10 + i)
		runs = append(runs, r)
	}
	trend := Follow(runs)
	if trend.Rank == nil || *trend.Rank != 1 {
		t.Errorf("the gain rises with the order, the rank correlation is %v", trend.Rank)
	}
	scores, byVersion, err := ParseScores(strings.NewReader("run,score\na,3\nb,1\nruns/c,2\nd,0\nz,1\n"))
	if err != nil || byVersion {
		t.Fatal(err, byVersion)
	}
	paid, err := Compare(trend, scores, byVersion)
	if err != nil {
		t.Fatal(err)
	}
	if len(paid.Pairs) != 4 || !slices.Equal(paid.Unmatched, []string{"z"}) {
		t.Fatalf("%+v", paid)
	}
	if a, d := paid.Pairs[0], paid.Pairs[3]; a.PredictedRank != 4 || a.PaidRank != 1 || !strings.Contains(a.Disagree, "better") ||
		!strings.Contains(d.Disagree, "paid nothing") {
		t.Errorf("%+v", paid.Pairs)
	}
	scores, byVersion, err = ParseScores(strings.NewReader("version,score\n10,1\n12,2\n13,3\n"))
	if err != nil || !byVersion {
		t.Fatal(err, byVersion)
	}
	if paid, err = Compare(trend, scores, byVersion); err != nil || paid.Rank == nil || *paid.Rank != 1 {
		t.Errorf("%+v, %v", paid, err)
	}
}

// TestParseScores names the line of a mistake.
func TestParseScores(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "want a head",
		"name,score\na,1\n":      "the head is name, score",
		"run,score\na,x\n":       "line 2: the score",
		"run,score\na,1\na,2\n":  "line 3: a has a score already",
		"version,score\nseven,1": "line 2: the version",
		"run,score\na,NaN\n":     "line 2: the score",
		"run,score\na\n":         "wrong number of fields",
	} {
		if _, _, err := ParseScores(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzParseScores reads anything without a panic, and only finite scores under keys of their own.
func FuzzParseScores(f *testing.F) {
	f.Add("run,score\na,1\n")
	f.Add("version,score\n7,-1e3\n")
	f.Fuzz(func(t *testing.T, text string) {
		scores, _, err := ParseScores(strings.NewReader(text))
		seen := map[string]bool{}
		for _, s := range scores {
			if err == nil && (seen[s.Key] || math.IsNaN(s.Value) || math.IsInf(s.Value, 0)) {
				t.Errorf("%q gave %+v", text, scores)
			}
			seen[s.Key] = true
		}
	})
}
