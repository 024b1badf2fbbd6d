package main

import (
	"math"

	"bzdata/train/tensor"
)

// routing makes room for a routing, and logits that are not near to each other in a row: which of two that are is greater,
// roundings decide.
func routing(b bench, s shape, unmasked bool) *tensor.Routing {
	rows, n := s.rows(), s.rows()*s.experts
	logits := make([]float32, n)
	for i := range logits {
		logits[i] = (float32(mix(uint64(i))%256) + float32(i%s.experts)/float32(s.experts)) / 64
	}
	whole := func(n int) tensor.Ints { return b.ints(make([]int32, n)) }
	slots := rows * s.topK
	r := &tensor.Routing{Rows: rows, Experts: s.experts, K: s.topK, Probs: b.array(tensor.F32, logits),
		Weights: b.zeros(tensor.F32, slots), IDs: whole(slots), Place: whole(slots), Slot: whole(slots),
		Start: whole(s.experts + 1)}
	if unmasked {
		r.Unmasked = b.zeros(tensor.F32, n)
	}
	return r
}

// gave keeps a routing.
func gave(b bench, r *tensor.Routing) {
	b.gives("Route", r.Probs, r.Weights)
	b.left("Route", b.readInts(r.IDs), b.readInts(r.Place), b.readInts(r.Slot), b.readInts(r.Start))
	if !r.Unmasked.None() {
		b.gives("Route", r.Unmasked)
	}
}

// routes is a router of all experts, with its balancing loss.
func routes(b bench, s shape, _ tensor.Device) {
	r, rule := routing(b, s, true), tensor.RouteRule{Scale: 1}
	b.Route(r, rule)
	gave(b, r)
	chosen, probable := b.BalanceCount(r, s.topK, tensor.Ints{})
	b.left("BalanceCount", narrow(chosen), narrow(probable))
	b.RouteBack(r, rule, b.wide(5, r.Slots()))
	b.gives("RouteBack", r.Probs)
	counted := make([]int32, s.rows())
	for i := range counted {
		counted[i] = int32(1 - i%3/2)
	}
	b.BalanceBack(r, b.wide(6, s.experts), b.ints(counted))
	b.gives("BalanceBack", r.Probs)
}

// restrictedRoutes is a router that admits some experts or groups, and whose weights sum to 1.
func restrictedRoutes(b bench, s shape, _ tensor.Device) {
	r, rule := routing(b, s, false), tensor.RouteRule{Scale: 2.5, Normalize: true, Groups: s.groups, TopGroups: s.topGroups}
	if s.groups == 0 {
		admits := max(s.admits, s.trained, s.topK)
		allowed := make([]int32, s.experts)
		for e := range min(admits, s.experts) {
			allowed[s.experts-1-e] = 1
		}
		rule.Allowed = b.ints(allowed)
	}
	b.Route(r, rule)
	gave(b, r)
	b.RouteBack(r, rule, b.wide(5, r.Slots()))
	b.gives("RouteBack", r.Probs)
}

// slots gathers rows by slot and adds them up again.
func slots(b bench, s shape, _ tensor.Device) {
	r := routing(b, s, false)
	b.Route(r, tensor.RouteRule{Scale: 1})
	n := s.rows() * s.hidden
	sorted, y, dx := b.zeros(b.typ, r.Slots()*s.hidden), b.acts(2, n), b.acts(3, n)
	b.GatherSlots(sorted, b.acts(1, n), r, s.hidden)
	b.gives("GatherSlots", sorted)
	b.CombineSlots(y, sorted, r, s.hidden)
	b.gives("CombineSlots", y)
	b.AddSlots(dx, sorted, r, s.hidden)
	b.gives("AddSlots", dx)
}

// mixture makes the experts, of which the first are trained.
func mixture(b bench, s shape) tensor.Experts {
	e, n := tensor.Experts{Hidden: s.hidden, Width: s.width}, s.hidden*s.width
	for i := range s.experts {
		for kind, list := range []*[]*tensor.Weight{&e.Gate, &e.Up, &e.Down} {
			in := s.hidden
			if kind == 2 {
				in = s.width
			}
			w := &tensor.Weight{Data: b.scaled(b.typ, 100+3*i+kind, n, 1/math.Sqrt(float64(in)))}
			if i < s.trained {
				w.Grad = b.wide(10_000+3*i+kind, n)
			}
			*list = append(*list, w)
		}
	}
	return e
}

// outputs computes the experts' outputs for random rows.
func outputs(b bench, s shape) (e tensor.Experts, r *tensor.Routing, x, out tensor.Array, inner tensor.GLU) {
	r = routing(b, s, false)
	b.Route(r, tensor.RouteRule{Scale: 1})
	e, n := mixture(b, s), r.Slots()
	x, out = b.acts(1, n*s.hidden), b.zeros(b.typ, n*s.hidden)
	inner = tensor.GLU{Gate: b.zeros(b.typ, n*s.width), Up: b.zeros(b.typ, n*s.width), Act: b.zeros(b.typ, n*s.width)}
	b.Experts(e, r, x, out, inner)
	return e, r, x, out, inner
}

// experts are those of a mixture, some of them trained.
func experts(b bench, s shape, host tensor.Device) {
	e, r, x, out, inner := outputs(b, s)
	b.gives("Experts", out, inner.Act)
	_, _, _, _, known := outputs(newBench(host, b.typ), s)
	inner = tensor.GLU{Gate: b.array(b.typ, known.Gate.Host), Up: b.array(b.typ, known.Up.Host),
		Act: b.array(b.typ, known.Act.Host)}
	dy, dWeights := b.acts(7, r.Slots()*s.hidden), b.wide(8, r.Slots())
	b.ExpertsBack(e, r, x, dy, inner, dWeights, true)
	b.gives("ExpertsBack", dy, dWeights)
	for i := range s.trained {
		b.gives("ExpertsBack", e.Gate[i].Grad, e.Up[i].Grad, e.Down[i].Grad)
	}
}
