package train

import (
	"context"
	"slices"
	"testing"

	"bzdata/pipeline/store"
)

// TestPosition trains in three runs of unlike batches, each going on where the one before it ended: together
// they draw every sequence of a pass once before any comes twice, as one run does.
func TestPosition(t *testing.T) {
	var drawn []int
	data := newData()
	data.onRead = func(i int) { drawn = append(drawn, i) }
	position := int64(0)
	for _, batch := range []int{3, 2, 5} {
		cfg := tinyRun(3)
		cfg.BatchSize, cfg.Position = batch, position
		res := mustRun(t, newModel(t, "auto", 2), data, cfg, Hooks{})
		if position += int64(3 * 2 * batch); res.Position != position {
			t.Fatalf("position %d, want %d", res.Position, position)
		}
	}
	var want []int
	for epoch := range uint64(3) {
		for _, i := range permutation(nil, data.n, tinyRun(1).Seed, epoch) {
			want = append(want, int(i))
		}
	}
	if !slices.Equal(drawn, want[:position]) {
		t.Errorf("drawn %v, want %v", drawn, want[:position])
	}
}

// TestPositionResumes interrupts a run that begins behind others, and one that begins elsewhere is not its.
func TestPositionResumes(t *testing.T) {
	cfg := tinyRun(6)
	cfg.Position = 20
	m := newModel(t, "auto", 2)
	want := mustRun(t, m, newData(), cfg, Hooks{})
	cfg.Checkpoints = Checkpoints{Dir: "state", FS: store.NewCrashFS(), Build: "b"}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := Hooks{OnStep: func(s Metrics) {
		if s.Step == 4 {
			cancel()
		}
	}}
	if _, err := Run(ctx, newModel(t, "auto", 2), newData(), cfg, stop); err == nil {
		t.Fatal("the run was not interrupted")
	}
	other := cfg
	other.Position = 0
	if _, err := Run(context.Background(), newModel(t, "auto", 2), newData(), other, Hooks{}); err == nil {
		t.Error("a run went on from the state of one that began elsewhere")
	}
	again := newModel(t, "auto", 2)
	got := mustRun(t, again, newData(), cfg, Hooks{})
	if got.ResumedFrom != 4 || got.Position != want.Position || !sameBits(weights(m), weights(again)) {
		t.Errorf("resumed from %d, position %d of %d", got.ResumedFrom, got.Position, want.Position)
	}
}
