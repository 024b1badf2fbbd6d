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
	allowed []int32
	admits  int            // how many experts are allowed, if allowed is not nil
	mask    tensor.Ints    // allowed, on the device
	weights tensor.Experts // of experts
}

// moeActs are what routing and experts leave behind. "sorted" below means one row per place.
type moeActs struct {
	tensor.Routing
	unmasked tensor.Array // room for Unmasked, which is none where it is not asked for

	x     tensor.Array // sorted, [rows*k, hidden]
	inner tensor.GLU   // sorted
}

func (e *moe) allow(dev tensor.Device, ids []int32) error {
	if ids == nil {
		if missing := slices.Index(e.experts, nil); missing >= 0 {
			return fmt.Errorf("layer %d: expert %d was not loaded, so not all can be allowed", e.layer, missing)
		}
		e.allowed, e.mask = nil, tensor.Ints{}
		return nil
	}
	allowed, admits := make([]int32, len(e.experts)), 0
	for _, id := range ids {
		if id < 0 || int(id) >= len(allowed) {
			return fmt.Errorf("layer %d has no expert %d; it has %d", e.layer, id, len(allowed))
		}
		if e.experts[id] == nil {
			return fmt.Errorf("layer %d: expert %d was not loaded", e.layer, id)
		}
		if allowed[id] == 0 {
			allowed[id] = 1
			admits++
		}
	}
	if admits == 0 {
		return fmt.Errorf("layer %d: no expert is allowed; allow at least one", e.layer)
	}
	e.allowed, e.admits = allowed, admits
	if dev != nil { // there is none where only shapes are asked for
		dev.GrowInts(&e.mask, len(allowed))
		dev.UploadInts(e.mask, allowed)
	}
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

// collect makes the table of the experts' weights. An expert that was not loaded has an empty one.
func (e *moe) collect(hidden int) {
	none := &tensor.Weight{}
	n := len(e.experts)
	e.weights = tensor.Experts{Hidden: hidden, Width: e.width,
		Gate: make([]*tensor.Weight, n), Up: make([]*tensor.Weight, n), Down: make([]*tensor.Weight, n)}
	for i, g := range e.experts {
		gate, up, down := none, none, none
		if g != nil {
			gate, up, down = &g.gate.w, &g.up.w, &g.down.w
		}
		e.weights.Gate[i], e.weights.Up[i], e.weights.Down[i] = gate, up, down
	}
}

// forward adds the block's output for rows of x to y.
func (e *moe) forward(p *pass, x, y tensor.Array, a *moeActs) {
	e.route(p, x, a)
	slots := a.Slots()
	p.growGLU(&a.inner, slots, e.width)
	p.dev.GatherSlots(p.grow(&a.x, slots*p.hidden), x, &a.Routing, p.hidden)
	out := p.borrow(slots * p.hidden)
	defer p.dev.Return(out)
	p.dev.Experts(e.weights, &a.Routing, a.x, out, a.inner)
	p.dev.CombineSlots(y, out, &a.Routing, p.hidden)
}

// backward adds to the gradients for p.dx, and to dx, the derivative of x, unless it is none.
// It overwrites a.
func (e *moe) backward(p *pass, x, dx tensor.Array, a *moeActs) {
	if dx.None() && !e.trainable() {
		return
	}
	dy := p.borrow(a.Slots() * p.hidden)
	defer p.dev.Return(dy)
	p.dev.GatherSlots(dy, p.dx, &a.Routing, p.hidden)
	var dWeights tensor.Array // by slot
	if !dx.None() || trains(e.router) {
		dWeights = p.dev.Borrow(tensor.F32, a.Slots())
		defer p.dev.Return(dWeights)
	}
	p.dev.ExpertsBack(e.weights, &a.Routing, a.x, dy, a.inner, dWeights, !dx.None())
	if !dx.None() {
		p.dev.AddSlots(dx, dy, &a.Routing, p.hidden)
	}
	e.routeBack(p, x, dx, dWeights, a)
}
