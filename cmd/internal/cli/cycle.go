package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"

	"github.com/spf13/cobra"
)

// cycleFlags are the flags of bzdata cycle.
type cycleFlags struct {
	runFlags
	deadline   string
	blocksLeft int
	phase      string
	block      time.Duration
	reserve    time.Duration
	base       string
	expect     int
	then       string
	dry        bool

	loop   bool
	cycles int
	poll   time.Duration
}

func newCycle(env *environment) *cobra.Command {
	f := &cycleFlags{}
	cmd := &cobra.Command{
		Use:   "cycle PLAN (--deadline TIME | --blocks-left N | --phase-command CMD)",
		Short: "Run one mining cycle: train until a deadline, judge, bundle",
		Long: `Cycle runs a plan whose input is tokens inside a network's window: it takes the newest complete
checkpoint of the network, measures how long a step, the verdict and writing take, trains as
many steps as fit before the deadline less what the verdict and the bundle need, judges the update
and writes the bundle. Training ends in time also if the machine becomes slower. out/bundle is
there at the end, or it is not there at all. An interrupted cycle goes on with the same command, to
the steps that it had fitted. WORKDIR/cycles.jsonl has a line for each cycle.

With --loop cycle follows cycle until it is interrupted. Every --poll it looks for a checkpoint
newer than the last one used, and asks the phase command, which prints 0 outside of the phase. With
--blocks-left each cycle has that many blocks from the moment when its checkpoint is found. The base
model's weights stay in memory, and the tokens open: only tensors that a newer checkpoint holds, and
those that were trained, are read again. Edits of the plan and new tokens count from the next cycle
on. A cycle that is missed or fails, and a --then command that fails, is a line, and the loop goes
on; a mistake in the plan ends it.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitGate, exitInUse, exitLate, exitInterrupted),
		Args: exactly(1, "one PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("blocks-left") && f.blocksLeft < 1 {
				return &flagError{fmt.Errorf("--blocks-left %d: want 1 or more", f.blocksLeft)}
			}
			return f.run(cmd.Context(), env, args[0])
		},
	}
	fs := cmd.Flags()
	f.addRun(fs)
	f.addRank(fs)
	fs.StringVar(&f.deadline, "deadline", "", "when the bundle must be there, a `TIME` such as 2026-01-31T12:00:00Z")
	fs.IntVar(&f.blocksLeft, "blocks-left", 0, "the bundle must be there in `N` blocks")
	fs.StringVar(&f.phase, "phase-command", "", "ask `CMD` every 10 s how many blocks are left; it prints the number")
	fs.DurationVar(&f.block, "block-time", 12*time.Second, "`TIME` of a block")
	fs.DurationVar(&f.reserve, "reserve", 5*time.Second, "keep this `TIME` at the end beside what is measured")
	fs.StringVar(&f.base, "base", "", "folder of the network's checkpoints, a `DIR`, in place of network.base.checkpoints")
	fs.IntVar(&f.expect, "expect-version", 0, "refuse a checkpoint older than global version `V`")
	fs.StringVar(&f.then, "then", "", "run `CMD` when the bundle is there, with BZDATA_BUNDLE, BZDATA_HASH, BZDATA_VERDICT")
	fs.BoolVar(&f.dry, "dry-run", false, "check plan, checkpoint, tokens and clock only; write nothing")
	fs.BoolVar(&f.loop, "loop", false, "run cycle after cycle, each on the next checkpoint, until interrupted")
	fs.IntVar(&f.cycles, "cycles", 0, "end --loop after `N` cycles; 0 is never")
	fs.DurationVar(&f.poll, "poll", phaseEvery, "with --loop, the `TIME` between two looks for a checkpoint and the phase")
	return cmd
}

func (f *cycleFlags) run(ctx context.Context, env *environment, file string) error {
	if err := f.checkFlags(); err != nil {
		return err
	}
	if f.base != "" {
		f.set = append(f.set, "network.base.checkpoints="+absolute(f.base))
	}
	plan, opt, err := f.load(ctx, file)
	if err := cmp.Or(err, checkMode(f.progress, "auto", "plain", "json", "none")); err != nil {
		return err
	}
	if err := checkCycle(plan); err != nil {
		return err
	}
	if f.loop {
		return f.runLoop(ctx, env, file, plan, opt)
	}
	clock, err := f.clock(ctx, env.now)
	if err != nil {
		return err
	}
	f.follow(ctx, env, clock)
	c := newCycleOf(f, env, plan, opt, clock)
	c.began = env.started
	if err := c.checkBase(); err != nil {
		return err
	}
	left := clock.deadline().Sub(clock.now())
	if left <= 0 {
		return c.tooLate("the deadline, %s, is over", clock.deadline().UTC().Format(time.RFC3339))
	}
	if left <= f.reserve {
		return c.tooLate("%.1f s are left until the deadline, and %s are kept as reserve", left.Seconds(), f.reserve)
	}
	if f.dry {
		return c.outlook()
	}
	return c.run(ctx)
}

// tooLate is about a cycle that does not begin. It leaves everything as it is, also the bundle of an earlier one,
// which may be on its way.
func (c *cycle) tooLate(format string, args ...any) error {
	msg := "too late: " + fmt.Sprintf(format, args...) + "; nothing is written"
	if _, err := c.opt.FS.Readlink(filepath.Join(c.opt.Workdir, "out", "bundle")); err == nil {
		msg += ", and out/bundle is still that of an earlier cycle"
	}
	return &pipeline.LateError{Msg: msg}
}

// checkFlags asks for one way to the deadline.
func (f *cycleFlags) checkFlags() error {
	ways := 0
	for _, set := range []bool{f.deadline != "", f.blocksLeft != 0, f.phase != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways != 1:
		return &flagError{errors.New("give one of --deadline TIME, --blocks-left N and --phase-command CMD")}
	case f.block <= 0:
		return &flagError{fmt.Errorf("--block-time %s: want more than 0", f.block)}
	case f.reserve < 0:
		return &flagError{fmt.Errorf("--reserve %s: want 0 or more", f.reserve)}
	case f.limit != 0 || f.until != "":
		return &flagError{errors.New("--limit and --until make no bundle; use bzdata run")}
	}
	return f.checkLoopFlags()
}

// checkCycle asks for a plan that can be run in a window.
func checkCycle(plan *pipeline.Plan) error {
	if plan.InputTokens() == "" {
		return &pipeline.UsageError{Msg: fmt.Sprintf("%s: a cycle trains on tokens that are there already: make them with a "+
			"plan of their own, and write input: [{tokens: runs/NAME/out/tokens}] here", plan.File)}
	}
	last := plan.Stages[len(plan.Stages)-1].Kind.Name
	if last != "bundle" {
		return &pipeline.UsageError{Msg: fmt.Sprintf("%s: a cycle ends with a bundle, not with %s; add train, proof_of_loss "+
			"and bundle", plan.File, last)}
	}
	return nil
}

// cycle is one under way.
type cycle struct {
	flags  *cycleFlags
	env    *environment
	plan   *pipeline.Plan
	opt    pipeline.Options
	clock  *clock
	began  time.Time // from which the time until the first step counts
	record cycleRecord
}

func newCycleOf(f *cycleFlags, env *environment, plan *pipeline.Plan, opt pipeline.Options, clock *clock) *cycle {
	return &cycle{flags: f, env: env, plan: plan, opt: opt, clock: clock,
		record: cycleRecord{Started: clock.now().UTC().Truncate(time.Second), Deadline: clock.deadline().UTC()}}
}

// checkBase refuses a base that is too old, or that an earlier cycle has used.
func (c *cycle) checkBase() error {
	base, remarks, err := stages.BaseCheckpoint(c.plan, c.flags.inputs)
	for _, r := range remarks {
		fmt.Fprintln(c.env.stderr, "base:", r)
	}
	if err != nil {
		return err
	}
	if base == nil {
		if c.flags.expect > 0 {
			return &flagError{errors.New("--expect-version needs the network's checkpoints; give --base DIR")}
		}
		return nil
	}
	c.record.Version = &base.Version
	if base.Version < c.flags.expect {
		return fmt.Errorf("the newest complete checkpoint, %s, is global version %d, and %d is expected; fetch it, and try again",
			base.Folder, base.Version, c.flags.expect)
	}
	past, err := readCycles(c.opt.FS, c.opt.Workdir)
	if err != nil {
		return err
	}
	if p := newestUsed(past); p != nil && *p.Version >= base.Version {
		return fmt.Errorf("the newest complete checkpoint, %s, is global version %d, and the cycle of %s has trained "+
			"on version %d already; wait for the next one",
			base.Folder, base.Version, p.Started.Format(time.RFC3339), *p.Version)
	}
	return nil
}

// outlook says what a cycle would do.
func (c *cycle) outlook() error {
	defer c.flags.inputs.Close()
	w, err := pipeline.Outlook(c.plan, c.opt)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.env.stdout, "plan      %s: no mistakes\nworkdir   %s\ntokens    %s\n", c.plan.File, w.Workdir,
		c.plan.InputTokens())
	if v := c.record.Version; v != nil {
		fmt.Fprintf(c.env.stdout, "base      global version %d\n", *v)
	}
	if text := c.examNote(w); text != "" {
		fmt.Fprintf(c.env.stdout, "exam      %s\n", text)
	}
	_, err = fmt.Fprintf(c.env.stdout, "window    %.0f s until %s\n", c.clock.deadline().Sub(c.clock.now()).Seconds(),
		c.clock.deadline().Format(time.RFC3339))
	return err
}

// examNote says whether the validators' rows are there, if they are to judge.
func (c *cycle) examNote(w *pipeline.Work) string {
	for _, step := range c.plan.Stages {
		done := func(s pipeline.StageWork) bool { return s.Label == step.Label() && s.Reused }
		switch {
		case step.Kind.Name != "validator_rows":
		case slices.ContainsFunc(w.Stages, done):
			return "the validators' rows are there"
		default:
			return fmt.Sprintf("the validators' rows are not there; bzdata run %s --until %s makes them", c.plan.File,
				step.Label())
		}
	}
	return ""
}

// run carries the cycle out, and then what is to follow.
func (c *cycle) run(ctx context.Context) error {
	if err := c.carryOut(ctx); err != nil {
		return err
	}
	return c.next(ctx)
}

// carryOut carries the cycle out and puts it on record, however it ends.
func (c *cycle) carryOut(ctx context.Context) error {
	within, stop := c.clock.within(ctx)
	defer stop()
	c.flags.around = func(run func() error) error {
		id, err := c.window()
		if err != nil {
			return err
		}
		c.plan.Window = &pipeline.Window{ID: id, Deadline: c.clock.deadline, Reserve: c.flags.reserve, Now: c.clock.now,
			Began: c.began, OnFirstStep: func(after time.Duration) { c.record.FirstStepS = after.Seconds() }}
		err, ended := outcome(ctx, within, run())
		if !ended {
			return err
		}
		return cmp.Or(err, c.finish(err))
	}
	return c.flags.carryOut(within, c.env, c.plan, c.opt)
}

// outcome says what a run within a window came to, and whether that is the end of the cycle: not if there was none, the
// plan being wrong, nor if the user interrupted it, since the same command goes on then, also from a bundle that
// was just there. A run that the deadline cut off was too late; a verdict before it stands.
func outcome(ctx, within context.Context, err error) (end error, ended bool) {
	var (
		late  *pipeline.LateError
		usage *pipeline.UsageError
		gate  *pipeline.GateError
	)
	if err != nil && !errors.As(err, &gate) && errors.As(context.Cause(within), &late) {
		err = late
	}
	if ctx.Err() != nil {
		return cmp.Or(err, ctx.Err()), false
	}
	return err, !errors.As(err, &usage)
}

// next runs the command that is to follow.
func (c *cycle) next(ctx context.Context) error {
	if c.flags.then == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", c.flags.then)
	cmd.Env = append(os.Environ(), "BZDATA_BUNDLE="+c.record.Bundle, "BZDATA_HASH="+c.record.Hash,
		"BZDATA_VERDICT="+c.record.Verdict)
	cmd.Stdout, cmd.Stderr = c.env.stderr, c.env.stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("--then %s: %w; the bundle is at %s", c.flags.then, err, c.record.Bundle)
	}
	return nil
}

// absoluteOut is the full path of something under WORKDIR/out.
func (c *cycle) absoluteOut(name string) string {
	return absolute(filepath.Join(c.opt.Workdir, "out", strings.TrimPrefix(name, "out/")))
}

// removeResults takes away the links to an earlier cycle's bundle and verdict, which must not be taken for this one's.
func removeResults(fsys store.FS, workdir string) error {
	for _, result := range []string{"bundle", "score.json"} {
		name := filepath.Join(workdir, "out", result)
		if _, err := fsys.Readlink(name); err != nil {
			continue
		}
		if err := fsys.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
