package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bzdata/pipeline"

	"github.com/spf13/cobra"
)

// trainFlags are the flags of bzdata train.
type trainFlags struct {
	runFlags
	tune    bool
	budget  time.Duration
	steps   int
	seeds   int
	rates   []float64
	batches []int
}

func newTrain(env *environment) *cobra.Command {
	f := &trainFlags{}
	cmd := &cobra.Command{
		Use:   "train PLAN [--tune]",
		Short: "Run a plan until it has trained, or find its learning rate and batch",
		Long: `Train runs a plan until the end of its last train stage, as bzdata run --until does.

With --tune it carries out what is before train once, then trains by several learning rates and
batch sizes, with as many tokens each: the plan's rate times 1/4, 1/2, 1, 2 and 4, and the plan's
batch_size and twice that, unless told otherwise. All are trained for a short time, the better third
three times as long, and so on until two at most are left, which train for --steps, by default the
plan's max_steps. They are ranked by the loss on the select part of the held-out text after their
last step; the judge part is not looked at. With --budget it measures a few steps first and takes as
many as there is time for, within max_steps. Without, the losses and their order are the same
whenever and wherever it runs. Interrupted, the same command goes on; trials that are done are not
done again.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitGate, exitInUse, exitInterrupted),
		Args: exactly(1, "one PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), env, args[0]) },
	}
	f.addRun(cmd.Flags())
	fs := cmd.Flags()
	fs.BoolVar(&f.tune, "tune", false, "try learning rates and batch sizes, and rank them by the loss on select")
	fs.DurationVar(&f.budget, "budget", 0, "train for this `TIME` in all, such as 30m")
	fs.IntVar(&f.steps, "steps", 0, "train the last trials for `N` steps of the plan's batch (default max_steps)")
	fs.IntVar(&f.seeds, "seeds", 1, "train each trial `N` times, in other orders; the mean loss counts")
	fs.Float64SliceVar(&f.rates, "learning-rates", nil, "try these `RATES`, such as 1e-5,3e-5,1e-4")
	fs.IntSliceVar(&f.batches, "batch-sizes", nil, "try these `SIZES` of a batch, such as 4,8")
	fs.Lookup("workdir").Usage =
		"`DIR` for all that a run writes (default runs/NAME beside the plan, or runs/NAME-tune with --tune)"
	if err := fs.MarkHidden("until"); err != nil {
		panic(err) // the flag is one of addRun
	}
	return cmd
}

func (f *trainFlags) run(ctx context.Context, env *environment, file string) error {
	if err := f.checkFlags(); err != nil {
		return err
	}
	plan, opt, err := f.load(ctx, file)
	if err := errors.Join(err, checkMode(f.progress, "auto", "plain", "json", "none")); err != nil {
		return err
	}
	at := -1
	for i, s := range plan.Stages {
		if s.Kind.Name == "train" {
			at = i
		}
	}
	if at < 0 {
		return usageOf("%s: the plan has no train stage; add one, or use bzdata run", plan.File)
	}
	if f.tune {
		return f.runTune(ctx, env, plan, opt, at)
	}
	opt.Until = plan.Stages[at].Label()
	return f.carryOut(ctx, env, plan, opt)
}

func (f *trainFlags) checkFlags() error {
	switch {
	case f.until != "":
		return &flagError{errors.New("--until: train ends with the train stage; use bzdata run for another")}
	case f.seeds < 1 || f.seeds > 100:
		return &flagError{fmt.Errorf("--seeds %d: want 1 to 100", f.seeds)}
	case f.steps < 0:
		return &flagError{fmt.Errorf("--steps %d: want 1 or more, or 0 for the plan's", f.steps)}
	case f.budget < 0:
		return &flagError{fmt.Errorf("--budget %s: want more than 0", f.budget)}
	case !f.tune && (f.budget != 0 || f.steps != 0 || f.seeds != 1 || len(f.rates)+len(f.batches) > 0):
		return &flagError{errors.New("--budget, --steps, --seeds, --learning-rates and --batch-sizes belong to --tune; add it")}
	}
	for _, r := range f.rates {
		if !(r > 0 && r <= 1) {
			return &flagError{fmt.Errorf("--learning-rates %g: want more than 0, and 1 at most", r)}
		}
	}
	for _, b := range f.batches {
		if b < 1 {
			return &flagError{fmt.Errorf("--batch-sizes %d: want 1 or more", b)}
		}
	}
	slices.Sort(f.rates)
	slices.Sort(f.batches)
	f.rates, f.batches = slices.Compact(f.rates), slices.Compact(f.batches)
	return nil
}

// runTune tunes the train stage at an index of the plan.
func (f *trainFlags) runTune(ctx context.Context, env *environment, plan *pipeline.Plan, opt pipeline.Options,
	at int) (err error) {
	defer f.inputs.Close() // what it could not delete is temporary and harmless
	if plan.HeldOut == nil && plan.InputTokens() == "" {
		return noSelect()
	}
	opt.Warm = pipeline.NewWarm()
	defer func() { err = errors.Join(err, opt.Warm.Close()) }()
	v := variants{flags: &f.runFlags, env: env, opt: opt, suffix: tuneSuffix}
	if err := v.place(plan); err != nil {
		return err
	}
	tu, err := newTuning(f, v, plan, at)
	if err != nil {
		return err
	}
	return tu.hold(ctx, tu.all, tu.report)
}

func noSelect() error {
	return usageOf("the plan has no rows to select by, which rank the trials; add held_out, or hold more out")
}
