package model

import (
	"context"
	"fmt"
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

// balanceBlock cuts the sums over positions, so it is part of the bits.
const balanceBlock = 64

// balance is a pass's sums.
type balance struct {
	Balance
	k        int
	counted  float64   // positions, in all layers
	chosen   []float64 // by expert
	probable []float64
	blocks   []float64 // by block, chosen and probable
	slope    []float32 // by expert, the scaled derivative of a counted position's probability
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

// count adds a layer's positions, whose unmasked probabilities stand in a.
func (b *balance) count(p *pass, a *moeActs, experts int) {
	grow(&b.blocks, (p.rows+balanceBlock-1)/balanceBlock*2*experts)
	clear(b.blocks)
	p.dev.ForBlocks(p.rows, balanceBlock, func(from, to int) {
		sums := b.blocks[from/balanceBlock*2*experts:][:2*experts]
		chosen, probable, taken := sums[:experts], sums[experts:], make([]bool, experts)
		for r := from; r < to; r++ {
			if !b.counts(r) {
				continue
			}
			probs := a.unmasked[r*experts : (r+1)*experts]
			countTop(probs, b.k, chosen, taken)
			for e, v := range probs {
				probable[e] += float64(v)
			}
		}
	})
	if b.chosen == nil {
		b.chosen, b.probable = make([]float64, experts), make([]float64, experts)
	}
	for at := 0; at < len(b.blocks); at += 2 * experts {
		for e := range experts {
			b.chosen[e] += b.blocks[at+e]
			b.probable[e] += b.blocks[at+experts+e]
		}
	}
	for r := range p.rows {
		if b.counts(r) {
			b.counted++
		}
	}
}

func (b *balance) counts(row int) bool { return b.Attended == nil || b.Attended[row] }

// countTop adds one for each of the k most probable experts, equal ones by the lower number. It uses
// taken, a value for each expert, as it likes.
func countTop(probs []float32, k int, chosen []float64, taken []bool) {
	clear(taken)
	for range k {
		best := -1
		for e, v := range probs {
			if !taken[e] && (best < 0 || v > probs[best]) {
				best = e
			}
		}
		taken[best] = true
		chosen[best]++
	}
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
func (b *balance) settle() {
	b.slope = make([]float32, len(b.chosen))
	if b.counted == 0 {
		return
	}
	for e, n := range b.chosen {
		b.slope[e] = float32(float64(b.Scale) * float64(len(b.chosen)) * n / (b.counted * b.counted))
	}
}

// back adds the derivative of a row's logits, probs being their unmasked softmax.
func (b *balance) back(row int, dLogits, probs []float32) {
	if !b.counts(row) {
		return
	}
	mean := float32(0)
	for e, v := range probs {
		mean += v * b.slope[e]
	}
	for e, v := range probs {
		dLogits[e] += v * (b.slope[e] - mean)
	}
}
