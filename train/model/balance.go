package model

import (
	"context"
	"fmt"

	"bzdata/train/tensor"
)

// Balance asks for the routers' load-balancing loss (Fedus, Zoph and Shazeer 2021, equations 4 to 6), as
// load_balancing_loss_func of transformers 5.24 has it: with E experts, top-k routing, and N the counted
// positions of all mixture layers together,
//
//	aux = E Σ_e f_e P_e, f_e = (how often e is among the k most probable) / N, P_e = (Σ probability of e) / N
//
// of which P_e is differentiated and f_e is not. It is k where all experts are chosen, and likely to
// be, alike.
//
// Probabilities are the softmax over all experts of the router, before [Model.SetAllowedExperts] closes some:
// Block Zero (907d2e4, custom_qwen3_next.py) records the router's logits before it masks them, and its
// loss is over these. So an expert that the model does not have is counted where it would have been chosen.
type Balance struct {
	// Scale is what its derivative is multiplied by in the gradients.
	Scale float32
	// Attended says which positions count, as a tokenizer's attention_mask does: not those of padding.
	// Nil counts all.
	Attended []bool
}

// balance is a pass's sums.
type balance struct {
	Balance
	k        int
	counted  float64   // positions, in all layers
	chosen   []float64 // by expert
	probable []float64
	mask     tensor.Ints  // Attended, on the device
	slope    tensor.Array // by expert, the scaled derivative of a counted position's probability
}

// BackwardBalanced is [Model.Backward] with a load-balancing loss besides, which it returns: 0 without
// mixture layers or positions that count. The sum of losses is without it.
func (m *Model) BackwardBalanced(ctx context.Context, b Batch, scale float32, do Balance) (
	sum float64, tokens int, aux float64, err error) {
	if do.Attended != nil && len(do.Attended) != b.positions() {
		return 0, 0, 0, fmt.Errorf("%d positions are marked as counted or not; the batch has %d", len(do.Attended), b.positions())
	}
	bal := &balance{Balance: do, k: m.cfg.NumExpertsPerTok}
	sum, tokens, err = m.backward(ctx, b, scale, bal)
	return sum, tokens, bal.loss(), err
}

// count adds a layer's positions.
func (b *balance) count(p *pass, r *tensor.Routing) {
	if b.Attended != nil && b.mask.None() {
		b.mark(p)
	}
	chosen, probable := p.dev.BalanceCount(r, b.k, b.mask)
	if b.chosen == nil {
		b.chosen, b.probable = make([]float64, r.Experts), make([]float64, r.Experts)
	}
	for e := range chosen {
		b.chosen[e] += chosen[e]
		b.probable[e] += probable[e]
	}
	b.counted += float64(b.positions(p))
}

// mark takes the positions that count to the device.
func (b *balance) mark(p *pass) {
	marks := make([]int32, p.rows)
	for r, counts := range b.Attended {
		if counts {
			marks[r] = 1
		}
	}
	room := &p.m.state.counted
	p.dev.GrowInts(room, p.rows)
	p.dev.UploadInts(*room, marks)
	b.mask = *room
}

// positions counts those that count.
func (b *balance) positions(p *pass) int {
	if b.Attended == nil {
		return p.rows
	}
	n := 0
	for _, counts := range b.Attended {
		if counts {
			n++
		}
	}
	return n
}

func (b *balance) loss() float64 {
	if b.counted == 0 {
		return 0
	}
	sum := 0.0
	for e, n := range b.chosen {
		sum += n / b.counted * (b.probable[e] / b.counted)
	}
	return float64(len(b.chosen)) * sum
}

// settle is called between the passes forward and backward.
func (b *balance) settle(p *pass) {
	slope := make([]float32, len(b.chosen))
	if b.counted > 0 {
		for e, n := range b.chosen {
			slope[e] = float32(float64(b.Scale) * float64(len(b.chosen)) * n / (b.counted * b.counted))
		}
	}
	b.slope = p.growF32(&p.m.state.slope, len(slope))
	p.dev.Upload(b.slope, slope)
}

// back adds the derivative to that of a layer's logits.
func (b *balance) back(p *pass, r *tensor.Routing) { p.dev.BalanceBack(r, b.slope, b.mask) }
