package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// ResumeError says that the states in a directory belong to another run.
type ResumeError struct {
	Path string // of the state
	// What differs: "configuration" or "kernel set".
	What       string
	Have, Want string // of the state, of this run
}

// Error implements error.
func (e *ResumeError) Error() string {
	advice := "remove the directory to begin again"
	if e.What == "kernel set" {
		advice = "choose the same kernels, or " + advice
	}
	return fmt.Sprintf("%s: its %s is %s, this run's is %s; %s", e.Path, e.What, e.Have, e.Want, advice)
}

// damage is an error of a state's content; other errors are of reading it.
type damage struct{ error }

// resume loads the newest state that is whole, if there is one for this run.
func (r *run) resume() error {
	fsys, dir := r.cfg.Checkpoints.FS, r.cfg.Checkpoints.Dir
	if err := makeDir(fsys, dir); err != nil {
		return fmt.Errorf("training state: %w", err)
	}
	done, err := r.loadNewest(func() bool { return true })
	if err != nil {
		return err
	}
	if done {
		return r.prune()
	}
	_, names, err := listStates(fsys, dir)
	if err != nil {
		return err
	}
	return removeAllBut(fsys, dir, names, nil)
}

// makeDir makes a directory and its missing parents, durably.
func makeDir(fsys store.FS, dir string) error {
	if store.Exists(fsys, dir) {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// load takes the run to a state's position. A state that this run cannot go on from is no error
// but false; no weight has changed then.
func (r *run) load(path string) (bool, error) {
	rec, err := readRecord(r.cfg.Checkpoints.FS, path)
	if err == nil {
		var goOn bool
		if goOn, err = r.belongs(path, rec); err != nil || !goOn {
			return false, err
		}
		err = r.checkFiles(rec)
	}
	if errors.As(err, &damage{}) {
		r.notice(fmt.Sprintf("%s is damaged and passed over: %v", path, err))
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("training state: %w", err)
	}
	if err := r.readTensors(rec.Tensors.Name, true); err != nil {
		return false, err
	}
	r.state, r.saved = rec.State, rec.State.Step
	return true, nil
}

func (r *run) notice(line string) {
	if r.hooks.OnNotice != nil {
		r.hooks.OnNotice(line)
	}
}

// belongs reports whether a state is one of this run.
func (r *run) belongs(path string, rec record) (bool, error) {
	want := r.cfg.Checkpoints.Build
	switch kernels := r.m.Device().Name(); {
	case rec.Version != stateVersion:
		r.notice(fmt.Sprintf("%s has format %d, not %d: training begins again", path, rec.Version, stateVersion))
		return false, nil
	case rec.Build != want:
		r.notice(fmt.Sprintf("%s was made by build %s, this is %s: training begins again", path, rec.Build, want))
		return false, nil
	case rec.Config != r.config:
		return false, &ResumeError{path, "configuration", rec.Config, r.config}
	case rec.Kernels != kernels:
		return false, &ResumeError{path, "kernel set", rec.Kernels, kernels}
	}
	return true, nil
}

// readRecord reads a state's JSON file.
func readRecord(fsys store.FS, path string) (record, error) {
	var rec record
	data, err := store.ReadAll(fsys, path)
	if err != nil {
		return rec, err
	}
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return rec, damage{err}
	}
	if got := hexHash(e.State); got != e.SHA256 {
		return rec, damage{fmt.Errorf("its SHA-256 is %s, not %s", got, e.SHA256)}
	}
	if err := json.Unmarshal(e.State, &rec); err != nil {
		return rec, damage{err}
	}
	return rec, nil
}

// checkFiles compares the files that a state speaks of with what it says of them.
func (r *run) checkFiles(rec record) error {
	if len(rec.State.Updates) != len(r.params) || (rec.State.Best == nil) != (rec.State.BestFile == nil) {
		return damage{errors.New("its parts do not fit together")}
	}
	if err := r.checkFile(rec.Tensors); err != nil {
		return err
	}
	if rec.State.BestFile != nil {
		return r.checkFile(*rec.State.BestFile)
	}
	return nil
}

func (r *run) checkFile(want fileRecord) error {
	f, err := r.cfg.Checkpoints.FS.Open(r.path(want.Name))
	if err != nil {
		return damage{err}
	}
	hash := sha256.New()
	n, err := io.Copy(hash, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); n != want.Bytes || got != want.SHA256 {
		return damage{fmt.Errorf("%s has %d bytes and SHA-256 %s, not %d and %s",
			want.Name, n, got, want.Bytes, want.SHA256)}
	}
	return nil
}

// readTensors loads the trainable weights, and the moments if asked, from a file that has been checked.
func (r *run) readTensors(name string, moments bool) error {
	f, err := checkpoint.Open(r.cfg.Checkpoints.FS, r.path(name))
	if err != nil {
		return fmt.Errorf("training state: %w", err)
	}
	read := func(prefix string, p *model.Param) ([]float32, error) {
		if info, ok := f.Info(prefix + p.Name); !ok || !slices.Equal(info.Shape, p.Shape) {
			return nil, fmt.Errorf("%s: no tensor %q of shape %v", name, prefix+p.Name, p.Shape)
		}
		return f.Float32(prefix+p.Name, nil)
	}
	var errs []error
	for i, p := range r.params {
		weights, err := read(weightsPrefix, p)
		if errs = append(errs, err); err == nil {
			p.SetValues(weights)
		}
		if !moments {
			continue
		}
		first, err1 := read(firstPrefix, p)
		second, err2 := read(secondPrefix, p)
		if errs = append(errs, err1, err2); err1 == nil && err2 == nil {
			r.m.Device().SetMoments(r.moments[i], first, second)
		}
	}
	if err := errors.Join(append(errs, r.m.Device().Err(), f.Close())...); err != nil {
		return fmt.Errorf("training state: %w", err)
	}
	return nil
}

// keepBest keeps the present weights as those of the best evaluation.
func (r *run) keepBest(e Evaluation) error {
	if r.cfg.Checkpoints.Dir == "" {
		if r.best == nil {
			r.best = make([][]float32, len(r.params))
		}
		for i, p := range r.params {
			r.best[i] = append(r.best[i][:0], p.Values()...)
		}
		if err := r.m.Device().Err(); err != nil {
			return err // the copies are no weights then
		}
		r.state.Best = &e
		return nil
	}
	file, err := r.writeTensors(bestName(e.Step), false)
	if err != nil {
		return err
	}
	r.state.Best, r.state.BestFile = &e, &file
	return nil
}

// restoreBest gives the trainable weights the values that they had at the best evaluation.
func (r *run) restoreBest() error {
	switch {
	case r.state.Best == nil || r.state.Best.Step == r.state.Step:
		return nil
	case r.state.BestFile != nil:
		return r.readTensors(r.state.BestFile.Name, false)
	}
	for i, p := range r.params {
		p.SetValues(r.best[i])
	}
	return nil
}
