package tensor

import (
	"cmp"
	"slices"
)

// GatherSlots sets sorted rows to the rows of their slots.
func (d *CPU) GatherSlots(sorted, x Array, r *Routing, width int) {
	d.host.ForBlocks(r.Slots(), rowBlock, func(from, to int) {
		for place := from; place < to; place++ {
			row := int(r.Slot.Host[place]) / r.K
			copy(sorted.Host[place*width:(place+1)*width], x.Host[row*width:(row+1)*width])
		}
	})
}

// CombineSlots adds to each row its slots' sorted rows, by rank, times their weights.
func (d *CPU) CombineSlots(y, sorted Array, r *Routing, width int) {
	d.addSlots(y, sorted, r, width, func(slot int) float32 { return r.Weights.Host[slot] })
}

// AddSlots adds to each row its slots' sorted rows, by rank.
func (d *CPU) AddSlots(y, sorted Array, r *Routing, width int) {
	d.addSlots(y, sorted, r, width, func(int) float32 { return 1 })
}

func (d *CPU) addSlots(y, sorted Array, r *Routing, width int, weight func(slot int) float32) {
	d.host.ForBlocks(r.Rows, rowBlock, func(from, to int) {
		for s := from * r.K; s < to*r.K; s++ {
			row, place := s/r.K*width, int(r.Place.Host[s])*width
			d.host.Axpy(y.Host[row:row+width], sorted.Host[place:place+width], weight(s))
		}
	})
}

// Experts computes the experts' outputs for their sorted rows.
func (d *CPU) Experts(e Experts, r *Routing, x, out Array, inner GLU) {
	d.forExperts(r, func(dev *host, i, from, to int) {
		rows, hidden, width := to-from, e.Hidden, e.Width
		in, g := x.Host[from*hidden:to*hidden], inner.rows(from, to, width)
		dev.linear(rows, e.Gate[i], hidden, width, in, g.gate)
		dev.linear(rows, e.Up[i], hidden, width, in, g.up)
		dev.SwiGLU(g.act, g.gate, g.up)
		dev.linear(rows, e.Down[i], width, hidden, g.act, out.Host[from*hidden:to*hidden])
	})
}

// forExperts calls do for each expert that has rows, with its range of places. Many experts
// are shared out among the workers, those with the most rows first, so that workers end at nearly the same time; few
// are done one after the other with all workers.
func (d *CPU) forExperts(r *Routing, do func(dev *host, expert, from, to int)) {
	start, busy := r.Start.Host, make([]int, 0, r.Experts)
	for i := range r.Experts {
		if start[i+1] > start[i] {
			busy = append(busy, i)
		}
	}
	one := func(dev *host, i int) { do(dev, i, int(start[i]), int(start[i+1])) }
	if len(busy) < 4*d.host.Workers() {
		for _, i := range busy {
			one(d.host, i)
		}
		return
	}
	rows := func(i int) int32 { return start[i+1] - start[i] }
	slices.SortStableFunc(busy, func(i, j int) int { return cmp.Compare(rows(j), rows(i)) })
	d.host.For(len(busy), func(i int) { one(d.host.Serial(), busy[i]) })
}

// gluRows are the inner rows of one expert.
type gluRows struct{ gate, up, act []float32 }

func (g GLU) rows(from, to, width int) gluRows {
	from, to = from*width, to*width
	return gluRows{gate: g.Gate.Host[from:to], up: g.Up.Host[from:to], act: g.Act.Host[from:to]}
}

// linear sets y = x Wᵀ for a weight [out, in].
func (d *host) linear(rows int, w *Weight, in, out int, x, y []float32) {
	d.Gemm(rows, out, in, matrix{Data: x, Stride: in}, matrix{Data: w.Data.Host, Stride: in, Transposed: true}, y, out, false)
}

// linearBack adds to the weight's gradient, if it has one, and sets dx = dy W, or adds it, unless dx is nil.
func (d *host) linearBack(rows int, w *Weight, in, out int, dy, x, dx []float32, add bool) {
	if !w.Grad.None() {
		d.Gemm(out, in, rows, matrix{Data: dy, Stride: out, Transposed: true}, matrix{Data: x, Stride: in}, w.Grad.Host, in, true)
	}
	if dx != nil {
		d.Gemm(rows, in, out, matrix{Data: dy, Stride: out}, matrix{Data: w.Data.Host, Stride: in}, dx, in, add)
	}
}

// ExpertsBack is the derivative of Experts and of the weights that its rows are added with.
func (d *CPU) ExpertsBack(e Experts, r *Routing, x, dy Array, inner GLU, dWeights Array, needIn bool) {
	d.forExperts(r, func(dev *host, i, from, to int) {
		if needIn || !dWeights.None() || e.trains(i) {
			e.back(dev, r, i, from, to, x.Host[from*e.Hidden:to*e.Hidden], dy.Host[from*e.Hidden:to*e.Hidden],
				inner.rows(from, to, e.Width), dWeights, needIn)
		}
	})
}

// trains reports whether a weight of the expert has a gradient.
func (e Experts) trains(i int) bool {
	return !e.Gate[i].Grad.None() || !e.Up[i].Grad.None() || !e.Down[i].Grad.None()
}

// back is one expert's part, for places [from, to).
func (e Experts) back(dev *host, r *Routing, i, from, to int, x, dy []float32, inner gluRows, dWeights Array, needIn bool) {
	rows, width, hidden := to-from, e.Width, e.Hidden
	dAct := dev.Borrow(rows * width)
	defer dev.Return(dAct)
	dev.Gemm(rows, width, hidden, matrix{Data: dy, Stride: hidden},
		matrix{Data: e.Down[i].Data.Host, Stride: width}, dAct, width, false)
	dev.ForBlocks(rows, rowBlock, func(first, last int) {
		for row := first; row < last; row++ {
			slot := r.Slot.Host[from+row]
			act, d := inner.act[row*width:(row+1)*width], dAct[row*width:(row+1)*width]
			if !dWeights.None() {
				dWeights.Host[slot] = dev.Dot(act, d)
			}
			dev.Scale(act, r.Weights.Host[slot])
			dev.Scale(d, r.Weights.Host[slot])
		}
	})
	dev.linearBack(rows, e.Down[i], width, hidden, dy, inner.act, nil, false)
	dIn := dy
	if !needIn {
		dIn = nil
	}
	dev.SwiGLUBack(dAct, inner.gate, inner.up)
	dev.linearBack(rows, e.Gate[i], hidden, width, inner.gate, x, dIn, false)
	dev.linearBack(rows, e.Up[i], hidden, width, inner.up, x, dIn, true)
}
