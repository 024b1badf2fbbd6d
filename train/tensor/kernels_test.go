package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sets returns the kernel sets that this processor can run.
func sets(t testing.TB) []Kernels {
	t.Helper()
	var all []Kernels
	for _, name := range Names() {
		k, err := Choose(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

func TestChoose(t *testing.T) {
	auto, err := Choose("auto")
	if err != nil || auto.Name() != Names()[0] {
		t.Errorf("auto is %q (%v), not the first of %v", auto.Name(), err, Names())
	}
	if plain, err := Choose("plain"); err != nil || plain.Name() != "plain" {
		t.Errorf("plain: %q, %v", plain.Name(), err)
	}
	if _, err := Choose("sse9"); err == nil {
		t.Error("sse9 was accepted")
	}
}

// operands are rows inside a larger buffer, so that a kernel which writes outside its row shows.
type operands struct {
	full [][]float32
	rows [][]float32
}

const guard = 9

func newOperands(values [][]float32) operands {
	var o operands
	for i, v := range values {
		full := make([]float32, len(v)+2*guard+i)
		for j := range full {
			full[j] = 12345
		}
		row := full[guard+i : guard+i+len(v)]
		copy(row, v)
		o.full, o.rows = append(o.full, full), append(o.rows, row)
	}
	return o
}

func (o operands) checkGuards(t *testing.T, what string) {
	t.Helper()
	for i, full := range o.full {
		for j, v := range full {
			if inside := j >= guard+i && j < guard+i+len(o.rows[i]); !inside && v != 12345 {
				t.Fatalf("%s: operand %d was written at %d, outside its %d values", what, i, j-guard-i, len(o.rows[i]))
			}
		}
	}
}

// rowKernel is one row operation with its definition in double precision.
type rowKernel struct {
	name     string
	operands int
	run      func(k Kernels, rows [][]float32, a, b float32) float64
	define   func(rows [][]float64, a, b float64) float64
	// bound is the permitted error relative to the magnitude of the terms.
	bound float64
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func rowKernels() []rowKernel {
	return append(simpleKernels(), curvedKernels()...)
}

func simpleKernels() []rowKernel {
	return []rowKernel{
		{"maxOf", 1, func(k Kernels, r [][]float32, _, _ float32) float64 { return float64(k.maxOf(r[0])) },
			func(r [][]float64, _, _ float64) float64 { return slices.Max(append(r[0], math.Inf(-1))) }, 0},
		{"dot", 2, func(k Kernels, r [][]float32, _, _ float32) float64 { return float64(k.dot(r[0], r[1])) },
			func(r [][]float64, _, _ float64) (sum float64) {
				for i, v := range r[0] {
					sum += v * r[1][i]
				}
				return sum
			}, 1e-6},
		{"axpy", 2, func(k Kernels, r [][]float32, a, _ float32) float64 { k.axpy(r[0], r[1], a); return 0 },
			func(r [][]float64, a, _ float64) float64 {
				return each(r, func(v []float64) { v[0] += a * v[1] })
			}, 2e-7},
		{"scale", 1, func(k Kernels, r [][]float32, a, _ float32) float64 { k.scale(r[0], a); return 0 },
			func(r [][]float64, a, _ float64) float64 { return each(r, func(v []float64) { v[0] *= a }) }, 1e-7},
		{"mul", 3, func(k Kernels, r [][]float32, a, _ float32) float64 { k.mul(r[0], r[1], r[2], a); return 0 },
			func(r [][]float64, a, _ float64) float64 {
				return each(r, func(v []float64) { v[0] = a * v[1] * v[2] })
			}, 2e-7},
		{"mulAdd", 3, func(k Kernels, r [][]float32, a, _ float32) float64 { k.mulAdd(r[0], r[1], r[2], a); return 0 },
			func(r [][]float64, a, _ float64) float64 {
				return each(r, func(v []float64) { v[0] += a * v[1] * v[2] })
			}, 4e-7},
		{"rotate", 4, func(k Kernels, r [][]float32, _, _ float32) float64 {
			k.rotate(r[0], r[1], r[2], r[3])
			return 0
		}, func(r [][]float64, _, _ float64) float64 {
			return each(r, func(v []float64) { v[0], v[1] = v[0]*v[2]-v[1]*v[3], v[1]*v[2]+v[0]*v[3] })
		}, 4e-7},
		{"softmaxBack", 2, func(k Kernels, r [][]float32, a, b float32) float64 {
			k.softmaxBack(r[0], r[1], a, b)
			return 0
		}, func(r [][]float64, a, b float64) float64 {
			return each(r, func(v []float64) { v[0] = b * v[1] * (v[0] - a) })
		}, 4e-7},
		{"sumSquares", 1, func(k Kernels, r [][]float32, _, _ float32) float64 { return k.sumSquares(r[0]) },
			func(r [][]float64, _, _ float64) (sum float64) {
				for _, v := range r[0] {
					sum += v * v
				}
				return sum
			}, 1e-13},
	}
}

func curvedKernels() []rowKernel {
	rule := AdamW{LearningRate: 1e-2, Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-8, WeightDecay: 0.1, GradScale: 0.5}
	return []rowKernel{
		{"expSum", 2, func(k Kernels, r [][]float32, a, b float32) float64 {
			return float64(k.expSum(r[0], r[1], abs32(a), b))
		}, func(r [][]float64, a, b float64) (sum float64) {
			each(r, func(v []float64) { v[0] = math.Exp(math.Abs(a)*v[1] + b); sum += v[0] })
			return sum
		}, 3e-6},
		{"swiglu", 3, func(k Kernels, r [][]float32, _, _ float32) float64 { k.swiglu(r[0], r[1], r[2]); return 0 },
			func(r [][]float64, _, _ float64) float64 {
				return each(r, func(v []float64) { v[0] = v[1] * sigmoid(v[1]) * v[2] })
			}, 6e-7},
		{"swigluBack", 3, func(k Kernels, r [][]float32, _, _ float32) float64 { k.swigluBack(r[0], r[1], r[2]); return 0 },
			func(r [][]float64, _, _ float64) float64 {
				return each(r, func(v []float64) {
					d, g, u, s := v[0], v[1], v[2], sigmoid(v[1])
					v[1], v[2] = d*u*s*(1+g*(1-s)), d*g*s
				})
			}, 1e-6},
		{"adamw", 4, func(k Kernels, r [][]float32, _, _ float32) float64 {
			for i, v := range r[3] {
				r[3][i] = abs32(v)
			}
			c := rule.factors(3)
			k.adamw(r[0], r[1], r[2], r[3], &c)
			return 0
		}, func(r [][]float64, _, _ float64) float64 {
			return each(r, func(v []float64) {
				g := rule.GradScale * v[1]
				v[2] = rule.Beta1*v[2] + (1-rule.Beta1)*g
				v[3] = rule.Beta2*math.Abs(v[3]) + (1-rule.Beta2)*g*g
				root := math.Sqrt(v[3])/math.Sqrt(1-math.Pow(rule.Beta2, 3)) + rule.Epsilon
				v[0] -= rule.LearningRate * (rule.WeightDecay*v[0] + v[2]/(1-math.Pow(rule.Beta1, 3))/root)
			})
		}, 1e-6},
	}
}

func abs32(v float32) float32 { return float32(math.Abs(float64(v))) }

// each applies do to the values of all rows at each place.
func each(rows [][]float64, do func(v []float64)) float64 {
	v := make([]float64, len(rows))
	for i := range rows[0] {
		for r := range rows {
			v[r] = rows[r][i]
		}
		do(v)
		for r := range rows {
			rows[r][i] = v[r]
		}
	}
	return 0
}

// check runs one kernel on values and compares it with its definition.
func (rk rowKernel) check(t *testing.T, k Kernels, values [][]float32, a, b float32) {
	t.Helper()
	what := fmt.Sprintf("%s %s of %d values, a=%v, b=%v", k.name, rk.name, len(values[0]), a, b)
	o := newOperands(values)
	wide, size := make([][]float64, len(values)), 1e-30
	for i, row := range values {
		wide[i] = make([]float64, len(row))
		for j, v := range row {
			wide[i][j] = float64(v)
			size = max(size, math.Abs(float64(v)))
		}
	}
	gotValue, wantValue := rk.run(k, o.rows, a, b), rk.define(wide, float64(a), float64(b))
	o.checkGuards(t, what)
	// The error is relative to the largest product of the operands and factors.
	size = max(1, size) * max(1, size) * max(1, size) * float64(max(1, abs32(a))*max(1, abs32(b)))
	if !close64(gotValue, wantValue, rk.bound*max(size*float64(len(values[0])), math.Abs(wantValue))) {
		t.Fatalf("%s: %v, want %v", what, gotValue, wantValue)
	}
	for i, row := range o.rows {
		for j, v := range row {
			if !close64(float64(v), wide[i][j], rk.bound*max(size, math.Abs(wide[i][j]))) {
				t.Fatalf("%s: operand %d at %d is %v, want %v", what, i, j, v, wide[i][j])
			}
		}
	}
}

func close64(got, want, bound float64) bool {
	return got == want || math.Abs(got-want) <= bound || math.IsNaN(got) && math.IsNaN(want)
}

func randomRows(rng *rand.Rand, rows, n int, scale float64) [][]float32 {
	out := make([][]float32, rows)
	for r := range out {
		out[r] = make([]float32, n)
		for i := range out[r] {
			out[r][i] = float32(rng.NormFloat64() * scale)
		}
	}
	return out
}

// TestRowKernels compares each kernel of each set with its definition, for every length that
// takes other paths through it.
func TestRowKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range sets(t) {
		for _, rk := range rowKernels() {
			for n := range 100 {
				a, b := float32(rng.NormFloat64()), float32(rng.NormFloat64())
				rk.check(t, k, randomRows(rng, rk.operands, n, 1), a, b)
			}
			rk.check(t, k, randomRows(rng, rk.operands, 1000, 3), 0.5, -0.25)
		}
	}
}

// FuzzRowKernels does the same for arbitrary values of moderate size.
func FuzzRowKernels(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, int16(100), int16(-300))
	f.Add(make([]byte, 150), int16(0), int16(32767))
	f.Fuzz(func(t *testing.T, data []byte, a, b int16) {
		for _, rk := range rowKernels() {
			n := min(len(data)/2/rk.operands, 300)
			rows := make([][]float32, rk.operands)
			for r := range rows {
				rows[r] = make([]float32, n)
				for i := range rows[r] {
					rows[r][i] = float32(int16(binary.LittleEndian.Uint16(data[2*(r*n+i):]))) / 4096
				}
			}
			for _, k := range sets(t) {
				rk.check(t, k, rows, float32(a)/8192, float32(b)/8192)
			}
		}
	})
}

// TestExp checks the exponential over its whole range and at its edges.
func TestExp(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for _, k := range sets(t) {
		exp := func(x float32) float32 {
			out := make([]float32, 8)
			k.expSum(out, []float32{x, x, x, x, x, x, x, x}, 1, 0)
			return out[5]
		}
		for x := float32(-87.3299); x < 88.3759; x += 0.00173 {
			got, want := float64(exp(x)), math.Exp(float64(x))
			if math.Abs(got-want) > 2e-7*want {
				t.Fatalf("%s: exp(%v) is %v, want %v", k.name, x, got, want)
			}
		}
		for _, c := range []struct{ x, want float32 }{
			{0, 1}, {-88, 0}, {-1e30, 0}, {-inf, 0}, {88.4, inf}, {1e30, inf}, {inf, inf},
		} {
			if got := exp(c.x); got != c.want {
				t.Errorf("%s: exp(%v) is %v, want %v", k.name, c.x, got, c.want)
			}
		}
		if got := exp(nan); got == got {
			t.Errorf("%s: exp(NaN) is %v", k.name, got)
		}
		if sum := k.expSum(make([]float32, 3), []float32{1, nan, 2}, 1, 0); sum == sum {
			t.Errorf("%s: the sum over a NaN is %v", k.name, sum)
		}
		if got := k.maxOf([]float32{nan, -3, nan, -5}); got != -3 {
			t.Errorf("%s: the maximum beside NaN is %v", k.name, got)
		}
	}
}

// TestVectorSetsAgree checks that both vector sets give the same bits.
func TestVectorSetsAgree(t *testing.T) {
	wide, err := Choose("avx512")
	if err != nil {
		t.Skip(err)
	}
	narrow, err := Choose("avx2")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		m, n, k := 1+rng.IntN(60), 1+rng.IntN(90), 1+rng.IntN(2*KBlock)
		ab := randomRows(rng, 2, max(m, n)*k, 1)
		got := gemmOf(newHost(wide, 1), m, n, k, matrix{ab[0], k, false}, matrix{ab[1], k, true})
		want := gemmOf(newHost(narrow, 1), m, n, k, matrix{ab[0], k, false}, matrix{ab[1], k, true})
		if !slices.Equal(got, want) {
			t.Fatalf("%dx%dx%d: the products differ", m, n, k)
		}
	}
}
