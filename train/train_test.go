package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

func tinyConfig() model.Config {
	return model.Config{
		ModelType: "bz_moe", HiddenSize: 16, NumHiddenLayers: 2, NumAttentionHeads: 2, VocabSize: 29,
		MoeIntermediateSize: 12, NRoutedExperts: 4, NSharedExperts: 1, NumExpertsPerTok: 2,
		RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 100, InitializerRange: 0.2,
	}
}

// newModel has its routed experts trainable.
func newModel(t testing.TB, kernels string, workers int) *model.Model {
	t.Helper()
	set, err := tensor.Choose(kernels)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(tinyConfig(), tensor.New(set, workers), 5)
	if err != nil {
		t.Fatal(err)
	}
	m.SetTrainable(func(name string) bool { return strings.Contains(name, ".experts.") })
	return m
}

// fakeData counts up from a random token, so that there is something to learn. Sequences have
// different numbers of targets.
type fakeData struct {
	n, length int
	onRead    func(i int)
	poisoned  []int // sequences that begin with token 28, which no other has
}

func (d *fakeData) Sequences() int { return d.n }

func (d *fakeData) Sequence(i int, dst *tokenize.Sequence) error {
	if d.onRead != nil {
		d.onRead(i)
	}
	rng := rand.New(rand.NewPCG(9, uint64(i)))
	first, used := rng.IntN(28), d.length-rng.IntN(d.length/2)
	*dst = tokenize.Sequence{Segments: []tokenize.Segment{{
		Document: tokenize.DocumentInfo{Ordinal: uint64(100 + i), ID: fmt.Sprint("doc", i)}, End: used,
	}}}
	for t := range d.length {
		dst.Tokens = append(dst.Tokens, int32((first+3*t)%28))
		dst.Target = append(dst.Target, t > 0 && t < used)
	}
	if slices.Contains(d.poisoned, i) {
		dst.Tokens[0] = 28
	}
	return nil
}

func newData() *fakeData { return &fakeData{n: 23, length: 12} }

func tinyRun(steps int) Config {
	cfg := DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps = 3, 2, steps
	cfg.LearningRate, cfg.WarmupSteps, cfg.Seed = 0.02, 2, 3
	return cfg
}

func weights(m *model.Model) []float32 {
	var out []float32
	for _, p := range m.Params() {
		out = append(out, p.Values()...)
	}
	return out
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// heldOut is the loss on sequences of its own.
func heldOut(ctx context.Context, m *model.Model) (float64, error) {
	r := reader{data: &fakeData{n: 40, length: 12}, order: order{n: 40}}
	var b micro
	if err := r.read(&b, 30, 8); err != nil {
		return 0, err
	}
	sum, n, err := m.Loss(ctx, b.batch, nil)
	return sum / float64(n), err
}

func mustRun(t testing.TB, m *model.Model, data Data, cfg Config, hooks Hooks) Result {
	t.Helper()
	res, err := Run(context.Background(), m, data, cfg, hooks)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestLearns checks that training lowers the held-out loss and leaves frozen weights alone.
func TestLearns(t *testing.T) {
	m := newModel(t, "auto", 2)
	before, start := weights(m), 0.0
	res := mustRun(t, m, newData(), tinyRun(60), Hooks{Evaluate: heldOut})
	start = res.Evaluations[0].LossNats
	if res.Best == nil || res.Best.LossNats > 0.8*start {
		t.Errorf("held-out loss went from %.3f to %+v in 60 steps", start, res.Best)
	}
	at := 0
	for _, p := range m.Params() {
		same := sameBits(p.Values(), before[at:at+p.Elements()])
		if same != (!p.Trains()) {
			t.Errorf("%s: trainable %v, unchanged %v", p.Name, p.Trains(), same)
		}
		at += p.Elements()
	}
	for i, s := range res.Metrics {
		if s.Step != i+1 || s.Tokens < 6 || !(s.GradientNorm > 0) || s.LearningRate != tinyRun(60).Rate(i) {
			t.Errorf("metrics %d: %+v", i, s)
		}
	}
}

func TestWorkers(t *testing.T) {
	for _, kernels := range tensor.Names() {
		m := newModel(t, kernels, 1)
		want := mustRun(t, m, newData(), tinyRun(6), Hooks{Evaluate: heldOut})
		for _, workers := range []int{2, 5} {
			other := newModel(t, kernels, workers)
			got := mustRun(t, other, newData(), tinyRun(6), Hooks{Evaluate: heldOut})
			if !sameBits(weights(m), weights(other)) || !reflect.DeepEqual(want, got) {
				t.Errorf("%s: %d workers give other bits than one", kernels, workers)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	if err := tinyRun(1).Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{LearningRate: math.NaN(), Beta1: 1, Beta2: -1, Schedule: "linear", NonFinite: "ask", Mean: "x"}
	bad.Checkpoints.Dir = "x"
	err := bad.Validate()
	for _, word := range []string{"batch_size", "gradient_accumulation_steps", "max_steps", "learning_rate", "beta1",
		"beta2", "epsilon", "linear", "ask", `"x"`, "file system"} {
		if !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%v says nothing about %s", err, word)
		}
	}
	m := newModel(t, "auto", 1)
	if _, err := Run(context.Background(), m, &fakeData{length: 4}, tinyRun(1), Hooks{}); err == nil {
		t.Error("no error without data")
	}
	m.SetTrainable(func(string) bool { return false })
	if _, err := Run(context.Background(), m, newData(), tinyRun(1), Hooks{}); err == nil {
		t.Error("no error without a trainable tensor")
	}
}

// TestBest checks that the weights of the lowest evaluation come back, the earlier one of two.
func TestBest(t *testing.T) {
	losses := map[int]float64{0: 1, 2: 7, 4: 3, 6: 3, 8: math.NaN(), 9: 5}
	for _, dir := range []string{"", "state"} {
		cfg := tinyRun(9)
		cfg.EvalSteps, cfg.Checkpoints = 2, Checkpoints{Dir: dir, FS: store.NewCrashFS()}
		m := newModel(t, "auto", 2)
		at := map[int][]float32{}
		step := 0
		hooks := Hooks{
			OnStep: func(s Metrics) { step = s.Step; at[step] = weights(m) },
			Evaluate: func(context.Context, *model.Model) (float64, error) {
				return losses[step], nil
			},
		}
		res := mustRun(t, m, newData(), cfg, hooks)
		if res.Best == nil || res.Best.Step != 4 || !sameBits(weights(m), at[4]) || sameBits(at[4], at[9]) {
			t.Errorf("dir %q: best is %+v, and the weights are not those of step 4", dir, res.Best)
		}
		if len(res.Evaluations) != 6 || !math.IsNaN(res.Evaluations[4].LossNats) {
			t.Errorf("dir %q: evaluations %+v", dir, res.Evaluations)
		}
	}
}

func TestStop(t *testing.T) {
	cfg := tinyRun(9)
	cfg.Checkpoints = Checkpoints{Dir: "state", FS: store.NewCrashFS(), Steps: 5}
	asked := 0
	hooks := Hooks{Stop: func() bool { asked++; return asked > 5 }, Evaluate: heldOut}
	m := newModel(t, "auto", 2)
	res := mustRun(t, m, newData(), cfg, hooks)
	if !res.Stopped || res.Steps != 5 || res.Best == nil || res.Best.Step != 5 {
		t.Errorf("stopped before the sixth step: %+v", res)
	}
	again := newModel(t, "auto", 2)
	other := mustRun(t, again, newData(), cfg, Hooks{Evaluate: heldOut})
	if !other.Stopped || other.ResumedFrom != 5 || !sameBits(weights(m), weights(again)) {
		t.Errorf("run again: %+v", other)
	}
}

func TestCalibrate(t *testing.T) {
	m := newModel(t, "auto", 2)
	before := weights(m)
	clock := time.Unix(0, 0)
	now := func() time.Time { clock = clock.Add(time.Second); return clock }
	took, err := Calibrate(context.Background(), m, newData(), tinyRun(50), 3, now)
	if err != nil || took != time.Second {
		t.Errorf("a step takes %v: %v", took, err)
	}
	if !sameBits(before, weights(m)) {
		t.Error("calibration changed weights")
	}
}

func TestFitSteps(t *testing.T) {
	for window := range time.Duration(90) {
		for _, evalSteps := range []int{0, 1, 2, 5} {
			got := FitSteps(window, 3, 2, evalSteps)
			want := 0
			for n := 1; n < 100; n++ {
				cost := 3*n + 2*2
				for k := 1; k < n; k++ {
					if evalSteps > 0 && k%evalSteps == 0 {
						cost += 2
					}
				}
				if cost <= int(window) {
					want = n
				}
			}
			if got != want {
				t.Errorf("window %d, eval_steps %d: %d steps, want %d", window, evalSteps, got, want)
			}
		}
	}
}

// TestScheduleKeepsTime makes a clock run ahead of the steps, and behind them: the learning rate follows
// the clock.
func TestScheduleKeepsTime(t *testing.T) {
	for _, pace := range []float64{2, 0.5} {
		cfg := tinyRun(10)
		cfg.WarmupSteps, cfg.TotalSteps = 0, 10
		step := -1
		hooks := Hooks{Elapsed: func() float64 { step++; return pace * float64(step) / 10 }}
		res := mustRun(t, newModel(t, "plain", 1), newData(), cfg, hooks)
		for i, m := range res.Metrics {
			if want := cfg.Rate(min(int(pace*float64(i)), 9)); m.LearningRate != want {
				t.Errorf("pace %v: step %d has rate %v, want %v", pace, i, m.LearningRate, want)
			}
		}
	}
}
