package model

import "bzdata/train/tensor"

// route fills a with the experts of each row of x.
func (e *moe) route(p *pass, x tensor.Array, a *moeActs) {
	r := &a.Routing
	r.Rows, r.Experts, r.K = p.rows, len(e.experts), p.m.cfg.NumExpertsPerTok
	if e.allowed != nil {
		r.K = min(r.K, e.admits)
	}
	p.dev.GrowInts(&r.IDs, r.Slots())
	p.dev.GrowInts(&r.Place, r.Slots())
	p.dev.GrowInts(&r.Slot, r.Slots())
	p.dev.GrowInts(&r.Start, r.Experts+1)
	p.growF32(&r.Weights, r.Slots())
	linear(p.dev, p.rows, e.router, x, p.growF32(&r.Probs, p.rows*r.Experts), false)
	r.Unmasked = tensor.Array{}
	if p.balance != nil {
		r.Unmasked = p.growF32(&a.unmasked, r.Probs.N)
	}
	p.dev.Route(r, e.rule(p))
	if p.balance != nil && !p.second {
		p.balance.count(p, r)
	}
}

// rule is how the router chooses.
func (e *moe) rule(p *pass) tensor.RouteRule {
	cfg := p.m.cfg
	rule := tensor.RouteRule{Allowed: e.mask, Normalize: cfg.NormTopkProb, Scale: float32(cfg.RoutedScalingFactor)}
	if cfg.TopkMethod == groupLimited {
		rule.Groups, rule.TopGroups = cfg.NGroup, cfg.TopkGroup
	}
	return rule
}

// routeBack carries the derivative of the slots' weights to the router and, unless dx is none, on
// to x. It overwrites the probabilities.
func (e *moe) routeBack(p *pass, x, dx, dWeights tensor.Array, a *moeActs) {
	if dx.None() && !trains(e.router) {
		return
	}
	p.dev.RouteBack(&a.Routing, e.rule(p), dWeights)
	if p.balance != nil {
		p.balance.back(p, &a.Routing)
	}
	linearBack(p.dev, p.rows, e.router, a.Probs, x, dx, true)
}
