package model

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestConfigHostile has configurations that no model has: each is refused in one short line, and
// takes no more memory than in proportion to its length.
func TestConfigHostile(t *testing.T) {
	long := strings.Repeat
	qwen := func(extra string) string { return fmt.Sprintf(configs()["qwen3_moe"], extra) }
	llama := func(extra string) string { return fmt.Sprintf(configs()["llama"], extra) }
	for _, c := range []struct{ config, want string }{
		{"", "at byte 0: unexpected end"}, {"{", "at byte 1: unexpected end"}, {"null", "model_type is missing"}, {"[]", "at byte"},
		{"NaN", "at byte 1: invalid character 'N'"}, {"\xff", "at byte 1"}, {long("[", 100_000), "at byte 10001: invalid character '[' exceeded max depth"},
		{`{"model_type":` + long("[", 100_000), "max depth"}, {`{"model_type":7}`, "model_type is number; it must be a text"},
		{`{"model_type":"` + long("x", 100_000) + `"}`, "is not known; known are"},
		{`{"model_type":"gpt2"}`, `model_type "gpt2" is not known`}, {`{"model_type":"llama"}`, "hidden_size is 0"},
		{llama(`,"num_hidden_layers":1152921504606846976`), "num_hidden_layers is 1152921504606846976; it must be at most 1024"},
		{llama(`,"num_hidden_layers":-1`), "num_hidden_layers is -1"},
		{llama(`,"num_hidden_layers":1e30`), "num_hidden_layers is number 1e30; it must be a whole number"},
		{llama(`,"num_hidden_layers":99999999999999999999`), "num_hidden_layers is number 99999999999999999999; it must be"},
		{llama(`,"num_hidden_layers":` + long("9", 100_000)), "num_hidden_layers is number 999"},
		{llama(`,"hidden_size":NaN`), "invalid character 'N'"}, {llama(`,"rms_norm_eps":Infinity`), "invalid character 'I'"},
		{llama(`,"rope_theta":1e999`), "rope_theta is number 1e999; it must be a number"},
		{llama(`,"rms_norm_eps":-1e-6`), "rms_norm_eps is -1e-06; it must be greater than 0"},
		{llama(`,"hidden_size":true`), "hidden_size is bool; it must be a whole number"},
		{llama(`,"hidden_size":[8]`), "hidden_size is array; it must be a whole number"},
		{llama(`,"tie_word_embeddings":"no"`), "tie_word_embeddings is string; it must be true or false"},
		{llama(`,"eos_token_id":4294967296`), "it must be a whole number of 32 bits"},
		{llama(`,"eos_token_id":["a"]`), "it must be a whole number of 32 bits"},
		{llama(`,"rope_scaling":[]`), "rope_scaling is array; it must be an object"},
		{llama(`,"rope_scaling":{"factor":"8"}`), "rope_scaling.factor is string; it must be a number"},
		{llama(`,"rope_scaling":{"type":"yarn","factor":4,"original_max_position_embeddings":9,"beta_fast":-1}`), "beta_fast is -1"},
		{llama(`,"hidden_act":"` + long("x", 100_000) + `"`), "is not supported"},
		{llama(`,"torch_dtype":"` + long("x", 100_000) + `"`), "is not known"},
		{llama(`,"vocab_size":9223372036854775807`), "vocab_size is 9223372036854775807"},
		{llama(`,"pad":"` + long("x", configBytesMax) + `"`), "more than 1048576"},
		{qwen(`,"decoder_sparse_step":9223372036854775807`), "decoder_sparse_step is"},
		{qwen(`,"num_hidden_layers":1024,"mlp_only_layers":[0` + long(",0", 100_000) + `]`), "mlp_only_layers lists 100001 layers"},
		{qwen(`,"mlp_only_layers":{}`), "mlp_only_layers is object; it must be a list"},
		{qwen(`,"num_hidden_layers":1000,"num_experts":1000`), "num_hidden_layers times n_routed_experts is 1000000"},
		{qwen(`,"num_experts":4611686018427387904`), "n_routed_experts is 4611686018427387904"},
	} {
		name := c.config[:min(80, len(c.config))]
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseConfig([]byte(c.config))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16+32*uint64(len(c.config)) {
			t.Errorf("%s…: %d bytes allocated for %d", name, n, len(c.config))
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s…: error %.500v, want a short line that says %q", name, err, c.want)
		}
	}
}

// TestConfigLargest builds the largest model that a configuration may ask for, without weights.
func TestConfigLargest(t *testing.T) {
	cfg, err := ParseConfig(fmt.Appendf(nil, configs()["qwen3_moe"], `,"num_hidden_layers":1024,"num_experts":64`))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	shapes, err := Shapes(cfg)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || n > 384<<20 {
		t.Errorf("%d tensors took %d bytes, %v", len(shapes), n, err)
	}
}
