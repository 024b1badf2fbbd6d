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
	g := gemm{dev: d, a: a, b: b, c: c, ldc: ldc, m: m, n: n, k: k, add: add}
	if d.workers == 1 {
		g.serial()
	} else {
		g.parallel()
	}
}

// gemm is one product: the blocks of B in the order in which they are added, and for each block ranges of C's rows.
type gemm struct {
	dev     *host
	a, b    matrix
	c       []float32
	ldc     int
	m, n, k int
	add     bool
}

// gemmBlock is the product's part for columns [j, j+n) of C and [p, p+k) of the sum.
type gemmBlock struct {
	j, n   int
	p, k   int
	strips []float32 // B's block as strips of nr columns
}

// eachBlock visits the blocks, those of one column after each other.
func (g *gemm) eachBlock(visit func(x gemmBlock)) {
	for j := 0; j < g.n; j += nBlock {
		for p := 0; p < g.k; p += KBlock {
			visit(gemmBlock{j: j, n: min(nBlock, g.n-j), p: p, k: min(KBlock, g.k-p)})
		}
	}
}

// stripsRoom is the size of a block's strips.
func (g *gemm) stripsRoom() int {
	nr := g.dev.kernels.nr
	return min(g.k, KBlock) * min(roundUp(g.n, nr), nBlock+nr)
}

// serial computes the product on the calling goroutine.
func (g *gemm) serial() {
	strips := g.dev.Borrow(g.stripsRoom())
	defer g.dev.Return(strips)
	g.eachBlock(func(x gemmBlock) {
		x.strips = strips
		g.pack(&x, 0, x.n)
		for from := 0; from < g.m; from += mBlock {
			g.rows(&x, from, min(g.m, from+mBlock))
		}
	})
}

// pack fills the strips of the block's columns [from, to).
func (g *gemm) pack(x *gemmBlock, from, to int) {
	nr := g.dev.kernels.nr
	row, col := g.b.strides()
	for s := from; s < to; s += nr {
		src := g.b.Data[(x.j+s)*col+x.p*row:]
		g.dev.kernels.pack(x.strips[s*x.k:], src, col, row, min(nr, x.n-s), x.k, nr)
	}
}

// rows computes rows [from, to) of the block.
func (g *gemm) rows(x *gemmBlock, from, to int) {
	mr, nr, tile := g.dev.kernels.mr, g.dev.kernels.nr, g.dev.kernels.tile
	panels, edge := g.dev.Borrow(roundUp(to-from, mr)*x.k), g.dev.Borrow(mr*nr)
	defer g.dev.Return(panels)
	defer g.dev.Return(edge)
	row, col := g.a.strides()
	for i := from; i < to; i += mr {
		src := g.a.Data[i*row+x.p*col:]
		g.dev.kernels.pack(panels[(i-from)*x.k:], src, row, col, min(mr, to-i), x.k, mr)
	}
	sum, add := g.add || x.p > 0, 0
	if sum {
		add = 1
	}
	for s := 0; s < x.n; s += nr {
		for i := from; i < to; i += mr {
			a, b := &panels[(i-from)*x.k], &x.strips[s*x.k]
			c := g.c[i*g.ldc+x.j+s:]
			if to-i >= mr && x.n-s >= nr {
				tile(x.k, a, b, &c[0], g.ldc, add)
				continue
			}
			tile(x.k, a, b, &edge[0], nr, 0)
			addEdge(c, g.ldc, edge, nr, min(mr, to-i), min(nr, x.n-s), sum)
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
	if kr.transposeA != nil && m == width && width == kr.mr && k >= 8 {
		done := k &^ 7
		kr.transposeA(&dst[:k*width][0], &src[:(m-1)*row+k][0], row, done)
		scatterRows(dst, src, row, m, done, k, width)
		return
	}
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
