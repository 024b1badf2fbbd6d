package store

import (
	"bytes"

	"golang.org/x/sys/cpu"
)

// hasAVX2 says that this processor can run the kernels.
var hasAVX2 = cpu.X86.HasAVX2

// plainBlocks is [plainRun] for whole blocks of 32 bytes: it returns the index of the first
// hit, or the number of bytes in the blocks looked at, which is none without a kernel.
func plainBlocks(b []byte) (end int, high uint64) {
	if !hasAVX2 || len(b) < 32 {
		return 0, 0
	}
	return plainBlocksAVX2(&b[0], len(b)/32)
}

// markBlocks sets a bit of marks, one word for 64 bytes of b, for each byte that means
// something in a JSON string, and none behind the end. It reports whether a byte is not ASCII,
// and whether there is a kernel; without one it does nothing.
func markBlocks(b []byte, marks []uint64) (wide, ok bool) {
	if !hasAVX2 {
		return false, false
	}
	n := len(b) / 64
	if n > 0 {
		wide = markBlocksAVX2(&b[0], &marks[0], n)
	}
	if rest := b[64*n:]; len(rest) > 0 {
		padded := [64]byte(spaces)
		copy(padded[:], rest)
		wide = markBlocksAVX2(&padded[0], &marks[n], 1) || wide
	}
	return wide, true
}

// spaces are bytes that mean nothing in a string.
var spaces = bytes.Repeat([]byte{' '}, 64)

// validBlocks reports whether no block of 32 bytes from the start of b has a byte that is
// wrong in UTF-8 after those before it, and how many bytes were looked at. A character may
// lack bytes behind the last one.
func validBlocks(b []byte) (n int, ok bool) {
	if !hasAVX2 || len(b) < 32 {
		return 0, true
	}
	return len(b) &^ 31, validBlocksAVX2(&b[0], len(b)/32)
}

// plainBlocksAVX2 does what plainBlocks does for n > 0 blocks.
//
//go:noescape
func plainBlocksAVX2(b *byte, n int) (end int, high uint64)

// markBlocksAVX2 does what markBlocks does for n > 0 blocks of 64 bytes.
//
//go:noescape
func markBlocksAVX2(b *byte, marks *uint64, n int) bool

// validBlocksAVX2 does what validBlocks does for n > 0 blocks.
//
//go:noescape
func validBlocksAVX2(b *byte, n int) bool
