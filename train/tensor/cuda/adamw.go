package cuda

import (
	"fmt"
	"math"
	"slices"

	"bzdata/train/tensor"
)

// chunk is how many values of a master or of moments pass through single precision at a time, whole blocks of moments.
const chunk = 1 << 22

// AdamW makes one update of a weight from its gradient. step counts from 1.
func (d *Device) AdamW(rule tensor.AdamW, step int, w *tensor.Weight, m tensor.Moments) {
	n := w.Data.N
	if w.Grad.N != n || m.First.N != n || w.Data.Type == tensor.BF16 && w.Low.N != n {
		d.fault(fmt.Errorf("AdamW: %d values, %d of the gradient, %d of the master's lower half, %d moments", n, w.Grad.N,
			w.Low.N, m.First.N))
		return
	}
	name, args := "adamw_f32", []any{w.Data}
	if w.Data.Type == tensor.BF16 {
		name, args = "adamw_split", append(args, w.Low)
	}
	args = append(args, w.Grad, m.First, m.Second)
	on := each(n, 1)
	if d.eightBit() {
		name, args = name+"_8bit", append(args, d.codeTables())
		on = each(n, tensor.MomentBlock/32)
	}
	args = append(args, int64(n))
	for _, f := range rule.Factors(step) {
		args = append(args, f)
	}
	d.launch(name, on, args...)
}

func (d *Device) eightBit() bool { return d.precise == tensor.HalfAdam8 }

// momentBytes is the size of n moments in 8 bits: whole blocks of codes, then the scales.
func momentBytes(n int) int { return ceil(n, tensor.MomentBlock) * (tensor.MomentBlock + 4) }

// Moments returns AdamW's state of zeros for n values.
func (d *Device) Moments(n int) tensor.Moments {
	one := func() tensor.Array { return d.Alloc(tensor.F32, n) }
	switch d.precise {
	case tensor.HalfHost:
		one = func() tensor.Array { return d.hostAlloc(n) }
	case tensor.HalfAdam8:
		one = func() tensor.Array { return tensor.Array{Addr: d.Alloc(tensor.BF16, momentBytes(n)/2).Addr, N: n} }
	}
	return tensor.Moments{First: one(), Second: one()}
}

// FreeMoments gives moments back. Queued work may still use them.
func (d *Device) FreeMoments(moments ...tensor.Moments) {
	for _, m := range moments {
		if d.precise == tensor.HalfHost {
			d.hostFree(m.First, m.Second)
			continue
		}
		d.Free(m.First, m.Second)
	}
}

// ReadMoments copies the moments to the host.
func (d *Device) ReadMoments(m tensor.Moments) (first, second []float32) {
	return d.readMoments(m.First, 0), d.readMoments(m.Second, 1)
}

// SetMoments copies moments from the host. What was read in 8 bits is coded again as it was.
func (d *Device) SetMoments(m tensor.Moments, first, second []float32) {
	d.setMoments(m.First, 0, first)
	d.setMoments(m.Second, 1, second)
}

// readMoments reads the first (0) or second (1) moments.
func (d *Device) readMoments(a tensor.Array, which int) []float32 {
	out := make([]float32, a.N)
	switch d.precise {
	case tensor.HalfHost:
		copy(out, d.hostValues(a))
	case tensor.HalfAdam8:
		d.chunks(a.N, func(values tensor.Array, from, to int) {
			codes, scales, table := d.coded(a, which, from)
			d.launch("decode_moments", each(to-from, tensor.MomentBlock/32), values, codes, scales, table, int64(to-from))
			d.Download(out[from:to], values)
		})
	default:
		d.Download(out, a)
	}
	return out
}

func (d *Device) setMoments(a tensor.Array, which int, values []float32) {
	if !d.sameLength("SetMoments", a.N, len(values)) {
		return
	}
	switch d.precise {
	case tensor.HalfHost:
		copy(d.hostValues(a), values)
	case tensor.HalfAdam8:
		d.chunks(a.N, func(wide tensor.Array, from, to int) {
			codes, scales, table := d.coded(a, which, from)
			d.Upload(wide, values[from:to])
			d.launch("encode_moments", each(to-from, tensor.MomentBlock/32), codes, scales, wide, table, int64(to-from))
		})
	default:
		d.Upload(a, values)
	}
}

// coded are the addresses of the codes and scales from a value on, and of the table of codes.
func (d *Device) coded(a tensor.Array, which, from int) (codes, scales, table uint64) {
	scales = a.Addr + uint64(ceil(a.N, tensor.MomentBlock)*tensor.MomentBlock+from/tensor.MomentBlock*4)
	return a.Addr + uint64(from), scales, d.codeTables().Addr + uint64(which*256*4)
}

// chunks calls do for parts of n values, with room for each in single precision.
func (d *Device) chunks(n int, do func(wide tensor.Array, from, to int)) {
	if n == 0 {
		return
	}
	wide := d.Borrow(tensor.F32, min(n, chunk))
	defer d.Return(wide)
	for from := 0; from < n; from += chunk {
		to := min(n, from+chunk)
		do(wide.Part(0, to-from), from, to)
	}
}

// codeTables are the values of the codes of first and of second moments, on the card.
func (d *Device) codeTables() tensor.Array {
	if d.tables.None() {
		d.tables = d.Alloc(tensor.F32, 512)
		d.Upload(d.tables, append(codeTable(true), codeTable(false)...))
	}
	return d.tables
}

// codeTable is the "dynamic" code of Dettmers et al. 2022 (appendix, as in bitsandbytes' create_dynamic_map): for each of 7
// decades, the middles of equal parts of [0.1, 1], with both signs if signed, then twice as many for each greater decade; and 0
// and 1. Ascending, 256 values.
func codeTable(signed bool) []float32 {
	var table []float32
	for decade := range 7 {
		parts := 1 << decade
		if !signed {
			parts *= 2
		}
		for i := range parts {
			middle := 0.1 + 0.9*(float64(i)+0.5)/float64(parts)
			v := float32(middle * math.Pow(10, float64(decade-6)))
			table = append(table, v)
			if signed {
				table = append(table, -v)
			}
		}
	}
	table = append(table, 0, 1)
	slices.Sort(table)
	return table
}
