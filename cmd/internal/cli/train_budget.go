package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bzdata/pipeline"
)

// stepWatch times the steps of a training by its progress.
type stepWatch struct {
	label       string
	now         func() time.Time
	first, last time.Time
	steps       int // from first to last
}

func (w *stepWatch) event(e pipeline.Event) {
	if e.Kind != "progress" || e.Stage != w.label || !strings.HasPrefix(e.Unit, "steps") {
		return
	}
	at := w.now()
	if w.first.IsZero() {
		w.first = at
	} else {
		w.steps, w.last = w.steps+1, at
	}
}

// stepS is the mean time of a step, in seconds; 0 if there was none to time.
func (w *stepWatch) stepS() float64 {
	if w.steps == 0 {
		return 0
	}
	return w.last.Sub(w.first).Seconds() / float64(w.steps)
}

// tuneCost is what a training takes, in seconds.
type tuneCost struct {
	StepS  float64 `json:"step_s"`  // of the plan's batch
	FixedS float64 `json:"fixed_s"` // for weights, losses and the update
}

func (c tuneCost) of(steps int) float64 { return c.FixedS + float64(steps)*c.StepS }

// fit chooses how many steps the budget has room for: once, so that a run that goes on has the same trials.
func (tu *tuning) fit(ctx context.Context) error {
	tu.began = tu.opt.Now()
	if tu.flags.budget == 0 || tu.steps < 1 {
		return nil
	}
	if tu.cost.StepS == 0 {
		if err := tu.probe(ctx); err != nil {
			return err
		}
		most := tu.steps
		for tu.steps > 0 && tu.total() > budgetShare*tu.flags.budget.Seconds() {
			tu.steps--
		}
		if tu.steps == 0 {
			tu.steps = 1
			return usageOf("--budget %s: %d trials of one step take %.0f s; give more time, or fewer --learning-rates and "+
				"--batch-sizes", tu.flags.budget, len(tu.trials), tu.total())
		}
		if tu.steps < most {
			fmt.Fprintf(tu.env.stderr, "%d steps of %d fit into the budget\n", tu.steps, most)
		}
	}
	return tu.write()
}

// probe times a few steps of the plan's own setting.
func (tu *tuning) probe(ctx context.Context) error {
	for n := probeSteps; ; n++ { // one that was made before an interruption tells no time
		start := tu.opt.Now()
		_, watch, err := tu.once(ctx, tuneRun{tu.config.LearningRate, tu.config.BatchSize, n}, 0)
		if err != nil {
			return err
		}
		if step := watch.stepS(); step > 0 {
			whole := tu.opt.Now().Sub(start).Seconds()
			tu.cost = tuneCost{StepS: step, FixedS: max(0, whole-float64(n)*step)}
			return nil
		}
	}
}

// total is what all trials take, in seconds.
func (tu *tuning) total() float64 {
	sum := 0.0
	for _, r := range tuneRounds(len(tu.trials), tu.steps) {
		sum += float64(r.trials*tu.flags.seeds) * tu.cost.of(r.steps)
	}
	return sum
}

// hasTime reports whether the budget has room for a trial of so many steps.
func (tu *tuning) hasTime(steps int) bool {
	if tu.flags.budget == 0 {
		return true
	}
	left := tu.flags.budget - tu.opt.Now().Sub(tu.began)
	return left.Seconds() >= float64(tu.flags.seeds)*tu.cost.of(steps)
}
