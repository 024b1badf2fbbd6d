package stages

import (
	"context"
	"slices"
	"time"

	"bzdata/pipeline"
	"bzdata/train"
	"bzdata/train/model"
)

const (
	// slowSteps are the latest steps of which the slowest tells whether there is time for one more, and the latest
	// pieces of time of which the median tells how slow the machine is.
	slowSteps = 5
	// slowEvaluations are the latest evaluations of which the slowest counts.
	slowEvaluations = 2
	// marginFactor is how much more time than judging and writing take at the pace of the latest steps is kept at
	// least: the machine may become slower still.
	marginFactor = 1.5
)

// pace watches how long steps take, and ends training in time.
type pace struct {
	*fitted
	w         *pipeline.Window
	evaluates bool // after the last step
	began     time.Time
	latest    []time.Duration // steps
	slowness  []float64       // of the latest pieces of time, see piece
	piece     time.Duration   // the one under way
	pieced    int             // steps in it
	measured  []time.Duration // the latest evaluations

	firstStep   time.Duration // from the beginning to the first step
	steps       int
	stepping    time.Duration // all steps
	evaluations int
	evaluating  time.Duration // all evaluations
}

// hooks makes training end in time.
func (f *fitted) hooks(w *pipeline.Window, h *train.Hooks) {
	// Nothing but the clock ends training: the machine may have been busier when it was measured.
	p, told, before, begin := &pace{fitted: f, w: w, evaluates: h.Evaluate != nil}, h.OnStep, h.BeforeStep, h.OnBegin
	f.pace = p
	h.Stop, h.Elapsed, h.OnStep = p.stop, p.elapsed, func(s train.Metrics) { p.stepped(); told(s) }
	h.BeforeStep = func(step int) { p.beforeStep(); before(step) }
	h.OnBegin = func(at train.Result) {
		if len(at.Evaluations) > 0 || at.Steps > 0 {
			f.first = nil // the next evaluation is of other weights
		}
		begin(at)
	}
	if h.Evaluate != nil {
		h.Evaluate = p.evaluate(h.Evaluate)
	}
}

// evaluate times evaluations. The first loss of all is known if it was measured just before.
func (p *pace) evaluate(
	measure func(context.Context, *model.Model) (float64, error),
) func(context.Context, *model.Model) (float64, error) {
	return func(ctx context.Context, m *model.Model) (float64, error) {
		if loss := p.first; loss != nil {
			p.first = nil
			return *loss, nil
		}
		start := p.w.Now()
		loss, err := measure(ctx, m)
		p.evaluated(p.w.Now().Sub(start))
		return loss, err
	}
}

// beforeStep says when the first step begins.
func (p *pace) beforeStep() {
	if p.firstStep > 0 || p.w.Began.IsZero() {
		return
	}
	p.firstStep = p.w.Now().Sub(p.w.Began)
	if p.w.OnFirstStep != nil {
		p.w.OnFirstStep(p.firstStep)
	}
}

// keep lets later windows of this process go by what this one has taken.
func (f *fitted) keep(t *pipeline.Task, of string, selected int) error {
	k, p := keptPace{of, *f}, f.pace
	if p.steps > 0 {
		k.StepS = p.stepping.Seconds() / float64(p.steps)
	}
	if p.evaluations > 0 {
		k.EvaluateS = p.evaluating.Seconds() / float64(p.evaluations)
		k.SequenceS = k.EvaluateS / float64(selected)
	}
	k.first, k.pace = nil, nil
	return t.Warm.Put(paceName, k)
}

// evaluated follows each evaluation.
func (p *pace) evaluated(took time.Duration) {
	p.evaluations, p.evaluating = p.evaluations+1, p.evaluating+took
	p.measured = lastOf(append(p.measured, took), slowEvaluations)
}

// stop is asked before each step: whether it and an evaluation would go beyond what is left before the
// reserve, if the step takes as long as the slowest of the latest. If steps have become slower, the rest will be
// slower as well, and what judging and writing then take is kept with a margin all the same.
func (p *pace) stop() bool {
	p.began = p.w.Now()
	slower := p.slower()
	need := slices.Max(append(p.latest, seconds(p.StepS))).Seconds() + p.MoreS*max(1, slower/reserveFactor) +
		(p.ReserveS-p.MoreS)*max(1, slower*marginFactor/reserveFactor)
	if p.evaluates {
		need += slices.Max(append(p.measured, seconds(p.EvaluateS*max(1, slower)))).Seconds()
	}
	return p.w.Left().Seconds() < need
}

// slower is how many times longer than measured steps take: the median of the latest pieces of time, of which those that
// have not passed yet are taken to be as measured. A step, or a moment, that the machine was called away for tells
// nothing of the others.
func (p *pace) slower() float64 {
	pieces := slices.Clone(p.slowness)
	for len(pieces) < slowSteps {
		pieces = append(pieces, 1)
	}
	slices.Sort(pieces)
	return pieces[slowSteps/2]
}

// elapsed is the share of the time for training that is over.
func (p *pace) elapsed() float64 {
	return (p.LeftS - p.w.Left().Seconds()) / (p.LeftS - p.ReserveS)
}

// stepped follows each step. A piece of time is a step, or as many as last, five pieces together, as long as the reserve:
// steps of milliseconds, of which most are made between two interruptions, tell nothing of a busy machine.
func (p *pace) stepped() {
	took := p.w.Now().Sub(p.began)
	p.steps, p.stepping = p.steps+1, p.stepping+took
	p.latest = lastOf(append(p.latest, took), slowSteps)
	if p.piece, p.pieced = p.piece+took, p.pieced+1; p.piece.Seconds() < p.ReserveS/slowSteps {
		return
	}
	p.slowness = lastOf(append(p.slowness, p.piece.Seconds()/(float64(p.pieced)*max(p.StepS, 1e-9))), slowSteps)
	p.piece, p.pieced = 0, 0
}

// lastOf cuts a list to its end.
func lastOf[T any](list []T, most int) []T { return list[max(0, len(list)-most):] }
