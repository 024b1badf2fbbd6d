//go:build !amd64

package dedup

func vectorKernels() []Kernel { return nil }

// minimaVector is not reached: check admits only kernels of vectorKernels.
func minimaVector(_ Kernel, out []uint32, shingles []uint64, mul, add []uint32) {
	minimaPlain(out, shingles, mul, add)
}
