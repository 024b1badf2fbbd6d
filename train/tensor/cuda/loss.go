package cuda

import (
	"fmt"

	"bzdata/train/tensor"
)

// CrossEntropy sets loss[i] = -log softmax(logits[i])[targets[i]] in nats, of rows of vocab logits in F32. If grad is not 0 it
// replaces logits by the derivative, times grad; otherwise they stay.
func (d *Device) CrossEntropy(logits tensor.Array, targets tensor.Ints, vocab int, grad float32, loss tensor.Doubles) {
	if logits.Type != tensor.F32 {
		d.fault(fmt.Errorf("CrossEntropy: logits are %s, not f32", logits.Type))
		return
	}
	threads := min(1024, 2*rowThreads(vocab))
	d.launch("cross_entropy", line(targets.N, threads), logits, targets, int32(vocab), grad, loss)
}

// SumSquares waits and returns the sum of squares of each array in F32, in double precision; none has 0.
func (d *Device) SumSquares(arrays ...tensor.Array) []float64 {
	const chunk, threads = 32768, 256 // chunk is CHUNK of loss.cu
	sums := make([]float64, len(arrays))
	blocks := 0
	for _, a := range arrays {
		blocks = max(blocks, ceil(a.N, chunk))
	}
	if blocks == 0 {
		return sums
	}
	parts, doneParts := d.scratch(8 * blocks)
	defer doneParts()
	out, doneOut := d.scratch(8 * len(arrays))
	defer doneOut()
	for i, a := range arrays {
		if a.Type != tensor.F32 {
			d.fault(fmt.Errorf("SumSquares: array %d is %s, not f32", i+1, a.Type))
		}
		n := ceil(a.N, chunk)
		d.launch("square_parts", line(n, threads), parts, a, int64(a.N))
		d.launch("sum_parts", line(1, threads), out+uint64(8*i), parts, int32(n))
	}
	d.DownloadDoubles(sums, tensor.Doubles{Addr: out, N: len(sums)})
	return sums
}
