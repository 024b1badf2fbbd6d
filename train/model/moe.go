package model

import (
	"fmt"
	"slices"

	"bzdata/train/tensor"
)

// moe is a mixture of experts: each row goes to the k experts that the router finds most
// probable, whose outputs are added with the router's weights. Rows are gathered by expert
// without padding, and none is dropped.
type moe struct {
	layer   int
	router  *Param
	width   int    // of an expert
	experts []*glu // nil where one was not loaded
	allowed []bool // by expert; nil admits all
	admits  int    // how many experts are allowed, if allowed is not nil
}

// moeActs are what routing and experts leave behind. A slot is a pair of row and rank: slot
// row*k+rank. Slots are sorted by expert, within it by row; place is a slot's index in that
// order. "sorted" below means one row per place.
type moeActs struct {
	k     int
	probs []float32 // [rows, experts]
	// unmasked are the probabilities if all experts were allowed, [rows, experts]; only with a balance.
	unmasked []float32
	ids      []int32   // expert by slot, most probable first
	weights  []float32 // by slot
	place    []int32   // by slot
	slot     []int32   // by place
	start    []int     // first place of each expert, and the end
	x        []float32 // sorted, [rows*k, hidden]
	inner    gluActs   // sorted
}

func (e *moe) allow(ids []int32) error {
	if ids == nil {
		if missing := slices.Index(e.experts, nil); missing >= 0 {
			return fmt.Errorf("layer %d: expert %d was not loaded, so not all can be allowed", e.layer, missing)
		}
		e.allowed = nil
		return nil
	}
	allowed, admits := make([]bool, len(e.experts)), 0
	for _, id := range ids {
		if id < 0 || int(id) >= len(allowed) {
			return fmt.Errorf("layer %d has no expert %d; it has %d", e.layer, id, len(allowed))
		}
		if e.experts[id] == nil {
			return fmt.Errorf("layer %d: expert %d was not loaded", e.layer, id)
		}
		if !allowed[id] {
			allowed[id] = true
			admits++
		}
	}
	if admits == 0 {
		return fmt.Errorf("layer %d: no expert is allowed; allow at least one", e.layer)
	}
	e.allowed, e.admits = allowed, admits
	return nil
}

func (e *moe) trainable() bool {
	if trains(e.router) {
		return true
	}
	for _, g := range e.experts {
		if g != nil && g.trainable() {
			return true
		}
	}
	return false
}

// forward adds the block's output for rows of x to y.
func (e *moe) forward(p *pass, x, y []float32, a *moeActs) {
	e.route(p, x, a)
	hidden, width := p.hidden, e.width
	grow(&a.x, p.rows*a.k*hidden)
	a.inner.grow(p.rows*a.k, width)
	a.gather(p, a.x, x)
	out := p.dev.Borrow(p.rows * a.k * hidden)
	defer p.dev.Return(out)
	e.forExperts(p.dev, a, func(dev *tensor.Device, g *glu, from, to int) {
		inner := a.inner.slice(from, to, width)
		g.forward(dev, to-from, a.x[from*hidden:to*hidden], out[from*hidden:to*hidden], &inner, false)
	})
	p.dev.ForBlocks(p.rows, 16, func(from, to int) {
		for s := from * a.k; s < to*a.k; s++ {
			row, place := s/a.k*hidden, int(a.place[s])*hidden
			p.dev.Axpy(y[row:row+hidden], out[place:place+hidden], a.weights[s])
		}
	})
}

// gather copies rows into the order of places.
func (a *moeActs) gather(p *pass, sorted, x []float32) {
	n := p.hidden
	p.dev.ForBlocks(len(a.slot), 16, func(from, to int) {
		for place := from; place < to; place++ {
			row := int(a.slot[place]) / a.k
			copy(sorted[place*n:(place+1)*n], x[row*n:(row+1)*n])
		}
	})
}

// forExperts calls do for each expert that has rows, with its range of places. Many experts
// are shared out among the workers, few are done one after the other with all workers.
func (e *moe) forExperts(dev *tensor.Device, a *moeActs, do func(dev *tensor.Device, g *glu, from, to int)) {
	busy := 0
	for i := range e.experts {
		if a.start[i+1] > a.start[i] {
			busy++
		}
	}
	one := func(dev *tensor.Device, i int) {
		if a.start[i+1] > a.start[i] {
			do(dev, e.experts[i], a.start[i], a.start[i+1])
		}
	}
	if busy >= 4*dev.Workers() {
		dev.For(len(e.experts), func(i int) { one(dev.Serial(), i) })
		return
	}
	for i := range e.experts {
		one(dev, i)
	}
}

// backward adds to the gradients for p.dx, and to dx, the derivative of x, unless it is nil.
// It overwrites a.
func (e *moe) backward(p *pass, x, dx []float32, a *moeActs) {
	if dx == nil && !e.trainable() {
		return
	}
	hidden := p.hidden
	dy := p.dev.Borrow(len(a.slot) * hidden)
	defer p.dev.Return(dy)
	a.gather(p, dy, p.dx)
	dWeights := p.dev.Borrow(len(a.slot)) // by slot
	defer p.dev.Return(dWeights)
	e.forExperts(p.dev, a, func(dev *tensor.Device, g *glu, from, to int) {
		e.expertBack(dev, g, from, to, dy[from*hidden:to*hidden], dx != nil, dWeights, a)
	})
	if dx != nil {
		p.dev.ForBlocks(p.rows, 16, func(from, to int) {
			for s := from * a.k; s < to*a.k; s++ {
				row, place := s/a.k*hidden, int(a.place[s])*hidden
				p.dev.Axpy(dx[row:row+hidden], dy[place:place+hidden], 1)
			}
		})
	}
	e.routeBack(p, x, dx, dWeights, a)
}

// expertBack is one expert's part for places [from, to). It sets dWeights of their slots, and
// replaces dy by the derivative of the expert's input if needIn.
func (e *moe) expertBack(
	dev *tensor.Device, g *glu, from, to int, dy []float32, needIn bool, dWeights []float32, a *moeActs,
) {
	if !needIn && !trains(e.router) && !g.trainable() {
		return
	}
	rows, width, hidden := to-from, g.width(), g.gate.Shape[1]
	inner := a.inner.slice(from, to, width)
	dAct := dev.Borrow(rows * width)
	defer dev.Return(dAct)
	dev.Gemm(rows, width, hidden, tensor.Matrix{Data: dy, Stride: hidden},
		tensor.Matrix{Data: g.down.Data, Stride: width}, dAct, width, false)
	dev.ForBlocks(rows, 16, func(first, last int) {
		for r := first; r < last; r++ {
			slot := a.slot[from+r]
			act, d := inner.act[r*width:(r+1)*width], dAct[r*width:(r+1)*width]
			dWeights[slot] = dev.Dot(act, d)
			dev.Scale(act, a.weights[slot])
			dev.Scale(d, a.weights[slot])
		}
	})
	linearBack(dev, rows, g.down, dy, inner.act, nil, false)
	dIn := dy
	if !needIn {
		dIn = nil
	}
	g.innerBack(dev, rows, dAct, a.x[from*hidden:to*hidden], dIn, &inner, false)
}
