package model

import (
	"encoding/json"
	"fmt"
)

// bzMoE describes model_type "bz_moe": a decoder with RMSNorm before each block, grouped-query
// attention with rotary embedding, and SwiGLU feed-forward blocks, of which those after the first
// first_k_dense_replace are mixtures of routed and shared experts. Names and shapes of the weights are those
// of Hugging Face's DeepSeek models, [out, in], with plain q, k, v and o projections.
func bzMoE() architecture {
	return architecture{modelType: "bz_moe", parse: parseBzMoE, validate: validateBzMoE, build: buildBzMoE}
}

func parseBzMoE(data []byte) (Config, error) {
	cfg := Config{RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000}
	if err := json.Unmarshal(data, &cfg); err != nil {
		return Config{}, err
	}
	err := refuse(data, []unsupported{
		{"hidden_act", []string{`"silu"`}},
		{"rope_scaling", []string{"null"}},
		{"attention_bias", []string{"false"}},
		{"mlp_bias", []string{"false"}},
		{"scoring_func", []string{`"softmax"`}},
		{"topk_method", []string{`"greedy"`}},
		{"n_group", []string{"null", "1"}},
		{"topk_group", []string{"null", "1"}},
		{"moe_layer_freq", []string{"1"}},
		{"sliding_window", []string{"null"}},
	})
	if err != nil {
		return Config{}, err
	}
	return cfg, validateBzMoE(&cfg)
}

// validateBzMoE checks cfg and fills in what its other fields imply.
func validateBzMoE(cfg *Config) error {
	if err := checkSizes(
		size{"hidden_size", cfg.HiddenSize, 1}, size{"num_hidden_layers", cfg.NumHiddenLayers, 1},
		size{"num_attention_heads", cfg.NumAttentionHeads, 1}, size{"vocab_size", cfg.VocabSize, 1},
		size{"num_key_value_heads", cfg.NumKeyValueHeads, 0}, size{"head_dim", cfg.HeadDim, 0},
		size{"first_k_dense_replace", cfg.FirstKDenseReplace, 0},
		size{"n_shared_experts", cfg.NSharedExperts, 0},
		size{"max_position_embeddings", cfg.MaxPositionEmbeddings, 0},
		size{"intermediate_size", cfg.IntermediateSize, 0},
	); err != nil {
		return err
	}
	if cfg.NumKeyValueHeads == 0 {
		cfg.NumKeyValueHeads = cfg.NumAttentionHeads
	}
	if cfg.NumAttentionHeads%cfg.NumKeyValueHeads != 0 {
		return fmt.Errorf("num_attention_heads %d is no multiple of num_key_value_heads %d",
			cfg.NumAttentionHeads, cfg.NumKeyValueHeads)
	}
	if cfg.HeadDim == 0 {
		if cfg.HiddenSize%cfg.NumAttentionHeads != 0 {
			return fmt.Errorf(
				"head_dim is missing, and hidden_size %d is no multiple of num_attention_heads %d",
				cfg.HiddenSize, cfg.NumAttentionHeads)
		}
		cfg.HeadDim = cfg.HiddenSize / cfg.NumAttentionHeads
	}
	if cfg.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim %d is odd; rotary embedding needs pairs", cfg.HeadDim)
	}
	if err := validateFeedForward(cfg); err != nil {
		return err
	}
	return validateScalars(cfg)
}

// expertsMax bounds the number of routed experts of all layers.
const expertsMax = 1 << 20

func validateFeedForward(cfg *Config) error {
	if cfg.FirstKDenseReplace > 0 && cfg.IntermediateSize < 1 {
		return fmt.Errorf("intermediate_size is %d; the %d dense layers need it",
			cfg.IntermediateSize, cfg.FirstKDenseReplace)
	}
	if cfg.FirstKDenseReplace >= cfg.NumHiddenLayers {
		return nil
	}
	if err := checkSizes(
		size{"moe_intermediate_size", cfg.MoeIntermediateSize, 1},
		size{"n_routed_experts", cfg.NRoutedExperts, 1},
		size{"num_experts_per_tok", cfg.NumExpertsPerTok, 1},
	); err != nil {
		return err
	}
	if all := cfg.NumHiddenLayers * cfg.NRoutedExperts; all > expertsMax {
		return fmt.Errorf("num_hidden_layers times n_routed_experts is %d; it must be at most %d",
			all, expertsMax)
	}
	if cfg.NumExpertsPerTok > cfg.NRoutedExperts {
		return fmt.Errorf("num_experts_per_tok %d is more than n_routed_experts %d",
			cfg.NumExpertsPerTok, cfg.NRoutedExperts)
	}
	return nil
}

func validateScalars(cfg *Config) error {
	if cfg.InitializerRange == 0 {
		cfg.InitializerRange = 0.02
	}
	for _, s := range []struct {
		name  string
		value float64
	}{
		{"rms_norm_eps", cfg.RMSNormEps}, {"rope_theta", cfg.RopeTheta},
		{"routed_scaling_factor", cfg.RoutedScalingFactor}, {"initializer_range", cfg.InitializerRange},
	} {
		if !(s.value > 0) {
			return fmt.Errorf("%s is %v; it must be greater than 0", s.name, s.value)
		}
	}
	switch cfg.TorchDtype {
	case "":
		cfg.TorchDtype = "float32"
	case "float32", "float16", "bfloat16":
	default:
		return fmt.Errorf("torch_dtype %q is not known; write float32, float16 or bfloat16", cfg.TorchDtype)
	}
	return nil
}

func buildBzMoE(m *Model) {
	cfg := m.cfg
	m.embed = m.addParam("model.embed_tokens.weight", cfg.VocabSize, cfg.HiddenSize)
	for l := range cfg.NumHiddenLayers {
		m.layers = append(m.layers, m.buildBzLayer(l))
	}
	m.norm = m.addParam("model.norm.weight", cfg.HiddenSize)
	m.head = m.embed
	if !cfg.TieWordEmbeddings {
		m.head = m.addParam("lm_head.weight", cfg.VocabSize, cfg.HiddenSize)
	}
}

func (m *Model) buildBzLayer(l int) *layer {
	cfg := m.cfg
	hidden, prefix := cfg.HiddenSize, fmt.Sprintf("model.layers.%d.", l)
	y := &layer{inputNorm: m.addParam(prefix+"input_layernorm.weight", hidden)}
	y.attention = m.addAttention(prefix + "self_attn.")
	y.postNorm = m.addParam(prefix+"post_attention_layernorm.weight", hidden)
	if l < cfg.FirstKDenseReplace {
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
