package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Config is a model's config.json, in Hugging Face's names.
type Config struct {
	ModelType         string `json:"model_type"`
	HiddenSize        int    `json:"hidden_size"`
	NumHiddenLayers   int    `json:"num_hidden_layers"`
	NumAttentionHeads int    `json:"num_attention_heads"`
	// NumKeyValueHeads is NumAttentionHeads if 0; fewer means grouped-query attention.
	NumKeyValueHeads int `json:"num_key_value_heads"`
	// HeadDim is HiddenSize/NumAttentionHeads if 0.
	HeadDim   int `json:"head_dim"`
	VocabSize int `json:"vocab_size"`
	// IntermediateSize is the width of a dense layer's feed-forward block.
	IntermediateSize int `json:"intermediate_size"`
	// FirstKDenseReplace is how many of the first layers are dense.
	FirstKDenseReplace int `json:"first_k_dense_replace"`
	// MoeIntermediateSize is the width of one expert.
	MoeIntermediateSize int `json:"moe_intermediate_size"`
	NRoutedExperts      int `json:"n_routed_experts"`
	// NSharedExperts experts see every token; they are one block of that many times the width.
	NSharedExperts   int `json:"n_shared_experts"`
	NumExpertsPerTok int `json:"num_experts_per_tok"`
	// NGroup and TopkGroup, with TopkMethod group_limited_greedy, restrict each token to the experts
	// of the groups that hold its most probable ones.
	NGroup     int    `json:"n_group,omitempty"`
	TopkGroup  int    `json:"topk_group,omitempty"`
	TopkMethod string `json:"topk_method,omitempty"`
	// NumExperts is what some architectures call NRoutedExperts.
	NumExperts int `json:"num_experts,omitempty"`
	// NumLocalExperts is the same in files that transformers 5 writes.
	NumLocalExperts int `json:"num_local_experts,omitempty"`
	// DecoderSparseStep makes every such layer a mixture, but for MlpOnlyLayers.
	DecoderSparseStep int   `json:"decoder_sparse_step,omitempty"`
	MlpOnlyLayers     []int `json:"mlp_only_layers,omitempty"`
	// QLoraRank is the width of the query latent, 0 if there is none.
	QLoraRank int `json:"q_lora_rank,omitempty"`
	// KVLoraRank is the width of the latent of keys and values.
	KVLoraRank int `json:"kv_lora_rank,omitempty"`
	// QKNopeHeadDim and QKRopeHeadDim are the parts of a head of latent attention without and
	// with rotation, VHeadDim the width of its values.
	QKNopeHeadDim int  `json:"qk_nope_head_dim,omitempty"`
	QKRopeHeadDim int  `json:"qk_rope_head_dim,omitempty"`
	VHeadDim      int  `json:"v_head_dim,omitempty"`
	AttentionBias bool `json:"attention_bias,omitempty"`
	// NormTopkProb makes the chosen experts' probabilities sum to 1.
	NormTopkProb bool `json:"norm_topk_prob"`
	// RoutedScalingFactor multiplies the routed experts' weights, after NormTopkProb; 1 if absent.
	RoutedScalingFactor float64 `json:"routed_scaling_factor"`
	RMSNormEps          float64 `json:"rms_norm_eps"`
	RopeTheta           float64 `json:"rope_theta"`
	// RopeScaling is nil if rotary embedding is as it was trained first.
	RopeScaling *RopeScaling `json:"rope_scaling,omitempty"`
	// RopeParameters is where newer files have RopeTheta and RopeScaling; nil once read.
	RopeParameters        *RopeScaling `json:"rope_parameters,omitempty"`
	MaxPositionEmbeddings int          `json:"max_position_embeddings"`
	TieWordEmbeddings     bool         `json:"tie_word_embeddings"`
	BOSTokenID            *int32       `json:"bos_token_id"`
	EOSTokenID            *int32       `json:"eos_token_id"`
	PadTokenID            *int32       `json:"pad_token_id"`
	// TorchDtype is the type of the stored weights: float32, float16 or bfloat16.
	TorchDtype string `json:"torch_dtype"`
	// InitializerRange is the deviation of the random weights of [New]; 0.02 if absent.
	InitializerRange float64 `json:"initializer_range,omitempty"`
}

// ParseConfig reads config.json. Fields that do not change the computation are ignored; a field that
// asks for arithmetic this package does not do is an error, as is an unknown model_type.
func ParseConfig(data []byte) (Config, error) {
	var head struct {
		ModelType *string `json:"model_type"`
	}
	if len(data) > configBytesMax {
		return Config{}, fmt.Errorf("config.json has %d bytes, more than %d", len(data), configBytesMax)
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Config{}, fmt.Errorf("config.json: %w", plainError(err))
	}
	if head.ModelType == nil {
		return Config{}, fmt.Errorf("config.json: model_type is missing; write one of %s", knownTypes())
	}
	arch, err := architectureOf(*head.ModelType)
	if err != nil {
		return Config{}, fmt.Errorf("config.json: %w", err)
	}
	cfg := arch.defaults
	err = decodeConfig(data, &cfg)
	if err == nil {
		err = cmp.Or(refuse(data, arch.only), arch.validate(&cfg))
	}
	if err != nil {
		return Config{}, fmt.Errorf("config.json: %w", err)
	}
	return cfg, nil
}

// configBytesMax is far above any config.json, which has a few kilobytes.
const configBytesMax = 1 << 20

// architecture is how one model_type is read and built.
type architecture struct {
	modelType string
	defaults  Config        // what absent fields mean
	only      []unsupported // fields that must be plain if they are there
	validate  func(cfg *Config) error
	// mixture says whether a layer's feed-forward block is a mixture of experts.
	mixture func(cfg *Config, layer int) bool
	// attention adds the attention block whose weights begin with prefix.
	attention func(m *Model, prefix string) attention
	// ropeDim is how many values of a head are rotated.
	ropeDim func(cfg *Config) int
}

// architectures is the list of all that are known.
func architectures() []architecture {
	return []architecture{bzMoE(), deepseekV2(), qwen3MoE(), olmoe(), llama(), qwen2(), qwen3()}
}

func architectureOf(modelType string) (architecture, error) {
	for _, a := range architectures() {
		if a.modelType == modelType {
			return a, nil
		}
	}
	return architecture{}, fmt.Errorf("model_type %.100q is not known; known are %s", modelType, knownTypes())
}

func knownTypes() string {
	var names []string
	for _, a := range architectures() {
		names = append(names, fmt.Sprintf("%q", a.modelType))
	}
	return strings.Join(names, ", ")
}

// size is one number of a configuration with its least legal value.
type size struct {
	name  string
	value int
	least int
}

// sizeMax is far beyond any model, and keeps products of two sizes from overflowing.
const sizeMax = 1 << 24

func checkSizes(sizes ...size) error {
	for _, s := range sizes {
		if s.value < s.least || s.value > sizeMax {
			return fmt.Errorf("%s is %d; it must be at least %d and at most %d",
				s.name, s.value, s.least, sizeMax)
		}
	}
	return nil
}

// unsupported is a field with the values, as compact JSON, that ask for nothing unusual.
type unsupported struct {
	name  string
	plain []string
}

// plainFields are the fields that Hugging Face's architectures share, and more.
func plainFields(more ...unsupported) []unsupported {
	return append([]unsupported{
		{"hidden_act", []string{`"silu"`}},
		{"attention_dropout", []string{"0", "0.0", "null"}},
	}, more...)
}

// refuse reports the first field present with another value than the plain ones.
func refuse(data []byte, fields []unsupported) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, f := range fields {
		value, ok := all[f.name]
		if ok && !slices.Contains(f.plain, string(value)) {
			return fmt.Errorf("%s %.100s is not supported; only %s is",
				f.name, value, strings.Join(f.plain, " or "))
		}
	}
	return nil
}
