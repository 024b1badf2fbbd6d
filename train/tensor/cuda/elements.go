package cuda

import (
	"fmt"

	"bzdata/train/tensor"
)

// typed makes arrays of several types a fault; absent ones have none.
func (d *Device) typed(operation string, arrays ...tensor.Array) bool {
	for i, a := range arrays {
		if a.Type != arrays[0].Type && !a.None() {
			d.fault(fmt.Errorf("%s: operand %d is %s and the first one %s", operation, i+1, a.Type, arrays[0].Type))
			return false
		}
	}
	return true
}

// named is a kernel's name for a type of values.
func named(kernel string, t tensor.Type) string { return kernel + "_" + t.String() }

// each is the shape of a launch in which a thread takes some neighbouring values at a time.
func each(n, perThread int) dims {
	const threads, blocksMax = 256, 1 << 16
	return line(min(blocksMax, ceil(n, threads*perThread)), threads)
}

func ceil(n, by int) int { return (n + by - 1) / by }

// SwiGLU sets dst = gate * sigmoid(gate) * up.
func (d *Device) SwiGLU(dst, gate, up tensor.Array) {
	if d.typed("SwiGLU", dst, gate, up) {
		d.launch(named("swiglu", dst.Type), each(dst.N, 4), dst, gate, up, int64(dst.N))
	}
}

// SwiGLUBack replaces gate and up by the derivatives with respect to them, for the derivative grad of the result.
func (d *Device) SwiGLUBack(grad, gate, up tensor.Array) {
	if d.typed("SwiGLUBack", grad, gate, up) {
		d.launch(named("swiglu_back", grad.Type), each(grad.N, 4), grad, gate, up, int64(grad.N))
	}
}

// Add sets dst += a*x.
func (d *Device) Add(dst, x tensor.Array, a float32) {
	name := named("add", x.Type)
	if x.Type != dst.Type {
		name += "_to_" + dst.Type.String()
	}
	d.launch(name, each(dst.N, 4), dst, x, a, int64(dst.N))
}
