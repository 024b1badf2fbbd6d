package train

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bzdata/train/model"
)

// Calibrate measures how long an optimizer step takes: the median of the given number of steps, after
// one that is not counted. The steps are those with which Run would begin, made at learning rate 0, so
// that no weight changes; no state is written and no hook is called. The clock is an argument.
func Calibrate(
	ctx context.Context, m *model.Model, data Data, cfg Config, steps int, now func() time.Time,
) (time.Duration, error) {
	if steps < 1 {
		return 0, fmt.Errorf("calibration takes at least 1 step, not %d", steps)
	}
	if err := cfg.Validate(); err != nil {
		return 0, err
	}
	cfg.LearningRate = 0
	r, err := newRun(m, data, cfg, Hooks{})
	if err != nil {
		return 0, err
	}
	defer r.free()
	var took []time.Duration
	for range steps + 1 {
		start := now()
		if err := r.step(ctx); err != nil {
			return 0, err
		}
		took = append(took, now().Sub(start))
	}
	took = took[1:]
	slices.Sort(took)
	return took[len(took)/2], nil
}

// FitSteps returns how many steps fit into a window, with an evaluation before the first step, after
// the last, and every evalSteps steps (0 for none between).
func FitSteps(window, step, evaluation time.Duration, evalSteps int) int {
	cost := func(n int) time.Duration {
		evaluations := 2
		if evalSteps > 0 {
			evaluations += (n - 1) / evalSteps
		}
		return time.Duration(n)*step + time.Duration(evaluations)*evaluation
	}
	if step <= 0 || cost(1) > window {
		return 0
	}
	n := int(window / step)
	for n > 1 && cost(n) > window {
		n -= max(1, int((cost(n)-window)/(step+evaluation+1)))
	}
	return n
}
