package stages_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// metricsOptions are options with a clock that goes on by a second each time that it is read.
func metricsOptions(dir string) pipeline.Options {
	opt := options(dir)
	var ticks atomic.Int64
	opt.Host = "miner-1"
	opt.Now = func() time.Time {
		return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(ticks.Add(1)) * time.Second)
	}
	return opt
}

// rowsOf reads the only file of JSON lines, without what the clock says.
func rowsOf(t *testing.T, workdir string) []map[string]any {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(workdir, "metrics", "*.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatalf("files of lines: %v, %v", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	for line := range bytes.Lines(data) {
		row := map[string]any{}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("%s: %q: %v", names[0], line, err)
		}
		for _, key := range []string{"time", "train/tokens_per_second", "train/step_seconds", "train/seconds"} {
			if _, ok := row[key]; key != "time" && ok != (row["train/loss"] != nil) {
				t.Errorf("%q: %s is in steps of training only", line, key)
			}
			delete(row, key)
		}
		rows = append(rows, row)
	}
	return rows
}

func sameRows(t *testing.T, got, want []map[string]any) {
	t.Helper()
	gotText, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	wantText, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotText, wantText) {
		t.Errorf("%d rows differ from %d:\n%s\nwant:\n%s", len(got), len(want), gotText, wantText)
	}
}

// TestMetrics checks a run's rows against its own figures, that other formats repeat no stage, and that
// an interrupted run ends with the same rows.
func TestMetrics(t *testing.T) {
	dir := modelCorpus(t, 200)
	opt := metricsOptions(dir)
	write(t, filepath.Join(dir, "rank.txt"), " 4\n")
	plan := modelPlan + "metrics: {rank_file: rank.txt}\n"
	res, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(t, opt.Workdir)
	checkRows(t, res, opt.Workdir, rows)
	out := outTree(t, parse(t, dir, plan), opt)

	more := modelPlan + "metrics: {formats: [csv, prometheus, tensorboard], wandb: true, wandb_project: other}\n"
	if ran := startedTasks(t, dir, more, opt); len(ran) > 0 {
		t.Errorf("after a change of metrics %v ran", ran)
	}
	cut := metricsOptions(dir)
	cut.Workdir = filepath.Join(dir, "cut")
	ctx, cancel := context.WithCancel(context.Background())
	cut.OnEvent = func(e pipeline.Event) {
		if e.Stage == "train" && e.Kind == "progress" && e.Done >= 5 {
			cancel()
		}
	}
	if _, err := pipeline.Run(ctx, parse(t, dir, more), cut); !errors.Is(err, context.Canceled) {
		t.Fatalf("the run ended with %v", err)
	}
	if early := rowsOf(t, cut.Workdir); len(early) >= len(rows) || len(early) < 5 {
		t.Errorf("the interrupted run left %d rows", len(early))
	}
	cut.OnEvent = nil
	sameTree(t, "going on", outTree(t, parse(t, dir, more), cut), out)
	last := rows[len(rows)-1]
	delete(last, "chain/rank_in_group") // which the second plan has no file for
	sameRows(t, rowsOf(t, cut.Workdir), rows)
	for _, pattern := range []string{"metrics/*.csv", "metrics/model.prom", "metrics/tensorboard/*/events.*miner-1",
		"wandb/offline-run-20260102_*/run-*.wandb"} {
		if found, _ := filepath.Glob(filepath.Join(cut.Workdir, pattern)); len(found) != 1 {
			t.Errorf("%s: %v", pattern, found)
		}
	}
}

// checkRows compares rows with the run's report and score.
func checkRows(t *testing.T, res *pipeline.Result, workdir string, rows []map[string]any) {
	t.Helper()
	var steps []float64
	for _, row := range rows {
		steps = append(steps, row["step"].(float64))
	}
	if want := []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}; !slices.Equal(steps, want) {
		t.Fatalf("steps %v", steps)
	}
	stage, err := res.Stage("train")
	if err != nil {
		t.Fatal(err)
	}
	series := stage.Panels[0].Curves.Series
	for i, loss := range series[0].Y {
		row := rows[i+1]
		if row["train/loss"] != loss || row["train/loss_reduction"] != series[0].Y[0]-loss || row["train/samples"] != float64(4*(i+1)) {
			t.Errorf("step %d: %v, the report says %v", i+1, row, loss)
		}
		sum := 0.0
		for _, n := range row["moe/expert_load"].(map[string]any)["1"].([]any) {
			sum += n.(float64)
		}
		if sum == 0 || int(sum)%(4*64) != 0 { // each position has the same number of experts
			t.Errorf("step %d: %v positions were routed", i+1, sum)
		}
	}
	for i, step := range series[1].X {
		if row := rows[int(step)]; row["val/loss"] != series[1].Y[i] || row["val/loss_reduction"] != series[1].Y[0]-series[1].Y[i] {
			t.Errorf("step %v: %v, the report says %v", step, row, series[1].Y[i])
		}
	}
	data, err := os.ReadFile(filepath.Join(workdir, "out", "score.json"))
	if err != nil {
		t.Fatal(err)
	}
	var score struct {
		Base      float64 `json:"base_nats"`
		Candidate float64 `json:"candidate_nats"`
	}
	if err := json.Unmarshal(data, &score); err != nil {
		t.Fatal(err)
	}
	fall := score.Base - score.Candidate
	want := map[string]any{"step": 13.0, "proof/val_loss": score.Candidate, "proof/loss_reduction": fall,
		"chain/w_i_score": max(0, fall), "chain/rank_in_group": 4.0}
	if got := rows[13]; !maps.Equal(got, want) || fall == 0 {
		t.Errorf("the last row is %v, want %v", got, want)
	}
}

// TestRankAsked puts the rank that the user's software tells in place of the file's, and costs nothing if it does not.
func TestRankAsked(t *testing.T) {
	trainsModels(t)
	dir := modelCorpus(t, 200)
	write(t, filepath.Join(dir, "rank.txt"), "4")
	plan := modelPlan + "metrics: {rank_file: rank.txt}\n"
	opt := metricsOptions(dir)
	opt.Rank = func(context.Context) (int, error) { return 2, nil }
	want := outTree(t, parse(t, dir, plan), opt)
	rows := rowsOf(t, opt.Workdir)
	if got := rows[len(rows)-1]["chain/rank_in_group"]; got != 2.0 {
		t.Errorf("the rank is %v", got)
	}
	opt.Workdir, opt.Rank = filepath.Join(dir, "fails"), func(context.Context) (int, error) { return 0, errors.New("no chain") }
	res, err := pipeline.Run(t.Context(), parse(t, dir, plan), opt)
	if err != nil {
		t.Fatal(err)
	}
	rows = rowsOf(t, opt.Workdir)
	if last := rows[len(rows)-1]; last["chain/rank_in_group"] != nil || last["chain/w_i_score"] == nil {
		t.Errorf("the last row is %v", last)
	}
	stage, err := res.Stage("proof_of_loss")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(stage.Notes, "metrics: no chain; chain/rank_in_group is left out") {
		t.Errorf("notes: %q", stage.Notes)
	}
	sameTree(t, "whatever the rank", outTree(t, parse(t, dir, plan), opt), want)
}

// noMetricsFS is a disk that has no room for metrics.
type noMetricsFS struct{ store.FS }

func (f noMetricsFS) MkdirAll(name string) error {
	if strings.Contains(name, "metrics") {
		return &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("no space left on device")}
	}
	return f.FS.MkdirAll(name)
}

// TestMetricsThatCannotBeWritten checks that training goes on to the same bytes, and that it is said.
func TestMetricsThatCannotBeWritten(t *testing.T) {
	dir := modelCorpus(t, 120)
	opt := options(dir)
	plan := strings.Replace(modelPlan, "max_steps: 12", "max_steps: 3", 1)
	opt.Until = "train"
	want := outTree(t, parse(t, dir, plan), opt)
	opt.Workdir, opt.FS = filepath.Join(dir, "full"), noMetricsFS{opt.FS}
	res, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, "without metrics", outTree(t, parse(t, dir, plan), opt), want)
	stage, err := res.Stage("train")
	if err != nil {
		t.Fatal(err)
	}
	said := slices.DeleteFunc(slices.Clone(stage.Notes), func(n string) bool { return !strings.Contains(n, "no space left") })
	if len(said) != 1 || strings.Contains(said[0], dir) {
		t.Errorf("notes: %q", stage.Notes)
	}
}
