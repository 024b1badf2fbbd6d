package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
)

// trials are the operations, some together where one makes what another takes. The second device is the processor's, for
// what a derivative is taken at.
func trials() []func(b bench, s shape, host tensor.Device) {
	return []func(b bench, s shape, host tensor.Device){
		transfers, products, elements, norms, tables, columns, rotations, latentKeys, attention, routes, restrictedRoutes, slots,
		experts, losses, optimizer,
	}
}

// kernels compares every operation with the processor's, in F32 and with operands in BF16, and with itself.
func kernels(ctx context.Context, c *check) error {
	host, err := processor()
	if err != nil {
		return err
	}
	found := map[string]difference{}
	for _, p := range []tensor.Precision{tensor.Single, tensor.Half} {
		if err := c.tryAll(ctx, p, host, found); err != nil {
			return err
		}
	}
	for _, p := range []tensor.Precision{tensor.HalfAdam8, tensor.HalfHost} {
		if err := c.tryOptimizer(p, host, found); err != nil {
			return err
		}
	}
	for _, name := range sorted(found) {
		c.hold(name, found[name])
	}
	return nil
}

// processor is the device that the card is compared with.
func processor() (tensor.Device, error) {
	set, err := tensor.Choose("auto")
	return tensor.New(set, runtime.GOMAXPROCS(0)), err
}

// tryAll runs all operations in one precision, and keeps the greatest differences.
func (c *check) tryAll(ctx context.Context, p tensor.Precision, host tensor.Device, found map[string]difference) error {
	card, err := cuda.New(cuda.Options{Precision: p})
	if err != nil {
		return err
	}
	defer card.Close()
	other := 0
	for _, s := range c.shapes {
		for _, do := range trials() {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("at %+v: %w", s, err)
			}
			other += c.try(do, s, card, host, p, found)
			if err := card.Sync(); err != nil {
				return fmt.Errorf("at %+v: %w", s, err)
			}
		}
	}
	c.within(fmt.Sprintf("%s: results with other bits in a second run", p), float64(other), 0)
	return nil
}

// try runs operations once on the processor and twice on the card, and counts results whose bits are not the same twice.
func (c *check) try(do func(bench, shape, tensor.Device), s shape, card, host tensor.Device, p tensor.Precision,
	found map[string]difference) (other int) {
	run := func(d tensor.Device) []values {
		b := newBench(d, p.Type())
		do(b, s, host)
		return b.take()
	}
	want, got, again := run(host), run(card), run(card)
	for i, v := range want {
		keepWorst(found, fmt.Sprintf("%s, %s", v.operation, p), differ(got[i].data, v.data))
		same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
		if !slices.EqualFunc(got[i].data, again[i].data, same) {
			c.note("%s, %s: other bits in a second run at %+v", v.operation, p, s)
			other++
		}
	}
	return other
}

// tryOptimizer runs AdamW with moments that are kept in another way.
func (c *check) tryOptimizer(p tensor.Precision, host tensor.Device, found map[string]difference) error {
	card, err := cuda.New(cuda.Options{Precision: p})
	if err != nil {
		return err
	}
	defer card.Close()
	other := 0
	for _, s := range c.shapes {
		other += c.try(optimizer, s, card, host, p, found)
	}
	c.within(fmt.Sprintf("%s: results with other bits in a second run", p), float64(other), 0)
	return card.Sync()
}

func keepWorst(found map[string]difference, name string, d difference) {
	w := found[name]
	found[name] = difference{max(w.greatest, d.greatest), max(w.apart, d.apart)}
}

func sorted(found map[string]difference) []string {
	var names []string
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// hold holds an operation's differences against the bounds of its precision.
func (c *check) hold(name string, d difference) {
	greatest, apart := c.bounds.half, c.bounds.apart
	switch {
	case isOf(name, tensor.Single):
		greatest, apart = c.bounds.single, c.bounds.single
	case isOf(name, tensor.HalfAdam8):
		// Single values of 8 bits are far from exact ones; what counts is where the weights go.
		c.within(name+": as a vector", d.apart, c.bounds.eightBit)
		return
	}
	c.within(name+": greatest", d.greatest, greatest)
	c.within(name+": as a vector", d.apart, apart)
}

func isOf(name string, p tensor.Precision) bool {
	tail := ", " + string(p)
	return len(name) > len(tail) && name[len(name)-len(tail):] == tail
}
