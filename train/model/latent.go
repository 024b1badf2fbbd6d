package model

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
	qA, qNormed, qInverse     []float32
	kvA, c, cNormed, cInverse []float32
	kv                        []float32
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

func (at *latent) forward(p *pass, x, y []float32, a *attentionActs) {
	at.queries(p, x, a)
	at.keysAndValues(p, x, a)
	grow(&a.out, p.rows*at.heads*at.vDim)
	grow(&a.logSum, p.rows*at.heads)
	at.attend.forward(p, at.acts(a))
	at.o.forward(p.dev, p.rows, a.out, y, true)
}

func (at *latent) queries(p *pass, x []float32, a *attentionActs) {
	l, q := &a.latent, grow(&a.q, p.rows*at.heads*at.qkDim)
	if at.qNorm == nil {
		at.q.forward(p.dev, p.rows, x, q, false)
	} else {
		rank := len(at.qNorm.Data)
		at.qA.forward(p.dev, p.rows, x, grow(&l.qA, p.rows*rank), false)
		p.dev.RMSNorm(grow(&l.qNormed, p.rows*rank), grow(&l.qInverse, p.rows), l.qA, at.qNorm.Data, latentNormEps)
		at.qB.forward(p.dev, p.rows, l.qNormed, q, false)
	}
	rows := at.ropePart(q)
	apart(p, rows, at.heads, at.rope)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, rows, at.heads, angles.sin)
}

// ropePart are the rotated parts of the heads of query or key rows.
func (at *latent) ropePart(rows []float32) headRows {
	return headRows{data: rows[at.nope:], stride: at.heads * at.qkDim, step: at.qkDim}
}

// values are the value parts of kv rows.
func (at *latent) values(kv []float32) headRows {
	step := at.nope + at.vDim
	return headRows{data: kv[at.nope:], stride: at.heads * step, step: step}
}

func (at *latent) keysAndValues(p *pass, x []float32, a *attentionActs) {
	l := &a.latent
	at.kvA.forward(p.dev, p.rows, x, grow(&l.kvA, p.rows*(at.rank+at.rope)), false)
	copyColumns(p, grow(&l.c, p.rows*at.rank), at.rank, l.kvA, at.rank+at.rope, at.rank)
	p.dev.RMSNorm(grow(&l.cNormed, p.rows*at.rank), grow(&l.cInverse, p.rows), l.c, at.kvNorm.Data, latentNormEps)
	at.kvB.forward(p.dev, p.rows, l.cNormed, grow(&l.kv, p.rows*at.heads*(at.nope+at.vDim)), false)
	shared := headRows{data: l.kvA[at.rank:], stride: at.rank + at.rope}
	apart(p, shared, 1, at.rope)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, shared, 1, angles.sin)
	grow(&a.k, p.rows*at.heads*at.qkDim)
	p.dev.ForBlocks(p.rows, 16, func(from, to int) {
		for r := from; r < to; r++ {
			for h := range at.heads {
				k := a.k[(r*at.heads+h)*at.qkDim:][:at.qkDim]
				copy(k[:at.nope], l.kv[(r*at.heads+h)*(at.nope+at.vDim):])
				copy(k[at.nope:], shared.data[r*shared.stride:])
			}
		}
	})
}

func (at *latent) acts(a *attentionActs) attended {
	return attended{
		q: packedHeads(a.q, at.heads, at.qkDim), k: packedHeads(a.k, at.heads, at.qkDim),
		v: at.values(a.latent.kv), out: packedHeads(a.out, at.heads, at.vDim), logSum: a.logSum,
	}
}

func (at *latent) backward(p *pass, x, dNormed []float32, needIn bool, a *attentionActs) {
	if !needIn && !at.inputsTrainable() {
		at.o.backward(p.dev, p.rows, p.dx, a.out, nil, false)
		return
	}
	if !needIn {
		dNormed = nil
	}
	qk, out, kv := p.rows*at.heads*at.qkDim, p.rows*at.heads*at.vDim, p.rows*at.heads*(at.nope+at.vDim)
	buf := p.dev.Borrow(2*qk + out + kv)
	defer p.dev.Return(buf)
	dq, dk, dOut, dKV := buf[:qk], buf[qk:2*qk], buf[2*qk:2*qk+out], buf[2*qk+out:]
	at.o.backward(p.dev, p.rows, p.dx, a.out, dOut, false)
	clear(dk)
	clear(dKV)
	at.attend.backward(p, at.acts(a), attendGrads{q: packedHeads(dq, at.heads, at.qkDim),
		k: packedHeads(dk, at.heads, at.qkDim), v: at.values(dKV), out: packedHeads(dOut, at.heads, at.vDim)})
	at.queriesBack(p, x, dNormed, dq, a)
	at.keysAndValuesBack(p, x, dNormed, dk, dKV, a)
}

// queriesBack carries dq on to x.
func (at *latent) queriesBack(p *pass, x, dx, dq []float32, a *attentionActs) {
	rows, angles := at.ropePart(dq), p.m.angles(p.batch.Length)
	angles.rotate(p, rows, at.heads, angles.minusSin)
	together(p, rows, at.heads, at.rope)
	if at.qNorm == nil {
		at.q.backward(p.dev, p.rows, dq, x, dx, true)
		return
	}
	l := &a.latent
	buf := p.dev.Borrow(2 * len(l.qA))
	defer p.dev.Return(buf)
	dLatent, dNormed := buf[:len(l.qA)], buf[len(l.qA):]
	at.qB.backward(p.dev, p.rows, dq, l.qNormed, dNormed, false)
	clear(dLatent)
	p.dev.RMSNormBack(dLatent, at.qNorm.Grad, dNormed, l.qA, at.qNorm.Data, l.qInverse)
	at.qA.backward(p.dev, p.rows, dLatent, x, dx, true)
}

// keysAndValuesBack carries dk and the values' part of dKV on to x.
func (at *latent) keysAndValuesBack(p *pass, x, dx, dk, dKV []float32, a *attentionActs) {
	l, wide := &a.latent, at.rank+at.rope
	buf := p.dev.Borrow(p.rows * (2*at.rank + wide))
	defer p.dev.Return(buf)
	dc, dNormed, dA := buf[:len(l.c)], buf[len(l.c):2*len(l.c)], buf[2*len(l.c):]
	p.dev.ForBlocks(p.rows, 16, func(from, to int) {
		for r := from; r < to; r++ {
			shared := dA[r*wide+at.rank : (r+1)*wide]
			clear(shared)
			for h := range at.heads {
				k := dk[(r*at.heads+h)*at.qkDim:][:at.qkDim]
				copy(dKV[(r*at.heads+h)*(at.nope+at.vDim):][:at.nope], k)
				p.dev.Axpy(shared, k[at.nope:], 1)
			}
		}
	})
	shared, angles := headRows{data: dA[at.rank:], stride: wide}, p.m.angles(p.batch.Length)
	angles.rotate(p, shared, 1, angles.minusSin)
	together(p, shared, 1, at.rope)
	at.kvB.backward(p.dev, p.rows, dKV, l.cNormed, dNormed, false)
	clear(dc)
	p.dev.RMSNormBack(dc, at.kvNorm.Grad, dNormed, l.c, at.kvNorm.Data, l.cInverse)
	copyColumns(p, dA, wide, dc, at.rank, at.rank)
	at.kvA.backward(p.dev, p.rows, dA, x, dx, true)
}

// copyColumns copies the first n columns of rows of one stride to rows of another.
func copyColumns(p *pass, dst []float32, dstStride int, src []float32, srcStride, n int) {
	p.dev.ForBlocks(p.rows, 64, func(from, to int) {
		for r := from; r < to; r++ {
			copy(dst[r*dstStride:r*dstStride+n], src[r*srcStride:])
		}
	})
}

// apart moves the even values of each head before the odd ones, so that pairs of neighbours become
// the halves that [angleTable.rotate] turns. Products of a query and a key stay what they are.
func apart(p *pass, x headRows, heads, dim int) {
	eachHead(p, x, heads, dim, func(v, buf []float32) {
		for i := range dim / 2 {
			buf[i], buf[dim/2+i] = v[2*i], v[2*i+1]
		}
	})
}

// together is the inverse of apart.
func together(p *pass, x headRows, heads, dim int) {
	eachHead(p, x, heads, dim, func(v, buf []float32) {
		for i := range dim / 2 {
			buf[2*i], buf[2*i+1] = v[i], v[dim/2+i]
		}
	})
}

// eachHead replaces each head of each row by what do leaves in buf.
func eachHead(p *pass, x headRows, heads, dim int, do func(v, buf []float32)) {
	p.dev.ForBlocks(p.rows, 64, func(from, to int) {
		buf := p.dev.Borrow(dim)
		defer p.dev.Return(buf)
		for r := from; r < to; r++ {
			for h := range heads {
				v := x.data[r*x.stride+h*x.step:][:dim]
				do(v, buf)
				copy(v, buf)
			}
		}
	})
}
