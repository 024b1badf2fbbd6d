package cuda

import (
	"fmt"
	"math"
	"testing"

	"bzdata/train/tensor"
)

func TestCrossEntropy(t *testing.T) {
	for _, s := range []struct{ rows, vocab int }{{0, 5}, {1, 1}, {3, 37}, {2, 5003}, {9, 300}} {
		for _, grad := range []float32{0, 0.25} {
			for _, bad := range []int{-1, s.vocab / 2} {
				name := fmt.Sprintf("%v, grad %g, NaN at %d", s, grad, bad)
				compare(t, name, tensor.F32, 1e-6, func(r trial) [][]float32 {
					values := withNaN(normal(1, s.rows*s.vocab), bad)
					for i := range values {
						values[i] *= 8
					}
					logits, losses := r.wide(values), make([]float64, s.rows)
					var loss tensor.Doubles
					r.GrowDoubles(&loss, s.rows)
					r.CrossEntropy(logits, r.numbers(ids(2, s.rows, s.vocab)), s.vocab, grad, loss)
					r.DownloadDoubles(losses, loss)
					if grad == 0 {
						return [][]float32{narrow(losses)}
					}
					return [][]float32{narrow(losses), r.read(logits)}
				})
			}
		}
	}
}

// TestCrossEntropyPrecision compares a row's loss with its definition in double precision.
func TestCrossEntropyPrecision(t *testing.T) {
	d := fakeOf(t, tensor.F32)
	r := newTrial(d, tensor.F32, 0)
	logits := normal(3, 100003)
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v))
	}
	var loss tensor.Doubles
	r.GrowDoubles(&loss, 1)
	r.CrossEntropy(r.wide(logits), r.numbers([]int32{17}), len(logits), 0, loss)
	got := make([]float64, 1)
	r.DownloadDoubles(got, loss)
	if want := math.Log(sum) - float64(logits[17]); math.Abs(got[0]-want) > 1e-6 {
		t.Errorf("%v, want %v", got[0], want)
	}
}

func TestSumSquares(t *testing.T) {
	big := make([]float32, 70001)
	for i := range big {
		big[i] = 1e25
	}
	compare(t, "sums", tensor.F32, 1e-7, func(r trial) [][]float32 {
		sums := r.SumSquares(r.wide(normal(1, 70001)), tensor.Array{}, r.wide(normal(2, 1)), r.wide(normal(3, 32768)))
		return [][]float32{narrow(sums), narrow(r.SumSquares())}
	})
	r := newTrial(fakeOf(t, tensor.F32), tensor.F32, 0)
	want := float64(len(big)) * float64(big[0]) * float64(big[0])
	if got := r.SumSquares(r.wide(big))[0]; math.Abs(got-want) > 1e-10*want {
		t.Errorf("%v, want %v", got, want)
	}
}
