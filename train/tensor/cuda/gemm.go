package cuda

import (
	"fmt"
	"math/bits"
	"unsafe"

	"bzdata/train/tensor"
)

// workspaceBytes is what the library may use besides the matrices: NVIDIA's advice for cards of compute capability 9.
const workspaceBytes = 32 << 20

// plansMax bounds how many products are remembered.
const plansMax = 4096

// products are the products that were planned. The library's choice depends on the shape, types, strides and
// alignments only, so equal calls give equal bits.
type products struct {
	handle    uintptr
	workspace uint64
	plans     map[product]*plan
}

// Gemm sets C = A B, or C += A B if add, where A is m by k, B is k by n, and C is m by n with rows ldc apart, by
// libcublasLt with sums in f32. C must not overlap A or B. The library multiplies matrices of one type, and f32 only
// into f32. So where A and B differ, the one in f32 is rounded to bf16 first, and a product of two f32 matrices that goes to
// bf16 is formed in f32 and then rounded. Two f32 matrices are multiplied in full f32, not TF32.
func (d *Device) Gemm(m, n, k int, a, b tensor.Matrix, c tensor.Array, ldc int, add bool) {
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		d.clearRows(m, n, c, ldc, add)
		return
	}
	if err := fits(m, n, k, a, b, c, ldc); err != nil {
		d.fault(fmt.Errorf("Gemm: %w", err))
		return
	}
	if a.Type != b.Type {
		var done func()
		if a.Type == tensor.F32 {
			a, done = d.lowered(a, m, k)
		} else {
			b, done = d.lowered(b, k, n)
		}
		defer done()
	}
	if a.Type == tensor.F32 && c.Type == tensor.BF16 {
		d.gemmRounded(m, n, k, a, b, c, ldc, add)
		return
	}
	d.gemm(m, n, k, a, b, c, ldc, add)
}

// fits checks that matrices lie within their arrays.
func fits(m, n, k int, a, b tensor.Matrix, c tensor.Array, ldc int) error {
	if a.N < extent(a, m, k) || b.N < extent(b, k, n) || c.N < (m-1)*ldc+n || ldc < n {
		return fmt.Errorf("[%d,%d] by [%d,%d] does not fit arrays of %d, %d and %d values", m, k, k, n, a.N, b.N, c.N)
	}
	return nil
}

// extent is how many values a tensor.Matrix of rows and columns spans.
func extent(a tensor.Matrix, rows, cols int) int {
	if a.Transposed {
		rows, cols = cols, rows
	}
	return (rows-1)*a.Stride + cols
}

// lowered is a tensor.Matrix in bf16.
func (d *Device) lowered(a tensor.Matrix, rows, cols int) (tensor.Matrix, func()) {
	n := extent(a, rows, cols)
	low := d.Borrow(tensor.BF16, n)
	d.Copy(low, a.Part(0, n))
	return tensor.Matrix{Array: low, Stride: a.Stride, Transposed: a.Transposed}, func() { d.Return(low) }
}

// gemmRounded forms a product in f32 and rounds it to bf16.
func (d *Device) gemmRounded(m, n, k int, a, b tensor.Matrix, c tensor.Array, ldc int, add bool) {
	span := (m-1)*ldc + n
	wide := d.Borrow(tensor.F32, span)
	defer d.Return(wide)
	// Values between the rows come back as they were.
	if add || ldc > n {
		d.Copy(wide, c.Part(0, span))
	}
	d.gemm(m, n, k, a, b, wide, ldc, add)
	d.Copy(c.Part(0, span), wide)
}

func (d *Device) clearRows(m, n int, c tensor.Array, ldc int, add bool) {
	switch {
	case add:
	case ldc == n:
		d.Clear(c.Part(0, m*n))
	default:
		for i := range m {
			d.Clear(c.Part(i*ldc, i*ldc+n))
		}
	}
}

// gemm is Gemm of types that the library knows.
func (d *Device) gemm(m, n, k int, a, b tensor.Matrix, c tensor.Array, ldc int, add bool) {
	if !d.enter() {
		return
	}
	defer d.leave()
	if err := d.gemmNow(m, n, k, a, b, c, ldc, add); err != nil {
		d.fail(fmt.Errorf("product [%d,%d] by [%d,%d] of %s into %s: %w", m, k, k, n, a.Type, c.Type, err))
	}
}

// gemmNow reads the rows of C as columns, as the library does: then it is the transposed product of B and A.
func (d *Device) gemmNow(m, n, k int, a, b tensor.Matrix, c tensor.Array, ldc int, add bool) error {
	if err := d.products.open(d); err != nil {
		return err
	}
	p := product{
		m: n, n: m, k: k, typeAB: a.Type, typeC: c.Type, transposeA: b.Transposed, transposeB: a.Transposed,
		lda: b.Stride, ldb: a.Stride, ldc: ldc,
		alignA: alignment(b.Addr), alignB: alignment(a.Addr), alignC: alignment(c.Addr),
	}
	how, err := d.products.plan(d.blas, p)
	if err != nil {
		return err
	}
	beta := float32(0)
	if add {
		beta = 1
	}
	return d.blas.multiply(d.products.handle, how, 1, beta, b.Addr, a.Addr, c.Addr, d.products.workspace, d.stream)
}

// alignment is the greatest power of two that divides an address, up to that of a block.
func alignment(addr uint64) uint32 { return uint32(1) << min(8, bits.TrailingZeros64(addr)) }

// open makes the library's handle and workspace, once.
func (p *products) open(d *Device) error {
	if p.handle != 0 {
		return nil
	}
	workspace, err := d.arena.take(workspaceBytes)
	if err != nil {
		return err
	}
	p.workspace, p.plans = workspace, map[product]*plan{}
	return d.blas.check(d.blas.create, d.blas.create.call(uintptr(unsafe.Pointer(&p.handle))))
}

func (p *products) plan(b *blas, of product) (*plan, error) {
	if made := p.plans[of]; made != nil {
		return made, nil
	}
	if len(p.plans) >= plansMax {
		p.forget(b)
	}
	made, err := b.plan(p.handle, of)
	if err != nil {
		return nil, err
	}
	p.plans[of] = made
	return made, nil
}

// forget drops all plans.
func (p *products) forget(b *blas) {
	for key, made := range p.plans {
		b.discard(made)
		delete(p.plans, key)
	}
}

// close gives the handle back; the workspace is the arena's.
func (p *products) close(b *blas) error {
	if p.handle == 0 {
		return nil
	}
	p.forget(b)
	err := b.check(b.destroy, b.destroy.call(p.handle))
	*p = products{}
	return err
}
