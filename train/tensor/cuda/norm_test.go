package cuda

import (
	"fmt"
	"testing"

	"bzdata/train/tensor"
)

// rowShapes are rows and widths: one and none, on both sides of what a block of threads takes at once, odd ones.
var rowShapes = [][2]int{{0, 8}, {1, 1}, {3, 7}, {5, 64}, {2, 130}, {129, 33}, {300, 12}, {2, 2051}}

func TestRMSNorm(t *testing.T) {
	for i, s := range rowShapes {
		rows, n := s[0], s[1]
		for _, bad := range []int{-1, rows * n / 2} {
			anyAlignment(t, fmt.Sprintf("RMSNorm of %d rows of %d, NaN at %d", rows, n, bad), func(r trial) [][]float32 {
				x, w := r.acts(withNaN(normal(uint64(i), rows*n), bad)), r.acts(normal(2, n))
				y, inverse := r.acts(make([]float32, rows*n)), r.wide(make([]float32, rows))
				r.RMSNorm(y, inverse, x, w, 1e-5)
				dy, dx, dw := r.acts(normal(3, rows*n)), r.acts(normal(4, rows*n)), r.wide(normal(5, n))
				r.RMSNormBack(dx, dw, dy, x, w, inverse)
				onlyX, onlyW := r.acts(normal(4, rows*n)), r.wide(normal(5, n))
				r.RMSNormBack(onlyX, tensor.Array{}, dy, x, w, inverse)
				r.RMSNormBack(tensor.Array{}, onlyW, dy, x, w, inverse)
				return [][]float32{r.read(y), r.read(inverse), r.read(dx), r.read(dw), r.read(onlyX), r.read(onlyW)}
			})
		}
	}
}

func TestRows(t *testing.T) {
	for i, s := range rowShapes {
		rows, n := s[0], s[1]
		anyAlignment(t, fmt.Sprintf("rows, %d of %d", rows, n), func(r trial) [][]float32 {
			y, row := r.acts(normal(uint64(i), rows*n)), r.acts(normal(2, n))
			sum := r.wide(normal(3, n))
			r.SumRows(sum, y)
			r.AddRow(y, row)
			return [][]float32{r.read(sum), r.read(y)}
		})
	}
}

func TestElements(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 127, 1030, 300001} {
		anyAlignment(t, fmt.Sprintf("elements, %d", n), func(r trial) [][]float32 {
			gate, up := r.acts(withNaN(normal(1, n), n-2)), r.acts(normal(2, n))
			act, grad := r.acts(make([]float32, n)), r.acts(normal(3, n))
			r.SwiGLU(act, gate, up)
			r.SwiGLUBack(grad, gate, up)
			r.Add(grad, act, -0.3)
			wide := r.wide(normal(4, n))
			r.Add(wide, grad, 2)
			return [][]float32{r.read(act), r.read(gate), r.read(up), r.read(grad), r.read(wide)}
		})
	}
}

// TestMixedTypes holds that operands of two types are a fault, and what the message says.
func TestMixedTypes(t *testing.T) {
	d := newFake(t, tensor.BF16)
	wide, half := d.Alloc(tensor.F32, 8), d.Alloc(tensor.BF16, 8)
	d.SwiGLU(half, half, wide)
	wantFault(t, d, "SwiGLU: operand 3 is f32 and the first one bf16")
}
