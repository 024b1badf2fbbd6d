package stages

import (
	"math"
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

// TestPaceOfShortSteps trains with steps of milliseconds on machines that are busy from some moment on, and then call
// the program away now and then, so that most steps take as long as ever: the time that passes tells how much slower
// the machine is, and the bundle is there before the deadline.
func TestPaceOfShortSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		clock := &simulated{time.Unix(1_700_000_000, 0)}
		deadline := clock.at.Add(time.Duration(20+rng.IntN(20)) * time.Second)
		w := &pipeline.Window{Deadline: func() time.Time { return deadline }, Now: clock.now}
		judging, busyFrom := 0.5+rng.Float64(), clock.at.Add(time.Duration(rng.IntN(8))*time.Second)
		f := &fitted{StepS: 0.002 + 0.002*rng.Float64(), LeftS: w.Left().Seconds(), MoreS: 1}
		f.ReserveS = reserve(0, time.Duration(judging*1e9), time.Second)
		away := 0.12 + 0.08*rng.Float64() // after each 40 ms of work: 4 to 6 times slower
		work := 0.0
		take := func(seconds float64) {
			for clock.take(seconds); clock.at.After(busyFrom) && work+seconds >= 0.04; seconds -= 0.04 {
				clock.take(away)
			}
			work = max(0, math.Mod(work+seconds, 0.04))
		}
		p := &pace{fitted: f, w: w}
		for !p.stop() {
			take(f.StepS)
			p.stepped()
		}
		if take(judging); w.Left() < 0 {
			t.Fatalf("window %d: %v late after %d steps of %.4f s, reserve %.1f s, judging %.1f s at 40 ms of work to %.2f s away",
				i, -w.Left(), p.steps, f.StepS, f.ReserveS, judging, away)
		}
	}
}

// TestPaceOfEvaluations leaves room for an evaluation as long as the slowest of the latest.
func TestPaceOfEvaluations(t *testing.T) {
	clock := &simulated{time.Unix(1_700_000_000, 0)}
	deadline := clock.at.Add(20 * time.Second)
	w := &pipeline.Window{Deadline: func() time.Time { return deadline }, Now: clock.now}
	p := &pace{fitted: &fitted{StepS: 1, EvaluateS: 1, ReserveS: 5, MoreS: 5}, w: w, evaluates: true}
	for took, stops := range map[time.Duration]bool{time.Second: false, 14 * time.Second: false, 15 * time.Second: true} {
		p.measured = nil
		p.evaluated(took)
		p.evaluated(time.Second)
		if got := p.stop(); got != stops {
			t.Errorf("after an evaluation of %s, training ends: %v", took, got)
		}
	}
	p.evaluated(time.Second) // the slow one is long ago
	if p.evaluated(time.Second); p.stop() {
		t.Error("an evaluation of long ago ends training")
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
