package words

import "golang.org/x/sys/cpu"

// bestClassify returns the fastest [classifier] that this processor can run.
func bestClassify() classifier {
	if cpu.X86.HasAVX2 {
		return classifyAVX2
	}
	return classifyPlain
}

// classifyAVX2 is a [classifier] for processors with AVX2.
func classifyAVX2(text []byte, out []uint64) int {
	blocks := min(len(text)/64, len(out))
	if blocks == 0 {
		return 0
	}
	return classifyBlocksAVX2(&text[0], &out[0], blocks)
}

// classifyBlocksAVX2 does what a classifier does for up to n > 0 blocks.
//
//go:noescape
func classifyBlocksAVX2(text *byte, out *uint64, n int) int
