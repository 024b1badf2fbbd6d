package stages_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"
)

// windowPlan is overlayPlan in a window, with steps that do not depend on the clock.
var windowPlan = strings.Replace(overlayPlan, "eval_steps: 3",
	"eval_steps: 3, schedule: constant, warmup_steps: 0, data_position: restart", 1)

// stepsWindow runs a plan in a window that closes after six steps, and returns what is under out/ and the
// train stage's figures.
func stepsWindow(t *testing.T, dir, id string, opt pipeline.Options) (map[string]string, map[string]string) {
	t.Helper()
	plan := profiled(t, dir, windowPlan)
	at := time.Unix(1_700_000_000, 0)
	now := func() time.Time { at = at.Add(time.Second / 8); return at }
	closed, steps, firstStep := at.Add(time.Hour), 0, time.Duration(0)
	deadline := func() time.Time {
		if steps >= 6 {
			return at
		}
		return closed
	}
	plan.Window = &pipeline.Window{ID: id, Deadline: deadline, Now: now, Began: at,
		OnFirstStep: func(after time.Duration) { firstStep = after }}
	told := opt.OnEvent
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "progress" && e.Stage == "train" {
			steps = int(e.Done)
		}
		if told != nil {
			told(e)
		}
	}
	tree, figures := outTree(t, plan, opt), map[string]string{}
	rec, err := pipeline.ReadRecord(opt.FS, opt.Workdir)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range rec.Tasks {
		report, err := pipeline.TaskReportOf(opt.FS, opt.Workdir, task.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Summary {
			figures[f.Name] = f.Value
		}
		if first := report.Values["first_step_s"]; task.Stage == "train" && (first == 0 || first != firstStep.Seconds()) {
			t.Errorf("window %s: first_step_s is %g, and %s was told", id, first, firstStep)
		}
	}
	if steps != 6 || !strings.HasPrefix(figures["trained"], "6 steps") {
		t.Errorf("window %s: %d steps, %q", id, steps, figures["trained"])
	}
	return tree, figures
}

// TestWarmWindows runs windows of one process, each on another base, with what the window before has left in
// memory: update, score and bundle are the bytes of a window without that, and only tensors are read that
// were trained or are of other files.
func TestWarmWindows(t *testing.T) {
	trainsModels(t)
	dir := overlayCorpus(t)
	all := checkpointOf(t, dir, "globalver_1_inneropt_0")
	loop := options(dir)
	loop.Warm = pipeline.NewWarm()
	defer loop.Warm.Close()
	read := func(id string, warm bool) (tensors int) {
		t.Helper()
		once := options(dir)
		once.Workdir = filepath.Join(dir, "once"+id)
		want, _ := stepsWindow(t, dir, id, once)
		got, figures := stepsWindow(t, dir, id, loop)
		sameTree(t, "window "+id, got, want)
		how := ""
		if _, err := fmt.Sscanf(strings.SplitN(figures["first step"], "; ", 2)[1], "%d tensors of the base read, %s", &tensors,
			&how); err != nil || (how == "steps") != warm {
			t.Errorf("window %s: first step %s, %v", id, figures["first step"], err)
		}
		return tensors
	}
	whole := read("1", false)
	trained := 2 * 3 // two experts of three tensors
	if again := read("1b", true); again != trained {
		t.Errorf("on the same base %d tensors were read, want the %d that were trained", again, trained)
	}
	// The next version has the group's tensors only: those that all share are the base model's again.
	bundle, err := filepath.Glob(filepath.Join(loop.Workdir, "out", "bundle", "globalver_1_*", "model_expgroup_0.*"))
	if err != nil || len(bundle) == 0 {
		t.Fatalf("no bundle: %v", err)
	}
	data, err := os.ReadFile(bundle[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "checkpoints", "globalver_2_inneropt_6", filepath.Base(bundle[0])), string(data))
	if next := read("2", true); next != len(all) {
		t.Errorf("on the next version %d tensors were read, want %d: those of either checkpoint", next, len(all))
	}
	rewriteWeights(t, filepath.Join(dir, "base"), func(tensors []checkpoint.Tensor) []checkpoint.Tensor {
		for i, x := range tensors {
			values, err := checkpoint.ToFloat32(x.DType, mustValues(t, x))
			if err != nil {
				t.Fatal(err)
			}
			for k := range values {
				values[k] *= 0.9
			}
			if tensors[i], err = checkpoint.NewTensor(x.Name, x.DType, x.Shape, values); err != nil {
				t.Fatal(err)
			}
		}
		return tensors
	})
	if other := read("3", true); other != whole {
		t.Errorf("of another base %d tensors were read, want all %d", other, whole)
	}
}

func mustValues(t *testing.T, x checkpoint.Tensor) []byte {
	t.Helper()
	data, err := x.Read()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTokensAreNotRead takes token shards by size and time: laying out and taking them reads no shard.
func TestTokensAreNotRead(t *testing.T) {
	trainsModels(t)
	dir := modelCorpus(t, 60)
	if _, err := pipeline.Run(t.Context(), parse(t, dir, strings.Split(modelPlan, "  - train")[0]), options(dir)); err != nil {
		t.Fatal(err)
	}
	plan := "name: second\nnetwork: {base: {model: base}}\ninput: [{tokens: run/out/tokens}]\nstages:\n  - train: {trainable: all}\n"
	opt := options(dir)
	opt.Workdir, opt.Until = filepath.Join(dir, "second"), "tokens"
	var opened atomic.Int64
	opt.Inputs = openedFS{opt.Inputs, func(name string) {
		if strings.HasSuffix(name, ".tokens") {
			opened.Add(1)
		}
	}}
	if _, err := pipeline.Run(t.Context(), parse(t, dir, plan), opt); err != nil || opened.Load() != 0 {
		t.Errorf("%d shards were opened, %v", opened.Load(), err)
	}
}

// openedFS tells which files are opened.
type openedFS struct {
	store.FS
	tell func(name string)
}

func (f openedFS) Open(name string) (store.ReadFile, error) {
	f.tell(name)
	return f.FS.Open(name)
}

// TestFilesLeft holds the number of files for which a window leaves time against those that are written after its last
// step. The command writes three of its own, the report twice and the record of the cycle.
func TestFilesLeft(t *testing.T) {
	trainsModels(t)
	dir := overlayCorpus(t)
	checkpointOf(t, dir, "globalver_1_inneropt_0")
	opt := options(dir)
	last, flushes := false, 0 // of files and folders, from the last step on
	opt.FS = faultFS{FS: opt.FS, fail: func(op, _ string) error {
		if last && (op == "sync" || op == "syncdir") {
			flushes++
		}
		return nil
	}}
	opt.OnEvent = func(e pipeline.Event) { last = last || e.Stage == "train" && e.Done == 6 }
	stepsWindow(t, dir, "1", opt)
	if files := (flushes+1)/2 + 3; files > stages.FilesLeft || files < stages.FilesLeft/2 {
		t.Errorf("%d files are written after the last step; time is left for %d", files, stages.FilesLeft)
	}
}
