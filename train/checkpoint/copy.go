package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// copyChunk bounds the memory of equalRounded: values that are rounded at a time.
const copyChunk = 1 << 14

// IsCopy reports whether an update changes nothing: whether each of its values is the base's, rounded
// to the type that the update is stored in. Both bear the same names; a tensor that the base
// does not have, or in another shape, is no copy. The error is one of reading.
func IsCopy(update, base Source) (bool, error) {
	for _, name := range update.Names() {
		same, err := sameTensor(update, base, name)
		if err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// sameTensor reports whether a tensor of the update is a copy of the base's.
func sameTensor(update, base Source, name string) (bool, error) {
	a, ok1 := update.Info(name)
	b, ok2 := base.Info(name)
	if !ok1 || !ok2 || !slices.Equal(a.Shape, b.Shape) || !a.DType.Convertible() || !b.DType.Convertible() {
		return false, nil
	}
	x, err1 := update.Float32(name, nil)
	y, err2 := base.Float32(name, nil)
	if err := errors.Join(err1, err2); err != nil {
		return false, fmt.Errorf("compare %q with the base: %w", name, err)
	}
	return equalRounded(x, y, a.DType), nil
}

// equalRounded reports whether values are others, rounded to a type.
func equalRounded(update, base []float32, dtype DType) bool {
	for len(base) > 0 {
		n := min(copyChunk, len(base))
		stored, err := FromFloat32(dtype, base[:n])
		if err != nil {
			return false // a value of the base that the type cannot hold
		}
		rounded, err := ToFloat32(dtype, stored)
		if err != nil || !slices.EqualFunc(update[:n], rounded, equalBits) {
			return false
		}
		update, base = update[n:], base[n:]
	}
	return true
}

func equalBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
