package cuda

import (
	"fmt"
	"unsafe"

	"bzdata/train/tensor"
)

// blas is libcublasLt.
type blas struct {
	path    string
	version string

	getVersion, create, destroy                      function
	descCreate, descSet, descDestroy                 function
	layoutCreate, layoutDestroy                      function
	preferenceCreate, preferenceSet, preferenceClose function
	heuristic, matmul                                function
}

// findBLAS loads libcublasLt, of a version that the driver can work with.
func findBLAS(folders []string, driver version) (*blas, error) {
	var b *blas
	s := searchFor(folders, "libcublasLt", driver, func(path string) (err error) {
		b, err = openBLAS(path)
		return err
	})
	if err := s.run(); err != nil {
		return nil, err
	}
	return b, nil
}

func openBLAS(path string) (*blas, error) {
	library, err := openLibrary(path)
	if err != nil {
		return nil, err
	}
	b := &blas{path: path}
	err = bind(library, path, map[string]*function{
		"cublasLtGetVersion": &b.getVersion, "cublasLtCreate": &b.create, "cublasLtDestroy": &b.destroy,
		"cublasLtMatmulDescCreate": &b.descCreate, "cublasLtMatmulDescSetAttribute": &b.descSet,
		"cublasLtMatmulDescDestroy": &b.descDestroy, "cublasLtMatrixLayoutCreate": &b.layoutCreate,
		"cublasLtMatrixLayoutDestroy": &b.layoutDestroy, "cublasLtMatmulPreferenceCreate": &b.preferenceCreate,
		"cublasLtMatmulPreferenceSetAttribute": &b.preferenceSet, "cublasLtMatmulPreferenceDestroy": &b.preferenceClose,
		"cublasLtMatmulAlgoGetHeuristic": &b.heuristic, "cublasLtMatmul": &b.matmul,
	})
	if err != nil {
		return nil, err
	}
	v := int(b.getVersion.call())
	b.version = fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
	return b, nil
}

var blasResults = map[int32]string{
	1: "not initialized", 3: "out of memory", 7: "invalid value", 8: "not for this card", 11: "memory access failed",
	13: "execution failed", 14: "internal error", 15: "not supported", 16: "licence error",
}

func (b *blas) check(f function, code int32) error {
	if code == 0 {
		return nil
	}
	text := blasResults[code]
	if text == "" {
		text = "unknown"
	}
	return fmt.Errorf("%s of %s: %s (%d)", f.name, b.path, text, code)
}

// Values of cublasLt.h and library_types.h.
const (
	blasR32F         = 0
	blasR16BF        = 14
	blasCompute32F   = 68
	blasTransposeA   = 3
	blasTransposeB   = 4
	blasTranspose    = 1
	preferWorkspace  = 1
	preferReduction  = 3
	preferAlignmentA = 5
	preferAlignmentB = 6
	preferAlignmentC = 7
	preferAlignmentD = 8
	// Sums that are split over blocks may be added in a step of their own only: the other ways add
	// in the order of completion, or round before they add.
	reduceInComputeType = 2
)

func blasType(t tensor.Type) uintptr {
	if t == tensor.BF16 {
		return blasR16BF
	}
	return blasR32F
}

// product describes C = op(A) op(B) in the library's terms: matrices by columns.
type product struct {
	m, n, k                int
	typeAB, typeC          tensor.Type
	transposeA, transposeB bool
	lda, ldb, ldc          int
	alignA, alignB, alignC uint32
}

// plan is how a product is computed.
type plan struct {
	desc, a, b, c uintptr
	result        heuristicResult
}

// heuristicResult is cublasLtMatmulHeuristicResult_t.
type heuristicResult struct {
	algo      [8]uint64
	workspace uint64
	state     int32
	waves     float32
	reserved  [4]int32
}

// plan asks the library for the best way that fits the workspace and adds in a fixed order.
func (b *blas) plan(handle uintptr, p product) (_ *plan, err error) {
	made := &plan{}
	defer func() {
		if err != nil {
			b.discard(made)
		}
	}()
	code := b.descCreate.call(uintptr(unsafe.Pointer(&made.desc)), blasCompute32F, blasR32F)
	if err := b.check(b.descCreate, code); err != nil {
		return nil, err
	}
	for attribute, on := range map[uintptr]bool{blasTransposeA: p.transposeA, blasTransposeB: p.transposeB} {
		if err := b.transpose(made.desc, attribute, on); err != nil {
			return nil, err
		}
	}
	rowsA, colsA, rowsB, colsB := p.m, p.k, p.k, p.n
	if p.transposeA {
		rowsA, colsA = p.k, p.m
	}
	if p.transposeB {
		rowsB, colsB = p.n, p.k
	}
	if err := b.layout(&made.a, p.typeAB, rowsA, colsA, p.lda); err != nil {
		return nil, err
	}
	if err := b.layout(&made.b, p.typeAB, rowsB, colsB, p.ldb); err != nil {
		return nil, err
	}
	if err := b.layout(&made.c, p.typeC, p.m, p.n, p.ldc); err != nil {
		return nil, err
	}
	return made, b.choose(handle, p, made)
}

func (b *blas) transpose(desc, attribute uintptr, on bool) error {
	if !on {
		return nil
	}
	value := int32(blasTranspose)
	return b.check(b.descSet, b.descSet.call(desc, attribute, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value)))
}

func (b *blas) layout(to *uintptr, t tensor.Type, rows, cols, ld int) error {
	code := b.layoutCreate.call(uintptr(unsafe.Pointer(to)), blasType(t), uintptr(rows), uintptr(cols), uintptr(ld))
	return b.check(b.layoutCreate, code)
}

// choose fills in the algorithm.
func (b *blas) choose(handle uintptr, p product, made *plan) error {
	var preference uintptr
	if err := b.check(b.preferenceCreate, b.preferenceCreate.call(uintptr(unsafe.Pointer(&preference)))); err != nil {
		return err
	}
	defer b.preferenceClose.call(preference)
	bytes := uint64(workspaceBytes)
	code := b.preferenceSet.call(preference, preferWorkspace, uintptr(unsafe.Pointer(&bytes)), unsafe.Sizeof(bytes))
	if err := b.check(b.preferenceSet, code); err != nil {
		return err
	}
	for _, set := range []struct {
		attribute uintptr
		value     uint32
	}{
		{preferReduction, reduceInComputeType}, {preferAlignmentA, p.alignA}, {preferAlignmentB, p.alignB},
		{preferAlignmentC, p.alignC}, {preferAlignmentD, p.alignC},
	} {
		value := set.value
		code := b.preferenceSet.call(preference, set.attribute, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value))
		if err := b.check(b.preferenceSet, code); err != nil {
			return err
		}
	}
	var found int32
	code = b.heuristic.call(handle, made.desc, made.a, made.b, made.c, made.c, preference, 1,
		uintptr(unsafe.Pointer(&made.result)), uintptr(unsafe.Pointer(&found)))
	if err := b.check(b.heuristic, code); err != nil {
		return err
	}
	if found == 0 {
		return fmt.Errorf("%s knows no way to compute it", b.path)
	}
	return b.check(b.heuristic, made.result.state)
}

// discard gives a plan's descriptions back.
func (b *blas) discard(p *plan) {
	if p.desc != 0 {
		b.descDestroy.call(p.desc)
	}
	for _, layout := range []uintptr{p.a, p.b, p.c} {
		if layout != 0 {
			b.layoutDestroy.call(layout)
		}
	}
}

// multiply queues a product: C = alpha A B + beta C.
func (b *blas) multiply(handle uintptr, p *plan, alpha, beta float32, a, bAddr, c, workspace uint64, stream uintptr) error {
	code := b.matmul.call(handle, p.desc, uintptr(unsafe.Pointer(&alpha)), uintptr(a), p.a, uintptr(bAddr), p.b,
		uintptr(unsafe.Pointer(&beta)), uintptr(c), p.c, uintptr(c), p.c, uintptr(unsafe.Pointer(&p.result.algo)),
		uintptr(workspace), uintptr(p.result.workspace), stream)
	return b.check(b.matmul, code)
}
