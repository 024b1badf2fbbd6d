package model

import (
	"math"

	"bzdata/train/tensor"
)

// attention is causal grouped-query attention with rotary embedding (Ainslie et al. 2023;
// Su et al. 2021, in Hugging Face's layout: the pairs are the halves of a head).
type attention struct {
	q, k, v, o *Param
	heads      int
	kvHeads    int
	headDim    int
}

// attentionActs are rows of all heads: q and out [rows, heads*headDim], k and v
// [rows, kvHeads*headDim]; logSum is the logarithm of each softmax's denominator,
// [sequences, heads, length]. The probabilities themselves are not kept.
type attentionActs struct{ q, k, v, out, logSum []float32 }

// queryBlock is how many queries share one product with the keys before them.
const queryBlock = 64

func (m *Model) addAttention(prefix string) *attention {
	cfg := m.cfg
	wide, narrow := cfg.NumAttentionHeads*cfg.HeadDim, cfg.NumKeyValueHeads*cfg.HeadDim
	return &attention{
		q:     m.addParam(prefix+"q_proj.weight", wide, cfg.HiddenSize),
		k:     m.addParam(prefix+"k_proj.weight", narrow, cfg.HiddenSize),
		v:     m.addParam(prefix+"v_proj.weight", narrow, cfg.HiddenSize),
		o:     m.addParam(prefix+"o_proj.weight", cfg.HiddenSize, wide),
		heads: cfg.NumAttentionHeads, kvHeads: cfg.NumKeyValueHeads, headDim: cfg.HeadDim,
	}
}

func (at *attention) trainable() bool { return trains(at.q, at.k, at.v, at.o) }

// forward adds the block's output for rows of x to y.
func (at *attention) forward(p *pass, x, y []float32, a *attentionActs) {
	wide, narrow := at.heads*at.headDim, at.kvHeads*at.headDim
	linear(p.dev, p.rows, at.q, x, grow(&a.q, p.rows*wide), false)
	linear(p.dev, p.rows, at.k, x, grow(&a.k, p.rows*narrow), false)
	linear(p.dev, p.rows, at.v, x, grow(&a.v, p.rows*narrow), false)
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, a.q, at.heads, angles.sin)
	angles.rotate(p, a.k, at.kvHeads, angles.sin)
	grow(&a.out, p.rows*wide)
	grow(&a.logSum, p.rows*at.heads)
	blocks := (p.batch.Length + queryBlock - 1) / queryBlock
	p.dev.For(p.batch.Sequences*at.heads*blocks, func(i int) {
		block := blocks - 1 - i%blocks // the long ones first
		at.attend(p, a, i/blocks/at.heads, i/blocks%at.heads, block*queryBlock)
	})
	linear(p.dev, p.rows, at.o, a.out, y, true)
}

// view is the rows of one head from row t on.
func view(x []float32, t, heads, head, headDim int) tensor.Matrix {
	return tensor.Matrix{Data: x[(t*heads+head)*headDim:], Stride: heads * headDim}
}

// attend computes one head's output for a block of queries of one sequence.
func (at *attention) attend(p *pass, a *attentionActs, seq, head, from int) {
	dev, length := p.dev.Serial(), p.batch.Length
	n := min(queryBlock, length-from)
	cols, start := from+n, seq*length
	scores := dev.Borrow(n * cols)
	defer dev.Return(scores)
	at.scores(dev, a, scores, start, head, from, n)
	logSum := a.logSum[(seq*at.heads+head)*length+from:]
	for r := range n {
		row := scores[r*cols : (r+1)*cols]
		logSum[r] = dev.Softmax(row[:from+r+1], at.scale())
		clear(row[from+r+1:])
	}
	v := view(a.v, start, at.kvHeads, at.kvHead(head), at.headDim)
	out := view(a.out, start+from, at.heads, head, at.headDim)
	dev.Gemm(n, at.headDim, cols, tensor.Matrix{Data: scores, Stride: cols}, v, out.Data, out.Stride, false)
}

// scores sets dst = Q Kᵀ for n queries and the from+n keys up to the last of them.
func (at *attention) scores(dev *tensor.Device, a *attentionActs, dst []float32, start, head, from, n int) {
	q := view(a.q, start+from, at.heads, head, at.headDim)
	k := view(a.k, start, at.kvHeads, at.kvHead(head), at.headDim)
	k.Transposed = true
	dev.Gemm(n, from+n, at.headDim, q, k, dst, from+n, false)
}

func (at *attention) scale() float32        { return float32(1 / math.Sqrt(float64(at.headDim))) }
func (at *attention) kvHead(head int) int   { return head / (at.heads / at.kvHeads) }
func (at *attention) inputsTrainable() bool { return trains(at.q, at.k, at.v) }

// attentionGrads are the derivatives of q, k and v, and of out.
type attentionGrads struct{ q, k, v, out []float32 }

// newAttentionGrads cuts a buffer of 2*(wide+narrow) values.
func newAttentionGrads(buf []float32, wide, narrow int) attentionGrads {
	kv := buf[2*wide:]
	return attentionGrads{q: buf[:wide], out: buf[wide : 2*wide], k: kv[:narrow], v: kv[narrow : 2*narrow]}
}

// backward adds to the gradients for p.dx, and to dNormed, the derivative of x, if needIn.
func (at *attention) backward(p *pass, x, dNormed []float32, needIn bool, a *attentionActs) {
	wide, narrow := at.heads*at.headDim, at.kvHeads*at.headDim
	if !needIn && !at.inputsTrainable() {
		linearBack(p.dev, p.rows, at.o, p.dx, a.out, nil, false)
		return
	}
	buf := p.dev.Borrow(2 * p.rows * (wide + narrow))
	defer p.dev.Return(buf)
	d := newAttentionGrads(buf, p.rows*wide, p.rows*narrow)
	linearBack(p.dev, p.rows, at.o, p.dx, a.out, d.out, false)
	clear(d.k)
	clear(d.v)
	p.dev.For(p.batch.Sequences*at.kvHeads, func(i int) {
		at.attendBack(p, a, &d, i/at.kvHeads, i%at.kvHeads)
	})
	angles := p.m.angles(p.batch.Length)
	angles.rotate(p, d.q, at.heads, angles.minusSin)
	angles.rotate(p, d.k, at.kvHeads, angles.minusSin)
	if !needIn {
		dNormed = nil
	}
	linearBack(p.dev, p.rows, at.q, d.q, x, dNormed, true)
	linearBack(p.dev, p.rows, at.k, d.k, x, dNormed, true)
	linearBack(p.dev, p.rows, at.v, d.v, x, dNormed, true)
}

// attendBack computes the derivatives of the heads that share one key and value head, for
// one sequence, in the order of heads and blocks.
func (at *attention) attendBack(p *pass, a *attentionActs, d *attentionGrads, seq, kvHead int) {
	group := at.heads / at.kvHeads
	for head := kvHead * group; head < (kvHead+1)*group; head++ {
		for from := 0; from < p.batch.Length; from += queryBlock {
			at.blockBack(p, a, d, seq, head, from)
		}
	}
}

// blockBack is attend's derivative: with P the probabilities and D = rowsum(dO·O),
// dV += Pᵀ dO, dS = P (dO Vᵀ - D) scale, dQ = dS K, dK += dSᵀ Q (Dao et al. 2022, algorithm 4).
func (at *attention) blockBack(p *pass, a *attentionActs, d *attentionGrads, seq, head, from int) {
	dev, length, hd := p.dev.Serial(), p.batch.Length, at.headDim
	n := min(queryBlock, length-from)
	cols, start, kvHead := from+n, seq*length, at.kvHead(head)
	buf := dev.Borrow(2 * n * cols)
	defer dev.Return(buf)
	probs, dScores := buf[:n*cols], buf[n*cols:]
	at.scores(dev, a, probs, start, head, from, n)
	dOut := view(d.out, start+from, at.heads, head, hd)
	v := view(a.v, start, at.kvHeads, kvHead, hd)
	v.Transposed = true
	dev.Gemm(n, cols, hd, dOut, v, dScores, cols, false)
	out := view(a.out, start+from, at.heads, head, hd)
	logSum := a.logSum[(seq*at.heads+head)*length+from:]
	for r := range n {
		row, dRow := probs[r*cols:(r+1)*cols], dScores[r*cols:(r+1)*cols]
		mean := dev.Dot(out.Data[r*out.Stride:][:hd], dOut.Data[r*dOut.Stride:][:hd])
		seen := from + r + 1
		dev.Exp(row[:seen], row[:seen], at.scale(), -logSum[r])
		dev.SoftmaxBack(dRow[:seen], row[:seen], mean, at.scale())
		clear(row[seen:])
		clear(dRow[seen:])
	}
	p1, dS := tensor.Matrix{Data: probs, Stride: cols}, tensor.Matrix{Data: dScores, Stride: cols}
	dq, k := view(d.q, start+from, at.heads, head, hd), view(a.k, start, at.kvHeads, kvHead, hd)
	dev.Gemm(n, hd, cols, dS, k, dq.Data, dq.Stride, false)
	p1.Transposed, dS.Transposed = true, true
	dv, dk := view(d.v, start, at.kvHeads, kvHead, hd), view(d.k, start, at.kvHeads, kvHead, hd)
	dev.Gemm(cols, hd, n, p1, dOut, dv.Data, dv.Stride, true)
	dev.Gemm(cols, hd, n, dS, view(a.q, start+from, at.heads, head, hd), dk.Data, dk.Stride, true)
}
