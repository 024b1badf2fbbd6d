package routing

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestJensenShannon(t *testing.T) {
	for _, c := range []struct {
		a, b []int64
		want float64
	}{
		{[]int64{1, 1}, []int64{5, 5}, 0},
		{[]int64{3, 0}, []int64{0, 7}, 1}, // no expert in common
		// H(3/4, 1/4) - (H(1/2, 1/2) + H(1, 0))/2 = 0.811278 - 0.5
		{[]int64{1, 1}, []int64{4, 0}, 0.311278},
		{[]int64{0, 0}, []int64{1, 1}, 0},
	} {
		got, swapped := jensenShannon(c.a, c.b), jensenShannon(c.b, c.a)
		if math.Abs(got-c.want) > 1e-6 || math.Abs(got-swapped) > 1e-15 {
			t.Errorf("%v, %v: %g and %g, want %g", c.a, c.b, got, swapped, c.want)
		}
	}
}

// drawSource adds documents whose tokens choose alike: each document has a topic, a set of favoured
// experts of its own beside those of the source.
func drawSource(s *Sources, rng *rand.Rand, name string, first, documents, favoured int) {
	for d := range documents {
		topic := rng.IntN(16)
		for layer := range 4 {
			var experts []int32
			for range 60 {
				switch rng.IntN(3) {
				case 0:
					experts = append(experts, int32((topic+layer)%16))
				case 1:
					experts = append(experts, int32((favoured+rng.IntN(4))%16))
				default:
					experts = append(experts, int32(rng.IntN(16)))
				}
			}
			s.Add(name, first+d, layer, experts)
		}
	}
}

// TestSourcesNoise draws two sources of one kind and one of another: the former are not told
// apart, though their tokens are far from independent, and the latter is.
func TestSourcesNoise(t *testing.T) {
	apart, ratio, largest := 0, 0.0, 0.0
	const runs = 200
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := NewSources(16)
		drawSource(s, rng, "a", 0, 40, 0)
		drawSource(s, rng, "b", 40, 90, 0)
		drawSource(s, rng, "c", 130, 40, 5)
		for _, p := range s.Pairs() {
			switch {
			case !p.Measured || p.DivergenceBits < 0 || p.DivergenceBits > 1:
				t.Fatalf("%+v", p)
			case p.A == "a" && p.B == "b":
				ratio += p.DivergenceBits / p.NoiseBits / runs
				largest = max(largest, p.DivergenceBits/p.NoiseBits)
				if p.Apart {
					apart++
				}
			case !p.Apart:
				t.Errorf("seed %d: %s and %s route alike: %+v", seed, p.A, p.B, p)
			}
		}
	}
	if apart > runs/50 || ratio < 0.8 || ratio > 1.2 {
		t.Errorf("one source told apart %d times; divergence over noise %.3f on average, at most %.2f", apart, ratio, largest)
	}
	t.Logf("told apart %d of %d times; divergence over noise %.3f on average, at most %.2f", apart, runs, ratio, largest)
}

func TestSourcesFew(t *testing.T) {
	s := NewSources(2)
	s.Add("a", 0, 1, []int32{0, 1})
	s.Add("b", 1, 1, []int32{1, 1})
	pairs := s.Pairs()
	if len(pairs) != 1 || pairs[0].Measured || pairs[0].Apart || pairs[0].NoiseBits != 0 || math.Abs(pairs[0].DivergenceBits-0.311278) > 1e-6 {
		t.Errorf("%+v", pairs)
	}
}
