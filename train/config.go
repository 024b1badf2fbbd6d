package train

import (
	"errors"
	"fmt"
	"math"

	"bzdata/pipeline/store"
)

// Mean says what the gradient of a step is the derivative of.
type Mean string

const (
	// MeanOfBatches is the mean over the step's batches of each batch's mean token loss. It is what
	// dividing a Hugging Face model's loss by gradient_accumulation_steps gives, as Block Zero and
	// Connito do: tokens of a batch with few targets weigh more.
	MeanOfBatches Mean = "batches"
	// MeanOfTokens is the mean over all targets of the step.
	MeanOfTokens Mean = "tokens"
)

// NonFinite is what to do about a loss or gradient that is NaN or infinite.
type NonFinite string

const (
	// Raise ends the run with a [NonFiniteError].
	Raise NonFinite = "raise"
	// Skip leaves the batch or tensor out of the step.
	Skip NonFinite = "skip"
)

// Config is the recipe of a run. All of it but Checkpoints decides the bits of the result.
type Config struct {
	Seed uint64 `json:"seed"` // of the order of sequences
	// BatchSize is the number of sequences of one forward and backward pass.
	BatchSize int `json:"batch_size"`
	// AccumulationSteps is the number of batches of one optimizer step.
	AccumulationSteps int `json:"gradient_accumulation_steps"`
	// Position is how many sequences earlier runs on the same data and seed have drawn: the order goes on
	// behind them.
	Position int64 `json:"position,omitempty"`
	// MaxSteps is the number of optimizer steps of the run.
	MaxSteps int `json:"max_steps"`

	LearningRate float64  `json:"learning_rate"` // at the schedule's top
	Schedule     Schedule `json:"schedule"`
	WarmupSteps  int      `json:"warmup_steps"`
	// TotalSteps is the schedule's length, MaxSteps if 0. A run may be the beginning of a longer schedule.
	TotalSteps int `json:"total_steps"`
	// DecaySteps is the length of the last part of [WSD].
	DecaySteps int `json:"decay_steps"`

	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Epsilon     float64 `json:"epsilon"`
	WeightDecay float64 `json:"weight_decay"` // decoupled, on every trainable tensor
	// ClipNorm is the greatest global norm of a gradient; 0 sets no limit.
	ClipNorm float64 `json:"clip_norm"`
	Mean     Mean    `json:"mean"`
	// RouterAuxLossCoef is what each batch's load-balancing loss, see [model.Balance], is multiplied by and added
	// to its mean token loss; 0 leaves it out.
	RouterAuxLossCoef float64 `json:"router_aux_loss_coef,omitempty"`

	NonFinite NonFinite `json:"non_finite"`
	// SkipsMax is how many batches in a row may be skipped.
	SkipsMax int `json:"skips_max"`
	// EvalSteps is the number of steps between evaluations; 0 evaluates at both ends only.
	EvalSteps int `json:"eval_steps"`

	// Optimizer says where moments come from and go to; what they are decides the bits, too.
	Optimizer Optimizer `json:"-"`
	// Checkpoints says where the state is kept.
	Checkpoints Checkpoints `json:"-"`
}

// Checkpoints says where and how often the state of a run is kept.
type Checkpoints struct {
	// Dir is the run's own directory, made if it is not there; empty keeps nothing.
	Dir string
	FS  store.FS // that Dir is in
	// Steps is the number of steps between two states; 0 writes one at the end and when the run is
	// cancelled only.
	Steps int
	// FallBack makes a [NonFiniteError] behind the first state end the run with weights from before it:
	// those of the best evaluation, or without one those of the newest state. [Result.Fault] says so.
	FallBack bool
	// Build names the program: bits are the same for one build only.
	Build string
	// Identity names whatever else the result depends on: the base's weights and the data.
	Identity string
}

// DefaultConfig returns the networks' common settings: AdamW with betas 0.9 and 0.95 and weight decay
// 0.1, clipping at norm 1, four accumulation steps and at most 50 skipped batches in a row
// (Connito-AI/Connito 0c936fa; CognitoBlocks/BlockZero 907d2e4 has the same optimizer and clipping).
// MaxSteps is left to the caller.
func DefaultConfig() Config {
	return Config{
		BatchSize: 4, AccumulationSteps: 4,
		LearningRate: 2e-5, Schedule: Cosine,
		Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, ClipNorm: 1,
		Mean: MeanOfBatches, NonFinite: Raise, SkipsMax: 50,
	}
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	atLeast := func(name string, value, least int) {
		if value < least {
			errs = append(errs, fmt.Errorf("%s is %d; it must be at least %d", name, value, least))
		}
	}
	within := func(name string, value, low, high float64) {
		if !(value >= low && value <= high) {
			errs = append(errs, fmt.Errorf("%s is %v; it must be from %v to %v", name, value, low, high))
		}
	}
	atLeast("batch_size", c.BatchSize, 1)
	atLeast("gradient_accumulation_steps", c.AccumulationSteps, 1)
	atLeast("max_steps", c.MaxSteps, 1)
	atLeast("warmup_steps", c.WarmupSteps, 0)
	atLeast("total_steps", c.TotalSteps, 0)
	atLeast("decay_steps", c.DecaySteps, 0)
	atLeast("skips_max", c.SkipsMax, 0)
	atLeast("eval_steps", c.EvalSteps, 0)
	if c.Position < 0 {
		errs = append(errs, fmt.Errorf("position is %d; it must be at least 0", c.Position))
	}
	atLeast("checkpoint_steps", c.Checkpoints.Steps, 0)
	within("learning_rate", c.LearningRate, math.SmallestNonzeroFloat64, 1)
	within("beta1", c.Beta1, 0, math.Nextafter(1, 0))
	within("beta2", c.Beta2, 0, math.Nextafter(1, 0))
	within("epsilon", c.Epsilon, math.SmallestNonzeroFloat32, 1)
	within("weight_decay", c.WeightDecay, 0, 1e6)
	within("clip_norm", c.ClipNorm, 0, math.MaxFloat32)
	within("router_aux_loss_coef", c.RouterAuxLossCoef, 0, 1e6)
	return errors.Join(append(errs, c.validateChoices())...)
}

func (c Config) validateChoices() error {
	var errs []error
	if c.Schedule != Cosine && c.Schedule != Constant && c.Schedule != WSD {
		errs = append(errs, fmt.Errorf("schedule is %q; choose %q, %q or %q", c.Schedule, Cosine, Constant, WSD))
	}
	if c.Schedule == WSD && c.WarmupSteps+c.DecaySteps > c.scheduleSteps() {
		errs = append(errs, fmt.Errorf("warmup_steps %d and decay_steps %d are more than the schedule's %d steps",
			c.WarmupSteps, c.DecaySteps, c.scheduleSteps()))
	}
	if c.Mean != MeanOfBatches && c.Mean != MeanOfTokens {
		errs = append(errs, fmt.Errorf("mean is %q; choose %q or %q", c.Mean, MeanOfBatches, MeanOfTokens))
	}
	if c.NonFinite != Raise && c.NonFinite != Skip {
		errs = append(errs, fmt.Errorf("non_finite is %q; choose %q or %q", c.NonFinite, Raise, Skip))
	}
	if o := c.Optimizer; (o.From != "" || o.To != "") && o.FS == nil {
		errs = append(errs, errors.New("a file of moments is given without its file system"))
	}
	if c.Checkpoints.Dir != "" && c.Checkpoints.FS == nil {
		errs = append(errs, errors.New("a checkpoint directory is given without its file system"))
	}
	return errors.Join(errs...)
}
