package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train"
	"bzdata/train/model"
)

// fitted is how training fits into a window: measured once, and repeated by a run that is resumed.
type fitted struct {
	Steps     int     `json:"steps"`
	StepS     float64 `json:"step_s"`
	EvaluateS float64 `json:"evaluate_s"` // of the select part
	ReserveS  float64 `json:"reserve_s"`  // from the end of training to the deadline
	MoreS     float64 `json:"more_s"`     // of it, what is kept beside what was measured
	LeftS     float64 `json:"left_s"`     // until the deadline, when it was fitted
	SequenceS float64 `json:"sequence_s"` // of an evaluation
	LoadedS   float64 `json:"loaded_s"`   // for reading all weights

	first  *float64 // loss on the select part before the first step, if it is known
	warm   bool     // it repeats what the window before has measured
	tensor int      // tensors of the base that were read
	pace   *pace    // of the training
}

const (
	// fittedName is where a task keeps it.
	fittedName = "window.json"
	// calibrationSteps are the optimizer steps that are timed; one more comes before them.
	calibrationSteps = 3
	// reserveFactor is how much more time is kept than judging and writing seem to take: the machine
	// may be busier then. A window lasts an hour and more, and judging seconds.
	reserveFactor = 3
	// checkpointShare of the steps is where the first state is kept, so that a late fault costs no more
	// than the steps behind it.
	checkpointShare = 4
	// fasterMax is how many times the fitted steps are made at most, if the machine becomes faster.
	fasterMax = 4
)

// readWindow puts the window into the stage's key.
func readWindow(p *pipeline.Plan) []pipeline.Read {
	if p.Window == nil {
		return nil
	}
	return []pipeline.Read{{Name: "window", Value: p.Window.ID}}
}

// fit chooses the number of steps that the window has room for, or repeats an earlier choice. loaded is
// what reading the model has taken.
func (c *Train) fit(
	ctx context.Context, t *pipeline.Task, m *loadedBase, data, sel train.Data, loaded time.Duration,
) (*fitted, error) {
	scratch, err := t.MakeScratch()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(scratch, fittedName)
	raw, err := store.ReadAll(t.FS, name)
	f := &fitted{}
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		if f, err = c.measure(ctx, t, m.Model, data, sel, loaded); err != nil {
			return nil, err
		}
		if raw, err = json.Marshal(f); err != nil {
			return nil, err
		}
		if err := store.WriteBytes(t.FS, name, raw); err != nil {
			return nil, err
		}
	}
	f.tensor = m.read
	c.MaxSteps, c.Checkpoint = f.Steps, stateSteps(c.Checkpoint, f.Steps)
	return f, nil
}

// stateSteps is how many steps lie between two states in a window: as many as asked for, 0 for no
// states between, but no more than a share of those that fit.
func stateSteps(asked, fitted int) int {
	most := max(1, fitted/checkpointShare)
	if asked == 0 {
		return most
	}
	return min(asked, most)
}

// measure times steps and an evaluation, unless a window before has, and fits the steps into what is left of
// the window.
func (c *Train) measure(
	ctx context.Context, t *pipeline.Task, m *model.Model, data, sel train.Data, loaded time.Duration,
) (*fitted, error) {
	f, err := c.calibrate(ctx, t, m, data, sel, loaded)
	if err != nil {
		return nil, err
	}
	judging, err := c.timeJudging(ctx, t, m, data, seconds(f.SequenceS))
	if err != nil {
		return nil, err
	}
	judging += seconds(f.LoadedS) // since base and update are judged layer by layer, the weights being read once more
	w, step, evaluate := t.Plan.Window, seconds(f.StepS), seconds(f.EvaluateS)
	saving, err := c.timeSaving(t, m)
	if err != nil {
		return nil, err
	}
	f.LeftS = w.Left().Seconds()
	f.MoreS = w.Reserve.Seconds()
	f.ReserveS = reserve(evaluate, judging+saving, w.Reserve)
	if f.Steps = train.FitSteps(w.Left()-seconds(f.ReserveS), step, evaluate, c.EvalSteps); f.Steps < 1 {
		return nil, &pipeline.LateError{Msg: fmt.Sprintf("too late: %.1f s are left until the deadline, %.1f s of them are kept "+
			"for the verdict and the bundle, and a step takes %.1f s; nothing is written", f.LeftS, f.ReserveS, f.StepS)}
	}
	return f, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// calibrate times steps and an evaluation. What the training of an earlier window of this process took, with
// the same model, tokens and batches, is more than a few steps could tell, and costs nothing: it stands in
// their place. If the machine has become another since, training ends in time all the same; see [pace].
func (c *Train) calibrate(
	ctx context.Context, t *pipeline.Task, m *model.Model, data, sel train.Data, loaded time.Duration,
) (*fitted, error) {
	if k, ok := t.Warm.Take(paceName).(keptPace); ok && k.of == c.paceOf(t) {
		f := k.fitted
		f.warm = true
		return &f, t.Warm.Put(paceName, k)
	}
	w := t.Plan.Window
	step, err := train.Calibrate(ctx, m, data, c.config(t.Seed("order")), calibrationSteps, w.Now)
	if err != nil {
		return nil, blameBase(m, err)
	}
	evaluate, perSequence, loss, err := c.timeEvaluation(ctx, m, data, sel, w.Now)
	if err != nil {
		return nil, err
	}
	f := &fitted{StepS: step.Seconds(), EvaluateS: evaluate.Seconds(), SequenceS: perSequence.Seconds(),
		LoadedS: loaded.Seconds()}
	if sel.Sequences() > 0 {
		f.first = &loss // calibration has changed no weight
	}
	return f, nil
}

// reserve is the time, in seconds, that is kept at the end for what may become slower after the last
// step: its evaluation, of which the steps leave room for one, and judging and writing.
func reserve(evaluate, judging, more time.Duration) float64 {
	return ((reserveFactor-1)*evaluate + reserveFactor*judging + more).Seconds()
}

// timeEvaluation times the loss on the select part, or where there is none on as many training sequences
// as a batch has, and what of it a sequence takes. It returns the loss, too.
func (c *Train) timeEvaluation(
	ctx context.Context, m *model.Model, data, sel train.Data, now func() time.Time,
) (evaluate, perSequence time.Duration, loss float64, err error) {
	timed := sel
	if sel.Sequences() == 0 {
		timed = headOf{data, min(c.BatchSize, data.Sequences())}
	}
	start := now()
	if loss, err = meanLoss(ctx, m, timed, c.BatchSize); err != nil {
		return 0, 0, 0, err
	}
	took := now().Sub(start)
	if sel.Sequences() > 0 {
		evaluate = took
	}
	return evaluate, took / time.Duration(timed.Sequences()), loss, nil
}

// timeJudging is about how long it takes to judge base and update. perSequence is the time for a sequence of
// the tokens; those of validators may be longer, and are timed themselves.
func (c *Train) timeJudging(
	ctx context.Context, t *pipeline.Task, m *model.Model, data train.Data, perSequence time.Duration,
) (time.Duration, error) {
	by, err := openJudge(t)
	if err != nil {
		return 0, err
	}
	defer by.close()
	reading := time.Duration(0)
	if by.mix != nil {
		some := headOf{by, min(judgedBatches*c.BatchSize, by.Sequences())}
		start := t.Plan.Window.Now()
		if _, err := meanLoss(ctx, m, some, c.BatchSize); err != nil {
			return 0, err
		}
		perSequence = t.Plan.Window.Now().Sub(start) / time.Duration(some.n)
		if reading, err = timeReading(data, t.Plan.Window.Now); err != nil {
			return 0, err
		}
	}
	return 2*perSequence*time.Duration(by.Sequences()) + reading, nil
}

// judgedBatches are the batches of validators' rows of which judging is timed.
const judgedBatches = 4

// readSequences are the sequences of which reading is timed.
const readSequences = 1000

// timeReading is about how long it takes to read all sequences, to find those that are rows of the exam.
func timeReading(data train.Data, now func() time.Time) (time.Duration, error) {
	some, start := headOf{data, min(readSequences, data.Sequences())}, now()
	var s tokenize.Sequence
	for i := range some.n {
		if err := some.Sequence(i, &s); err != nil {
			return 0, err
		}
		hashTokens(s.Tokens)
	}
	return now().Sub(start) * time.Duration(data.Sequences()) / time.Duration(some.n), nil
}

// headOf is the first sequences of some data.
type headOf struct {
	train.Data
	n int
}

// Sequences is their number.
func (h headOf) Sequences() int { return h.n }

// stepsRun are the steps that were made, also those behind the state that a run fell back to.
func stepsRun(res train.Result) int {
	if res.Fault == nil {
		return res.Steps
	}
	return max(res.Steps, res.Fault.Event.Step-1)
}

// tellFault says what became of a fault that the run fell back from.
func tellFault(t *pipeline.Task, res train.Result) {
	if res.Fault == nil {
		return
	}
	kept := fmt.Sprintf("the newest state, of step %d", res.Steps)
	if res.Best != nil {
		kept = fmt.Sprintf("the lowest select loss, of step %d", res.Best.Step)
	}
	t.Note("training ended early at a fault, and the update has the weights of %s: %v", kept, res.Fault)
}

// tell says how the window was used.
func (f *fitted) tell(t *pipeline.Task, res train.Result, began time.Time) {
	w := t.Plan.Window
	trained := w.Now().Sub(began).Seconds()
	t.Figure("window", "%.1f s were left, %.1f s of them kept for the verdict and the bundle; %d steps of %.2f s fitted, %d "+
		"were made in %.1f s, %.0f %% of the rest; %.1f s are left", f.LeftS, f.ReserveS, f.Steps, f.StepS,
		stepsRun(res), trained, 100*trained/max(f.LeftS-f.ReserveS, 1e-9), w.Left().Seconds())
	if f.pace.firstStep == 0 {
		return
	}
	how := "calibration included"
	if f.warm {
		how = "steps taken to be as long as in the window before"
	}
	t.Figure("first step", "after %.2f s; %d tensors of the base read, %s", f.pace.firstStep.Seconds(), f.tensor, how)
	t.Value("first_step_s", f.pace.firstStep.Seconds())
}
