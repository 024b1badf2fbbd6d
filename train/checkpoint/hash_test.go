package checkpoint

import (
	"slices"
	"testing"
)

// The vectors were computed with Python's hashlib from the networks' definition.
func TestHash(t *testing.T) {
	type values struct {
		name string
		v    []float32
	}
	for _, c := range []struct {
		dtype   DType
		tensors []values
		want    string
	}{
		{F32, []values{
			{"model.layers.0.mlp.experts.6.up_proj.weight", []float32{1, 2, 3, 4}},
			{"model.layers.0.mlp.experts.5.gate_proj.weight", []float32{.5, -.5, 0, 1}},
		}, "4e6d6f88f483e42491f1e3b8a9031dc6d752b6c51f66b1bb"},
		{F16, []values{
			{"model.layers.1.mlp.experts.22.gate_up_proj", []float32{1, 2, 3, 4}},
			{"model.layers.1.mlp.experts.22.down_proj", []float32{.5, -.5}},
		}, "b853e45a3c4fcaae5f03435f419f0fcd0eee303454d494bc"},
	} {
		var tensors []Tensor
		for _, v := range c.tensors {
			tensor, err := NewTensor(v.name, c.dtype, []int{len(v.v)}, v.v)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, tensor)
		}
		for range 2 {
			got, err := Hash(tensors)
			if err != nil || got != c.want {
				t.Errorf("%s: %s, %v; want %s", c.dtype, got, err, c.want)
			}
			slices.Reverse(tensors)
		}
	}
}
