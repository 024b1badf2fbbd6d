package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
	"bzdata/stages"

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
	computing
	json string
	rank string

	allowExec bool
	quiet     bool // standard output gets no summary
	// around, if set, calls the run once the work directory is its own.
	around func(run func() error) error
}

// addWork adds the flags that say what work there is.
func (f *runFlags) addWork(fs *pflag.FlagSet) {
	f.add(fs)
	fs.StringVar(&f.workdir, "workdir", "",
		"`DIR` for all that a run writes (default runs/NAME beside the plan)")
	fs.Int64Var(&f.limit, "limit", 0, "read at most `N` records of each input entry; 0 is all")
	fs.StringVar(&f.until, "until", "", "stop behind the stage of this `ID`")
	fs.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0),
		"`N` tasks at a time; the result does not depend on it")
	fs.StringVar(&f.memory, "memory", "", "memory budget such as 4GiB, a `SIZE` (default half of what there is)")
	fs.BoolVar(&f.fresh, "fresh", false, "forget what earlier runs left in the work directory")
	f.addDevice(fs)
}

// addRun adds those that say how it is done.
func (f *runFlags) addRun(fs *pflag.FlagSet) {
	f.addWork(fs)
	fs.DurationVar(&f.wait, "wait", 0,
		"wait for another run in the work directory, for a `TIME` such as 10m")
	fs.BoolVar(&f.allowExec, "allow-exec", false, "run the commands that exec stages of the plan name")
	fs.StringVar(&f.progress, "progress", "auto",
		"progress on standard error, a `MODE`: auto, plain, json, none")
	fs.StringVar(&f.json, "json", "",
		"write the report as JSON to this `FILE` instead; - is standard output")
}

// addRank adds the flag of commands that prove a loss.
func (f *runFlags) addRank(fs *pflag.FlagSet) {
	fs.StringVar(&f.rank, "rank-command", "",
		"ask `CMD` for the miner's rank in its expert group, for chain/rank_in_group; it prints the number")
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
	f.addRank(cmd.Flags())
	return cmd
}

func (f *runFlags) run(ctx context.Context, env *environment, file string) error {
	plan, opt, err := f.load(ctx, file)
	if err := errors.Join(err, checkMode(f.progress, "auto", "plain", "json", "none")); err != nil {
		return err
	}
	return f.carryOut(ctx, env, plan, opt)
}

// carryOut runs a plan that is loaded, and reports.
func (f *runFlags) carryOut(ctx context.Context, env *environment, plan *pipeline.Plan, opt pipeline.Options) error {
	defer f.inputs.Close() // what it could not delete is temporary and harmless
	f.inputs.SetScratch(filepath.Join(opt.Workdir, "scratch"))
	if err := pipeline.CheckConsent(plan, opt); err != nil {
		return err
	}
	lock, err := pipeline.Acquire(ctx, opt.FS, opt.Workdir, f.wait)
	if err != nil {
		return err
	}
	work := func() error { return f.underLock(lock.Context(ctx), env, plan, opt) }
	if f.around == nil {
		err = work()
	} else {
		err = f.around(work)
	}
	return cmp.Or(err, lock.Release())
}

// underLock runs a plan in a work directory that is its own, and reports.
func (f *runFlags) underLock(ctx context.Context, env *environment, plan *pipeline.Plan, opt pipeline.Options) error {
	show := newProgress(f.progress, env.stderr, opt)
	opt.OnEvent, opt.Rank = show.event, f.rankOf(env)
	started := time.Now()
	res, runErr := pipeline.Run(ctx, plan, opt)
	show.close()
	if res != nil {
		meta := report.Meta{Started: started, Took: time.Since(started), Usage: usage(), Err: runErr}
		if errors.Is(runErr, context.Canceled) {
			meta.Err = errInterrupted
		}
		err := stages.NoteStarved(plan, opt.Inputs, res)
		err = errors.Join(err, pipeline.AsDiskError(opt.Workdir, f.report(env, opt, res, meta)))
		runErr = cmp.Or(runErr, err)
	}
	return runErr
}

// errInterrupted is what reports say of an interrupted run.
var errInterrupted = errors.New("interrupted; the same command goes on from here")

// load reads the plan and the flags; whatever is wrong with them is said here, before
// anything is written.
func (f *runFlags) load(ctx context.Context, file string) (*pipeline.Plan, pipeline.Options, error) {
	plan, err := f.parse(ctx, file)
	if err != nil {
		return nil, pipeline.Options{}, err
	}
	opt, err := f.options(plan)
	if err != nil {
		return nil, opt, err
	}
	if info, err := os.Stat(opt.Workdir); err == nil && !info.IsDir() {
		return nil, opt, &flagError{
			fmt.Errorf("work directory %s is a file; choose another with --workdir", opt.Workdir)}
	}
	if err := pipeline.CheckWorkdir(opt.FS, opt.Workdir, file); err != nil {
		return nil, opt, err
	}
	if _, err := stages.Starved(plan, f.inputs, nil); err != nil {
		return nil, opt, err
	}
	return plan, opt, checkOutput("--json", f.json)
}

// checkOutput finds out before the work whether a file can be written after it.
func checkOutput(flag, name string) error {
	if name == "" || name == "-" {
		return nil
	}
	dir := filepath.Dir(name)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return &flagError{fmt.Errorf("%s %s: there is no folder %s; make it first", flag, name, dir)}
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return &flagError{fmt.Errorf("%s %s is a folder; name a file", flag, name)}
	}
	return nil
}

// options turns the flags into the engine's options.
func (f *runFlags) options(plan *pipeline.Plan) (pipeline.Options, error) {
	opt := pipeline.Options{Workdir: f.workdir, FS: store.OS(), Inputs: f.inputs, Workers: f.workers,
		Limit: f.limit, Until: f.until, Fresh: f.fresh, Build: buildID(), AllowExec: f.allowExec, Now: time.Now}
	opt.Host, _ = os.Hostname() // metrics of a machine without a name have none
	if opt.Workdir == "" {
		opt.Workdir = filepath.Join(plan.Dir(), "runs", plan.Name)
	}
	if f.workers < 1 {
		return opt, &flagError{fmt.Errorf("--workers %d: want 1 or more", f.workers)}
	}
	if f.limit < 0 {
		return opt, &flagError{fmt.Errorf("--limit %d: want 1 or more, or 0 for all", f.limit)}
	}
	isUntil := func(s pipeline.Step) bool { return s.ID == f.until }
	if f.until != "" && !slices.ContainsFunc(plan.Stages, isUntil) {
		return opt, unknownUntil(f.until, plan)
	}
	var err error
	if opt.Kernels, err = f.computing.resolve(); err != nil {
		return opt, err
	}
	if err := stages.CheckDevice(plan, opt.Kernels); err != nil {
		return opt, err
	}
	if opt.MemoryBytes, err = memoryBudget(f.memory); err != nil {
		return opt, &flagError{fmt.Errorf("--memory: %w", err)}
	}
	setCollector(opt.MemoryBytes)
	opt.HeldOutRules, err = heldOutRules(plan)
	return opt, err
}

// steadyBytesMax is the largest budget up to which the collector lets the heap grow to its
// limit before it begins. Beyond, the pages of so much garbage would cost more than collecting.
const steadyBytesMax = 1 << 30

// setCollector makes what the process takes follow from the budget. Under the collector's own
// rule the heap grows to twice what is in use, and a run's peak depends on when in a busy
// moment it happens to look: it was 414 MiB for ten million documents and 611 for a quarter
// of them. With the limit alone, every run that allocates as much fills the same space and goes
// on within it. What may exceed the budget, such as a model, is not refused: the collector only
// works harder.
func setCollector(memoryBytes int64) {
	debug.SetMemoryLimit(memoryBytes + memoryBytes/4)
	percent := 100
	if memoryBytes <= steadyBytesMax {
		percent = -1
	}
	debug.SetGCPercent(percent)
}

// report writes report.json and report.html into the work directory, and the summary to
// standard output.
func (f *runFlags) report(env *environment, opt pipeline.Options, res *pipeline.Result,
	meta report.Meta) error {
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
	if f.quiet {
		return nil
	}
	meta.Err = nil // standard error says it
	if err := report.WriteText(env.stdout, res, meta); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "\nreport: %s\n", name)
	return err
}

func unknownUntil(id string, plan *pipeline.Plan) error {
	var ids []string
	for _, s := range plan.Stages {
		ids = append(ids, s.ID)
	}
	hint := cmp.Or(pipeline.Suggest(id, ids), "its stages are "+strings.Join(ids, ", "))
	return &flagError{fmt.Errorf("--until %s: the plan has no such stage; %s", id, hint)}
}

// writeJSON writes a result to a file, or to standard output for "-".
func writeJSON(env *environment, name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(env.stdout)
	}
	return store.WriteFile(store.OS(), name, write)
}

// indented writes a value for writeJSON.
func indented(v any) func(io.Writer) error {
	return func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(v)
	}
}

// buildID names this build: the version control revision if the build is of one and
// nothing else, otherwise the start of the program file's SHA-256, which differs for any
// two programs.
func buildID() string {
	info, ok := debug.ReadBuildInfo()
	revision, modified := "", false
	for i := 0; ok && i < len(info.Settings); i++ {
		switch s := info.Settings[i]; s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if revision != "" && !modified {
		return revision
	}
	name, err := os.Executable()
	if err != nil {
		return "unknown"
	}
	sum, err := pipeline.FileSHA256(store.OS(), name)
	if err != nil {
		return "unknown"
	}
	return "sha256:" + sum[:12]
}
