package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
)

// OverflowError says that a finite value is too large for the type it was to be stored
// in. Infinities and NaN are stored as they are.
type OverflowError struct {
	Index int     // position in the slice
	Value float32 // what was to be stored
	DType DType   // where
}

// Error implements error.
func (e *OverflowError) Error() string {
	return fmt.Sprintf("value %g at index %d overflows %s", e.Value, e.Index, e.DType)
}

// FromFloat32 encodes values as F32, F16 or BF16, little-endian, rounding to the nearest
// value and halfway cases to even. A finite value that would round to infinity (from
// 65520 in F16, from 0x1.ffp127 in BF16) is an [*OverflowError]; values too small become
// subnormal or signed zero. NaN stays NaN, quiet.
func FromFloat32(dtype DType, values []float32) ([]byte, error) {
	switch dtype {
	case F32:
		out := make([]byte, 4*len(values))
		for i, v := range values {
			binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(v))
		}
		return out, nil
	case F16:
		return narrow(values, F16, f16FromFloat32, 0x7c00)
	case BF16:
		return narrow(values, BF16, bf16FromFloat32, 0x7f80)
	}
	return nil, fmt.Errorf("cannot encode float32 values as %s", dtype)
}

func narrow(values []float32, dtype DType, round func(float32) uint16, inf uint16) ([]byte, error) {
	out := make([]byte, 2*len(values))
	for i, v := range values {
		h := round(v)
		if h&0x7fff == inf && !math.IsInf(float64(v), 0) {
			return nil, &OverflowError{Index: i, Value: v, DType: dtype}
		}
		binary.LittleEndian.PutUint16(out[2*i:], h)
	}
	return out, nil
}

// f16FromFloat32 rounds to the nearest half, ties to even; too large becomes infinity.
func f16FromFloat32(v float32) uint16 {
	bits := math.Float32bits(v)
	sign := uint16(bits >> 16 & 0x8000)
	abs := bits & 0x7fffffff
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00 | uint16(abs>>13&0x1ff)
	case abs >= 0x477ff000: // 65520 and more round to infinity
		return sign | 0x7c00
	case abs >= 0x38800000: // normal halves, from 2^-14: drop 13 bits, rebias by 112
		return sign | uint16((abs+0xfff+(abs>>13&1)-(112<<23))>>13)
	}
	// Adding 0.5 puts the unit of a subnormal half, 2^-24, at the last place of the sum,
	// so that the addition itself rounds to nearest even.
	sum := math.Float32frombits(abs) + 0.5
	return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
}

// bf16FromFloat32 rounds to the nearest bfloat16, ties to even; too large becomes infinity.
func bf16FromFloat32(v float32) uint16 {
	bits := math.Float32bits(v)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + (bits >> 16 & 1)) >> 16)
}

// f16ToFloat32 is exact; a signalling NaN becomes quiet.
func f16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	rest := uint32(h & 0x7fff)
	if rest >= 0x7c00 {
		bits := sign | 0x7f800000 | rest&0x3ff<<13
		if rest > 0x7c00 {
			bits |= 0x400000
		}
		return math.Float32frombits(bits)
	}
	// Read as a float32 of exponent bias 127 the half is 2^112 too small; multiplying by
	// that power is exact for normal and subnormal halves alike.
	const rebias = 0x1p112
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(rest<<13)*rebias))
}

// decode converts src, of type dtype, into dst; len(src) is len(dst) times the width.
func decode(dtype DType, src []byte, dst []float32) {
	switch dtype {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = f16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	}
}

// ToFloat32 decodes F32, F16 or BF16 values; other types are an error.
func ToFloat32(dtype DType, data []byte) ([]float32, error) {
	if !dtype.Convertible() {
		return nil, fmt.Errorf("cannot read %s values as float32; F32, F16 and BF16 can be", dtype)
	}
	width := dtype.Bits() / 8
	if len(data)%width != 0 {
		return nil, fmt.Errorf("%d bytes are no whole number of %s values", len(data), dtype)
	}
	out := make([]float32, len(data)/width)
	decode(dtype, data, out)
	return out, nil
}

// Convertible reports whether values of the type can be read as float32: F32, F16 and BF16.
func (d DType) Convertible() bool { return d == F32 || d == F16 || d == BF16 }
