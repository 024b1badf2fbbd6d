package stages

import (
	"math/rand/v2"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/train"
)

// simulated is a machine of which only the time is real to the program.
type simulated struct{ at time.Time }

func (s *simulated) now() time.Time { return s.at }
func (s *simulated) take(seconds float64) {
	s.at = s.at.Add(time.Duration(seconds * float64(time.Second)))
}

// TestPaceEndsInTime trains in simulated windows on machines that become up to three times slower, at
// once or now and then, and judges at the pace of the last steps: the bundle is there before the
// deadline. Where the machine stays as it was measured, but for one step, nearly all of the time is trained in.
func TestPaceEndsInTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		clock := &simulated{time.Unix(1_700_000_000, 0)}
		deadline := clock.at.Add(time.Duration(30+rng.IntN(30)) * time.Second)
		w := &pipeline.Window{Deadline: func() time.Time { return deadline }, Now: clock.now}
		judging := 0.5 + 3*rng.Float64()
		f := &fitted{StepS: 0.02 + rng.Float64(), EvaluateS: rng.Float64(), LeftS: w.Left().Seconds()}
		f.ReserveS = reserve(time.Duration(f.EvaluateS*1e9), time.Duration(judging*1e9), 2*time.Second)
		room := w.Left() - time.Duration(f.ReserveS*float64(time.Second))
		f.Steps = train.FitSteps(room, time.Duration(f.StepS*1e9), time.Duration(f.EvaluateS*1e9), 0)
		slow := func() float64 { return 1 }
		kind, steps, trained := i%5, 0, 0.0
		switch kind {
		case 1:
			from := clock.at.Add(time.Duration(rng.IntN(40)) * time.Second)
			slow = func() float64 {
				if clock.at.After(from) {
					return 3
				}
				return 1
			}
		case 2:
			slow = func() float64 { return 1 + 2*rng.Float64() }
		case 3:
			slow = func() float64 { return 0.5 }
		case 4:
			odd := 1 + rng.IntN(3)
			slow = func() float64 {
				if steps == odd && f.Steps > 60 {
					return 15
				}
				return 1
			}
		}
		p := &pace{fitted: f, w: w, evaluates: true}
		clock.take(f.EvaluateS * slow())
		for steps < fasterMax*f.Steps && !p.stop() {
			took := f.StepS * slow()
			clock.take(took)
			p.stepped()
			steps, trained = steps+1, trained+took
		}
		last := slow()
		clock.take((f.EvaluateS + judging) * last)
		if w.Left() < 0 {
			t.Fatalf("window %d, kind %d: %v late after %d of %d steps of %.2f s, slower %.1f times, reserve %.1f s, judging %.1f s",
				i, kind, -w.Left(), steps, f.Steps, f.StepS, last, f.ReserveS, judging)
		}
		if rest := f.LeftS - f.ReserveS; kind%3 != 2 && kind != 1 && trained+2*f.EvaluateS < rest-2*f.StepS {
			t.Errorf("window %d: %.1f s of %.1f s were trained in", i, trained, rest)
		}
	}
}

// TestStateSteps keeps the first state early enough for a late fault to cost a part of the steps only.
func TestStateSteps(t *testing.T) {
	for _, c := range []struct{ asked, fitted, want int }{{50, 1000, 50}, {50, 100, 25}, {0, 100, 25}, {0, 3, 1}, {7, 1, 1}} {
		if got := stateSteps(c.asked, c.fitted); got != c.want {
			t.Errorf("%d asked for, %d fit: a state every %d steps, want %d", c.asked, c.fitted, got, c.want)
		}
	}
}
