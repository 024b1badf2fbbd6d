package model

// olmoe describes model_type "olmoe": attention whose rows of all query heads and of all key heads
// are normed, and a mixture of routed experts of width intermediate_size in every layer, with a
// softmax router. As in transformers 5.24 (models/olmoe).
func olmoe() architecture {
	return architecture{
		modelType: "olmoe",
		defaults: Config{RoutedScalingFactor: 1, RMSNormEps: 1e-5, RopeTheta: 10000,
			IntermediateSize: 2048, NumExperts: 64, NumExpertsPerTok: 8},
		only: plainFields(
			unsupported{"clip_qkv", []string{"null"}},
			unsupported{"sliding_window", []string{"null"}},
		),
		validate: func(cfg *Config) error {
			return firstError(cfg, validateShape, validateGrouped, validateOlmoe, validateScalars)
		},
		mixture: func(*Config, int) bool { return true },
		attention: func(m *Model, prefix string) attention {
			bias := m.cfg.AttentionBias
			return m.addGrouped(prefix, groupedOptions{inputBias: bias, outputBias: bias, norm: rowNorm})
		},
		ropeDim: func(cfg *Config) int { return cfg.HeadDim },
	}
}

func validateOlmoe(cfg *Config) error {
	takeNumExperts(cfg)
	cfg.MoeIntermediateSize = cfg.IntermediateSize
	return validateFeedForward(cfg, 0, cfg.NumHiddenLayers)
}
