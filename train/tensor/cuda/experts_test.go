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
	slots         []int
	hidden, width int
	trained       func(expert, weight int) bool
	missing       int // an expert without rows that was not loaded, or -1
	needIn        bool
	noWeights     bool // the derivative of the slots' weights is not asked for
}

func allTrained(int, int) bool  { return true }
func noneTrained(int, int) bool { return false }
func mostTrained(e, w int) bool { return (e+w)%3 != 0 }
func onlyDown(_, w int) bool    { return w == 2 }

var expertsCases = []expertsCase{
	{slots: []int{0, 1, 15, 16, 17, 200}, hidden: 40, width: 24, trained: mostTrained, missing: 0, needIn: true},
	{slots: []int{0, 1, 15, 16, 17, 200}, hidden: 12, width: 20, trained: allTrained, missing: -1, needIn: true},
	{slots: []int{300, 0, 130, 1}, hidden: 72, width: 136, trained: allTrained, missing: 1, needIn: true},
	{slots: []int{3}, hidden: 8, width: 8, trained: onlyDown, missing: -1},
	{slots: []int{65, 64}, hidden: 200, width: 80, trained: noneTrained, missing: -1, needIn: true, noWeights: true},
	{slots: []int{5, 6}, hidden: 33, width: 17, trained: noneTrained, missing: -1},
	{slots: few(70), hidden: 64, width: 32, trained: mostTrained, missing: 33, needIn: true},
	{slots: []int{0, 0}, hidden: 16, width: 16, trained: allTrained, missing: -1, needIn: true},
}

// few are experts with few slots each, some with none.
func few(n int) []int {
	slots := make([]int, n)
	for i := range slots {
		slots[i] = i * 7 % 4 * (i % 3)
	}
	return slots
}

func TestExperts(t *testing.T) {
	for _, c := range expertsCases {
		t.Run(fmt.Sprintf("%d experts of %d and %d", len(c.slots), c.hidden, c.width), func(t *testing.T) {
			compareTypes(t, "experts", c.run)
		})
	}
}

// draw returns random values of a standard deviation.
func draw(rng *rand.Rand, n int, deviation float64) []float32 {
	values, next := make([]float32, n), gaussian(rng, deviation)
	for i := range values {
		values[i] = next()
	}
	return values
}

// experts makes weights, and gradients that are not 0 for those that are trained.
func (c expertsCase) experts(r trial, rng *rand.Rand) tensor.Experts {
	e, n := tensor.Experts{Hidden: c.hidden, Width: c.width}, c.hidden*c.width
	for i := range c.slots {
		for kind, list := range []*[]*tensor.Weight{&e.Gate, &e.Up, &e.Down} {
			w := &tensor.Weight{}
			if i != c.missing {
				w.Data = r.acts(draw(rng, n, 1/math.Sqrt(float64(c.hidden))))
				if c.trained(i, kind) {
					w.Grad = r.wide(draw(rng, n, 1))
				}
			}
			*list = append(*list, w)
		}
	}
	return e
}

// routing makes what the experts read of a routing.
func (c expertsCase) routing(r trial, rng *rand.Rand) *tensor.Routing {
	start := make([]int32, len(c.slots)+1)
	for i, n := range c.slots {
		start[i+1] = start[i] + int32(n)
	}
	slots := make([]int32, start[len(c.slots)])
	for i, to := range rng.Perm(len(slots)) {
		slots[i] = int32(to)
	}
	return &tensor.Routing{Rows: len(slots), Experts: len(c.slots), K: 1, Weights: r.wide(draw(rng, len(slots), 1)),
		Slot: r.numbers(slots), Start: r.numbers(start)}
}

// forward computes the outputs, and returns what they were computed of.
func (c expertsCase) forward(r trial) (e tensor.Experts, route *tensor.Routing, x, out tensor.Array, inner tensor.GLU) {
	rng := rand.New(rand.NewPCG(5, 6))
	e, route = c.experts(r, rng), c.routing(r, rng)
	n := route.Slots()
	x, out = r.acts(draw(rng, n*c.hidden, 1)), r.acts(make([]float32, n*c.hidden))
	inner = tensor.GLU{Gate: r.acts(make([]float32, n*c.width)), Up: r.acts(make([]float32, n*c.width)),
		Act: r.acts(make([]float32, n*c.width))}
	r.Experts(e, route, x, out, inner)
	return e, route, x, out, inner
}

func (c expertsCase) run(r trial) [][]float32 {
	e, route, x, out, inner := c.forward(r)
	results := [][]float32{r.read(inner.Gate), r.read(inner.Up), r.read(inner.Act), r.read(out)}

	// The derivative is taken at what the plain device computes.
	_, _, _, _, known := c.forward(newTrial(tensor.New(tensor.Plain(), 1), r.typ, 0))
	inner = tensor.GLU{Gate: r.acts(known.Gate.Host), Up: r.acts(known.Up.Host), Act: r.acts(known.Act.Host)}
	rng, n := rand.New(rand.NewPCG(7, 8)), route.Slots()
	dy, dWeights := r.acts(draw(rng, n*c.hidden, 1)), r.wide(draw(rng, n, 1))
	given := r.read(dy)
	if c.noWeights {
		dWeights = tensor.Array{}
	}
	r.ExpertsBack(e, route, x, dy, inner, dWeights, c.needIn)
	got := r.read(dy)
	if !c.needIn {
		got = given // it may be overwritten or not
	}
	results = append(results, got, r.read(dWeights))
	for i := range c.slots {
		for _, w := range []*tensor.Weight{e.Gate[i], e.Up[i], e.Down[i]} {
			results = append(results, r.read(w.Grad))
		}
	}
	return results
}

// TestExpertTables sees that a table is made once for one set of addresses, and again when one changes.
func TestExpertTables(t *testing.T) {
	d := newFake(t, tensor.BF16)
	r := newTrial(d, tensor.BF16, 0)
	c := expertsCases[0]
	e := c.experts(r, rand.New(rand.NewPCG(5, 6)))
	first := d.experts.of(d, e)
	if again := d.experts.of(d, e); again != first {
		t.Errorf("equal weights have tables at %#x and %#x", first.addr, again.addr)
	}
	want := e.Up[2].Data.Addr
	words := make([]int32, 2*tableRuns*len(c.slots))
	d.DownloadInts(words, tensor.Ints{Addr: first.addr, N: len(words)})
	at := 2 * (upWeights*len(c.slots) + 2)
	if got := uint64(uint32(words[at])) | uint64(uint32(words[at+1]))<<32; got != want {
		t.Errorf("the table has %#x for a weight at %#x", got, want)
	}
	d.Freeze(e.Up[3])
	if frozen := d.experts.of(d, e); frozen == first {
		t.Error("the table of a frozen weight is that of the trained one")
	}
}

// TestExpertsRefuses gives operands that do not fit.
func TestExpertsRefuses(t *testing.T) {
	d := newFake(t, tensor.BF16)
	r := newTrial(d, tensor.BF16, 0)
	c := expertsCase{slots: []int{1, 3}, hidden: 16, width: 8, trained: allTrained, missing: -1}
	for want, change := range map[string]func(e *tensor.Experts, route *tensor.Routing, x *tensor.Array, inner *tensor.GLU){
		"1 gates, 2 ups and 2 downs, and a routing of 4 slots to 2 experts, do not fit each other": func(
			e *tensor.Experts, _ *tensor.Routing, _ *tensor.Array, _ *tensor.GLU) {
			e.Gate = e.Gate[:1]
		},
		"rows 0: 63 values of bf16; want 64 of bf16": func(_ *tensor.Experts, _ *tensor.Routing, x *tensor.Array, _ *tensor.GLU) {
			*x = x.From(1)
		},
		"inner rows 2: 32 values of f32; want 32 of bf16": func(_ *tensor.Experts, _ *tensor.Routing, _ *tensor.Array, i *tensor.GLU) {
			i.Act.Type = tensor.F32
		},
		"weights of expert 1: 128 values of f32; want 128 of bf16": func(
			e *tensor.Experts, _ *tensor.Routing, _ *tensor.Array, _ *tensor.GLU) {
			e.Up[1].Data.Type = tensor.F32
		},
	} {
		e, route, x, out, inner := c.forward(r)
		change(&e, route, &x, &inner)
		d.Experts(e, route, x, out, inner)
		wantFault(t, d, "experts: "+want)
		d.ExpertsBack(e, route, x, out, inner, tensor.Array{}, true)
		wantFault(t, d, "experts' derivative: "+want)
	}
}
