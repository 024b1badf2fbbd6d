package tensor

// Blocking of matrix products. KBlock is part of the result's bits, the others only of
// the speed: a panel of the left operand is meant to stay in the second-level cache, a
// strip of the right operand in the first.
const (
	// KBlock is the length of one chain of multiply-adds.
	KBlock = 384
	mBlock = 240
	nBlock = 1024
)

// matrix is a view of a row-major matrix: element (i, j) is Data[i*Stride+j], or
// Data[j*Stride+i] if Transposed.
type matrix struct {
	Data       []float32
	Stride     int
	Transposed bool
}

// strides returns the distances between rows and between columns.
func (a matrix) strides() (row, col int) {
	if a.Transposed {
		return 1, a.Stride
	}
	return a.Stride, 1
}

// Gemm sets C = A B, or C += A B if add, where A is m by k, B is k by n, and C is
// m by n with rows ldc apart. C must not overlap A or B.
func (d *host) Gemm(m, n, k int, a, b matrix, c []float32, ldc int, add bool) {
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		for i := range m {
			if !add {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	nr := d.kernels.nr
	strips := d.Borrow(min(k, KBlock) * min(roundUp(n, nr), nBlock+nr))
	defer d.Return(strips)
	for j := 0; j < n; j += nBlock {
		for p := 0; p < k; p += KBlock {
			g := gemmBlock{
				dev: d, a: a, b: b, c: c, ldc: ldc, m: m, j: j, n: min(nBlock, n-j),
				p: p, k: min(KBlock, k-p), strips: strips, add: add || p > 0,
			}
			g.packB()
			g.multiply()
		}
	}
}

// gemmBlock is the product's part for columns [j, j+n) of C and [p, p+k) of the sum.
type gemmBlock struct {
	dev     *host
	a, b    matrix
	c       []float32
	ldc     int
	m, j, n int
	p, k    int
	strips  []float32 // B's block as strips of nr columns
	add     bool
}

func (g *gemmBlock) packB() {
	nr := g.dev.kernels.nr
	row, col := g.b.strides()
	g.dev.ForBlocks(g.n, 4*nr, func(first, last int) {
		for s := first; s < last; s += nr {
			from := g.b.Data[(g.j+s)*col+g.p*row:]
			g.dev.kernels.pack(g.strips[s*g.k:], from, col, row, min(nr, g.n-s), g.k, nr)
		}
	})
}

// multiply shares C's rows out in blocks, smaller if there would be too few of them
// for the workers; their height does not change any element's arithmetic.
func (g *gemmBlock) multiply() {
	mr, rows := g.dev.kernels.mr, mBlock
	for rows > 2*mr && (g.m+rows-1)/rows < 2*g.dev.workers && g.dev.workers > 1 {
		rows = roundUp(rows/2, mr)
	}
	rows = min(rows, roundUp(g.m, mr))
	g.dev.ForBlocks(g.m, rows, func(from, to int) {
		panels := g.dev.Borrow(rows * g.k)
		edge := g.dev.Borrow(mr * g.dev.kernels.nr)
		g.rows(from, to, panels, edge)
		g.dev.Return(edge)
		g.dev.Return(panels)
	})
}

// rows computes rows [from, to) of the block.
func (g *gemmBlock) rows(from, to int, panels, edge []float32) {
	mr, nr, tile := g.dev.kernels.mr, g.dev.kernels.nr, g.dev.kernels.tile
	row, col := g.a.strides()
	for i := from; i < to; i += mr {
		src := g.a.Data[i*row+g.p*col:]
		g.dev.kernels.pack(panels[(i-from)*g.k:], src, row, col, min(mr, to-i), g.k, mr)
	}
	add := 0
	if g.add {
		add = 1
	}
	for s := 0; s < g.n; s += nr {
		for i := from; i < to; i += mr {
			a, b := &panels[(i-from)*g.k], &g.strips[s*g.k]
			c := g.c[i*g.ldc+g.j+s:]
			if to-i >= mr && g.n-s >= nr {
				tile(g.k, a, b, &c[0], g.ldc, add)
				continue
			}
			tile(g.k, a, b, &edge[0], nr, 0)
			addEdge(c, g.ldc, edge, nr, min(mr, to-i), min(nr, g.n-s), g.add)
		}
	}
}

// addEdge moves the valid part of a tile that hangs over the edge of C.
func addEdge(c []float32, ldc int, edge []float32, nr, m, n int, add bool) {
	for i := range m {
		to, from := c[i*ldc:i*ldc+n], edge[i*nr:i*nr+n]
		if !add {
			copy(to, from)
			continue
		}
		for j, v := range from {
			to[j] += v
		}
	}
}

// pack writes dst[p*width+r] = src[r*row+p*col] for r < m and p < k, with zeros for m <= r < width.
func (kr *Kernels) pack(dst, src []float32, row, col, m, k, width int) {
	switch {
	case row == 1 && m == width && width == kr.nr && kr.copyB != nil && k > 0:
		kr.copyB(&dst[:k*width][0], &src[:(k-1)*col+width][0], col, k)
	case row == 1 && m == width && width == kr.mr && kr.copyA != nil && k > 0:
		kr.copyA(&dst[:k*width][0], &src[:(k-1)*col+width][0], col, k)
	case row == 1:
		for p := range k {
			to := dst[p*width : (p+1)*width]
			copy(to, src[p*col:p*col+m])
			clear(to[m:])
		}
	default:
		kr.packRows(dst, src, row, m, k, width)
	}
}

// packColumns is how many columns of the source are transposed for all rows before the next: so much
// of the packed rows stays in the first-level cache, into which each group of four rows writes.
const packColumns = 64

// packRows is pack for a source whose rows are contiguous: a transposition.
func (kr *Kernels) packRows(dst, src []float32, row, m, k, width int) {
	quads, done := 0, 0
	if kr.transpose4 != nil && k >= 8 {
		quads, done = m&^3, k&^7
	}
	for p := 0; p < done; p += packColumns {
		for r := 0; r < quads; r += 4 {
			kr.transpose4(&dst[p*width+r], &src[r*row+p], width, row, min(packColumns, done-p))
		}
	}
	for r := 0; r < quads && done < k; r += 4 {
		scatterRows(dst[r:], src[r*row:], row, 4, done, k, width)
	}
	scatterRows(dst[quads:], src[min(quads*row, len(src)):], row, m-quads, 0, k, width)
	for p := range k {
		clear(dst[p*width+m : (p+1)*width])
	}
}

// scatterRows transposes columns [from, k) of m rows.
func scatterRows(dst, src []float32, row, m, from, k, width int) {
	for r := range m {
		line := src[r*row : r*row+k]
		for p := from; p < k; p++ {
			dst[p*width+r] = line[p]
		}
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
