package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"bzdata/train/tensor"
)

// expertsCase is a mixture: how many slots each expert has, and which of gate, up and down of which experts are trained.
type expertsCase struct {
	rows          []int
	hidden, width int
	trained       func(expert, weight int) bool
	missing       int // an expert without rows that was not loaded, or -1
	needIn        bool
	noWeights     bool // the derivative of the slots' weights is not asked for
}

func allTrained(int, int) bool  { return true }
func noneTrained(int, int) bool { return false }
func someTrained(e, w int) bool { return (e+w)%3 != 0 }
func downTrained(_, w int) bool { return w == 2 }

var expertsCases = []expertsCase{
	{rows: []int{0, 1, 15, 16, 17, 200}, hidden: 40, width: 24, trained: someTrained, missing: 0, needIn: true},
	{rows: []int{0, 1, 15, 16, 17, 200}, hidden: 12, width: 20, trained: allTrained, missing: -1, needIn: true},
	{rows: []int{300, 0, 130, 1}, hidden: 72, width: 136, trained: allTrained, missing: 1, needIn: true},
	{rows: []int{3}, hidden: 8, width: 8, trained: downTrained, missing: -1},
	{rows: []int{65, 64}, hidden: 200, width: 80, trained: noneTrained, missing: -1, needIn: true, noWeights: true},
	{rows: []int{5, 6}, hidden: 33, width: 17, trained: noneTrained, missing: -1},
	{rows: many(70), hidden: 64, width: 32, trained: someTrained, missing: 33, needIn: true},
	{rows: []int{0, 0}, hidden: 16, width: 16, trained: allTrained, missing: -1, needIn: true},
}

// many are experts with few rows each, some with none.
func many(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i * 7 % 4 * (i % 3)
	}
	return rows
}

func (c expertsCase) slots() (n int) {
	for _, r := range c.rows {
		n += r
	}
	return n
}

// twins are the same values on the card and on the processor.
type twins struct{ card, host tensor.Array }

// expertsRun is a case with its operands on both devices.
type expertsRun struct {
	expertsCase
	t          *testing.T
	d          *Device
	twin       *tensor.CPU
	rng        *rand.Rand
	card, host tensor.Experts
	routes     [2]tensor.Routing // on the card, on the processor
}

func TestExperts(t *testing.T) {
	for _, typ := range bothTypes {
		d := newFake(t, typ)
		for i, c := range expertsCases {
			t.Run(fmt.Sprintf("%s/%d experts %d,%d", typ, len(c.rows), c.hidden, c.width), func(t *testing.T) {
				r := &expertsRun{expertsCase: c, t: t, d: d, twin: tensor.New(tensor.Plain(), 1), rng: rand.New(rand.NewPCG(2, uint64(i)))}
				r.makeExperts()
				r.makeRouting()
				r.run()
			})
		}
	}
}

// random are values of a standard deviation.
func (r *expertsRun) random(typ tensor.Type, n int, deviation float64) twins {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.rng.NormFloat64() * deviation)
	}
	card, host := put(r.t, r.d, typ, values)
	return twins{card, tensor.Of(host)}
}

// makeExperts makes weights, and gradients that are not 0 for those that are trained.
func (r *expertsRun) makeExperts() {
	r.card = tensor.Experts{Hidden: r.hidden, Width: r.width}
	r.host = r.card
	lists := [][2]*[]*tensor.Weight{{&r.card.Gate, &r.host.Gate}, {&r.card.Up, &r.host.Up}, {&r.card.Down, &r.host.Down}}
	for e := range r.rows {
		for w, list := range lists {
			card, host := &tensor.Weight{}, &tensor.Weight{}
			if e != r.missing {
				data := r.random(r.d.Type(), r.hidden*r.width, 1/math.Sqrt(float64(r.hidden)))
				card.Data, host.Data = data.card, data.host
				if r.trained(e, w) {
					grad := r.random(tensor.F32, r.hidden*r.width, 1)
					card.Grad, host.Grad = grad.card, grad.host
				}
			}
			*list[0], *list[1] = append(*list[0], card), append(*list[1], host)
		}
	}
}

// makeRouting makes what the experts read of a routing.
func (r *expertsRun) makeRouting() {
	slots, start := make([]int32, r.slots()), make([]int32, len(r.rows)+1)
	for i, to := range r.rng.Perm(len(slots)) {
		slots[i] = int32(to)
	}
	for e, n := range r.rows {
		start[e+1] = start[e] + int32(n)
	}
	weights := r.random(tensor.F32, len(slots), 1)
	for i, ints := range []func([]int32) tensor.Ints{r.cardInts, func(v []int32) tensor.Ints { return tensor.Ints{Host: v, N: len(v)} }} {
		r.routes[i] = tensor.Routing{Rows: len(slots), Experts: len(r.rows), K: 1, Slot: ints(slots), Start: ints(start)}
	}
	r.routes[0].Weights, r.routes[1].Weights = weights.card, weights.host
}

func (r *expertsRun) cardInts(values []int32) (a tensor.Ints) {
	r.d.GrowInts(&a, len(values))
	r.d.UploadInts(a, values)
	return a
}

// compare holds an array against its twin.
func (r *expertsRun) compare(what string, a twins) {
	r.t.Helper()
	bound := 1e-2
	if r.d.Type() == tensor.F32 {
		bound = 2e-5
	}
	expect(r.t, what, near(get(r.t, r.d, a.card), a.host.Host, bound))
}

// take makes the twin's values those of the card.
func (r *expertsRun) take(a ...twins) {
	for _, x := range a {
		copy(x.host.Host, get(r.t, r.d, x.card))
	}
}

func (r *expertsRun) run() {
	typ, n := r.d.Type(), r.slots()
	x, out := r.random(typ, n*r.hidden, 1), r.random(typ, n*r.hidden, 1)
	gate, up, act := r.random(typ, n*r.width, 1), r.random(typ, n*r.width, 1), r.random(typ, n*r.width, 1)
	cardInner := tensor.GLU{Gate: gate.card, Up: up.card, Act: act.card}
	hostInner := tensor.GLU{Gate: gate.host, Up: up.host, Act: act.host}
	r.d.Experts(r.card, &r.routes[0], x.card, out.card, cardInner)
	r.twin.Experts(r.host, &r.routes[1], x.host, out.host, hostInner)
	r.compare("gate", gate)
	r.compare("up", up)
	r.compare("act", act)
	r.compare("output", out)

	r.take(gate, up, act)
	dy, dWeights := r.random(typ, n*r.hidden, 1), r.random(tensor.F32, n, 1)
	before := dy.host
	if !r.needIn {
		before = tensor.Of(append([]float32(nil), dy.host.Host...))
	}
	if r.noWeights {
		dWeights = twins{}
	}
	r.d.ExpertsBack(r.card, &r.routes[0], x.card, dy.card, cardInner, dWeights.card, r.needIn)
	r.twin.ExpertsBack(r.host, &r.routes[1], x.host, dy.host, hostInner, dWeights.host, r.needIn)
	r.compare("derivative of x", twins{dy.card, before})
	r.compare("derivative of weights", dWeights)
	for e := range r.rows {
		for w, list := range [][2][]*tensor.Weight{{r.card.Gate, r.host.Gate}, {r.card.Up, r.host.Up}, {r.card.Down, r.host.Down}} {
			if card := list[0][e]; !card.Grad.None() {
				r.compare(fmt.Sprintf("gradient %d of expert %d", w, e), twins{card.Grad, list[1][e].Grad})
			}
		}
	}
}
