package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
	"bzdata/train/tensor"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// runFlags are the flags of bzdata run.
type runFlags struct {
	planFlags
	workdir  string
	limit    int64
	until    string
	workers  int
	memory   string
	fresh    bool
	wait     time.Duration
	progress string
	kernels  string
	json     string
}

func (f *runFlags) addRun(fs *pflag.FlagSet) {
	f.add(fs)
	fs.StringVar(&f.workdir, "workdir", "", "folder for everything that the run writes (default runs/NAME beside the plan)")
	fs.Int64Var(&f.limit, "limit", 0, "read at most this many records of each input entry")
	fs.StringVar(&f.until, "until", "", "stop after the stage of this id")
	fs.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "tasks and threads at a time; the result does not depend on it")
	fs.StringVar(&f.memory, "memory", "", "memory budget, such as 4GiB (default half of what the machine or container has)")
	fs.BoolVar(&f.fresh, "fresh", false, "forget what earlier runs left in the work directory")
	fs.DurationVar(&f.wait, "wait", 0, "wait so long for another run in the work directory")
	fs.StringVar(&f.progress, "progress", "auto", "auto, plain, json or none")
	fs.StringVar(&f.kernels, "kernels", "auto", "floating-point kernels: auto, avx512, avx2 or plain")
	fs.StringVar(&f.json, "json", "", "write the report as JSON to this file; - is standard output")
}

func newRun(env *environment) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run PLAN",
		Short: "Run a plan, reusing what is done already",
		Long: `Run carries out a plan. Results are kept in the work directory by what they depend on: a second
run, also after a crash or an edit of the plan, repeats only what must change. Outputs appear
under WORKDIR/out, the report as WORKDIR/report.html and report.json.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitGate, exitInUse, exitInterrupted),
		Args: exactly(1, "one PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), env, args[0]) },
	}
	f.addRun(cmd.Flags())
	return cmd
}

func (f *runFlags) run(ctx context.Context, env *environment, file string) error {
	plan, err := f.load(file)
	if err != nil {
		return err
	}
	opt, err := f.options(plan)
	if err != nil {
		return err
	}
	lock, err := pipeline.Acquire(ctx, opt.FS, opt.Workdir, f.wait)
	if err != nil {
		return err
	}
	show, err := newProgress(f.progress, env.stderr, opt)
	if err != nil {
		return errors.Join(err, lock.Release())
	}
	opt.OnEvent = show.event
	started := time.Now()
	res, runErr := pipeline.Run(ctx, plan, opt)
	show.close()
	if res != nil {
		meta := report.Meta{Started: started, Took: time.Since(started), Err: runErr}
		if err := f.report(env, opt, res, meta); err != nil && runErr == nil {
			runErr = err
		}
	}
	return errors.Join(runErr, lock.Release())
}

// options turns the flags into the engine's options.
func (f *runFlags) options(plan *pipeline.Plan) (pipeline.Options, error) {
	opt := pipeline.Options{Workdir: f.workdir, FS: store.OS(), Inputs: store.OS(), Workers: f.workers,
		Limit: f.limit, Until: f.until, Fresh: f.fresh, Build: buildID()}
	if opt.Workdir == "" {
		opt.Workdir = filepath.Join(plan.Dir(), "runs", plan.Name)
	}
	if f.workers < 1 || f.limit < 0 {
		return opt, &flagError{fmt.Errorf("--workers must be 1 or more and --limit 0 or more")}
	}
	kernels, err := tensor.Choose(f.kernels)
	if err != nil {
		return opt, &flagError{fmt.Errorf("--kernels: %w", err)}
	}
	opt.Kernels = kernels.Name()
	if opt.MemoryBytes, err = memoryBudget(f.memory); err != nil {
		return opt, &flagError{fmt.Errorf("--memory: %w", err)}
	}
	debug.SetMemoryLimit(opt.MemoryBytes + opt.MemoryBytes/2)
	opt.HeldOutRules, err = heldOutRules(plan)
	return opt, err
}

// report writes report.json and report.html into the work directory, and the summary to
// standard output.
func (f *runFlags) report(env *environment, opt pipeline.Options, res *pipeline.Result, meta report.Meta) error {
	name := filepath.Join(opt.Workdir, "report.html")
	err := store.WriteFile(opt.FS, name, func(w io.Writer) error { return report.WriteHTML(w, res, meta) })
	if err != nil {
		return err
	}
	err = store.WriteFile(opt.FS, filepath.Join(opt.Workdir, "report.json"),
		func(w io.Writer) error { return report.WriteJSON(w, res, meta) })
	if err != nil {
		return err
	}
	if f.json != "" {
		return writeJSON(env, f.json, func(w io.Writer) error { return report.WriteJSON(w, res, meta) })
	}
	if err := report.WriteText(env.stdout, res, meta); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "report  %s\n", name)
	return err
}

// writeJSON writes a result to a file, or to standard output for "-".
func writeJSON(env *environment, name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(env.stdout)
	}
	return store.WriteFile(store.OS(), name, write)
}

// buildID names this build: the version control revision if it is known.
func buildID() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, modified := "unversioned", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	return revision + modified
}
