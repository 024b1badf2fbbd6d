package metrics

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bzdata/pipeline/store"
)

// Format is a form in which metrics are written beside JSON lines.
type Format string

// The formats.
const (
	CSV         Format = "csv"
	TensorBoard Format = "tensorboard"
	Prometheus  Format = "prometheus"
	WandB       Format = "wandb"
)

// Run says whose metrics they are.
type Run struct {
	Name string // fit for a file's name
	// ID tells repetitions under one name apart. The same ID means the same steps and numbers, but for
	// the times.
	ID      string
	Host    string
	Group   string         // number of the expert group, or empty
	Project string         // of W&B
	Config  map[string]any // for W&B; values that have a JSON form
}

func (r Run) label() string { return r.Name + "-" + r.ID }

// Options say where and what is written.
type Options struct {
	FS      store.FS
	Dir     string // the work directory
	Run     Run
	Formats []Format // beside JSON lines
	// Warn gets one line about each format that is left off; nil tells nobody.
	Warn func(line string)
}

// Log writes the rows of one run. It is used by one goroutine, and closed in the end.
type Log struct {
	opt     Options
	sinks   []sink
	pending *Row // may get more numbers until a later step's first
	last    Row  // the newest that was written
	any     bool // there is a last
	live    bool // a row was written that was not read from the file
}

// sink is one format's file.
type sink interface {
	path() string
	write(Row) error
	tick() error // after a row that is new
	sync() error
	close(ended bool) error
}

// Open goes on with a run's metrics after a step, or begins them if that is 0: rows of later steps, and
// from a damaged one on, are forgotten. It returns the newest row that is left, which is nil if there
// is none. Nothing is written before the first [Log.Add] or [Log.Close].
func Open(opt Options, after int) (*Log, *Row) {
	l := &Log{opt: opt}
	lines := l.file("metrics", opt.Run.label()+".jsonl", jsonLines{})
	l.sinks = append(l.sinks, lines)
	for _, f := range opt.Formats {
		l.sinks = append(l.sinks, l.sink(f))
	}
	if after > 0 {
		l.replay(lines.path(), after)
	}
	if l.pending == nil {
		return l, nil
	}
	kept := *l.pending
	return l, &kept
}

func (l *Log) sink(f Format) sink {
	run := l.opt.Run
	switch f {
	case CSV:
		return l.file("metrics", run.label()+".csv", csvFile{})
	case TensorBoard:
		s := l.file("", "", tensorBoard{})
		s.place = func(first Row) string {
			name := fmt.Sprintf("events.out.tfevents.%d.%s", first.Time.Unix(), strings.ReplaceAll(run.Host, "/", "_"))
			return filepath.Join(l.opt.Dir, "metrics", "tensorboard", run.label(), name)
		}
		s.alone = true
		return s
	case Prometheus:
		return &snapshot{fsys: l.opt.FS, run: run, name: filepath.Join(l.opt.Dir, "metrics", run.Name+".prom")}
	case WandB:
		s := l.file("", "", &wandbRun{run: run})
		s.place = func(first Row) string { return filepath.Join(l.opt.Dir, wandbPath(run, first.Time)) }
		s.alone, s.folder = true, "files"
		return s
	}
	panic(fmt.Sprintf("metrics: format %q is unknown", f)) // a mistake in the program
}

func (l *Log) file(dir, base string, f format) *file {
	name := filepath.Join(l.opt.Dir, dir, base)
	return &file{fsys: l.opt.FS, root: filepath.Clean(l.opt.Dir), name: name, format: f, place: func(Row) string { return name }}
}

// replay reads the rows up to a step and writes them again, but for the newest, which is kept pending:
// the files of before stay until a row is written, and the step may not be complete.
func (l *Log) replay(name string, after int) {
	f, err := l.opt.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		l.warn("%s is not there: it begins at step %d", name, after+1)
		return
	}
	if err == nil {
		err = readRows(f, after, func(r Row) {
			l.flush()
			l.pending = &r
		})
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		l.warn("%s: %v; what is before is kept", name, err)
	}
	if l.pending == nil || l.pending.Step < after {
		l.warn("%s has no row of step %d: some before it are lost", name, after)
	}
}

// readRows calls visit with the rows of JSON lines up to a step. It ends without an error at the end, at
// a later step, and at a line that is cut short or is no row after the one before it.
func readRows(r io.Reader, after int, visit func(Row)) error {
	lines := bufio.NewReaderSize(r, 1<<16)
	for before := -1; ; {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		row, err := parseRow(line[:len(line)-1])
		if err != nil || row.Step <= before || row.Step > after {
			return nil
		}
		before = row.Step
		visit(row)
	}
}

// Add adds numbers to the row of a step, which is the newest or a later one. Numbers that are not finite
// are left out, and those that the row has already are replaced.
func (l *Log) Add(step int, at time.Time, values []Value, load []Load) {
	if l.pending != nil && l.pending.Step != step {
		l.Complete()
	}
	if l.any && step <= l.last.Step {
		l.warn("numbers of step %d come after its row was written, and are left out", step)
		return
	}
	if l.pending == nil {
		l.pending = &Row{Step: step}
	}
	l.pending.Time = at.UTC().Truncate(time.Millisecond)
	l.pending.add(values, load)
}

// Complete writes the newest row, which gets no more numbers: readers need not wait for the next.
func (l *Log) Complete() {
	if l.pending != nil {
		l.flush()
		l.settle()
	}
}

// Sync makes all rows durable, also the newest, which is then complete.
func (l *Log) Sync() {
	l.flush()
	l.each(sink.sync)
}

// Close writes what is left. Ended says that the run came to its end, and will not go on.
func (l *Log) Close(ended bool) {
	l.Sync()
	l.each(func(s sink) error { return s.close(ended) })
	l.sinks = nil
}

// flush writes the row that is pending.
func (l *Log) flush() {
	if l.pending == nil {
		return
	}
	r := *l.pending
	l.pending, l.last, l.any = nil, r, true
	l.each(func(s sink) error { return s.write(r) })
}

// settle follows a row of this run: the first puts the new files in place.
func (l *Log) settle() {
	if !l.live {
		l.live = true
		l.each(sink.sync)
		return
	}
	l.each(sink.tick)
}

// each calls do for every sink, and leaves off those that fail.
func (l *Log) each(do func(sink) error) {
	l.sinks = slices.DeleteFunc(l.sinks, func(s sink) bool {
		err := do(s)
		if err != nil {
			l.warn("%s: %v; it is left off", s.path(), errors.Join(err, s.close(false)))
		}
		return err != nil
	})
}

func (l *Log) warn(form string, args ...any) {
	if l.opt.Warn != nil {
		l.opt.Warn("metrics: " + fmt.Sprintf(form, args...))
	}
}
