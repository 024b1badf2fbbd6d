package stages

import (
	"testing"

	"bzdata/train"
)

// TestLossEnds tells a loss that falls by one with each step, in trainings of few steps and of many.
func TestLossEnds(t *testing.T) {
	for steps, want := range map[int][2]float64{0: {0, 0}, 1: {9, 9}, 2: {9, 8}, 5: {8, 6}, 6: {8, 5}, 30: {4.5, -15.5}} {
		var ms []train.Metrics
		for i := range steps {
			ms = append(ms, train.Metrics{LossNats: float64(9 - i)})
		}
		if first, last := lossEnds(ms); first != want[0] || last != want[1] {
			t.Errorf("%d steps: %v and %v, want %v", steps, first, last, want)
		}
	}
}
