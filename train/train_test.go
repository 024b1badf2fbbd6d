package train

import (
	"context"
	"errors"
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
		out = append(out, p.Data...)
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
		same := sameBits(p.Data, before[at:at+len(p.Data)])
		if same != (p.Grad == nil) {
			t.Errorf("%s: trainable %v, unchanged %v", p.Name, p.Grad != nil, same)
		}
		at += len(p.Data)
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

// TestArithmetic follows the loop with a plain one in double precision, written from the papers.
func TestArithmetic(t *testing.T) {
	for _, mean := range []Mean{MeanOfBatches, MeanOfTokens} {
		t.Run(string(mean), func(t *testing.T) {
			cfg := tinyRun(5)
			cfg.Mean, cfg.ClipNorm = mean, 0.5
			m := newModel(t, "auto", 1)
			res := mustRun(t, m, newData(), cfg, Hooks{})
			plain := newModel(t, "auto", 1)
			followed := plainTraining(t, plain, cfg)
			for i := range followed {
				if math.Abs(followed[i]-res.Metrics[i].LossNats) > 1e-5 {
					t.Errorf("step %d: loss %v, plainly %v", i+1, res.Metrics[i].LossNats, followed[i])
				}
			}
			a, b := weights(m), weights(plain)
			for i := range a {
				if math.Abs(float64(a[i]-b[i])) > 2e-4 {
					t.Fatalf("weight %d is %v, plainly %v", i, a[i], b[i])
				}
			}
		})
	}
}

// plainTraining trains and returns the losses. It takes gradients one sequence at a time.
func plainTraining(t *testing.T, m *model.Model, cfg Config) (losses []float64) {
	moment1, moment2 := map[string][]float64{}, map[string][]float64{}
	perm := permutation(nil, 23, cfg.Seed, 0)
	perm = append(perm, permutation(nil, 23, cfg.Seed, 1)...)
	for step := range cfg.MaxSteps {
		loss, grads, total := 0.0, map[string][]float64{}, 0
		var weigh []float64
		var sums []float64
		for range cfg.AccumulationSteps {
			batchTokens, batchSum, batchGrads := 0, 0.0, map[string][]float64{}
			for range cfg.BatchSize {
				sum, n := plainGradient(t, m, int(perm[0]), batchGrads)
				batchTokens, batchSum, perm = batchTokens+n, batchSum+sum, perm[1:]
			}
			total += batchTokens
			scale := 1.0
			if cfg.Mean == MeanOfBatches {
				scale = 1 / float64(batchTokens) / float64(cfg.AccumulationSteps)
			}
			weigh, sums = append(weigh, scale), append(sums, batchSum)
			for name, g := range batchGrads {
				if grads[name] == nil {
					grads[name] = make([]float64, len(g))
				}
				for i := range g {
					grads[name][i] += scale * g[i]
				}
			}
		}
		all := 1.0
		if cfg.Mean == MeanOfTokens {
			all = 1 / float64(total)
		}
		for i := range sums {
			loss += all * weigh[i] * sums[i]
		}
		losses = append(losses, loss)
		plainAdamW(m, cfg, step, grads, all, moment1, moment2)
	}
	return losses
}

func plainGradient(t *testing.T, m *model.Model, i int, into map[string][]float64) (float64, int) {
	var seq tokenize.Sequence
	if err := newData().Sequence(i, &seq); err != nil {
		t.Fatal(err)
	}
	b := model.Batch{Sequences: 1, Length: len(seq.Tokens) - 1, Tokens: seq.Tokens[:len(seq.Tokens)-1]}
	for k := 1; k < len(seq.Tokens); k++ {
		target := int32(-1)
		if seq.Target[k] {
			target = seq.Tokens[k]
		}
		b.Targets = append(b.Targets, target)
	}
	m.ZeroGrad()
	sum, n, err := m.Backward(context.Background(), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		if p.Grad == nil {
			continue
		}
		if into[p.Name] == nil {
			into[p.Name] = make([]float64, len(p.Grad))
		}
		for k, g := range p.Grad {
			into[p.Name][k] += float64(g)
		}
	}
	return sum, n
}

func plainAdamW(m *model.Model, cfg Config, step int, grads map[string][]float64, scale float64,
	moment1, moment2 map[string][]float64) {
	norm := 0.0
	for _, g := range grads {
		for _, x := range g {
			norm += x * x * scale * scale
		}
	}
	norm = math.Sqrt(norm)
	if norm > cfg.ClipNorm {
		scale *= cfg.ClipNorm / norm
	}
	rate := cfg.LearningRate
	if step < 2 {
		rate *= float64(step) / 2
	} else {
		rate *= (1 + math.Cos(math.Pi*float64(step-2)/float64(cfg.MaxSteps-2))) / 2
	}
	power := float64(step + 1)
	for name, g := range grads {
		if moment1[name] == nil {
			moment1[name], moment2[name] = make([]float64, len(g)), make([]float64, len(g))
		}
		m1, m2, w := moment1[name], moment2[name], m.Param(name).Data
		for i, x := range g {
			x *= scale
			m1[i] = 0.9*m1[i] + 0.1*x
			m2[i] = 0.95*m2[i] + 0.05*x*x
			hat1, hat2 := m1[i]/(1-math.Pow(0.9, power)), m2[i]/(1-math.Pow(0.95, power))
			decayed := float64(w[i]) * (1 - rate*cfg.WeightDecay)
			w[i] = float32(decayed - rate*hat1/(math.Sqrt(hat2)+cfg.Epsilon))
		}
	}
}

// TestSchedules checks rates against the formulas of transformers 4.57 optimization.py, worked out.
func TestSchedules(t *testing.T) {
	base := Config{LearningRate: 1, MaxSteps: 10, WarmupSteps: 2}
	tests := []struct {
		name string
		edit func(*Config)
		want []float64 // of steps 0, 1, …
	}{
		{"cosine", func(c *Config) { c.Schedule = Cosine },
			[]float64{0, 0.5, 1, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5}},
		{"cosine past its end", func(c *Config) { c.Schedule, c.WarmupSteps, c.TotalSteps = Cosine, 0, 2 },
			[]float64{1, 0.5, 0}},
		{"long cosine", func(c *Config) { c.Schedule, c.WarmupSteps, c.TotalSteps = Cosine, 600, 88000 },
			[]float64{0, 1. / 600, 2. / 600}},
		{"constant", func(c *Config) { c.Schedule = Constant }, []float64{0, 0.5, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"wsd", func(c *Config) { c.Schedule, c.DecaySteps = WSD, 4 },
			[]float64{0, 0.5, 1, 1, 1, 1, 1, 0.5, 1 - math.Sqrt(0.5), 1 - math.Sqrt(0.75)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := base
			tt.edit(&cfg)
			for step, want := range tt.want {
				if got := cfg.Rate(step); math.Abs(got-want) > 1e-15 {
					t.Errorf("step %d: rate %v, want %v", step, got, want)
				}
			}
		})
	}
	if c := (Config{WarmupSteps: 600, TotalSteps: 88000}).Fit(50); c.WarmupSteps != 5 || c.scheduleSteps() != 50 {
		t.Errorf("fitted to 50 steps: %+v", c)
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

// TestOrder checks that each epoch is a permutation, that epochs differ, and that a position means the
// same wherever one starts.
func TestOrder(t *testing.T) {
	for _, n := range []int{1, 2, 7, 100} {
		whole := order{n: n, seed: 4}
		var all []int
		for position := range int64(3 * n) {
			all = append(all, whole.at(position))
			fresh := order{n: n, seed: 4}
			if fresh.at(position) != all[position] {
				t.Fatalf("position %d depends on where the order was entered", position)
			}
		}
		for epoch := range 3 {
			part := slices.Clone(all[epoch*n : (epoch+1)*n])
			slices.Sort(part)
			for i := range part {
				if part[i] != i {
					t.Fatalf("epoch %d of %d sequences: %v", epoch, n, part)
				}
			}
		}
		if n > 7 && slices.Equal(all[:n], all[n:2*n]) {
			t.Error("two epochs have one order")
		}
	}
	// Each of the 24 orders of 4 must be about as frequent: 10,000 draws, 23 degrees of freedom, the
	// 0.9999 quantile of chi squared is 58.6.
	count := map[[4]uint32]int{}
	for seed := range uint64(10000) {
		count[[4]uint32(permutation(nil, 4, seed, 7))]++
	}
	chi := 0.0
	for _, c := range count {
		d := float64(c) - 10000./24
		chi += d * d / (10000. / 24)
	}
	if len(count) != 24 || chi > 58.6 {
		t.Errorf("%d orders, chi squared %.1f", len(count), chi)
	}
}

func TestJoin(t *testing.T) {
	seen := 0
	part := func(n int) *fakeData { return &fakeData{n: n, length: 4, onRead: func(i int) { seen = 100*n + i }} }
	j := Join(part(3), part(0), part(2))
	want := []int{300, 301, 302, 200, 201}
	for i := range want {
		if err := j.Sequence(i, &tokenize.Sequence{}); err != nil || seen != want[i] {
			t.Errorf("sequence %d read %d: %v", i, seen, err)
		}
	}
	if j.Sequences() != 5 || Join().Sequences() != 0 {
		t.Error("wrong number of sequences")
	}
	if err := j.Sequence(5, &tokenize.Sequence{}); err == nil {
		t.Error("no error past the end")
	}
}

// poisonedModel gives NaN for sequences that hold token 28.
func poisonedModel(t *testing.T) *model.Model {
	m := newModel(t, "auto", 2)
	embed := m.Param("model.embed_tokens.weight").Data
	embed[len(embed)-1] = float32(math.NaN())
	return m
}

// positionOf returns where in the run a sequence comes first.
func positionOf(cfg Config, n, sequence int) int {
	return slices.Index(permutation(nil, n, cfg.Seed, 0), uint32(sequence))
}

func TestRaise(t *testing.T) {
	cfg, data := tinyRun(4), newData()
	data.poisoned = []int{17}
	at := positionOf(cfg, data.n, 17)
	m := poisonedModel(t)
	res, err := Run(context.Background(), m, data, cfg, Hooks{})
	var nf *NonFiniteError
	if !errors.As(err, &nf) {
		t.Fatalf("error %v", err)
	}
	has := slices.ContainsFunc(nf.Event.Documents, func(d Document) bool { return d == Document{117, "doc17"} })
	if e := nf.Event; e.Step != at/6+1 || e.Batch != at%6/3 || !has || len(e.Documents) != 3 || res.Steps != at/6 {
		t.Errorf("sequence 17 is at position %d: %+v after %d steps", at, nf.Event, res.Steps)
	}
	if !strings.Contains(err.Error(), "117 (doc17)") {
		t.Errorf("%v does not name the document", err)
	}
}

// TestSkip checks that a skipped batch is as if it had not been there.
func TestSkip(t *testing.T) {
	cfg, data := tinyRun(1), newData()
	cfg.NonFinite, cfg.Schedule, cfg.WarmupSteps = Skip, Constant, 0
	order := permutation(nil, data.n, cfg.Seed, 0)
	for batch := range 2 {
		data.poisoned = []int{int(order[3*batch+1])}
		m := poisonedModel(t)
		heard := 0
		res := mustRun(t, m, data, cfg, Hooks{OnNonFinite: func(NonFiniteEvent) { heard++ }})
		if res.Metrics[0].Skipped != 1 || heard != 1 || len(res.NonFinite) != 1 || res.NonFinite[0].Batch != batch {
			t.Fatalf("batch %d: %+v, %+v", batch, res.Metrics, res.NonFinite)
		}
		other := poisonedModel(t)
		alone := newData()
		one := cfg
		one.AccumulationSteps = 1
		good := order[3*(1-batch):][:3]
		want := mustRun(t, other, pick{alone, good, permutation(nil, 3, cfg.Seed, 0)}, one, Hooks{})
		if !sameBits(weights(m), weights(other)) {
			t.Errorf("batch %d left a trace in the weights", batch)
		}
		if want.Metrics[0].LossNats != res.Metrics[0].LossNats {
			t.Errorf("loss %v, want %v", res.Metrics[0].LossNats, want.Metrics[0].LossNats)
		}
	}
}

// pick gives chosen sequences of data in their order, once a permutation has been undone.
type pick struct {
	data   Data
	chosen []uint32
	perm   []uint32
}

func (p pick) Sequences() int { return len(p.chosen) }
func (p pick) Sequence(i int, dst *tokenize.Sequence) error {
	return p.data.Sequence(int(p.chosen[slices.Index(p.perm, uint32(i))]), dst)
}

func TestSkipLimit(t *testing.T) {
	cfg, data := tinyRun(100), newData()
	cfg.NonFinite, cfg.SkipsMax = Skip, 7
	for i := range data.n {
		data.poisoned = append(data.poisoned, i)
	}
	m := poisonedModel(t)
	before := weights(m)
	res, err := Run(context.Background(), m, data, cfg, Hooks{})
	var nf *NonFiniteError
	if !errors.As(err, &nf) || nf.InARow != 8 || res.Steps != 4 || len(res.NonFinite) != 8 {
		t.Errorf("after %d steps and %d skips: %v", res.Steps, len(res.NonFinite), err)
	}
	if !sameBits(before, weights(m)) {
		t.Error("steps without a finite loss changed weights")
	}
}

// TestDroppedGradient checks that a tensor whose gradient is no number stays as it is.
func TestDroppedGradient(t *testing.T) {
	for _, policy := range []NonFinite{Raise, Skip} {
		cfg := tinyRun(3)
		cfg.NonFinite = policy
		m := newModel(t, "auto", 1)
		r, err := newRun(m, newData(), cfg, Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.params {
			for i := range p.Grad {
				p.Grad[i] = 0.5
			}
		}
		r.params[1].Grad[2] = float32(math.Inf(1))
		before := slices.Clone(r.params[1].Data)
		norm, dropped, err := r.norm()
		if policy == Raise {
			var nf *NonFiniteError
			if !errors.As(err, &nf) || nf.Event.Tensor != r.params[1].Name {
				t.Errorf("error %v", err)
			}
			continue
		}
		elements := 0
		for i, p := range r.params {
			if i != 1 {
				elements += len(p.Grad)
			}
		}
		if want := 0.5 * math.Sqrt(float64(elements)); err != nil || math.Abs(norm-want) > 1e-9*want {
			t.Errorf("norm %v, want %v: %v", norm, want, err)
		}
		r.update(0.1, norm, dropped)
		if !slices.Equal(before, r.params[1].Data) || r.state.Updates[1] != 0 || r.state.Updates[0] != 1 {
			t.Errorf("updates %v", r.state.Updates)
		}
		if err := r.countSkips(dropped); err != nil || r.state.SkippedInARow != cfg.AccumulationSteps {
			t.Errorf("%d batches in a row: %v", r.state.SkippedInARow, err)
		}
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
