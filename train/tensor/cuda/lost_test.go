package cuda

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// TestLostLate loses the card at one launch after another of what a model is asked for, as a card is lost: the driver says so where
// something is waited for. Each time there must be an error, or the result, and never zeros that are taken for one.
func TestLostLate(t *testing.T) {
	card := openLost(t)
	for name, ask := range lostAsks {
		t.Run(name, func(t *testing.T) {
			want, launches := card.ask(t, 0, ask)
			if want.err != nil || launches == 0 {
				t.Fatalf("%d launches: %v", launches, want.err)
			}
			for at := launches; at > 0; at -= 1 + launches/25 {
				if got, _ := card.ask(t, at, ask); got.err == nil && !slices.Equal(got.values, want.values) {
					t.Fatalf("lost at launch %d of %d: no error, and another result", at, launches)
				}
			}
		})
	}
}

// asked is what a model was asked for, as numbers.
type asked struct {
	values []float32
	err    error
}

var lostAsks = map[string]func(m *model.Model, s *model.Stream, b model.Batch) asked{
	"Model.Loss": func(m *model.Model, _ *model.Stream, b model.Batch) asked {
		a := asked{values: make([]float32, len(b.Tokens))}
		_, _, a.err = m.Loss(context.Background(), b, a.values)
		return a
	},
	"Model.Routes": func(m *model.Model, _ *model.Stream, b model.Batch) (a asked) {
		a.err = m.Routes(context.Background(), b, a.route)
		return a
	},
	"Model.Logits": func(m *model.Model, _ *model.Stream, b model.Batch) (a asked) {
		a.err = m.Logits(context.Background(), b, func(_ int, logits []float32) { a.values = append(a.values, logits...) })
		return a
	},
	"Stream.Routes": func(_ *model.Model, s *model.Stream, b model.Batch) (a asked) {
		a.err = s.Routes(context.Background(), []model.Batch{b, b}, func(_ int, r model.Route) { a.route(r) })
		return a
	},
	"Stream.Losses": func(_ *model.Model, s *model.Stream, b model.Batch) (a asked) {
		losses, _, err := s.Losses(context.Background(), []model.Batch{b, b}, nil)
		for _, l := range losses {
			a.values = append(a.values, l...)
		}
		return asked{a.values, err}
	},
	"train.Run": trainLost,
}

// trainLost trains the experts, with the best weights kept in memory.
func trainLost(m *model.Model, _ *model.Stream, b model.Batch) (a asked) {
	m.SetTrainable(func(name string) bool { return strings.Contains(name, ".experts.") })
	cfg := train.DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps, cfg.EvalSteps, cfg.LearningRate = 1, 1, 2, 1, 0.1
	hooks := train.Hooks{Evaluate: func(ctx context.Context, m *model.Model) (float64, error) {
		sum, _, err := m.Loss(ctx, b, nil)
		return sum, err
	}}
	_, a.err = train.Run(context.Background(), m, oneSequence(b.Tokens), cfg, hooks)
	if a.err == nil && m.Device().Sync() != nil {
		return asked{} // a fault before the run's end must have been its own
	}
	for _, p := range m.Params() {
		if p.Trains() {
			a.values = append(a.values, p.Values()...)
		}
	}
	if a.err == nil {
		a.err = m.Device().Err() // as one must ask after reading values
	}
	return a
}

// oneSequence are the tokens of all data.
type oneSequence []int32

func (oneSequence) Sequences() int { return 1 }

func (s oneSequence) Sequence(_ int, dst *tokenize.Sequence) error {
	*dst = tokenize.Sequence{Tokens: s, Target: slices.Repeat([]bool{true}, len(s)), Segments: []tokenize.Segment{{End: len(s)}}}
	return nil
}

func (a *asked) route(r model.Route) {
	a.values = append(a.values, r.Weights...)
	for _, e := range r.Experts {
		a.values = append(a.values, float32(e))
	}
}

// losable is a small model on the fake card.
type losable struct {
	d *Device
	m *model.Model
	s *model.Stream

	weights [][]float32 // as they are before any training
}

func openLost(t *testing.T) *losable {
	t.Helper()
	const dir = "../../model/testdata/deepseek_v2_lite"
	d := newFake(t, tensor.BF16)
	m, openErr := model.Open(store.OS(), dir, d)
	weights, dirErr := checkpoint.OpenDir(store.OS(), dir)
	if err := errors.Join(openErr, dirErr, d.Sync()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { weights.Close() })
	s, err := model.NewStream(m.Config(), weights, d)
	if err != nil {
		t.Fatal(err)
	}
	l := &losable{d: d, m: m, s: s}
	for _, p := range m.Params() {
		l.weights = append(l.weights, p.Values())
	}
	return l
}

// ask asks the model. The card is lost at a launch from now on, if that is not 0, and back afterwards. ask also returns how many
// launches there were.
func (l *losable) ask(t *testing.T, at int, do func(*model.Model, *model.Stream, model.Batch) asked) (asked, int) {
	t.Helper()
	b := model.Batch{Sequences: 1, Length: 5, Tokens: []int32{3, 1, 4, 1, 5}, Targets: []int32{1, 4, 1, 5, 9}}
	l.d.experts.drop(l.d) // a table that was copied to a lost card is not there
	for i, p := range l.m.Params() {
		p.SetValues(l.weights[i])
	}
	if err := l.d.Sync(); err != nil {
		t.Fatal(err)
	}
	fakeSet(t, "async", 1, 0)
	fakeSet(t, "lose_at_launch", at, 0)
	got := do(l.m, l.s, b)
	launches := fakeCount(t, "launches")
	fakeSet(t, "lose_at_launch", 0, 0)
	l.d.err = nil
	return got, launches
}

// TestCalibrateGivesBack checks that a run that is only timed keeps nothing of the card, or of the host's pinned memory.
func TestCalibrateGivesBack(t *testing.T) {
	for _, precision := range []tensor.Precision{tensor.Half, tensor.HalfAdam8, tensor.HalfHost} {
		d := newFakeOf(t, Options{Precision: precision})
		m, err := model.Open(store.OS(), "../../model/testdata/deepseek_v2_lite", d)
		if err != nil {
			t.Fatal(err)
		}
		m.SetTrainable(func(name string) bool { return strings.Contains(name, ".experts.") })
		cfg := train.DefaultConfig()
		cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps = 1, 1, 2
		var used []Memory
		for range 3 {
			if _, err := train.Calibrate(context.Background(), m, oneSequence{3, 1, 4, 1, 5}, cfg, 1, time.Now); err != nil {
				t.Fatal(err)
			}
			memory, err := d.Memory()
			if err != nil || len(d.pinned) > 0 {
				t.Errorf("%d blocks of pinned memory are left, %v", len(d.pinned), err)
			}
			used = append(used, memory)
		}
		if used[2].Used != used[0].Used {
			t.Errorf("%s: %d bytes are in use, %d after the first time", precision, used[2].Used, used[0].Used)
		}
	}
}
