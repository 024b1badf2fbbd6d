package train

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/model"
)

// flatRun has a learning rate that does not depend on where a run begins.
func flatRun(steps int) Config {
	cfg := tinyRun(steps)
	cfg.Schedule, cfg.WarmupSteps, cfg.LearningRate = Constant, 0, 0.01
	return cfg
}

// firstHalf trains m for 3 steps and returns what the second half begins with.
func firstHalf(t *testing.T, m *model.Model) Optimizer {
	t.Helper()
	cfg := flatRun(3)
	cfg.Optimizer = Optimizer{FS: store.NewCrashFS(), To: "/moments.safetensors"}
	res := mustRun(t, m, newData(), cfg, Hooks{})
	if res.OptimizerSHA256 == "" {
		t.Fatal("no moments were written")
	}
	return Optimizer{FS: cfg.Optimizer.FS, From: cfg.Optimizer.To, FromSHA256: res.OptimizerSHA256}
}

// TestCarriedOptimizer trains in two runs of which the second takes the moments and the position of the
// first: both together are one run, to the bit, also if the second is interrupted. Without the moments they are
// not.
func TestCarriedOptimizer(t *testing.T) {
	whole := newModel(t, "auto", 2)
	mustRun(t, whole, newData(), flatRun(6), Hooks{})
	for _, how := range []string{"carried", "interrupted", "reset"} {
		m := newModel(t, "auto", 2)
		cfg := flatRun(3)
		cfg.Optimizer, cfg.Position = firstHalf(t, m), 3*6
		if err := CheckOptimizer(m, cfg.Optimizer); err != nil {
			t.Fatal(err)
		}
		switch how {
		case "reset":
			cfg.Optimizer = Optimizer{}
		case "interrupted":
			cfg.Checkpoints = Checkpoints{Dir: "state", FS: store.NewCrashFS(), Build: "b"}
			ctx, cancel := context.WithCancel(context.Background())
			stop := Hooks{OnStep: func(s Metrics) { cancel() }}
			if _, err := Run(ctx, m, newData(), cfg, stop); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		mustRun(t, m, newData(), cfg, Hooks{})
		if same := sameBits(weights(m), weights(whole)); same != (how != "reset") {
			t.Errorf("%s: the same bits as of one run: %v", how, same)
		}
	}
}

// TestOptimizerIsPartOfTheRun refuses states of a run that began with other moments.
func TestOptimizerIsPartOfTheRun(t *testing.T) {
	m := newModel(t, "auto", 2)
	cfg := flatRun(4)
	cfg.Optimizer = firstHalf(t, m)
	cfg.Checkpoints = Checkpoints{Dir: "state", FS: store.NewCrashFS(), Build: "b"}
	mustRun(t, m, newData(), cfg, Hooks{})
	cfg.Optimizer = Optimizer{}
	if _, err := Run(context.Background(), m, newData(), cfg, Hooks{}); !errors.As(err, new(*ResumeError)) {
		t.Errorf("error %v", err)
	}
}

// TestUnfitOptimizer checks what is said of moments that do not fit.
func TestUnfitOptimizer(t *testing.T) {
	m := newModel(t, "auto", 2)
	o := firstHalf(t, m)
	refused := func(what string, m *model.Model, o Optimizer, want string) {
		if err := CheckOptimizer(m, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	more, fewer := newModel(t, "auto", 2), newModel(t, "auto", 2)
	more.SetTrainable(func(string) bool { return true })
	fewer.SetTrainable(func(name string) bool { return strings.Contains(name, ".experts.1.") })
	refused("more tensors", more, o, "other tensors were trained")
	refused("fewer tensors", fewer, o, "moments, and")
	gone := o
	gone.From = "/none"
	refused("gone", m, gone, "none")
	data, err := store.ReadAll(o.FS, o.From)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := store.WriteBytes(o.FS, o.From, data); err != nil {
		t.Fatal(err)
	}
	refused("damaged", m, o, "is damaged")
}

// TestUnfitMoments does not write moments that are no numbers.
func TestUnfitMoments(t *testing.T) {
	cfg := flatRun(1)
	cfg.Optimizer = Optimizer{FS: store.NewCrashFS(), To: "/moments.safetensors"}
	r, err := newRun(newModel(t, "auto", 2), newData(), cfg, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	first, second := r.m.Device().ReadMoments(r.moments[0])
	second[0] = float32(math.Inf(1))
	r.m.Device().SetMoments(r.moments[0], first, second)
	sum, err := r.writeOptimizer()
	if err != nil || sum != "" || store.Exists(cfg.Optimizer.FS, cfg.Optimizer.To) {
		t.Errorf("moments %q were written: %v", sum, err)
	}
}
