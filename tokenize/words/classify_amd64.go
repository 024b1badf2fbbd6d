package words

import "golang.org/x/sys/cpu"

// bestKernel returns the fastest kernel that this processor can run.
func bestKernel() kernel {
	if cpu.X86.HasAVX2 {
		return kernelAVX2
	}
	return kernelPlain
}

func classify(k kernel, text []byte, out []uint64) int {
	if k == kernelPlain {
		return classifyPlain(text, out)
	}
	blocks := min(len(text)/64, len(out))
	if blocks == 0 {
		return 0
	}
	return classifyAVX2(&text[0], &out[0], blocks)
}

func classifySpace(k kernel, text []byte, space, suspects []uint64) int {
	if k == kernelPlain {
		return classifySpacePlain(text, space, suspects)
	}
	blocks := min(len(text)/64, len(space), len(suspects))
	if blocks > 0 {
		classifySpaceAVX2(&text[0], &space[0], &suspects[0], blocks)
	}
	return blocks
}

func classifyRuns(k kernel, text []byte, mask, special []uint64) int {
	if k == kernelPlain {
		return classifyRunsPlain(text, mask, special)
	}
	blocks := min(len(text)/64, len(mask), len(special))
	if blocks > 0 {
		classifyRunsAVX2(&text[0], &mask[0], &special[0], blocks)
	}
	return blocks
}

// classifyAVX2 does what classify does for up to n > 0 blocks.
//
//go:noescape
func classifyAVX2(text *byte, out *uint64, n int) int

// classifySpaceAVX2 does what classifySpace does for n > 0 blocks.
//
//go:noescape
func classifySpaceAVX2(text *byte, space, suspects *uint64, n int)

// classifyRunsAVX2 does what classifyRuns does for n > 0 blocks.
//
//go:noescape
func classifyRunsAVX2(text *byte, mask, special *uint64, n int)
