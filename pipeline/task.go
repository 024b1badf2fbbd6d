package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bzdata/pipeline/store"

	"github.com/zeebo/xxh3"
)

// Key names a task's result by everything that it depends on: stage name and version,
// canonical config (or what of it counts: see [Pass]), seed, the keys of what it reads and the identities of its files.
type Key string

// keyBytes is the length of a key, which is written in hexadecimal.
const keyBytes = 16

// keyOf hashes parts, each with its length, so that no two lists of parts agree.
func keyOf(parts ...string) Key {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return Key(hex.EncodeToString(h.Sum(nil)[:keyBytes]))
}

// TaskReport is what a finished task says about itself. It is committed with the
// task's outputs, holds no time, host or worker count, and a task is done when it is
// there under the task's key and the outputs still have their size and hash.
type TaskReport struct {
	// Sum is the XXH3 hash of the report's own bytes, with zeros in its place: a report
	// that was damaged is none.
	Sum     string `json:"xxh3_128"`
	Key     Key    `json:"key"`
	Stage   string `json:"stage"`
	Name    string `json:"name"`
	Build   string `json:"build"`
	Kernels string `json:"kernels,omitempty"`
	// Ledgers has one entry for each stage of a segment, in order.
	Ledgers []*Ledger `json:"ledgers,omitempty"`
	Panels  []Panel   `json:"panels,omitempty"`
	// Notes are warnings and remarks for the reader of the report.
	Notes []string `json:"notes,omitempty"`
	// Summary are the figures that the run's summary shows, in order.
	Summary []Figure `json:"summary,omitempty"`
	// Values are the figures that other programs read, by name; each is finite.
	Values map[string]float64 `json:"values,omitempty"`
	// Refused is the gate's reason for stopping the run, or empty.
	Refused string `json:"refused,omitempty"`
	// Input is the file that the task read, if it read one.
	Input *InputRecord `json:"input,omitempty"`
	// Survey is what the task found in a range of a file, if it looked at one.
	Survey  *SurveyRecord `json:"survey,omitempty"`
	Outputs []Output      `json:"outputs"`
}

// Figure is one line of a run's summary.
type Figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Output is one file of a task, by its path below the task's folder.
type Output struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Hash  string `json:"xxh3_128"`
}

// InputRecord pins an input file.
type InputRecord struct {
	Source string `json:"source"`
	Path   string `json:"path"`
	// Place is the file's path from the plan's folder, or absolute if it is not below it.
	// Results leave it out.
	Place     string `json:"place,omitempty"`
	Bytes     int64  `json:"bytes"`
	ModTimeNS int64  `json:"mtime_ns"`
	// ETag is what the server knows a remote file's content by; it then stands for the time.
	ETag string `json:"etag,omitempty"`
	// TouchedNS, in run.json, is the time that the file had when its content was found to be
	// the same as at ModTimeNS.
	TouchedNS int64  `json:"touched_ns,omitempty"`
	SHA256    string `json:"sha256,omitempty"`
	// RangeBytes says, if it is not 0, that SHA256 is that of the SHA-256s, in hexadecimal, of
	// the file's ranges of this size.
	RangeBytes int64 `json:"sha256_range_bytes,omitempty"`
	Records    int64 `json:"records"`
	Rejected   int64 `json:"rejected"`
}

const reportName = "report.json"

// Task is one unit of work: what a stage's code gets to see of the engine.
type Task struct {
	Plan *Plan
	// Step is the stage's entry in the plan.
	Step *Step
	// FS holds the outputs; Inputs holds what the plan's paths name.
	FS, Inputs store.FS
	// Scratch is a folder for checkpoints, made by [Task.MakeScratch]. It outlives an
	// interrupted run and is deleted once the task is committed.
	Scratch string
	Workers int
	// MemoryBytes is the budget of the whole run, see [Options]. Passes and barriers draw on it
	// through the records that they send and see, and through sorters; an artifact stage runs
	// alone.
	MemoryBytes int64
	// Kernels names the kernel set that floating-point work must use.
	Kernels string
	// Report collects panels, notes and figures.
	Report *TaskReport
	// Now is the clock, and Host names the machine. Neither may end up in an output or in Report.
	Now  func() time.Time
	Host string
	// Warm is what stages keep in memory for the next run; it may be nil.
	Warm *Warm
	// Rank is that of [Options].
	Rank func(ctx context.Context) (int, error)
	// Progress tells how far the task is; it may be called from any goroutine.
	Progress func(done, total float64, unit string)

	dir       string // outputs, not committed yet
	run       *run
	node      *node
	shard     int // of a pass; -1 otherwise
	decisions *decisions
	held      *account
	outputs   *sync.Mutex   // guards Report.Outputs
	spills    *atomic.Int64 // folders of temporary files
	check     func() error  // the error that ends a long sort
}

// WriteFile writes one output of the task: name is a path below the task's folder.
// The file is synced, and appears when the task is committed. Several goroutines may each
// write a file.
func (t *Task) WriteFile(name string, write func(io.Writer) error) (err error) {
	full := filepath.Join(t.dir, filepath.FromSlash(name))
	if err := t.FS.MkdirAll(filepath.Dir(full)); err != nil {
		return err
	}
	f, err := t.FS.Create(full)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := &hashingWriter{w: f, h: xxh3.New()}
	if err := write(h); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	t.outputs.Lock()
	defer t.outputs.Unlock()
	t.Report.Outputs = append(t.Report.Outputs, Output{filepath.ToSlash(name), h.n, h.sum()})
	return nil
}

// hashingWriter counts and hashes what goes through it.
type hashingWriter struct {
	w io.Writer
	h *xxh3.Hasher
	n int64
}

func (w *hashingWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.h.Write(p[:n])
	return n, err
}

func (w *hashingWriter) sum() string {
	b := w.h.Sum128().Bytes()
	return hex.EncodeToString(b[:])
}

// Note adds a warning or remark to the report.
func (t *Task) Note(format string, args ...any) {
	t.Report.Notes = append(t.Report.Notes, fmt.Sprintf(format, args...))
}

// Figure adds a line to the run's summary.
func (t *Task) Figure(name, format string, args ...any) {
	t.Report.Summary = append(t.Report.Summary, Figure{name, fmt.Sprintf(format, args...)})
}

// Value adds a figure for other programs to read. One that is no finite number is left out.
func (t *Task) Value(name string, v float64) {
	if finite(v) != v {
		return
	}
	if t.Report.Values == nil {
		t.Report.Values = map[string]float64{}
	}
	t.Report.Values[name] = v
}

// Panel adds a figure to the report. Numbers that are not finite are left out; see
// [Panel.Finite].
func (t *Task) Panel(p Panel) { t.Report.Panels = append(t.Report.Panels, finitePanel(p)) }

// Seed is the plan's seed, for choices of the given purpose within this stage.
func (t *Task) Seed(purpose string) uint64 {
	return HashID(t.Step.seed(t.Plan.Seed), t.Step.Label()+"/"+purpose, "", "", 0)
}

// Choice is a random number about one document, fixed by seed, stage and document id.
func (t *Task) Choice(purpose string, d *Doc) uint64 {
	return HashID(t.Step.seed(t.Plan.Seed), t.Step.Label()+"/"+purpose, d.Source, d.Path, d.Ref.Record)
}

// Files returns the files that the named Read found, sorted.
func (t *Task) Files(read string) []string { return t.node.files[read] }

// Known names what the files of the named Read of an artifact stage are, as far as the stage's key goes.
func (t *Task) Known(read string) Key { return t.node.known[read] }

// Changed is an error if a file that the task reads is not the one any more that it was keyed by; the task
// then fails whatever it does.
func (t *Task) Changed() error { return t.node.changed() }

// Input returns the folder of the latest earlier output of a kind, or "" if there is none.
func (t *Task) Input(kind Data) string {
	n := t.node.uses[kind]
	if n == nil {
		return ""
	}
	return n.dir()
}

// BarrierDirs returns the folders of a barrier's tasks: the reduce tasks in order, then
// Global if there is one. A pass sees the barrier before it, Global its own reduce tasks,
// and a Reduce the barrier of the stage's pass before its own.
func (t *Task) BarrierDirs() []string {
	var dirs []string
	for _, n := range t.node.barrier {
		dirs = append(dirs, n.dir())
	}
	return dirs
}

// InputBytes is the size of all input files. A mapper that depends on it says how in
// [Pass.Sees]; partition counts and artifact tasks need not.
func (t *Task) InputBytes() int64 {
	sum := int64(0)
	for _, f := range t.run.inputs {
		sum += f.identity.Bytes
	}
	return sum
}

// Shard is the rank of a pass's input file, or part of one, among all.
func (t *Task) Shard() int { return t.shard }

// ShardCount is the number of document shards.
func (t *Task) ShardCount() int { return len(t.run.shardFiles) }

// DocName names a document for people: source:path:row.
func (t *Task) DocName(r Ref) string { return t.run.docName(r) }

// DocID is a document's id: source, path and row.
func (t *Task) DocID(r Ref) (source, path string, row uint64) {
	f := t.run.shardFiles[r.Shard]
	return f.source, f.identity.Path, r.Record
}

// HeldOut calls visit with every held-out document, in order of id; those without a
// [Mark] are not for evaluation.
func (t *Task) HeldOut(ctx context.Context, visit func(d *Doc) error) error {
	if t.node.heldOut == nil {
		return nil
	}
	return eachStored(ctx, t.FS, filepath.Join(t.node.heldOut.dir(), heldOutName), visit)
}

// EachDoc calls visit with every document of one shard that is left, in order.
func (t *Task) EachDoc(ctx context.Context, shard int, visit func(d *Doc) error) error {
	return t.node.shards[shard].each(ctx, t, shard, func(d *Doc) error {
		if err := d.fill(); err != nil {
			return err
		}
		return visit(d)
	})
}

// EachRecord is [Task.EachDoc] for those who want the records: a text that is the value of a
// field may be missing, and only [Doc.TextBytes] tells its length.
func (t *Task) EachRecord(ctx context.Context, shard int, visit func(d *Doc) error) error {
	return t.node.shards[shard].each(ctx, t, shard, func(d *Doc) error {
		if r := d.stored; r != nil {
			if err := r.fillFields(d); err != nil {
				return err
			}
		}
		return visit(d)
	})
}

// OutputDir is where [Task.WriteFile] puts the task's outputs until they are committed.
func (t *Task) OutputDir() string { return t.dir }

// Workdir is the run's work directory: for what is neither an output nor a checkpoint.
func (t *Task) Workdir() string { return t.run.opt.Workdir }

// MakeScratch makes the scratch folder and returns it.
func (t *Task) MakeScratch() (string, error) { return t.Scratch, t.FS.MkdirAll(t.Scratch) }

// dir is where the committed outputs of a node are.
func (n *node) dir() string { return filepath.Join(n.run.stages(), string(n.key)) }

// scratch is where an unfinished node keeps its checkpoints.
func (n *node) scratch() string { return filepath.Join(n.run.opt.Workdir, "scratch", string(n.key)) }

// load returns the report of a finished node, or nil if the node must run.
func (n *node) load() (*TaskReport, error) {
	data, err := store.ReadAll(n.run.opt.FS, filepath.Join(n.dir(), reportName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := parseReport(data)
	if err != nil || r.Key != n.key {
		return nil, nil // damaged: do it again
	}
	for _, o := range r.Outputs {
		if !outputIntact(n.run.opt.FS, n.dir(), o) {
			return nil, nil
		}
	}
	return r, nil
}

// outputIntact reports whether a file still has its recorded size and hash.
func outputIntact(fsys store.FS, dir string, o Output) bool {
	f, err := fsys.Open(filepath.Join(dir, filepath.FromSlash(o.Name)))
	if err != nil {
		return false
	}
	defer f.Close()
	if f.Size() != o.Bytes {
		return false
	}
	h := &hashingWriter{w: io.Discard, h: xxh3.New()}
	_, err = io.Copy(h, f)
	return err == nil && h.sum() == o.Hash
}

// execute runs the node's work in a temporary folder and commits it.
func (n *node) execute(ctx context.Context) (*TaskReport, error) {
	fsys := n.run.opt.FS
	tmp := store.TempName(n.dir())
	if err := store.RemoveAll(fsys, tmp); err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(tmp); err != nil {
		return nil, err
	}
	t := n.task(tmp)
	t.check = ctx.Err
	defer t.held.release()
	err := cmp.Or(n.work(ctx, t), ctx.Err())
	if !errors.Is(err, context.Canceled) {
		err = cmp.Or(n.changed(), err) // a changed file may be why the work failed
	}
	if err == nil {
		err = n.commit(t, tmp)
	}
	if err != nil && lockLost(ctx) != nil {
		return nil, n.wrap(err) // tmp may be the other run's
	}
	if err != nil {
		return nil, errors.Join(n.wrap(err), store.RemoveAll(fsys, tmp))
	}
	return t.Report, store.RemoveAll(fsys, t.Scratch)
}

// changed returns an error if a file that the task reads is not the one it was keyed by.
func (n *node) changed() error {
	for _, f := range n.pinned {
		if err := f.unchanged(n.run.opt.Inputs); err != nil {
			return err
		}
	}
	return nil
}

// clock is Now, or one that stands.
func (o Options) clock() func() time.Time {
	if o.Now == nil {
		return func() time.Time { return time.Time{} }
	}
	return o.Now
}

func (n *node) task(dir string) *Task {
	o := n.run.opt
	return &Task{
		Plan: n.run.plan, Step: n.step, FS: o.FS, Inputs: o.Inputs,
		Scratch: n.scratch(),
		Workers: o.Workers, MemoryBytes: o.MemoryBytes, Kernels: o.Kernels, Now: o.clock(), Host: o.Host, Warm: o.Warm,
		Rank:     o.Rank,
		Report:   &TaskReport{Key: n.key, Stage: n.stage, Name: n.name, Build: o.Build},
		Progress: func(done, total float64, unit string) { n.run.progress(n, done, total, unit) },
		dir:      dir, run: n.run, node: n, shard: n.shard, held: &account{of: &n.run.memory},
		outputs: new(sync.Mutex), decisions: &decisions{}, spills: new(atomic.Int64),
	}
}

func (n *node) commit(t *Task, tmp string) error {
	if err := errors.Join(t.writeDecisions(), t.removeSpills()); err != nil {
		return err
	}
	for _, l := range t.Report.Ledgers {
		if err := l.Check(); err != nil {
			return err
		}
	}
	slices.SortFunc(t.Report.Outputs, func(a, b Output) int { return strings.Compare(a.Name, b.Name) })
	if n.kernels {
		t.Report.Kernels = n.run.opt.Kernels
	}
	data, err := t.Report.encode()
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := writeSyncedBytes(n.run.opt.FS, filepath.Join(tmp, reportName), data); err != nil {
		return err
	}
	return store.CommitDir(n.run.opt.FS, tmp, n.dir())
}

func writeSyncedBytes(fsys store.FS, name string, data []byte) (err error) {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// wrap names the stage in an error, once.
func (n *node) wrap(err error) error {
	var budget *BudgetError
	if errors.As(err, &budget) {
		budget.Stage, budget.Bytes = n.stage, n.run.opt.MemoryBytes
		return err
	}
	if d := diskError(n.run.opt.Workdir, err); d != nil {
		d.Stage = n.stage
		return d
	}
	var input *inputError
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &input) {
		return err
	}
	return fmt.Errorf("stage %s: %w", n.stage, err)
}
