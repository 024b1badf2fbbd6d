package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bzdata/train/tensor"
)

// routeCase is a router's input.
type routeCase struct {
	rows, experts, k int
	rule             tensor.RouteRule
	allowed          []int32
	logits           []float32
	unmasked         bool
}

func (c routeCase) String() string {
	return fmt.Sprintf("%d rows, %d of %d experts, %d of %d groups, allowed %v, normalize %v, unmasked %v", c.rows, c.k, c.experts,
		c.rule.TopGroups, c.rule.Groups, c.allowed, c.rule.Normalize, c.unmasked)
}

// randomRoute makes a case; half of them have logits that are often equal, some rows have a NaN.
func randomRoute(r *rand.Rand) routeCase {
	c := routeCase{rows: r.IntN(90), experts: 1 + r.IntN(70), unmasked: r.IntN(2) == 0}
	if r.IntN(20) == 0 {
		c.rows, c.experts = 300+r.IntN(300), 1+r.IntN(300)
	}
	if r.IntN(2) == 0 {
		c.rule.Groups = 1 + r.IntN(9)
		c.experts = c.rule.Groups * (1 + r.IntN(9))
		c.rule.TopGroups = 1 + r.IntN(c.rule.Groups)
	}
	admits := c.experts
	if r.IntN(3) == 0 {
		admits = 0
		c.allowed = make([]int32, c.experts)
		for i := range c.allowed {
			c.allowed[i] = int32(r.IntN(2))
		}
		c.allowed[r.IntN(c.experts)] = 1
		for _, a := range c.allowed {
			admits += int(a)
		}
	}
	c.k = 1 + r.IntN(min(admits, 9))
	c.rule.Normalize, c.rule.Scale = r.IntN(2) == 0, 0.5+r.Float32()
	c.logits = make([]float32, c.rows*c.experts)
	coarse := r.IntN(2) == 0
	for i := range c.logits {
		c.logits[i] = float32(2 * r.NormFloat64())
		if coarse {
			c.logits[i] = float32(r.IntN(5)) / 2
		}
		if r.IntN(3000) == 0 {
			c.logits[i] = float32(math.NaN())
		}
	}
	return c
}

// on is the routing of a case on a device.
func (c routeCase) on(r trial) (*tensor.Routing, tensor.RouteRule) {
	slots := c.rows * c.k
	to := &tensor.Routing{Rows: c.rows, Experts: c.experts, K: c.k, Probs: r.wide(c.logits), Weights: r.wide(make([]float32, slots)),
		IDs: r.numbers(make([]int32, slots)), Place: r.numbers(make([]int32, slots)), Slot: r.numbers(make([]int32, slots)),
		Start: r.numbers(slices.Repeat([]int32{9}, c.experts+1))}
	if c.unmasked {
		to.Unmasked = r.wide(make([]float32, c.rows*c.experts))
	}
	rule := c.rule
	rule.Allowed = r.numbers(c.allowed)
	r.Route(to, rule)
	return to, rule
}

// TestRouteRandom routes random shapes, and carries derivatives back.
func TestRouteRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for i := range 200 {
		c := randomRoute(r)
		compare(t, fmt.Sprintf("case %d: %v", i, c), tensor.F32, 2e-5, func(r trial) [][]float32 {
			to, rule := c.on(r)
			out := [][]float32{r.read(to.Probs), r.read(to.Weights), r.readInts(to.IDs), r.readInts(to.Place), r.readInts(to.Slot),
				r.readInts(to.Start), r.read(to.Unmasked)}
			r.RouteBack(to, rule, r.wide(normal(3, to.Slots())))
			return append(out, r.read(to.Probs))
		})
	}
}

// TestRouteTooMany holds what a card says to more experts or groups than its kernels have room for.
func TestRouteTooMany(t *testing.T) {
	d := newFake(t, tensor.F32)
	d.Route(&tensor.Routing{Rows: 1, Experts: 128, K: 1}, tensor.RouteRule{Groups: 65})
	wantFault(t, d, "Route: 128 experts in 65 groups; a card routes to 8192 in 64 at most")
}

// TestSlots gathers rows by slot and adds them up again.
func TestSlots(t *testing.T) {
	for _, c := range []routeCase{
		{rows: 0, experts: 2, k: 1}, {rows: 1, experts: 1, k: 1}, {rows: 70, experts: 5, k: 3}, {rows: 300, experts: 9, k: 2},
	} {
		c.rule.Scale = 1
		c.logits = normal(1, c.rows*c.experts)
		for _, width := range []int{1, 33, 256} {
			anyAlignment(t, fmt.Sprintf("%v, width %d", c, width), func(r trial) [][]float32 {
				to, _ := c.on(r)
				sorted := r.acts(make([]float32, to.Slots()*width))
				r.GatherSlots(sorted, r.acts(normal(2, c.rows*width)), to, width)
				y, dx := r.acts(normal(3, c.rows*width)), r.acts(normal(4, c.rows*width))
				r.CombineSlots(y, sorted, to, width)
				r.AddSlots(dx, sorted, to, width)
				return [][]float32{r.read(sorted), r.read(y), r.read(dx)}
			})
		}
	}
}

func TestBalance(t *testing.T) {
	for i, s := range []struct{ rows, experts, k int }{{0, 3, 2}, {1, 1, 1}, {63, 7, 3}, {200, 40, 6}, {65, 300, 8}} {
		for _, some := range []bool{false, true} {
			name := fmt.Sprintf("%v, some rows %v", s, some)
			compare(t, name, tensor.F32, 1e-6, func(r trial) [][]float32 {
				to := &tensor.Routing{Rows: s.rows, Experts: s.experts, Unmasked: r.wide(probabilities(uint64(i), s.rows, s.experts)),
					Probs: r.wide(normal(2, s.rows*s.experts))}
				var counted tensor.Ints
				if some {
					counted = r.numbers(ids(3, s.rows, 2))
				}
				chosen, probable := r.BalanceCount(to, s.k, counted)
				r.BalanceBack(to, r.wide(normal(4, s.experts)), counted)
				return [][]float32{narrow(chosen), narrow(probable), r.read(to.Probs)}
			})
		}
	}
}

// probabilities are rows of positive values of the sum 1, of which some are equal.
func probabilities(seed uint64, rows, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 4))
	out := make([]float32, rows*n)
	for row := range rows {
		sum := float32(0)
		for i := range n {
			out[row*n+i] = float32(1 + r.IntN(6))
			sum += out[row*n+i]
		}
		for i := range n {
			out[row*n+i] /= sum
		}
	}
	return out
}

func narrow(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}
