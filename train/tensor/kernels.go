package tensor

import (
	"fmt"
	"strings"
)

// Kernels is a set of inner loops of one instruction set. The zero value is not
// usable; [Choose] returns one.
type Kernels struct {
	name string

	// tile computes C[mr,nr] = A B, or C += A B if add is not 0, of packed operands:
	// a holds k columns of mr values, b holds k rows of nr values.
	tile   func(k int, a, b, c *float32, ldc, add int)
	mr, nr int
	// transpose4 writes dst[p*ldd+r] = src[r*lds+p] for r < 4 and p < k, k a multiple of 8.
	// It may be nil.
	transpose4 func(dst, src *float32, ldd, lds, k int)
	// transposeA writes dst[p*mr+r] = src[r*lds+p] for r < mr and p < k, k a multiple of 8. It may be nil.
	transposeA func(dst, src *float32, lds, k int)
	// copyA writes dst[p*mr+r] = src[p*lds+r] for r < mr and p < k, k > 0; copyB does so for nr. They
	// may be nil.
	copyA, copyB func(dst, src *float32, lds, k int)

	// expSum sets dst = exp(scale*x + offset) and returns its sum.
	expSum func(dst, x []float32, scale, offset float32) float32
	// maxOf returns the greatest value other than NaN; -Inf of none.
	maxOf func(x []float32) float32
	// dot returns the sum of x*y.
	dot func(x, y []float32) float32
	// axpy sets dst += a*x.
	axpy func(dst, x []float32, a float32)
	// scale sets x *= a.
	scale func(x []float32, a float32)
	// mul sets dst = a*x*y; mulAdd adds it.
	mul, mulAdd func(dst, x, y []float32, a float32)
	// softmaxBack sets grad = (grad-mean) * scale*probs.
	softmaxBack func(grad, probs []float32, mean, scale float32)
	// rotate sets (a, b) = (a*cos - b*sin, b*cos + a*sin).
	rotate func(a, b, cos, sin []float32)
	// swiglu sets dst = gate * sigmoid(gate) * up.
	swiglu func(dst, gate, up []float32)
	// swigluBack replaces gate and up by the derivatives with respect to them; grad stays.
	swigluBack func(grad, gate, up []float32)
	// adamw makes one update; see [AdamW] for the meaning of c.
	adamw func(w, g, m, v []float32, c *adamwFactors)
	// sumSquares returns the sum of squares in double precision.
	sumSquares func(x []float32) float64
}

// Name returns the set's name as [Choose] takes it.
func (k Kernels) Name() string { return k.name }

// Names lists the kernel sets that this processor can run, fastest first.
func Names() []string {
	var names []string
	for _, k := range available() {
		names = append(names, k.name)
	}
	return names
}

// Choose returns the kernel set of a name: "avx512", "avx2", "plain", or "auto" for
// the fastest that this processor can run.
func Choose(name string) (Kernels, error) {
	sets := available()
	if name == "auto" || name == "" {
		return sets[0], nil
	}
	for _, k := range sets {
		if k.name == name {
			return k, nil
		}
	}
	return Kernels{}, fmt.Errorf("kernels %q: this processor can run %s; choose one of them, or auto",
		name, strings.Join(Names(), ", "))
}
