package tensor

import "math"

// CPU is the device that computes in single precision on the processor's cores. It is safe for concurrent use,
// except that two calls must not write to overlapping memory.
type CPU struct{ host *host }

// New returns a device that runs a kernel set on at most the given number of goroutines per call; fewer
// than one counts as one.
func New(kernels Kernels, workers int) *CPU { return &CPU{newHost(kernels, workers)} }

// Name says which kernel set runs: "cpu/avx512", "cpu/avx2" or "cpu/plain". Results
// are equal to the bit on devices of one name and one build.
func (d *CPU) Name() string { return d.host.Name() }

// String describes the device for people.
func (d *CPU) String() string { return d.host.String() }

// Err is nil: the processor has no fault of its own.
func (d *CPU) Err() error { return nil }

// Sync is nil: calls return when their work is done.
func (d *CPU) Sync() error { return nil }

// For calls do(i) once for each i in [0, n), from several goroutines, in any order.
func (d *CPU) For(n int, do func(i int)) { d.host.For(n, do) }

// Type is F32.
func (d *CPU) Type() Type { return F32 }

// Alloc returns zeros.
func (d *CPU) Alloc(_ Type, n int) Array { return Of(make([]float32, n)) }

// Free does nothing: the memory goes when nothing refers to it.
func (d *CPU) Free(...Array) {}

// Borrow returns n values of unspecified content.
func (d *CPU) Borrow(_ Type, n int) Array { return Of(d.host.Borrow(n)) }

// Return hands back arrays of Borrow.
func (d *CPU) Return(arrays ...Array) {
	for _, a := range arrays {
		d.host.Return(a.Host)
	}
}

// Grow makes *a hold n values.
func (d *CPU) Grow(a *Array, _ Type, n int) { *a = Of(grown(a.Host, n)) }

// GrowInts makes *a hold n integers.
func (d *CPU) GrowInts(a *Ints, n int) { *a = Ints{Host: grown(a.Host, n), N: n} }

// GrowDoubles makes *a hold n numbers.
func (d *CPU) GrowDoubles(a *Doubles, n int) { *a = Doubles{Host: grown(a.Host, n), N: n} }

func grown[E any](s []E, n int) []E {
	if cap(s) < n {
		return make([]E, n)
	}
	return s[:n]
}

// Upload copies.
func (d *CPU) Upload(dst Array, src []float32) { copy(dst.Host, src) }

// Download copies.
func (d *CPU) Download(dst []float32, src Array) { copy(dst, src.Host) }

// UploadBF16 converts.
func (d *CPU) UploadBF16(dst Array, raw []byte) {
	for i := range dst.Host {
		dst.Host[i] = math.Float32frombits(uint32(raw[2*i])<<16 | uint32(raw[2*i+1])<<24)
	}
}

// UploadInts copies.
func (d *CPU) UploadInts(dst Ints, src []int32) { copy(dst.Host, src) }

// DownloadInts copies.
func (d *CPU) DownloadInts(dst []int32, src Ints) { copy(dst, src.Host) }

// DownloadDoubles copies.
func (d *CPU) DownloadDoubles(dst []float64, src Doubles) { copy(dst, src.Host) }

// Clear sets zeros.
func (d *CPU) Clear(a Array) {
	d.host.ForBlocks(len(a.Host), elementBlock, func(from, to int) { clear(a.Host[from:to]) })
}

// Copy copies.
func (d *CPU) Copy(dst, src Array) {
	n := min(len(dst.Host), len(src.Host))
	d.host.ForBlocks(n, elementBlock, func(from, to int) { copy(dst.Host[from:to], src.Host[from:to]) })
}

// Load returns the values themselves.
func (d *CPU) Load(values []float32) Array { return Of(values) }

// Train gives a weight a gradient of zeros.
func (d *CPU) Train(w *Weight) {
	d.Grow(&w.Grad, F32, w.Data.N)
	d.Clear(w.Grad)
}

// Freeze takes a weight's gradient away.
func (d *CPU) Freeze(w *Weight) { w.Grad = Array{} }

// Master returns a weight's values themselves.
func (d *CPU) Master(w Weight) []float32 { return w.Data.Host }

// SetMaster copies values into a weight.
func (d *CPU) SetMaster(w *Weight, values []float32) { copy(w.Data.Host, values) }

// Gemm sets C = A B, or C += A B if add.
func (d *CPU) Gemm(m, n, k int, a, b Matrix, c Array, ldc int, add bool) {
	d.host.Gemm(m, n, k, a.host(), b.host(), c.Host, ldc, add)
}

func (m Matrix) host() matrix {
	return matrix{Data: m.Host, Stride: m.Stride, Transposed: m.Transposed}
}

// AddRow adds a row to each row of y.
func (d *CPU) AddRow(y, row Array) { d.host.AddRow(y.Host, row.Host) }

// SumRows adds the sum of y's rows to row.
func (d *CPU) SumRows(row, y Array) { d.host.SumRows(row.Host, y.Host) }

// Add sets dst += a*x.
func (d *CPU) Add(dst, x Array, a float32) { d.host.Add(dst.Host, x.Host, a) }

// RMSNorm is the norm of each row.
func (d *CPU) RMSNorm(y, inverse, x, w Array, epsilon float64) {
	d.host.RMSNorm(y.Host, inverse.Host, x.Host, w.Host, epsilon)
}

// RMSNormBack adds the norm's derivative.
func (d *CPU) RMSNormBack(dx, dw, dy, x, w, inverse Array) {
	d.host.RMSNormBack(dx.Host, dw.Host, dy.Host, x.Host, w.Host, inverse.Host)
}

// SwiGLU sets dst = gate * sigmoid(gate) * up.
func (d *CPU) SwiGLU(dst, gate, up Array) { d.host.SwiGLU(dst.Host, gate.Host, up.Host) }

// SwiGLUBack replaces gate and up by the derivatives.
func (d *CPU) SwiGLUBack(grad, gate, up Array) { d.host.SwiGLUBack(grad.Host, gate.Host, up.Host) }

// CrossEntropy sets each row's loss and, if grad is not 0, replaces logits by the derivative.
func (d *CPU) CrossEntropy(logits Array, targets Ints, vocab int, grad float32, loss Doubles) {
	d.host.For(targets.N, func(i int) {
		loss.Host[i] = d.host.CrossEntropy(logits.Host[i*vocab:(i+1)*vocab], int(targets.Host[i]), grad)
	})
}

// SumSquares returns the sum of squares of each array, in double precision.
func (d *CPU) SumSquares(arrays ...Array) []float64 {
	sums := make([]float64, len(arrays))
	for i, a := range arrays {
		sums[i] = d.host.SumSquares(a.Host)
	}
	return sums
}

// Moments returns zeros.
func (d *CPU) Moments(n int) Moments {
	return Moments{First: d.Alloc(F32, n), Second: d.Alloc(F32, n)}
}

// FreeMoments does nothing: the garbage collector does it.
func (d *CPU) FreeMoments(...Moments) {}

// ReadMoments returns the moments themselves.
func (d *CPU) ReadMoments(m Moments) (first, second []float32) { return m.First.Host, m.Second.Host }

// SetMoments copies.
func (d *CPU) SetMoments(m Moments, first, second []float32) {
	copy(m.First.Host, first)
	copy(m.Second.Host, second)
}

// AdamW makes one update of a weight from its gradient.
func (d *CPU) AdamW(rule AdamW, step int, w *Weight, m Moments) {
	d.host.AdamW(rule, step, w.Data.Host, w.Grad.Host, m.First.Host, m.Second.Host)
}

var _ Device = (*CPU)(nil)
