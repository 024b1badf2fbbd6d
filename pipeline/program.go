package pipeline

import (
	"context"

	"bzdata/pipeline/store"
)

// Data is a kind of thing that stages take and make.
type Data string

// The kinds of data that flow through a plan.
const (
	Documents Data = "documents"
	Tokens    Data = "tokens"
	Routing   Data = "routing"
	Update    Data = "update"
	Score     Data = "score"
	Bundle    Data = "bundle"
	Dataset   Data = "dataset"
)

// Exam is what a stage that chooses training text says of the held-out documents, which it
// does not filter. A plan need not have it.
const Exam Data = "exam"

// ValidatorRows are the rows that the network's validators would judge by, in tokens; the plan's section evaluate
// asks for them.
const ValidatorRows Data = "validator_rows"

// Program is what a configured stage compiles to: passes over the documents with
// barriers between them, or one artifact task.
//
// A document stage sets Passes: each pass sees every document that is left, once,
// and the documents of a shard in order. The passes of neighbouring stages are fused
// into one reading of a shard, up to the next barrier. An artifact stage sets Run.
type Program struct {
	// Reads lists what the result depends on beside documents, seed and config.
	Reads func(p *Plan) []Read
	// Passes are the passes of a document stage.
	Passes []Pass
	// Run is the task of an artifact stage. It writes its outputs with
	// [Task.WriteFile] and may keep checkpoints under Task.Scratch.
	Run func(ctx context.Context, t *Task) error
	// Concluded, if set, is called with Run's task at the end of a run that has come to the end of its
	// plan, also if the task was reused: it may keep what later runs go on from. What fails there is
	// noted, and undoes nothing.
	Concluded func(t *Task) error
	// Links are the outputs of Run that appear under WORKDIR/out.
	Links []Link
	// SkipsDocuments says that Run does not read documents, so that its key does
	// not depend on them.
	SkipsDocuments bool
	// Uses lists the kinds of earlier output that Run, or the barriers of Passes, read under a plan,
	// beside documents.
	Uses func(p *Plan) []Data
	// WriteShare is about how many bytes Run writes for a byte of text, for the estimate of disk
	// space; what it sorts counts twice.
	WriteShare float64
	// Kernels says that the floating-point results of Run, or of barriers, depend on the kernel set.
	Kernels bool
	// EvenIfRefused says that Run, of an artifact stage, is done although a stage before it in the plan has
	// refused the update, if all stages between them say so, too. The run is refused all the same.
	EvenIfRefused bool
	// Executes is the command line that the stage runs, or empty. A plan with such a stage
	// is run only with [Options].AllowExec.
	Executes string
}

// Link says that WORKDIR/Name is a link to the task's output From. Name is out/NAME, and
// no other stage of the plan has it. A task that refuses the update need not write From.
type Link struct{ Name, From string }

// Read is one thing beside documents that a stage depends on.
type Read struct {
	// Name is what [Task.Files] finds it by.
	Name string
	// Paths are files, folders or globs, relative to the plan's folder.
	Paths []string
	// HeldOut reads the held-out documents; [Task.HeldOut] gives them.
	HeldOut bool
	// Rows, if not nil, says how the files' rows become text, and that the stage chooses
	// training text by them. Held-out documents equal to one are then no part of the exam,
	// which would otherwise judge the choice by what made it.
	Rows *Input
	// Cut says that the files are records, and cuts large ones as those of the input are:
	// [Task.Parts] gives the parts.
	Cut bool
	// Value is a plain value that belongs into the stage key.
	Value string
	// Suffix, if set, picks the files of a folder whose names end in it.
	Suffix string
	// Optional says that paths which are not there are no error.
	Optional bool
	// Select, if set, picks files by name.
	Select func(name string) bool
	// ByTime says that the files are known by place, size and time (or entity tag) whatever their size, and
	// not read to be known.
	ByTime bool
	// Find, if set, says which files at or below each path are read, and remarks on the choice. Stages
	// that read by one name and path share the choice of a run.
	Find func(fsys store.FS, path string) (files, remarks []string, err error)
	// Check, if set, looks at the files when tasks are laid out, before anything is written.
	Check func(fsys store.FS, files []string) error
}

// Pass is one reading of all documents by one stage.
type Pass struct {
	// Name tells the passes of a stage apart; a stage's only pass has none.
	Name string
	// Edits says that the pass may change text, so that its documents are stored anew.
	Edits bool
	// Config, if not nil, is what of the stage's configuration the pass depends on: a change
	// of anything else does not repeat it. Its barrier has a Config of its own.
	Config func() any
	// Open makes the mapper of one shard's task.
	Open func(ctx context.Context, t *Task) (Mapper, error)
	// Sees, if not nil, is what the mapper makes of [Task.InputBytes]: it belongs into the
	// keys of the pass, so that other files repeat it only where it comes out differently.
	Sees func(inputBytes int64) string
	// Turn, if not nil, is what the mapper makes of [Task.Shard], [Task.ShardCount] and the number
	// of parts of all files that the stage's Reads cut: it belongs into the key of the shard's task.
	Turn func(shard, shards, parts int) string
	// RecordBytes is about how much the pass sends to its barrier for one document, for the
	// estimate of disk space.
	RecordBytes int
	// Barrier, if not nil, runs between this pass and the next.
	Barrier *Barrier
}

// Mapper handles the documents of one shard, in order. It is used by one goroutine.
// The document and its slices are valid until Map returns.
type Mapper interface {
	// Map decides about one document: it keeps it, unless it calls out.Drop.
	Map(d *Doc, out *Out) error
}

// An Ahead is a [Mapper] that sees documents before it decides about them, such as one that asks
// a program and goes on while that works. The engine holds the documents in between, those that
// are many in a file. Each call of due lets Map decide about the oldest document that was seen
// and not mapped yet; See and End return its error at once. After End no document is left.
type Ahead interface {
	Mapper
	// See looks at the next document, and may call due any number of times.
	See(d *Doc, due func() error) error
	// End follows the last document of the shard, and comes before Close.
	End(due func() error) error
}

// A Skimmer is a [Mapper] that decides about some documents by their ids alone. Where all of a
// segment's do, a stored document need not be read.
type Skimmer interface {
	Mapper
	// Skims reports whether Map will look at nothing but Ref, Source, Path, Mark and Copies of
	// the document at hand; the rest need not be there, neither in this call nor in Map.
	Skims(d *Doc) bool
}

// A Closer is a [Mapper] that has something to send or count after the last document.
type Closer interface {
	Close(out *Out) error
}

// A Stopper is a [Mapper] that holds something outside the program, such as a process. Stop
// is called once when the task ends, however it ends, and after Close if there is one.
type Stopper interface {
	Stop()
}

// MapFunc is a [Mapper] of one function.
type MapFunc func(d *Doc, out *Out) error

// Map calls f.
func (f MapFunc) Map(d *Doc, out *Out) error { return f(d, out) }

// Publication is what a stage puts where later runs and other plans find it. Such a stage drops
// what earlier runs have published, and may end with no document.
type Publication struct {
	// Place names where it goes; no two stages of a plan may have the same.
	Place func(p *Plan) string
	// Check looks at the place when tasks are laid out, before anything is written.
	Check func(fsys store.FS, p *Plan, s *Step) error
	// Tell says what is there, for whoever asks what a run would do.
	Tell func(fsys store.FS, p *Plan) (string, error)
	// Put puts it there, or finds that it is there already. It is the last step of a run that has
	// come to the end of its plan without --limit, also of one that found all tasks done.
	Put func(t *Task) error
}

// Barrier gathers the records that a pass sent. Records are cut into partitions by
// key; each partition is reduced on its own, and then Global, if set, sees them all.
type Barrier struct {
	// Config, if not nil, is what of the stage's configuration Reduce and Global depend on.
	Config func() any
	// Parts is the number of partitions for the given bytes of input text; nil is one.
	Parts func(inputBytes int64) int
	// Reduce handles one partition's records, sorted by (key, payload, document).
	Reduce func(ctx context.Context, t *Task, part *Partition) error
	// Global runs once, after every Reduce.
	Global func(ctx context.Context, t *Task) error
	// Publish, if set, says what Global's task has for other plans.
	Publish func() Publication
	// Links, if set, are the outputs of Global that appear under WORKDIR/out, for a stage of
	// the given label.
	Links func(label string) []Link
	// Makes, if set, is the kind of data under which artifact stages find the folder of the
	// barrier's last task; see [Program.Uses].
	Makes Data
}
