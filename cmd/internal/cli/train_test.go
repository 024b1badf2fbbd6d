package cli

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline"
)

// TestTuneRounds cuts the trials to a third until two at most are left, which train longest.
func TestTuneRounds(t *testing.T) {
	for _, c := range []struct {
		trials, steps int
		want          []tuneRound
	}{
		{10, 54, []tuneRound{{10, 6}, {4, 18}, {2, 54}}},
		{5, 9, []tuneRound{{5, 3}, {2, 9}}},
		{3, 100, []tuneRound{{3, 33}, {1, 100}}},
		{2, 7, []tuneRound{{2, 7}}},
		{1, 7, []tuneRound{{1, 7}}},
		{28, 1, []tuneRound{{28, 1}, {10, 1}, {4, 1}, {2, 1}}},
	} {
		if got := tuneRounds(c.trials, c.steps); !slices.Equal(got, c.want) {
			t.Errorf("%d trials, %d steps: %v, want %v", c.trials, c.steps, got, c.want)
		}
	}
}

// TestTuneOrder ranks by round, then by loss, and what is no number last.
func TestTuneOrder(t *testing.T) {
	trials := []*tuneTrial{
		{Rate: 1, Round: 1, Losses: []float64{1}}, {Rate: 2, Round: 2, Losses: []float64{math.NaN(), 1}},
		{Rate: 3, Round: 2, Losses: []float64{3, 4}}, {Rate: 4, Round: 2, Losses: []float64{3, 3}}, {Rate: 5},
	}
	slices.SortStableFunc(trials, better)
	var rates []float64
	for _, tr := range trials {
		rates = append(rates, tr.Rate)
	}
	if want := []float64{4, 3, 2, 1, 5}; !slices.Equal(rates, want) {
		t.Errorf("order %v, want %v", rates, want)
	}
}

// TestStepWatch takes the time from the first step's end to the last one's.
func TestStepWatch(t *testing.T) {
	at := time.Unix(0, 0)
	w := &stepWatch{label: "train", now: func() time.Time { at = at.Add(time.Second); return at }}
	for _, e := range []pipeline.Event{{Kind: "start", Stage: "train"}, {Kind: "progress", Stage: "route", Unit: "steps"},
		{Kind: "progress", Stage: "train", Unit: "steps, loss 3"}} {
		w.event(e)
	}
	if w.stepS() != 0 {
		t.Errorf("one step took %g s", w.stepS())
	}
	w.event(pipeline.Event{Kind: "progress", Stage: "train", Unit: "steps, loss 2"})
	w.event(pipeline.Event{Kind: "progress", Stage: "train", Unit: "steps, loss 1"})
	if w.stepS() != 1 {
		t.Errorf("a step took %g s, want 1", w.stepS())
	}
}

// tuned reads an answer without what the clock says.
func tuned(t *testing.T, name string) tuneJSON {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out tuneJSON
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	for i := range out.Trials {
		out.Trials[i].TokensPerSecond = 0
	}
	return out
}

// TestTuneGoesOn interrupts a tuning in its second trial. The same command trains no trial again that was
// trained, and its answer is that of one that was let be, with another number of workers.
func TestTuneGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := killWorld(t)
	run := func(workdir, workers string, onEvent func(p *child, e pipeline.Event)) (process, int) {
		p := launch(t, onEvent, "train", filepath.Join(dir, "plan.yaml"), "--tune", "--steps", "6", "--learning-rates",
			"1e-3,1e-2,1e-4", "--batch-sizes", "2", "--seeds", "2", "--workdir", filepath.Join(dir, workdir), "--progress", "json",
			"--kernels", "plain", "--workers", workers, "--json", filepath.Join(dir, workdir+".json"))
		trained := 0
		for _, e := range p.events {
			if e.Kind == "start" && e.Stage == "train" {
				trained++
			}
		}
		return p, trained
	}
	whole, all := run("whole", "1", nil)
	if whole.code != exitDone || all != (3+1)*2 {
		t.Fatalf("exit code %d, %d trainings: %s", whole.code, all, whole.stderr)
	}
	begun, sent := 0, false
	cut, _ := run("cut", "4", func(p *child, e pipeline.Event) {
		if e.Stage == "train" && e.Kind == "start" {
			begun++
		}
		if e.Stage == "train" && e.Kind == "progress" && begun == 2 && !sent {
			sent = p.Signal(syscall.SIGINT) == nil // a second one would end it at once
		}
	})
	if cut.code != exitInterrupted {
		t.Fatalf("exit code %d: %s", cut.code, cut.stderr)
	}
	rest, again := run("cut", "4", nil)
	if rest.code != exitDone || again != all-1 {
		t.Errorf("exit code %d, %d of %d trainings after the interruption: %s", rest.code, again, all, rest.stderr)
	}
	got, want := tuned(t, filepath.Join(dir, "cut.json")), tuned(t, filepath.Join(dir, "whole.json"))
	if a, b := jsonText(t, got), jsonText(t, want); a != b {
		t.Errorf("after an interruption the answer is\n%s\nwant\n%s", a, b)
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
