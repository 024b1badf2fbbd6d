package train

import (
	"math"
	"slices"
	"testing"

	"bzdata/tokenize"
)

// TestOrder checks that each epoch is a permutation, that epochs differ, and that a position means the
// same wherever one starts.
func TestOrder(t *testing.T) {
	for _, n := range []int{1, 2, 7, 100} {
		whole := order{n: n, seed: 4}
		var all []int
		for position := range int64(3 * n) {
			all = append(all, whole.at(position))
			fresh := order{n: n, seed: 4}
			if fresh.at(position) != all[position] {
				t.Fatalf("position %d depends on where the order was entered", position)
			}
		}
		for epoch := range 3 {
			part := slices.Clone(all[epoch*n : (epoch+1)*n])
			slices.Sort(part)
			for i := range part {
				if part[i] != i {
					t.Fatalf("epoch %d of %d sequences: %v", epoch, n, part)
				}
			}
		}
		if n > 7 && slices.Equal(all[:n], all[n:2*n]) {
			t.Error("two epochs have one order")
		}
	}
	// Each of the 24 orders of 4 must be about as frequent: 10,000 draws, 23 degrees of freedom, the
	// 0.9999 quantile of chi squared is 58.6.
	count := map[[4]uint32]int{}
	for seed := range uint64(10000) {
		count[[4]uint32(permutation(nil, 4, seed, 7))]++
	}
	chi := 0.0
	for _, c := range count {
		d := float64(c) - 10000./24
		chi += d * d / (10000. / 24)
	}
	if len(count) != 24 || chi > 58.6 {
		t.Errorf("%d orders, chi squared %.1f", len(count), chi)
	}
}

func TestJoin(t *testing.T) {
	seen := 0
	part := func(n int) *fakeData { return &fakeData{n: n, length: 4, onRead: func(i int) { seen = 100*n + i }} }
	j := Join(part(3), part(0), part(2))
	want := []int{300, 301, 302, 200, 201}
	for i := range want {
		if err := j.Sequence(i, &tokenize.Sequence{}); err != nil || seen != want[i] {
			t.Errorf("sequence %d read %d: %v", i, seen, err)
		}
	}
	if j.Sequences() != 5 || Join().Sequences() != 0 {
		t.Error("wrong number of sequences")
	}
	if err := j.Sequence(5, &tokenize.Sequence{}); err == nil {
		t.Error("no error past the end")
	}
}

// TestSchedules checks rates against the formulas of transformers 4.57 optimization.py, worked out.
func TestSchedules(t *testing.T) {
	base := Config{LearningRate: 1, MaxSteps: 10, WarmupSteps: 2}
	tests := []struct {
		name string
		edit func(*Config)
		want []float64 // of steps 0, 1, …
	}{
		{"cosine", func(c *Config) { c.Schedule = Cosine },
			[]float64{0, 0.5, 1, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5}},
		{"cosine past its end", func(c *Config) { c.Schedule, c.WarmupSteps, c.TotalSteps = Cosine, 0, 2 },
			[]float64{1, 0.5, 0}},
		{"long cosine", func(c *Config) { c.Schedule, c.WarmupSteps, c.TotalSteps = Cosine, 600, 88000 },
			[]float64{0, 1. / 600, 2. / 600}},
		{"constant", func(c *Config) { c.Schedule = Constant }, []float64{0, 0.5, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"wsd", func(c *Config) { c.Schedule, c.DecaySteps = WSD, 4 },
			[]float64{0, 0.5, 1, 1, 1, 1, 1, 0.5, 1 - math.Sqrt(0.5), 1 - math.Sqrt(0.75)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := base
			tt.edit(&cfg)
			for step, want := range tt.want {
				if got := cfg.Rate(step); math.Abs(got-want) > 1e-15 {
					t.Errorf("step %d: rate %v, want %v", step, got, want)
				}
			}
		})
	}
	if c := (Config{WarmupSteps: 600, TotalSteps: 88000}).Fit(50); c.WarmupSteps != 5 || c.scheduleSteps() != 50 {
		t.Errorf("fitted to 50 steps: %+v", c)
	}
}
