package model

import "bzdata/train/tensor"

// attend is causal softmax attention between rows that are ready: projected, normed and rotated.
// Query and key heads are qkDim wide, value heads vDim; heads/kvHeads query heads share a key and
// value head (Ainslie et al. 2023). Scores are multiplied by scale.
type attend struct {
	heads, kvHeads int
	qkDim, vDim    int
	scale          float32
}

// headRows are rows of heads within larger rows: head h of row t begins at t*stride + h*step.
type headRows struct {
	data         []float32
	stride, step int
}

// packedHeads are rows of nothing but heads.
func packedHeads(data []float32, heads, dim int) headRows {
	return headRows{data: data, stride: heads * dim, step: dim}
}

// view is one head of the rows from t on.
func (r headRows) view(t, head int) tensor.Matrix {
	return tensor.Matrix{Data: r.data[t*r.stride+head*r.step:], Stride: r.stride}
}

// attended is what a backward pass needs of a forward pass; out is [rows, heads*vDim]. logSum is the
// logarithm of each softmax's denominator, [sequences, heads, length]. The probabilities
// themselves are not kept.
type attended struct {
	q, k, v, out headRows
	logSum       []float32
}

// queryBlock is how many queries share one product with the keys before them.
const queryBlock = 64

func (at attend) kvHead(head int) int { return head / (at.heads / at.kvHeads) }

// forward fills a.out and a.logSum.
func (at attend) forward(p *pass, a attended) {
	blocks := (p.batch.Length + queryBlock - 1) / queryBlock
	p.dev.For(p.batch.Sequences*at.heads*blocks, func(i int) {
		block := blocks - 1 - i%blocks // the long ones first
		at.block(p, a, i/blocks/at.heads, i/blocks%at.heads, block*queryBlock)
	})
}

// block computes one head's output for a block of queries of one sequence.
func (at attend) block(p *pass, a attended, seq, head, from int) {
	dev, length := p.dev.Serial(), p.batch.Length
	n := min(queryBlock, length-from)
	cols, start := from+n, seq*length
	scores := dev.Borrow(n * cols)
	defer dev.Return(scores)
	at.scores(dev, a, scores, start, head, from, n)
	logSum := a.logSum[(seq*at.heads+head)*length+from:]
	for r := range n {
		row := scores[r*cols : (r+1)*cols]
		logSum[r] = dev.Softmax(row[:from+r+1], at.scale)
		clear(row[from+r+1:])
	}
	v, out := a.v.view(start, at.kvHead(head)), a.out.view(start+from, head)
	dev.Gemm(n, at.vDim, cols, tensor.Matrix{Data: scores, Stride: cols}, v, out.Data, out.Stride, false)
}

// scores sets dst = Q Kᵀ for n queries and the from+n keys up to the last of them.
func (at attend) scores(dev *tensor.Device, a attended, dst []float32, start, head, from, n int) {
	q, k := a.q.view(start+from, head), a.k.view(start, at.kvHead(head))
	k.Transposed = true
	dev.Gemm(n, from+n, at.qkDim, q, k, dst, from+n, false)
}

// attendGrads are the derivatives of what attended has; dk and dv are added to.
type attendGrads struct{ q, k, v, out headRows }

// backward computes d.q, and adds to d.k and d.v, for d.out. The heads that share one key and value
// head are taken together, in the order of heads and blocks.
func (at attend) backward(p *pass, a attended, d attendGrads) {
	group := at.heads / at.kvHeads
	p.dev.For(p.batch.Sequences*at.kvHeads, func(i int) {
		seq, kvHead := i/at.kvHeads, i%at.kvHeads
		for head := kvHead * group; head < (kvHead+1)*group; head++ {
			for from := 0; from < p.batch.Length; from += queryBlock {
				at.blockBack(p, a, d, seq, head, from)
			}
		}
	})
}

// blockBack is block's derivative: with P the probabilities and D = rowsum(dO·O),
// dV += Pᵀ dO, dS = P (dO Vᵀ - D) scale, dQ = dS K, dK += dSᵀ Q (Dao et al. 2022, algorithm 4).
func (at attend) blockBack(p *pass, a attended, d attendGrads, seq, head, from int) {
	dev, length := p.dev.Serial(), p.batch.Length
	n := min(queryBlock, length-from)
	cols, start, kvHead := from+n, seq*length, at.kvHead(head)
	buf := dev.Borrow(2 * n * cols)
	defer dev.Return(buf)
	probs, dScores := buf[:n*cols], buf[n*cols:]
	at.scores(dev, a, probs, start, head, from, n)
	dOut, v := d.out.view(start+from, head), a.v.view(start, kvHead)
	v.Transposed = true
	dev.Gemm(n, cols, at.vDim, dOut, v, dScores, cols, false)
	out := a.out.view(start+from, head)
	logSum := a.logSum[(seq*at.heads+head)*length+from:]
	for r := range n {
		row, dRow := probs[r*cols:(r+1)*cols], dScores[r*cols:(r+1)*cols]
		mean := dev.Dot(out.Data[r*out.Stride:][:at.vDim], dOut.Data[r*dOut.Stride:][:at.vDim])
		seen := from + r + 1
		dev.Exp(row[:seen], row[:seen], at.scale, -logSum[r])
		dev.SoftmaxBack(dRow[:seen], row[:seen], mean, at.scale)
		clear(row[seen:])
		clear(dRow[seen:])
	}
	p1, dS := tensor.Matrix{Data: probs, Stride: cols}, tensor.Matrix{Data: dScores, Stride: cols}
	dq, k := d.q.view(start+from, head), a.k.view(start, kvHead)
	dev.Gemm(n, at.qkDim, cols, dS, k, dq.Data, dq.Stride, false)
	p1.Transposed, dS.Transposed = true, true
	dv, dk := d.v.view(start, kvHead), d.k.view(start, kvHead)
	dev.Gemm(cols, at.vDim, n, p1, dOut, dv.Data, dv.Stride, true)
	dev.Gemm(cols, at.qkDim, n, dS, a.q.view(start+from, head), dk.Data, dk.Stride, true)
}
