package metrics

import (
	"math"
	"slices"
	"time"
)

// Names of what a training run measures. Losses are in nats for each token.
const (
	// Loss is what the step minimised, before its update.
	Loss = "train/loss"
	// LossReduction is the training loss of the first step less that of this one: what the run has
	// brought so far, on text that it trains on. Block Zero's guide names it without a definition.
	LossReduction = "train/loss_reduction"
	Perplexity    = "train/perplexity" // exp of the loss
	// AuxLoss is the routers' load-balancing loss, before its coefficient, which Loss is without.
	AuxLoss         = "moe/aux_loss"
	LearningRate    = "train/learning_rate"
	GradientNorm    = "train/gradient_norm" // before clipping
	TokensPerSecond = "train/tokens_per_second"
	// NonFinite counts the losses and gradients that were no finite number, from the run's beginning.
	NonFinite = "train/non_finite"
	Tokens    = "train/tokens"  // targets since the run's beginning
	Samples   = "train/samples" // sequences since the run's beginning
	// StepSeconds is the time of the step alone, Seconds the sum of these.
	StepSeconds = "train/step_seconds"
	Seconds     = "train/seconds"
	// ValLoss is the loss on held-out text that guides the run, ValLossReduction its fall since before
	// the first step.
	ValLoss          = "val/loss"
	ValLossReduction = "val/loss_reduction"
	// ProofLoss is the update's loss on held-out text that judges it, ProofLossReduction how much lower
	// that is than the base's.
	ProofLoss          = "proof/val_loss"
	ProofLossReduction = "proof/loss_reduction"
	// Score is what the network's profile pays for the update, Rank the miner's rank in its group.
	Score = "chain/w_i_score"
	Rank  = "chain/rank_in_group"
	// ExpertsActive counts the experts that got a position, over all layers, and ExpertsActiveRatio
	// their share. RoutingEntropy is the entropy, in nats, of how a layer's positions are shared out
	// among its experts, the mean over the layers.
	ExpertsActive      = "moe/experts_active_count"
	ExpertsActiveRatio = "moe/expert_utilization_ratio"
	RoutingEntropy     = "moe/topk_routing_entropy"

	expertLoad = "moe/expert_load" // of a line
)

// Value is a number with its name.
type Value struct {
	Name   string
	Number float64
}

// Load is how many positions each expert of a layer got in a step.
type Load struct {
	Layer   int
	Experts []int64
}

// Row is what is known after a step; 0 is before the first.
type Row struct {
	Step   int
	Time   time.Time // in UTC, whole milliseconds
	Values []Value   // finite, each name once
	Load   []Load    // in order of layers
}

// Value is the number of that name, 0 if there is none.
func (r *Row) Value(name string) float64 {
	x, _ := r.value(name)
	return x
}

// value finds a number by name.
func (r *Row) value(name string) (float64, bool) {
	for _, v := range r.Values {
		if v.Name == name {
			return v.Number, true
		}
	}
	return 0, false
}

// add sets numbers that are finite, and the load if there is one.
func (r *Row) add(values []Value, load []Load) {
	for _, v := range slices.Concat(values, loadValues(load)) {
		if math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
			continue
		}
		at := slices.IndexFunc(r.Values, func(have Value) bool { return have.Name == v.Name })
		if at < 0 {
			r.Values = append(r.Values, v)
			continue
		}
		r.Values[at] = v
	}
	if len(load) > 0 {
		r.Load = load
	}
}

// loadValues sums a load up.
func loadValues(load []Load) []Value {
	if len(load) == 0 {
		return nil
	}
	active, experts, entropy := 0, 0, 0.0
	for _, l := range load {
		active, experts = active+l.active(), experts+len(l.Experts)
		entropy += l.entropy()
	}
	return []Value{{ExpertsActive, float64(active)}, {ExpertsActiveRatio, float64(active) / float64(max(1, experts))},
		{RoutingEntropy, entropy / float64(len(load))}}
}

// active counts the experts that got a position.
func (l Load) active() int {
	n := 0
	for _, c := range l.Experts {
		if c > 0 {
			n++
		}
	}
	return n
}

// entropy is that of the shares of the layer's experts, in nats.
func (l Load) entropy() float64 {
	sum, entropy := int64(0), 0.0
	for _, c := range l.Experts {
		sum += c
	}
	for _, c := range l.Experts {
		if c > 0 {
			p := float64(c) / float64(sum)
			entropy -= p * math.Log(p)
		}
	}
	return entropy
}
