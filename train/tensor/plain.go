package tensor

import (
	"math"
	"unsafe"
)

// Plain returns the portable kernel set, written in Go.
func Plain() Kernels {
	return Kernels{
		name: "plain", mr: 2, nr: 4, tile: tilePlain,
		expSum: expSumPlain, maxOf: maxPlain, dot: dotPlain, axpy: axpyPlain,
		scale: scalePlain, mul: mulPlain, mulAdd: mulAddPlain, softmaxBack: softmaxBackPlain,
		rotate: rotatePlain,
		swiglu: swigluPlain, swigluBack: swigluBackPlain,
		adamw: adamwPlain, sumSquares: sumSquaresPlain,
	}
}

// tilePlain holds a tile of 2 by 4 in registers.
func tilePlain(k int, a, b, c *float32, ldc, add int) {
	as, bs := unsafe.Slice(a, 2*k), unsafe.Slice(b, 4*k)
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	for len(as) >= 2 && len(bs) >= 4 {
		x0, x1 := as[0], as[1]
		y0, y1, y2, y3 := bs[0], bs[1], bs[2], bs[3]
		s00 += x0 * y0
		s01 += x0 * y1
		s02 += x0 * y2
		s03 += x0 * y3
		s10 += x1 * y0
		s11 += x1 * y1
		s12 += x1 * y2
		s13 += x1 * y3
		as, bs = as[2:], bs[4:]
	}
	top, bottom := unsafe.Slice(c, 4), unsafe.Slice(c, ldc+4)[ldc:]
	if add == 0 {
		clear(top)
		clear(bottom)
	}
	top[0], top[1], top[2], top[3] = top[0]+s00, top[1]+s01, top[2]+s02, top[3]+s03
	bottom[0], bottom[1], bottom[2], bottom[3] = bottom[0]+s10, bottom[1]+s11, bottom[2]+s12, bottom[3]+s13
}

// Limits of [exp32]: below expMin the result is 0, above expMax it is +Inf.
const (
	expMin = -87.33
	expMax = 88.376
)

// exp32 is e^x to 2 units in the last place, by the reduction x = n ln 2 + r and the
// degree-5 polynomial of Cephes' expf (S. L. Moshier, 1992).
func exp32(x float32) float32 {
	switch {
	case x < expMin:
		return 0
	case x > expMax:
		return float32(math.Inf(1))
	case x != x:
		return x
	}
	n := float32(math.RoundToEven(float64(x * 1.44269504)))
	r := x - n*0.693359375 + n*2.12194440e-4
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	p = p*r*r + r + 1
	return math.Float32frombits(math.Float32bits(p) + uint32(int32(n))<<23)
}

func expSumPlain(dst, x []float32, scale, offset float32) float32 {
	x = x[:len(dst)]
	var sum [4]float32
	for i, v := range x {
		e := exp32(v*scale + offset)
		dst[i] = e
		sum[i&3] += e
	}
	return (sum[0] + sum[1]) + (sum[2] + sum[3])
}

func maxPlain(x []float32) float32 {
	top := float32(math.Inf(-1))
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	return top
}

func dotPlain(x, y []float32) float32 {
	y = y[:len(x)]
	var sum [4]float32
	for i, v := range x {
		sum[i&3] += v * y[i]
	}
	return (sum[0] + sum[1]) + (sum[2] + sum[3])
}

func axpyPlain(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += a * v
	}
}

func scalePlain(x []float32, a float32) {
	for i := range x {
		x[i] *= a
	}
}

func softmaxBackPlain(grad, probs []float32, mean, scale float32) {
	probs = probs[:len(grad)]
	for i, g := range grad {
		grad[i] = (g - mean) * (scale * probs[i])
	}
}

func mulPlain(dst, x, y []float32, a float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i, v := range x {
		dst[i] = a * v * y[i]
	}
}

func mulAddPlain(dst, x, y []float32, a float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i, v := range x {
		dst[i] += a * v * y[i]
	}
}

func rotatePlain(a, b, cos, sin []float32) {
	b, cos, sin = b[:len(a)], cos[:len(a)], sin[:len(a)]
	for i, x := range a {
		y := b[i]
		a[i] = x*cos[i] - y*sin[i]
		b[i] = y*cos[i] + x*sin[i]
	}
}

func swigluPlain(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		dst[i] = g / (1 + exp32(-g)) * up[i]
	}
}

func swigluBackPlain(grad, gate, up []float32) {
	gate, up = gate[:len(grad)], up[:len(grad)]
	for i, d := range grad {
		g := gate[i]
		s := 1 / (1 + exp32(-g))
		gate[i] = d * up[i] * s * (1 + g*(1-s))
		up[i] = d * g * s
	}
}

func adamwPlain(w, g, m, v []float32, c *adamwFactors) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i := range w {
		d := c.gradScale * g[i]
		m[i] = c.beta1*m[i] + c.beta1Rest*d
		v[i] = c.beta2*v[i] + c.beta2Rest*d*d
		root := float32(math.Sqrt(float64(v[i])))*c.rootScale + c.epsilon
		w[i] = c.decay*w[i] - c.step*m[i]/root
	}
}

func sumSquaresPlain(x []float32) float64 {
	var sum [4]float64
	for i, v := range x {
		sum[i&3] += float64(v) * float64(v)
	}
	return (sum[0] + sum[1]) + (sum[2] + sum[3])
}
