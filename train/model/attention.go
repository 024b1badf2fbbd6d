package model

import (
	"math"

	"bzdata/train/tensor"
)

// attention is the attention block of a layer, of whichever kind.
type attention interface {
	trainable() bool
	// forward adds the block's output for rows of x to y.
	forward(p *pass, x, y tensor.Array, a *attentionActs)
	// backward adds to the gradients for p.dx, and to dNormed, the derivative of x, if needIn.
	backward(p *pass, x, dNormed tensor.Array, needIn bool, a *attentionActs)
}

// attend are the widths of attention; see [tensor.AttendShape].
type attend struct {
	heads, kvHeads int
	qkDim, vDim    int
	scale          float32
}

func (at attend) shape(p *pass) tensor.AttendShape {
	return tensor.AttendShape{Sequences: p.batch.Sequences, Length: p.batch.Length, Heads: at.heads, KVHeads: at.kvHeads,
		QKDim: at.qkDim, VDim: at.vDim, Scale: at.scale}
}

// attentionActs are rows that a forward pass leaves: q, k and v as the softmax sees them, and
// its output. The others are of one kind of block each.
type attentionActs struct {
	q, k, v, out, logSum tensor.Array
	grouped              groupedActs
	latent               latentActs
}

// groupedActs are the projections before their norms, if there are norms.
type groupedActs struct {
	q, k               tensor.Array
	qInverse, kInverse tensor.Array
}

// grouped is grouped-query attention with rotary embedding (Su et al. 2021, in Hugging Face's
// layout: the pairs are the halves of a head). Queries and keys may be normed before they are
// rotated: each head by itself, or the row of all heads, as wide as the norm's weight is.
type grouped struct {
	q, k, v, o   affine
	qNorm, kNorm *Param // nil if there are none
	attend
}

// groupedOptions are what architectures differ in.
type groupedOptions struct {
	inputBias, outputBias bool
	norm                  normKind
}

type normKind int

const (
	noNorm normKind = iota
	headNorm
	rowNorm
)

func (m *Model) addGrouped(prefix string, o groupedOptions) attention {
	cfg := m.cfg
	wide, narrow := cfg.NumAttentionHeads*cfg.HeadDim, cfg.NumKeyValueHeads*cfg.HeadDim
	at := &grouped{
		q: m.addAffine(prefix+"q_proj", wide, cfg.HiddenSize, o.inputBias),
		k: m.addAffine(prefix+"k_proj", narrow, cfg.HiddenSize, o.inputBias),
		v: m.addAffine(prefix+"v_proj", narrow, cfg.HiddenSize, o.inputBias),
		o: m.addAffine(prefix+"o_proj", cfg.HiddenSize, wide, o.outputBias),
		attend: attend{heads: cfg.NumAttentionHeads, kvHeads: cfg.NumKeyValueHeads,
			qkDim: cfg.HeadDim, vDim: cfg.HeadDim, scale: float32(1 / math.Sqrt(float64(cfg.HeadDim)))},
	}
	switch o.norm {
	case headNorm:
		at.qNorm, at.kNorm = m.addParam(prefix+"q_norm.weight", cfg.HeadDim), m.addParam(prefix+"k_norm.weight", cfg.HeadDim)
	case rowNorm:
		at.qNorm, at.kNorm = m.addParam(prefix+"q_norm.weight", wide), m.addParam(prefix+"k_norm.weight", narrow)
	}
	return at
}

func (at *grouped) trainable() bool { return at.inputsTrainable() || at.o.trainable() }

func (at *grouped) inputsTrainable() bool {
	return at.q.trainable() || at.k.trainable() || at.v.trainable() || trains(at.qNorm, at.kNorm)
}

func (at *grouped) forward(p *pass, x, y tensor.Array, a *attentionActs) {
	wide, narrow := at.heads*at.qkDim, at.kvHeads*at.qkDim
	g := &a.grouped
	at.project(p, at.q, at.qNorm, x, p.grow(&a.q, p.rows*wide), &g.q, &g.qInverse)
	at.project(p, at.k, at.kNorm, x, p.grow(&a.k, p.rows*narrow), &g.k, &g.kInverse)
	at.v.forward(p.dev, p.rows, x, p.grow(&a.v, p.rows*narrow), false)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, tensor.PackedHeads(a.q, at.heads, at.qkDim), at.heads, angles.sin)
	angles.rotate(p, tensor.PackedHeads(a.k, at.kvHeads, at.qkDim), at.kvHeads, angles.sin)
	p.grow(&a.out, p.rows*wide)
	p.growF32(&a.logSum, p.rows*at.heads)
	p.dev.Attend(at.acts(a), at.shape(p))
	at.o.forward(p.dev, p.rows, a.out, y, true)
}

// project sets y to the normed projection of x, and keeps what the norm's derivative needs.
func (at *grouped) project(p *pass, f affine, norm *Param, x, y tensor.Array, raw, inverse *tensor.Array) {
	if norm == nil {
		f.forward(p.dev, p.rows, x, y, false)
		return
	}
	f.forward(p.dev, p.rows, x, p.grow(raw, y.N), false)
	p.dev.RMSNorm(y, p.growF32(inverse, y.N/norm.w.Data.N), *raw, norm.w.Data, p.m.cfg.RMSNormEps)
}

func (at *grouped) acts(a *attentionActs) tensor.Attended {
	return tensor.Attended{
		Q: tensor.PackedHeads(a.q, at.heads, at.qkDim), K: tensor.PackedHeads(a.k, at.kvHeads, at.qkDim),
		V: tensor.PackedHeads(a.v, at.kvHeads, at.vDim), Out: tensor.PackedHeads(a.out, at.heads, at.vDim), LogSum: a.logSum,
	}
}

func (at *grouped) backward(p *pass, x, dNormed tensor.Array, needIn bool, a *attentionActs) {
	if !needIn && !at.inputsTrainable() {
		at.o.backward(p.dev, p.rows, p.dx, a.out, tensor.Array{}, false)
		return
	}
	wide, narrow := p.rows*at.heads*at.qkDim, p.rows*at.kvHeads*at.qkDim
	buf := p.borrow(2 * (wide + narrow))
	defer p.dev.Return(buf)
	dq, dOut := buf.Part(0, wide), buf.Part(wide, 2*wide)
	dk, dv := buf.Part(2*wide, 2*wide+narrow), buf.From(2*wide+narrow)
	at.o.backward(p.dev, p.rows, p.dx, a.out, dOut, false)
	d := tensor.AttendGrads{Q: tensor.PackedHeads(dq, at.heads, at.qkDim), K: tensor.PackedHeads(dk, at.kvHeads, at.qkDim),
		V: tensor.PackedHeads(dv, at.kvHeads, at.vDim), Out: tensor.PackedHeads(dOut, at.heads, at.vDim)}
	p.dev.AttendBack(at.acts(a), d, at.shape(p))
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, d.Q, at.heads, angles.minusSin)
	angles.rotate(p, d.K, at.kvHeads, angles.minusSin)
	if !needIn {
		dNormed = tensor.Array{}
	}
	at.projectBack(p, at.q, at.qNorm, dq, x, dNormed, a.grouped.q, a.grouped.qInverse)
	at.projectBack(p, at.k, at.kNorm, dk, x, dNormed, a.grouped.k, a.grouped.kInverse)
	at.v.backward(p.dev, p.rows, dv, x, dNormed, true)
}

// projectBack is the derivative of project.
func (at *grouped) projectBack(p *pass, f affine, norm *Param, dy, x, dx, raw, inverse tensor.Array) {
	if norm == nil {
		f.backward(p.dev, p.rows, dy, x, dx, true)
		return
	}
	if dx.None() && !f.trainable() {
		p.dev.RMSNormBack(tensor.Array{}, norm.w.Grad, dy, raw, norm.w.Data, inverse)
		return
	}
	dRaw := p.borrow(raw.N)
	defer p.dev.Return(dRaw)
	p.dev.Clear(dRaw)
	p.dev.RMSNormBack(dRaw, norm.w.Grad, dy, raw, norm.w.Data, inverse)
	f.backward(p.dev, p.rows, dRaw, x, dx, true)
}
