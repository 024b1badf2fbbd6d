package model

import (
	"fmt"
	"slices"
)

// buildDecoder adds the weights of a decoder: embedding, layers, final norm, head. The names are
// those that Hugging Face's folders of these architectures share.
func (m *Model) buildDecoder(arch architecture) {
	cfg := m.cfg
	m.ropeDim = arch.ropeDim(&m.cfg)
	m.embed = m.addParam("model.embed_tokens.weight", cfg.VocabSize, cfg.HiddenSize)
	for l := range cfg.NumHiddenLayers {
		from := len(m.params)
		y := m.buildLayer(arch, l)
		y.params = slices.Clone(m.params[from:])
		m.layers = append(m.layers, y)
	}
	m.norm = m.addParam("model.norm.weight", cfg.HiddenSize)
	m.head = m.embed
	if !cfg.TieWordEmbeddings {
		m.head = m.addParam("lm_head.weight", cfg.VocabSize, cfg.HiddenSize)
	}
}

func (m *Model) buildLayer(arch architecture, l int) *layer {
	cfg := m.cfg
	hidden, prefix := cfg.HiddenSize, fmt.Sprintf("model.layers.%d.", l)
	y := &layer{inputNorm: m.addParam(prefix+"input_layernorm.weight", hidden)}
	y.attention = arch.attention(m, prefix+"self_attn.")
	y.postNorm = m.addParam(prefix+"post_attention_layernorm.weight", hidden)
	if !arch.mixture(&m.cfg, l) {
		y.dense = m.addGLU(prefix+"mlp.", cfg.IntermediateSize)
		return y
	}
	y.moe = &moe{layer: l, router: m.addParam(prefix+"mlp.gate.weight", cfg.NRoutedExperts, hidden)}
	for e := range cfg.NRoutedExperts {
		name := fmt.Sprintf("%smlp.experts.%d.", prefix, e)
		y.moe.experts = append(y.moe.experts, m.addGLU(name, cfg.MoeIntermediateSize))
	}
	if cfg.NSharedExperts > 0 {
		y.dense = m.addGLU(prefix+"mlp.shared_experts.", cfg.NSharedExperts*cfg.MoeIntermediateSize)
	}
	return y
}
