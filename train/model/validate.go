package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// decodeConfig reads config.json over what absent fields mean. Of several eos_token_id the first
// counts.
func decodeConfig(data []byte, cfg *Config) error {
	file := struct {
		*Config
		DType string     `json:"dtype"`
		EOS   firstToken `json:"eos_token_id"`
	}{Config: cfg}
	if err := json.Unmarshal(data, &file); err != nil {
		return plainError(err)
	}
	cfg.EOSTokenID = file.EOS.id
	if cfg.TorchDtype == "" {
		cfg.TorchDtype = file.DType
	}
	return nil
}

// plainError says what is wrong with JSON in the file's terms.
func plainError(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("at byte %d: %w", syntax.Offset, err)
	}
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := map[reflect.Kind]string{reflect.Int: "a whole number", reflect.Int32: "a whole number of 32 bits",
		reflect.Float64: "a number", reflect.Bool: "true or false", reflect.String: "a text", reflect.Slice: "a list",
		reflect.Struct: "an object"}[wrong.Type.Kind()]
	field := strings.TrimPrefix(strings.TrimPrefix(wrong.Field, "Config"), ".")
	if field == "" {
		return fmt.Errorf("at byte %d: there is %.60s where %s must be", wrong.Offset, wrong.Value, want)
	}
	return fmt.Errorf("%s is %.60s; it must be %s", field, wrong.Value, want)
}

// firstToken is a token, the first of a list of tokens, or none.
type firstToken struct{ id *int32 }

func (f *firstToken) UnmarshalJSON(data []byte) error {
	if data[0] != '[' {
		return json.Unmarshal(data, &f.id)
	}
	var ids []int32
	if err := json.Unmarshal(data, &ids); err != nil || len(ids) == 0 {
		return err
	}
	f.id = &ids[0]
	return nil
}

// firstError runs checks, each of which may rely on those before it and fills in what its fields
// imply.
func firstError(cfg *Config, checks ...func(*Config) error) error {
	for _, check := range checks {
		if err := check(cfg); err != nil {
			return err
		}
	}
	return nil
}

// layersMax is far beyond any model. A few bytes of config.json ask for so many layers.
const layersMax = 1024

func validateShape(cfg *Config) error {
	if cfg.NumHiddenLayers > layersMax {
		return fmt.Errorf("num_hidden_layers is %d; it must be at most %d", cfg.NumHiddenLayers, layersMax)
	}
	return checkSizes(
		size{"hidden_size", cfg.HiddenSize, 1}, size{"num_hidden_layers", cfg.NumHiddenLayers, 1},
		size{"num_attention_heads", cfg.NumAttentionHeads, 1}, size{"vocab_size", cfg.VocabSize, 1},
		size{"num_key_value_heads", cfg.NumKeyValueHeads, 0}, size{"head_dim", cfg.HeadDim, 0},
		size{"first_k_dense_replace", cfg.FirstKDenseReplace, 0},
		size{"n_shared_experts", cfg.NSharedExperts, 0},
		size{"max_position_embeddings", cfg.MaxPositionEmbeddings, 0},
		size{"intermediate_size", cfg.IntermediateSize, 0},
	)
}

// validateGrouped checks the heads of grouped-query attention.
func validateGrouped(cfg *Config) error {
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
	return evenRotation("head_dim", cfg.HeadDim)
}

func evenRotation(name string, dim int) error {
	if dim%2 != 0 {
		return fmt.Errorf("%s %d is odd; rotary embedding needs pairs", name, dim)
	}
	return nil
}

// afterFirstDense is the layers behind first_k_dense_replace dense ones.
func afterFirstDense(cfg *Config, layer int) bool { return layer >= cfg.FirstKDenseReplace }

func validateFirstDense(cfg *Config) error {
	dense := min(cfg.FirstKDenseReplace, cfg.NumHiddenLayers)
	return validateFeedForward(cfg, dense, cfg.NumHiddenLayers-dense)
}

// expertsMax bounds the number of routed experts of all layers.
const expertsMax = 1 << 16

// validateFeedForward checks the blocks of a number of dense and of mixture layers.
func validateFeedForward(cfg *Config, dense, mixtures int) error {
	if dense > 0 && cfg.IntermediateSize < 1 {
		return fmt.Errorf("intermediate_size is %d; the %d dense layers need it", cfg.IntermediateSize, dense)
	}
	if mixtures == 0 {
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
	return validateGroups(cfg)
}

// groupLimited is the topk_method that chooses groups of experts first (DeepSeek-AI 2024,
// "DeepSeek-V2", section 2.2.2).
const groupLimited = "group_limited_greedy"

// validateGroups checks the groups of a group-limited router.
func validateGroups(cfg *Config) error {
	if !slices.Contains([]string{"", "greedy", groupLimited}, cfg.TopkMethod) {
		return fmt.Errorf("topk_method %.100q is not supported; only greedy and %s are", cfg.TopkMethod, groupLimited)
	}
	if cfg.TopkMethod != groupLimited {
		return nil
	}
	if err := checkSizes(size{"n_group", cfg.NGroup, 1}, size{"topk_group", cfg.TopkGroup, 1}); err != nil {
		return err
	}
	if cfg.NRoutedExperts%cfg.NGroup != 0 {
		return fmt.Errorf("n_routed_experts %d is no multiple of n_group %d", cfg.NRoutedExperts, cfg.NGroup)
	}
	if cfg.TopkGroup > cfg.NGroup {
		return fmt.Errorf("topk_group %d is more than n_group %d", cfg.TopkGroup, cfg.NGroup)
	}
	if room := cfg.NRoutedExperts / cfg.NGroup * cfg.TopkGroup; cfg.NumExpertsPerTok > room {
		return fmt.Errorf("num_experts_per_tok %d is more than the %d experts of topk_group groups", cfg.NumExpertsPerTok, room)
	}
	return nil
}

// validateScalars checks what all architectures share besides sizes.
func validateScalars(cfg *Config) error {
	if cfg.InitializerRange == 0 {
		cfg.InitializerRange = 0.02
	}
	if err := validateRope(cfg); err != nil {
		return err
	}
	for _, s := range []struct {
		name  string
		value float64
	}{
		{"rms_norm_eps", cfg.RMSNormEps}, {"rope_theta", cfg.RopeTheta},
		{"routed_scaling_factor", cfg.RoutedScalingFactor}, {"initializer_range", cfg.InitializerRange},
	} {
		if err := positive(s.name, s.value); err != nil {
			return err
		}
	}
	switch cfg.TorchDtype {
	case "":
		cfg.TorchDtype = "float32"
	case "float32", "float16", "bfloat16":
	default:
		return fmt.Errorf("torch_dtype %.100q is not known; write float32, float16 or bfloat16", cfg.TorchDtype)
	}
	return nil
}
