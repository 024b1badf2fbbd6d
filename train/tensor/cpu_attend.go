package tensor

// queryBlock is how many queries share one product with the keys before them.
const queryBlock = 64

func (s AttendShape) kvHead(head int) int { return head / (s.Heads / s.KVHeads) }

// attention is one call of [CPU.Attend] or [CPU.AttendBack].
type attention struct {
	AttendShape
	Attended
	host *host // on the calling goroutine
}

// Attend is causal softmax attention; each task takes a block of queries of one head of one sequence.
func (d *CPU) Attend(a Attended, s AttendShape) {
	at := attention{s, a, d.host.Serial()}
	blocks := (s.Length + queryBlock - 1) / queryBlock
	d.host.For(s.Sequences*s.Heads*blocks, func(i int) {
		block := blocks - 1 - i%blocks // the long ones first
		at.block(i/blocks/s.Heads, i/blocks%s.Heads, block*queryBlock)
	})
}

// block computes one head's output for a block of queries of one sequence.
func (a *attention) block(seq, head, from int) {
	n := min(queryBlock, a.Length-from)
	cols, start := from+n, seq*a.Length
	scores := a.host.Borrow(n * cols)
	defer a.host.Return(scores)
	a.scores(scores, start, head, from, n)
	logSum := a.LogSum.Host[(seq*a.Heads+head)*a.Length+from:]
	for r := range n {
		row := scores[r*cols : (r+1)*cols]
		logSum[r] = a.host.Softmax(row[:from+r+1], a.Scale)
		clear(row[from+r+1:])
	}
	v, out := a.V.view(start, a.kvHead(head)), a.Out.view(start+from, head)
	a.host.Gemm(n, a.VDim, cols, matrix{Data: scores, Stride: cols}, v, out.Data, out.Stride, false)
}

// scores sets dst = Q Kᵀ for n queries and the from+n keys up to the last of them.
func (a *attention) scores(dst []float32, start, head, from, n int) {
	q, k := a.Q.view(start+from, head), a.K.view(start, a.kvHead(head))
	k.Transposed = true
	a.host.Gemm(n, from+n, a.QKDim, q, k, dst, from+n, false)
}

// AttendBack sets d.Q, d.K and d.V. The heads that share one key and value head are taken together, in
// the order of heads and blocks.
func (d *CPU) AttendBack(a Attended, g AttendGrads, s AttendShape) {
	at, group := attention{s, a, d.host.Serial()}, s.Heads/s.KVHeads
	d.host.For(s.Sequences*s.KVHeads, func(i int) {
		seq, kvHead := i/s.KVHeads, i%s.KVHeads
		for t := seq * s.Length; t < (seq+1)*s.Length; t++ {
			clear(g.K.head(t, kvHead)[:s.QKDim])
			clear(g.V.head(t, kvHead)[:s.VDim])
		}
		for head := kvHead * group; head < (kvHead+1)*group; head++ {
			for from := 0; from < s.Length; from += queryBlock {
				at.blockBack(g, seq, head, from)
			}
		}
	})
}

// blockBack is block's derivative: with P the probabilities and D = rowsum(dO·O),
// dV += Pᵀ dO, dS = P (dO Vᵀ - D) scale, dQ = dS K, dK += dSᵀ Q (Dao et al. 2022, algorithm 4).
func (a *attention) blockBack(d AttendGrads, seq, head, from int) {
	n := min(queryBlock, a.Length-from)
	cols, start, kvHead := from+n, seq*a.Length, a.kvHead(head)
	buf := a.host.Borrow(2 * n * cols)
	defer a.host.Return(buf)
	probs, dScores := buf[:n*cols], buf[n*cols:]
	a.scores(probs, start, head, from, n)
	dOut, v := d.Out.view(start+from, head), a.V.view(start, kvHead)
	v.Transposed = true
	a.host.Gemm(n, cols, a.VDim, dOut, v, dScores, cols, false)
	out := a.Out.view(start+from, head)
	logSum := a.LogSum.Host[(seq*a.Heads+head)*a.Length+from:]
	for r := range n {
		row, dRow := probs[r*cols:(r+1)*cols], dScores[r*cols:(r+1)*cols]
		mean := a.host.Dot(out.Data[r*out.Stride:][:a.VDim], dOut.Data[r*dOut.Stride:][:a.VDim])
		seen := from + r + 1
		a.host.Exp(row[:seen], row[:seen], a.Scale, -logSum[r])
		a.host.SoftmaxBack(dRow[:seen], row[:seen], mean, a.Scale)
		clear(row[seen:])
		clear(dRow[seen:])
	}
	p, dS := matrix{Data: probs, Stride: cols}, matrix{Data: dScores, Stride: cols}
	dq, k := d.Q.view(start+from, head), a.K.view(start, kvHead)
	a.host.Gemm(n, a.QKDim, cols, dS, k, dq.Data, dq.Stride, false)
	p.Transposed, dS.Transposed = true, true
	dv, dk := d.V.view(start, kvHead), d.K.view(start, kvHead)
	a.host.Gemm(cols, a.VDim, n, p, dOut, dv.Data, dv.Stride, true)
	a.host.Gemm(cols, a.QKDim, n, dS, a.Q.view(start+from, head), dk.Data, dk.Stride, true)
}
