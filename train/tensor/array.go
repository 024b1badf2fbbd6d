package tensor

import "unsafe"

// Type is how the values of an array are stored.
type Type uint8

const (
	// F32 is single precision.
	F32 Type = iota
	// BF16 is bfloat16: the upper half of single precision.
	BF16
)

// Bytes returns the size of one value.
func (t Type) Bytes() int {
	if t == BF16 {
		return 2
	}
	return 4
}

// String names the type.
func (t Type) String() string {
	if t == BF16 {
		return "bf16"
	}
	return "f32"
}

// Array is a run of values in a device's memory. The zero Array has none, and stands for an absent
// operand.
type Array struct {
	// Host are the values, if the device is the processor; Addr is 0 then.
	Host []float32
	// Addr is the address of the first value on any other device; Host is nil then.
	Addr uint64
	N    int
	Type Type
}

// Of makes an array of the processor of values, which it does not copy.
func Of(values []float32) Array { return Array{Host: values, N: len(values)} }

// None reports whether the array has no values.
func (a Array) None() bool { return a.N == 0 }

// Part is the array of the values [from, to), in the same memory.
func (a Array) Part(from, to int) Array {
	if from < 0 || to < from || to > a.N {
		panic("tensor: part outside of its array")
	}
	p := Array{N: to - from, Type: a.Type}
	if a.Addr != 0 {
		p.Addr = a.Addr + uint64(from*a.Type.Bytes())
	}
	if a.Host != nil {
		p.Host = a.Host[from:to]
	}
	return p
}

// From is the part from a value on.
func (a Array) From(at int) Array { return a.Part(at, a.N) }

// Run is a run of numbers of one kind in a device's memory; see [Array].
type Run[E int32 | float64] struct {
	Host []E
	Addr uint64
	N    int
}

// Ints are 32-bit integers, Doubles numbers of double precision.
type (
	Ints    = Run[int32]
	Doubles = Run[float64]
)

// None reports whether there are no numbers.
func (a Run[E]) None() bool { return a.N == 0 }

// Part is the run of the numbers [from, to), in the same memory.
func (a Run[E]) Part(from, to int) Run[E] {
	p := Run[E]{N: to - from}
	if a.Addr != 0 {
		var one E
		p.Addr = a.Addr + uint64(from)*uint64(unsafe.Sizeof(one))
	}
	if a.Host != nil {
		p.Host = a.Host[from:to]
	}
	return p
}

// Matrix is a view of a row-major matrix: element (i, j) is value i*Stride+j, or j*Stride+i if
// Transposed.
type Matrix struct {
	Array
	Stride     int
	Transposed bool
}

// Rows is the matrix of rows that lie close.
func Rows(a Array, width int) Matrix { return Matrix{Array: a, Stride: width} }

// T is the transposed matrix.
func (m Matrix) T() Matrix { m.Transposed = !m.Transposed; return m }

// Heads are rows of heads within larger rows: head h of row t begins at value t*Stride + h*Step.
type Heads struct {
	Array
	Stride, Step int
}

// PackedHeads are rows of nothing but heads.
func PackedHeads(a Array, heads, dim int) Heads {
	return Heads{Array: a, Stride: heads * dim, Step: dim}
}

// Weight is a tensor of a model on a device.
type Weight struct {
	// Data are the values that are computed with.
	Data Array
	// Low, on a device that keeps trainable weights as BF16, holds what of a master in single precision Data lacks,
	// 16 bits a value; see [Device.Master].
	Low Array
	// Grad is the gradient's accumulator in F32, or none while the tensor is frozen.
	Grad Array
}

// GLU are the inner rows of a SwiGLU block: act = silu(gate) * up, [rows, width] each.
type GLU struct{ Gate, Up, Act Array }

// Experts are the SwiGLU blocks of a mixture, by expert: down(silu(gate(x)) * up(x)). Gate and up are
// [width, hidden], down is [hidden, width]. An expert that is not there has no Data.
type Experts struct {
	Gate, Up, Down []*Weight
	Hidden, Width  int
}

// Routing is how rows go to experts. A slot is a pair of row and rank: slot row*K+rank. Slots are sorted by
// expert, within it by row; a place is a slot's index in that order. "Sorted" rows are one for each place.
type Routing struct {
	Rows, Experts, K int
	// Probs is [Rows, Experts] in F32: the router's logits, then their softmax over the admitted experts.
	Probs Array
	// Unmasked is the softmax over all experts, in the same shape, or none if it is not asked for.
	Unmasked Array
	Weights  Array // by slot, in F32: what an expert's output is multiplied by
	IDs      Ints  // by slot: the expert, most probable first
	Place    Ints  // by slot
	Slot     Ints  // by place
	Start    Ints  // the first place of each expert, and the end: Experts+1
}

// Slots returns the number of slots.
func (r *Routing) Slots() int { return r.Rows * r.K }

// RouteRule is how a router chooses.
type RouteRule struct {
	// Allowed holds 1 for each expert that is admitted and 0 for each other; none admits all.
	Allowed Ints
	// Groups and TopGroups restrict each row to the experts of the TopGroups groups, of Groups, that hold its most
	// probable ones (group_limited_greedy); 0 does not. It does not restrict where fewer than K admitted
	// experts would be left, which only Allowed can bring about.
	Groups, TopGroups int
	// Normalize makes the chosen experts' weights sum to 1, before Scale.
	Normalize bool
	Scale     float32
}

// LatentShape is that of keys in multi-head latent attention: Heads of Nope and then Rope values, and rows of Heads
// of Nope values of keys and V of values.
type LatentShape struct{ Rows, Heads, Nope, Rope, V int }

// QK is the width of a key's head.
func (l LatentShape) QK() int { return l.Nope + l.Rope }

// KV is the width of a head of keys and values as they are projected.
func (l LatentShape) KV() int { return l.Nope + l.V }

// AttendShape is that of causal softmax attention. Query and key heads are QKDim wide, value heads VDim;
// Heads/KVHeads query heads share a key and value head (Ainslie et al. 2023). Scores are multiplied by Scale.
type AttendShape struct {
	Sequences, Length int
	Heads, KVHeads    int
	QKDim, VDim       int
	Scale             float32
}

// Attended is what attention reads and leaves: projected, normed and rotated rows, and its output.
type Attended struct {
	Q, K, V, Out Heads
	// LogSum is the logarithm of each softmax's denominator, [Sequences, Heads, Length] in F32. The
	// probabilities are not kept.
	LogSum Array
}

// AttendGrads are the derivatives of what [Attended] has.
type AttendGrads struct{ Q, K, V, Out Heads }

// Moments is AdamW's state of one tensor, on a device, in the form that its precision asks for.
type Moments struct{ First, Second Array }
