package main

import (
	"time"

	"bzdata/train/model"
)

// Units of figures that the peer's are compared with.
const (
	seconds = "s"
	rate    = "tokens/s"
	size    = "bytes"
)

// sizes are what the parts work on. There is one set for cards; tests have a small one.
type sizes struct {
	name string
	// kernels is a folder for compiled kernels; "" stands for a new one.
	kernels string
	shapes  []shape
	// mixtures are models that the processor can train, too; lite is the large one.
	mixtures []named
	lite     model.Config
	// trained is how many experts of each layer of lite are trained.
	trained int

	sequences, length int // of a batch of the mixtures
	steps             int // of training
	rate              float64
	liteRate          float64 // experts of a model of width 2048 go far with little

	plan      job
	planBytes int64
	// slackBytes of them are for the workspace of products and for blocks that wait to be used again.
	slackBytes int64
	throughput []job
	warmup     int // steps that are not timed
	timed      int // steps that are

	judged, judgedLength, judgedBatch, judgedSeeds int
	bounds                                         bounds
}

// named is a model with a name.
type named struct {
	name   string
	config model.Config
}

// job is training of lite: the shape of a step, and how many at most.
type job struct {
	sequences, length, steps int
	time                     time.Duration
}

// bounds are what the parts are held to.
type bounds struct {
	single, half float64 // the greatest difference of an operation's result, by its greatest magnitude
	apart        float64 // the distance of bf16 results as vectors, as a part of their length
	eightBit     float64 // that of the way that weights go with moments of 8 bits

	lossSingle, lossHalf         float64 // relative
	gradientSingle, gradientHalf float64 // distance of vectors
	routesSingle, routesHalf     float64 // share of choices that differ
	training                     float64 // relative, at the last step
	plan                         float64 // relative, at each step
}

func fullBounds() bounds {
	return bounds{single: 1e-3, half: 1e-2, apart: 2e-2, eightBit: 5e-2, lossSingle: 1e-4, lossHalf: 1e-2, gradientSingle: 1e-3,
		gradientHalf: 0.3, routesSingle: 1e-3, routesHalf: 0.1, training: 1e-2, plan: 5e-3}
}

// fullSizes are those for a card.
func fullSizes() sizes {
	lite := liteConfig()
	short := shape{length: 1024, sequences: 1, hidden: 2048, heads: 16, kvHeads: 16, nope: 128, rope: 64, v: 128, rank: 512,
		experts: 64, topK: 6, width: 1408, trained: 8, vocab: 102400, logits: 256}
	long := short
	long.length = 4096
	return sizes{
		name: "full", shapes: append(oddShapes(), short, long), mixtures: mixtures(), lite: lite, trained: 8,
		sequences: 4, length: 256, steps: 50, rate: 2e-4, liteRate: 3e-4,
		plan: job{1, 1024, 200, 7 * time.Minute}, planBytes: 22_500_000_000, slackBytes: 512 << 20,
		throughput: []job{{8, 1024, 0, 90 * time.Second}, {2, 4096, 0, 90 * time.Second}}, warmup: 3, timed: 20,
		judged: 51, judgedLength: 1024, judgedBatch: 8, judgedSeeds: 3, bounds: fullBounds(),
	}
}

// liteConfig is DeepSeek-V2-Lite's.
func liteConfig() model.Config {
	return model.Config{
		ModelType: "deepseek_v2", HiddenSize: 2048, NumHiddenLayers: 27, NumAttentionHeads: 16, NumKeyValueHeads: 16,
		VocabSize: 102400, IntermediateSize: 10944, FirstKDenseReplace: 1, MoeIntermediateSize: 1408,
		NRoutedExperts: 64, NSharedExperts: 2, NumExpertsPerTok: 6, TopkMethod: "greedy", NGroup: 1, TopkGroup: 1,
		KVLoraRank: 512, QKNopeHeadDim: 128, QKRopeHeadDim: 64, VHeadDim: 128, RoutedScalingFactor: 1, RMSNormEps: 1e-6,
		RopeTheta: 10000, MaxPositionEmbeddings: 163840, InitializerRange: 0.02,
		RopeScaling: &model.RopeScaling{Type: "yarn", Factor: 40, OriginalMax: 4096, BetaFast: 32, BetaSlow: 1, MScale: 0.707,
			MScaleAllDim: 0.707},
	}
}

// mixtures are models of 56 and 50 M weights.
func mixtures() []named {
	latent := liteConfig()
	latent.HiddenSize, latent.NumHiddenLayers, latent.NumAttentionHeads, latent.NumKeyValueHeads = 512, 6, 8, 8
	latent.VocabSize, latent.IntermediateSize, latent.MoeIntermediateSize, latent.NRoutedExperts = 8192, 1408, 256, 16
	latent.NumExpertsPerTok, latent.KVLoraRank, latent.MaxPositionEmbeddings = 4, 128, 4096
	grouped := model.Config{
		ModelType: "qwen3_moe", HiddenSize: 512, NumHiddenLayers: 6, NumAttentionHeads: 8, NumKeyValueHeads: 2, HeadDim: 64,
		VocabSize: 8192, IntermediateSize: 1408, MoeIntermediateSize: 256, NRoutedExperts: 16, NumExpertsPerTok: 4,
		NormTopkProb: true, DecoderSparseStep: 1, RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 1e6,
		MaxPositionEmbeddings: 4096, InitializerRange: 0.02,
	}
	return []named{{"deepseek_v2", latent}, {"qwen3_moe", grouped}}
}

// shape is what operations are tried at.
type shape struct {
	sequences, length         int
	hidden                    int
	heads, kvHeads            int
	nope, rope, v, rank       int // of latent attention
	experts, topK, width      int
	trained                   int // experts that are trained
	vocab, logits             int // logits is how many rows of them there are
	groups, topGroups, admits int // of a router that is restricted; 0 does not restrict it
}

func (s shape) rows() int { return s.sequences * s.length }
func (s shape) qk() int   { return s.nope + s.rope }

// oddShapes are no multiples of tiles.
func oddShapes() []shape {
	return []shape{
		{sequences: 1, length: 1, hidden: 8, heads: 1, kvHeads: 1, nope: 8, rope: 4, v: 8, rank: 8, experts: 2, topK: 1, width: 8,
			trained: 1, vocab: 3, logits: 1},
		{sequences: 2, length: 37, hidden: 72, heads: 4, kvHeads: 2, nope: 16, rope: 8, v: 24, rank: 20, experts: 9, topK: 3,
			width: 40, trained: 4, vocab: 131, logits: 5, groups: 3, topGroups: 2, admits: 5},
		{sequences: 3, length: 67, hidden: 100, heads: 6, kvHeads: 3, nope: 25, rope: 14, v: 33, rank: 27, experts: 5, topK: 2,
			width: 31, trained: 5, vocab: 257, logits: 70, admits: 3},
	}
}
