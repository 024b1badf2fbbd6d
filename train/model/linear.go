package model

import "bzdata/train/tensor"

// linear sets y = x Wᵀ, or adds it, for rows of x and a weight [out, in].
func linear(dev tensor.Device, rows int, w *Param, x, y tensor.Array, add bool) {
	out, in := w.Shape[0], w.Shape[1]
	dev.Gemm(rows, out, in, tensor.Rows(x, in), tensor.Rows(w.w.Data, in).T(), y, out, add)
}

// linearBack adds to the weight's gradient, if it has one, and sets dx = dy W, or adds it,
// unless dx is none.
func linearBack(dev tensor.Device, rows int, w *Param, dy, x, dx tensor.Array, add bool) {
	out, in := w.Shape[0], w.Shape[1]
	if w.Trains() {
		dev.Gemm(out, in, rows, tensor.Rows(dy, out).T(), tensor.Rows(x, in), w.w.Grad, in, true)
	}
	if !dx.None() {
		dev.Gemm(rows, in, out, tensor.Rows(dy, out), tensor.Rows(w.w.Data, in), dx, in, add)
	}
}

// affine is y = x Wᵀ + b; bias is nil if there is none.
type affine struct{ weight, bias *Param }

func (m *Model) addAffine(prefix string, out, in int, bias bool) affine {
	a := affine{weight: m.addParam(prefix+".weight", out, in)}
	if bias {
		a.bias = m.addParam(prefix+".bias", out)
	}
	return a
}

func (f affine) trainable() bool { return trains(f.weight, f.bias) }

// forward is [linear] with the bias.
func (f affine) forward(dev tensor.Device, rows int, x, y tensor.Array, add bool) {
	linear(dev, rows, f.weight, x, y, add)
	if f.bias != nil {
		dev.AddRow(y.Part(0, rows*f.bias.w.Data.N), f.bias.w.Data)
	}
}

// backward is [linearBack] with the bias.
func (f affine) backward(dev tensor.Device, rows int, dy, x, dx tensor.Array, add bool) {
	linearBack(dev, rows, f.weight, dy, x, dx, add)
	if f.bias != nil && f.bias.Trains() {
		dev.SumRows(f.bias.w.Grad, dy.Part(0, rows*f.bias.w.Data.N))
	}
}

// trains reports whether any of the weights has a gradient; nil has none.
func trains(params ...*Param) bool {
	for _, p := range params {
		if p != nil && p.Trains() {
			return true
		}
	}
	return false
}
