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
	in, normed1, inverse1  []float32 // [rows, d], [rows, d], [rows]
	mid, normed2, inverse2 []float32
	attention              attentionActs
	moe                    moeActs
	dense                  gluActs
}

// pass is one forward or backward run over a batch.
type pass struct {
	m      *Model
	dev    *tensor.Device
	batch  Batch
	rows   int
	hidden int
	x      []float32 // the residual stream, [rows, d]
	dx     []float32 // its derivative
	// balance is nil if no load-balancing loss is asked for.
	balance *balance
}

func (y *layer) forward(p *pass, a *layerActs) {
	n, eps := p.rows*p.hidden, p.m.cfg.RMSNormEps
	copy(grow(&a.in, n), p.x)
	p.dev.RMSNorm(grow(&a.normed1, n), grow(&a.inverse1, p.rows), p.x, y.inputNorm.Data, eps)
	y.attention.forward(p, a.normed1, p.x, &a.attention)
	copy(grow(&a.mid, n), p.x)
	p.dev.RMSNorm(grow(&a.normed2, n), grow(&a.inverse2, p.rows), p.x, y.postNorm.Data, eps)
	if y.moe != nil {
		y.moe.forward(p, a.normed2, p.x, &a.moe)
	}
	if y.dense != nil {
		y.dense.forward(p.dev, p.rows, a.normed2, p.x, &a.dense, true)
	}
}

// backward turns p.dx from the derivative of the layer's output into that of its input, if
// needIn, and adds to the gradients of the layer's trainable weights. It overwrites a.
func (y *layer) backward(p *pass, a *layerActs, needIn bool) {
	needMid := needIn || trains(y.inputNorm) || y.attention.trainable()
	needNormed := needMid || trains(y.postNorm)
	var dNormed []float32
	if needNormed {
		dNormed = p.dev.Borrow(p.rows * p.hidden)
		defer p.dev.Return(dNormed)
		clear(dNormed)
	}
	if y.dense != nil {
		y.dense.backward(p.dev, p.rows, p.dx, a.normed2, dNormed, &a.dense)
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
		clear(dNormed)
	}
	y.attention.backward(p, a.normed1, dNormed, needNormed, &a.attention)
	if needNormed {
		p.normBack(needIn, y.inputNorm, dNormed, a.in, a.inverse1)
	}
}

// normBack adds the derivative of a norm to p.dx, if needIn, and to its weight's gradient.
func (p *pass) normBack(needIn bool, w *Param, dNormed, in, inverse []float32) {
	var dx []float32
	if needIn {
		dx = p.dx
	}
	p.dev.RMSNormBack(dx, w.Grad, dNormed, in, w.Data, inverse)
}

func (y *layer) trainable() bool {
	return trains(y.inputNorm, y.postNorm) || y.attention.trainable() ||
		y.moe != nil && y.moe.trainable() || y.dense != nil && y.dense.trainable()
}

// grow makes *buf hold n values of unspecified content, allocating only when it must.
func grow[E any](buf *[]E, n int) []E {
	if cap(*buf) < n {
		*buf = make([]E, n)
	}
	*buf = (*buf)[:n]
	return *buf
}
