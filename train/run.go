package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"bzdata/train/model"
	"bzdata/train/tensor"
)

// Run trains m's trainable weights on data and leaves the result in m: the weights of the best
// evaluation, or of the last step if there is none. With [Checkpoints.Dir] set it goes on from the
// newest state there. When ctx ends it writes a state and returns ctx's error; m then holds the
// weights of the last whole step. See [Checkpoints.FallBack] for what a fault may come to.
func Run(ctx context.Context, m *model.Model, data Data, cfg Config, hooks Hooks) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	r, err := newRun(m, data, cfg, hooks)
	if err != nil {
		return Result{}, err
	}
	defer r.free()
	if cfg.Checkpoints.Dir != "" {
		if err := r.resume(); err != nil {
			return Result{}, err
		}
	}
	if err := r.loadOptimizer(); err != nil {
		return Result{}, fmt.Errorf("moments of an earlier run: %w", err)
	}
	resumed := r.state.Step
	if hooks.OnBegin != nil {
		hooks.OnBegin(r.result(resumed))
	}
	if err := r.loopOrFallBack(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), r.save())
		}
		return r.result(resumed), err
	}
	moments, err := r.writeOptimizer()
	// What is queued on the device may still fail, and the weights are what a run is for.
	if err := cmp.Or(errors.Join(err, r.restoreBest()), m.Device().Sync()); err != nil {
		return Result{}, err
	}
	res := r.result(resumed)
	res.OptimizerSHA256 = moments
	return res, nil
}

// run is a training run under way.
type run struct {
	cfg    Config
	hooks  Hooks
	m      *model.Model
	reader reader
	params []*model.Param // the trainable ones
	// moments are AdamW's, of each.
	moments []tensor.Moments
	best    [][]float32         // the best weights, when no file holds them
	micros  []micro             // buffers
	events  []NonFiniteEvent    // of the step under way
	routed  []model.LayerCounts // of the step under way, if OnLoad wants it
	config  string              // hash of what decides the bits
	state   state
	saved   int             // the step of the newest state on disk, 0 for none
	fault   *NonFiniteError // that the run fell back from
}

// state is where a run stands, but for tensors.
type state struct {
	Step int `json:"step"`
	// Position counts the sequences drawn: it is all there is to the order's state.
	Position int64 `json:"position"`
	// Updates counts each trainable tensor's updates, for AdamW's bias correction.
	Updates []int `json:"updates"`
	// SkippedInARow counts batches up to now.
	SkippedInARow int              `json:"skipped_in_a_row"`
	Stopped       bool             `json:"stopped"`
	Metrics       []Metrics        `json:"metrics"`
	Evaluations   []Evaluation     `json:"evaluations"`
	NonFinite     []NonFiniteEvent `json:"non_finite"`
	Best          *Evaluation      `json:"best"`
	BestFile      *fileRecord      `json:"best_file"`
}

func newRun(m *model.Model, data Data, cfg Config, hooks Hooks) (*run, error) {
	r := &run{cfg: cfg, hooks: hooks, m: m, micros: make([]micro, cfg.AccumulationSteps)}
	n := data.Sequences()
	if n < 1 || int64(n) > math.MaxUint32 {
		return nil, fmt.Errorf("the data has %d sequences; training needs at least one", n)
	}
	r.reader = reader{data: data, order: order{n: n, seed: cfg.Seed}}
	for _, p := range m.Params() {
		if p.Trains() {
			r.params = append(r.params, p)
			r.moments = append(r.moments, m.Device().Moments(p.Elements()))
		}
	}
	if len(r.params) == 0 {
		return nil, errors.New("no tensor of the model is trainable; choose some with SetTrainable")
	}
	r.state.Updates, r.state.Position = make([]int, len(r.params)), cfg.Position
	r.config = r.configHash()
	return r, m.Device().Err()
}

// free gives the moments back.
func (r *run) free() { r.m.Device().FreeMoments(r.moments...) }

func (r *run) loop(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		done := r.state.Stopped || r.state.Step >= r.cfg.MaxSteps
		if r.evaluationDue(done) {
			if err := r.evaluate(ctx); err != nil {
				return err
			}
		}
		if r.checkpointDue(done) {
			if err := r.save(); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		if r.hooks.Stop != nil && r.hooks.Stop() {
			r.state.Stopped = true
			r.saved = 0 // the state on disk, if any, does not say so
			continue
		}
		if r.hooks.BeforeStep != nil {
			r.hooks.BeforeStep(r.state.Step + 1)
		}
		if err := r.step(ctx); err != nil {
			return err
		}
		if r.hooks.OnLoad != nil {
			r.hooks.OnLoad(r.state.Step, r.routed)
		}
		if r.hooks.OnStep != nil {
			r.hooks.OnStep(r.state.Metrics[len(r.state.Metrics)-1])
		}
	}
}

func (r *run) evaluationDue(done bool) bool {
	step, every, past := r.state.Step, r.cfg.EvalSteps, r.state.Evaluations
	if r.hooks.Evaluate == nil || len(past) > 0 && past[len(past)-1].Step == step {
		return false
	}
	return done || step == 0 || every > 0 && step%every == 0
}

func (r *run) checkpointDue(done bool) bool {
	step, every := r.state.Step, r.cfg.Checkpoints.Steps
	if r.cfg.Checkpoints.Dir == "" || step == 0 || step == r.saved {
		return false
	}
	return done || every > 0 && step%every == 0
}

// evaluate measures the held-out loss and keeps the weights if they are the best so far.
func (r *run) evaluate(ctx context.Context) error {
	loss, err := r.hooks.Evaluate(ctx, r.m)
	if err != nil {
		return fmt.Errorf("held-out loss after step %d: %w", r.state.Step, err)
	}
	if !finite(loss) {
		loss = math.NaN()
	}
	e := Evaluation{r.state.Step, loss}
	best := r.state.Best
	if e.Step > 0 && finite(loss) && (best == nil || loss < best.LossNats) {
		if err := r.keepBest(e); err != nil {
			return err
		}
	}
	r.state.Evaluations = append(r.state.Evaluations, e)
	if r.hooks.OnEvaluation != nil {
		r.hooks.OnEvaluation(e)
	}
	return nil
}

func (r *run) result(resumed int) Result {
	s := &r.state
	return Result{
		Steps: s.Step, ResumedFrom: resumed, Stopped: s.Stopped, Metrics: s.Metrics,
		Evaluations: s.Evaluations, NonFinite: s.NonFinite, Best: s.Best, Fault: r.fault,
		Position: r.drawn(),
	}
}

// drawn counts the sequences drawn, with those of earlier runs. A step that the run fell back from counts: its
// sequences need not be met again.
func (r *run) drawn() int64 {
	steps := r.state.Step
	if r.fault != nil {
		steps = r.fault.Event.Step
	}
	return r.cfg.Position + int64(steps)*int64(r.cfg.AccumulationSteps)*int64(r.cfg.BatchSize)
}
