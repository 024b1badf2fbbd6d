package routing

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// Sources compares how bodies of text route: the Jensen-Shannon divergence (Lin 1991, in bits,
// from 0 to 1) between two sources' shares of choices, which are the token scores without their
// rounding, as the mean over layers. It is chosen over the cosine because token scores are
// distributions: it weighs an expert that only one of two texts uses, has a scale of its own, and
// its noise can be told. It is not safe for concurrent use.
type Sources struct {
	experts int // of a layer
	of      map[string]*sourceRoutes
}

// noiseFolds are the parts into which a source's documents are dealt to tell the noise.
const noiseFolds = 4

// halves are the ways to make two halves of four parts.
var halves = [][2][2]int{{{0, 1}, {2, 3}}, {{0, 2}, {1, 3}}, {{0, 3}, {1, 2}}}

// sourceRoutes are a source's counts of choices, by part of its documents and by layer.
type sourceRoutes struct {
	documents map[int]int // in order of arrival
	folds     [noiseFolds]map[int][]int64
}

// NewSources returns a comparison for a model with so many routed experts in a layer.
func NewSources(experts int) *Sources {
	return &Sources{experts: experts, of: map[string]*sourceRoutes{}}
}

// Add takes a layer's choices for the tokens of a source's document. The documents of a source
// should come in random order, the same for every layer.
func (s *Sources) Add(source string, document, layer int, experts []int32) {
	r := s.of[source]
	if r == nil {
		r = &sourceRoutes{documents: map[int]int{}}
		for i := range r.folds {
			r.folds[i] = map[int][]int64{}
		}
		s.of[source] = r
	}
	number, known := r.documents[document]
	if !known {
		number = len(r.documents)
		r.documents[document] = number
	}
	fold := r.folds[number%noiseFolds]
	if fold[layer] == nil {
		fold[layer] = make([]int64, s.experts)
	}
	for _, e := range experts {
		fold[layer][e]++
	}
}

// SourcePair says how differently two sources route.
type SourcePair struct {
	A, B string
	// DivergenceBits is the mean over layers of the Jensen-Shannon divergence, 0 to 1.
	DivergenceBits float64
	// NoiseBits is what two samples of these sizes would show if both sources routed alike: a
	// quarter of the divergences between halves of each source's documents, since a divergence
	// that is noise falls with the number of documents. 0 if Measured is false.
	NoiseBits float64
	// Measured says that each source has documents enough to tell the noise.
	Measured bool
	// Apart says that the divergence is more than noise: over twice as much.
	Apart bool
}

// noiseDocumentsMin is how many documents a source needs for its noise to be told.
const noiseDocumentsMin = 4 * noiseFolds

// apartRatio is how much more than noise a divergence must be. Of simulated pairs of one kind, whose
// documents each had favourite experts in all layers, 2 % were above it (TestSourcesNoise).
const apartRatio = 2

// Pairs compares every two sources, the most different first, ties by name.
func (s *Sources) Pairs() []SourcePair {
	names := slices.Sorted(maps.Keys(s.of))
	noise := map[string]float64{}
	for _, name := range names {
		noise[name] = s.of[name].noise()
	}
	var out []SourcePair
	for i, a := range names {
		for _, b := range names[i+1:] {
			p := SourcePair{A: a, B: b, DivergenceBits: divergence(s.of[a].sum(0, 1, 2, 3), s.of[b].sum(0, 1, 2, 3))}
			p.Measured = min(len(s.of[a].documents), len(s.of[b].documents)) >= noiseDocumentsMin
			if p.Measured {
				p.NoiseBits = (noise[a] + noise[b]) / 4
				p.Apart = p.DivergenceBits > apartRatio*p.NoiseBits
			}
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b SourcePair) int { return cmp.Compare(b.DivergenceBits, a.DivergenceBits) })
	return out
}

// noise is the mean divergence between halves of the documents.
func (r *sourceRoutes) noise() float64 {
	total := 0.0
	for _, h := range halves {
		total += divergence(r.sum(h[0][:]...), r.sum(h[1][:]...))
	}
	return total / float64(len(halves))
}

// sum adds parts up.
func (r *sourceRoutes) sum(folds ...int) map[int][]int64 {
	out := map[int][]int64{}
	for _, f := range folds {
		for layer, counts := range r.folds[f] {
			if out[layer] == nil {
				out[layer] = make([]int64, len(counts))
			}
			for e, c := range counts {
				out[layer][e] += c
			}
		}
	}
	return out
}

// divergence is the mean over the layers that both have.
func divergence(a, b map[int][]int64) float64 {
	total, layers := 0.0, 0
	for _, layer := range slices.Sorted(maps.Keys(a)) {
		if b[layer] != nil {
			total += jensenShannon(a[layer], b[layer])
			layers++
		}
	}
	return total / float64(max(1, layers))
}

// jensenShannon is the divergence of two distributions given by counts, in bits.
func jensenShannon(a, b []int64) float64 {
	sumA, sumB := int64(0), int64(0)
	for i := range a {
		sumA, sumB = sumA+a[i], sumB+b[i]
	}
	if sumA == 0 || sumB == 0 {
		return 0
	}
	bits := 0.0
	part := func(p, m float64) float64 {
		if p == 0 {
			return 0
		}
		return p / 2 * math.Log2(p/m)
	}
	for i := range a {
		p, q := float64(a[i])/float64(sumA), float64(b[i])/float64(sumB)
		m := (p + q) / 2
		bits += part(p, m) + part(q, m)
	}
	return max(0, bits)
}
