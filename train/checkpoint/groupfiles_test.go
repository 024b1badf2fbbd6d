package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bzdata/pipeline/store"
)

// putWeights writes tensors in the format of the name's extension.
func putWeights(t *testing.T, path string, tensors []Tensor) {
	t.Helper()
	var out bytes.Buffer
	err := WriteTorch(&out, tensors)
	if filepath.Ext(path) == ".safetensors" {
		out.Reset()
		err = Write(&out, tensors, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestOpenGroupFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, tensors []Tensor) { t.Helper(); putWeights(t, filepath.Join(dir, name), tensors) }
	groups := []*Group{{Name: "exp_x", Config: GroupConfig{GroupID: 3}, Assignment: testGroup}}
	open := func(n Naming) (*GroupFiles, error) { return OpenGroupFiles(store.OS(), dir, n, groups) }
	_, err := open(Native)
	mustSay(t, err, "neither model*.safetensors nor model*.pt")
	native := nativeExperts(t, F16)
	norm := Tensor{Name: "model.norm.weight", DType: F32, Shape: []int{1}, Data: make([]byte, 4)}
	for _, naming := range []Naming{Native, V2LiteFused, Qwen3Next} {
		tensors, err := naming.ToProfile(testGroup, native)
		if err != nil {
			t.Fatal(err)
		}
		put("model_expgroup_3.pt", tensors)
		put("model_shared.pt", []Tensor{norm})
		put("other.pt", native)
		g, err := open(naming)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(g.Files, []string{"model_expgroup_3.pt", "model_shared.pt"}) || len(g.Names()) != 10 {
			t.Errorf("%s: files %v, tensors %v", naming, g.Files, g.Names())
		}
		for _, want := range native {
			if got, err := g.Bytes(want.Name); err != nil || !bytes.Equal(got, want.Data) {
				t.Errorf("%s: %s: %v, %v", naming, want.Name, got, err)
			}
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	mine, err := Qwen3Next.ToProfile(testGroup, native)
	if err != nil {
		t.Fatal(err)
	}
	put("model_shared.safetensors", mine) // stands before model_shared.pt
	_, err = open(Qwen3Next)
	mustSay(t, err, "means nothing without a group")
	_, err = open(Native)
	mustSay(t, err, "belongs to no expert of the group")
	put("model_shared.safetensors", native)
	put("model_expgroup_3.pt", native)
	_, err = open(Native)
	mustSay(t, err, "two tensors are called")
	put("model_expgroup_3.pt", []Tensor{norm})
	g, err := open(Native)
	if err != nil || len(g.Names()) != 10 {
		t.Fatalf("experts of no group: %v", err)
	}
	defer g.Close()
	put("model_expgroup_4.pt", native)
	_, err = open(Native)
	mustSay(t, err, "model_expgroup_4.pt: expert group 4 is unknown")
}
