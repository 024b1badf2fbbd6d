package tensor

import "math/bits"

// The sizes in which a card's memory is given out, in bytes. The device that computes and the one that counts have them from
// here.

const (
	// BlockBytes is the granularity of blocks: that of addresses which CUDA's driver returns.
	BlockBytes = 256
	// PageBytes is the granularity of memory that the driver takes for more than half of so much: a block of 5.5 MiB by itself
	// takes 6 MiB of the card.
	PageBytes = 2 << 20
	// togetherBytes bounds the blocks that are asked for at once.
	togetherBytes = 64 << 20
)

// KeptBytes is the size of a block that is kept for long, such as a weight.
func KeptBytes(bytes int) int64 { return roundUp64(int64(max(bytes, 1)), BlockBytes) }

// LentBytes is the size of a block that is lent: the next of eight steps between powers of two, so that blocks of similar
// sizes are used for each other, in whole pages.
func LentBytes(bytes int) int64 {
	size := KeptBytes(bytes)
	step := int64(1) << max(0, bits.Len64(uint64(size-1))-4)
	if size > PageBytes/2 {
		step = max(step, PageBytes)
	}
	return roundUp64(size, step)
}

// BlocksTogether is how many blocks of a size one asks the driver for at once, so that little of their pages is left over: as
// few as lose a hundredth, or as lose least.
func BlocksTogether(size int64) int {
	if size <= PageBytes/2 {
		return 1 // the driver shares a page out among such blocks itself
	}
	best, least := 1, 1.0
	for n := 1; n == 1 || int64(n)*size <= togetherBytes; n++ {
		whole := int64(n) * size
		lost := float64(roundUp64(whole, PageBytes)-whole) / float64(whole)
		if lost < least {
			best, least = n, lost
		}
		if lost <= 0.01 {
			break
		}
	}
	return best
}

func roundUp64(n, by int64) int64 { return (n + by - 1) / by * by }
