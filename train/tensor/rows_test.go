package tensor

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCrossEntropy compares loss and derivative with their definitions, for rows on both sides of
// the block in which exponentials are added up.
func TestCrossEntropy(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, set := range sets(t) {
		d := newHost(set, 1)
		for _, n := range []int{1, 2, 37, lossBlock - 1, lossBlock, lossBlock + 1, 3*lossBlock + 5} {
			logits, target := randomRows(rng, 1, n, 4)[0], rng.IntN(n)
			sum := 0.0
			for _, v := range logits {
				sum += math.Exp(float64(v))
			}
			want := math.Log(sum) - float64(logits[target])
			if got := d.CrossEntropy(slices.Clone(logits), target, 0); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s, %d logits: loss %v, want %v", d, n, got, want)
			}
			grad := slices.Clone(logits)
			d.CrossEntropy(grad, target, 0.5)
			for i, g := range grad {
				p := 0.5 * math.Exp(float64(logits[i])) / sum
				if i == target {
					p -= 0.5
				}
				if math.Abs(float64(g)-p) > 1e-6 {
					t.Fatalf("%s, %d logits: derivative %d is %v, want %v", d, n, i, g, p)
				}
			}
		}
	}
}

// TestSoftmax checks that a softmax sums to 1 even where exponentials overflow, with its logarithm.
func TestSoftmax(t *testing.T) {
	for _, set := range sets(t) {
		d := newHost(set, 1)
		x := []float32{-2000, 1000, 998, 1000, float32(math.Inf(-1))}
		got := d.Softmax(x, 0.5)
		e := math.Exp(-1)
		if want := 500 + math.Log(2+e); math.Abs(float64(got)-want) > 1e-4 {
			t.Errorf("%s: logarithm of the sum is %v, want %v", d, got, want)
		}
		for i, want := range []float64{0, 1 / (2 + e), e / (2 + e), 1 / (2 + e), 0} {
			if math.Abs(float64(x[i])-want) > 1e-6 {
				t.Errorf("%s: softmax %d is %v, want %v", d, i, x[i], want)
			}
		}
	}
}

// TestAddRow checks a bias and its derivative against loops, and that workers change no bit.
func TestAddRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, set := range sets(t) {
		for _, rows := range []int{1, 3, normBlock, 2*normBlock + 5} {
			n := 1 + rng.IntN(40)
			y, row := randomRows(rng, 1, rows*n, 1)[0], randomRows(rng, 1, n, 1)[0]
			sums := make([]float64, n)
			for i, v := range y {
				sums[i%n] += float64(v)
			}
			var bits []float32
			for _, workers := range []int{1, 3} {
				d, added, sum := newHost(set, workers), slices.Clone(y), slices.Clone(row)
				d.AddRow(added, row)
				d.SumRows(sum, y)
				for i, v := range added {
					if v != y[i]+row[i%n] {
						t.Fatalf("%s: value %d is %v, want %v", d, i, v, y[i]+row[i%n])
					}
				}
				for i, v := range sum {
					if want := float64(row[i]) + sums[i]; math.Abs(float64(v)-want) > 1e-4 {
						t.Fatalf("%s: sum %d of %d rows is %v, want %v", d, i, rows, v, want)
					}
				}
				if bits != nil && !slices.Equal(bits, sum) {
					t.Errorf("%s: other bits with %d workers", set.name, workers)
				}
				bits = sum
			}
		}
	}
}

// TestSumSquares checks the sum over several blocks, and that it does not overflow.
func TestSumSquares(t *testing.T) {
	x := make([]float32, 2*elementBlock+77)
	for i := range x {
		x[i] = 1e25
	}
	for _, set := range sets(t) {
		want := float64(len(x)) * float64(x[0]) * float64(x[0])
		if got := newHost(set, 2).SumSquares(x); math.Abs(got-want) > 1e-10*want {
			t.Errorf("%s: %v, want %v", set.name, got, want)
		}
	}
}
