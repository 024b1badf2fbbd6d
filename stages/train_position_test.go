package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// windows runs one plan in windows of one work directory.
type windows struct {
	t   *testing.T
	dir string
	opt pipeline.Options
}

// position is what the work directory keeps of how far its tokens were read.
type position struct {
	Window   string
	From, To int64
}

func (w *windows) run(id, plan string) (*pipeline.Result, error) {
	w.t.Helper()
	p := parse(w.t, w.dir, plan)
	p.Window = windowOf(20 * time.Second)
	p.Window.ID = id
	return pipeline.Run(context.Background(), p, w.opt)
}

// must runs to the end; notes about tokens must be as many as want.
func (w *windows) must(id, plan string, notes int) *pipeline.Result {
	w.t.Helper()
	res, err := w.run(id, plan)
	if err != nil {
		w.t.Fatalf("window %s: %v", id, err)
	}
	if told := notesOf(w.t, res, "train", "read from their beginning"); len(told) != notes {
		w.t.Errorf("window %s: notes %q", id, told)
	}
	return res
}

// positions reads what is kept, by the file's name.
func (w *windows) positions() map[string]position {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.opt.Workdir, "train-state", "train-*.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]position{}
	for _, name := range names {
		var p position
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &p)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		out[name] = p
	}
	return out
}

// expect asks for one kept position, and returns it with its file.
func (w *windows) expect(id string, from int64) (position, string) {
	w.t.Helper()
	for name, p := range w.positions() {
		if p.Window != id {
			continue
		}
		u, err := stages.OpenUpdate(store.OS(), filepath.Join(w.opt.Workdir, "out", "update"))
		if err != nil {
			w.t.Fatal(err)
		}
		defer u.Close()
		if drawn := int64(2 * u.Meta.StepsRun); p.From != from || p.To != from+drawn || drawn == 0 {
			w.t.Errorf("window %s: %+v, %d were drawn; want to begin at %d", id, p, drawn, from)
		}
		return p, name
	}
	w.t.Fatalf("window %s: its position was not kept: %v", id, w.positions())
	return position{}, ""
}

func newWindows(t *testing.T) *windows {
	dir := modelCorpus(t, 60)
	return &windows{t, dir, options(dir)}
}

// TestPositionGoesOn reads on from window to window, and again from the same place in a window that is
// repeated, with other settings too.
func TestPositionGoesOn(t *testing.T) {
	trainsModels(t)
	w := newWindows(t)
	w.must("1", noExam, 0)
	first, _ := w.expect("1", 0)
	w.must("1", noExam, 0)
	if again, _ := w.expect("1", 0); again != first {
		t.Errorf("repeated: %+v, was %+v", again, first)
	}
	w.must("2", noExam, 0)
	second, _ := w.expect("2", first.To)
	w.must("2", strings.Replace(noExam, "learning_rate: 0.01", "learning_rate: 0.02", 1), 0)
	second, _ = w.expect("2", first.To)
	restart := strings.Replace(noExam, "dtype: F32", "dtype: F32, data_position: restart", 1)
	w.must("3", restart, 0)
	if kept, _ := w.expect("2", first.To); len(w.positions()) != 1 || kept != second {
		t.Errorf("a window that begins anew leaves %v", w.positions())
	}
	w.must("4", noExam, 0)
	w.expect("4", second.To)
}

// TestPositionOfFailedWindow fails behind the training: the next window reads the same sequences.
func TestPositionOfFailedWindow(t *testing.T) {
	trainsModels(t)
	w := newWindows(t)
	w.must("1", noExam, 0)
	first, _ := w.expect("1", 0)
	failing := strings.Replace(faultPlan, "fraction: 0.3", "fraction: 0.0001", 1)
	if _, err := w.run("2", failing); err == nil {
		t.Fatal("the window did not fail")
	}
	w.must("3", noExam, 0)
	w.expect("3", first.To)
}

// TestPositionOfOtherTokens begins anew with other tokens, and goes on where the first ones were left
// when these come back. A damaged file is as good as none. All is said.
func TestPositionOfOtherTokens(t *testing.T) {
	trainsModels(t)
	w := newWindows(t)
	w.must("1", noExam, 0)
	first, name := w.expect("1", 0)
	other := strings.Replace(noExam, "sequence_length: 64", "sequence_length: 48", 1)
	w.must("2", other, 1)
	w.expect("2", 0)
	w.must("3", noExam, 0)
	w.expect("3", first.To)
	if len(w.positions()) != 2 {
		t.Errorf("positions %v", w.positions())
	}
	write(t, name, `{"from":3,"to":1}`)
	w.must("4", noExam, 1)
	w.expect("4", 0)
	w.must("5", strings.Replace(noExam, "seed: 3", "seed: 4", 1), 1)
	w.expect("5", 0)
}

// TestPositionThatCannotBeKept does not fail a window that has come to its end.
func TestPositionThatCannotBeKept(t *testing.T) {
	w := newWindows(t)
	disk := w.opt.FS
	w.opt.FS = faultFS{FS: disk, fail: func(op, name string) error {
		if op == "create" && strings.Contains(name, "train-state") {
			return &fs.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
		}
		return nil
	}}
	told := notesOf(t, w.must("1", noExam, 0), "train", "later ones will not go on from it")
	if len(told) != 1 || !strings.Contains(told[0], "no space left") || len(w.positions()) != 0 {
		t.Errorf("notes %q, positions %v", told, w.positions())
	}
	w.opt.FS = disk
	w.must("1", noExam, 0)
	w.expect("1", 0)
}

// TestNoPositionOutsideOfWindows is the same answer whenever a plan is run.
func TestNoPositionOutsideOfWindows(t *testing.T) {
	w := newWindows(t)
	w.must("1", noExam, 0)
	first, _ := w.expect("1", 0)
	want := outTree(t, parse(t, w.dir, noExam), w.opt)
	other := w.opt
	other.Workdir = filepath.Join(w.dir, "other")
	sameTree(t, "in another work directory", outTree(t, parse(t, w.dir, noExam), other), want)
	if kept := w.positions(); len(kept) != 1 {
		t.Errorf("positions %v", kept)
	}
	w.must("2", noExam, 0)
	w.expect("2", first.To)
}

// carryPlan hands the moments on.
var carryPlan = strings.Replace(noExam, "dtype: F32", "dtype: F32, optimizer: carry", 1)

// moments reads what is kept of the optimizer, and how many files of moments there are.
func (w *windows) moments() (kept struct {
	Window        string
	Before, After *struct{ Name, SHA256 string }
}, files int) {
	w.t.Helper()
	dir := filepath.Join(w.opt.Workdir, "train-state", "optimizer")
	data, err := os.ReadFile(filepath.Join(dir, "train.json"))
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	names, globErr := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err := errors.Join(err, globErr); err != nil {
		w.t.Fatal(err)
	}
	return kept, len(names)
}

// TestOptimizerCarried hands moments from window to window: a window begins with those of the last that came
// to its end, a repeated one with those that it began with, and files that none needs are removed.
func TestOptimizerCarried(t *testing.T) {
	trainsModels(t)
	w := newWindows(t)
	w.must("1", carryPlan, 0)
	first, files := w.moments()
	if first.Before != nil || first.After == nil || files != 1 {
		t.Fatalf("window 1: %+v, %d files", first, files)
	}
	failing := strings.NewReplacer("fraction: 0.3", "fraction: 0.0001", "dtype: F32", "dtype: F32, optimizer: carry").Replace(faultPlan)
	if _, err := w.run("2", failing); err == nil {
		t.Fatal("the window did not fail")
	}
	w.must("3", carryPlan, 0)
	third, files := w.moments()
	if third.Before == nil || *third.Before != *first.After || *third.After == *first.After || files != 2 {
		t.Errorf("window 3: %+v, %d files", third, files)
	}
	w.must("3", strings.Replace(carryPlan, "learning_rate: 0.01", "learning_rate: 0.02", 1), 0)
	if again, files := w.moments(); *again.Before != *first.After || *again.After == *third.After || files != 2 {
		t.Errorf("window 3 again: %+v, %d files", again, files)
	}
	w.must("4", noExam, 0) // reset
	if kept, _ := w.moments(); kept.Window != "3" {
		t.Errorf("after a window without: %+v", kept)
	}
}

// TestOptimizerThatDoesNotFit begins anew, and says so, where other tensors are trained, or the file is
// damaged.
func TestOptimizerThatDoesNotFit(t *testing.T) {
	trainsModels(t)
	w := newWindows(t)
	w.must("1", carryPlan, 0)
	other := strings.Replace(carryPlan, "[model.norm.weight, ", "[", 1)
	anew := func(id, plan, want string) {
		t.Helper()
		told := notesOf(t, w.must(id, plan, 0), "train", "the optimizer begins anew")
		if len(told) != 1 || !strings.Contains(told[0], want) {
			t.Errorf("window %s: notes %q", id, told)
		}
		if kept, _ := w.moments(); kept.Before != nil || kept.Window != id {
			t.Errorf("window %s: %+v", id, kept)
		}
	}
	anew("2", other, "trained")
	kept, _ := w.moments()
	name := filepath.Join(w.opt.Workdir, "train-state", "optimizer", kept.After.Name)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	write(t, name, string(data))
	anew("3", other, "is damaged")
	if err := os.Remove(filepath.Join(w.opt.Workdir, "train-state", "optimizer", "train.json")); err != nil {
		t.Fatal(err)
	}
	if told := notesOf(t, w.must("4", other, 0), "train", "begins anew"); len(told) != 0 {
		t.Errorf("notes %q", told)
	}
}
