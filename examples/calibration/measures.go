package main

import (
	"math"
	"math/rand/v2"
	"sync"

	"bzdata/eval"
)

// contrast compares base and update on documents, with the interval and the standard error of the
// proof of loss.
func contrast(documents []eval.JudgedDocument, resamples int, seed uint64) (eval.Contrast, error) {
	base := make([]eval.JudgedDocument, len(documents))
	for i, d := range documents {
		base[i] = d
		base[i].Update = d.Base
	}
	first, second := eval.Judged{Documents: base}, eval.Judged{Documents: documents}
	return eval.ContrastOf([]eval.Judged{first}, []eval.Judged{second}, eval.CompareOptions{Seed: seed, Resamples: resamples})
}

// halve counts the halvings of which both halves agree.
func halve(judged eval.Judged, o options) (within int, err error) {
	return count(o.halvings, o, 1, func(rng *rand.Rand) (bool, error) {
		docs := append([]eval.JudgedDocument(nil), judged.Documents...)
		rng.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		const unused = 99 // the fewest resamples there can be: the interval of a half is not looked at
		a, err := contrast(docs[:len(docs)/2], unused, o.seed)
		if err != nil {
			return false, err
		}
		b, err := contrast(docs[len(docs)/2:], unused, o.seed)
		apart := math.Abs(a.Difference.Difference - b.Difference.Difference)
		return apart <= 1.96*math.Hypot(a.StandardError, b.StandardError), err
	})
}

// flip counts the draws of signs that the gate passes.
func flip(judged eval.Judged, o options) (passed int, err error) {
	return count(o.flips, o, 2, func(rng *rand.Rand) (bool, error) {
		docs := append([]eval.JudgedDocument(nil), judged.Documents...)
		for i, d := range docs {
			if rng.Uint64()&1 == 0 {
				docs[i].Update = d.Base - (d.Update - d.Base)
			}
		}
		c, err := contrast(docs, o.resample, rng.Uint64())
		flipped := eval.Comparison{Difference: c.Difference, Confidence: c.Confidence, DocumentsMin: c.DocumentsMin}
		return eval.Gate(flipped, 0).Outcome == eval.Improves, err
	})
}

// count calls draw n times, each with random numbers of its own, and counts what is true.
func count(n int, o options, purpose uint64, draw func(*rand.Rand) (bool, error)) (int, error) {
	var group sync.WaitGroup
	counts, errs := make([]int, o.workers), make([]error, o.workers)
	for w := range o.workers {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += o.workers {
				var yes bool
				yes, errs[w] = draw(rand.New(rand.NewPCG(o.seed<<8|purpose, uint64(i))))
				if yes {
					counts[w]++
				}
			}
		})
	}
	group.Wait()
	sum := 0
	for w, c := range counts {
		if errs[w] != nil {
			return 0, errs[w]
		}
		sum += c
	}
	return sum, nil
}
