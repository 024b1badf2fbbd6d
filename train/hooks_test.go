package train

import (
	"context"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/model"
)

// TestHooksSeeTheRun checks the load of the experts against the routers' own choices, the order in which
// hooks come, and that the weights are the same without them.
func TestHooksSeeTheRun(t *testing.T) {
	data := &fakeData{n: 7, length: 12}
	cfg := DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps, cfg.Seed = 2, 2, 4, 3
	plain := newModel(t, "plain", 1)
	if _, err := Run(context.Background(), plain, data, cfg, Hooks{}); err != nil {
		t.Fatal(err)
	}
	m := newModel(t, "plain", 1)
	order := reader{data: data, order: order{n: data.n, seed: cfg.Seed}}
	var calls []string
	var want []model.LayerCounts
	hooks := Hooks{
		OnBegin: func(r Result) {
			if r.ResumedFrom != 0 || len(r.Metrics) != 0 {
				t.Errorf("begins with %+v", r)
			}
			calls = append(calls, "begin")
		},
		BeforeStep: func(step int) {
			want = routed(t, m, &order, cfg, step)
			calls = append(calls, "before")
		},
		OnLoad: func(step int, load []model.LayerCounts) {
			if !reflect.DeepEqual(load, want) {
				t.Errorf("step %d: load %v, want %v", step, load, want)
			}
			calls = append(calls, "load")
		},
		OnStep: func(Metrics) { calls = append(calls, "step") },
	}
	if _, err := Run(context.Background(), m, data, cfg, hooks); err != nil {
		t.Fatal(err)
	}
	each := []string{"before", "load", "step"}
	if want := slices.Concat([]string{"begin"}, each, each, each, each); !slices.Equal(calls, want) {
		t.Errorf("calls %v", calls)
	}
	for i, p := range m.Params() {
		if !slices.Equal(p.Values(), plain.Params()[i].Values()) {
			t.Errorf("%s differs with hooks", p.Name)
		}
	}
}

// routed counts the choices of the routers for the batches of a step, with the weights as they are.
func routed(t *testing.T, m *model.Model, data *reader, cfg Config, step int) []model.LayerCounts {
	t.Helper()
	counts := map[int]*model.LayerCounts{}
	for i := range cfg.AccumulationSteps {
		var b micro
		if err := data.read(&b, int64(((step-1)*cfg.AccumulationSteps+i)*cfg.BatchSize), cfg.BatchSize); err != nil {
			t.Fatal(err)
		}
		err := m.Routes(context.Background(), b.batch, func(r model.Route) {
			c := counts[r.Layer]
			if c == nil {
				c = &model.LayerCounts{Layer: r.Layer, Experts: make([]int, tinyConfig().NRoutedExperts)}
				counts[r.Layer] = c
			}
			c.Tokens += len(b.batch.Tokens)
			for _, e := range r.Experts {
				c.Experts[e]++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var out []model.LayerCounts
	for _, layer := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, *counts[layer])
	}
	return out
}

// TestLoadLeavesSkippedBatchesOut checks that a batch whose loss is no number, and what was summed up
// with it, is not counted.
func TestLoadLeavesSkippedBatchesOut(t *testing.T) {
	data := &fakeData{n: 4, length: 12, poisoned: []int{2}}
	cfg := DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps, cfg.NonFinite = 1, 4, 1, Skip
	m := poisonedModel(t)
	tokens := 0
	hooks := Hooks{OnLoad: func(_ int, load []model.LayerCounts) { tokens = load[0].Tokens }}
	res, err := Run(context.Background(), m, data, cfg, hooks)
	if err != nil || res.Metrics[0].Skipped != 1 {
		t.Fatalf("%+v, %v", res.Metrics, err)
	}
	if want := 3 * data.length; tokens != want {
		t.Errorf("%d positions were counted, want those of three batches, %d", tokens, want)
	}
}

// TestBeforeState checks that a state appears only after its hook, and that a resumed run is told of
// what the state holds.
func TestBeforeState(t *testing.T) {
	fsys := store.NewCrashFS()
	data := &fakeData{n: 7, length: 12}
	cfg := DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps = 2, 1, 5
	cfg.Checkpoints = Checkpoints{Dir: "/run", FS: fsys, Steps: 2, Build: "test"}
	ctx, cancel := context.WithCancel(context.Background())
	var states []int
	hooks := Hooks{
		BeforeState: func(step int) {
			if store.Exists(fsys, "/run/"+stateName(step)) {
				t.Errorf("the state of step %d is there before its hook", step)
			}
			states = append(states, step)
		},
		OnStep: func(s Metrics) {
			if s.Step == 3 {
				cancel()
			}
		},
	}
	if _, err := Run(ctx, newModel(t, "plain", 1), data, cfg, hooks); err == nil {
		t.Fatal("the run was not cancelled")
	}
	begun := Result{}
	hooks.OnBegin = func(r Result) { begun = r }
	if _, err := Run(context.Background(), newModel(t, "plain", 1), data, cfg, hooks); err != nil {
		t.Fatal(err)
	}
	if begun.ResumedFrom != 3 || len(begun.Metrics) != 3 || math.IsNaN(begun.Metrics[2].LossNats) {
		t.Errorf("begun with %+v", begun)
	}
	if want := []int{2, 3, 4, 5}; !slices.Equal(states, want) {
		t.Errorf("states of steps %v, want %v", states, want)
	}
}
