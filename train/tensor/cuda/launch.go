package cuda

import (
	"fmt"
	"math"

	"bzdata/train/tensor"
)

// dims is the shape of a launch: blocks of the grid, threads of a block, and bytes of dynamic shared memory.
type dims struct {
	grid, block [3]uint32
	shared      uint32
}

// line is a grid of one dimension.
func line(blocks, threads int) dims {
	return dims{grid: [3]uint32{uint32(blocks), 1, 1}, block: [3]uint32{uint32(threads), 1, 1}}
}

// plane is a grid of two dimensions.
func plane(x, y, threads int) dims {
	return dims{grid: [3]uint32{uint32(x), uint32(y), 1}, block: [3]uint32{uint32(threads), 1, 1}}
}

// paramsMax bounds the parameters of a kernel.
const paramsMax = 64

// slot writes an argument's bits and returns its kind.
func slot(bits *uint64, arg any) (kind, error) {
	switch v := arg.(type) {
	case tensor.Array:
		*bits = v.Addr
	case tensor.Ints:
		*bits = v.Addr
	case tensor.Doubles:
		*bits = v.Addr
	case uint64:
		*bits = v
	case int32:
		*bits = uint64(uint32(v))
		return int32Kind, nil
	case uint32:
		*bits = uint64(v)
		return uint32Kind, nil
	case int64:
		*bits = uint64(v)
		return int64Kind, nil
	case float32:
		*bits = uint64(math.Float32bits(v))
		return float32Kind, nil
	case float64:
		*bits = math.Float64bits(v)
		return float64Kind, nil
	default:
		return 0, fmt.Errorf("a %T cannot be an argument", arg)
	}
	return pointer, nil
}

// fill writes the arguments of a kernel, which must be of its parameters' kinds, to slots.
func (k kernel) fill(slots *[paramsMax]uint64, args []any) error {
	if len(args) != len(k.params) {
		return fmt.Errorf("it has %d parameters, not %d", len(k.params), len(args))
	}
	if len(args) > paramsMax {
		return fmt.Errorf("more than %d parameters", paramsMax)
	}
	for i, arg := range args {
		got, err := slot(&slots[i], arg)
		if err != nil {
			return fmt.Errorf("parameter %d: %w", i+1, err)
		}
		address := k.params[i] == uint64Kind && got == pointer
		if got != k.params[i] && !address {
			return fmt.Errorf("parameter %d is %s, not %T", i+1, k.params[i], arg)
		}
	}
	return nil
}

// launch queues a kernel. A grid that is empty in some dimension does nothing; dimensions of a block that are 0
// count as 1. Arguments are a [tensor.Array], [tensor.Ints] or [tensor.Doubles] (their address; that of none is 0),
// uint64 (an address), int32, uint32, int64, float32 or float64.
func (d *Device) launch(name string, on dims, args ...any) {
	if on.grid[0] == 0 || on.grid[1] == 0 || on.grid[2] == 0 {
		return
	}
	if !d.enter() {
		return
	}
	defer d.leave()
	if err := d.launchNow(name, on, args); err != nil {
		d.fail(fmt.Errorf("kernel %s: %w", name, err))
	}
}

func (d *Device) launchNow(name string, on dims, args []any) error {
	k, ok := d.modules.catalog.kernels[name]
	if !ok {
		return fmt.Errorf("no kernel file has one of this name")
	}
	if err := k.fill(&d.slots, args); err != nil {
		return err
	}
	fn, err := d.modules.function(name, k)
	if err != nil {
		return err
	}
	if on.shared > fn.sharedMax {
		if err := d.modules.allowShared(fn, on.shared); err != nil {
			return err
		}
	}
	for i := range on.block {
		on.block[i] = max(1, on.block[i])
	}
	return d.driver.launch(fn.addr, on, d.stream, &d.pointers)
}

// scratch lends memory of unspecified content from the arena until done is called. Work queued before may still
// use it afterwards, since later work comes after it.
func (d *Device) scratch(bytes int) (addr uint64, done func()) {
	block := d.borrow(class(bytes))
	return block, func() { d.giveBack(block) }
}
