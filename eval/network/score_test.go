package network

import (
	"math"
	"slices"
	"testing"
)

func nan() float64 { return math.NaN() }

func batches(loss ...float64) []BatchLoss {
	out := make([]BatchLoss, len(loss))
	for i, l := range loss {
		out[i] = BatchLoss{Loss: l, Aux: 0.5}
	}
	return out
}

func many(n int, loss float64) []BatchLoss {
	return batches(slices.Repeat([]float64{loss}, n)...)
}

func TestLoss(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		profile string
		what    string
		batches []BatchLoss
		want    ValLoss
	}{
		{"blockzero", "51 batches over 50", many(60, 2.5), ValLoss{2 * 51.0 / 50, 51, 0}},
		{"blockzero", "3 batches over 2", many(3, 2.5), ValLoss{3, 3, 0}},
		{"blockzero", "NaN stays in the divisor, its aux is subtracted", batches(2.5, nan(), 2.5), ValLoss{(5 - 1.5) / 2, 3, 1}},
		{"blockzero", "infinity is added", batches(2.5, inf), ValLoss{inf, 2, 1}},
		{"connito", "51 batches", many(60, 2.5), ValLoss{2, 51, 0}},
		{"connito", "one batch", many(1, 2.5), ValLoss{2, 1, 0}},
		{"connito", "NaN leaves sum, aux and divisor", batches(2.5, nan(), 3.5, inf), ValLoss{2.5, 4, 2}},
		{"connito", "all NaN", batches(nan(), nan()), ValLoss{inf, 2, 2}},
		{"connito", "none", nil, ValLoss{inf, 0, 0}},
		{"blockzero-docs", "50 batches", append(many(50, 2.5), batches(99)...), ValLoss{2, 50, 0}},
		{"sn9", "mean", batches(1.5, 2.5), ValLoss{1.5, 2, 0}},
	} {
		got, err := load(t, c.profile).Scorer().Loss(c.batches)
		if err != nil || got != c.want {
			t.Errorf("%s, %s: %v, %v; want %v", c.profile, c.what, got, err, c.want)
		}
	}
	for profile, n := range map[string]int{"blockzero": 1, "blockzero-docs": 0, "sn9": 0} {
		if _, err := load(t, profile).Scorer().Loss(many(n, 1)); err == nil {
			t.Errorf("%s: %d batches accepted", profile, n)
		}
	}
}

func TestScore(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		profile         string
		base, candidate float64
		want            float64
	}{
		{"blockzero", 3, 2.5, 2.5},
		{"blockzero-docs", 3, 2.5, 0.5},
		{"blockzero-docs", 2.5, 3, 0},
		{"blockzero-docs", nan(), 3, 0},
		{"connito", 3, 2.5, 0.435275281648062}, // Python: 0.5**1.2
		{"connito", 2.5, 2.5, 0},
		{"connito", 2.5, 3, 0},
		{"connito", 2.5, inf, 0},
		{"connito", inf, inf, 0},
		{"sn9", 3, 2.5, 2.5},
	} {
		got := load(t, c.profile).Scorer().Score(c.base, c.candidate)
		if math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s: score(%g, %g) = %.17g, want %g", c.profile, c.base, c.candidate, got, c.want)
		}
	}
}

func entries(scores ...float64) []Entry {
	out := make([]Entry, len(scores))
	for i, s := range scores {
		out[i].Score = s
	}
	return out
}

func TestReward(t *testing.T) {
	for _, c := range []struct {
		profile string
		round   []Entry
		want    []float64
	}{
		{"connito", entries(0.1, 0.4, 0.2, 0.3, 0.05), []float64{0, 2.25, 1, 1.5, 0}},
		{"connito", entries(0.4, 0.4, 0.2, 0.3), []float64{0, 0, 1.5, 2.25}}, // ties hold no rank
		{"connito", entries(0, 0, 0.2), []float64{0, 0, 2.25}},
		{"connito", entries(0), []float64{0}},
		{"connito", nil, []float64{}},
		{"blockzero-docs", entries(1, 0, 3), []float64{0.25, 0, 0.75}},
		{"blockzero-docs", entries(0, 0), []float64{0, 0}},
		{"blockzero", entries(2, 5, 3, 4), []float64{0, 1, 1, 1}}, // the highest losses
		{"blockzero", entries(2, 3, 3, 4, 3), []float64{0, 1, 1, 1, 1}},
		{"blockzero", entries(2, 3), []float64{1, 1}},
		{"sn9", entries(2), []float64{1}},
	} {
		got := load(t, c.profile).Scorer().Reward(c.round, 0)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %v: %v, want %v", c.profile, c.round, got, c.want)
		}
	}
}

func TestWinRates(t *testing.T) {
	s := load(t, "sn9").Scorer().(subnet9)
	// At age 0 the earlier model's loss counts 0.5 % less; the third is as old as the first
	// and has no advantage over it.
	round := []Entry{{2.000, 100}, {1.995, 101}, {1.999, 100}, {1.980, 102}}
	got := s.winRates(round, 100)
	// 0 beats 1 (1.99 < 1.995), loses to 2, loses to 3 (1.99 > 1.98); 1 beats none
	// (against 2: 1.989, against 3: 1.985 > 1.98); 2 beats 0 and 1, loses to 3 (1.989 > 1.98).
	if want := []float64{1.0 / 3, 0, 2.0 / 3, 1}; !slices.Equal(got, want) {
		t.Errorf("win rates %v, want %v", got, want)
	}
	aged := s.winRates(round, 100+14400)
	if want := []float64{0, 2.0 / 3, 1.0 / 3, 1}; !slices.Equal(aged, want) {
		t.Errorf("win rates after the decay %v, want %v", aged, want)
	}
	if got := s.winRates(entries(2, 2), 0); !slices.Equal(got, []float64{0, 0}) {
		t.Errorf("equal losses of one block: %v", got)
	}
	weights := s.Reward(round, 100)
	if sum := weights[0] + weights[1] + weights[2] + weights[3]; math.Abs(sum-1) > 1e-12 || weights[3] < 0.99 {
		t.Errorf("softmax %v", weights)
	}
	e := Epsilon{Initial: 0.005, Final: 0.0001, Blocks: 14400}
	for age, want := range map[int64]float64{-5: 0.005, 0: 0.005, 7200: 0.00255, 14400: 0.0001, 20000: 0.0001} {
		if got := e.At(age); math.Abs(got-want) > 1e-15 {
			t.Errorf("epsilon at age %d = %g, want %g", age, got, want)
		}
	}
}

func TestWeightedLoss(t *testing.T) {
	sources := []Source{{Name: "a", Weight: 0.5}, {Name: "b", Weight: 0.25}, {Name: "c", Weight: 0.25}}
	got, err := WeightedLoss(sources, map[string]float64{"a": 2, "b": 4, "c": 4})
	if err != nil || got != 3 {
		t.Errorf("%g, %v", got, err)
	}
	got, err = WeightedLoss(sources, map[string]float64{"a": 2, "b": 5})
	if err != nil || math.Abs(got-3) > 1e-15 {
		t.Errorf("renormalised: %g, %v", got, err)
	}
	if _, err := WeightedLoss(sources, nil); err == nil {
		t.Error("no losses accepted")
	}
}
