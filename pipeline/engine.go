package pipeline

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"bzdata/pipeline/store"
)

// Options say how a plan is run. None of them changes what ends up under out/, but
// Limit and Kernels.
type Options struct {
	Workdir string
	// FS holds the work directory, Inputs the files that the plan names.
	FS, Inputs store.FS
	// Workers is the number of tasks at a time.
	Workers int
	// MemoryBytes is the memory that the run should do with: what its tasks sort and gather,
	// all together, is held within it, with room for documents on their way. What does not fit
	// is sorted on the disk. Indexes of held-out text and models come on top of it.
	MemoryBytes int64
	// TaskBytes is what a task takes beside what it sorts and gathers, for documents, blocks
	// and compression: only so many tasks run at a time as half of MemoryBytes has room for.
	// 0 stands for 16 MiB. It is for tests.
	TaskBytes int64
	// Limit reads at most so many records of each input entry; 0 is no limit.
	Limit int64
	// RangeBytes is the least size of the ranges that large plain input files are cut into, a
	// task each; 0 stands for 64 MiB. It is for tests.
	RangeBytes int64
	// Until ends the run after the stage of this label.
	Until string
	// Fresh forgets earlier results first.
	Fresh bool
	// Build names the program's build, Kernels the kernel set in use.
	Build, Kernels string
	HeldOutRules   HeldOutRules
	// AllowExec lets stages run the commands that the plan names.
	AllowExec bool
	// Now is the clock and Host the name of the machine, for what lies beside the run's record; nil is a
	// clock that stands at the year 1.
	Now  func() time.Time
	Host string
	// OnEvent is told what happens; it is called from one goroutine at a time.
	OnEvent func(Event)
	Warm    *Warm // what stages keep in memory for the next run of this process; nil keeps nothing
	// Rank asks for the miner's rank in place of the plan's rank_file, and ends when ctx does; nil asks nobody.
	Rank func(ctx context.Context) (int, error)
}

// Event is one thing that happened in a run.
type Event struct {
	Kind  string  `json:"kind"` // plan, start, progress, done, reused, stage, alarm, note
	Stage string  `json:"stage"`
	Task  string  `json:"task,omitempty"`
	Done  float64 `json:"done,omitempty"`
	Total float64 `json:"total,omitempty"`
	Unit  string  `json:"unit,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// run is one run of a plan.
type run struct {
	plan   *Plan
	opt    Options
	inputs []*inputFile
	exam   []*inputFile // files of held-out documents
	// shardFiles are the files of the shards.
	shardFiles []*inputFile
	waves      []wave

	mayEmpty map[string]bool     // labels of stages that may end with no document
	emptied  bool                // by one of these
	notes    map[string][]string // about the run, by stage
	found    map[string][]string // files, by the name and path of a Read with Find
	known    *identities

	memory memory
	alone  sync.RWMutex // held by each task at work; alone by one that needs all memory
	events sync.Mutex
}

func (r *run) stages() string { return filepath.Join(r.opt.Workdir, "stages") }

// Run carries a plan out, reusing what an earlier run has committed, and returns what
// there is to report. The error says why a run did not get to its end; the result is
// valid, as far as the run got, unless it is nil.
func Run(ctx context.Context, plan *Plan, opt Options) (*Result, error) {
	res, err := carryOut(ctx, plan, opt)
	return res, AsDataError(opt.Workdir, AsDiskError(opt.Workdir, err))
}

func carryOut(ctx context.Context, plan *Plan, opt Options) (*Result, error) {
	r, err := newRun(ctx, plan, opt)
	if err != nil {
		return nil, err
	}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	r.announce()
	runErr := r.execute(ctx)
	if lost := lockLost(ctx); lost != nil {
		return nil, lost // the work directory is another run's
	}
	if refused(runErr) {
		runErr = cmp.Or(runErr, r.unlinkStale(), r.finish())
	} else if runErr == nil {
		if runErr = cmp.Or(r.finish(), r.publish(ctx)); runErr == nil {
			r.conclude()
		}
	}
	res, err := r.result()
	runErr = cmp.Or(runErr, err)
	return res, cmp.Or(runErr, r.writeRecord(runErr))
}

// refused reports whether the run ended at a check of its data or at the gate: then
// the drop log and the rejects are what its owner needs next.
func refused(err error) bool {
	var data *DataError
	var gate *GateError
	return errors.As(err, &data) || errors.As(err, &gate)
}

// newRun finds the files that the plan reads.
func newRun(ctx context.Context, plan *Plan, opt Options) (*run, error) {
	r := &run{plan: plan, opt: opt, memory: memory{limit: opt.MemoryBytes / 4}, known: readIdentities(opt)}
	var err error
	if r.inputs, err = inputFiles(plan, plan.Input, opt); err != nil {
		return nil, err
	}
	if len(r.inputs) == 0 && plan.InputTokens() == "" {
		return nil, &UsageError{Msg: "no input file is there; check the paths under `input`"}
	}
	if plan.HeldOut != nil {
		opt.Limit = 0 // the exam stays the same in a trial run
		if r.exam, err = inputFiles(plan, plan.HeldOut.Inputs, opt); err != nil {
			return nil, err
		}
	}
	return r, r.touched(ctx, slices.Concat(r.inputs, r.exam))
}

// prepare lays the tasks out and makes the work directory. What is wrong with the plan
// or its files shows before anything is written.
func (r *run) prepare() error {
	fsys, workdir := r.opt.FS, r.opt.Workdir
	if err := cmp.Or(CheckConsent(r.plan, r.opt), r.build(), CheckWorkdir(fsys, workdir, r.plan.File)); err != nil {
		return err
	}
	if err := makeDurable(fsys, workdir); err != nil {
		return unwritable(workdir, err)
	}
	if r.opt.Fresh {
		if err := r.forget(); err != nil {
			return err
		}
	} else if err := r.checkKernels(); err != nil {
		return err
	}
	if err := r.checkScratch(); err != nil {
		return err
	}
	if err := cmp.Or(r.writeStart(), r.known.write(fsys, workdir)); err != nil {
		return err
	}
	if err := makeDurable(fsys, r.stages()); err != nil {
		return err
	}
	return removeUncommitted(fsys, r.stages())
}

// forget deletes what earlier runs have left and lays the tasks out anew, since no
// boundary is left to start from.
func (r *run) forget() error {
	if err := forget(r.opt.FS, r.opt.Workdir); err != nil {
		return err
	}
	r.waves = nil
	return r.build()
}

// removeUncommitted deletes what tasks that were cut off have left: also those of other
// plans, which no task of this one would clear away.
func removeUncommitted(fsys store.FS, stages string) error {
	entries, err := fsys.ReadDir(stages)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if key, temp := strings.CutPrefix(e.Name(), store.TempPrefix); temp && isTaskKey(key) {
			if err := store.RemoveAll(fsys, filepath.Join(stages, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// isTaskKey reports whether a name is one that [keyOf] gives.
func isTaskKey(name string) bool {
	raw, err := hex.DecodeString(name)
	return err == nil && len(raw) == keyBytes
}

// checkKernels refuses a work directory that holds another kernel set's results.
func (r *run) checkKernels() error {
	old, err := ReadRecord(r.opt.FS, r.opt.Workdir)
	if err != nil {
		return err
	}
	if old != nil && old.Kernels != "" && old.Kernels != r.opt.Kernels {
		return &UsageError{Msg: fmt.Sprintf("%s was begun with the kernel set %s, now it would be %s, whose last bits differ; "+
			"add --kernels %s, or begin anew with --fresh", r.opt.Workdir, old.Kernels, r.opt.Kernels, old.Kernels)}
	}
	return nil
}

// makeDurable makes a directory and its missing parents, so that a crash of the machine
// keeps them: each new name is synced in the directory that it stands in.
func makeDurable(fsys store.FS, name string) error {
	if store.Exists(fsys, name) {
		return nil
	}
	parent := filepath.Dir(name)
	if parent != name {
		if err := makeDurable(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(name); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// announce says how much of the plan is there already.
func (r *run) announce() {
	done, all := 0, 0
	for _, s := range r.stageStates() {
		all++
		if s.reusable {
			done++
		}
	}
	r.event(Event{Kind: "plan", Note: fmt.Sprintf("reused %d of %d stages", done, all),
		Done: float64(done), Total: float64(all)})
	if note, _ := r.plan.looseEnd(); note != "" { // build has found that every stage compiles
		r.event(Event{Kind: "note", Note: note})
	}
	for _, stage := range slices.Sorted(maps.Keys(r.notes)) { // from laying out
		for _, text := range r.notes[stage] {
			r.tell(stage, text)
		}
	}
}

// stageState is how far a stage is done before the run.
type stageState struct {
	label    string
	reusable bool
}

// stageStates lists the stages in plan order. A stage is reusable if every task of
// every wave that carries its label is committed.
func (r *run) stageStates() []stageState {
	var out []stageState
	at := map[string]int{}
	mark := func(label string, ok bool) {
		i, known := at[label]
		if !known {
			i = len(out)
			at[label], out = i, append(out, stageState{label, true})
		}
		out[i].reusable = out[i].reusable && ok
	}
	for _, w := range r.waves {
		for _, n := range w.nodes {
			ok := store.Exists(r.opt.FS, filepath.Join(n.dir(), reportName))
			for _, label := range w.stages {
				mark(label, ok)
			}
			if len(w.stages) == 0 && n.stage != inputStage {
				mark(n.stage, ok)
			}
		}
	}
	return out
}

// execute runs the waves in order, up to the first behind a refusal that does not go on even so.
func (r *run) execute(ctx context.Context) error {
	var refused error
	for i := range r.waves {
		w := &r.waves[i]
		if refused != nil && !w.evenIfRefused {
			return refused
		}
		w.weigh()
		if err := r.wave(ctx, w); err != nil {
			return err
		}
		err := r.checkWave(w)
		if gate := (*GateError)(nil); err != nil && !errors.As(err, &gate) {
			return err
		}
		refused = cmp.Or(refused, err)
	}
	return refused
}

// wave runs one wave's nodes, at most tasksMax at a time. The error of the first node
// in order is returned, whatever order they ended in.
func (r *run) wave(ctx context.Context, w *wave) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(w.nodes))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(r.tasksMax(), len(w.nodes)) {
		workers.Go(func() {
			for i := range next {
				if errs[i] = r.node(ctx, w.nodes[i]); errs[i] != nil {
					cancel()
				}
			}
		})
	}
	for i := range w.nodes {
		next <- i
	}
	close(next)
	workers.Wait()
	return firstCause(errs)
}

// firstCause prefers the error that stopped the others to their cancellation.
func firstCause(errs []error) error {
	var first error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// node runs or reuses one node.
func (r *run) node(ctx context.Context, n *node) error {
	defer close(n.done)
	if err := cmp.Or(await(ctx, n.deps), await(ctx, n.after), ctx.Err(), lockLost(ctx)); err != nil {
		return err
	}
	report, err := n.load()
	if err != nil {
		return err
	}
	if report != nil {
		n.report, n.reused = report, true
		n.skip()
		r.event(Event{Kind: "reused", Stage: n.stage, Task: n.name})
		// A crash between commit and here left the checkpoints of what is done.
		return errors.Join(store.RemoveAll(r.opt.FS, n.scratch()), r.link(n))
	}
	r.event(Event{Kind: "start", Stage: n.stage, Task: n.name})
	if n.report, err = r.attempt(ctx, n); err != nil {
		return err
	}
	n.advance(1)
	r.event(Event{Kind: "done", Stage: n.stage, Task: n.name})
	return r.link(n)
}

// await waits for tasks. All but a limit's chain and what looks at a file's ranges, which
// stand before the task in its own wave, are done long since.
func await(ctx context.Context, nodes []*node) error {
	for _, d := range nodes {
		select {
		case <-d.done:
			if d.report == nil { // it failed; its error is the one that counts
				return context.Canceled
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// checkWave stops the run where its data or its gate say so.
func (r *run) checkWave(w *wave) error {
	var records, rejected int64
	var read []string
	first := ""
	for _, n := range w.nodes {
		if n.report.Refused != "" {
			return &GateError{n.report.Refused}
		}
		if in := n.report.Input; in != nil {
			records, rejected = records+in.Records, rejected+in.Rejected
			if n.part == 0 {
				read = append(read, n.file)
			}
			if first == "" && in.Rejected > 0 {
				first = n.report.Notes[0]
			}
		}
	}
	if limit := r.plan.MaxRejectFraction; float64(rejected) > limit*float64(records) {
		return &DataError{fmt.Sprintf("%d of %d records are malformed, more than max_reject_fraction %g allows; first: %s; "+
			"see rejects/ in the work directory", rejected, records, limit, first)}
	}
	if len(read) > 0 && records == 0 {
		return &DataError{fmt.Sprintf("%s: no record is there; check the plan's paths", firstOf(read))}
	}
	if err := r.alarms(w); err != nil {
		return err
	}
	return r.checkLeft(w)
}

// firstOf names the first of some files, and how many there are.
func firstOf(files []string) string {
	if len(files) == 1 {
		return files[0]
	}
	return fmt.Sprintf("%s and %d more", files[0], len(files)-1)
}

// checkLeft stops the run where no document is left, unless all went as copies of what earlier
// runs kept: a night that brings nothing new is no failure.
func (r *run) checkLeft(w *wave) error {
	stage := emptiedBy(w)
	if stage == "" || r.emptied {
		return nil
	}
	if r.mayEmpty[stage] {
		r.emptied = true
		r.note(stage, "no document is left: all are copies of documents known before")
		return nil
	}
	return &DataError{fmt.Sprintf("no document is left after stage %s; see drops/ and the report in the work directory", stage)}
}

// emptiedBy returns the first stage of a wave's segments that kept no document at all,
// or "".
func emptiedBy(w *wave) string {
	var stages []string
	var kept []int64
	for _, n := range w.nodes {
		if n.shard < 0 {
			continue
		}
		for i, l := range n.report.Ledgers {
			if i == len(kept) {
				stages, kept = append(stages, l.Stage), append(kept, 0)
			}
			kept[i] += l.Kept
		}
	}
	if i := slices.Index(kept, 0); i >= 0 {
		return stages[i]
	}
	return ""
}

func (r *run) event(e Event) {
	if r.opt.OnEvent == nil {
		return
	}
	r.events.Lock()
	defer r.events.Unlock()
	r.opt.OnEvent(e)
}

func (r *run) progress(n *node, done, total float64, unit string) {
	r.event(Event{Kind: "progress", Stage: n.stage, Task: n.name, Done: done, Total: total, Unit: unit})
}

func (r *run) docName(ref Ref) string {
	if int(ref.Shard) >= len(r.shardFiles) {
		return fmt.Sprintf("shard %d:%d", ref.Shard, ref.Record)
	}
	f := r.shardFiles[ref.Shard]
	return fmt.Sprintf("%s:%s:%d", f.source, f.identity.Path, ref.Record)
}
