package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"bzdata/pipeline/store"
)

// The files of a work directory beside stages/ and out/.
const (
	recordName  = "run.json"
	planName    = "plan.yaml"
	DropsName   = "drops/drops.parquet"   // the drop log of the whole run
	RejectsName = "rejects/rejects.jsonl" // malformed records, with their bytes
	reportJSON  = "report.json"
	reportHTML  = "report.html"
	eventsName  = "events.jsonl"
)

// The status of a run: one that is running has not come to an end, good or bad; one that
// was interrupted goes on where it was when it is run again.
const (
	statusRunning     = "running"
	statusDone        = "done"
	statusFailed      = "failed"
	statusInterrupted = "interrupted"
)

// RunRecord is run.json: what a work directory holds and how it came about.
type RunRecord struct {
	Plan    string `json:"plan"`
	Build   string `json:"build"`
	Kernels string `json:"kernels"`
	Seed    uint64 `json:"seed"`
	Limit   int64  `json:"limit,omitempty"`
	Until   string `json:"until,omitempty"`
	// Status is running, done, interrupted, or failed; Error says why.
	Status string        `json:"status"`
	Error  string        `json:"error,omitempty"`
	Inputs []InputRecord `json:"inputs"`
	// HeldOut are the files of held-out documents, if the plan names any.
	HeldOut []InputRecord `json:"held_out_inputs,omitempty"`
	Tasks   []TaskRecord  `json:"tasks"`
}

// TaskRecord is one task of a run, in order of execution.
type TaskRecord struct {
	Key   Key    `json:"key"`
	Stage string `json:"stage"`
	Name  string `json:"name"`
	// Shard is the rank of the task's input file, or -1, and Part that of its part of the file.
	Shard int `json:"shard"`
	Part  int `json:"part,omitempty"`
	// Base is the task that stores the documents that this one lists, if it stores none.
	Base Key  `json:"base,omitempty"`
	Done bool `json:"done"`
}

// ReadRecord returns the run.json of a work directory, or nil if there is none. Of a run
// that is under way, or was cut off, the tasks count as done that are committed.
func ReadRecord(fsys store.FS, workdir string) (*RunRecord, error) {
	data, err := store.ReadAll(fsys, filepath.Join(workdir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec := &RunRecord{}
	if err := json.Unmarshal(data, rec); err != nil {
		return nil, &UsageError{Msg: fmt.Sprintf("%s is damaged: %v; begin anew with --fresh",
			filepath.Join(workdir, recordName), err)}
	}
	for i := range rec.Tasks {
		t := &rec.Tasks[i]
		if rec.Status == statusRunning && !t.Done {
			t.Done = store.Exists(fsys, filepath.Join(workdir, "stages", string(t.Key), reportName))
		}
	}
	return rec, nil
}

// TaskReportOf returns the report of a finished task.
func TaskReportOf(fsys store.FS, workdir string, key Key) (*TaskReport, error) {
	data, err := store.ReadAll(fsys, filepath.Join(workdir, "stages", string(key), reportName))
	if err != nil {
		return nil, err
	}
	return parseReport(data)
}

// StageDir returns the folder of the outputs of a stage's last task in a work directory's last run.
// It is an error if that task is not done.
func StageDir(fsys store.FS, workdir, label string) (string, error) {
	rec, err := ReadRecord(fsys, workdir)
	if err != nil {
		return "", err
	}
	for i := 0; rec != nil && i < len(rec.Tasks); i++ {
		t := rec.Tasks[len(rec.Tasks)-1-i]
		if t.Stage == label && t.Done {
			return filepath.Join(workdir, "stages", string(t.Key)), nil
		}
	}
	return "", fmt.Errorf("the last run in %s did not end stage %s", workdir, label)
}

func (r *run) record(status string, runErr error) *RunRecord {
	rec := &RunRecord{Plan: r.plan.Name, Build: r.opt.Build, Kernels: r.opt.Kernels, Seed: r.plan.Seed,
		Limit: r.opt.Limit, Until: r.opt.Until, Status: status}
	if runErr != nil {
		rec.Error = runErr.Error()
	}
	rec.Inputs, rec.HeldOut = inputRecords(r.inputs), inputRecords(r.exam)
	for _, w := range r.waves {
		for _, n := range w.nodes {
			t := TaskRecord{Key: n.key, Stage: n.stage, Name: n.name, Shard: -1, Part: n.part, Done: n.report != nil}
			if n.shard >= 0 {
				t.Shard = n.rank
			}
			inputs := rec.Inputs
			if n.readsHeldOut() {
				t.Shard, inputs = -1, rec.HeldOut
			}
			if n.report != nil && n.report.Input != nil {
				inputs[n.rank].add(n.report.Input)
			}
			rec.Tasks = append(rec.Tasks, t)
		}
	}
	return rec
}

// add adds what one task read of the file.
func (in *InputRecord) add(part *InputRecord) {
	in.Records, in.Rejected = in.Records+part.Records, in.Rejected+part.Rejected
	if part.SHA256 != "" {
		in.SHA256, in.RangeBytes = part.SHA256, part.RangeBytes
	}
}

func inputRecords(files []*inputFile) []InputRecord {
	var records []InputRecord
	for _, f := range files {
		in := f.record()
		if f.seenNS != in.ModTimeNS {
			in.TouchedNS = f.seenNS
		}
		records = append(records, in)
	}
	return records
}

func (r *run) writeStart() error {
	// The record stands first: a work directory is known by it.
	if err := r.writeJSON(recordName, r.record(statusRunning, nil)); err != nil {
		return err
	}
	return store.WriteBytes(r.opt.FS, filepath.Join(r.opt.Workdir, planName), []byte(r.plan.Source))
}

// writeRecord writes run.json at the end of a run. The report itself is written by
// the caller of Run, which knows how to draw it.
func (r *run) writeRecord(runErr error) error {
	switch {
	case runErr == nil:
		return r.writeJSON(recordName, r.record(statusDone, nil))
	case errors.Is(runErr, context.Canceled) || errors.Is(runErr, context.DeadlineExceeded):
		return r.writeJSON(recordName, r.record(statusInterrupted, nil))
	}
	return r.writeJSON(recordName, r.record(statusFailed, AsDiskError(r.opt.Workdir, runErr)))
}

func (r *run) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return store.WriteBytes(r.opt.FS, filepath.Join(r.opt.Workdir, name), append(data, '\n'))
}

// finish writes what is gathered from all tasks: the drop log and the rejects.
func (r *run) finish() error {
	err := r.gatherFile(DropsName, func(w io.Writer) error { return r.writeDrops(w) })
	if err != nil {
		return err
	}
	return r.gatherFile(RejectsName, func(w io.Writer) error {
		return r.eachOutput(rejectsName, func(name string) error { return copyFile(r.opt.FS, name, w) })
	})
}

func (r *run) gatherFile(name string, write func(io.Writer) error) error {
	full := filepath.Join(r.opt.Workdir, filepath.FromSlash(name))
	if err := r.opt.FS.MkdirAll(filepath.Dir(full)); err != nil {
		return err
	}
	return store.WriteFile(r.opt.FS, full, write)
}

// eachOutput calls visit with every finished task's file of the given name, in order.
func (r *run) eachOutput(output string, visit func(name string) error) error {
	for _, w := range r.waves {
		for _, n := range w.nodes {
			if n.report == nil || !slices.ContainsFunc(n.report.Outputs, func(o Output) bool { return o.Name == output }) {
				continue
			}
			if err := visit(filepath.Join(n.dir(), output)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropColumns is the schema of the drop log.
func dropColumns() []store.Column {
	return []store.Column{
		{Name: "source", Type: store.TypeString},
		{Name: "file", Type: store.TypeString},
		{Name: "row", Type: store.TypeInt64},
		{Name: "stage", Type: store.TypeString},
		{Name: "reason", Type: store.TypeString},
		{Name: "value", Type: store.TypeDouble},
		{Name: "matched", Type: store.TypeString},
		{Name: "detail", Type: store.TypeString},
		{Name: "text", Type: store.TypeString},
	}
}

func (r *run) writeDrops(w io.Writer) error {
	pw, err := store.NewParquetWriter(w, dropColumns())
	if err != nil {
		return err
	}
	err = r.eachOutput(dropsName, func(name string) error {
		return eachRow(r.opt.FS, name, func(fields []store.Field) error { return pw.Write(fields) })
	})
	return errors.Join(err, pw.Close())
}

func eachRow(fsys store.FS, name string, visit func(fields []store.Field) error) error {
	rows, err := store.OpenRows(fsys, name, store.RowOptions{})
	if err != nil {
		return err
	}
	defer rows.Close()
	var row store.Row
	for {
		err := rows.Next(&row)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if row.Bad != nil {
			return fmt.Errorf("%s: row %d: %w", name, row.Number, row.Bad)
		}
		if err := visit(row.Fields); err != nil {
			return err
		}
	}
}

func copyFile(fsys store.FS, name string, w io.Writer) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
