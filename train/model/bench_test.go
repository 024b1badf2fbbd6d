package model

import (
	"context"
	"strings"
	"testing"

	"bzdata/train/tensor"
)

// benchConfig is a model of 19.1 million weights, whose speed can be compared with other engines':
// 4 layers, 8 experts of which 2 see each token, and a shared one.
func benchConfig() Config {
	return Config{
		ModelType: "bz_moe", HiddenSize: 256, NumHiddenLayers: 4, NumAttentionHeads: 4, NumKeyValueHeads: 2,
		HeadDim: 64, VocabSize: 8192, MoeIntermediateSize: 512, NRoutedExperts: 8, NSharedExperts: 1,
		NumExpertsPerTok: 2, NormTopkProb: true, RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000,
	}
}

// BenchmarkModel reports tokens per second of a forward pass, of a training step with AdamW on all
// weights, and of one on two experts in each layer.
func BenchmarkModel(b *testing.B) {
	for _, kernels := range tensor.Names() {
		b.Run(kernels+"/forward", func(b *testing.B) { benchStep(b, kernels, nil) })
		b.Run(kernels+"/train", func(b *testing.B) { benchStep(b, kernels, func(string) bool { return true }) })
		b.Run(kernels+"/experts", func(b *testing.B) {
			benchStep(b, kernels, func(name string) bool {
				return strings.Contains(name, "experts.2.") || strings.Contains(name, "experts.5.")
			})
		})
	}
}

func benchStep(b *testing.B, kernels string, keep func(string) bool) {
	m := newModel(b, benchConfig(), kernels, 2)
	batch := randomBatch(m.Config(), 4, 256, 1)
	ctx := context.Background()
	if keep == nil {
		for b.Loop() {
			loss(b, m, batch)
		}
		b.ReportMetric(float64(len(batch.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
		return
	}
	m.SetTrainable(keep)
	moments := map[string]tensor.Moments{}
	for _, p := range m.Params() {
		moments[p.Name] = m.Device().Moments(p.Elements())
	}
	rule := tensor.AdamW{LearningRate: 1e-4, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, GradScale: 1}
	step := 0
	for b.Loop() {
		step++
		if _, _, err := m.Backward(ctx, batch, 1./1024); err != nil {
			b.Fatal(err)
		}
		for _, p := range m.Params() {
			if p.Trains() {
				m.Device().AdamW(rule, step, p.Weight(), moments[p.Name])
			}
		}
		m.ZeroGrad()
	}
	b.ReportMetric(float64(len(batch.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
}
