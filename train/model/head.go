package model

import (
	"context"

	"bzdata/train/tensor"
)

// headActs are what final norm and head leave for the counted positions, a row each.
type headActs struct {
	rows, targets   []int32 // position and target of each counted row
	x, normed, grad tensor.Array
	inverse         tensor.Array
	ids             tensor.Ints // rows, on the device
	ends            tensor.Ints // targets
	nats            tensor.Doubles
	loss            []float64 // nats, on the host
}

// headBlock is how many rows' logits exist at once. It cuts the sum of the head's gradient, so
// it is part of the bits.
const headBlock = 256

// headPass says what the head computes besides the losses.
type headPass struct {
	scale float32 // of the derivatives
	back  bool    // to compute the derivatives at all
	input bool    // to carry them on to p.dx and to the final norm
}

// headLoss computes the losses from p.x, for the counted positions only, and returns their sum
// and number.
func (p *pass) headLoss(ctx context.Context, tokenLoss []float32, do headPass) (float64, int, error) {
	h, d := &p.m.state.head, p.hidden
	n := p.countTargets()
	p.dev.GatherRows(p.grow(&h.x, n*d), p.x, h.ids, d)
	p.norm(&h.normed, &h.inverse, h.x, p.m.norm, p.m.cfg.RMSNormEps)
	p.dev.GrowDoubles(&h.nats, n)
	if do.input {
		p.grow(&h.grad, n*d)
	}
	for from := 0; from < n; from += headBlock {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		p.headRows(from, min(n, from+headBlock), do)
	}
	if do.input {
		p.headBack()
	}
	h.loss = append(h.loss[:0], make([]float64, n)...)
	p.dev.DownloadDoubles(h.loss, h.nats)
	return h.sum(tokenLoss), n, p.dev.Err()
}

// countTargets takes the counted positions and their targets to the device, and returns their number.
func (p *pass) countTargets() int {
	h := &p.m.state.head
	h.rows, h.targets = h.rows[:0], h.targets[:0]
	for t, target := range p.batch.Targets {
		if target >= 0 {
			h.rows, h.targets = append(h.rows, int32(t)), append(h.targets, target)
		}
	}
	p.dev.GrowInts(&h.ids, len(h.rows))
	p.dev.UploadInts(h.ids, h.rows)
	p.dev.GrowInts(&h.ends, len(h.targets))
	p.dev.UploadInts(h.ends, h.targets)
	return len(h.rows)
}

// headRows computes the losses of counted rows [from, to) and, if asked for, their derivatives.
func (p *pass) headRows(from, to int, do headPass) {
	h, d, vocab, n := &p.m.state.head, p.hidden, p.m.cfg.VocabSize, to-from
	logits := p.dev.Borrow(tensor.F32, n*vocab)
	defer p.dev.Return(logits)
	normed := h.normed.Part(from*d, to*d)
	linear(p.dev, n, p.m.head, normed, logits, false)
	p.dev.CrossEntropy(logits, h.ends.Part(from, to), vocab, do.scale, h.nats.Part(from, to))
	if !do.back {
		return
	}
	var dx tensor.Array
	if do.input {
		dx = h.grad.Part(from*d, to*d)
	}
	linearBack(p.dev, n, p.m.head, logits, normed, dx, false)
}

// headBack carries the derivative of the counted rows through the final norm to p.dx.
func (p *pass) headBack() {
	h, d := &p.m.state.head, p.hidden
	p.dx = p.grow(&p.m.state.dx, p.rows*d)
	p.dev.Clear(p.dx)
	rows := p.borrow(len(h.rows) * d)
	defer p.dev.Return(rows)
	p.dev.Clear(rows)
	p.dev.RMSNormBack(rows, p.m.norm.w.Grad, h.grad, h.x, p.m.norm.w.Data, h.inverse)
	p.dev.ScatterRows(p.dx, rows, h.ids, d)
}

// sum adds the losses up in the order of positions, and spreads them over tokenLoss.
func (h *headActs) sum(tokenLoss []float32) float64 {
	clear(tokenLoss)
	sum := 0.0
	for i, t := range h.rows {
		sum += h.loss[i]
		if tokenLoss != nil {
			tokenLoss[t] = float32(h.loss[i])
		}
	}
	return sum
}

// Logits runs the forward pass and calls visit with the logits of each position in turn. The slice
// is valid during the call. Targets are not used and may be nil.
func (m *Model) Logits(ctx context.Context, b Batch, visit func(position int, logits []float32)) error {
	p, err := m.start(b, false)
	if err != nil {
		return err
	}
	if err := p.forward(ctx, len(m.layers), nil); err != nil {
		return err
	}
	h, d, vocab := &m.state.head, p.hidden, m.cfg.VocabSize
	p.norm(&h.normed, &h.inverse, p.x, m.norm, m.cfg.RMSNormEps)
	logits := p.dev.Borrow(tensor.F32, headBlock*vocab)
	defer p.dev.Return(logits)
	values := make([]float32, headBlock*vocab)
	for from := 0; from < p.rows; from += headBlock {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(headBlock, p.rows-from)
		linear(p.dev, n, m.head, h.normed.Part(from*d, (from+n)*d), logits, false)
		p.dev.Download(values[:n*vocab], logits.Part(0, n*vocab))
		if err := p.dev.Err(); err != nil {
			return err
		}
		for i := range n {
			visit(from+i, values[i*vocab:(i+1)*vocab])
		}
	}
	return nil
}
