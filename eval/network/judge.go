package network

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"bzdata/eval"
)

// Judgement is what a network makes of the losses of a base and a candidate on the same batches.
type Judgement struct {
	Profile  string  `json:"profile"`
	Baseline float64 `json:"baseline_loss"`  // nats per token by the network's arithmetic
	Loss     float64 `json:"miner_val_loss"` // of the candidate
	Delta    float64 `json:"delta"`          // Baseline - Loss
	Score    float64 `json:"score"`
	Batches  int     `json:"scored_batches"` // looked at
	NaN      int     `json:"nan_batches"`    // of them, batches of which a loss is no finite number
}

// Judge applies the network's arithmetic to consecutive batches of the profile's size: to the first ones as far
// as the network's loop goes. With weighted data sets the losses are those of the sources called like
// them, see [WeightedLoss]; a data set without a source is left out, and without any the batches
// count alike.
func (p *Profile) Judge(base, candidate *eval.Losses) (Judgement, error) {
	size := max(1, p.Evaluate.BatchSize)
	b, c := eval.BatchLosses(base, size), eval.BatchLosses(candidate, size)
	j, err := p.judge(b, c)
	if err != nil || len(p.Evaluate.Sources) == 0 {
		return j, err
	}
	if len(p.sourceLosses(base)) > 0 {
		j.Batches, j.NaN = len(c), max(notFinite(b), notFinite(c)) // the limit is one of each data set
	}
	weighed := func(l *eval.Losses, otherwise float64) float64 {
		loss, err := WeightedLoss(p.Evaluate.Sources, p.sourceLosses(l))
		if err != nil {
			return otherwise
		}
		return loss
	}
	return p.scored(j, weighed(base, j.Baseline), weighed(candidate, j.Loss))
}

func notFinite(means []float64) (n int) {
	for _, m := range means {
		if !finite(m) {
			n++
		}
	}
	return n
}

// sourceLosses are the mean losses of the sources that are called like the profile's data sets.
func (p *Profile) sourceLosses(l *eval.Losses) map[string]float64 {
	nats, tokens := map[string]float64{}, map[string]int{}
	for _, d := range l.Documents {
		if int(d.Source) >= len(l.Sources) {
			continue
		}
		for _, s := range p.Evaluate.Sources {
			if strings.EqualFold(s.Name, l.Sources[d.Source]) {
				nats[s.Name], tokens[s.Name] = nats[s.Name]+d.Nats, tokens[s.Name]+d.Tokens
			}
		}
	}
	out := map[string]float64{}
	for name, n := range tokens {
		if n > 0 {
			out[name] = nats[name] / float64(n)
		}
	}
	return out
}

func (p *Profile) judge(base, candidate []float64) (Judgement, error) {
	scorer := p.Scorer()
	loss := func(means []float64) (ValLoss, error) {
		batches := make([]BatchLoss, len(means))
		for i, m := range means {
			batches[i].Loss = m
		}
		return scorer.Loss(batches)
	}
	b, err1 := loss(base)
	c, err2 := loss(candidate)
	if err := errors.Join(err1, err2); err != nil {
		return Judgement{}, cmp.Or(err1, err2)
	}
	return p.scored(Judgement{Profile: p.Name, Batches: c.Processed, NaN: max(b.NonFinite, c.NonFinite)}, b.Loss, c.Loss)
}

// scored fills in the losses and the score; an error says that one is no finite number.
func (p *Profile) scored(j Judgement, baseline, loss float64) (Judgement, error) {
	j.Baseline, j.Loss, j.Delta, j.Score = baseline, loss, baseline-loss, p.Scorer().Score(baseline, loss)
	if sum := j.Baseline + j.Loss + j.Score; math.IsNaN(sum) || math.IsInf(sum, 0) {
		return j, fmt.Errorf("the losses are %g for the base and %g for the update", baseline, loss)
	}
	return j, nil
}

// Draws is a network's judgement on several random draws of batches: a validator looks at few, so that its
// score is one of these.
type Draws struct {
	Seeds    []uint64  `json:"seeds_used"`
	PerSeed  []float64 `json:"per_seed"` // scores
	Mean     float64   `json:"mean_score"`
	Std      float64   `json:"std_score"` // of the sample, 0 for one draw
	Min      float64   `json:"min_score"`
	Max      float64   `json:"max_score"`
	Batches  int       `json:"batches_of_a_draw"`
	OfAll    int       `json:"batches_of_all"`
	Improved int       `json:"draws_with_lower_loss"`
}

// Draw judges n draws of batches without replacement, by the seeds seed, seed+1, …; none if the network looks at
// all batches anyway, or weighs data sets, of which each is drawn from for itself.
func (p *Profile) Draw(base, candidate *eval.Losses, seed uint64, n int) (*Draws, error) {
	size := max(1, p.Evaluate.BatchSize)
	b, c := eval.BatchLosses(base, size), eval.BatchLosses(candidate, size)
	if p.Evaluate.BatchesMax == 0 || len(b) <= p.Evaluate.BatchesMax || len(p.sourceLosses(base)) > 0 {
		return nil, nil
	}
	out := &Draws{OfAll: len(b), Min: math.Inf(1), Max: math.Inf(-1)}
	for i := range n {
		rng := rand.New(rand.NewPCG(seed+uint64(i), 0x6261746368))
		rng.Shuffle(len(b), func(i, j int) { b[i], b[j], c[i], c[j] = b[j], b[i], c[j], c[i] })
		j, err := p.judge(b, c)
		if err != nil {
			return nil, err
		}
		out.Add(seed+uint64(i), j)
	}
	return out, nil
}

// Add adds a draw; Min and Max must begin at +Inf and −Inf.
func (d *Draws) Add(seed uint64, j Judgement) {
	d.Seeds, d.PerSeed = append(d.Seeds, seed), append(d.PerSeed, j.Score)
	d.Min, d.Max, d.Batches = min(d.Min, j.Score), max(d.Max, j.Score), max(d.Batches, j.Batches)
	if j.Delta > 0 {
		d.Improved++
	}
	n, sum := float64(len(d.PerSeed)), 0.0
	for _, s := range d.PerSeed {
		sum += s
	}
	d.Mean, sum = sum/n, 0
	for _, s := range d.PerSeed {
		sum += (s - d.Mean) * (s - d.Mean)
	}
	if n > 1 {
		d.Std = math.Sqrt(sum / (n - 1))
	}
}

// Rival is another miner of a round.
type Rival struct {
	Name  string  `json:"name"`
	Score float64 `json:"score"` // as [Scorer.Score] gives it: a loss for blockzero and sn9
	Block int64   `json:"block"` // of the commit; only sn9 looks at it
}

// ParseRivals reads a JSON list of scores, or of objects with score, and with name and block if they are known.
func ParseRivals(data []byte) ([]Rival, error) {
	var scores []float64
	if json.Unmarshal(data, &scores) == nil {
		out := make([]Rival, len(scores))
		for i, s := range scores {
			out[i].Score = s
		}
		return named(out), nil
	}
	var raw []struct {
		Name  string   `json:"name"`
		Score *float64 `json:"score"`
		Block int64    `json:"block"`
	}
	if err := json.Unmarshal(data, &raw, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("rivals are a list of scores or of {name, score, block}: %w", err)
	}
	var out []Rival
	for i, r := range raw {
		if r.Score == nil {
			return nil, fmt.Errorf("rival %d has no score", i+1)
		}
		out = append(out, Rival{r.Name, *r.Score, r.Block})
	}
	return named(out), nil
}

func named(rivals []Rival) []Rival {
	for i := range rivals {
		rivals[i].Name = cmp.Or(rivals[i].Name, fmt.Sprintf("rival %d", i+1))
	}
	return rivals
}

// Paid is what a network would pay for a score among rivals in one round.
type Paid struct {
	Reward float64 `json:"reward"` // in the network's own unit, see [Profile.RewardUnit]
	Unit   string  `json:"unit"`
	Rank   int     `json:"rank"` // by reward, from 1; equals share the better one
	Of     int     `json:"of"`
	// Tied names the rivals with exactly the same score.
	Tied []string `json:"tied,omitempty"`
}

// Simulate ranks a score among rivals. Block is that of its commit, 0 for one after all of them, which is also
// the current block.
func (p *Profile) Simulate(score float64, block int64, rivals []Rival) Paid {
	now := block
	round := []Entry{{Score: score, Block: block}}
	out := Paid{Of: len(rivals) + 1, Rank: 1, Unit: p.RewardUnit()}
	for _, r := range rivals {
		now = max(now, r.Block)
		round = append(round, Entry{Score: r.Score, Block: r.Block})
		if r.Score == score {
			out.Tied = append(out.Tied, r.Name)
		}
	}
	if block == 0 {
		now++
		round[0].Block = now
	}
	rewards := p.Scorer().Reward(round, now)
	out.Reward = rewards[0]
	for _, r := range rewards[1:] {
		if r > out.Reward {
			out.Rank++
		}
	}
	return out
}

// RewardUnit says what [Scorer.Reward] counts.
func (p *Profile) RewardUnit() string {
	return map[string]string{"connito": "points of a round", "blockzero": "place among the merged",
		"blockzero-docs": "share of the weights", "sn9": "share of the competition"}[p.Evaluate.Rule]
}

// String is one line.
func (d Paid) String() string {
	if len(d.Tied) > 0 && d.Reward == 0 {
		return fmt.Sprintf("nothing: exactly the score of %s", strings.Join(d.Tied[:min(3, len(d.Tied))], ", "))
	}
	if d.Reward == 0 {
		return fmt.Sprintf("nothing: rank %d of %d", d.Rank, d.Of)
	}
	return fmt.Sprintf("%.4g %s, rank %d of %d", d.Reward, d.Unit, d.Rank, d.Of)
}

// PerBatch lists the mean losses of batches, with nil where one is no finite number.
func PerBatch(l *eval.Losses, batchSize int) []*float64 {
	means := eval.BatchLosses(l, batchSize)
	out := make([]*float64, len(means))
	for i := range means {
		if finite(means[i]) {
			out[i] = &means[i]
		}
	}
	return slices.Clip(out)
}
