package train

import (
	"context"
	"math"
	"strings"
	"testing"

	"bzdata/train/model"
)

// balancedModel has all weights trainable, so that routers learn to share out.
func balancedModel(t *testing.T, workers int) *model.Model {
	t.Helper()
	m := newModel(t, "auto", workers)
	m.SetTrainable(func(string) bool { return true })
	return m
}

// TestAuxLoss checks a step's auxiliary loss against that of its batches, each with its padding left out, and that the
// gradient is that of the two losses together.
func TestAuxLoss(t *testing.T) {
	for _, mean := range []Mean{MeanOfBatches, MeanOfTokens} {
		cfg := tinyRun(1)
		cfg.RouterAuxLossCoef, cfg.Mean = 3, mean
		want, loss, targets := 0.0, 0.0, 0.0
		m := balancedModel(t, 2)
		read := reader{data: newData(), order: order{n: newData().n, seed: cfg.Seed}}
		var batches [2]micro
		for i := range batches {
			if err := read.read(&batches[i], int64(i*cfg.BatchSize), cfg.BatchSize); err != nil {
				t.Fatal(err)
			}
			targets += float64(batches[i].targets)
		}
		for i := range batches {
			b := &batches[i]
			share := 0.5
			if mean == MeanOfTokens {
				share = float64(b.targets) / targets
			}
			weight := share / float64(b.targets)
			sum, _, aux, err := m.BackwardBalanced(context.Background(), b.batch, float32(weight),
				model.Balance{Scale: float32(3 * share), Attended: attendedByHand(b)})
			if err != nil {
				t.Fatal(err)
			}
			want, loss = want+share*aux, loss+weight*sum
		}
		norm := 0.0
		for _, p := range m.Params() {
			norm += m.Device().SumSquares(p.Weight().Grad)[0]
		}
		got := mustRun(t, balancedModel(t, 2), newData(), cfg, Hooks{}).Metrics[0]
		if math.Abs(got.AuxLoss-want) > 1e-9 || math.Abs(got.LossNats-loss) > 1e-9 || want < 1 {
			t.Errorf("%s: losses %v and %v, want %v and %v", mean, got.LossNats, got.AuxLoss, loss, want)
		}
		if math.Abs(got.GradientNorm-math.Sqrt(norm)) > 1e-6*math.Sqrt(norm) {
			t.Errorf("%s: norm of the gradient %v, want %v", mean, got.GradientNorm, math.Sqrt(norm))
		}
	}
}

// attendedByHand marks the positions up to the last target of each sequence: where fakeData has its document.
func attendedByHand(b *micro) []bool {
	out := make([]bool, len(b.batch.Targets))
	for s := range b.batch.Sequences {
		last := 0
		for i, target := range b.batch.Targets[s*b.batch.Length : (s+1)*b.batch.Length] {
			if target >= 0 {
				last = i + 1
			}
		}
		for i := range last + 1 {
			out[s*b.batch.Length+i] = true
		}
	}
	return out
}

// TestAuxLossRun checks that the loss shares tokens out, that any number of workers gives the same bits, and that
// without it a run is what it was.
func TestAuxLossRun(t *testing.T) {
	run := func(workers int, coefficient float64) (Result, []float32) {
		cfg := tinyRun(30)
		cfg.RouterAuxLossCoef = coefficient
		m := balancedModel(t, workers)
		return mustRun(t, m, newData(), cfg, Hooks{}), weights(m)
	}
	plain, plainWeights := run(1, 0)
	res, want := run(1, 1)
	for _, workers := range []int{2, 5} {
		if _, got := run(workers, 1); !sameBits(got, want) {
			t.Errorf("other weights with %d workers than with one", workers)
		}
	}
	first, last := res.Metrics[0], res.Metrics[len(res.Metrics)-1]
	if !(last.AuxLoss < first.AuxLoss) || sameBits(want, plainWeights) {
		t.Errorf("the auxiliary loss goes from %v to %v", first.AuxLoss, last.AuxLoss)
	}
	if first.LossNats != plain.Metrics[0].LossNats || plain.Metrics[0].AuxLoss != 0 {
		t.Errorf("the first training loss is %v, without the auxiliary loss %v", first.LossNats, plain.Metrics[0].LossNats)
	}
	cfg := tinyRun(1)
	cfg.RouterAuxLossCoef = -1
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "router_aux_loss_coef is -1") {
		t.Errorf("error %v", err)
	}
}
