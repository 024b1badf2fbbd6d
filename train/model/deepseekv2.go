package model

import (
	"fmt"
	"math"
)

// deepseekV2 describes model_type "deepseek_v2", of which DeepSeek-V2-Lite is one: multi-head latent
// attention, with or without a query latent, YaRN, dense layers first, then mixtures of routed
// and shared experts with a softmax router, greedy or limited to groups, whose weights are
// multiplied by routed_scaling_factor. As in transformers 5.24 (models/deepseek_v2), whose
// arithmetic is that of the model's own code for the published configurations;
// norm_topk_prob, in which they differ, is refused.
func deepseekV2() architecture {
	return architecture{
		modelType: "deepseek_v2",
		defaults: Config{RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000, NumExpertsPerTok: 6,
			KVLoraRank: 512, QKNopeHeadDim: 128, QKRopeHeadDim: 64, VHeadDim: 128},
		only: plainFields(
			unsupported{"mlp_bias", []string{"false"}},
			unsupported{"scoring_func", []string{`"softmax"`}},
			unsupported{"norm_topk_prob", []string{"false"}},
			unsupported{"moe_layer_freq", []string{"1"}},
		),
		validate: func(cfg *Config) error {
			return firstError(cfg, validateShape, validateLatent, validateFirstDense, validateScalars)
		},
		mixture:   afterFirstDense,
		attention: (*Model).addLatent,
		ropeDim:   func(cfg *Config) int { return cfg.QKRopeHeadDim },
	}
}

// validateLatent checks the widths of latent attention. As in transformers, head_dim is that of the
// rotated part.
func validateLatent(cfg *Config) error {
	if err := checkSizes(
		size{"q_lora_rank", cfg.QLoraRank, 0}, size{"kv_lora_rank", cfg.KVLoraRank, 1},
		size{"qk_nope_head_dim", cfg.QKNopeHeadDim, 1}, size{"qk_rope_head_dim", cfg.QKRopeHeadDim, 2},
		size{"v_head_dim", cfg.VHeadDim, 1},
	); err != nil {
		return err
	}
	if cfg.NumKeyValueHeads == 0 {
		cfg.NumKeyValueHeads = cfg.NumAttentionHeads
	}
	if cfg.NumKeyValueHeads != cfg.NumAttentionHeads {
		return fmt.Errorf("num_key_value_heads %d differs from num_attention_heads %d; latent attention has as many",
			cfg.NumKeyValueHeads, cfg.NumAttentionHeads)
	}
	cfg.HeadDim = cfg.QKRopeHeadDim
	return evenRotation("qk_rope_head_dim", cfg.QKRopeHeadDim)
}

// latentScale is what scores are multiplied by: 1/√width, times the square of YaRN's factor.
func latentScale(cfg *Config) float64 {
	scale := 1 / math.Sqrt(float64(cfg.QKNopeHeadDim+cfg.QKRopeHeadDim))
	if s := cfg.RopeScaling; s.kind() != "default" && s.MScaleAllDim != 0 {
		m := yarnMScale(s.Factor, s.MScaleAllDim)
		scale *= m * m
	}
	return scale
}
