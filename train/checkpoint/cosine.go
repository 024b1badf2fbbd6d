package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// DeltaCosine returns the cosine between what two updates change of a base: of the vectors of all values
// minus the base's. A value that an update does not have is the base's. The base's values are first
// rounded to the type in which the update stores its own, since otherwise that rounding, which is the
// same for both, would make updates of small steps look alike; a small part of that remains where steps
// are below the type's spacing. It is 0 if either changes nothing. All
// bear the base's names; a tensor that the base does not have, or in another shape, is an error.
func DeltaCosine(a, b, base Source) (float64, error) {
	names := append(a.Names(), b.Names()...)
	slices.Sort(names)
	var dot, aa, bb float64
	for _, name := range slices.Compact(names) {
		x, err1 := delta(a, base, name)
		y, err2 := delta(b, base, name)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		for i := range max(len(x), len(y)) {
			var u, v float64
			if x != nil {
				u = x[i]
			}
			if y != nil {
				v = y[i]
			}
			dot, aa, bb = dot+u*v, aa+u*u, bb+v*v
		}
	}
	if aa == 0 || bb == 0 {
		return 0, nil
	}
	return dot / math.Sqrt(aa) / math.Sqrt(bb), nil
}

// delta is what an update changes of a tensor; nil if it does not have it.
func delta(update, base Source, name string) ([]float64, error) {
	info, ok := update.Info(name)
	if !ok {
		return nil, nil
	}
	under, ok := base.Info(name)
	if !ok || !slices.Equal(under.Shape, info.Shape) {
		return nil, fmt.Errorf("tensor %q of shape %v: the base has it with shape %v", name, info.Shape, under.Shape)
	}
	x, err1 := update.Float32(name, nil)
	y, err2 := base.Float32(name, nil)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	out := make([]float64, len(x))
	for i := range x {
		out[i] = float64(x[i]) - float64(rounded(info.DType, y[i]))
	}
	return out, nil
}

// rounded is a value as a type stores it, or itself if the type cannot.
func rounded(dtype DType, v float32) float32 {
	stored := v
	switch dtype {
	case F16:
		stored = f16ToFloat32(f16FromFloat32(v))
	case BF16:
		stored = math.Float32frombits(uint32(bf16FromFloat32(v)) << 16)
	}
	if math.IsInf(float64(stored), 0) {
		return v
	}
	return stored
}
