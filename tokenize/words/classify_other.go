//go:build !amd64

package words

// bestKernel returns the fastest kernel that this processor can run.
func bestKernel() kernel { return kernelPlain }

func classify(_ kernel, text []byte, out []uint64) int { return classifyPlain(text, out) }

func classifySpace(_ kernel, text []byte, space, suspects []uint64) int {
	return classifySpacePlain(text, space, suspects)
}

func classifyRuns(_ kernel, text []byte, mask, special []uint64) int {
	return classifyRunsPlain(text, mask, special)
}
