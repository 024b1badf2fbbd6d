package model

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// Bounds on what may differ from transformers, and the margin under which its router's choice says
// nothing.
const (
	peerLogits    = 1e-4
	peerLoss      = 1e-5
	peerGradient  = 1e-3 // of the gradient's length
	peerNearTie   = 1e-6
	peerSequences = 2
)

// TestTransformers compares logits, losses, gradients and router choices with those of transformers; see
// testdata/peer.py.
func TestTransformers(t *testing.T) {
	folders, err := filepath.Glob("testdata/*/peer.safetensors")
	if err != nil || len(folders) < 10 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	for _, kernels := range tensor.Names() {
		set, err := tensor.Choose(kernels)
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range folders {
			dir := filepath.Dir(folder)
			t.Run(filepath.Base(dir)+"/"+kernels, func(t *testing.T) { openPeer(t, dir, tensor.New(set, 2)).compare(t) })
		}
	}
}

// peer is a model with what transformers computed for a batch.
type peer struct {
	m     *Model
	batch Batch
	want  checkpoint.Source
}

func openPeer(t *testing.T, dir string, dev tensor.Device) *peer {
	t.Helper()
	m, err := Open(store.OS(), dir, dev)
	if err != nil {
		t.Fatal(err)
	}
	want, err := checkpoint.Open(store.OS(), filepath.Join(dir, "peer.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { want.Close() })
	p := &peer{m: m, want: want}
	tokens, targets := p.ints(t, "tokens"), p.ints(t, "targets")
	p.batch = Batch{peerSequences, len(tokens) / peerSequences, tokens, targets}
	return p
}

func (p *peer) ints(t *testing.T, name string) []int32 {
	t.Helper()
	data, err := p.want.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int32, len(data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

func (p *peer) floats(t *testing.T, name string) []float32 {
	t.Helper()
	values, err := p.want.Float32(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// compare checks everything, and says which tensor is the worst.
func (p *peer) compare(t *testing.T) {
	ctx := context.Background()
	vocab, want, logits := p.m.Config().VocabSize, p.floats(t, "logits"), 0.0
	err := p.m.Logits(ctx, p.batch, func(position int, got []float32) {
		logits = max(logits, greatest(got, want[position*vocab:(position+1)*vocab]))
	})
	if err != nil {
		t.Fatal(err)
	}
	losses := make([]float32, len(p.batch.Tokens))
	if _, _, err := p.m.Loss(ctx, p.batch, losses); err != nil {
		t.Fatal(err)
	}
	loss := greatest(losses, p.floats(t, "loss"))
	if !(logits <= peerLogits) || !(loss <= peerLoss) {
		t.Errorf("logits differ by %.2g, losses by %.2g", logits, loss)
	}
	ties := p.compareRoutes(t)
	worst, name := p.gradients(t, func() error {
		_, _, err := p.m.Backward(ctx, p.batch, 1)
		return err
	})
	t.Logf("logits %.1e, losses %.1e, worst gradient %.1e of its length in %s, %d near ties", logits, loss, worst, name, ties)
}

func greatest(got, want []float32) float64 {
	off := 0.0
	for i, v := range want {
		if d := math.Abs(float64(v) - float64(got[i])); !(d <= off) {
			off = d
		}
	}
	return off
}

// gradients compares what backward makes of them, and returns the greatest distance, by the gradient's
// length, and where it is.
func (p *peer) gradients(t *testing.T, backward func() error) (worst float64, name string) {
	p.m.SetTrainable(all)
	if err := backward(); err != nil {
		t.Fatal(err)
	}
	for _, w := range p.m.Params() {
		size, off := 0.0, 0.0
		for i, v := range p.floats(t, "gradient."+w.Name) {
			size += float64(v) * float64(v)
			off += float64(v-w.Gradient()[i]) * float64(v-w.Gradient()[i])
		}
		relative := math.Sqrt(off / size)
		if size == 0 {
			relative = math.Sqrt(off) // an expert that no token chose
		}
		if !(relative <= peerGradient) {
			t.Errorf("the gradient of %s is off by %.2g of its length", w.Name, relative)
		}
		if relative >= worst {
			worst, name = relative, w.Name
		}
	}
	return worst, name
}

// compareRoutes checks the choices, and returns how many differ at a near tie.
func (p *peer) compareRoutes(t *testing.T) (ties int) {
	layer := 0
	err := p.m.Routes(context.Background(), p.batch, func(r Route) {
		want := p.ints(t, fmt.Sprintf("experts.%d", layer))
		logits := p.floats(t, fmt.Sprintf("router_logits.%d", layer))
		if layer++; len(want) != len(r.Experts) {
			t.Fatalf("layer %d: %d choices, want %d", r.Layer, len(r.Experts), len(want))
		}
		k := len(want) / len(p.batch.Tokens)
		experts := len(logits) / len(p.batch.Tokens)
		for at := 0; at < len(want); at += k {
			got, wanted := r.Experts[at:at+k], want[at:at+k]
			if slices.Equal(got, wanted) {
				continue
			}
			if !nearTie(logits[at/k*experts:][:experts], got, wanted) {
				t.Errorf("layer %d, token %d: experts %v, want %v", r.Layer, at/k, got, wanted)
				continue
			}
			t.Logf("layer %d, token %d: experts %v and %v are a near tie", r.Layer, at/k, got, wanted)
			ties++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.want.Info(fmt.Sprintf("experts.%d", layer)); ok {
		t.Errorf("transformers has more than %d mixture layers", layer)
	}
	return ties
}

// nearTie says whether two choices differ only among logits that are as good as equal.
func nearTie(logits []float32, a, b []int32) bool {
	for i := range a {
		if math.Abs(float64(logits[a[i]]-logits[b[i]])) > peerNearTie {
			return false
		}
	}
	return true
}
