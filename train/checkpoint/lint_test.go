package checkpoint

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestLint(t *testing.T) {
	native := nativeExperts(t, F16)
	base := source(t, native)
	changed := slices.Clone(native)
	changed[4].Data = make([]byte, len(changed[4].Data))
	other := source(t, changed) // a base from which one tensor differs
	for _, naming := range []Naming{Native, V2LiteFused, Qwen3Next} {
		good, err := naming.ToProfile(testGroup, native)
		if err != nil {
			t.Fatal(err)
		}
		rules := Rules{Naming: naming, Group: testGroup, Base: other}
		if got, err := Lint(source(t, good), rules); err != nil || len(got) != 0 {
			t.Errorf("%s: a good update has %v, %v", naming, got, err)
		}
		rules.Base = base
		if got, err := Lint(source(t, good), rules); err != nil || len(got) != 1 || got[0].Reason != ZeroDelta {
			t.Errorf("%s: a copy of the base has %v, %v", naming, got, err)
		}
	}
	got, err := Lint(source(t, nil), Rules{Group: testGroup})
	if err != nil || len(got) != 10 || got[0].Reason != EmptyUpdate {
		t.Errorf("empty: %v, %v", got, err)
	}
	got, err = Lint(source(t, native), Rules{Group: testGroup, Base: source(t, native[1:])})
	if err != nil || len(got) != 1 || got[0].Reason != WrongShape {
		t.Errorf("absent from the base: %v, %v", got, err)
	}
}

// TestLintTensors has one fault each.
func TestLintTensors(t *testing.T) {
	native := nativeExperts(t, F16)
	base := source(t, native)
	put := func(i int, f func(*Tensor)) []Tensor {
		out := slices.Clone(native)
		f(&out[i])
		return out
	}
	value := func(v float32) func(*Tensor) {
		return func(x *Tensor) { x.Data, _ = FromFloat32(F16, []float32{1, 1, 1, v, 1, 1}) }
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	name := native[2].Name
	for _, c := range []struct {
		what   string
		update []Tensor
		want   []string
	}{
		{"NaN", put(2, value(nan)), []string{"expert_group_or_nan: " + name + ": value 3 is NaN"}},
		{"infinity", put(2, value(inf)), []string{"expert_group_or_nan: " + name + ": value 3 is -Inf"}},
		{"shape", put(2, func(x *Tensor) { x.Shape = []int{2, 3} }),
			[]string{"wrong_shape: " + name + ": shape [2 3], but the base model has [3 2]"}},
		{"type", put(2, func(x *Tensor) { x.DType = I16 }), []string{"wrong_dtype: " + name + ": I16 is not F32, F16 or BF16"}},
		{"router", append(slices.Clone(native), Tensor{Name: "model.layers.1.mlp.gate.weight"}),
			[]string{"expert_group_or_nan: model.layers.1.mlp.gate.weight: no routed expert of the group"}},
		{"foreign expert", append(slices.Clone(native), Tensor{Name: "model.layers.1.mlp.experts.9.up_proj.weight"}),
			[]string{"expert_group_or_nan: model.layers.1.mlp.experts.9.up_proj.weight: no routed expert of the group"}},
		{"running id", append(slices.Clone(native), Tensor{Name: "model.layers.1.mlp.experts.5.up_proj.weight"}),
			[]string{"wrong_name: model.layers.1.mlp.experts.5.up_proj.weight: not as native names the group's experts"}},
		{"missing", native[:8], []string{"missing_tensor: model.layers.12.mlp.experts.7.down_proj.weight: the update lacks it"}},
	} {
		got, err := Lint(source(t, c.update), Rules{Group: testGroup, Base: base})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %v, %v\nwant %v", c.what, got, err, c.want)
		}
	}
}

// TestLintNetworks has what only one network minds.
func TestLintNetworks(t *testing.T) {
	native := nativeExperts(t, BF16)
	for naming, want := range map[Naming]int{Native: 0, V2LiteFused: 0, Qwen3Next: len(native)} {
		update, err := naming.ToProfile(testGroup, native)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Lint(source(t, update), Rules{Naming: naming, Group: testGroup})
		if err != nil || len(got) != want || want > 0 && got[0].Reason != HashFails {
			t.Errorf("%s: BF16 has %v, %v", naming, got, err)
		}
	}
	at := func(v int) *FolderName { return &FolderName{Version: v} }
	for _, c := range []struct {
		from, current *FolderName
		want          string
	}{
		{at(3), at(4), "[stale_version: trained from global version 3, but the network is at 4]"}, {at(4), at(4), "[]"},
		{at(5), at(4), "[]"}, {nil, at(4), "[]"}, {at(3), nil, "[]"},
	} {
		got, err := Lint(source(t, native), Rules{Group: testGroup, From: c.from, Current: c.current})
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("from %v, at %v: %v, %v", c.from, c.current, got, err)
		}
	}
}

// TestLintTypesAndWholeModels checks the rules of a network's own types, and of updates of all weights.
func TestLintTypesAndWholeModels(t *testing.T) {
	base := sourceOf(t, F32, map[string][]float32{"a": {1, 2}, "b": {3}})
	nan := float32(math.NaN())
	for _, c := range []struct {
		dtype  DType
		update map[string][]float32
		types  []DType
		want   Reason
	}{
		{BF16, map[string][]float32{"a": {1, 3}}, nil, ""},
		{BF16, map[string][]float32{"a": {1, 3}}, []DType{F32, F16}, HashFails},
		{F16, map[string][]float32{"a": {1, 3}}, []DType{F32, F16}, ""},
		{F16, map[string][]float32{"c": {1, 3}}, nil, WrongShape},
		{F16, map[string][]float32{"a": {1}}, nil, WrongShape},
		{F16, map[string][]float32{"b": {nan}}, nil, ExpertGroupOrNaN},
		{F16, map[string][]float32{"a": {1, 2}, "b": {3}}, nil, ZeroDelta},
		{F16, nil, nil, EmptyUpdate},
	} {
		got, err := Lint(sourceOf(t, c.dtype, c.update), Rules{Base: base, DTypes: c.types})
		if err != nil || len(got) > 1 || (len(got) == 1) != (c.want != "") || len(got) == 1 && got[0].Reason != c.want {
			t.Errorf("%v %v: %v, %v, want %q", c.dtype, c.update, got, err, c.want)
		}
		if len(got) == 1 && got[0].Fatal() == (c.want == ZeroDelta) {
			t.Errorf("%v: fatal is %v", got[0], got[0].Fatal())
		}
	}
}
