package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/stages"

	"github.com/spf13/cobra"
)

// ablateFlags are the flags of bzdata ablate.
type ablateFlags struct {
	runFlags
	sources bool
	seeds   int
	steps   int
	only    []string
}

func newAblate(env *environment) *cobra.Command {
	f := &ablateFlags{}
	cmd := &cobra.Command{
		Use:   "ablate PLAN",
		Short: "Find out what each stage, or source, of a plan earned",
		Long: `Ablate carries out the plan up to its proof of loss, then once more without each stage that edits or
drops documents: same base model, steps, batches and seeds, judged on the same held-out documents,
which is checked document by document. It says by how much the held-out loss is higher without the
stage, with an interval: what the stage earned. Interrupted, it goes on where it was; what variants
have in common is done once. Nothing is exported, uploaded or added to an index.

Each variant is trained by several seeds, and the interval holds the spread over held-out documents
and over seeds. With --seeds 1 it is over documents only and knows nothing of the chance in the
order of training.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitInUse, exitInterrupted),
		Args: exactly(1, "one PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), env, args[0]) },
	}
	f.addRun(cmd.Flags())
	fs := cmd.Flags()
	fs.BoolVar(&f.sources, "sources", false, "leave out each source, too")
	fs.IntVar(&f.seeds, "seeds", 3, "train each variant `N` times, in other orders")
	fs.IntVar(&f.steps, "steps", 0, "train for `N` steps in place of the plan's max_steps")
	fs.StringSliceVar(&f.only, "only", nil, "leave out only these `STAGES` or sources, such as minhash,domain")
	fs.Lookup("workdir").Usage = "`DIR` for all that the runs write (default runs/NAME-ablate beside the plan)"
	if err := errors.Join(fs.MarkHidden("until")); err != nil {
		panic(err) // the flag is one of addRun
	}
	return cmd
}

func (f *ablateFlags) run(ctx context.Context, env *environment, file string) error {
	switch {
	case f.seeds < 1 || f.seeds > 100:
		return &flagError{fmt.Errorf("--seeds %d: want 1 to 100", f.seeds)}
	case f.steps < 0:
		return &flagError{fmt.Errorf("--steps %d: want 1 or more, or 0 for the plan's", f.steps)}
	case f.until != "":
		return &flagError{errors.New("--until: every variant ends with proof_of_loss; leave it out")}
	}
	if f.steps > 0 {
		f.set = append(f.set, fmt.Sprintf("train.max_steps=%d", f.steps))
	}
	plan, opt, err := f.load(ctx, file)
	if err := errors.Join(err, checkMode(f.progress, "auto", "plain", "json", "none")); err != nil {
		return err
	}
	defer f.inputs.Close() // what it could not delete is temporary and harmless
	v := variants{flags: &f.runFlags, env: env, opt: opt, suffix: ablateSuffix}
	if err := v.place(plan); err != nil {
		return err
	}
	a, err := newAblation(f, v, plan)
	if err != nil {
		return err
	}
	return a.hold(ctx, a.all, a.report)
}

// ablateSuffix is what the name of a plan has behind it in the work directory of its ablation.
const ablateSuffix = "-ablate"

// ablation is the variants of a plan and what they came to.
type ablation struct {
	variants
	flags *ablateFlags
	// full is the plan up to its proof of loss, of which the labels are of.
	full                 *pipeline.Plan
	tokens, train, proof string

	result *pipeline.Result
	trial  *trial // of the full plan
	rows   []ablationRow
}

// leftOut is one thing that a variant leaves out.
type leftOut struct {
	name, what string // what is stage or source
	kind       string // of a stage
}

func newAblation(f *ablateFlags, v variants, plan *pipeline.Plan) (*ablation, error) {
	a := &ablation{variants: v, flags: f}
	proof := -1
	for i, s := range plan.Stages {
		if s.Kind.Name == "proof_of_loss" {
			proof = i
		}
	}
	switch {
	case plan.HeldOut == nil:
		return nil, usageOf("the plan holds no documents out to judge its variants by; add held_out")
	case proof < 0:
		return nil, usageOf("the plan has no proof_of_loss stage, which judges its variants; " +
			"add tokenize, train and proof_of_loss")
	}
	label := func(d pipeline.Data) string {
		i, _ := plan.From(proof, d) // proof_of_loss takes it, so it is there
		return plan.Stages[i].Label()
	}
	a.tokens, a.train, a.proof = label(pipeline.Tokens), label(pipeline.Update), plan.Stages[proof].Label()
	full, err := plan.UpTo(a.proof)
	if err != nil {
		return nil, err
	}
	full.Name += ablateSuffix
	a.full = full
	return a, a.choose()
}

func usageOf(format string, args ...any) error {
	return &pipeline.UsageError{Msg: fmt.Sprintf(format, args...)}
}

// choose lists what is left out, one after the other.
func (a *ablation) choose() error {
	var all []leftOut
	end := slices.IndexFunc(a.full.Stages, func(s pipeline.Step) bool { return s.Label() == a.tokens })
	for _, s := range a.full.Stages[:end] {
		if slices.Contains(s.Kind.Makes, pipeline.Documents) {
			all = append(all, leftOut{s.Label(), "stage", s.Kind.Name})
		}
	}
	if a.flags.sources {
		for _, name := range a.full.Sources() {
			all = append(all, leftOut{name: name, what: "source"})
		}
	}
	var names []string
	for _, l := range all {
		names = append(names, l.name)
	}
	for _, name := range a.flags.only {
		if !slices.Contains(names, name) {
			return &flagError{fmt.Errorf("--only %s: there is no such thing to leave out; there are %s", name,
				strings.Join(names, ", "))}
		}
	}
	for _, l := range all {
		if len(a.flags.only) == 0 || slices.Contains(a.flags.only, l.name) {
			a.rows = append(a.rows, ablationRow{Name: l.name, What: l.what, Kind: l.kind})
		}
	}
	if len(a.rows) == 0 {
		return usageOf("no stage of the plan edits or drops documents; there is nothing to leave out")
	}
	a.of = a.flags.seeds + len(a.rows)*(a.flags.seeds+1)
	return nil
}

// trial is one way to train: its tokens, and the losses of each seed.
type trial struct {
	tokens  stages.TrialTokens
	judged  []judged
	experts string
}
