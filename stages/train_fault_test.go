package stages_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
)

// faultPlan trains long enough to have states at the steps 3, 6 and 9.
const faultPlan = `
name: model
seed: 3
network: {base: {model: base}}
input: [{path: data/*.jsonl}]
held_out: {fraction: 0.3}
stages:
  - tokenize: {sequence_length: 64}
  - train: {trainable: [model.norm.weight, "*.experts.*"], max_steps: 10, batch_size: 2, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 0, checkpoint_steps: 3, dtype: F32}
  - proof_of_loss: {documents_min: 8}
`

// noExam is faultPlan without text held out, and so without a verdict.
var noExam = noVerdict(strings.Replace(faultPlan, "held_out: {fraction: 0.3}\n", "", 1))

// atTrainStep calls do when a step of training is over.
func atTrainStep(step float64, do func()) func(pipeline.Event) {
	return func(e pipeline.Event) {
		if e.Stage == "train" && e.Kind == "progress" && e.Done == step {
			do()
		}
	}
}

// trainedFrom runs the plan to its end and returns the first step that was made, 0 for none.
func trainedFrom(t *testing.T, dir string, opt pipeline.Options, want map[string]string) (first float64) {
	t.Helper()
	opt.OnEvent = func(e pipeline.Event) {
		if e.Stage == "train" && e.Kind == "progress" && e.Done >= 1 && first == 0 {
			first = e.Done
		}
	}
	sameTree(t, "after the fault", outTree(t, parse(t, dir, faultPlan), opt), want)
	return first
}

// TestTrainFaults interrupts training by what happens to disks and files. Each fault is one line, and the
// next run goes on from the last state to the same bits.
func TestTrainFaults(t *testing.T) {
	trainsModels(t)
	dir := modelCorpus(t, 120)
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "straight")
	want := outTree(t, parse(t, dir, faultPlan), opt)
	for what, fault := range map[string]func(*testing.T, string, map[string]string){
		"full disk": trainOnFullDisk, "damaged state": trainFromDamagedState, "base gone": trainWithoutBase,
	} {
		t.Run(what, func(t *testing.T) { fault(t, dir, want) })
	}
}

func trainOnFullDisk(t *testing.T, dir string, want map[string]string) {
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "full")
	disk := opt.FS
	opt.FS = faultFS{FS: disk, fail: func(op, name string) error {
		if op == "sync" && strings.Contains(name, "step-00000006.safetensors") {
			return &fs.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
		}
		return nil
	}}
	plainError(t, fails(t, dir, faultPlan, opt, "stage train", "no space left on device", "free space"))
	opt.FS = disk
	if first := trainedFrom(t, dir, opt, want); first != 4 {
		t.Errorf("training went on with step %v", first)
	}
}

func trainFromDamagedState(t *testing.T, dir string, want map[string]string) {
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "damaged")
	ctx, cancel := context.WithCancel(context.Background())
	opt.OnEvent = atTrainStep(8, cancel)
	if _, err := pipeline.Run(ctx, parse(t, dir, faultPlan), opt); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(opt.Workdir, "scratch", "*", "step-00000008.safetensors"))
	if err != nil || len(names) != 1 {
		t.Fatalf("states %v, %v", names, err)
	}
	state, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	state[len(state)/2] ^= 1
	write(t, names[0], string(state))
	if first := trainedFrom(t, dir, opt, want); first != 7 {
		t.Errorf("training went on with step %v", first)
	}
	told := notesOf(t, run(t, dir, faultPlan, opt), "train", "damaged and passed over")
	if len(told) != 1 || strings.Contains(told[0], "\n") {
		t.Errorf("notes %q", told)
	}
}

func trainWithoutBase(t *testing.T, dir string, want map[string]string) {
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "gone")
	name := filepath.Join(dir, "base", "model.safetensors")
	opt.OnEvent = atTrainStep(5, func() {
		if err := os.Rename(name, name+".away"); err != nil {
			t.Error(err)
		}
	})
	fails(t, dir, faultPlan, opt, "base")
	if err := os.Rename(name+".away", name); err != nil {
		t.Fatal(err)
	}
	if first := trainedFrom(t, dir, opt, want); first != 0 {
		t.Errorf("training went on with step %v, its update was lost", first)
	}
}

// notesOf are the notes of a stage that say something.
func notesOf(t *testing.T, res *pipeline.Result, stage, text string) []string {
	t.Helper()
	s, err := res.Stage(stage)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(slices.Clone(s.Notes), func(n string) bool { return !strings.Contains(n, text) })
}

// poison makes the embeddings of a text's tokens no numbers.
func poison(t *testing.T, base, text string) {
	t.Helper()
	tok, err := tokenize.Load(store.OS(), filepath.Join(base, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	ids := tok.EncodeBytes(nil, []byte(text))
	rewriteWeights(t, base, func(ts []checkpoint.Tensor) []checkpoint.Tensor {
		for i, x := range ts {
			if x.Name != "model.embed_tokens.weight" {
				continue
			}
			data, err := x.Read()
			if err != nil {
				t.Fatal(err)
			}
			data = bytes.Clone(data)
			for _, id := range ids {
				binary.LittleEndian.PutUint32(data[4*int(id)*x.Shape[1]:], math.Float32bits(float32(math.NaN())))
			}
			ts[i].Read = func() ([]byte, error) { return data, nil }
		}
		return ts
	})
}

// TestTrainBaseWithoutNumbers blames the base model, not the documents that met the fault.
func TestTrainBaseWithoutNumbers(t *testing.T) {
	dir := modelCorpus(t, 60)
	poison(t, filepath.Join(dir, "base"), " are there?")
	opt := options(dir)
	is[*pipeline.DataError](t, fails(t, dir, noExam, opt, "step 1:", "base model's model.embed_tokens.weight holds NaN",
		"fetch the base again"))
}

// TestTrainWithoutHeldOut trains without a select part, by the plan or since no document comes to it: the
// weights are those of the last step, and no verdict is made up, but nothing of the training is lost.
func TestTrainWithoutHeldOut(t *testing.T) {
	dir := modelCorpus(t, 60)
	empty := strings.Replace(faultPlan, "fraction: 0.3", "fraction: 0.0001", 1)
	for what, plan := range map[string]string{"none": noExam, "empty": empty} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, what)
		if what == "empty" {
			fails(t, dir, plan, opt, "proof_of_loss", "held-out data has no sequence", "give it more documents")
			if ran := startedTasks(t, dir, noVerdict(plan), opt); len(ran) > 0 {
				t.Errorf("after the fault %v ran again", ran)
			}
		}
		res := run(t, dir, noVerdict(plan), opt)
		if steps := updateSteps(t, opt); steps != 10 || len(notesOf(t, res, "train", "select loss")) > 0 {
			t.Errorf("%s: the weights are those of step %d", what, steps)
		}
	}
}

// noVerdict leaves proof_of_loss out of a plan.
func noVerdict(plan string) string {
	return strings.Replace(plan, "  - proof_of_loss: {documents_min: 8}\n", "", 1)
}

func updateSteps(t *testing.T, opt pipeline.Options) int {
	t.Helper()
	u, err := stages.OpenUpdate(store.OS(), filepath.Join(opt.Workdir, "out", "update"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, name := range u.Names() {
		values, err := u.Float32(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if x := float64(v); math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("%s holds %v", name, v)
			}
		}
	}
	if u.Meta.StepsRun < u.Meta.Steps {
		t.Errorf("the weights are those of step %d of %d", u.Meta.Steps, u.Meta.StepsRun)
	}
	return u.Meta.Steps
}

// TestWindowOutlivesFault poisons one document of a window: training ends where it comes first in the order,
// and the update has the weights of the newest state. Where that is before the first state, it is an
// error.
func TestWindowOutlivesFault(t *testing.T) {
	const mark = "\u00a7\u00b6"
	outlived, failed := false, false
	for poisoned := 0; poisoned < 30 && !(outlived && failed); poisoned++ {
		dir := t.TempDir()
		texts := problems(60)
		tinyBase(t, filepath.Join(dir, "base"), texts)
		texts[poisoned*2] += mark
		jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts...)
		poison(t, filepath.Join(dir, "base"), mark)
		opt := options(dir)
		opt.Until = "train"
		p := parse(t, dir, noExam)
		p.Window = windowOf(time.Minute)
		res, err := pipeline.Run(context.Background(), p, opt)
		if err != nil {
			failed = true
			is[*pipeline.DataError](t, err)
			continue
		}
		outlived = true
		steps := updateSteps(t, opt)
		told := notesOf(t, res, "train", fmt.Sprintf("training ended early at a fault, and the update has the weights of the newest "+
			"state, of step %d: step ", steps))
		if len(told) != 1 || steps < 1 || strings.Contains(told[0], "\n") {
			t.Errorf("update of step %d, notes %q", steps, told)
		}
	}
	if !outlived || !failed {
		t.Errorf("a window outlived the fault: %v, another failed: %v", outlived, failed)
	}
}

// windowOf has a clock that goes on whenever it is asked.
func windowOf(length time.Duration) *pipeline.Window {
	at := time.Unix(1_700_000_000, 0)
	deadline := at.Add(length)
	return &pipeline.Window{ID: "w", Deadline: func() time.Time { return deadline }, Now: func() time.Time {
		at = at.Add(time.Second / 8)
		return at
	}}
}
