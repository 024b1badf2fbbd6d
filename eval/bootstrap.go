package eval

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
)

// stratumMin is the least number of documents of a stratum of its own.
const stratumMin = 8

// residual is a document as the resampling sees it: e = x - θ n with the whole sample's θ, and n. With
// e the sums stay small, so that the variance of a resample loses no digits.
type residual struct{ e, n float64 }

// sample is the documents with what they say together.
type sample struct {
	strata        [][]residual
	theta         float64
	standardError float64
}

func newSample(docs []pairedDocument, stratify bool) *sample {
	s := &sample{}
	x, n := 0.0, 0.0
	for _, d := range docs {
		x += d.candidate - d.base
		n += d.tokens
	}
	s.theta = x / n
	for _, group := range groups(docs, stratify) {
		stratum := make([]residual, 0, len(group))
		for _, d := range group {
			stratum = append(stratum, residual{d.candidate - d.base - s.theta*d.tokens, d.tokens})
		}
		s.strata = append(s.strata, stratum)
	}
	sums := make([]sums, len(s.strata))
	for h, stratum := range s.strata {
		for _, r := range stratum {
			sums[h].add(r)
		}
	}
	_, s.standardError = combine(sums)
	return s
}

// groups cuts documents into strata, in the order of source numbers, small ones joined at the end.
func groups(docs []pairedDocument, stratify bool) [][]pairedDocument {
	if !stratify {
		return [][]pairedDocument{docs}
	}
	bySource := map[uint32][]pairedDocument{}
	var order []uint32
	for _, d := range docs {
		if bySource[d.source] == nil {
			order = append(order, d.source)
		}
		bySource[d.source] = append(bySource[d.source], d)
	}
	slices.Sort(order)
	var out [][]pairedDocument
	var rest []pairedDocument
	for _, source := range order {
		if group := bySource[source]; len(group) >= stratumMin {
			out = append(out, group)
		} else {
			rest = append(rest, group...)
		}
	}
	switch {
	case len(rest) == 0:
	case len(rest) < stratumMin && len(out) > 0:
		out[len(out)-1] = append(slices.Clone(out[len(out)-1]), rest...)
	default:
		out = append(out, rest)
	}
	return out
}

// sums are those of one stratum of a sample.
type sums struct{ k, e, n, ee, en, nn float64 }

func (s *sums) add(r residual) {
	s.k++
	s.e += r.e
	s.n += r.n
	s.ee += r.e * r.e
	s.en += r.e * r.n
	s.nn += r.n * r.n
}

// combine returns θ* - θ and the linearised standard error of θ*, see the package comment. A stratum
// of one document has no variance to speak of.
func combine(strata []sums) (delta, standardError float64) {
	e, n := 0.0, 0.0
	for _, s := range strata {
		e += s.e
		n += s.n
	}
	delta = e / n
	variance := 0.0
	for _, s := range strata {
		if s.k < 2 {
			continue
		}
		sum := s.e - delta*s.n
		squares := s.ee - 2*delta*s.en + delta*delta*s.nn
		variance += s.k / (s.k - 1) * max(0, squares-sum*sum/s.k)
	}
	return delta, math.Sqrt(variance) / n
}

// interval is the bootstrap-t interval of θ.
func (s *sample) interval(opts CompareOptions, stream uint64) Interval {
	documents := 0
	for _, stratum := range s.strata {
		documents += len(stratum)
	}
	if documents < 2 {
		return unbounded()
	}
	if s.standardError == 0 { // all documents say exactly the same
		return Interval{s.theta, s.theta}
	}
	t := make([]float64, opts.Resamples)
	parallel(len(t), opts.Workers, func(from, to int) {
		sums := make([]sums, len(s.strata))
		for i := from; i < to; i++ {
			t[i] = s.resample(rand.NewPCG(mix(opts.Seed, stream), mix(uint64(i), stream)), sums)
		}
	})
	slices.Sort(t)
	// The k-th of R sorted values estimates the quantile k/(R+1).
	tail := int(math.Floor(float64(opts.Resamples+1)*(1-opts.Confidence)/2 + 1e-9))
	return Interval{s.theta - t[len(t)-tail]*s.standardError, s.theta - t[tail-1]*s.standardError}
}

// resample draws each stratum anew and returns t*.
func (s *sample) resample(rng *rand.PCG, sums []sums) float64 {
	clear(sums)
	for h, stratum := range s.strata {
		n := uint64(len(stratum))
		for range stratum {
			i, _ := bits.Mul64(rng.Uint64(), n) // uniform to within n/2^64
			sums[h].add(stratum[i])
		}
	}
	delta, standardError := combine(sums)
	if standardError == 0 {
		if delta == 0 {
			return 0
		}
		return math.Copysign(math.Inf(1), delta)
	}
	return delta / standardError
}

// mix spreads two numbers over 64 bits (Steele, Lea and Flood 2014, the finaliser of SplitMix64).
func mix(a, b uint64) uint64 {
	x := a + 0x9e3779b97f4a7c15*(b+1)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// parallel calls do for consecutive ranges that cover [0, n).
func parallel(n, workers int, do func(from, to int)) {
	workers = max(1, min(workers, n))
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() { do(w*n/workers, (w+1)*n/workers) })
	}
	group.Wait()
}
