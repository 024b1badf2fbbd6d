package model

import "context"

// headActs are what final norm and head leave for the counted positions, a row each.
type headActs struct {
	rows            []int32 // position of each counted row
	x, normed, grad []float32
	inverse         []float32
	loss            []float64
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
	h.rows = h.rows[:0]
	for t, target := range p.batch.Targets {
		if target >= 0 {
			h.rows = append(h.rows, int32(t))
		}
	}
	n := len(h.rows)
	grow(&h.x, n*d)
	p.dev.ForBlocks(n, 16, func(from, to int) {
		for i := from; i < to; i++ {
			copy(h.x[i*d:(i+1)*d], p.x[int(h.rows[i])*d:])
		}
	})
	p.dev.RMSNorm(grow(&h.normed, n*d), grow(&h.inverse, n), h.x, p.m.norm.Data, p.m.cfg.RMSNormEps)
	grow(&h.loss, n)
	if do.input {
		grow(&h.grad, n*d)
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
	return h.sum(tokenLoss), n, nil
}

// headRows computes the losses of counted rows [from, to) and, if asked for, their derivatives.
func (p *pass) headRows(from, to int, do headPass) {
	h, d, vocab, n := &p.m.state.head, p.hidden, p.m.cfg.VocabSize, to-from
	logits := p.dev.Borrow(n * vocab)
	defer p.dev.Return(logits)
	normed := h.normed[from*d : to*d]
	linear(p.dev, n, p.m.head, normed, logits, false)
	p.dev.For(n, func(i int) {
		target := p.batch.Targets[h.rows[from+i]]
		h.loss[from+i] = p.dev.CrossEntropy(logits[i*vocab:(i+1)*vocab], int(target), do.scale)
	})
	if !do.back {
		return
	}
	var dx []float32
	if do.input {
		dx = h.grad[from*d : to*d]
	}
	linearBack(p.dev, n, p.m.head, logits, normed, dx, false)
}

// headBack carries the derivative of the counted rows through the final norm to p.dx.
func (p *pass) headBack() {
	h, d := &p.m.state.head, p.hidden
	p.dx = grow(&p.m.state.dx, p.rows*d)
	clear(p.dx)
	rows := p.dev.Borrow(len(h.rows) * d)
	defer p.dev.Return(rows)
	clear(rows)
	p.dev.RMSNormBack(rows, p.m.norm.Grad, h.grad, h.x, p.m.norm.Data, h.inverse)
	for i, t := range h.rows {
		copy(p.dx[int(t)*d:(int(t)+1)*d], rows[i*d:])
	}
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
	p.dev.RMSNorm(grow(&h.normed, p.rows*d), grow(&h.inverse, p.rows), p.x, m.norm.Data, m.cfg.RMSNormEps)
	logits := p.dev.Borrow(headBlock * vocab)
	defer p.dev.Return(logits)
	for from := 0; from < p.rows; from += headBlock {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(headBlock, p.rows-from)
		linear(p.dev, n, m.head, h.normed[from*d:(from+n)*d], logits, false)
		for i := range n {
			visit(from+i, logits[i*vocab:(i+1)*vocab])
		}
	}
	return nil
}
