package cuda

import (
	"slices"
	"testing"

	"bzdata/train/tensor"
)

// TestAsync does work only when it is waited for: through both staging buffers, several times, between products and kernels,
// values must come and go as they do where each call does its work at once.
func TestAsync(t *testing.T) {
	const rows, inner = 1100, 3000 // of bf16: rows*inner fill a staging buffer almost
	run := func() [][]float32 {
		d := newFake(t, tensor.BF16)
		x, y := d.Alloc(tensor.BF16, 3*rows*inner), d.Alloc(tensor.BF16, rows*inner)
		values := normal(1, 3*rows*inner)
		d.Upload(x, values)
		clear(values) // Upload has taken them
		d.Copy(y, x.Part(rows*inner, 2*rows*inner))
		d.Add(y, x.Part(0, rows*inner), 0.5)
		d.Upload(x.Part(0, rows*inner), make([]float32, rows*inner))
		c := d.Borrow(tensor.F32, 16*rows)
		d.Gemm(rows, 16, inner, tensor.Rows(y, inner), tensor.Rows(x.From(2*rows*inner), inner).T(), c, 16, false)
		d.Return(c)
		again := d.Borrow(tensor.F32, 16*rows) // the same memory, after the product
		d.Add(again, again, 1)
		out := [][]float32{get(t, d, y), get(t, d, x), get(t, d, again), narrow(d.SumSquares(again, c))}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	at := run()
	fakeSet(t, "async", 1, 0)
	for i, late := range run() {
		if !slices.EqualFunc(late, at[i], sameBits) {
			t.Errorf("result %d has other bits when work is done late", i)
		}
	}
}

// TestAsyncFault holds that a fault of queued work shows when it is waited for.
func TestAsyncFault(t *testing.T) {
	needsFake(t)
	fakeSet(t, "async", 1, 0)
	d := openProbes(t)
	d.launch("past", dims{grid: [3]uint32{1, 1, 1}, block: [3]uint32{32, 1, 1}, shared: 128}, d.Alloc(tensor.F32, 128))
	if err := d.Err(); err != nil {
		t.Errorf("a fault before anybody waits: %v", err)
	}
	if d.Sync() == nil {
		t.Error("no fault")
	}
}
