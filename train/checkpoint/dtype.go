package checkpoint

import (
	"fmt"
	"slices"
)

// DType is the type of a tensor's values. Its order is that of the reference
// implementation, by which tensors are laid out in a file, widest first.
type DType uint8

// The types that safetensors knows. F32, F16 and BF16 can be converted.
const (
	Bool DType = iota
	F4
	F6E2M3
	F6E3M2
	U8
	I8
	F8E5M2
	F8E4M3
	F8E8M0
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

var dtypeNames = [...]string{
	"BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0",
	"I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64",
}

var dtypeBits = [...]int{8, 4, 6, 6, 8, 8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 64, 64, 64, 64}

// String returns the name used in safetensors headers, such as "BF16".
func (d DType) String() string {
	if int(d) < len(dtypeNames) {
		return dtypeNames[d]
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Bits is the width of one value.
func (d DType) Bits() int { return dtypeBits[d] }

// ParseDType returns the type of a header name such as "F16".
func ParseDType(name string) (DType, error) {
	if i := slices.Index(dtypeNames[:], name); i >= 0 {
		return DType(i), nil
	}
	return 0, fmt.Errorf("unknown dtype %.40q", name)
}

// dimensionsMax is the greatest number of dimensions, that of PyTorch.
const dimensionsMax = 64

// byteSize returns the number of bytes of a tensor; ok is false if there are too many dimensions, one is
// negative, the size does not fit in 63 bits, or does not fill whole bytes.
func byteSize(d DType, shape []int) (size int64, ok bool) {
	const bitsMax = 1 << 62
	if len(shape) > dimensionsMax {
		return 0, false
	}
	bits := int64(d.Bits())
	for _, n := range shape {
		if n < 0 || (n > 0 && bits > bitsMax/int64(n)) {
			return 0, false
		}
		bits *= int64(n)
	}
	return bits / 8, bits%8 == 0
}

// elements is the number of values of a shape that byteSize accepted.
func elements(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}
