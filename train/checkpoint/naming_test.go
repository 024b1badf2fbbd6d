package checkpoint

import (
	"bytes"
	"slices"
	"testing"
)

var testGroup = Assignment{1: {{My: 5, Org: 40}, {My: 6, Org: 2}}, 12: {{My: 5, Org: 7}}}

// nativeExperts makes the tensors of testGroup with H = 3 and I = 2, all values different.
func nativeExperts(t *testing.T, dtype DType) []Tensor {
	t.Helper()
	var out []Tensor
	next := float32(0)
	for _, layer := range testGroup.Layers() {
		for _, pair := range testGroup[layer] {
			for _, part := range []Part{Gate, Up, Down} {
				shape := []int{2, 3}
				if part == Down {
					shape = []int{3, 2}
				}
				values := make([]float32, 6)
				for i := range values {
					next++
					values[i] = next
				}
				tensor, err := NewTensor(Native.Name(ExpertTensor{layer, pair.Org, part}), dtype, shape, values)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, tensor)
			}
		}
	}
	return out
}

func TestNamingParse(t *testing.T) {
	for _, c := range []struct {
		naming Naming
		name   string
		want   ExpertTensor
		ok     bool
	}{
		{Native, "model.layers.1.mlp.experts.40.gate_proj.weight", ExpertTensor{1, 40, Gate}, true},
		{Qwen3Next, "model.layers.47.mlp.experts.0.down_proj.weight", ExpertTensor{47, 0, Down}, true},
		{V2LiteFused, "model.layers.26.mlp.experts.63.gate_up_proj", ExpertTensor{26, 63, GateUp}, true},
		{V2LiteFused, "model.layers.26.mlp.experts.63.down_proj", ExpertTensor{26, 63, Down}, true},
		{V2LiteFused, "model.layers.26.mlp.experts.63.down_proj.weight", ExpertTensor{}, false},
		{V2LiteFused, "model.layers.26.mlp.experts.63.up_proj", ExpertTensor{}, false},
		{Native, "model.layers.1.mlp.experts.40.gate_up_proj.weight", ExpertTensor{}, false},
		{Native, "model.layers.1.mlp.experts.40.gate_proj", ExpertTensor{}, false},
		{Native, "model.layers.01.mlp.experts.40.gate_proj.weight", ExpertTensor{}, false},
		{Native, "model.layers.1.mlp.experts.40.gate_proj.weight\n", ExpertTensor{}, false},
		{Native, "xmodel.layers.1.mlp.experts.40.gate_proj.weight", ExpertTensor{}, false},
		{Native, "model.layers.1.mlp.shared_experts.gate_proj.weight", ExpertTensor{}, false},
		{Native, "model.layers.1.mlp.gate.weight", ExpertTensor{}, false},
		{Native, "model.layers.99999999999999999999.mlp.experts.4.up_proj.weight", ExpertTensor{}, false},
	} {
		got, ok := c.naming.Parse(c.name)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s %q: %v %t, want %v %t", c.naming, c.name, got, ok, c.want, c.ok)
		}
	}
	for _, n := range []Naming{Native, V2LiteFused, Qwen3Next} {
		if got, err := ParseNaming(n.String()); err != nil || got != n {
			t.Errorf("ParseNaming(%s) = %v, %v", n, got, err)
		}
	}
	_, err := ParseNaming("x")
	mustSay(t, err, "v2lite-fused")
}

func TestToProfile(t *testing.T) {
	native := nativeExperts(t, F16)
	fused, err := V2LiteFused.ToProfile(testGroup, native)
	if err != nil {
		t.Fatal(err)
	}
	if len(fused) != 6 || fused[0].Name != "model.layers.1.mlp.experts.40.gate_up_proj" ||
		fused[1].Name != "model.layers.1.mlp.experts.40.down_proj" || !slices.Equal(fused[0].Shape, []int{4, 3}) {
		t.Fatalf("fused %v", fused)
	}
	data, err := fused[0].values()
	if err != nil || !bytes.Equal(data, slices.Concat(native[0].Data, native[1].Data)) {
		t.Errorf("gate rows are not first: %v", err)
	}
	mine, err := Qwen3Next.ToProfile(testGroup, native)
	if err != nil {
		t.Fatal(err)
	}
	if mine[3].Name != "model.layers.1.mlp.experts.6.gate_proj.weight" || mine[6].Name != "model.layers.12.mlp.experts.5.gate_proj.weight" {
		t.Errorf("running ids: %s, %s", mine[3].Name, mine[6].Name)
	}
	for naming, tensors := range map[Naming][]Tensor{Native: native, V2LiteFused: fused, Qwen3Next: mine} {
		slices.Reverse(tensors)
		back, err := naming.FromProfile(testGroup, tensors)
		slices.Reverse(tensors)
		if err != nil || len(back) != len(native) {
			t.Fatalf("%s: %d tensors back, %v", naming, len(back), err)
		}
		for i, want := range native {
			got, err := back[i].values()
			if err != nil || back[i].Name != want.Name || !slices.Equal(back[i].Shape, want.Shape) || !bytes.Equal(got, want.Data) {
				t.Errorf("%s: %s came back as %s %v, %v", naming, want.Name, back[i].Name, back[i].Shape, err)
			}
		}
	}
}

func TestToProfileRefuses(t *testing.T) {
	native := nativeExperts(t, F32)
	_, err := V2LiteFused.ToProfile(testGroup, native[1:])
	mustSay(t, err, `"model.layers.1.mlp.experts.40.gate_proj.weight" is missing beside`)
	if got, err := V2LiteFused.ToProfile(testGroup, native[3:]); err != nil || len(got) != 4 {
		t.Errorf("an expert without tensors: %d, %v", len(got), err)
	}
	_, err = Qwen3Next.ToProfile(testGroup, append(slices.Clone(native), native[0]))
	mustSay(t, err, "two tensors")
	_, err = Qwen3Next.ToProfile(testGroup, []Tensor{{Name: "model.layers.1.mlp.gate.weight"}})
	mustSay(t, err, "no routed expert's in native naming")
	_, err = Qwen3Next.ToProfile(testGroup, []Tensor{{Name: "model.layers.1.mlp.experts.3.up_proj.weight"}})
	mustSay(t, err, "belongs to no expert of the group")
	odd := slices.Clone(native)
	odd[1].Shape = []int{3, 2}
	_, err = V2LiteFused.ToProfile(testGroup, odd)
	mustSay(t, err, "cannot be joined")
	fused, _ := V2LiteFused.ToProfile(testGroup, native)
	fused[0].Shape = []int{3, 4}
	_, err = V2LiteFused.FromProfile(testGroup, fused)
	mustSay(t, err, "cannot be split")
}

func source(t *testing.T, tensors []Tensor) Source {
	t.Helper()
	s, err := FromTensors(tensors)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOverlay(t *testing.T) {
	native := nativeExperts(t, F16)
	changed, err := NewTensor(native[0].Name, F32, native[0].Shape, []float32{9, 9, 9, 9, 9, 9})
	if err != nil {
		t.Fatal(err)
	}
	update, err := V2LiteFused.ToProfile(testGroup, append([]Tensor{changed}, nativeExperts(t, F32)[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	over, err := FromProfile(source(t, update), V2LiteFused, testGroup)
	if err != nil {
		t.Fatal(err)
	}
	base := source(t, append([]Tensor{{Name: "lm_head.weight", DType: F32, Shape: []int{1}, Data: make([]byte, 4)}}, native...))
	all, err := Overlay(base, over)
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Names()) != 10 {
		t.Errorf("names %v", all.Names())
	}
	v, err := all.Float32(changed.Name, nil)
	if err != nil || !slices.Equal(v, []float32{9, 9, 9, 9, 9, 9}) {
		t.Errorf("changed tensor %v, %v", v, err)
	}
	v, err = all.Float32(native[1].Name, nil)
	if err != nil || !slices.Equal(v, []float32{7, 8, 9, 10, 11, 12}) {
		t.Errorf("second half of the joined tensor %v, %v", v, err)
	}
	if info, _ := all.Info(native[1].Name); info.DType != F32 || info.Bytes != 24 {
		t.Errorf("info %v", info)
	}
	if info, _ := all.Info("lm_head.weight"); info.Bytes != 4 {
		t.Errorf("base tensor: %v", info)
	}
	_, err = Overlay(base, source(t, []Tensor{{Name: "lm_head.weight", DType: F32, Shape: []int{2}, Data: make([]byte, 8)}}))
	mustSay(t, err, `"lm_head.weight" has shape [2] in the overlay, [1] in the base`)
}
