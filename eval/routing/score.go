package routing

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Table holds one score per expert of each layer.
type Table map[int][]float64

// Layers lists the layers, ascending.
func (t Table) Layers() []int { return slices.Sorted(maps.Keys(t)) }

// Scores are the two kinds of score, rounded to 4 decimals.
type Scores struct {
	Token Table // share of the layer's expert choices
	Gate  Table // mean router weight over all tokens
}

// Of returns the table of a kind: token or gate.
func (s Scores) Of(kind string) (Table, error) {
	switch kind {
	case "token":
		return s.Token, nil
	case "gate":
		return s.Gate, nil
	}
	return nil, fmt.Errorf("unknown expert score %q; there are token and gate", kind)
}

// Accumulator sums router records. Sums are kept in whole numbers, so that the result does
// not depend on the order of the records nor on how they are divided. It is not safe for
// concurrent use; give each worker its own and merge them.
type Accumulator struct {
	// OnRecord, if not nil, is called with each line that [Accumulator.ReadRecords] adds.
	OnRecord func(layer, line int, experts []int32, weights []float32)

	experts int // routed experts per layer
	k       int // experts per token
	layers  map[int]*layer
}

type layer struct {
	tokens int64
	count  []int64
	weight []fixed
}

// fixed is a sum of weights: whole + part/2^fixedBits, with part below 2^fixedBits. A
// weight is rounded to a multiple of 2^-40, which is exact for float32 values from 2^-16.
type fixed struct{ whole, part int64 }

const (
	fixedBits = 40
	weightMax = 1 << 20
)

func (f *fixed) add(w float64) {
	f.part += int64(math.RoundToEven(w * (1 << fixedBits)))
	f.carry()
}

func (f *fixed) carry() {
	f.whole += f.part >> fixedBits
	f.part &= 1<<fixedBits - 1
}

func (f fixed) value() float64 { return float64(f.whole) + float64(f.part)/(1<<fixedBits) }

// NewAccumulator returns an empty sum for a model with that many routed experts per layer,
// of which k are chosen for each token.
func NewAccumulator(experts, k int) (*Accumulator, error) {
	if k < 1 || experts < k {
		return nil, fmt.Errorf("%d of %d experts per token is no choice", k, experts)
	}
	return &Accumulator{experts: experts, k: k, layers: map[int]*layer{}}, nil
}

// Add takes a layer's records of some tokens: k experts and their weights per token, in
// token order. Tokens that are padding must be left out by the caller. On an error
// nothing was added.
func (a *Accumulator) Add(layer int, experts []int32, weights []float32) error {
	if len(experts) != len(weights) {
		return fmt.Errorf("layer %d: %d experts, but %d weights", layer, len(experts), len(weights))
	}
	return a.add(layer, experts, func(i int) float64 { return float64(weights[i]) })
}

func (a *Accumulator) add(number int, experts []int32, weight func(int) float64) error {
	if err := a.check(experts, weight); err != nil {
		return fmt.Errorf("layer %d: %w", number, err)
	}
	l := a.layer(number)
	l.tokens += int64(len(experts) / a.k)
	for i, e := range experts {
		l.count[e]++
		l.weight[e].add(weight(i))
	}
	return nil
}

func (a *Accumulator) layer(number int) *layer {
	l, ok := a.layers[number]
	if !ok {
		l = &layer{count: make([]int64, a.experts), weight: make([]fixed, a.experts)}
		a.layers[number] = l
	}
	return l
}

func (a *Accumulator) check(experts []int32, weight func(int) float64) error {
	if len(experts)%a.k != 0 {
		return fmt.Errorf("%d experts are no whole number of tokens at %d each", len(experts), a.k)
	}
	for i, e := range experts {
		token := i / a.k
		if e < 0 || int(e) >= a.experts {
			return fmt.Errorf("token %d: expert %d of %d", token, e, a.experts)
		}
		if slices.Contains(experts[token*a.k:i], e) {
			return fmt.Errorf("token %d: expert %d is chosen twice", token, e)
		}
		if w := weight(i); !(w >= 0 && w <= weightMax) {
			return fmt.Errorf("token %d: weight %g of expert %d", token, w, e)
		}
	}
	return nil
}

// Merge adds what other has summed. Both must be of the same model.
func (a *Accumulator) Merge(other *Accumulator) error {
	if a.experts != other.experts || a.k != other.k {
		return fmt.Errorf("records of %d of %d experts cannot be added to records of %d of %d",
			other.k, other.experts, a.k, a.experts)
	}
	for number, from := range other.layers {
		to := a.layer(number)
		to.tokens += from.tokens
		for e := range from.count {
			to.count[e] += from.count[e]
			to.weight[e].whole += from.weight[e].whole
			to.weight[e].part += from.weight[e].part
			to.weight[e].carry()
		}
	}
	return nil
}

// Tokens is the number of tokens summed for a layer.
func (a *Accumulator) Tokens(layer int) int64 {
	if l, ok := a.layers[layer]; ok {
		return l.tokens
	}
	return 0
}

// Counts returns how often each expert of a layer was chosen; nil for a layer unseen.
func (a *Accumulator) Counts(layer int) []int64 {
	if l, ok := a.layers[layer]; ok {
		return slices.Clone(l.count)
	}
	return nil
}

// Scores returns the scores of the layers that have tokens.
func (a *Accumulator) Scores() Scores {
	s := Scores{Token: Table{}, Gate: Table{}}
	for number, l := range a.layers {
		if l.tokens == 0 {
			continue
		}
		token, gate := make([]float64, a.experts), make([]float64, a.experts)
		for e := range token {
			token[e] = Round4(float64(l.count[e]) / float64(int64(a.k)*l.tokens))
			gate[e] = Round4(l.weight[e].value() / float64(l.tokens))
		}
		s.Token[number], s.Gate[number] = token, gate
	}
	return s
}

// Round4 rounds to 4 decimals as Python's round(x, 4): to the decimal nearest to the
// double's exact value, halves to even, and back to the nearest double.
func Round4(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	// The text is a number, and rounding to 4 decimals cannot leave the range of a double.
	v, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 4, 64), 64)
	return v
}
