package model

import (
	"bytes"
	"encoding/json"
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
		x, err := checkpoint.NewTensor(p.Name, dtype, p.Shape, p.Data)
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
			for i, v := range p.Data {
				p.Data[i] = float32(int(v*128)) / 128 // exact in every type
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
			if p.Name != q.Name || !slices.Equal(p.Shape, q.Shape) || !slices.Equal(p.Data, q.Data) {
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

func mustFail(t *testing.T, dir string, dev *tensor.Device, want string) {
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
		`,"attention_bias":true`:                                        "attention_bias true",
		`,"scoring_func":"sigmoid"`:                                     "scoring_func",
		`,"torch_dtype":"float8"`:                                       "torch_dtype",
		`,"vocab_size":16777217`:                                        "at most 16777216",
		`,"num_hidden_layers":4096,"n_routed_experts":4096`:             "at most 1048576",
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

// FuzzParseConfig checks that what is accepted is consistent, and is accepted again when written.
func FuzzParseConfig(f *testing.F) {
	f.Add(fmt.Appendf(nil, minimalConfig, ""))
	f.Add(fmt.Appendf(nil, minimalConfig, `,"num_key_value_heads":1,"head_dim":6,"first_k_dense_replace":2,"intermediate_size":5`))
	f.Add([]byte(`{"model_type":"bz_moe"}`))
	f.Add([]byte(`[]`))
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
