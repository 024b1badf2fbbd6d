package model

import (
	"fmt"
	"slices"
)

// buildDecoder adds the weights of a decoder: embedding, layers, final norm, head. The names are
// those that Hugging Face's folders of these architectures share. Of the routed experts only own, by
// layer, are made, or all if it is nil.
func (m *Model) buildDecoder(arch architecture, own map[int][]int32) {
	cfg := m.cfg
	m.ropeDim = arch.ropeDim(&m.cfg)
	m.embed = m.addParam("model.embed_tokens.weight", cfg.VocabSize, cfg.HiddenSize)
	for l := range cfg.NumHiddenLayers {
		from := len(m.params)
		y := m.buildLayer(arch, l, own)
		y.params = slices.Clone(m.params[from:])
		m.layers = append(m.layers, y)
	}
	m.norm = m.addParam("model.norm.weight", cfg.HiddenSize)
	m.head = m.embed
	if !cfg.TieWordEmbeddings {
		m.head = m.addParam("lm_head.weight", cfg.VocabSize, cfg.HiddenSize)
	}
}

func (m *Model) buildLayer(arch architecture, l int, own map[int][]int32) *layer {
	cfg := m.cfg
	hidden, prefix := cfg.HiddenSize, fmt.Sprintf("model.layers.%d.", l)
	y := &layer{inputNorm: m.addParam(prefix+"input_layernorm.weight", hidden)}
	y.attention = arch.attention(m, prefix+"self_attn.")
	y.postNorm = m.addParam(prefix+"post_attention_layernorm.weight", hidden)
	if !arch.mixture(&m.cfg, l) {
		y.dense = m.addGLU(prefix+"mlp.", cfg.IntermediateSize)
		return y
	}
	y.moe = &moe{layer: l, router: m.addParam(prefix+"mlp.gate.weight", cfg.NRoutedExperts, hidden),
		width: cfg.MoeIntermediateSize, experts: make([]*glu, cfg.NRoutedExperts)}
	for e := range y.moe.experts {
		if own == nil || slices.Contains(own[l], int32(e)) {
			y.moe.experts[e] = m.addGLU(fmt.Sprintf("%smlp.experts.%d.", prefix, e), cfg.MoeIntermediateSize)
		}
	}
	y.moe.collect(hidden)
	if cfg.NSharedExperts > 0 {
		y.dense = m.addGLU(prefix+"mlp.shared_experts.", cfg.NSharedExperts*cfg.MoeIntermediateSize)
	}
	return y
}
