package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

// update is what a synthetic update does to documents: nats per token on average, their spread between
// documents, and a share of documents that it hurts or helps much more.
type update struct {
	name                string
	mean, spread, share float64
	tail                float64
}

// updates are graded from a good one to a bad one; small differences have small spreads, as steps along one
// training have.
func updates() []update {
	return []update{
		{"much better", -0.06, 0.05, 0.05, 0.3},
		{"better", -0.02, 0.03, 0.05, -0.2},
		{"a little better", -0.004, 0.01, 0.1, 0.05},
		{"the same on average", 0, 0.02, 0.05, 0.1},
		{"worse", 0.03, 0.04, 0.1, 0.2},
	}
}

// judgedDocuments draws documents as a judge part has them: lengths are lognormal and cut at 1,024 tokens, the
// base's loss is lognormal, and what the update does is Student's t with 4 degrees of freedom, with an
// exponential tail for a share of the documents, whose sign is that of tail.
func judgedDocuments(rng *rand.Rand, n int, u update) []pairedDocument {
	out := make([]pairedDocument, n)
	for i := range out {
		tokens := math.Round(min(1024, math.Exp(5+0.8*rng.NormFloat64()))) + 8
		square := 0.0
		for range 4 {
			z := rng.NormFloat64()
			square += z * z
		}
		effect := u.mean + u.spread*rng.NormFloat64()/math.Sqrt(square/4)
		if rng.Float64() < u.share {
			effect += u.tail * rng.ExpFloat64()
		}
		base := tokens * math.Exp(0.7+0.3*rng.NormFloat64())
		out[i] = pairedDocument{0, base, base + tokens*effect, tokens}
	}
	return out
}

// TestHalvings checks the standard error by which a verdict is given: two random halves of the judged documents
// must differ by no more than 1.96 of it in about 95 of 100 cases, for updates of every grade.
func TestHalvings(t *testing.T) {
	const documents, sets, halvings = 400, 50, 40
	for i, u := range updates() {
		rng := rand.New(rand.NewPCG(uint64(i), 11))
		within := 0
		for range sets {
			docs := judgedDocuments(rng, documents, u)
			for range halvings {
				rng.Shuffle(documents, func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
				a, b := newSample(docs[:documents/2], false), newSample(docs[documents/2:], false)
				if math.Abs(a.theta-b.theta) <= 1.96*math.Hypot(a.standardError, b.standardError) {
					within++
				}
			}
		}
		share := float64(within) / (sets * halvings)
		t.Logf("%s: %.1f %% of %d halvings within", u.name, 100*share, sets*halvings)
		if share < 0.93 || share > 0.97 {
			t.Errorf("%s: %.1f %% of %d halvings agree to within 1.96 standard errors; want 93 to 97", u.name, 100*share, sets*halvings)
		}
	}
}

// TestSignFlips checks how often the gate passes an update that does nothing: the signs of the documents'
// differences are drawn anew, so that no direction is left in them. Nominal are 2.5 of 100.
func TestSignFlips(t *testing.T) {
	const documents, draws, yesMax = 160, 2000, 0.06
	opts, err := CompareOptions{Seed: 5, Resamples: 499, Workers: 2}.complete()
	if err != nil {
		t.Fatal(err)
	}
	for i, u := range updates() {
		if testing.Short() && i > 0 {
			break
		}
		rng := rand.New(rand.NewPCG(uint64(i), 12))
		docs := judgedDocuments(rng, documents, u)
		flipped := make([]pairedDocument, documents)
		yes := 0
		for draw := range draws {
			for k, d := range docs {
				if rng.Uint64()&1 == 0 {
					d.candidate = d.base - (d.candidate - d.base)
				}
				flipped[k] = d
			}
			c := Comparison{Difference: difference(flipped, opts, uint64(draw)), Confidence: opts.Confidence}
			if Gate(c, 0).Outcome == Improves {
				yes++
			}
		}
		t.Logf("%s: the gate passes %.2f %% of %d draws", u.name, 100*float64(yes)/draws, draws)
		if yes > yesMax*draws || yes == 0 {
			t.Errorf("%s: the gate passes %d of %d draws without effect; want more than none and at most %.0f %%", u.name, yes, draws, 100*yesMax)
		}
	}
}
