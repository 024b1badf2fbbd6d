package model

import (
	"context"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// TestLayersOnHost checks that weights which come to the device a layer at a time give the same bits, and that a
// weight that is trained stays there.
func TestLayersOnHost(t *testing.T) {
	set, err := tensor.Choose("auto")
	if err != nil {
		t.Fatal(err)
	}
	const dir = "testdata/deepseek_v2_lite"
	whole := openPeer(t, dir, tensor.New(set, 2))
	weights, err := checkpoint.OpenDir(store.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	m, err := FromSource(whole.m.Config(), weights, Hold{LayersOnHost: true}, tensor.New(set, 2))
	if err != nil {
		t.Fatal(err)
	}
	away := func() (names []string) {
		for _, p := range m.Params() {
			if p.w.Data.None() {
				names = append(names, p.Name)
			}
		}
		return names
	}
	if n := len(away()); n != len(m.Params())-3 {
		t.Errorf("%d of %d weights are in the host's memory", n, len(m.Params()))
	}
	keep := func(name string) bool { return strings.Contains(name, "experts.1.") }
	for _, x := range []*Model{whole.m, m} {
		x.SetRecompute(x == m)
		x.SetTrainable(keep)
		if _, _, err := x.Backward(context.Background(), whole.batch, 0.5); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range whole.m.Params() {
		q := m.Params()[i]
		if !slices.Equal(p.Gradient(), q.Gradient()) || !slices.Equal(p.Values(), q.Values()) {
			t.Errorf("%s: another gradient or value", p.Name)
		}
	}
	if names := away(); slices.ContainsFunc(names, keep) || len(names) == 0 {
		t.Errorf("after training %d weights are in the host's memory: %v", len(names), names)
	}
}
