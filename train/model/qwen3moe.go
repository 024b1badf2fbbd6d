package model

import (
	"cmp"
	"fmt"
	"slices"
)

// qwen3MoE describes model_type "qwen3_moe": grouped-query attention whose query and key heads are
// normed, and mixtures of routed experts in every decoder_sparse_step-th layer but for
// mlp_only_layers, with a softmax router. As in transformers 5.24 (models/qwen3_moe).
func qwen3MoE() architecture {
	return architecture{
		modelType: "qwen3_moe",
		defaults: Config{RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000, DecoderSparseStep: 1,
			NumKeyValueHeads: 4, MoeIntermediateSize: 768, NumExperts: 128, NumExpertsPerTok: 8},
		only: plainFields(
			unsupported{"use_sliding_window", []string{"false"}},
			unsupported{"sliding_window", []string{"null"}},
			unsupported{"n_shared_experts", []string{"null", "0"}},
		),
		validate: func(cfg *Config) error {
			return firstError(cfg, validateShape, validateGrouped, validateSparseStep, validateScalars)
		},
		mixture: sparseStep,
		attention: func(m *Model, prefix string) attention {
			bias := m.cfg.AttentionBias
			return m.addGrouped(prefix, groupedOptions{inputBias: bias, outputBias: bias, norm: headNorm})
		},
		ropeDim: func(cfg *Config) int { return cfg.HeadDim },
	}
}

func sparseStep(cfg *Config, layer int) bool {
	return !slices.Contains(cfg.MlpOnlyLayers, layer) && (layer+1)%cfg.DecoderSparseStep == 0
}

func validateSparseStep(cfg *Config) error {
	if err := checkSizes(size{"decoder_sparse_step", cfg.DecoderSparseStep, 1}); err != nil {
		return err
	}
	if n := len(cfg.MlpOnlyLayers); n > layersMax {
		return fmt.Errorf("mlp_only_layers lists %d layers; there are at most %d", n, layersMax)
	}
	takeNumExperts(cfg)
	mixtures := 0
	for l := range cfg.NumHiddenLayers {
		if sparseStep(cfg, l) {
			mixtures++
		}
	}
	return validateFeedForward(cfg, cfg.NumHiddenLayers-mixtures, mixtures)
}

// takeNumExperts gives the number of experts its one name.
func takeNumExperts(cfg *Config) {
	cfg.NumExperts = cmp.Or(cfg.NRoutedExperts, cfg.NumLocalExperts, cfg.NumExperts)
	cfg.NRoutedExperts, cfg.NumLocalExperts = cfg.NumExperts, 0
}
