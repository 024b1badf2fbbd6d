package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// writeFolder writes a model as a Hugging Face folder; change may edit the tensors first.
func writeFolder(t *testing.T, m *Model, dtype checkpoint.DType, change func([]checkpoint.Tensor) []checkpoint.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	var tensors []checkpoint.Tensor
	for _, p := range m.Params() {
		x, err := checkpoint.NewTensor(p.Name, dtype, p.Shape, p.Values())
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, x)
	}
	if change != nil {
		tensors = change(tensors)
	}
	err := store.WriteFile(store.OS(), filepath.Join(dir, checkpoint.SingleFile), func(w io.Writer) error {
		return checkpoint.Write(w, tensors, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(m.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.WriteBytes(store.OS(), filepath.Join(dir, ConfigFile), config); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOpen checks that a folder gives the model that it was written from.
func TestOpen(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16, checkpoint.F16} {
		m := newModel(t, tinyConfig(), "auto", 1)
		for _, p := range m.Params() {
			for i, v := range p.Values() {
				p.Values()[i] = float32(int(v*128)) / 128 // exact in every type
			}
		}
		got, err := Open(store.OS(), writeFolder(t, m, dtype, nil), m.Device())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprintf("%+v", got.Config()), fmt.Sprintf("%+v", m.Config()); a != b {
			t.Errorf("%v: config %s, want %s", dtype, a, b)
		}
		for i, p := range m.Params() {
			q := got.Params()[i]
			if p.Name != q.Name || !slices.Equal(p.Shape, q.Shape) || !slices.Equal(p.Values(), q.Values()) {
				t.Errorf("%v: %s differs", dtype, p.Name)
			}
		}
		b := randomBatch(m.Config(), 2, 20, 1)
		if x, y := loss(t, m, b), loss(t, got, b); x != y {
			t.Errorf("%v: loss %v, want %v", dtype, y, x)
		}
	}
}

// TestOpenRefuses checks the errors for folders that do not hold the model.
func TestOpenRefuses(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 1)
	dir := writeFolder(t, m, checkpoint.F32, func(all []checkpoint.Tensor) []checkpoint.Tensor { return all[1:] })
	mustFail(t, dir, m.Device(), `"model.embed_tokens.weight" of shape [37 24] is missing`)
	dir = writeFolder(t, m, checkpoint.F32, func(all []checkpoint.Tensor) []checkpoint.Tensor {
		all[0].Shape = []int{24, 37}
		return all
	})
	mustFail(t, dir, m.Device(), `"model.embed_tokens.weight" has shape [24 37]; config.json asks for [37 24]`)
	dir = writeFolder(t, m, checkpoint.F32, nil)
	if err := store.OS().Remove(filepath.Join(dir, ConfigFile)); err != nil {
		t.Fatal(err)
	}
	mustFail(t, dir, m.Device(), ConfigFile)
	if err := store.WriteBytes(store.OS(), filepath.Join(dir, ConfigFile), []byte(`{"model_type":"gpt2"}`)); err != nil {
		t.Fatal(err)
	}
	mustFail(t, dir, m.Device(), `model_type "gpt2" is not known`)
}

func mustFail(t *testing.T, dir string, dev tensor.Device, want string) {
	t.Helper()
	_, err := Open(store.OS(), dir, dev)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want one that names %s and says %q", err, dir, want)
	}
}

const minimalConfig = `{"model_type":"bz_moe","hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,
	"vocab_size":10,"moe_intermediate_size":4,"n_routed_experts":3,"num_experts_per_tok":2%s}`

func TestParseConfig(t *testing.T) {
	extra := `,"torch_dtype":"bfloat16","rope_scaling":null,"hidden_act":"silu","eos_token_id":2,"transformers_version":"5"`
	cfg, err := ParseConfig(fmt.Appendf(nil, minimalConfig, extra))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.NumKeyValueHeads != 2 || cfg.HeadDim != 4 || cfg.RoutedScalingFactor != 1 || cfg.RMSNormEps != 1e-6 ||
		cfg.RopeTheta != 10000 || cfg.TorchDtype != "bfloat16" || *cfg.EOSTokenID != 2 || cfg.BOSTokenID != nil {
		t.Errorf("implied values: %+v", cfg)
	}
	for extra, want := range map[string]string{
		`,"hidden_size":0`:          "hidden_size is 0",
		`,"hidden_size":7`:          "no multiple of num_attention_heads",
		`,"head_dim":3`:             "odd",
		`,"num_key_value_heads":-1`: "num_key_value_heads is -1",
		`,"num_attention_heads":3,"num_key_value_heads":2,"head_dim":4`: "no multiple of num_key_value_heads 2",
		`,"num_experts_per_tok":4`:                                      "more than n_routed_experts 3",
		`,"n_routed_experts":0`:                                         "n_routed_experts is 0",
		`,"first_k_dense_replace":1`:                                    "intermediate_size is 0",
		`,"rms_norm_eps":0`:                                             "rms_norm_eps is 0",
		`,"routed_scaling_factor":-1`:                                   "routed_scaling_factor is -1",
		`,"hidden_act":"gelu"`:                                          `hidden_act "gelu" is not supported`,
		`,"rope_scaling":{"type":"yarn"}`:                               "rope_scaling",
		`,"rope_theta":1e999`:                                           "rope_theta",
		`,"attention_bias":true`:                                        "attention_bias true",
		`,"scoring_func":"sigmoid"`:                                     "scoring_func",
		`,"torch_dtype":"float8"`:                                       "torch_dtype",
		`,"vocab_size":16777217`:                                        "at most 16777216",
		`,"num_hidden_layers":4096,"n_routed_experts":4096`:             "at most 1024",
		`,"vocab_size":"10"`:                                            "vocab_size",
		`,"model_type":null`:                                            "model_type is missing",
		`,"model_type":"BZ_MOE"`:                                        `"BZ_MOE" is not known`,
	} {
		_, err := ParseConfig(fmt.Appendf(nil, minimalConfig, extra))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", extra, err, want)
		}
	}
}

// configs are the smallest configurations of the architectures besides bz_moe.
func configs() map[string]string {
	const shape = `"hidden_size":8,"num_hidden_layers":2,"num_attention_heads":2,"vocab_size":10,`
	return map[string]string{
		"deepseek_v2": `{"model_type":"deepseek_v2",` + shape + `"n_routed_experts":4,"moe_intermediate_size":4%s}`,
		"qwen3_moe":   `{"model_type":"qwen3_moe",` + shape + `"num_key_value_heads":1,"num_experts_per_tok":2%s}`,
		"olmoe":       `{"model_type":"olmoe",` + shape + `"num_experts":9%s}`,
		"llama":       `{"model_type":"llama",` + shape + `"intermediate_size":6%s}`,
		"qwen2":       `{"model_type":"qwen2",` + shape + `"intermediate_size":6%s}`,
		"qwen3":       `{"model_type":"qwen3",` + shape + `"intermediate_size":6%s}`,
	}
}

// TestParseArchitectures checks what absent fields mean, and the errors of each architecture.
func TestParseArchitectures(t *testing.T) {
	for _, c := range []struct{ modelType, extra, want string }{
		{"deepseek_v2", `,"num_experts_per_tok":6`, "more than n_routed_experts 4"},
		{"deepseek_v2", `,"num_experts_per_tok":2`, ""},
		{"deepseek_v2", `,"num_experts_per_tok":2,"q_lora_rank":null,"n_group":1,"topk_group":1,"topk_method":"greedy"`, ""},
		{"deepseek_v2", `,"num_experts_per_tok":2,"num_key_value_heads":1`, "num_key_value_heads 1 differs"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"qk_rope_head_dim":3`, "qk_rope_head_dim 3 is odd"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"kv_lora_rank":0`, "kv_lora_rank is 0"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"v_head_dim":-1`, "v_head_dim is -1"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"norm_topk_prob":true`, "norm_topk_prob true is not supported"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"scoring_func":"sigmoid"`, "scoring_func"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"topk_method":"noaux_tc"`, `topk_method "noaux_tc" is not supported`},
		{"deepseek_v2", `,"num_experts_per_tok":2,"topk_method":"group_limited_greedy"`, "n_group is 0"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"topk_method":"group_limited_greedy","n_group":3,"topk_group":1`, "no multiple of n_group 3"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"topk_method":"group_limited_greedy","n_group":2,"topk_group":3`, "topk_group 3 is more"},
		{"deepseek_v2", `,"num_experts_per_tok":3,"topk_method":"group_limited_greedy","n_group":2,"topk_group":1`, "more than the 2 experts"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"rope_scaling":{"type":"yarn","factor":40}`, "original_max_position_embeddings is 0"},
		{"deepseek_v2", `,"num_experts_per_tok":2,"rope_parameters":{"rope_type":"dynamic"}`, `type "dynamic" is not supported`},
		{"deepseek_v2", `,"num_experts_per_tok":2,"rope_scaling":{"type":"linear"}`, "factor is 0"},
		{"qwen3_moe", ``, ""},
		{"qwen3_moe", `,"num_experts":1`, "more than n_routed_experts 1"},
		{"qwen3_moe", `,"num_local_experts":1`, "more than n_routed_experts 1"},
		{"qwen3_moe", `,"decoder_sparse_step":0`, "decoder_sparse_step is 0"},
		{"qwen3_moe", `,"mlp_only_layers":[0]`, "intermediate_size is 0"},
		{"qwen3_moe", `,"use_sliding_window":true`, "use_sliding_window"},
		{"olmoe", ``, ""},
		{"olmoe", `,"clip_qkv":8`, "clip_qkv 8 is not supported"},
		{"llama", ``, ""},
		{"llama", `,"mlp_bias":true`, "mlp_bias"},
		{"llama", `,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,"original_max_position_embeddings":8192}`, "is not above"},
		{"llama", `,"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.5}`, "partial_rotary_factor 0.5"},
		{"llama", `,"eos_token_id":[128001,128008]`, ""},
		{"qwen2", `,"hidden_act":"gelu"`, "hidden_act"},
		{"qwen3", `,"head_dim":5`, "head_dim 5 is odd"},
	} {
		cfg, err := ParseConfig(fmt.Appendf(nil, configs()[c.modelType], c.extra))
		if c.want == "" {
			if err != nil || cfg.RopeTheta != 10000 || cfg.RopeParameters != nil {
				t.Errorf("%s%s: %v, %+v", c.modelType, c.extra, err, cfg)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s: error %v, want one that says %q", c.modelType, c.extra, err, c.want)
		}
	}
	cfg, err := ParseConfig(fmt.Appendf(nil, configs()["llama"], `,"dtype":"bfloat16","eos_token_id":[7,8],"rope_parameters":{"rope_theta":5e5}`))
	if err != nil || cfg.TorchDtype != "bfloat16" || *cfg.EOSTokenID != 7 || cfg.RopeTheta != 5e5 || cfg.RopeScaling != nil {
		t.Errorf("newer names: %v, %+v", err, cfg)
	}
}

// FuzzParseConfig checks that what is accepted is consistent, and is accepted again when written.
func FuzzParseConfig(f *testing.F) {
	f.Add(fmt.Appendf(nil, minimalConfig, ""))
	f.Add(fmt.Appendf(nil, minimalConfig, `,"num_key_value_heads":1,"head_dim":6,"first_k_dense_replace":2,"intermediate_size":5`))
	f.Add([]byte(`{"model_type":"bz_moe"}`))
	f.Add([]byte(`[]`))
	for _, config := range configs() {
		f.Add(fmt.Appendf(nil, config, `,"num_experts_per_tok":2,"rope_scaling":{"type":"yarn","factor":4,"original_max_position_embeddings":32}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := ParseConfig(data)
		if err != nil {
			return
		}
		if cfg.HeadDim%2 != 0 || cfg.NumAttentionHeads%cfg.NumKeyValueHeads != 0 || cfg.HiddenSize < 1 || cfg.VocabSize < 1 {
			t.Fatalf("accepted %+v", cfg)
		}
		written, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if rewritten, err := json.Marshal(again); err != nil || !bytes.Equal(rewritten, written) {
			t.Fatalf("%s became %s (%v)", written, rewritten, err)
		}
	})
}

// ownSource fails when a tensor outside a set is read.
type ownSource struct {
	checkpoint.Source
	t  *testing.T
	ok func(name string) bool
}

func (s ownSource) Float32(name string, dst []float32) ([]float32, error) {
	if !s.ok(name) {
		s.t.Errorf("%s was read", name)
	}
	return s.Source.Float32(name, dst)
}

// TestOpenGroup checks that a model with a group's experts computes what the whole model does when its
// routers are restricted to them, that no other expert is read, and that shards with others only
// may be absent.
func TestOpenGroup(t *testing.T) {
	own := map[int][]int32{1: {0, 3}, 2: {4, 1}}
	foreign := func(name string) bool {
		for l, ids := range own {
			for e := range int32(5) {
				if strings.HasPrefix(name, fmt.Sprintf("model.layers.%d.mlp.experts.%d.", l, e)) && !slices.Contains(ids, e) {
					return true
				}
			}
		}
		return false
	}
	whole := newModel(t, tinyConfig(), "auto", 2)
	for l, ids := range own {
		if err := whole.SetAllowedExperts(l, ids); err != nil {
			t.Fatal(err)
		}
	}
	b := randomBatch(whole.Config(), 2, 70, 4)
	wantSum, _ := backward(t, whole, b, all)
	dir := writeShards(t, whole, foreign)
	part, err := OpenGroup(store.OS(), dir, own, whole.Device())
	if err != nil {
		t.Fatal(err)
	}
	if sum, _ := backward(t, part, b, all); sum != wantSum {
		t.Errorf("loss %v, want %v", sum, wantSum)
	}
	for _, p := range part.Params() {
		if foreign(p.Name) || !slices.Equal(p.Gradient(), whole.Param(p.Name).Gradient()) {
			t.Errorf("%s: foreign, or another gradient", p.Name)
		}
	}
	weights := (&peer{m: whole}).source(t)
	src := ownSource{weights, t, func(name string) bool { return !foreign(name) }}
	if _, err := FromSource(whole.Config(), src, Hold{Own: own}, whole.Device()); err != nil {
		t.Fatal(err)
	}
	for _, ids := range [][]int32{nil, {0, 1}} {
		if err := part.SetAllowedExperts(1, ids); err == nil || !strings.Contains(err.Error(), "expert 1 was not loaded") {
			t.Errorf("allowing %v: %v", ids, err)
		}
	}
	mustFail(t, dir, whole.Device(), "shard foreign.safetensors")
	for want, own := range map[string]map[int][]int32{
		`"model.layers.1.mlp.experts.1.gate_proj.weight" of shape [10 24] is missing`: {1: {1}, 2: {4}},
		"layer 2: no expert is allowed":                                               {1: {0}},
		"layer 2 has no expert 5":                                                     {1: {0}, 2: {5}},
	} {
		if _, err := OpenGroup(store.OS(), dir, own, whole.Device()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// writeShards writes a folder with an index of two shards, of which foreign.safetensors, with the
// tensors that foreign names, is absent.
func writeShards(t *testing.T, m *Model, foreign func(name string) bool) string {
	t.Helper()
	where := map[string]string{}
	dir := writeFolder(t, m, checkpoint.F32, func(tensors []checkpoint.Tensor) []checkpoint.Tensor {
		for _, x := range tensors {
			where[x.Name] = "own.safetensors"
			if foreign(x.Name) {
				where[x.Name] = "foreign.safetensors"
			}
		}
		return slices.DeleteFunc(tensors, func(x checkpoint.Tensor) bool { return foreign(x.Name) })
	})
	index, err := json.Marshal(map[string]any{"weight_map": where})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		store.OS().Rename(filepath.Join(dir, checkpoint.SingleFile), filepath.Join(dir, "own.safetensors")),
		store.WriteBytes(store.OS(), filepath.Join(dir, checkpoint.IndexFile), index))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestExpertsPerToken checks that fewer experts for each token is what a smaller num_experts_per_tok is.
func TestExpertsPerToken(t *testing.T) {
	cfg := tinyConfig()
	cfg.NumExpertsPerTok = 1
	want, m := newModel(t, cfg, "auto", 2), newModel(t, tinyConfig(), "auto", 2)
	if err := m.SetExpertsPerToken(1); err != nil {
		t.Fatal(err)
	}
	b := randomBatch(cfg, 2, 40, 3)
	if x, y := loss(t, m, b), loss(t, want, b); x != y {
		t.Errorf("loss %v, want %v", x, y)
	}
	for _, k := range []int{0, -1, 6} {
		if err := m.SetExpertsPerToken(k); err == nil {
			t.Errorf("%d experts were accepted", k)
		}
	}
}
