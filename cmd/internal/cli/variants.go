package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"bzdata/pipeline"
)

// variants are runs of one plan, changed a little each time, in a work directory of their own: what they
// have in common is done once, and what was done before an interruption is not done again.
type variants struct {
	flags  *runFlags
	env    *environment
	opt    pipeline.Options
	suffix string // what the name of the plan has behind it in the work directory

	seen bool // a run was begun: --fresh has had its effect
	of   int  // runs of the whole, at most
	at   int
}

// place chooses the work directory, and refuses one that holds a run: its results would be
// replaced.
func (v *variants) place(plan *pipeline.Plan) error {
	if v.flags.workdir == "" {
		v.opt.Workdir = filepath.Join(plan.Dir(), "runs", plan.Name+v.suffix)
	}
	rec, err := pipeline.ReadRecord(v.opt.FS, v.opt.Workdir)
	if err != nil {
		return err
	}
	if rec != nil && !strings.HasSuffix(rec.Plan, v.suffix) {
		return &flagError{fmt.Errorf("work directory %s holds a run of plan %s, whose results would be replaced; "+
			"choose another with --workdir", v.opt.Workdir, rec.Plan)}
	}
	v.flags.inputs.SetScratch(filepath.Join(v.opt.Workdir, "scratch"))
	return pipeline.CheckConsent(plan, v.opt)
}

// hold calls work, and report after it, while the work directory is this process's own.
func (v *variants) hold(ctx context.Context, work func(context.Context) error, report func() error) error {
	lock, err := pipeline.Acquire(ctx, v.opt.FS, v.opt.Workdir, v.flags.wait)
	if err != nil {
		return err
	}
	err = work(lock.Context(ctx))
	if err == nil {
		err = pipeline.AsDiskError(v.opt.Workdir, report())
	}
	return errors.Join(err, lock.Release())
}

// carryOut runs a plan, and tells watch, if it is not nil, what happens. That its update is refused is no
// error: the losses are there.
func (v *variants) carryOut(ctx context.Context, plan *pipeline.Plan, watch func(pipeline.Event)) (*pipeline.Result, error) {
	opt := v.opt
	opt.Fresh = opt.Fresh && !v.seen
	v.seen = true
	show := newProgress(v.flags.progress, v.env.stderr, opt)
	opt.OnEvent = show.event
	if watch != nil {
		opt.OnEvent = func(e pipeline.Event) { watch(e); show.event(e) }
	}
	res, err := pipeline.Run(ctx, plan, opt)
	show.close()
	var gate *pipeline.GateError
	if errors.As(err, &gate) {
		err = nil
	}
	return res, err
}

// tell says on standard error which run begins.
func (v *variants) tell(format string, args ...any) {
	v.at++
	if v.flags.progress == "auto" || v.flags.progress == "plain" {
		fmt.Fprintf(v.env.stderr, "run %d of at most %d: %s\n", v.at, v.of, fmt.Sprintf(format, args...))
	}
}

// aligned is a table for a terminal: words in the first and last column, numbers between.
func aligned(t *pipeline.Table) string {
	var b strings.Builder
	rows := append([][]string{t.Columns}, t.Rows...)
	width := make([]int, len(t.Columns))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range rows {
		line := ""
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 || i == len(row)-1 {
				line += c + pad + "  "
			} else {
				line += pad + c + "  "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
