package network

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// BatchLoss is what one batch of an evaluation yields, in nats per token.
type BatchLoss struct {
	Loss float64 // with the auxiliary loss included, as the model returns it
	Aux  float64 // the auxiliary loss, 0 where there is none
}

// ValLoss is a network's validation loss of one model.
type ValLoss struct {
	Loss      float64 // nats per token
	Processed int     // batches looked at
	NonFinite int     // of them, batches whose loss was NaN or infinite
}

// Entry is one miner in a round.
type Entry struct {
	Score float64 // by [Scorer.Score]
	Block int64   // of the commit; only sn9 looks at it
}

// Scorer is a network's arithmetic from batch losses to what it pays.
type Scorer interface {
	// Loss combines the batches of an evaluation.
	Loss(batches []BatchLoss) (ValLoss, error)
	// Score compares a candidate's validation loss with the base model's on the same batches.
	Score(baseline, candidate float64) float64
	// Reward ranks the miners of a round at a block; the meaning of the numbers is the
	// network's own.
	Reward(round []Entry, block int64) []float64
}

// Scorers returns the rules by name, each taking its constants from a profile.
func Scorers() map[string]func(Evaluate) Scorer {
	return map[string]func(Evaluate) Scorer{
		"blockzero":      func(e Evaluate) Scorer { return blockZero{e} },
		"blockzero-docs": func(e Evaluate) Scorer { return documented{e} },
		"connito":        func(e Evaluate) Scorer { return connito{e} },
		"sn9":            func(e Evaluate) Scorer { return subnet9{e} },
	}
}

// Scorer returns the profile's rule.
func (p *Profile) Scorer() Scorer { return Scorers()[p.Evaluate.Rule](p.Evaluate) }

// processed cuts the batches where the networks' loops stop, after index batchesMax: one
// more than the setting says. Zero sets no limit.
func processed(batches []BatchLoss, batchesMax int) []BatchLoss {
	if batchesMax > 0 && len(batches) > batchesMax {
		return batches[:batchesMax+1]
	}
	return batches
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func countNonFinite(batches []BatchLoss) int {
	n := 0
	for _, b := range batches {
		if !finite(b.Loss) {
			n++
		}
	}
	return n
}

// blockZero is CognitoBlocks/BlockZero at 907d2e4, mycelia/shared/evaluate.py and
// validator/evaluator.py.
type blockZero struct{ Evaluate }

// Loss is (Σ loss - Σ aux) over the index of the last batch processed, so that 51 batches
// are divided by 50 and one batch by zero, which is an error there and here. NaN losses
// are left out of the sum, but stay in the divisor, and their aux is still subtracted.
func (s blockZero) Loss(batches []BatchLoss) (ValLoss, error) {
	used := processed(batches, s.BatchesMax)
	if len(used) < 2 {
		return ValLoss{}, fmt.Errorf("%d batches: the network's divisor is the last batch's index, "+
			"so that at least 2 are needed", len(used))
	}
	loss, aux := 0.0, 0.0
	for _, b := range used {
		if !math.IsNaN(b.Loss) {
			loss += b.Loss
		}
		aux += b.Aux
	}
	return ValLoss{(loss - aux) / float64(len(used)-1), len(used), countNonFinite(used)}, nil
}

// Score is the candidate's loss itself, without a baseline.
func (s blockZero) Score(_, candidate float64) float64 { return candidate }

// topMergedCount is the cutoff of is_in_top.
const topMergedCount = 3

// Reward is 1 for the miners that would be merged, else 0. The network sorts scores, which
// are losses, in descending order: the three highest losses are merged, and all that
// equal the third.
func (s blockZero) Reward(round []Entry, _ int64) []float64 {
	scores := make([]float64, len(round))
	for i, e := range round {
		scores[i] = e.Score
	}
	slices.SortFunc(scores, func(a, b float64) int { return cmp.Compare(b, a) })
	out := make([]float64, len(round))
	for i, e := range round {
		if len(scores) <= topMergedCount || e.Score >= scores[topMergedCount-1] {
			out[i] = 1
		}
	}
	return out
}

// documented is what Block Zero's documentation describes.
type documented struct{ Evaluate }

// Loss is the mean over the batches, at most BatchesMax.
func (s documented) Loss(batches []BatchLoss) (ValLoss, error) {
	used := batches
	if s.BatchesMax > 0 && len(used) > s.BatchesMax {
		used = used[:s.BatchesMax]
	}
	if len(used) == 0 {
		return ValLoss{}, errors.New("no batches to score")
	}
	sum := 0.0
	for _, b := range used {
		sum += b.Loss - b.Aux
	}
	return ValLoss{sum / float64(len(used)), len(used), countNonFinite(used)}, nil
}

// Score is ReLU of the reduction of the loss.
func (s documented) Score(baseline, candidate float64) float64 { return reduction(baseline, candidate) }

// reduction is max(0, baseline-candidate), and 0 when that is no number.
func reduction(baseline, candidate float64) float64 {
	if d := baseline - candidate; d > 0 {
		return d
	}
	return 0
}

// Reward is each score's share of their sum; all are 0 when none is positive.
func (s documented) Reward(round []Entry, _ int64) []float64 {
	sum := 0.0
	for _, e := range round {
		sum += e.Score
	}
	out := make([]float64, len(round))
	for i, e := range round {
		if sum > 0 {
			out[i] = e.Score / sum
		}
	}
	return out
}

// connito is Connito-AI/Connito at 0c936fa, connito/shared/evaluate.py and
// connito/validator/evaluator.py.
type connito struct{ Evaluate }

// Loss is (Σ loss - Σ aux) over the finite batches; without one it is infinite.
func (s connito) Loss(batches []BatchLoss) (ValLoss, error) {
	used := processed(batches, s.BatchesMax)
	out := ValLoss{Loss: math.Inf(1), Processed: len(used), NonFinite: countNonFinite(used)}
	loss, aux := 0.0, 0.0
	for _, b := range used {
		if finite(b.Loss) {
			loss += b.Loss
			aux += b.Aux
		}
	}
	if scored := out.Processed - out.NonFinite; scored > 0 {
		out.Loss = (loss - aux) / float64(scored)
	}
	return out, nil
}

// Score is the reduction of the loss to the power of the profile's exponent, 1.2.
func (s connito) Score(baseline, candidate float64) float64 {
	return math.Pow(reduction(baseline, candidate), s.Exponent)
}

// Reward is points by rank among positive scores. Scores that are exactly equal are taken
// for one submission handed in twice: all of them get 0 and hold no rank.
func (s connito) Reward(round []Entry, _ int64) []float64 {
	count := map[float64]int{}
	for _, e := range round {
		count[e.Score]++
	}
	var ranked []int
	for i, e := range round {
		if e.Score > 0 && count[e.Score] == 1 {
			ranked = append(ranked, i)
		}
	}
	slices.SortFunc(ranked, func(a, b int) int { return cmp.Compare(round[b].Score, round[a].Score) })
	out := make([]float64, len(round))
	for rank, i := range ranked {
		if rank < len(s.RankPoints) {
			out[i] = s.RankPoints[rank]
		}
	}
	return out
}

// subnet9 is macrocosm-os/pretraining v6.0.4, pretrain/validation.py. A score is a loss.
type subnet9 struct{ Evaluate }

// Loss is the mean over the batches of one data set, see [WeightedLoss] for several.
func (s subnet9) Loss(batches []BatchLoss) (ValLoss, error) { return documented(s).Loss(batches) }

// Score is the candidate's loss itself.
func (s subnet9) Score(_, candidate float64) float64 { return candidate }

// Reward is the softmax, at the profile's temperature, of each miner's share of won
// comparisons. A lower loss wins; the model committed strictly earlier has its loss
// multiplied by 1 - epsilon first, with epsilon falling linearly with its age in blocks.
func (s subnet9) Reward(round []Entry, block int64) []float64 {
	return softmax(s.winRates(round, block), s.Temperature)
}

func (s subnet9) winRates(round []Entry, block int64) []float64 {
	out := make([]float64, len(round))
	for i, a := range round {
		if len(round) == 1 {
			out[i] = 1
			continue
		}
		wins := 0
		for j, b := range round {
			if i != j && s.wins(a, b, block) {
				wins++
			}
		}
		out[i] = float64(wins) / float64(len(round)-1)
	}
	return out
}

func (s subnet9) wins(a, b Entry, block int64) bool {
	la, lb := a.Score, b.Score
	switch {
	case a.Block < b.Block:
		la *= 1 - s.Epsilon.At(block-a.Block)
	case b.Block < a.Block:
		lb *= 1 - s.Epsilon.At(block-b.Block)
	}
	return la < lb
}

// At is the advantage of a model of that age in blocks.
func (e Epsilon) At(age int64) float64 {
	if e.Blocks <= 0 || age >= e.Blocks {
		return e.Final
	}
	return e.Initial + (e.Final-e.Initial)*float64(max(age, 0))/float64(e.Blocks)
}

func softmax(v []float64, temperature float64) []float64 {
	out := make([]float64, len(v))
	if len(v) == 0 {
		return out
	}
	top, sum := slices.Max(v), 0.0
	for i, x := range v {
		out[i] = math.Exp((x - top) / temperature)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// WeightedLoss combines the losses of an evaluation's data sets by their weights. A data
// set that has no entry, because it could not be fetched, is left out and the weights of
// the others are scaled to sum to one.
func WeightedLoss(sources []Source, losses map[string]float64) (float64, error) {
	sum, weights := 0.0, 0.0
	for _, s := range sources {
		if loss, ok := losses[s.Name]; ok {
			sum += s.Weight * loss
			weights += s.Weight
		}
	}
	if weights <= 0 {
		return 0, errors.New("no data set of the profile has a loss")
	}
	return sum / weights, nil
}
