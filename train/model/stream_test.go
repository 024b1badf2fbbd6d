package model

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// eachPeer runs a test on the small model of each architecture in testdata.
func eachPeer(t *testing.T, workers int, do func(t *testing.T, p *peer)) {
	folders, err := filepath.Glob("testdata/*/peer.safetensors")
	if err != nil || len(folders) < 10 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	set, err := tensor.Choose("auto")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		dir := filepath.Dir(folder)
		t.Run(filepath.Base(dir), func(t *testing.T) { do(t, openPeer(t, dir, tensor.New(set, workers))) })
	}
}

// batches cuts a peer's batch into three of other lengths.
func (p *peer) batches() []Batch {
	b := p.batch
	half := b.Length
	return []Batch{
		{1, half, b.Tokens[:half], b.Targets[:half]},
		{1, 9, b.Tokens[half : half+9], b.Targets[half : half+9]},
		{2, 20, b.Tokens[half+9 : half+49], b.Targets[half+9 : half+49]},
	}
}

func (p *peer) losses(t *testing.T) [][]float32 {
	t.Helper()
	var out [][]float32
	for _, b := range p.batches() {
		loss := make([]float32, len(b.Tokens))
		if _, _, err := p.m.Loss(context.Background(), b, loss); err != nil {
			t.Fatal(err)
		}
		out = append(out, loss)
	}
	return out
}

func (p *peer) source(t *testing.T) checkpoint.Source {
	t.Helper()
	var tensors []checkpoint.Tensor
	for _, w := range p.m.Params() {
		x, err := checkpoint.NewTensor(w.Name, checkpoint.F32, w.Shape, w.Values())
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, x)
	}
	src, err := checkpoint.FromTensors(tensors)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func equalLosses(a, b [][]float32) bool { return slices.EqualFunc(a, b, slices.Equal[[]float32]) }

// TestStream checks that layer by layer gives the bits of the whole model: losses, those of
// updates that begin in each place, and routes.
func TestStream(t *testing.T) {
	eachPeer(t, 2, func(t *testing.T, p *peer) {
		s, err := NewStream(p.m.Config(), p.source(t), p.m.Device())
		if err != nil {
			t.Fatal(err)
		}
		steps := 0
		s.OnLayer = func(done, total int) {
			if steps++; done > total {
				t.Errorf("step %d of %d", done, total)
			}
		}
		want := p.losses(t)
		base, updated, err := s.Losses(context.Background(), p.batches(), nil)
		if err != nil || updated != nil || !equalLosses(base, want) || steps != len(p.m.layers)+2 {
			t.Fatalf("%v, %d steps, equal: %v", err, steps, equalLosses(base, want))
		}
		for _, part := range []string{"embed_tokens", "layers.0.self_attn", "layers.1.mlp.", "layers.1.input_layernorm", "model.norm"} {
			p.testUpdate(t, s, want, part)
		}
		p.compareStreamRoutes(t, s)
	})
}

// testUpdate changes the weights with part in their names, and puts them back.
func (p *peer) testUpdate(t *testing.T, s *Stream, want [][]float32, part string) {
	t.Helper()
	var update []checkpoint.Tensor
	for _, w := range p.m.Params() {
		if !strings.Contains(w.Name, part) {
			continue
		}
		kept, values := slices.Clone(w.Values()), slices.Clone(w.Values())
		defer w.SetValues(kept)
		for i := range values {
			values[i] *= 1.25
		}
		w.SetValues(values)
		x, err := checkpoint.NewTensor(w.Name, checkpoint.F32, w.Shape, values)
		if err != nil {
			t.Fatal(err)
		}
		update = append(update, x)
	}
	src, err := checkpoint.FromTensors(update)
	if err != nil {
		t.Fatal(err)
	}
	base, updated, err := s.Losses(context.Background(), p.batches(), src)
	if err != nil {
		t.Fatal(err)
	}
	if wantUpdated := p.losses(t); !equalLosses(base, want) || !equalLosses(updated, wantUpdated) || equalLosses(base, updated) {
		t.Errorf("update of %s: base equal: %v, updated equal: %v", part, equalLosses(base, want), equalLosses(updated, wantUpdated))
	}
}

func (p *peer) compareStreamRoutes(t *testing.T, s *Stream) {
	type key struct{ batch, layer int }
	want := map[key]Route{}
	for i, b := range p.batches() {
		err := p.m.Routes(context.Background(), b, func(r Route) {
			want[key{i, r.Layer}] = Route{r.Layer, slices.Clone(r.Experts), slices.Clone(r.Weights)}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err := s.Routes(context.Background(), p.batches(), func(batch int, r Route) {
		w := want[key{batch, r.Layer}]
		if seen++; !slices.Equal(r.Experts, w.Experts) || !slices.Equal(r.Weights, w.Weights) {
			t.Errorf("batch %d, layer %d: other routes", batch, r.Layer)
		}
	})
	if err != nil || seen != len(want) {
		t.Errorf("%d routes, want %d; %v", seen, len(want), err)
	}
}

// TestStreamRefuses checks the errors.
func TestStreamRefuses(t *testing.T) {
	m := newModel(t, tinyConfig(), "auto", 1)
	p := &peer{m: m}
	src := p.source(t)
	cfg := m.Config()
	cfg.VocabSize++
	if _, err := NewStream(cfg, src, m.Device()); err == nil || !strings.Contains(err.Error(), "shape [37 24]") {
		t.Errorf("another vocabulary: %v", err)
	}
	s, err := NewStream(m.Config(), src, m.Device())
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := checkpoint.NewTensor("foreign", checkpoint.F32, []int{1}, []float32{1})
	wrong, _ := checkpoint.NewTensor("model.norm.weight", checkpoint.F32, []int{1}, []float32{1})
	b := randomBatch(m.Config(), 1, 9, 3)
	for want, tensors := range map[string][]checkpoint.Tensor{
		`no tensor "foreign"`: {foreign}, "shape [1]": {wrong}, "has no tensor": nil,
	} {
		update, err := checkpoint.FromTensors(tensors)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Losses(context.Background(), []Batch{b}, update); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	if _, _, err := s.Losses(context.Background(), []Batch{b, {}}, nil); err == nil || !strings.Contains(err.Error(), "batch 1") {
		t.Errorf("an empty batch: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Losses(ctx, []Batch{b}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestArchitecturesAlone checks, for every architecture, that the bits depend neither on the number of
// workers nor on what else is in the batch, and that freezing changes no gradient that is left.
func TestArchitecturesAlone(t *testing.T) {
	gradients := map[string][]float32{}
	for _, workers := range []int{1, 3} {
		eachPeer(t, workers, func(t *testing.T, p *peer) {
			_, grads := backward(t, p.m, p.batch, all)
			if want, ok := gradients[t.Name()]; !ok {
				gradients[t.Name()] = grads
			} else if !slices.Equal(grads, want) {
				t.Errorf("other gradients with %d workers", workers)
			}
			p.testPrefix(t)
			p.testFrozen(t)
		})
	}
	if len(gradients) < 10 {
		t.Errorf("%d models", len(gradients))
	}
}

// testPrefix checks that a sequence's first losses are the same alone.
func (p *peer) testPrefix(t *testing.T) {
	want := make([]float32, len(p.batch.Tokens))
	if _, _, err := p.m.Loss(context.Background(), p.batch, want); err != nil {
		t.Fatal(err)
	}
	from := p.batch.Length
	for _, n := range []int{1, 64, 66} {
		one := Batch{1, n, p.batch.Tokens[from : from+n], p.batch.Targets[from : from+n]}
		got := make([]float32, n)
		if _, _, err := p.m.Loss(context.Background(), one, got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want[from:from+n]) {
			t.Errorf("the second sequence's first %d losses are other bits alone", n)
		}
	}
}

// testFrozen trains one weight at a time.
func (p *peer) testFrozen(t *testing.T) {
	backward(t, p.m, p.batch, all)
	want := map[string][]float32{}
	for _, w := range p.m.Params() {
		want[w.Name] = slices.Clone(w.Gradient())
	}
	for _, one := range p.m.Params() {
		backward(t, p.m, p.batch, func(name string) bool { return name == one.Name })
		if !slices.Equal(one.Gradient(), want[one.Name]) {
			t.Errorf("with only %s: its gradient differs", one.Name)
		}
	}
}
