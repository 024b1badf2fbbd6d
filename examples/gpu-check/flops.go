package main

import (
	"strings"

	"bzdata/train/model"
)

// work counts floating point operations of a step, two for each multiplication with addition, as model FLOP utilisation
// does (Chowdhery et al. 2022, "PaLM", appendix B, arXiv 2204.02311): what the mathematics needs, not what is computed once
// more to save memory. Norms, rotations, softmaxes and the optimizer are left out. PaLM's 6N + 12LHQT for a token is for a
// dense model that is trained whole, and counts all of a causal mask. Here
//
//   - a token goes through top-k of the routed experts, and keys after a position do not count;
//   - frozen weights need no derivative of their own, and below the first layer with a trained expert there is none at all;
//     in that layer it goes to the experts' inner rows and no further.
type work struct {
	layers       int     // layers with experts
	dense, mixed float64 // weights that a token meets in a layer without and with experts
	scores       float64 // of a token's attention in a layer
	head         float64 // weights
	expert       float64 // weights of one
	first        int     // layers without experts, which come first
}

func workOf(cfg model.Config, length int) work {
	hidden, heads := float64(cfg.HiddenSize), float64(cfg.NumAttentionHeads)
	qk := float64(cfg.QKNopeHeadDim + cfg.QKRopeHeadDim)
	rank, v := float64(cfg.KVLoraRank), float64(cfg.VHeadDim)
	attention := hidden*heads*qk + hidden*(rank+float64(cfg.QKRopeHeadDim)) +
		rank*heads*(float64(cfg.QKNopeHeadDim)+v) + heads*v*hidden
	expert := 3 * hidden * float64(cfg.MoeIntermediateSize)
	return work{
		layers: cfg.NumHiddenLayers - cfg.FirstKDenseReplace, first: cfg.FirstKDenseReplace,
		dense: attention + 3*hidden*float64(cfg.IntermediateSize),
		mixed: attention + hidden*float64(cfg.NRoutedExperts) +
			expert*float64(cfg.NumExpertsPerTok+cfg.NSharedExperts),
		scores: 2 * heads * (qk + v) * float64(length+1) / 2,
		head:   hidden * float64(cfg.VocabSize), expert: expert,
	}
}

// step is the work of some rows, of which trained went to trained experts: rows of all layers together, and those of the
// first layer with experts.
func (w work) step(rows, trained, trainedFirst float64) float64 {
	all := float64(w.first) * (2*w.dense + w.scores)
	all += float64(w.layers) * (2*w.mixed + w.scores)
	all += 2 * w.head
	back := float64(w.layers-1)*(2*w.mixed+2*w.scores) + 2*w.head
	// Gate, up and down have a derivative each; in the first layer that of the inner rows takes down once more.
	return rows*(all+back) + trained*2*w.expert + trainedFirst*2*w.expert/3
}

// peakOf is how many floating point operations a second a card is said to make, dense, in bf16 with sums in f32; 0 if its name is
// not known. The figures are of NVIDIA's data sheets.
func peakOf(card string) float64 {
	for _, c := range []struct {
		name string
		peak float64
	}{{"H100 PCIe", 756e12}, {"H100 NVL", 835e12}, {"H100", 989e12}, {"H200", 989e12}, {"A100", 312e12}, {"RTX 4090", 165e12}} {
		if strings.Contains(card, c.name) {
			return c.peak
		}
	}
	return 0
}
