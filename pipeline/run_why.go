package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"bzdata/pipeline/store"
)

// Fate is what became of one document of a run.
type Fate struct {
	Name string `json:"name"` // source:path:row
	// Passed lists the stages that kept it, in order.
	Passed []string `json:"passed"`
	// Outcome is kept, dropped, rejected or held out.
	Outcome string `json:"outcome"`
	Stage   string `json:"stage,omitempty"` // that dropped it, or left it out of the exam
	Reason  string `json:"reason,omitempty"`
	Value   string `json:"value,omitempty"`
	Matched string `json:"matched,omitempty"`
	Detail  string `json:"detail,omitempty"`
	// Copies lists the documents that were dropped as copies of this one.
	Copies []string `json:"copies,omitempty"`
	Text   string   `json:"text"` // its start
}

// heldOutOutcome is the outcome of documents kept for evaluation; those with a reason are
// no part of the exam.
const heldOutOutcome = "held out"

// fatesMax bounds how many documents [Why] tells about.
const fatesMax = 20

// Why tells what became of the documents of a work directory for which match is true.
// A rejected record has no text and only its position to match. More reports that
// there were more than it tells about.
func Why(ctx context.Context, fsys store.FS, workdir string, match func(d *Doc) bool) (fates []Fate, more bool, err error) {
	rec, err := ReadRecord(fsys, workdir)
	if err != nil {
		return nil, false, err
	}
	if rec == nil {
		return nil, false, &UsageError{Msg: fmt.Sprintf("%s holds no run; name the folder that bzdata run wrote", workdir)}
	}
	w := &whySearch{fsys: fsys, workdir: workdir, rec: rec, match: match}
	for rank := range rec.Inputs {
		if err := w.file(ctx, rank); err != nil {
			return nil, false, err
		}
	}
	for _, t := range rec.Tasks {
		if t.Stage != heldOutSetStage || !t.Done {
			continue
		}
		if err := w.heldOutSet(ctx, t); err != nil {
			return nil, false, err
		}
	}
	if err := w.findCopies(); err != nil {
		return nil, false, err
	}
	return w.fates, w.more, nil
}

type whySearch struct {
	fsys    store.FS
	workdir string
	rec     *RunRecord
	match   func(d *Doc) bool
	fates   []Fate
	more    bool
}

func (w *whySearch) dir(t TaskRecord) string {
	return filepath.Join(w.workdir, "stages", string(t.Key))
}

// file finds the documents of one input file and follows them through its tasks, part by part.
func (w *whySearch) file(ctx context.Context, rank int) error {
	parts := map[int][]TaskRecord{}
	for _, t := range w.rec.Tasks {
		if t.Shard == rank && t.Done {
			parts[t.Part] = append(parts[t.Part], t)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(parts)) {
		if err := w.part(ctx, parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// part does so for the part of a file that the tasks are of.
func (w *whySearch) part(ctx context.Context, tasks []TaskRecord) error {
	first := len(w.fates)
	if err := w.documents(ctx, tasks); err != nil {
		return err
	}
	if err := w.rejected(tasks[0]); err != nil {
		return err
	}
	for i := first; i < len(w.fates); i++ {
		if w.fates[i].Outcome == "" {
			if err := w.follow(&w.fates[i], tasks); err != nil {
				return err
			}
		}
	}
	return nil
}

// documents finds matches in what the tasks store: the input's documents, those that
// went to the held-out set, and those that were dropped at once.
func (w *whySearch) documents(ctx context.Context, tasks []TaskRecord) error {
	dropped := map[uint64]bool{}
	err := w.drops(tasks, func(d Drop) error {
		doc := &Doc{Source: d.Source, Path: d.File, Text: d.Text, Ref: Ref{Record: d.Row}}
		if !dropped[d.Row] && w.match(doc) {
			dropped[d.Row] = true
			w.found(Fate{Name: doc.Name(), Text: excerpt(d.Text)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	seen := map[uint64]bool{}
	// What was held out stands among the input's documents, too: it is looked for first.
	for _, file := range []string{heldOutName, docsName} {
		for _, t := range tasks {
			err := eachStored(ctx, w.fsys, filepath.Join(w.dir(t), file), func(d *Doc) error {
				if seen[d.Ref.Record] || dropped[d.Ref.Record] || !w.match(d) {
					return nil
				}
				seen[d.Ref.Record] = true
				f := Fate{Name: d.Name(), Text: excerpt(d.Text)}
				if file == heldOutName {
					f.Outcome = heldOutOutcome
				}
				w.found(f)
				return nil
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (w *whySearch) found(f Fate) {
	if len(w.fates) >= fatesMax {
		w.more = true
		return
	}
	w.fates = append(w.fates, f)
}

// drops calls visit with the drop log of the tasks.
func (w *whySearch) drops(tasks []TaskRecord, visit func(Drop) error) error {
	for _, t := range tasks {
		name := filepath.Join(w.dir(t), dropsName)
		if !store.Exists(w.fsys, name) {
			continue
		}
		err := store.ReadRows(w.fsys, name, store.RowOptions{}, func(row *store.Row) error {
			d, err := parseDrop(row.Fields)
			if err != nil {
				return err
			}
			return visit(d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// parseDrop reads a row of the drop log.
func parseDrop(fields []store.Field) (Drop, error) {
	var d Drop
	texts := map[string]*string{"source": &d.Source, "file": &d.File, "stage": &d.Stage, "reason": &d.Reason,
		"matched": &d.Matched, "detail": &d.Detail, "text": &d.Text}
	for _, f := range fields {
		var err error
		switch to := texts[f.Key]; {
		case to != nil:
			err = json.Unmarshal(f.Value, to)
		case f.Key == "row":
			d.Row, err = strconv.ParseUint(string(f.Value), 10, 64)
		case f.Key == "value" && string(f.Value) != "null":
			d.Value, err = strconv.ParseFloat(string(f.Value), 64)
		}
		if err != nil {
			return d, fmt.Errorf("drop log, %s: %w", f.Key, err)
		}
	}
	return d, nil
}

// rejected finds malformed records by their position.
func (w *whySearch) rejected(t TaskRecord) error {
	name := filepath.Join(w.dir(t), rejectsName)
	if !store.Exists(w.fsys, name) {
		return nil
	}
	return store.ReadRows(w.fsys, name, store.RowOptions{}, func(row *store.Row) error {
		r, err := parseDrop(row.Fields)
		if err != nil {
			return err
		}
		doc := &Doc{Source: r.Source, Path: r.File, Ref: Ref{Record: r.Row}}
		if w.match(doc) {
			w.found(Fate{Name: doc.Name(), Outcome: "rejected", Stage: inputStage, Reason: r.Reason})
		}
		return nil
	})
}

// follow takes a document through the shard's tasks to where it was dropped or kept.
func (w *whySearch) follow(f *Fate, tasks []TaskRecord) error {
	for _, t := range tasks {
		var dropped *Drop
		err := w.drops([]TaskRecord{t}, func(d Drop) error {
			if (&Doc{Source: d.Source, Path: d.File, Ref: Ref{Record: d.Row}}).Name() == f.Name {
				dropped = &d
			}
			return nil
		})
		if err != nil {
			return err
		}
		report, err := TaskReportOf(w.fsys, w.workdir, t.Key)
		if err != nil {
			return err
		}
		for _, l := range report.Ledgers {
			if dropped != nil && l.Stage == dropped.Stage {
				f.Outcome, f.Stage, f.Reason = "dropped", dropped.Stage, dropped.Reason
				f.Value, f.Matched, f.Detail = strconv.FormatFloat(dropped.Value, 'g', 6, 64), dropped.Matched, dropped.Detail
				f.Passed = slices.DeleteFunc(f.Passed, func(s string) bool { return s == f.Stage })
				return nil
			}
			if !slices.Contains(f.Passed, l.Stage) {
				f.Passed = append(f.Passed, l.Stage)
			}
		}
	}
	f.Outcome = "kept"
	return nil
}

// heldOutSet says which of the held-out documents are no part of the exam, and finds
// those that come from files of their own.
func (w *whySearch) heldOutSet(ctx context.Context, t TaskRecord) error {
	at := map[string]int{}
	for i, f := range w.fates {
		at[f.Name] = i
	}
	found := func(d *Doc) {
		if _, known := at[d.Name()]; !known && w.match(d) {
			at[d.Name()] = len(w.fates)
			w.found(Fate{Name: d.Name(), Outcome: heldOutOutcome, Text: excerpt(d.Text)})
		}
	}
	err := eachStored(ctx, w.fsys, filepath.Join(w.dir(t), heldOutName), func(d *Doc) error { found(d); return nil })
	if err != nil {
		return err
	}
	return w.drops([]TaskRecord{t}, func(d Drop) error {
		doc := &Doc{Source: d.Source, Path: d.File, Text: d.Text, Ref: Ref{Record: d.Row}}
		found(doc)
		i, ok := at[doc.Name()]
		if ok && i < len(w.fates) && w.fates[i].Outcome == heldOutOutcome {
			f := &w.fates[i]
			f.Stage, f.Reason, f.Matched, f.Detail = d.Stage, d.Reason, d.Matched, d.Detail
		}
		return nil
	})
}

// findCopies fills in which documents were dropped as copies of those found.
func (w *whySearch) findCopies() error {
	at := map[string]int{}
	for i, f := range w.fates {
		at[f.Name] = i
	}
	return w.drops(w.rec.Tasks, func(d Drop) error {
		if i, ok := at[d.Matched]; ok && d.Matched != "" {
			name := (&Doc{Source: d.Source, Path: d.File, Ref: Ref{Record: d.Row}}).Name()
			w.fates[i].Copies = append(w.fates[i].Copies, name)
		}
		return nil
	})
}
