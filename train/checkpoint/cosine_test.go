package checkpoint

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// sourceOf makes a source of tensors of one row.
func sourceOf(t *testing.T, dtype DType, tensors map[string][]float32) Source {
	t.Helper()
	var all []Tensor
	for name, values := range tensors {
		x, err := NewTensor(name, dtype, []int{len(values)}, values)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	src, err := FromTensors(all)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestDeltaCosine(t *testing.T) {
	base := map[string][]float32{"a": {1, 2, 3}, "b": {4, 5}}
	for _, c := range []struct {
		a, b map[string][]float32
		want float64
	}{
		{map[string][]float32{"a": {2, 2, 3}}, map[string][]float32{"a": {5, 2, 3}}, 1},
		{map[string][]float32{"a": {2, 2, 3}}, map[string][]float32{"a": {0, 2, 3}}, -1},
		{map[string][]float32{"a": {2, 2, 3}}, map[string][]float32{"a": {1, 3, 3}}, 0},
		{map[string][]float32{"a": {2, 2, 3}}, map[string][]float32{"b": {5, 5}}, 0},
		{map[string][]float32{"a": {2, 2, 3}, "b": {4, 6}}, map[string][]float32{"a": {2, 2, 3}}, math.Sqrt(0.5)},
		{base, map[string][]float32{"a": {2, 2, 3}}, 0},
	} {
		got, err := DeltaCosine(sourceOf(t, F32, c.a), sourceOf(t, F32, c.b), sourceOf(t, F32, base))
		if err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v and %v: %v, %v, want %v", c.a, c.b, got, err, c.want)
		}
	}
	for _, bad := range []map[string][]float32{{"c": {1}}, {"a": {1}}} {
		_, err := DeltaCosine(sourceOf(t, F32, base), sourceOf(t, F32, bad), sourceOf(t, F32, base))
		if err == nil || !strings.Contains(err.Error(), "the base has it with shape") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// TestDeltaCosineOfRounded checks that small steps in unrelated directions do not look alike because both are
// rounded to halves: without rounding the base, the cosine would be near 1. Some likeness remains, since both
// cross the same nearest boundaries.
func TestDeltaCosineOfRounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	base, a, b := make([]float32, 4000), make([]float32, 4000), make([]float32, 4000)
	for i := range base {
		base[i] = float32(rng.NormFloat64())
		a[i], b[i] = base[i]+1e-4*float32(rng.NormFloat64()), base[i]+1e-4*float32(rng.NormFloat64())
	}
	of := func(dtype DType, v []float32) Source { return sourceOf(t, dtype, map[string][]float32{"w": v}) }
	for _, dtype := range []DType{F32, F16, BF16} {
		got, err := DeltaCosine(of(dtype, a), of(dtype, b), of(F32, base))
		if err != nil || math.Abs(got) > 0.3 || dtype == F32 && math.Abs(got) > 0.1 {
			t.Errorf("%v: cosine %v, %v", dtype, got, err)
		}
	}
	huge := of(F32, []float32{1e6})
	if got, err := DeltaCosine(of(F16, []float32{2}), of(F16, []float32{3}), huge); err != nil || math.Abs(got-1) > 1e-9 {
		t.Errorf("beyond halves: %v, %v", got, err)
	}
}
