package model

// bzMoE describes model_type "bz_moe": a decoder with RMSNorm before each block, grouped-query
// attention with rotary embedding, and SwiGLU feed-forward blocks, of which those after the first
// first_k_dense_replace are mixtures of routed and shared experts. Names and shapes of the weights are those
// of Hugging Face's DeepSeek models, [out, in], with plain q, k, v and o projections.
func bzMoE() architecture {
	return architecture{
		modelType: "bz_moe",
		defaults:  Config{RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000},
		only: []unsupported{
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
		},
		validate: func(cfg *Config) error {
			return firstError(cfg, validateShape, validateGrouped, validateFirstDense, validateScalars)
		},
		mixture:   afterFirstDense,
		attention: func(m *Model, prefix string) attention { return m.addGrouped(prefix, groupedOptions{}) },
		ropeDim:   func(cfg *Config) int { return cfg.HeadDim },
	}
}
