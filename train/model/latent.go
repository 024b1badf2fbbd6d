package model

import "bzdata/train/tensor"

// latent is multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1): keys and
// values of all heads are made of one normed latent row, and all heads share one rotated key part.
// A head's query and key are nope values as they come, then rope values that are rotated, in pairs
// of neighbours. Queries may come of a latent row, too.
type latent struct {
	q        affine // of x if there is no query latent
	qA, qB   affine
	qNorm    *Param // nil if there is no query latent
	kvA, kvB affine
	kvNorm   *Param
	o        affine
	nope     int // width of the part of a head that is not rotated
	rope     int
	rank     int // width of the key and value latent
	attend
}

// latentNormEps is that of the norms of latents, whatever rms_norm_eps says: in DeepSeek's code and in
// transformers they are made without it.
const latentNormEps = 1e-6

// latentActs: kvA is [rows, rank+rope], c its first rank columns; kv is [rows, heads*(nope+vDim)].
type latentActs struct {
	qA, qNormed, qInverse     tensor.Array
	kvA, c, cNormed, cInverse tensor.Array
	kv                        tensor.Array
}

func (m *Model) addLatent(prefix string) attention {
	cfg := m.cfg
	qk := cfg.QKNopeHeadDim + cfg.QKRopeHeadDim
	at := &latent{nope: cfg.QKNopeHeadDim, rope: cfg.QKRopeHeadDim, rank: cfg.KVLoraRank,
		attend: attend{heads: cfg.NumAttentionHeads, kvHeads: cfg.NumAttentionHeads,
			qkDim: qk, vDim: cfg.VHeadDim, scale: float32(latentScale(&cfg))}}
	if cfg.QLoraRank > 0 {
		at.qA = m.addAffine(prefix+"q_a_proj", cfg.QLoraRank, cfg.HiddenSize, cfg.AttentionBias)
		at.qNorm = m.addParam(prefix+"q_a_layernorm.weight", cfg.QLoraRank)
		at.qB = m.addAffine(prefix+"q_b_proj", at.heads*qk, cfg.QLoraRank, false)
	} else {
		at.q = m.addAffine(prefix+"q_proj", at.heads*qk, cfg.HiddenSize, false)
	}
	at.kvA = m.addAffine(prefix+"kv_a_proj_with_mqa", at.rank+at.rope, cfg.HiddenSize, cfg.AttentionBias)
	at.kvNorm = m.addParam(prefix+"kv_a_layernorm.weight", at.rank)
	at.kvB = m.addAffine(prefix+"kv_b_proj", at.heads*(at.nope+at.vDim), at.rank, false)
	at.o = m.addAffine(prefix+"o_proj", cfg.HiddenSize, at.heads*at.vDim, cfg.AttentionBias)
	return at
}

func (at *latent) trainable() bool { return at.inputsTrainable() || at.o.trainable() }

func (at *latent) inputsTrainable() bool {
	return at.q.trainable() || at.qA.trainable() || at.qB.trainable() || at.kvA.trainable() || at.kvB.trainable() ||
		trains(at.qNorm, at.kvNorm)
}

func (at *latent) forward(p *pass, x, y tensor.Array, a *attentionActs) {
	at.queries(p, x, a)
	at.keysAndValues(p, x, a)
	p.grow(&a.out, p.rows*at.heads*at.vDim)
	p.growF32(&a.logSum, p.rows*at.heads)
	p.dev.Attend(at.acts(a), at.attend.shape(p))
	at.o.forward(p.dev, p.rows, a.out, y, true)
}

func (at *latent) queries(p *pass, x tensor.Array, a *attentionActs) {
	l, q := &a.latent, p.grow(&a.q, p.rows*at.heads*at.qkDim)
	if at.qNorm == nil {
		at.q.forward(p.dev, p.rows, x, q, false)
	} else {
		at.qA.forward(p.dev, p.rows, x, p.grow(&l.qA, p.rows*at.qNorm.w.Data.N), false)
		p.norm(&l.qNormed, &l.qInverse, l.qA, at.qNorm, latentNormEps)
		at.qB.forward(p.dev, p.rows, l.qNormed, q, false)
	}
	rows := at.ropePart(q)
	p.dev.Deinterleave(rows, p.rows, at.heads, at.rope)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, rows, at.heads, angles.sin)
}

// ropePart are the rotated parts of the heads of query or key rows.
func (at *latent) ropePart(rows tensor.Array) tensor.Heads {
	return tensor.Heads{Array: rows.From(at.nope), Stride: at.heads * at.qkDim, Step: at.qkDim}
}

// values are the value parts of kv rows.
func (at *latent) values(kv tensor.Array) tensor.Heads {
	step := at.nope + at.vDim
	return tensor.Heads{Array: kv.From(at.nope), Stride: at.heads * step, Step: step}
}

func (at *latent) keysAndValues(p *pass, x tensor.Array, a *attentionActs) {
	l := &a.latent
	at.kvA.forward(p.dev, p.rows, x, p.grow(&l.kvA, p.rows*(at.rank+at.rope)), false)
	p.dev.CopyColumns(p.grow(&l.c, p.rows*at.rank), at.rank, l.kvA, at.rank+at.rope, at.rank, p.rows)
	p.norm(&l.cNormed, &l.cInverse, l.c, at.kvNorm, latentNormEps)
	at.kvB.forward(p.dev, p.rows, l.cNormed, p.grow(&l.kv, p.rows*at.heads*(at.nope+at.vDim)), false)
	shared := tensor.Heads{Array: l.kvA.From(at.rank), Stride: at.rank + at.rope}
	p.dev.Deinterleave(shared, p.rows, 1, at.rope)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, shared, 1, angles.sin)
	p.dev.JoinKeys(p.grow(&a.k, p.rows*at.heads*at.qkDim), l.kv, shared, at.keys(p))
}

// keys is the shape of keys that are joined.
func (at *latent) keys(p *pass) tensor.LatentShape {
	return tensor.LatentShape{Rows: p.rows, Heads: at.heads, Nope: at.nope, Rope: at.rope, V: at.vDim}
}

func (at *latent) acts(a *attentionActs) tensor.Attended {
	return tensor.Attended{
		Q: tensor.PackedHeads(a.q, at.heads, at.qkDim), K: tensor.PackedHeads(a.k, at.heads, at.qkDim),
		V: at.values(a.latent.kv), Out: tensor.PackedHeads(a.out, at.heads, at.vDim), LogSum: a.logSum,
	}
}

func (at *latent) backward(p *pass, x, dNormed tensor.Array, needIn bool, a *attentionActs) {
	if !needIn && !at.inputsTrainable() {
		at.o.backward(p.dev, p.rows, p.dx, a.out, tensor.Array{}, false)
		return
	}
	if !needIn {
		dNormed = tensor.Array{}
	}
	qk, out, kv := p.rows*at.heads*at.qkDim, p.rows*at.heads*at.vDim, p.rows*at.heads*(at.nope+at.vDim)
	buf := p.borrow(2*qk + out + kv)
	defer p.dev.Return(buf)
	dq, dk, dOut, dKV := buf.Part(0, qk), buf.Part(qk, 2*qk), buf.Part(2*qk, 2*qk+out), buf.From(2*qk+out)
	at.o.backward(p.dev, p.rows, p.dx, a.out, dOut, false)
	p.dev.AttendBack(at.acts(a), tensor.AttendGrads{Q: tensor.PackedHeads(dq, at.heads, at.qkDim),
		K: tensor.PackedHeads(dk, at.heads, at.qkDim), V: at.values(dKV), Out: tensor.PackedHeads(dOut, at.heads, at.vDim)},
		at.attend.shape(p))
	at.queriesBack(p, x, dNormed, dq, a)
	at.keysAndValuesBack(p, x, dNormed, dk, dKV, a)
}

// queriesBack carries dq on to x.
func (at *latent) queriesBack(p *pass, x, dx, dq tensor.Array, a *attentionActs) {
	rows, angles := at.ropePart(dq), p.m.angles(p.batch.Length)
	angles.rotate(p, rows, at.heads, angles.minusSin)
	p.dev.Interleave(rows, p.rows, at.heads, at.rope)
	if at.qNorm == nil {
		at.q.backward(p.dev, p.rows, dq, x, dx, true)
		return
	}
	l := &a.latent
	buf := p.borrow(2 * l.qA.N)
	defer p.dev.Return(buf)
	dLatent, dNormed := buf.Part(0, l.qA.N), buf.From(l.qA.N)
	at.qB.backward(p.dev, p.rows, dq, l.qNormed, dNormed, false)
	p.dev.Clear(dLatent)
	p.dev.RMSNormBack(dLatent, at.qNorm.w.Grad, dNormed, l.qA, at.qNorm.w.Data, l.qInverse)
	at.qA.backward(p.dev, p.rows, dLatent, x, dx, true)
}

// keysAndValuesBack carries dk and the values' part of dKV on to x.
func (at *latent) keysAndValuesBack(p *pass, x, dx, dk, dKV tensor.Array, a *attentionActs) {
	l, wide := &a.latent, at.rank+at.rope
	buf := p.borrow(p.rows * (2*at.rank + wide))
	defer p.dev.Return(buf)
	dc, dNormed, dA := buf.Part(0, l.c.N), buf.Part(l.c.N, 2*l.c.N), buf.From(2*l.c.N)
	shared, angles := tensor.Heads{Array: dA.From(at.rank), Stride: wide}, p.m.angles(p.batch.Length)
	p.dev.SplitKeys(dKV, shared, dk, at.keys(p))
	angles.rotate(p, shared, 1, angles.minusSin)
	p.dev.Interleave(shared, p.rows, 1, at.rope)
	at.kvB.backward(p.dev, p.rows, dKV, l.cNormed, dNormed, false)
	p.dev.Clear(dc)
	p.dev.RMSNormBack(dc, at.kvNorm.w.Grad, dNormed, l.c, at.kvNorm.w.Data, l.cInverse)
	p.dev.CopyColumns(dA, wide, dc, at.rank, at.rank, p.rows)
	at.kvA.backward(p.dev, p.rows, dA, x, dx, true)
}
