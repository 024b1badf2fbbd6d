package checkpoint

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestIsCopy(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	base := make([]float32, 2*copyChunk+5)
	for i := range base {
		base[i] = float32(rng.NormFloat64() / 50)
	}
	for dtype, bits := range map[DType]int{F32: 0, F16: 13, BF16: 16} {
		stored, err := FromFloat32(dtype, base)
		if err != nil {
			t.Fatal(err)
		}
		update, err := ToFloat32(dtype, stored)
		if err != nil {
			t.Fatal(err)
		}
		if !equalRounded(update, base, dtype) {
			t.Errorf("the base as %s is not called a copy", dtype)
		}
		for _, at := range []int{0, copyChunk - 1, copyChunk, len(base) - 1} {
			before := update[at]
			update[at] = math.Float32frombits(math.Float32bits(before) ^ 1<<bits) // the last bit that the type has
			if equalRounded(update, base, dtype) {
				t.Errorf("value %d differs in the last bit of %s, and the update is called a copy", at, dtype)
			}
			update[at] = before
		}
	}
	if equalRounded([]float32{65504}, []float32{1e6}, F16) {
		t.Error("a value that F16 cannot hold has a copy")
	}
}

func TestIsCopyOfSource(t *testing.T) {
	native := nativeExperts(t, F16)
	base := source(t, native)
	for what, update := range map[string][]Tensor{
		"absent from the base": {{Name: "x", DType: F16, Shape: []int{1}, Data: make([]byte, 2)}},
		"another shape":        {{Name: native[0].Name, DType: F16, Shape: []int{1}, Data: make([]byte, 2)}},
		"no numbers":           {{Name: native[0].Name, DType: I16, Shape: native[0].Shape, Data: native[0].Data}},
		"other values":         {{Name: native[0].Name, DType: F16, Shape: native[0].Shape, Data: make([]byte, len(native[0].Data))}},
	} {
		if same, err := IsCopy(source(t, update), base); same || err != nil {
			t.Errorf("%s: %v, %v", what, same, err)
		}
	}
	if same, err := IsCopy(source(t, native[2:5]), base); !same || err != nil {
		t.Errorf("the base's own tensors: %v, %v", same, err)
	}
}
