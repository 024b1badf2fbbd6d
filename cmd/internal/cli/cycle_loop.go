package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bzdata/pipeline"
	"bzdata/stages"
	"bzdata/train/checkpoint"
)

// checkLoopFlags looks at what belongs to --loop.
func (f *cycleFlags) checkLoopFlags() error {
	switch {
	case !f.loop && f.cycles != 0:
		return &flagError{errors.New("--cycles counts those of --loop; add it")}
	case f.cycles < 0:
		return &flagError{fmt.Errorf("--cycles %d: want 1 or more, or 0 for no end", f.cycles)}
	case f.poll <= 0:
		return &flagError{fmt.Errorf("--poll %s: want more than 0", f.poll)}
	case !f.loop:
		return nil
	case f.deadline != "":
		return &flagError{errors.New("--loop: --deadline is of one cycle; give --phase-command CMD, or --blocks-left N for each")}
	case f.dry:
		return &flagError{errors.New("--loop: --dry-run looks at one cycle; leave one of them out")}
	case f.json != "":
		return &flagError{errors.New("--loop: --json is the report of one run; read WORKDIR/cycles.jsonl")}
	case f.phase == "" && time.Duration(f.blocksLeft)*f.block <= f.reserve:
		return &flagError{fmt.Errorf("--blocks-left %d of %s are over within the reserve of %s", f.blocksLeft, f.block,
			f.reserve)}
	}
	return nil
}

// cycleLoop is cycle after cycle.
type cycleLoop struct {
	flags *cycleFlags
	env   *environment
	file  string
	plan  *pipeline.Plan
	opt   pipeline.Options
	used  int    // the newest version that was tried
	told  string // what was said last while waiting
}

// runLoop runs cycles until ctx ends, or as many as were asked for.
func (f *cycleFlags) runLoop(ctx context.Context, env *environment, file string, plan *pipeline.Plan,
	opt pipeline.Options) (err error) {
	l := &cycleLoop{flags: f, env: env, file: file, plan: plan, opt: opt, used: f.expect - 1}
	defer func() { err = errors.Join(err, f.inputs.Close()) }()
	if err := checkLoop(plan); err != nil {
		return err
	}
	past, err := readCycles(opt.FS, opt.Workdir)
	if err != nil {
		return err
	}
	if p := newestUsed(past); p != nil {
		l.used = max(l.used, *p.Version)
	}
	f.quiet, l.opt.Warm = true, pipeline.NewWarm()
	defer func() { err = errors.Join(err, l.opt.Warm.Close()) }()
	for n := 1; f.cycles == 0 || n <= f.cycles; n++ {
		if err := l.cycle(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// checkLoop asks for something to wait for.
func checkLoop(plan *pipeline.Plan) error {
	if plan.Network.Base.Checkpoints == "" {
		return usageOf("--loop waits for the network's checkpoints; give --base DIR, or set network.base.checkpoints")
	}
	return checkCycle(plan)
}

// cycle waits for the nth cycle and carries it out. The error is of what ends the loop.
func (l *cycleLoop) cycle(ctx context.Context, n int) error {
	version, clock, err := l.wait(ctx)
	if err != nil {
		return err
	}
	began := clock.now()
	if err := l.reload(ctx); err != nil {
		return err
	}
	within, stop := context.WithCancel(ctx)
	defer stop()
	l.flags.follow(within, l.env, clock)
	c := newCycleOf(l.flags, l.env, l.plan, l.opt, clock)
	c.began, c.record.Version = began, &version
	err = c.carryOut(within)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if exitCode(err, nil) == exitUsage && !errors.Is(err, checkpoint.ErrNone) {
		return err
	}
	l.used = version
	fmt.Fprintf(l.env.stdout, "cycle %d, version %d: %s\n", n, version, c.record.line(err))
	if err == nil {
		if err := c.next(within); err != nil {
			fmt.Fprintf(l.env.stderr, "cycle %d, version %d: %v\n", n, version, err)
		}
	}
	return l.reload(ctx)
}

// reload reads the plan anew, as it may have been edited.
func (l *cycleLoop) reload(ctx context.Context) error {
	if err := l.flags.inputs.Close(); err != nil {
		return err
	}
	plan, err := l.flags.parse(ctx, l.file)
	if err == nil {
		err = checkLoop(plan)
	}
	if err != nil {
		return err
	}
	l.plan, l.opt.Inputs = plan, l.flags.inputs
	return nil
}

// wait returns when there is a checkpoint that no cycle has used, and time to train on it.
func (l *cycleLoop) wait(ctx context.Context) (version int, clock *clock, err error) {
	for {
		version, clock, missing := l.ready(ctx)
		switch {
		case ctx.Err() != nil:
			return 0, nil, ctx.Err()
		case missing == "":
			l.told = ""
			return version, clock, nil
		case missing != l.told:
			l.told = missing
			fmt.Fprintf(l.env.stderr, "waiting: %s\n", missing)
		}
		timer := time.NewTimer(l.flags.poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// ready says what is missing for the next cycle.
func (l *cycleLoop) ready(ctx context.Context) (version int, clock *clock, missing string) {
	base, remarks, err := stages.BaseCheckpoint(l.plan, l.flags.inputs)
	if err != nil {
		return 0, nil, err.Error()
	}
	if base.Version <= l.used {
		about := append([]string{fmt.Sprintf("for a checkpoint newer than global version %d", l.used)}, remarks...)
		return 0, nil, strings.Join(about, "; ")
	}
	clock, err = l.flags.clock(ctx, l.env.now)
	if err != nil {
		return 0, nil, err.Error()
	}
	if left := clock.deadline().Sub(clock.now()); left <= l.flags.reserve {
		return 0, nil, fmt.Sprintf("for the phase, with a checkpoint of global version %d", base.Version)
	}
	return base.Version, clock, ""
}

// line says how a cycle went.
func (r *cycleRecord) line(err error) string {
	switch {
	case err != nil:
		what := "failed: "
		if r.Missed {
			what = "missed: "
		}
		return what + strings.ReplaceAll(err.Error(), "\n", "; ")
	case r.DifferenceNats == nil || r.IntervalNats == nil:
		return fmt.Sprintf("%s; bundle %s, hash %s", r.Verdict, r.Bundle, r.Hash)
	}
	return fmt.Sprintf("%s, %.4f nats (%.4f to %.4f); %d steps, the first after %.2f s; bundle %s, hash %s", r.Verdict,
		*r.DifferenceNats, r.IntervalNats[0], r.IntervalNats[1], r.Steps, r.FirstStepS, r.Bundle, r.Hash)
}
