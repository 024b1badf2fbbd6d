package cuda

import "bzdata/train/tensor"

// matrix is tensor.Matrix as soon as that is made of a tensor.Array.
type matrix struct {
	tensor.Array
	Stride     int
	Transposed bool
}
