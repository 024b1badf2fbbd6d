package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bzdata/train/tensor"
)

// tinyConfig is a model with every kind of weight: a dense and two mixture layers.
func tinyConfig() Config {
	return Config{
		ModelType: "bz_moe", HiddenSize: 24, NumHiddenLayers: 3, NumAttentionHeads: 4, NumKeyValueHeads: 2,
		HeadDim: 6, VocabSize: 37, IntermediateSize: 20, FirstKDenseReplace: 1, MoeIntermediateSize: 10,
		NRoutedExperts: 5, NSharedExperts: 2, NumExpertsPerTok: 2, NormTopkProb: true,
		RoutedScalingFactor: 1.5, RMSNormEps: 1e-6, RopeTheta: 100, MaxPositionEmbeddings: 512,
		InitializerRange: 0.2,
	}
}

func newModel(t testing.TB, cfg Config, kernels string, workers int) *Model {
	t.Helper()
	set, err := tensor.Choose(kernels)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(cfg, tensor.New(set, workers), 7)
	if err != nil {
		t.Fatal(err)
	}
	// Norms of 1 would hide a wrong use of their weights.
	rng := rand.New(rand.NewPCG(3, 4))
	for _, p := range m.Params() {
		if len(p.Shape) == 1 {
			for i := range p.Values() {
				p.Values()[i] = float32(1 + 0.3*rng.NormFloat64())
			}
		}
	}
	return m
}

// randomBatch has about one uncounted target in eight.
func randomBatch(cfg Config, sequences, length int, seed uint64) Batch {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := Batch{Sequences: sequences, Length: length}
	for range sequences * length {
		b.Tokens = append(b.Tokens, rng.Int32N(int32(cfg.VocabSize)))
		target := rng.Int32N(int32(cfg.VocabSize))
		if rng.IntN(8) == 0 {
			target = -1
		}
		b.Targets = append(b.Targets, target)
	}
	return b
}

func all(string) bool { return true }

func loss(t testing.TB, m *Model, b Batch) float64 {
	t.Helper()
	sum, _, err := m.Loss(context.Background(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// backward returns the loss and all gradients.
func backward(t testing.TB, m *Model, b Batch, keep func(string) bool) (float64, []float32) {
	t.Helper()
	m.SetTrainable(keep)
	sum, _, err := m.Backward(context.Background(), b, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	var grads []float32
	for _, p := range m.Params() {
		grads = append(grads, p.Gradient()...)
	}
	return sum, grads
}

// TestWorkers checks that any number of workers gives the same bits.
func TestWorkers(t *testing.T) {
	for _, kernels := range tensor.Names() {
		cfg := tinyConfig()
		cfg.NRoutedExperts = 12 // enough that few workers share experts out and many do not
		b := randomBatch(cfg, 3, 150, 2)
		wantSum, want := backward(t, newModel(t, cfg, kernels, 1), b, all)
		for _, workers := range []int{2, 3, 8} {
			sum, grads := backward(t, newModel(t, cfg, kernels, workers), b, all)
			if sum != wantSum || !slices.Equal(grads, want) {
				t.Errorf("%s: other bits with %d workers than with one", kernels, workers)
			}
		}
	}
}

// TestRowsAlone checks that a position's loss depends neither on the batch nor on what follows it.
func TestRowsAlone(t *testing.T) {
	for _, kernels := range tensor.Names() {
		m := newModel(t, tinyConfig(), kernels, 2)
		b := randomBatch(m.Config(), 3, 130, 2)
		want := make([]float32, len(b.Tokens))
		if _, _, err := m.Loss(context.Background(), b, want); err != nil {
			t.Fatal(err)
		}
		for _, length := range []int{1, 63, 64, 100, 130} {
			from := 2 * b.Length
			one := Batch{1, length, b.Tokens[from : from+length], b.Targets[from : from+length]}
			got := make([]float32, length)
			if _, _, err := m.Loss(context.Background(), one, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want[from:from+length]) {
				t.Errorf("%s: the last sequence's first %d losses are other bits alone", kernels, length)
			}
		}
	}
}

// TestFrozen checks that freezing changes which gradients exist, and nothing in those that do.
func TestFrozen(t *testing.T) {
	cfg := tinyConfig()
	m := newModel(t, cfg, "auto", 2)
	b := randomBatch(cfg, 2, 70, 9)
	backward(t, m, b, all)
	want := map[string][]float32{}
	for _, p := range m.Params() {
		want[p.Name] = slices.Clone(p.Gradient())
	}
	some := []string{"self_attn.o_proj", "post_attention_layernorm", "model.norm", "lm_head", "embed_tokens",
		"layers.1.mlp.gate", "layers.2.self_attn.q_proj", "layers.1.input_layernorm", "experts.3.down",
		"layers.2.mlp.experts", "layers.2.mlp.shared_experts.up", "layers.0.mlp.gate_proj", "no such weight"}
	for _, part := range some {
		keep := func(name string) bool { return strings.Contains(name, part) }
		backward(t, m, b, keep)
		for _, p := range m.Params() {
			switch {
			case keep(p.Name) && !slices.Equal(p.Gradient(), want[p.Name]):
				t.Errorf("with only %s: the gradient of %s differs", part, p.Name)
			case !keep(p.Name) && p.Trains():
				t.Errorf("with only %s: %s has a gradient", part, p.Name)
			}
		}
	}
}

// TestBackwardAdds checks scale and accumulation: two calls add up, and the sums are Loss's.
func TestBackwardAdds(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 2)
	b := randomBatch(m.Config(), 2, 40, 1)
	_, once := backward(t, m, b, all)
	sum, _, err := m.Backward(context.Background(), b, 1.5)
	if err != nil {
		t.Fatal(err)
	}
	if want := loss(t, m, b); sum != want {
		t.Errorf("Backward's loss is %v, Loss's %v", sum, want)
	}
	at := 0
	for _, p := range m.Params() {
		for _, g := range p.Gradient() {
			want := float64(once[at]) * 4
			if math.Abs(float64(g)-want) > 1e-5*(1+math.Abs(want)) {
				t.Fatalf("%s: gradient %v after scales 0.5 and 1.5, want %v", p.Name, g, want)
			}
			at++
		}
	}
	m.ZeroGrad()
	if _, _, err := m.Backward(context.Background(), b, 0); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		if slices.ContainsFunc(p.Gradient(), func(g float32) bool { return g != 0 }) {
			t.Fatalf("%s has a gradient at scale 0", p.Name)
		}
	}
}

// TestUncounted checks that a batch without targets has no loss and no gradient.
func TestUncounted(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 2)
	b := randomBatch(m.Config(), 1, 20, 1)
	for i := range b.Targets {
		b.Targets[i] = -1
	}
	m.SetTrainable(all)
	sum, tokens, err := m.Backward(context.Background(), b, 1)
	if sum != 0 || tokens != 0 || err != nil {
		t.Errorf("loss %v over %d tokens, %v", sum, tokens, err)
	}
	for _, p := range m.Params() {
		if slices.ContainsFunc(p.Gradient(), func(g float32) bool { return g != 0 }) {
			t.Errorf("%s has a gradient", p.Name)
		}
	}
}

// TestAllowed checks the mask: no other expert is chosen, and there are errors for what is not there.
func TestAllowed(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 2)
	b := randomBatch(m.Config(), 2, 64, 3)
	for _, ids := range [][]int32{{0, 4}, {2, 2, 3, 1}, {3}} {
		if err := m.SetAllowedExperts(1, ids); err != nil {
			t.Fatal(err)
		}
		err := m.Routes(context.Background(), b, func(r Route) {
			for _, id := range r.Experts {
				if r.Layer == 1 && !slices.Contains(ids, id) {
					t.Fatalf("expert %d was chosen, allowed are %v", id, ids)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		m.SetTrainable(all)
		if _, _, err := m.Backward(context.Background(), b, 1); err != nil {
			t.Fatal(err)
		}
		for e := range int32(5) {
			grad := m.Param(fmt.Sprintf("model.layers.1.mlp.experts.%d.up_proj.weight", e)).Gradient()
			moves := slices.ContainsFunc(grad, func(g float32) bool { return g != 0 })
			if moves != slices.Contains(ids, e) {
				t.Errorf("allowed %v: expert %d has a gradient: %v", ids, e, moves)
			}
		}
	}
	for _, bad := range []struct {
		layer int
		ids   []int32
	}{{0, []int32{0}}, {3, nil}, {-1, nil}, {1, []int32{5}}, {1, []int32{-1}}, {1, []int32{}}} {
		if err := m.SetAllowedExperts(bad.layer, bad.ids); err == nil {
			t.Errorf("layer %d with experts %v was accepted", bad.layer, bad.ids)
		}
	}
}

// TestTies checks that equal experts are taken by number.
func TestTies(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 1)
	clear(m.Param("model.layers.1.mlp.gate.weight").Values())
	err := m.Routes(context.Background(), randomBatch(m.Config(), 1, 9, 3), func(r Route) {
		for i, id := range r.Experts {
			if r.Layer == 1 && (int(id) != i%2 || r.Weights[i] != 0.2) {
				t.Fatalf("slot %d is expert %d with %v, want %d with 0.2", i, id, r.Weights[i], i%2)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCounts checks the loads of the experts against the routes.
func TestCounts(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 2)
	if m.Counts() != nil {
		t.Error("there are counts before the first Backward")
	}
	b := randomBatch(m.Config(), 2, 33, 8)
	want := map[int][]int{}
	err := m.Routes(context.Background(), b, func(r Route) {
		want[r.Layer] = make([]int, 5)
		for _, id := range r.Experts {
			want[r.Layer][id]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	backward(t, m, b, all)
	loss(t, m, randomBatch(m.Config(), 1, 5, 8))
	if len(m.Counts()) != 2 {
		t.Fatalf("counts of %d layers, want 2", len(m.Counts()))
	}
	for _, c := range m.Counts() {
		if c.Tokens != 66 || !slices.Equal(c.Experts, want[c.Layer]) {
			t.Errorf("layer %d: %v of %d tokens, want %v of 66", c.Layer, c.Experts, c.Tokens, want[c.Layer])
		}
	}
}

// TestNonFinite checks that a NaN in the weights shows in the loss.
func TestNonFinite(t *testing.T) {
	for _, name := range []string{"model.embed_tokens.weight", "model.layers.1.mlp.gate.weight",
		"model.layers.0.self_attn.k_proj.weight", "lm_head.weight"} {
		m := newModel(t, tinyConfig(), "auto", 2)
		w := m.Param(name).Values()
		for i := range w {
			w[i] = float32(math.NaN())
		}
		b := randomBatch(m.Config(), 1, 9, 3)
		if sum := loss(t, m, b); !math.IsNaN(sum) {
			t.Errorf("%s is NaN, the loss %v", name, sum)
		}
		backward(t, m, b, all)
	}
}

// TestCanceled checks that a canceled context ends the work.
func TestCanceled(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 2)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := randomBatch(m.Config(), 1, 9, 3)
	if _, _, err := m.Loss(ctx, b, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Loss: %v", err)
	}
	if _, _, err := m.Backward(ctx, b, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Backward: %v", err)
	}
}

// TestBatchRefused checks the errors for batches that do not fit.
func TestBatchRefused(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 1)
	for want, b := range map[string]Batch{
		"at least 1":              {},
		"has 3 tokens":            {1, 2, []int32{1, 2, 3}, []int32{1, 2}},
		"has 1 targets":           {1, 2, []int32{1, 2}, []int32{1}},
		"token 37 at position 1":  {1, 2, []int32{1, 37}, []int32{1, 1}},
		"token -1 at position 0":  {1, 2, []int32{-1, 3}, []int32{1, 1}},
		"target -2 at position 1": {1, 2, []int32{1, 3}, []int32{1, -2}},
		"longer than":             {1, 513, make([]int32, 513), make([]int32, 513)},
	} {
		_, _, err := m.Loss(context.Background(), b, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	b := Batch{1, 2, []int32{1, 3}, []int32{1, 2}}
	if _, _, err := m.Loss(context.Background(), b, make([]float32, 3)); err == nil {
		t.Error("room for 3 losses of 2 positions was accepted")
	}
}

// TestMemory checks that steps after the first take their buffers from it.
func TestMemory(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 2)
	b := randomBatch(m.Config(), 2, 64, 1)
	backward(t, m, b, all)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		if _, _, err := m.Backward(context.Background(), b, 1); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if step := (after.TotalAlloc - before.TotalAlloc) / 10; step > 300_000 {
		t.Errorf("a step allocates %d bytes", step)
	}
}
