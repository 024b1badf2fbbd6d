package tensor

import "math"

// routeBlock is how many rows one task of a router's operations takes. It cuts the sums of [CPU.BalanceCount], so
// it is part of the bits.
const routeBlock = 64

// Route chooses each row's experts: softmax over the allowed ones, the K most probable, equal ones by the lower number.
func (d *CPU) Route(r *Routing, rule RouteRule) {
	experts := r.Experts
	copy(r.Unmasked.Host, r.Probs.Host)
	d.host.ForBlocks(r.Rows, routeBlock, func(from, to int) {
		open := make([]bool, experts)
		for row := from; row < to; row++ {
			probs := r.Probs.Host[row*experts : (row+1)*experts]
			if !r.Unmasked.None() {
				d.host.Softmax(r.Unmasked.Host[row*experts:(row+1)*experts], 1)
			}
			rule.mask(probs)
			d.host.Softmax(probs, 1)
			rule.choose(probs, open, r.IDs.Host[row*r.K:(row+1)*r.K], r.Weights.Host[row*r.K:(row+1)*r.K])
		}
	})
	r.sort()
}

func (rule RouteRule) mask(logits []float32) {
	for i, allowed := range rule.Allowed.Host {
		if allowed == 0 {
			logits[i] = float32(math.Inf(-1))
		}
	}
}

// choose fills ids with the most probable allowed experts, and weights with what their outputs are
// multiplied by. It uses open, a value for each expert, as it likes.
func (rule RouteRule) choose(probs []float32, open []bool, ids []int32, weights []float32) {
	for i := range open {
		open[i] = rule.Allowed.None() || rule.Allowed.Host[i] != 0
	}
	if rule.Groups > 0 {
		rule.limitGroups(probs, open, len(ids))
	}
	sum := float32(0)
	for rank := range ids {
		best := -1
		for i, v := range probs {
			if open[i] && (best < 0 || v > probs[best]) {
				best = i
			}
		}
		open[best] = false
		ids[rank], weights[rank] = int32(best), probs[best]
		sum += probs[best]
	}
	for rank := range weights {
		if rule.Normalize {
			weights[rank] /= sum
		}
		weights[rank] *= rule.Scale
	}
}

// limitGroups closes the experts outside the TopGroups groups with the most probable open expert, equal
// groups by number; but not if fewer than k open ones would be left.
func (rule RouteRule) limitGroups(probs []float32, open []bool, k int) {
	size := len(probs) / rule.Groups
	in := make([]bool, rule.Groups)
	for range rule.TopGroups {
		best, top := -1, float32(0)
		for i, p := range probs {
			if g := i / size; open[i] && !in[g] && (best < 0 || p > top) {
				best, top = g, p
			}
		}
		if best >= 0 {
			in[best] = true
		}
	}
	left := 0
	for i := range open {
		if open[i] && in[i/size] {
			left++
		}
	}
	for i := range open {
		open[i] = open[i] && (left < k || in[i/size])
	}
}

// sort fills the order of slots by expert.
func (r *Routing) sort() {
	start := r.Start.Host
	clear(start)
	for _, id := range r.IDs.Host {
		start[id+1]++
	}
	for e := range r.Experts {
		start[e+1] += start[e]
	}
	next := make([]int32, r.Experts)
	copy(next, start)
	for slot, id := range r.IDs.Host {
		r.Place.Host[slot], r.Slot.Host[next[id]] = next[id], int32(slot)
		next[id]++
	}
}

// RouteBack replaces r.Probs by the derivative of the logits.
func (d *CPU) RouteBack(r *Routing, rule RouteRule, dWeights Array) {
	d.host.ForBlocks(r.Rows, routeBlock, func(from, to int) {
		for row := from; row < to; row++ {
			rule.chooseBack(r.Probs.Host[row*r.Experts:(row+1)*r.Experts], r.IDs.Host[row*r.K:(row+1)*r.K],
				dWeights.Host[row*r.K:(row+1)*r.K])
		}
	})
}

// chooseBack replaces probs by the derivative of the logits. With s the sum of the chosen probabilities and
// c the scaling factor, weight = c p/s if they are normalised, else c p; and dlogit = p (dp - Σ dp p).
func (rule RouteRule) chooseBack(probs []float32, ids []int32, d []float32) {
	scale, mean := rule.Scale, float32(0)
	if rule.Normalize {
		sum := float32(0)
		for rank, id := range ids {
			sum += probs[id]
			mean += d[rank] * probs[id]
		}
		scale /= sum
		mean /= sum
	}
	dot := float32(0)
	for rank, id := range ids {
		d[rank] = scale * (d[rank] - mean)
		dot += d[rank] * probs[id]
	}
	for i := range probs {
		dp := float32(0)
		for rank, id := range ids {
			if int(id) == i {
				dp = d[rank]
			}
		}
		probs[i] *= dp - dot
	}
}

// BalanceCount counts the most probable experts, and adds up probabilities.
func (d *CPU) BalanceCount(r *Routing, k int, counted Ints) (chosen, probable []float64) {
	experts := r.Experts
	blocks := make([]float64, (r.Rows+routeBlock-1)/routeBlock*2*experts)
	d.host.ForBlocks(r.Rows, routeBlock, func(from, to int) {
		sums := blocks[from/routeBlock*2*experts:][:2*experts]
		chosen, probable, taken := sums[:experts], sums[experts:], make([]bool, experts)
		for row := from; row < to; row++ {
			if !counts(counted, row) {
				continue
			}
			probs := r.Unmasked.Host[row*experts : (row+1)*experts]
			countTop(probs, k, chosen, taken)
			for e, v := range probs {
				probable[e] += float64(v)
			}
		}
	})
	chosen, probable = make([]float64, experts), make([]float64, experts)
	for at := 0; at < len(blocks); at += 2 * experts {
		for e := range experts {
			chosen[e] += blocks[at+e]
			probable[e] += blocks[at+experts+e]
		}
	}
	return chosen, probable
}

func counts(counted Ints, row int) bool { return counted.None() || counted.Host[row] != 0 }

// countTop adds one for each of the k most probable experts, equal ones by the lower number. It uses
// taken, a value for each expert, as it likes.
func countTop(probs []float32, k int, chosen []float64, taken []bool) {
	clear(taken)
	for range k {
		best := -1
		for e, v := range probs {
			if !taken[e] && (best < 0 || v > probs[best]) {
				best = e
			}
		}
		taken[best] = true
		chosen[best]++
	}
}

// BalanceBack adds the derivative of each counting row's logits.
func (d *CPU) BalanceBack(r *Routing, slope Array, counted Ints) {
	experts := r.Experts
	d.host.ForBlocks(r.Rows, routeBlock, func(from, to int) {
		for row := from; row < to; row++ {
			if !counts(counted, row) {
				continue
			}
			dLogits, probs := r.Probs.Host[row*experts:(row+1)*experts], r.Unmasked.Host[row*experts:(row+1)*experts]
			mean := float32(0)
			for e, v := range probs {
				mean += v * slope.Host[e]
			}
			for e, v := range probs {
				dLogits[e] += v * (slope.Host[e] - mean)
			}
		}
	})
}
