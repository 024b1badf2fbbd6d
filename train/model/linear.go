package model

import "bzdata/train/tensor"

// linear sets y = x Wᵀ, or adds it, for rows of x and a weight [out, in].
func linear(dev *tensor.Device, rows int, w *Param, x, y []float32, add bool) {
	out, in := w.Shape[0], w.Shape[1]
	dev.Gemm(rows, out, in, tensor.Matrix{Data: x, Stride: in},
		tensor.Matrix{Data: w.Data, Stride: in, Transposed: true}, y, out, add)
}

// linearBack adds to the weight's gradient, if it has one, and sets dx = dy W, or adds it,
// unless dx is nil.
func linearBack(dev *tensor.Device, rows int, w *Param, dy, x, dx []float32, add bool) {
	out, in := w.Shape[0], w.Shape[1]
	if w.Grad != nil {
		dev.Gemm(out, in, rows, tensor.Matrix{Data: dy, Stride: out, Transposed: true},
			tensor.Matrix{Data: x, Stride: in}, w.Grad, in, true)
	}
	if dx != nil {
		dev.Gemm(rows, in, out, tensor.Matrix{Data: dy, Stride: out},
			tensor.Matrix{Data: w.Data, Stride: in}, dx, in, add)
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
func (f affine) forward(dev *tensor.Device, rows int, x, y []float32, add bool) {
	linear(dev, rows, f.weight, x, y, add)
	if f.bias != nil {
		dev.AddRow(y[:rows*len(f.bias.Data)], f.bias.Data)
	}
}

// backward is [linearBack] with the bias.
func (f affine) backward(dev *tensor.Device, rows int, dy, x, dx []float32, add bool) {
	linearBack(dev, rows, f.weight, dy, x, dx, add)
	if f.bias != nil && f.bias.Grad != nil {
		dev.SumRows(f.bias.Grad, dy[:rows*len(f.bias.Data)])
	}
}

// trains reports whether any of the weights has a gradient; nil has none.
func trains(params ...*Param) bool {
	for _, p := range params {
		if p != nil && p.Grad != nil {
			return true
		}
	}
	return false
}
