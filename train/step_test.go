package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"bzdata/tokenize"
	"bzdata/train/model"
)

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
		if !p.Trains() {
			continue
		}
		if into[p.Name] == nil {
			into[p.Name] = make([]float64, len(p.Gradient()))
		}
		for k, g := range p.Gradient() {
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
		m1, m2, w := moment1[name], moment2[name], m.Param(name).Values()
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

// poisonedModel gives NaN for sequences that hold token 28.
func poisonedModel(t *testing.T) *model.Model {
	m := newModel(t, "auto", 2)
	embed := m.Param("model.embed_tokens.weight").Values()
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

// TestSkipsApart checks that batches skipped now and then do not add up to too many in a row.
func TestSkipsApart(t *testing.T) {
	cfg, data := tinyRun(40), newData()
	cfg.NonFinite, cfg.SkipsMax, data.poisoned = Skip, 2, []int{6}
	if res := mustRun(t, poisonedModel(t), data, cfg, Hooks{}); len(res.NonFinite) < 8 {
		t.Errorf("%d batches skipped in ten epochs", len(res.NonFinite))
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
			for i := range p.Gradient() {
				p.Gradient()[i] = 0.5
			}
		}
		r.params[1].Gradient()[2] = float32(math.Inf(1))
		before := slices.Clone(r.params[1].Values())
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
				elements += len(p.Gradient())
			}
		}
		if want := 0.5 * math.Sqrt(float64(elements)); err != nil || math.Abs(norm-want) > 1e-9*want {
			t.Errorf("norm %v, want %v: %v", norm, want, err)
		}
		r.update(0.1, norm, dropped)
		if !slices.Equal(before, r.params[1].Values()) || r.state.Updates[1] != 0 || r.state.Updates[0] != 1 {
			t.Errorf("updates %v", r.state.Updates)
		}
		if err := r.countSkips(dropped); err != nil || r.state.SkippedInARow != cfg.AccumulationSteps {
			t.Errorf("%d batches in a row: %v", r.state.SkippedInARow, err)
		}
	}
}
