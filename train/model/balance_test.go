package model

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// referenceBalance is the load-balancing loss in double precision.
type referenceBalance struct {
	scale    float64
	attended []bool
	rows     float64
	chosen   map[int]float64
	probable map[int]float64
	experts  int
}

func (b *referenceBalance) begin() {
	b.rows, b.chosen, b.probable = 0, map[int]float64{}, map[int]float64{}
}

func (b *referenceBalance) add(logits []float64, k, position int) {
	if !b.attended[position] {
		return
	}
	softmax64(logits)
	order := make([]int, len(logits))
	for e := range order {
		order[e] = e
	}
	sort.SliceStable(order, func(i, j int) bool { return logits[order[i]] > logits[order[j]] })
	for rank, e := range order {
		if rank < k {
			b.chosen[e]++
		}
		b.probable[e] += logits[e]
	}
	b.rows++
	b.experts = len(logits)
}

func (b *referenceBalance) loss() float64 {
	sum := 0.0
	for e := range b.experts {
		sum += b.chosen[e] / b.rows * b.probable[e] / b.rows
	}
	return float64(b.experts) * sum
}

// paddedBatch is one sequence whose last positions are padding.
func paddedBatch(cfg Config, length, padding int) (b Batch, attended []bool) {
	b = randomBatch(cfg, 1, length, 5)
	for i := range b.Targets {
		attended = append(attended, i < length-padding)
		if i >= length-padding-1 {
			b.Targets[i] = -1
		}
	}
	return b, attended
}

// balanced returns what BackwardBalanced gives and all gradients.
func balanced(t testing.TB, m *Model, b Batch, do Balance, keep func(string) bool) (sum, aux float64, grads []float32) {
	t.Helper()
	m.SetTrainable(keep)
	sum, _, aux, err := m.BackwardBalanced(context.Background(), b, 1, do)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		grads = append(grads, p.Gradient()...)
	}
	return sum, aux, grads
}

// TestBalanceGradient compares the loss, and the gradients with a load-balancing loss that outweighs
// the other, with the reference: also where the router is restricted, which the loss does not see.
func TestBalanceGradient(t *testing.T) {
	for name, cfg := range variants() {
		m := newModel(t, cfg, "auto", 2)
		ref := newReference(m)
		if m.layers[2].moe == nil {
			continue
		}
		ref.allowed[2] = []int32{4, 1, 3}
		if err := m.SetAllowedExperts(2, ref.allowed[2]); err != nil {
			t.Fatal(err)
		}
		b, attended := paddedBatch(cfg, 70, 9)
		ref.balance = &referenceBalance{scale: 1000, attended: attended}
		ref.balance.begin()
		ref.run(b)
		_, aux, _ := balanced(t, m, b, Balance{Scale: 1000, Attended: attended}, all)
		if want := ref.balance.loss(); math.Abs(aux-want) > 1e-5*want || want == 0 {
			t.Errorf("%s: load-balancing loss %v, want %v", name, aux, want)
		}
		for _, p := range m.Params() {
			checkGradient(t, name, ref, b, p)
		}
	}
}

// TestBalanceBits checks that any number of workers gives the same bits, that a frozen weight changes no other
// gradient, and that without scale all but the loss itself is as in Backward.
func TestBalanceBits(t *testing.T) {
	for _, kernels := range tensor.Names() {
		cfg := tinyConfig()
		cfg.NRoutedExperts = 12
		b := randomBatch(cfg, 3, 150, 2)
		do := Balance{Scale: 7}
		wantSum, wantAux, want := balanced(t, newModel(t, cfg, kernels, 1), b, do, all)
		for _, workers := range []int{2, 3, 8} {
			sum, aux, grads := balanced(t, newModel(t, cfg, kernels, workers), b, do, all)
			if sum != wantSum || aux != wantAux || !slices.Equal(grads, want) {
				t.Errorf("%s: other bits with %d workers than with one", kernels, workers)
			}
		}
		m := newModel(t, cfg, kernels, 2)
		sum, aux, grads := balanced(t, m, b, Balance{}, all)
		m.ZeroGrad()
		plain, _, err := m.Backward(context.Background(), b, 1)
		if err != nil {
			t.Fatal(err)
		}
		var without []float32
		for _, p := range m.Params() {
			without = append(without, p.Gradient()...)
		}
		if plain != sum || !slices.Equal(grads, without) || aux != wantAux || slices.Equal(grads, want) {
			t.Errorf("%s: a load-balancing loss of scale 0 changes bits, or one of scale 7 none", kernels)
		}
		balanced(t, m, b, do, all)
		first := m.Param("model.layers.1.mlp.experts.3.down_proj.weight")
		gradient := slices.Clone(first.Gradient())
		if balanced(t, m, b, do, func(name string) bool { return name == first.Name }); !slices.Equal(first.Gradient(), gradient) {
			t.Errorf("%s: the gradient of %s differs when all else is frozen", kernels, first.Name)
		}
	}
}

// TestBalanceRefused checks the marks' number, and what has no loss.
func TestBalanceRefused(t *testing.T) {
	cfg := tinyConfig()
	m := newModel(t, cfg, "auto", 1)
	b, attended := paddedBatch(cfg, 20, 3)
	_, _, _, err := m.BackwardBalanced(context.Background(), b, 1, Balance{Scale: 1, Attended: attended[1:]})
	if err == nil || !strings.Contains(err.Error(), "19 positions are marked") {
		t.Errorf("error %v", err)
	}
	_, aux, grads := balanced(t, m, b, Balance{Scale: 1, Attended: make([]bool, 20)}, all)
	_, _, want := balanced(t, m, b, Balance{}, all)
	if aux != 0 || !slices.Equal(grads, want) {
		t.Errorf("without a position that counts the loss is %v", aux)
	}
	cfg.FirstKDenseReplace = 3
	if _, aux, _ = balanced(t, newModel(t, cfg, "auto", 1), b, Balance{Scale: 1}, all); aux != 0 {
		t.Errorf("without mixture layers the loss is %v", aux)
	}
}

// TestTransformersBalance compares with the losses and gradients of transformers, for a batch with padding; see
// testdata/peer.py.
func TestTransformersBalance(t *testing.T) {
	files, err := filepath.Glob("testdata/*/balanced.safetensors")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, kernels := range tensor.Names() {
		set, err := tensor.Choose(kernels)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			dir := filepath.Dir(file)
			t.Run(filepath.Base(dir)+"/"+kernels, func(t *testing.T) { openPeer(t, dir, tensor.New(set, 2)).compareBalanced(t, file) })
		}
	}
}

func (p *peer) compareBalanced(t *testing.T, file string) {
	want, err := checkpoint.Open(store.OS(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	p.want = want
	p.batch.Targets = p.ints(t, "targets")
	var attended []bool
	for _, v := range p.ints(t, "attention_mask") {
		attended = append(attended, v == 1)
	}
	tokens, coefficient := 0, float64(p.floats(t, "coefficient")[0])
	for _, target := range p.batch.Targets {
		if target >= 0 {
			tokens++
		}
	}
	sum, aux, _ := balanced(t, p.m, p.batch, Balance{Attended: attended}, all)
	loss, wantAux := sum/float64(tokens)+coefficient*aux, float64(p.floats(t, "aux_loss")[0])
	off, auxOff := math.Abs(loss-float64(p.floats(t, "loss")[0])), math.Abs(aux-wantAux)
	if !(off <= peerLoss) || !(auxOff <= peerLoss) {
		t.Errorf("the loss is off by %.2g, the load-balancing loss by %.2g of %g", off, auxOff, wantAux)
	}
	worst, name := p.gradients(t, func() error {
		_, _, _, err := p.m.BackwardBalanced(context.Background(), p.batch, 1/float32(tokens),
			Balance{Scale: float32(coefficient), Attended: attended})
		return err
	})
	t.Logf("loss off by %.1e, load-balancing loss by %.1e, worst gradient %.1e of its length in %s", off, auxOff, worst, name)
}
