package tensor

import "math"

// rowBlock is how many rows one task of a row operation takes.
const rowBlock = 16

// RMSNorm sets each row y = x * w / √(mean(x²)+ε) of width len(w), and its factor
// inverse[row] = 1/√(…), for the derivative (Zhang and Sennrich 2019).
func (d *host) RMSNorm(y, inverse, x, w []float32, epsilon float64) {
	n := len(w)
	d.ForBlocks(len(inverse), rowBlock, func(from, to int) {
		for t := from; t < to; t++ {
			row := x[t*n : (t+1)*n]
			mean := float64(d.kernels.dot(row, row)) / float64(n)
			q := float32(1 / math.Sqrt(mean+epsilon))
			inverse[t] = q
			d.kernels.mul(y[t*n:(t+1)*n], row, w, q)
		}
	})
}

// normBlock cuts the sums over rows of [host.RMSNormBack] and [host.SumRows], so it is part of the bits.
const normBlock = 128

// RMSNormBack adds the derivative of [host.RMSNorm] for dy to dx, and to dw. Either may be nil.
func (d *host) RMSNormBack(dx, dw, dy, x, w, inverse []float32) {
	n := len(w)
	if dx != nil {
		d.ForBlocks(len(inverse), rowBlock, func(from, to int) {
			scaled := d.Borrow(n)
			defer d.Return(scaled)
			for t := from; t < to; t++ {
				row, q := x[t*n:(t+1)*n], inverse[t]
				d.kernels.mul(scaled, dy[t*n:(t+1)*n], w, 1)
				mean := d.kernels.dot(scaled, row) / float32(n)
				d.kernels.axpy(dx[t*n:(t+1)*n], scaled, q)
				d.kernels.axpy(dx[t*n:(t+1)*n], row, -mean*q*q*q)
			}
		})
	}
	if dw == nil {
		return
	}
	blocks := (len(inverse) + normBlock - 1) / normBlock
	parts := d.Borrow(blocks * n)
	defer d.Return(parts)
	d.ForBlocks(len(inverse), normBlock, func(from, to int) {
		part := parts[from/normBlock*n:][:n]
		clear(part)
		for t := from; t < to; t++ {
			d.kernels.mulAdd(part, dy[t*n:(t+1)*n], x[t*n:(t+1)*n], inverse[t])
		}
	})
	for b := range blocks {
		d.kernels.axpy(dw, parts[b*n:(b+1)*n], 1)
	}
}

// AddRow adds a row, such as a bias, to each row of y.
func (d *host) AddRow(y, row []float32) {
	n := len(row)
	d.ForBlocks(len(y)/n, rowBlock, func(from, to int) {
		for t := from; t < to; t++ {
			d.kernels.axpy(y[t*n:(t+1)*n], row, 1)
		}
	})
}

// SumRows adds the sum of y's rows to row: the derivative of [host.AddRow].
func (d *host) SumRows(row, y []float32) {
	n := len(row)
	rows := len(y) / n
	blocks := (rows + normBlock - 1) / normBlock
	parts := d.Borrow(blocks * n)
	defer d.Return(parts)
	d.ForBlocks(rows, normBlock, func(from, to int) {
		part := parts[from/normBlock*n:][:n]
		clear(part)
		for t := from; t < to; t++ {
			d.kernels.axpy(part, y[t*n:(t+1)*n], 1)
		}
	})
	for b := range blocks {
		d.kernels.axpy(row, parts[b*n:(b+1)*n], 1)
	}
}

// SwiGLU sets dst = gate * sigmoid(gate) * up, elementwise (Shazeer 2020).
func (d *host) SwiGLU(dst, gate, up []float32) {
	d.ForBlocks(len(dst), elementBlock/8, func(from, to int) {
		d.kernels.swiglu(dst[from:to], gate[from:to], up[from:to])
	})
}

// SwiGLUBack replaces gate and up by the derivatives with respect to them, for the
// derivative grad of the result of [host.SwiGLU].
func (d *host) SwiGLUBack(grad, gate, up []float32) {
	d.ForBlocks(len(grad), elementBlock/8, func(from, to int) {
		d.kernels.swigluBack(grad[from:to], gate[from:to], up[from:to])
	})
}

// Add sets dst += a*x.
func (d *host) Add(dst, x []float32, a float32) {
	d.ForBlocks(len(dst), elementBlock, func(from, to int) {
		d.kernels.axpy(dst[from:to], x[from:to], a)
	})
}

// The operations below work on one row, on the calling goroutine.

// Dot returns the sum of x*y.
func (d *host) Dot(x, y []float32) float32 { return d.kernels.dot(x, y[:len(x)]) }

// Axpy sets dst += a*x.
func (d *host) Axpy(dst, x []float32, a float32) { d.kernels.axpy(dst, x[:len(dst)], a) }

// Scale sets x *= a.
func (d *host) Scale(x []float32, a float32) { d.kernels.scale(x, a) }

// Rotate turns the pairs (a[i], b[i]) by angles given as cosines and sines.
func (d *host) Rotate(a, b, cos, sin []float32) {
	n := len(a)
	d.kernels.rotate(a, b[:n], cos[:n], sin[:n])
}

// Exp sets dst = exp(scale*x + offset) and returns the sum of dst.
func (d *host) Exp(dst, x []float32, scale, offset float32) float32 {
	return d.kernels.expSum(dst, x[:len(dst)], scale, offset)
}

// Softmax replaces x by softmax(scale*x), and returns log Σ exp(scale*x).
func (d *host) Softmax(x []float32, scale float32) float32 {
	top := d.kernels.maxOf(x) * scale
	sum := d.kernels.expSum(x, x, scale, -top)
	d.kernels.scale(x, 1/sum)
	return top + float32(math.Log(float64(sum)))
}

// SoftmaxBack replaces grad by scale * probs * (grad - mean), which is the derivative of
// [host.Softmax]'s argument if mean is the sum of probs*grad.
func (d *host) SoftmaxBack(grad, probs []float32, mean, scale float32) {
	d.kernels.softmaxBack(grad, probs[:len(grad)], mean, scale)
}

// lossBlock is how many exponentials [host.CrossEntropy] adds up in single precision.
const lossBlock = 2048

// CrossEntropy returns -log softmax(logits)[target] in nats. If grad is not 0 it replaces logits
// by the derivative, times grad; otherwise their content is lost.
func (d *host) CrossEntropy(logits []float32, target int, grad float32) float64 {
	top, chosen, sum := d.kernels.maxOf(logits), logits[target], 0.0
	for from := 0; from < len(logits); from += lossBlock {
		part := logits[from:min(len(logits), from+lossBlock)]
		sum += float64(d.kernels.expSum(part, part, 1, -top))
	}
	if grad != 0 {
		d.kernels.scale(logits, float32(float64(grad)/sum))
		logits[target] -= grad
	}
	return math.Log(sum) + float64(top) - float64(chosen)
}
