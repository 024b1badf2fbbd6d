package model

// llama describes model_type "llama": grouped-query attention and a SwiGLU block in every layer.
// As in transformers 5.24 (models/llama).
func llama() architecture {
	return dense("llama", nil, func(cfg *Config) groupedOptions {
		return groupedOptions{inputBias: cfg.AttentionBias, outputBias: cfg.AttentionBias}
	}, unsupported{"mlp_bias", []string{"false"}})
}

// qwen2 describes model_type "qwen2": llama with biases of queries, keys and values. As in
// transformers 5.24 (models/qwen2).
func qwen2() architecture {
	return dense("qwen2", nil, func(*Config) groupedOptions { return groupedOptions{inputBias: true} })
}

// qwen3 describes model_type "qwen3": llama with normed query and key heads, 128 wide unless head_dim
// says otherwise. As in transformers 5.24 (models/qwen3).
func qwen3() architecture {
	return dense("qwen3", func(cfg *Config) { cfg.HeadDim = 128 }, func(cfg *Config) groupedOptions {
		return groupedOptions{inputBias: cfg.AttentionBias, outputBias: cfg.AttentionBias, norm: headNorm}
	})
}

// dense is an architecture without experts.
func dense(modelType string, defaults func(*Config), options func(*Config) groupedOptions, only ...unsupported) architecture {
	a := architecture{
		modelType: modelType,
		defaults:  Config{RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000},
		only:      append(plainFields(unsupported{"use_sliding_window", []string{"false"}}), only...),
		validate: func(cfg *Config) error {
			return firstError(cfg, validateShape, validateGrouped, validateDense, validateScalars)
		},
		mixture:   func(*Config, int) bool { return false },
		attention: func(m *Model, prefix string) attention { return m.addGrouped(prefix, options(&m.cfg)) },
		ropeDim:   func(cfg *Config) int { return cfg.HeadDim },
	}
	if defaults != nil {
		defaults(&a.defaults)
	}
	return a
}

func validateDense(cfg *Config) error { return validateFeedForward(cfg, cfg.NumHiddenLayers, 0) }
