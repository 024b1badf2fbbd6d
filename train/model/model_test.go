package model

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
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
			for i := range p.Data {
				p.Data[i] = float32(1 + 0.3*rng.NormFloat64())
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

// TestGradient compares every weight's gradient with central differences of the loss along its own
// direction, for the largest entries. All experts are chosen, since a probe that flips a choice
// measures a step, not a slope.
func TestGradient(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"normalised": func(*Config) {},
		"plain":      func(c *Config) { c.NormTopkProb = false },
		"tied":       func(c *Config) { c.TieWordEmbeddings = true },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tinyConfig()
			change(&cfg)
			cfg.NumExpertsPerTok = cfg.NRoutedExperts
			m := newModel(t, cfg, "auto", 2)
			b := randomBatch(cfg, 2, 70, 5)
			m.SetTrainable(all)
			if _, _, err := m.Backward(context.Background(), b, 1); err != nil {
				t.Fatal(err)
			}
			for _, p := range m.Params() {
				checkGradient(t, m, b, p)
			}
		})
	}
}

func checkGradient(t *testing.T, m *Model, b Batch, p *Param) {
	t.Helper()
	order := make([]int, len(p.Data))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		x, y := math.Abs(float64(p.Grad[i])), math.Abs(float64(p.Grad[j]))
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	order = order[:min(64, len(order))]
	norm := 0.0
	for _, i := range order {
		norm += float64(p.Grad[i]) * float64(p.Grad[i])
	}
	norm = math.Sqrt(norm)
	const step = 4e-3
	kept := slices.Clone(p.Data)
	probe := func(step float64) float64 {
		for _, i := range order {
			p.Data[i] = float32(float64(kept[i]) + step*float64(p.Grad[i])/norm)
		}
		return loss(t, m, b)
	}
	got := (8*(probe(step)-probe(-step)) - (probe(2*step) - probe(-2*step))) / (12 * step)
	copy(p.Data, kept)
	if bad := math.Abs(got-norm) / norm; !(bad < 5e-3) {
		t.Errorf("%s: differences give %g, the gradient %g (relative error %.2g)", p.Name, got, norm, bad)
	}
}
