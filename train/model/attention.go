package model

import "math"

// attention is the attention block of a layer, of whichever kind.
type attention interface {
	trainable() bool
	// forward adds the block's output for rows of x to y.
	forward(p *pass, x, y []float32, a *attentionActs)
	// backward adds to the gradients for p.dx, and to dNormed, the derivative of x, if needIn.
	backward(p *pass, x, dNormed []float32, needIn bool, a *attentionActs)
}

// attentionActs are rows that a forward pass leaves: q, k and v as the softmax sees them, and
// its output. The others are of one kind of block each.
type attentionActs struct {
	q, k, v, out, logSum []float32
	grouped              groupedActs
	latent               latentActs
}

// groupedActs are the projections before their norms, if there are norms.
type groupedActs struct {
	q, k               []float32
	qInverse, kInverse []float32
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

func (at *grouped) forward(p *pass, x, y []float32, a *attentionActs) {
	wide, narrow := at.heads*at.qkDim, at.kvHeads*at.qkDim
	g := &a.grouped
	at.project(p, at.q, at.qNorm, x, grow(&a.q, p.rows*wide), &g.q, &g.qInverse)
	at.project(p, at.k, at.kNorm, x, grow(&a.k, p.rows*narrow), &g.k, &g.kInverse)
	at.v.forward(p.dev, p.rows, x, grow(&a.v, p.rows*narrow), false)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, packedHeads(a.q, at.heads, at.qkDim), at.heads, angles.sin)
	angles.rotate(p, packedHeads(a.k, at.kvHeads, at.qkDim), at.kvHeads, angles.sin)
	grow(&a.out, p.rows*wide)
	grow(&a.logSum, p.rows*at.heads)
	at.attend.forward(p, at.acts(a))
	at.o.forward(p.dev, p.rows, a.out, y, true)
}

// project sets y to the normed projection of x, and keeps what the norm's derivative needs.
func (at *grouped) project(p *pass, f affine, norm *Param, x, y []float32, raw, inverse *[]float32) {
	if norm == nil {
		f.forward(p.dev, p.rows, x, y, false)
		return
	}
	f.forward(p.dev, p.rows, x, grow(raw, len(y)), false)
	p.dev.RMSNorm(y, grow(inverse, len(y)/len(norm.Data)), *raw, norm.Data, p.m.cfg.RMSNormEps)
}

func (at *grouped) acts(a *attentionActs) attended {
	return attended{
		q: packedHeads(a.q, at.heads, at.qkDim), k: packedHeads(a.k, at.kvHeads, at.qkDim),
		v: packedHeads(a.v, at.kvHeads, at.vDim), out: packedHeads(a.out, at.heads, at.vDim), logSum: a.logSum,
	}
}

func (at *grouped) backward(p *pass, x, dNormed []float32, needIn bool, a *attentionActs) {
	if !needIn && !at.inputsTrainable() {
		at.o.backward(p.dev, p.rows, p.dx, a.out, nil, false)
		return
	}
	wide, narrow := p.rows*at.heads*at.qkDim, p.rows*at.kvHeads*at.qkDim
	buf := p.dev.Borrow(2 * (wide + narrow))
	defer p.dev.Return(buf)
	dq, dOut, dk, dv := buf[:wide], buf[wide:2*wide], buf[2*wide:2*wide+narrow], buf[2*wide+narrow:]
	at.o.backward(p.dev, p.rows, p.dx, a.out, dOut, false)
	clear(dk)
	clear(dv)
	d := attendGrads{q: packedHeads(dq, at.heads, at.qkDim), k: packedHeads(dk, at.kvHeads, at.qkDim),
		v: packedHeads(dv, at.kvHeads, at.vDim), out: packedHeads(dOut, at.heads, at.vDim)}
	at.attend.backward(p, at.acts(a), d)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, d.q, at.heads, angles.minusSin)
	angles.rotate(p, d.k, at.kvHeads, angles.minusSin)
	if !needIn {
		dNormed = nil
	}
	at.projectBack(p, at.q, at.qNorm, dq, x, dNormed, a.grouped.q, a.grouped.qInverse)
	at.projectBack(p, at.k, at.kNorm, dk, x, dNormed, a.grouped.k, a.grouped.kInverse)
	at.v.backward(p.dev, p.rows, dv, x, dNormed, true)
}

// projectBack is the derivative of project.
func (at *grouped) projectBack(p *pass, f affine, norm *Param, dy, x, dx, raw, inverse []float32) {
	if norm == nil {
		f.backward(p.dev, p.rows, dy, x, dx, true)
		return
	}
	if dx == nil && !f.trainable() {
		p.dev.RMSNormBack(nil, norm.Grad, dy, raw, norm.Data, inverse)
		return
	}
	dRaw := p.dev.Borrow(len(raw))
	defer p.dev.Return(dRaw)
	clear(dRaw)
	p.dev.RMSNormBack(dRaw, norm.Grad, dy, raw, norm.Data, inverse)
	f.backward(p.dev, p.rows, dRaw, x, dx, true)
}
