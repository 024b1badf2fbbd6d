//go:build !amd64

package store

// plainBlocks is [plainRun] for whole blocks, of which it looks at none.
func plainBlocks([]byte) (end int, high uint64) { return 0, 0 }

// validBlocks looks for what is wrong in UTF-8 in whole blocks, of which it looks at none.
func validBlocks([]byte) (n int, ok bool) { return 0, true }

// markBlocks marks nothing.
func markBlocks([]byte, []uint64) (wide, ok bool) { return false, false }
