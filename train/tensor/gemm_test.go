package tensor

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func gemmOf(d *host, m, n, k int, a, b matrix) []float32 {
	c := make([]float32, m*n)
	d.Gemm(m, n, k, a, b, c, n, false)
	return c
}

func (a matrix) at(i, j int) float64 {
	row, col := a.strides()
	return float64(a.Data[i*row+j*col])
}

// checkGemm compares one product with its definition, with C inside a larger matrix.
func checkGemm(t *testing.T, d *host, rng *rand.Rand, m, n, k int, ta, tb, add bool) {
	t.Helper()
	slack := rng.IntN(3)
	mat := func(rows, cols int, transposed bool) matrix {
		if transposed {
			rows, cols = cols, rows
		}
		return matrix{randomRows(rng, 1, rows*(cols+slack), 1)[0], cols + slack, transposed}
	}
	a, b, ldc := mat(m, k, ta), mat(k, n, tb), n+slack
	c := randomRows(rng, 1, m*ldc, 1)[0]
	before := slices.Clone(c)
	d.Gemm(m, n, k, a, b, c, ldc, add)
	for i := range m {
		for j := range ldc {
			got, old := float64(c[i*ldc+j]), float64(before[i*ldc+j])
			if j >= n {
				if got != old {
					t.Fatalf("%s %dx%dx%d: wrote outside C at (%d, %d)", d, m, n, k, i, j)
				}
				continue
			}
			want, size := 0.0, 0.0
			if add {
				want, size = old, math.Abs(old)
			}
			for p := range k {
				want += a.at(i, p) * b.at(p, j)
				size += math.Abs(a.at(i, p) * b.at(p, j))
			}
			if math.Abs(got-want) > 1e-7*size*math.Sqrt(float64(k+4)) {
				t.Fatalf("%s %dx%dx%d transposed %v %v add %v: (%d, %d) is %v, want %v", d, m, n, k, ta, tb, add, i, j, got, want)
			}
		}
	}
}

// TestGemmSmall takes every small shape in every layout, so every edge of every tile.
func TestGemmSmall(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, set := range sets(t) {
		d := newHost(set, 1)
		for m := range 2*set.mr + 2 {
			for n := range 2*set.nr + 2 {
				mode := rng.IntN(8)
				checkGemm(t, d, rng, m, n, rng.IntN(20), mode&1 != 0, mode&2 != 0, mode&4 != 0)
			}
		}
		for k := range 40 {
			for mode := range 8 {
				checkGemm(t, d, rng, set.mr+1, set.nr+5, k, mode&1 != 0, mode&2 != 0, mode&4 != 0)
			}
		}
	}
}

// TestGemmBlocks crosses the borders of the blocks.
func TestGemmBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, set := range sets(t) {
		for _, workers := range []int{1, 3} {
			for mode := range 8 {
				d := newHost(set, workers)
				checkGemm(t, d, rng, 5, nBlock+9, 17, mode&1 != 0, mode&2 != 0, mode&4 != 0)
				checkGemm(t, d, rng, mBlock+7, 11, 19, mode&1 != 0, mode&2 != 0, mode&4 != 0)
				checkGemm(t, d, rng, 9, 13, 2*KBlock+3, mode&1 != 0, mode&2 != 0, mode&4 != 0)
			}
		}
	}
}

// FuzzGemm takes arbitrary shapes and layouts.
func FuzzGemm(f *testing.F) {
	f.Add(uint8(3), uint8(70), uint16(390), uint8(5), uint64(1))
	f.Add(uint8(255), uint8(1), uint16(0), uint8(2), uint64(2))
	f.Fuzz(func(t *testing.T, m, n uint8, k uint16, mode uint8, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 9))
		for _, set := range sets(t) {
			d := newHost(set, int(mode>>3)%4)
			checkGemm(t, d, rng, int(m), int(n), int(k)%900, mode&1 != 0, mode&2 != 0, mode&4 != 0)
		}
	})
}

// TestSameBits checks that results do not depend on the number of workers, and that a row of a
// product does not depend on the rows beside it.
func TestSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for _, set := range sets(t) {
		m, n, k := 300, 70, 800
		ab := randomRows(rng, 2, m*k, 1)
		a, b := matrix{ab[0], k, false}, matrix{ab[1][:n*k], k, true}
		norm := randomRows(rng, 1, n, 1)[0]
		var want []float32
		var wantSum float64
		for _, workers := range []int{1, 2, 3, 8} {
			d := newHost(set, workers)
			got := gemmOf(d, m, n, k, a, b)
			y, dx, dw := make([]float32, m*n), make([]float32, m*n), make([]float32, n)
			inverse := make([]float32, m)
			d.RMSNorm(y, inverse, got, norm, 1e-6)
			d.RMSNormBack(dx, dw, y, got, norm, inverse)
			d.SwiGLUBack(slices.Clone(y), dx, got)
			got = slices.Concat(got, y, dx, dw, inverse)
			sum := d.SumSquares(ab[0])
			if workers == 1 {
				want, wantSum = got, sum
				for i := 0; i < m; i += 51 {
					row := gemmOf(d, 1, n, k, matrix{ab[0][i*k:], k, false}, b)
					if !slices.Equal(row, gemmOf(d, m, n, k, a, b)[i*n:(i+1)*n]) {
						t.Fatalf("%s: row %d depends on the others", d, i)
					}
				}
			}
			if !slices.Equal(got, want) || sum != wantSum {
				t.Errorf("%s: other bits than with one worker", d)
			}
		}
	}
}

// TestSharedProduct holds the list of tasks against the loop over the same blocks: several blocks both ways, from one
// range of rows to more than there are workers.
func TestSharedProduct(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for _, set := range sets(t) {
		for _, m := range []int{1, set.mr + 1, 5 * set.mr, 131} {
			n, k := nBlock+33, 2*KBlock+5
			a := matrix{randomRows(rng, 1, m*k, 1)[0], m, true}
			b := matrix{randomRows(rng, 1, n*k, 1)[0], n, false}
			before := randomRows(rng, 1, m*n, 1)[0]
			for _, add := range []bool{false, true} {
				want := slices.Clone(before)
				newHost(set, 1).Gemm(m, n, k, a, b, want, n, add)
				for _, workers := range []int{2, 3, 9} {
					got := slices.Clone(before)
					newHost(set, workers).Gemm(m, n, k, a, b, got, n, add)
					if !slices.Equal(got, want) {
						t.Errorf("%s, %d rows, %d workers: other bits than with one", set.name, m, workers)
					}
				}
			}
		}
	}
}

// TestPack takes every small panel and strip of rows that are contiguous and of columns that are.
func TestPack(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, set := range sets(t) {
		for _, width := range []int{set.mr, set.nr} {
			for m := 1; m <= width; m++ {
				for k := 1; k < 30; k++ {
					checkPack(t, set, randomRows(rng, 1, (m+k)*(m+k), 1)[0], m, k, width)
				}
				checkPack(t, set, randomRows(rng, 1, (m+packColumns+9)*(m+packColumns+9), 1)[0], m, packColumns+9, width)
			}
		}
	}
}

func checkPack(t *testing.T, set Kernels, src []float32, m, k, width int) {
	t.Helper()
	for _, by := range [][2]int{{k + 1, 1}, {1, m + 1}} {
		got := randomRows(rand.New(rand.NewPCG(1, 2)), 1, k*width+1, 1)[0]
		last := got[k*width]
		set.pack(got, src, by[0], by[1], m, k, width)
		for i, v := range got[:k*width] {
			p, r, want := i/width, i%width, float32(0)
			if r < m {
				want = src[r*by[0]+p*by[1]]
			}
			if v != want {
				t.Fatalf("%s: %d by %d of width %d, strides %v: (%d, %d) is %v, want %v", set.name, m, k, width, by, r, p, v, want)
			}
		}
		if got[k*width] != last {
			t.Fatalf("%s: %d by %d of width %d, strides %v: wrote behind the end", set.name, m, k, width, by)
		}
	}
}

// TestGemmAllocates checks that buffers are used again.
func TestGemmAllocates(t *testing.T) {
	d := newHost(sets(t)[0], 1)
	x := randomRows(rand.New(rand.NewPCG(1, 1)), 1, 64*64, 1)[0]
	c := make([]float32, 64*64)
	run := func() { d.Gemm(64, 64, 64, matrix{x, 64, false}, matrix{x, 64, true}, c, 64, true) }
	run()
	run()
	if bytes := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			run()
		}
	}).AllocedBytesPerOp(); bytes > 2048 {
		t.Errorf("a product of 64x64 allocates %d bytes", bytes)
	}
}

func BenchmarkGemm(b *testing.B) {
	for _, set := range sets(b) {
		for _, tb := range []bool{false, true} {
			name := set.name + "/NN"
			if tb {
				name = set.name + "/NT"
			}
			b.Run(name, func(b *testing.B) {
				const n = 768
				d := newHost(set, 1)
				x := randomRows(rand.New(rand.NewPCG(1, 1)), 2, n*n, 1)
				c := make([]float32, n*n)
				for b.Loop() {
					d.Gemm(n, n, n, matrix{x[0], n, false}, matrix{x[1], n, tb}, c, n, false)
				}
				b.ReportMetric(2*n*n*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
