package train

import (
	"context"
	"errors"
	"math"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/model"
)

// faultyRun meets no number in step 4 or later: sequence 17 is poisoned, and its position in the order is
// that far on.
func faultyRun(t *testing.T, policy NonFinite) (Config, *fakeData, int) {
	t.Helper()
	cfg, data := tinyRun(20), newData()
	cfg.NonFinite, cfg.SkipsMax = policy, 0
	cfg.Checkpoints = Checkpoints{Dir: "state", FS: store.NewCrashFS(), Steps: 2, Build: "b", FallBack: true}
	for i := range data.n {
		if step := positionOf(cfg, data.n, i)/6 + 1; step == 4 {
			data.poisoned = []int{i}
			return cfg, data, step
		}
	}
	t.Fatal("no sequence comes first in step 4")
	return cfg, data, 0
}

// TestFallBack meets a fault behind the first state, under both policies: the run ends with the weights of
// the newest state, whose held-out loss is measured.
func TestFallBack(t *testing.T) {
	for _, policy := range []NonFinite{Raise, Skip} {
		cfg, data, fault := faultyRun(t, policy)
		at := map[int][]float32{}
		m, evaluated := poisonedModel(t), 0
		res, err := Run(context.Background(), m, data, cfg, Hooks{
			OnStep: func(s Metrics) { at[s.Step] = weights(m) },
			Evaluate: func(context.Context, *model.Model) (float64, error) {
				evaluated++
				return 2, nil
			},
		})
		if err != nil || res.Fault == nil || res.Fault.Event.Step != fault || !res.Stopped {
			t.Fatalf("%s: %+v, %v", policy, res.Fault, err)
		}
		if res.Position != int64(fault*6) {
			t.Errorf("%s: position %d", policy, res.Position)
		}
		if res.Steps != 2 || len(res.Metrics) != 2 || !sameBits(weights(m), at[2]) || sameBits(at[2], at[3]) {
			t.Errorf("%s: not the weights of step 2, but of step %d", policy, res.Steps)
		}
		if evaluated != 2 || res.Best == nil || res.Best.Step != 2 {
			t.Errorf("%s: %d evaluations, best %+v", policy, evaluated, res.Best)
		}
	}
}

// TestFallBackToBest has evaluations: the best one's weights are taken, though a state is newer.
func TestFallBackToBest(t *testing.T) {
	cfg, data, _ := faultyRun(t, Raise)
	cfg.EvalSteps = 1
	at := map[int][]float32{}
	m, step := poisonedModel(t), 0
	res, err := Run(context.Background(), m, data, cfg, Hooks{
		OnStep:   func(s Metrics) { step = s.Step; at[step] = weights(m) },
		Evaluate: func(context.Context, *model.Model) (float64, error) { return float64(step + 1), nil },
	})
	if err != nil || res.Fault == nil || res.Best == nil || res.Best.Step != 1 || res.Steps != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	if !sameBits(weights(m), at[1]) {
		t.Error("not the weights of step 1")
	}
}

// TestFallBackResumed falls back again when a run that had fallen back is repeated, to the same bits.
func TestFallBackResumed(t *testing.T) {
	cfg, data, _ := faultyRun(t, Raise)
	m := poisonedModel(t)
	mustRun(t, m, data, cfg, Hooks{})
	again := poisonedModel(t)
	res := mustRun(t, again, data, cfg, Hooks{})
	if res.ResumedFrom != 2 || res.Fault == nil || !sameBits(weights(m), weights(again)) {
		t.Errorf("resumed from %d: %+v", res.ResumedFrom, res.Fault)
	}
}

// TestNoFallBack is an error as before: before the first state, where it was not asked for, and where
// the state has been damaged meanwhile.
func TestNoFallBack(t *testing.T) {
	for name, edit := range map[string]func(*Config, *Hooks){
		"no state yet": func(c *Config, _ *Hooks) { c.Checkpoints.Steps = 5 },
		"not asked":    func(c *Config, _ *Hooks) { c.Checkpoints.FallBack = false },
		"no directory": func(c *Config, _ *Hooks) { c.Checkpoints.Dir = "" },
		"damaged state": func(c *Config, h *Hooks) {
			h.OnStep = func(s Metrics) {
				if s.Step == 3 {
					if err := store.WriteBytes(c.Checkpoints.FS, "state/"+tensorsName(2), []byte("x")); err != nil {
						t.Error(err)
					}
				}
			}
		},
	} {
		cfg, data, _ := faultyRun(t, Raise)
		var hooks Hooks
		edit(&cfg, &hooks)
		res, err := Run(context.Background(), poisonedModel(t), data, cfg, hooks)
		if !errors.As(err, new(*NonFiniteError)) || res.Fault != nil || res.Steps != 3 {
			t.Errorf("%s: %d steps, %v", name, res.Steps, err)
		}
	}
}

// TestFallBackStaysFinite writes a state of weights that are no numbers themselves: the one before is taken.
func TestFallBackStaysFinite(t *testing.T) {
	cfg, data := tinyRun(6), newData()
	cfg.Checkpoints = Checkpoints{Dir: "state", FS: store.NewCrashFS(), Steps: 1, Build: "b", FallBack: true}
	m := newModel(t, "auto", 2)
	var kept []float32
	res := mustRun(t, m, data, cfg, Hooks{OnStep: func(s Metrics) {
		switch s.Step {
		case 2:
			kept = weights(m)
		case 3:
			for _, p := range m.Params() {
				if p.Trains() {
					p.Values()[0] = float32(math.Inf(1))
				}
			}
		}
	}})
	if res.Fault == nil || res.Steps != 2 || !sameBits(weights(m), kept) {
		t.Errorf("%d steps, fault %v", res.Steps, res.Fault)
	}
}
