package model

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// TestTransformers compares losses and gradients with those of transformers; see testdata/peer.py.
func TestTransformers(t *testing.T) {
	for _, name := range []string{"mixtral", "deepseek_moe"} {
		for _, kernels := range tensor.Names() {
			set, err := tensor.Choose(kernels)
			if err != nil {
				t.Fatal(err)
			}
			comparePeer(t, filepath.Join("testdata", name), tensor.New(set, 2))
		}
	}
}

func comparePeer(t *testing.T, dir string, dev *tensor.Device) {
	t.Helper()
	m, err := Open(store.OS(), dir, dev)
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Sequences       int
		Tokens, Targets []int32
		Loss            []float64
	}
	data, err := store.ReadAll(store.OS(), filepath.Join(dir, "loss.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	b := Batch{want.Sequences, len(want.Tokens) / want.Sequences, want.Tokens, want.Targets}
	got := make([]float32, len(b.Tokens))
	if _, _, err := m.Loss(context.Background(), b, got); err != nil {
		t.Fatal(err)
	}
	for i, v := range want.Loss {
		if math.Abs(float64(got[i])-v) > 2e-5 {
			t.Fatalf("%s on %s: loss at %d is %v, want %v", dir, dev, i, got[i], v)
		}
	}
	m.SetTrainable(all)
	if _, _, err := m.Backward(context.Background(), b, 1); err != nil {
		t.Fatal(err)
	}
	grads, err := checkpoint.Open(store.OS(), filepath.Join(dir, "gradients.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer grads.Close()
	for _, p := range m.Params() {
		want, err := grads.Float32(p.Name, nil)
		if err != nil {
			t.Fatal(err)
		}
		size, off := 0.0, 0.0
		for i, v := range want {
			size += float64(v) * float64(v)
			off += float64(v-p.Grad[i]) * float64(v-p.Grad[i])
		}
		if math.Sqrt(off) > 2e-5*math.Sqrt(size) {
			t.Errorf("%s on %s: gradient of %s is off by %.2g of its length", dir, dev, p.Name, math.Sqrt(off/size))
		}
	}
}
