package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"bzdata/train/tensor"
)

// operand is a matrix on the card and, of the values that the card has, on the processor.
type operand struct{ card, host tensor.Matrix }

// newOperand makes a matrix of random values with some columns to spare.
func newOperand(t *testing.T, d *Device, typ tensor.Type, seed uint64, rows, cols, spare int, transposed bool) operand {
	t.Helper()
	if transposed {
		rows, cols = cols, rows
	}
	stride := cols + spare
	a, values := put(t, d, typ, normal(seed, rows*stride))
	return operand{
		card: tensor.Matrix{Array: a, Stride: stride, Transposed: transposed},
		host: tensor.Matrix{Array: tensor.Of(values), Stride: stride, Transposed: transposed},
	}
}

// normal are values of the normal distribution.
func normal(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 2))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// TestGemm compares all pairs of types, transpositions, strides and ways of storing with the plain device.
func TestGemm(t *testing.T) {
	plain := tensor.New(tensor.Plain(), 1)
	types := []tensor.Type{tensor.F32, tensor.BF16}
	shapes := [][3]int{{1, 1, 1}, {5, 7, 3}, {33, 17, 65}, {64, 48, 128}}
	d := newFake(t, tensor.BF16)
	for _, shape := range shapes {
		for i := range 64 {
			of := func(bit int) bool { return i>>bit&1 == 1 }
			ta, tb, tc := types[i&1], types[i>>1&1], types[i>>2&1]
			name := fmt.Sprintf("%v %s (transposed %v) by %s (%v) into %s, add %v", shape, ta, of(3), tb, of(4), tc, of(5))
			m, n, k := shape[0], shape[1], shape[2]
			a := newOperand(t, d, ta, 1, m, k, i%3, of(3))
			b := newOperand(t, d, tb, 2, k, n, i%5, of(4))
			ldc := n + i%2
			c, want := put(t, d, tc, normal(3, m*ldc))
			d.Gemm(m, n, k, a.card, b.card, c, ldc, of(5))
			if ta != tb { // the product rounds the one that is not bf16 yet
				round(a.host.Host)
				round(b.host.Host)
			}
			plain.Gemm(m, n, k, a.host, b.host, tensor.Of(want), ldc, of(5))
			closeTo(t, name, get(t, d, c), want, bound(tc)+1e-6*math.Sqrt(float64(k)))
			d.Free(a.card.Array, b.card.Array, c)
		}
	}
}

func round(values []float32) {
	for i, v := range values {
		values[i] = rounded(tensor.BF16, v)
	}
}

// bound is how far one rounding may be off, relatively, and a little more.
func bound(t tensor.Type) float64 {
	if t == tensor.BF16 {
		return 1.0 / 256
	}
	return 1e-6
}

func closeTo(t *testing.T, what string, got, want []float32, bound float64) {
	t.Helper()
	for i := range want {
		if diff := math.Abs(float64(got[i]) - float64(want[i])); !(diff <= bound*max(1, math.Abs(float64(want[i])))) {
			t.Fatalf("%s: value %d is %g, not %g within %g of it", what, i, got[i], want[i], bound)
		}
	}
}

// TestGemmEdges holds what needs no product or must be refused.
func TestGemmEdges(t *testing.T) {
	d := newFake(t, tensor.F32)
	a, _ := put(t, d, tensor.F32, normal(1, 12))
	c, before := put(t, d, tensor.F32, normal(2, 12))
	d.Gemm(0, 3, 4, tensor.Rows(a, 4), tensor.Rows(a, 3), c, 3, false)
	d.Gemm(3, 3, 0, tensor.Rows(a, 4), tensor.Rows(a, 3), c, 4, true)
	closeTo(t, "no rows, or nothing to add", get(t, d, c), before, 0)
	d.Gemm(3, 3, 0, tensor.Rows(a, 4), tensor.Rows(a, 3), c, 4, false)
	for i := range before {
		if i%4 < 3 {
			before[i] = 0
		}
	}
	closeTo(t, "an empty sum", get(t, d, c), before, 0)
	d.Gemm(4, 3, 4, tensor.Rows(a, 4), tensor.Rows(a, 3), c, 3, false)
	wantFault(t, d, "Gemm: [4,4] by [4,3] does not fit arrays of 12, 12 and 12 values")
}

// wantFault takes the device's fault, which must contain the text.
func wantFault(t *testing.T, d *Device, text string) {
	t.Helper()
	err := d.Sync()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("the fault is %v; want one with %q", err, text)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the fault has more than one line: %q", err)
	}
	d.err = nil // taken, so that the end of the test does not report it
}

// TestGemmParts multiplies parts of arrays that begin at every alignment.
func TestGemmParts(t *testing.T) {
	plain := tensor.New(tensor.Plain(), 1)
	for _, typ := range []tensor.Type{tensor.F32, tensor.BF16} {
		d := newFake(t, typ)
		x, host := put(t, d, typ, normal(1, 200))
		c, want := put(t, d, tensor.F32, normal(2, 64))
		for from := range 17 {
			d.Gemm(3, 4, 5, tensor.Rows(x.From(from), 6), tensor.Rows(x.From(2*from), 5), c.From(from), 4, true)
			h := tensor.Of(host)
			plain.Gemm(3, 4, 5, tensor.Rows(h.From(from), 6), tensor.Rows(h.From(2*from), 5), tensor.Of(want).From(from), 4, true)
		}
		closeTo(t, typ.String(), get(t, d, c), want, 1e-5)
	}
}

// TestGemmPlans checks that equal products are planned once, and that plans are dropped before there are too many.
func TestGemmPlans(t *testing.T) {
	d := newFake(t, tensor.F32)
	a, _ := put(t, d, tensor.F32, normal(1, 64*64))
	c := d.Alloc(tensor.F32, 64*64)
	for range 3 {
		for n := 1; n <= 64; n++ {
			d.Gemm(n, 4, 4, tensor.Rows(a, 4), tensor.Rows(a, 4), c, 4, false)
		}
	}
	if n := len(d.products.plans); n != 64 {
		t.Errorf("%d plans of 64 shapes", n)
	}
	for n := 1; n <= 64; n++ {
		for m := 1; m <= 64; m++ {
			d.Gemm(m, 1, n, tensor.Rows(a, n), tensor.Rows(a, 1), c, 1, false)
		}
	}
	if n := len(d.products.plans); n > plansMax || n == 0 {
		t.Errorf("%d plans are kept", n)
	}
}
