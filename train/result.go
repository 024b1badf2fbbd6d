package train

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"bzdata/train/model"
)

// Metrics describe one optimizer step.
type Metrics struct {
	Step int `json:"step"` // counted from 1
	// LossNats is the token loss that the step minimised, see [Mean], before its update; 0 if every batch was
	// skipped.
	LossNats float64 `json:"loss_nats"`
	// AuxLoss is the routers' load-balancing loss, before its coefficient; 0 unless [Config.RouterAuxLossCoef] asks for
	// it. It is the mean over the step's batches, weighted as their token losses are.
	AuxLoss      float64 `json:"aux_loss,omitempty"`
	LearningRate float64 `json:"learning_rate"`
	// GradientNorm is the global norm before clipping, of the finite gradients.
	GradientNorm float64 `json:"gradient_norm"`
	Tokens       int     `json:"tokens"`  // targets that counted
	Skipped      int     `json:"skipped"` // batches left out because their loss is no finite number
}

// Evaluation is one held-out loss. One that is no finite number is NaN, and null in JSON.
type Evaluation struct {
	Step     int     // after which it was measured
	LossNats float64 // for each token
}

type evaluationJSON struct {
	Step     int      `json:"step"`
	LossNats *float64 `json:"loss_nats"`
}

// MarshalJSON writes {"step":N,"loss_nats":X}.
func (e Evaluation) MarshalJSON() ([]byte, error) {
	out := evaluationJSON{Step: e.Step}
	if finite(e.LossNats) {
		out.LossNats = &e.LossNats
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Evaluation) UnmarshalJSON(data []byte) error {
	var in evaluationJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*e = Evaluation{in.Step, math.NaN()}
	if in.LossNats != nil {
		e.LossNats = *in.LossNats
	}
	return nil
}

// Document names a document of a batch.
type Document struct {
	Ordinal uint64 `json:"ordinal"`
	ID      string `json:"id,omitempty"`
}

// NonFiniteEvent says where a loss or gradient was NaN or infinite.
type NonFiniteEvent struct {
	Step int `json:"step"` // counted from 1
	// Batch is the number of the batch within its step if its loss is meant, else -1.
	Batch int `json:"batch"`
	// Tensor is the tensor if its gradient is meant.
	Tensor    string     `json:"tensor,omitempty"`
	Documents []Document `json:"documents"` // of the batch, or of the whole step
}

// String is one line, with the first few documents.
func (e NonFiniteEvent) String() string {
	what := fmt.Sprintf("loss of batch %d", e.Batch)
	if e.Tensor != "" {
		what = fmt.Sprintf("gradient of %q", e.Tensor)
	}
	const shown = 4
	var names []string
	for _, d := range e.Documents[:min(shown, len(e.Documents))] {
		name := fmt.Sprint(d.Ordinal)
		if d.ID != "" {
			name += " (" + d.ID + ")"
		}
		names = append(names, name)
	}
	if more := len(e.Documents) - shown; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("step %d: %s is not finite; documents %s", e.Step, what, strings.Join(names, ", "))
}

// NonFiniteError ends a run at a loss or gradient that is NaN or infinite.
type NonFiniteError struct {
	Event NonFiniteEvent
	// InARow is the number of batches skipped in a row before it gave up; 0 under [Raise].
	InARow int
}

// Error implements error.
func (e *NonFiniteError) Error() string {
	if e.InARow > 0 {
		return fmt.Sprintf("%v; %d batches in a row were skipped: lower the learning rate or look at these documents",
			e.Event, e.InARow)
	}
	return fmt.Sprintf("%v; lower the learning rate, drop these documents, or set non_finite: skip", e.Event)
}

// Result is what a run came to.
type Result struct {
	Steps int
	// ResumedFrom is the step of the state that the run went on from, 0 if it began anew.
	ResumedFrom int
	// Stopped says that [Hooks.Stop] ended the run before its last step.
	Stopped bool
	// Metrics, Evaluations and NonFinite cover the whole run, also the part before a resume.
	Metrics     []Metrics
	Evaluations []Evaluation
	NonFinite   []NonFiniteEvent
	// Best is the evaluation whose weights the model now has; nil if it has those of the last step.
	Best *Evaluation
	// Position counts the sequences drawn, with those of [Config.Position] and of a step that was fatal.
	Position int64
	// OptimizerSHA256 is the hash of the file that [Optimizer.To] asked for, empty if there is none.
	OptimizerSHA256 string
	// Fault is what ended the run early, the weights being from before, see [Checkpoints.FallBack].
	Fault *NonFiniteError
}

// Hooks are what a run calls; any may be nil. An error of Evaluate ends the run. None may change the
// model: the bits of a run are the same with and without them.
type Hooks struct {
	// OnBegin is called once, with what a resumed run had come to when its state was written.
	OnBegin func(Result)
	// BeforeStep is called when a step begins, with its number.
	BeforeStep func(step int)
	// OnLoad gets the load of the experts in a step's forward passes that counted, one entry for each
	// mixture layer, just before OnStep. The slices are valid during the call.
	OnLoad func(step int, load []model.LayerCounts)
	OnStep func(Metrics)
	// BeforeState is called before a state is written: what is durable when it returns is there for
	// the run that goes on from the state.
	BeforeState func(step int)

	OnEvaluation func(Evaluation)
	OnNonFinite  func(NonFiniteEvent)
	// OnNotice gets one line about each state that was passed over at the start.
	OnNotice func(string)
	// Evaluate returns the held-out loss in nats for each token. It must not change the weights.
	Evaluate func(context.Context, *model.Model) (lossNats float64, err error)
	// Stop is asked before each step whether to end the run now.
	Stop func() bool
	// Elapsed is asked before each step which share of the run's time is over, from 0 to 1, and the
	// learning rate schedule goes by that instead of by steps, so that it ends in time on a machine
	// that becomes slower or faster. Rates then depend on the clock.
	Elapsed func() float64
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
