package cuda

import (
	"context"
	"errors"
	"slices"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// TestLostLate loses the card at each launch of what a model is asked for, in turn, as a card is lost: the driver says so where
// something is waited for. Each time there must be an error, or the result, and never zeros that are taken for one.
func TestLostLate(t *testing.T) {
	card := openLost(t)
	for name, ask := range lostAsks {
		t.Run(name, func(t *testing.T) {
			want, launches := card.ask(t, 0, ask)
			if want.err != nil || launches == 0 {
				t.Fatalf("%d launches: %v", launches, want.err)
			}
			for at := 1; at <= launches; at++ {
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
	return &losable{d, m, s}
}

// ask asks the model. The card is lost at a launch from now on, if that is not 0, and back afterwards. ask also returns how many
// launches there were.
func (l *losable) ask(t *testing.T, at int, do func(*model.Model, *model.Stream, model.Batch) asked) (asked, int) {
	t.Helper()
	b := model.Batch{Sequences: 1, Length: 5, Tokens: []int32{3, 1, 4, 1, 5}, Targets: []int32{1, 4, 1, 5, 9}}
	l.d.experts.drop(l.d) // a table that was copied to a lost card is not there
	fakeSet(t, "late", 1, 0)
	fakeSet(t, "lose_at_launch", at, 0)
	got := do(l.m, l.s, b)
	launches := fakeCount(t, "launches")
	fakeSet(t, "lose_at_launch", 0, 0)
	l.d.err = nil
	return got, launches
}
