package model

import "bzdata/train/tensor"

// layer is one decoder layer: x += attention(norm(x)), then x += feedForward(norm(x)), where the
// feed-forward block is dense, or moe plus, if there are shared experts, dense.
type layer struct {
	inputNorm, postNorm *Param
	attention           attention
	moe                 *moe
	dense               *glu
	params              []*Param // all weights of the layer
}

// layerActs are what a layer's forward pass leaves for its backward pass. Widths: d hidden,
// one row for each position of the batch.
type layerActs struct {
	in, normed1, inverse1  tensor.Array // [rows, d], [rows, d], [rows]
	mid, normed2, inverse2 tensor.Array
	attention              attentionActs
	moe                    moeActs
	dense                  tensor.GLU
}

// pass is one forward or backward run over a batch.
type pass struct {
	m      *Model
	dev    tensor.Device
	batch  Batch
	rows   int
	hidden int
	x      tensor.Array // the residual stream, [rows, d]
	dx     tensor.Array // its derivative
	// balance is nil if no load-balancing loss is asked for.
	balance *balance
	second  bool // a layer is computed once more for its derivative
}

// grow makes *a hold n values of activations.
func (p *pass) grow(a *tensor.Array, n int) tensor.Array {
	p.dev.Grow(a, p.dev.Type(), n)
	return *a
}

// growF32 makes *a hold n values in single precision.
func (p *pass) growF32(a *tensor.Array, n int) tensor.Array {
	p.dev.Grow(a, tensor.F32, n)
	return *a
}

// borrow returns room for n values of activations.
func (p *pass) borrow(n int) tensor.Array { return p.dev.Borrow(p.dev.Type(), n) }

// norm sets y to the normed rows of x.
func (p *pass) norm(y, inverse *tensor.Array, x tensor.Array, w *Param, epsilon float64) {
	p.dev.RMSNorm(p.grow(y, x.N), p.growF32(inverse, x.N/w.w.Data.N), x, w.w.Data, epsilon)
}

func (y *layer) forward(p *pass, a *layerActs) {
	n, eps := p.rows*p.hidden, p.m.cfg.RMSNormEps
	p.dev.Copy(p.grow(&a.in, n), p.x)
	p.norm(&a.normed1, &a.inverse1, p.x, y.inputNorm, eps)
	y.attention.forward(p, a.normed1, p.x, &a.attention)
	p.dev.Copy(p.grow(&a.mid, n), p.x)
	p.norm(&a.normed2, &a.inverse2, p.x, y.postNorm, eps)
	if y.moe != nil {
		y.moe.forward(p, a.normed2, p.x, &a.moe)
	}
	if y.dense != nil {
		y.dense.forward(p, a.normed2, p.x, &a.dense)
	}
}

// backward turns p.dx from the derivative of the layer's output into that of its input, if
// needIn, and adds to the gradients of the layer's trainable weights. It overwrites a.
func (y *layer) backward(p *pass, a *layerActs, needIn bool) {
	needMid := needIn || trains(y.inputNorm) || y.attention.trainable()
	needNormed := needMid || trains(y.postNorm)
	var dNormed tensor.Array
	if needNormed {
		dNormed = p.borrow(p.rows * p.hidden)
		defer p.dev.Return(dNormed)
		p.dev.Clear(dNormed)
	}
	if y.dense != nil {
		y.dense.backward(p, p.dx, a.normed2, dNormed, &a.dense)
	}
	if y.moe != nil {
		y.moe.backward(p, a.normed2, dNormed, &a.moe)
	}
	if needNormed {
		p.normBack(needMid, y.postNorm, dNormed, a.mid, a.inverse2)
	}
	if !needMid {
		return
	}
	needNormed = needIn || trains(y.inputNorm)
	if needNormed {
		p.dev.Clear(dNormed)
	}
	y.attention.backward(p, a.normed1, dNormed, needNormed, &a.attention)
	if needNormed {
		p.normBack(needIn, y.inputNorm, dNormed, a.in, a.inverse1)
	}
}

// normBack adds the derivative of a norm to p.dx, if needIn, and to its weight's gradient.
func (p *pass) normBack(needIn bool, w *Param, dNormed, in, inverse tensor.Array) {
	var dx tensor.Array
	if needIn {
		dx = p.dx
	}
	p.dev.RMSNormBack(dx, w.w.Grad, dNormed, in, w.w.Data, inverse)
}

func (y *layer) trainable() bool {
	return trains(y.inputNorm, y.postNorm) || y.attention.trainable() ||
		y.moe != nil && y.moe.trainable() || y.dense != nil && y.dense.trainable()
}
