package model

import "math"

// route fills a with the experts of each row of x: softmax over the allowed experts in single
// precision, the k most probable, equal ones by the lower number.
func (e *moe) route(p *pass, x []float32, a *moeActs) {
	experts := len(e.experts)
	a.k = p.m.cfg.NumExpertsPerTok
	if e.allowed != nil {
		a.k = min(a.k, e.admits)
	}
	slots := p.rows * a.k
	grow(&a.ids, slots)
	grow(&a.weights, slots)
	linear(p.dev, p.rows, e.router, x, grow(&a.probs, p.rows*experts), false)
	if p.balance != nil {
		copy(grow(&a.unmasked, len(a.probs)), a.probs)
	}
	p.dev.ForBlocks(p.rows, 64, func(from, to int) {
		open := make([]bool, experts)
		for r := from; r < to; r++ {
			probs := a.probs[r*experts : (r+1)*experts]
			if p.balance != nil {
				p.dev.Softmax(a.unmasked[r*experts:(r+1)*experts], 1)
			}
			e.mask(probs)
			p.dev.Softmax(probs, 1)
			e.choose(p.m.cfg, probs, open, a.ids[r*a.k:(r+1)*a.k], a.weights[r*a.k:(r+1)*a.k])
		}
	})
	a.sort(experts)
	if p.balance != nil {
		p.balance.count(p, a, experts)
	}
}

func (e *moe) mask(logits []float32) {
	if e.allowed == nil {
		return
	}
	for i := range logits {
		if !e.allowed[i] {
			logits[i] = float32(math.Inf(-1))
		}
	}
}

// choose fills ids with the most probable allowed experts, and weights with what their outputs are
// multiplied by. It uses open, a value for each expert, as it likes.
func (e *moe) choose(cfg Config, probs []float32, open []bool, ids []int32, weights []float32) {
	for i := range open {
		open[i] = e.allowed == nil || e.allowed[i]
	}
	if cfg.TopkMethod == groupLimited {
		limitGroups(cfg, probs, open, len(ids))
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
		if cfg.NormTopkProb {
			weights[rank] /= sum
		}
		weights[rank] *= float32(cfg.RoutedScalingFactor)
	}
}

// limitGroups closes the experts outside the topk_group groups with the most probable open expert, equal
// groups by number; but not if fewer than k open ones would be left, which only a restriction of
// the experts can bring about.
func limitGroups(cfg Config, probs []float32, open []bool, k int) {
	size := len(probs) / cfg.NGroup
	in := make([]bool, cfg.NGroup)
	for range cfg.TopkGroup {
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
func (a *moeActs) sort(experts int) {
	grow(&a.place, len(a.ids))
	grow(&a.slot, len(a.ids))
	clear(grow(&a.start, experts+1))
	for _, id := range a.ids {
		a.start[id+1]++
	}
	for e := range experts {
		a.start[e+1] += a.start[e]
	}
	next := make([]int, experts)
	copy(next, a.start)
	for slot, id := range a.ids {
		a.place[slot], a.slot[next[id]] = int32(next[id]), int32(slot)
		next[id]++
	}
}

// routeBack carries the derivative of the slots' weights to the router and, unless dx is nil, on
// to x. It overwrites a.probs.
func (e *moe) routeBack(p *pass, x, dx, dWeights []float32, a *moeActs) {
	if dx == nil && !trains(e.router) {
		return
	}
	experts := len(e.experts)
	p.dev.ForBlocks(p.rows, 64, func(from, to int) {
		for r := from; r < to; r++ {
			slots, probs := a.ids[r*a.k:(r+1)*a.k], a.probs[r*experts:(r+1)*experts]
			chooseBack(p.m.cfg, probs, slots, dWeights[r*a.k:(r+1)*a.k])
			if p.balance != nil {
				p.balance.back(r, probs, a.unmasked[r*experts:(r+1)*experts])
			}
		}
	})
	linearBack(p.dev, p.rows, e.router, a.probs, x, dx, true)
}

// chooseBack replaces probs by the derivative of the logits. With s the sum of the chosen probabilities and
// c the scaling factor, weight = c p/s if they are normalised, else c p; and dlogit = p (dp - Σ dp p).
func chooseBack(cfg Config, probs []float32, ids []int32, d []float32) {
	scale, mean := float32(cfg.RoutedScalingFactor), float32(0)
	if cfg.NormTopkProb {
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
