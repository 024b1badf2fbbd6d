package tensor

import "golang.org/x/sys/cpu"

// available lists the kernel sets of this processor, fastest first.
func available() []Kernels {
	sets := []Kernels{Plain()}
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return sets
	}
	avx2 := Kernels{
		name: "avx2", mr: 6, nr: 16, tile: tileAVX2, transpose4: transpose4AVX2,
		transposeA: transpose6AVX2, copyA: copy6AVX2, copyB: copy16AVX2,
		expSum: expSumAVX2, maxOf: maxAVX2, dot: dotAVX2, axpy: axpyAVX2, scale: scaleAVX2,
		mul: mulAVX2, mulAdd: mulAddAVX2, softmaxBack: softmaxBackAVX2, rotate: rotateAVX2,
		swiglu: swigluAVX2, swigluBack: swigluBackAVX2, adamw: adamwAVX2, sumSquares: sumSquaresAVX2,
	}
	sets = append([]Kernels{avx2}, sets...)
	if !cpu.X86.HasAVX512F {
		return sets
	}
	// The row operations are bound by memory: wider registers would not make them faster.
	avx512 := avx2
	avx512.name, avx512.mr, avx512.nr, avx512.tile = "avx512", 12, 32, tileAVX512
	avx512.transposeA = nil // transpose4 takes twelve rows just as well
	avx512.copyA, avx512.copyB = copy12AVX2, copy32AVX512
	return append([]Kernels{avx512}, sets...)
}

//go:noescape
func tileAVX512(k int, a, b, c *float32, ldc, add int)

//go:noescape
func tileAVX2(k int, a, b, c *float32, ldc, add int)

//go:noescape
func transpose4AVX2(dst, src *float32, ldd, lds, k int)

//go:noescape
func transpose6AVX2(dst, src *float32, lds, k int)

//go:noescape
func copy32AVX512(dst, src *float32, lds, k int)

//go:noescape
func copy16AVX2(dst, src *float32, lds, k int)

//go:noescape
func copy12AVX2(dst, src *float32, lds, k int)

//go:noescape
func copy6AVX2(dst, src *float32, lds, k int)

//go:noescape
func expSumAVX2(dst, x []float32, scale, offset float32) float32

//go:noescape
func maxAVX2(x []float32) float32

//go:noescape
func dotAVX2(x, y []float32) float32

//go:noescape
func axpyAVX2(dst, x []float32, a float32)

//go:noescape
func scaleAVX2(x []float32, a float32)

//go:noescape
func mulAVX2(dst, x, y []float32, a float32)

//go:noescape
func mulAddAVX2(dst, x, y []float32, a float32)

//go:noescape
func softmaxBackAVX2(grad, probs []float32, mean, scale float32)

//go:noescape
func rotateAVX2(a, b, cos, sin []float32)

//go:noescape
func swigluAVX2(dst, gate, up []float32)

//go:noescape
func swigluBackAVX2(grad, gate, up []float32)

//go:noescape
func adamwAVX2(w, g, m, v []float32, c *adamwFactors)

//go:noescape
func sumSquaresAVX2(x []float32) float64
