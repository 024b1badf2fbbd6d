package tokenize

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// fastKernel tells whether this processor can run classifyAVX2.
var fastKernel = cpu.X86.HasAVX2

// classify fills blocks with what 64 bytes each of text are.
func classify(text string, out []block) {
	if !fastKernel {
		classifyPlain(text, out)
		return
	}
	if n := min(len(text)/64, len(out)); n > 0 {
		classifyAVX2(unsafe.StringData(text), &out[0], n)
	}
}

// classifyAVX2 does what classifyPlain does for n > 0 blocks, and leaves what is not a kernel's alone.
//
//go:noescape
func classifyAVX2(text *byte, out *block, n int)
