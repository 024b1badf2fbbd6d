package tensor

import "math"

// AdamW is the optimizer's rule with decoupled weight decay (Loshchilov and Hutter 2019,
// algorithm 2, in the arithmetic of PyTorch's AdamW): with g the gradient times GradScale,
//
//	m = β1 m + (1-β1) g;  v = β2 v + (1-β2) g²
//	w = (1 - lr·λ) w - lr/(1-β1^t) · m / (√v/√(1-β2^t) + ε)
type AdamW struct {
	LearningRate float64
	Beta1        float64
	Beta2        float64
	Epsilon      float64
	WeightDecay  float64
	// GradScale multiplies the gradient first: 1, or a clipping factor.
	GradScale float64
}

// adamwFactors are the rule's constants at one step. The assembly reads them by offset.
type adamwFactors struct {
	gradScale, beta1, beta1Rest, beta2, beta2Rest, rootScale, epsilon, decay, step float32
}

func (a AdamW) factors(step int) adamwFactors {
	correct1 := 1 - math.Pow(a.Beta1, float64(step))
	correct2 := 1 - math.Pow(a.Beta2, float64(step))
	return adamwFactors{
		gradScale: float32(a.GradScale),
		beta1:     float32(a.Beta1), beta1Rest: float32(1 - a.Beta1),
		beta2: float32(a.Beta2), beta2Rest: float32(1 - a.Beta2),
		rootScale: float32(1 / math.Sqrt(correct2)), epsilon: float32(a.Epsilon),
		decay: float32(1 - a.LearningRate*a.WeightDecay), step: float32(a.LearningRate / correct1),
	}
}

// Factors returns the rule's constants at one step, counted from 1, in the order in which kernels take them: the factor on the
// gradient, β1, 1-β1, β2, 1-β2, 1/√(1-β2^t), ε, 1-lr·λ and lr/(1-β1^t).
func (a AdamW) Factors(step int) [9]float32 {
	c := a.factors(step)
	return [9]float32{c.gradScale, c.beta1, c.beta1Rest, c.beta2, c.beta2Rest, c.rootScale, c.epsilon, c.decay, c.step}
}

// elementBlock is how many elements one task of an elementwise operation takes. It
// also cuts the sums of [host.SumSquares], so it is part of the result's bits.
const elementBlock = 1 << 15

// AdamW makes one update of weights w from gradient g, first moment m and second
// moment v, all of one length. step counts from 1.
func (d *host) AdamW(rule AdamW, step int, w, g, m, v []float32) {
	c := rule.factors(step)
	d.ForBlocks(len(w), elementBlock, func(from, to int) {
		d.kernels.adamw(w[from:to], g[from:to], m[from:to], v[from:to], &c)
	})
}

// SumSquares returns the sum of squares of x in double precision.
func (d *host) SumSquares(x []float32) float64 {
	parts := make([]float64, (len(x)+elementBlock-1)/elementBlock)
	d.ForBlocks(len(x), elementBlock, func(from, to int) {
		parts[from/elementBlock] = d.kernels.sumSquares(x[from:to])
	})
	sum := 0.0
	for _, p := range parts {
		sum += p
	}
	return sum
}
