package routing

import (
	"maps"
	"math"
	"slices"
)

// Balance measures how evenly a layer spreads its expert choices. Networks log the
// entropy, the active count and the utilization under these names (Connito 0c936fa:
// moe_topk_routing_entropy, moe_experts_active_count, moe_expert_utilization_ratio).
type Balance struct {
	Layer           int
	Tokens          int64
	EntropyNats     float64 // of the distribution of choices over experts
	EvennessRatio   float64 // entropy over its largest value, ln(experts): 1 is even
	Active          int     // experts chosen at least once
	UtilizationRate float64 // Active over experts
	MaxOverMean     float64 // the busiest expert's choices over the mean; k·N bounds the wait
	Variation       float64 // standard deviation of the choices over their mean
}

// Balance measures each layer that has tokens, ascending.
func (a *Accumulator) Balance() []Balance {
	var out []Balance
	for _, number := range slices.Sorted(maps.Keys(a.layers)) {
		if l := a.layers[number]; l.tokens > 0 {
			b := balance(l.count)
			b.Layer, b.Tokens = number, l.tokens
			out = append(out, b)
		}
	}
	return out
}

// balance measures counts, which are not all zero.
func balance(counts []int64) Balance {
	total := int64(0)
	for _, c := range counts {
		total += c
	}
	mean := float64(total) / float64(len(counts))
	var b Balance
	squares := 0.0
	for _, c := range counts {
		if c > 0 {
			b.Active++
			share := float64(c) / float64(total)
			b.EntropyNats -= share * math.Log(share)
		}
		squares += (float64(c) - mean) * (float64(c) - mean)
	}
	b.EvennessRatio = 1
	if len(counts) > 1 {
		b.EvennessRatio = b.EntropyNats / math.Log(float64(len(counts)))
	}
	b.UtilizationRate = float64(b.Active) / float64(len(counts))
	b.MaxOverMean = float64(slices.Max(counts)) / mean
	b.Variation = math.Sqrt(squares/float64(len(counts))) / mean
	return b
}
