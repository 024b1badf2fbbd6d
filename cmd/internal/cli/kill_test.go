package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// killPlan goes all the way, in a second or two.
const killPlan = `
name: kill
seed: 3
network: {base: {model: base}}
input: [{path: data/*.jsonl, source: s}]
held_out: {fraction: 0.2}
max_reject_fraction: 0.05
stages:
  - normalize: {}
  - exact_dedup: {}
  - minhash: {}
  - export: {}
  - route: {sample_tokens: 2000, sequence_length: 64, p: 0.5}
  - tokenize: {sequence_length: 64}
  - train: {max_steps: 40, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 2,
      eval_steps: 10, checkpoint_steps: 3, dtype: F32}
  - proof_of_loss: {documents_min: 8}
  - bundle: {}
`

// killWorld writes what killPlan reads and returns the folder.
func killWorld(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	lines := strings.SplitAfter(corpus(), "\n")
	put(t, filepath.Join(dir, "data", "a.jsonl"), strings.Join(lines[:100], ""))
	put(t, filepath.Join(dir, "data", "b.jsonl"), strings.Join(lines[100:], ""))
	put(t, filepath.Join(dir, "plan.yaml"), killPlan)
	if err := writeBase(filepath.Join(dir, "base")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// process is a run of the program in a process of its own.
type process struct {
	code   int    // exit code; -1 if it was killed
	stderr string // what is no event
	events []pipeline.Event
}

// child is a process of the program that stands still at an event.
type child struct {
	*os.Process
	signaled bool
}

// Signal sends a signal, which has come before the process goes on.
func (c *child) Signal(sig os.Signal) error {
	err := c.Process.Signal(sig)
	c.signaled = c.signaled || err == nil
	return err
}

// launch runs the program and calls onEvent, which may kill the process, with each event. The process goes on when onEvent
// is done.
func launch(t *testing.T, onEvent func(c *child, e pipeline.Event), args ...string) process {
	t.Helper()
	cmd := exec.Command("bzdata", args...)
	cmd.Env = append(os.Environ(), ledVar+"=1")
	stdin, errIn := cmd.StdinPipe()
	stderr, errOut := cmd.StderrPipe()
	if err := cmp.Or(errIn, errOut, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	var out process
	c := &child{Process: cmd.Process}
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var e pipeline.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			out.stderr += lines.Text() + "\n"
		} else {
			out.events = append(out.events, e)
			if onEvent != nil {
				onEvent(c, e)
			}
		}
		answer := byte(goOn)
		if c.signaled {
			answer, c.signaled = goSignaled, false
		}
		_, _ = stdin.Write([]byte{answer}) // it may have been killed
	}
	_ = cmd.Wait() // the exit code says it
	out.code = cmd.ProcessState.ExitCode()
	return out
}

func runArgs(dir, workdir string) []string {
	return []string{"run", filepath.Join(dir, "plan.yaml"), "--workdir", workdir, "--progress", "json", "--kernels", "plain"}
}

// outputs describes every file under out/, through its links.
func outputs(t *testing.T, workdir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	out := filepath.Join(workdir, "out")
	links, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		root, err := filepath.EvalSymlinks(filepath.Join(out, l.Name()))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(name)
			rel, _ := filepath.Rel(root, name)
			tree[filepath.Join(l.Name(), rel)] = fmt.Sprintf("%x", sha256.Sum256(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// finishes runs the plan to its end and checks the outputs.
func finishes(t *testing.T, what, dir, workdir string, want map[string]string) process {
	t.Helper()
	p := launch(t, nil, runArgs(dir, workdir)...)
	if p.code != 0 {
		t.Fatalf("%s: the resumed run ended with %d: %s", what, p.code, p.stderr)
	}
	if got := outputs(t, workdir); !maps.Equal(got, want) {
		t.Errorf("%s: the outputs differ: %v, want %v", what, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	return p
}

// isTraining reports whether an event tells of a step of the train stage.
func isTraining(e pipeline.Event) bool { return e.Kind == "progress" && e.Stage == "train" }

// The kills: at random moments of a run, and at random steps of its training.
const (
	killsAnywhere = 15
	killsInTrain  = 5
)

// TestKill ends runs by SIGKILL and resumes them: the outputs are those of a run that
// was left alone.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("some forty processes")
	}
	dir := killWorld(t)
	alone := filepath.Join(dir, "alone")
	whole := launch(t, nil, runArgs(dir, alone)...)
	if whole.code != 0 {
		t.Fatalf("the run that is left alone ended with %d: %s", whole.code, whole.stderr)
	}
	want := outputs(t, alone)
	if len(want) < 10 {
		t.Fatalf("the outputs are %v", want)
	}
	rng := rand.New(rand.NewPCG(20, 26))
	killAnywhere(t, dir, len(whole.events), rng, want)
	killInTrain(t, dir, rng, want)
}

// killAnywhere kills runs in one work directory again and again until it is done, and
// then in another: some milliseconds after an event, up to a third of those of a whole run further on. So it
// hits on a machine of any speed.
func killAnywhere(t *testing.T, dir string, events int, rng *rand.Rand, want map[string]string) {
	t.Helper()
	const what = "killed at random moments"
	workdir, cut := "", 0
	for n := range killsAnywhere {
		if workdir == "" {
			workdir = filepath.Join(dir, fmt.Sprint("anywhere", n))
		}
		seen, at, later := 0, 1+rng.IntN(events/3), time.Duration(rng.IntN(5000))*time.Microsecond
		var timer *time.Timer
		p := launch(t, func(p *child, _ pipeline.Event) {
			if seen++; seen == at {
				timer = time.AfterFunc(later, func() { _ = p.Kill() })
			}
		}, runArgs(dir, workdir)...)
		if timer != nil {
			timer.Stop()
		}
		switch {
		case p.code < 0:
			cut++
		case p.code == 0:
			finishes(t, what, dir, workdir, want)
			workdir = ""
		default:
			t.Fatalf("a run after a kill ended with %d: %s", p.code, p.stderr)
		}
	}
	if workdir != "" {
		finishes(t, what, dir, workdir, want)
	}
	if cut < killsAnywhere/2 {
		t.Errorf("only %d of %d kills hit a run", cut, killsAnywhere)
	}
}

// killInTrain kills each run at a step of its training: it goes on at its last state.
func killInTrain(t *testing.T, dir string, rng *rand.Rand, want map[string]string) {
	t.Helper()
	resumed := 0
	for n := range killsInTrain {
		workdir := filepath.Join(dir, fmt.Sprint("train", n))
		step := float64(5 + rng.IntN(33))
		p := launch(t, func(p *child, e pipeline.Event) {
			if isTraining(e) && e.Done >= step {
				_ = p.Kill()
			}
		}, runArgs(dir, workdir)...)
		if p.code >= 0 {
			t.Fatalf("the run ended with %d before step %g of its training: %s", p.code, step, p.stderr)
		}
		what := fmt.Sprintf("killed at step %g of training", step)
		again := finishes(t, what, dir, workdir, want)
		i := slices.IndexFunc(again.events, isTraining)
		if i < 0 || again.events[i].Done > 1 { // it may have come to its end before the kill
			resumed++
		}
		for _, e := range again.events {
			if e.Kind == "start" && e.Stage != "train" && e.Stage != "proof_of_loss" && e.Stage != "bundle" {
				t.Errorf("%s: stage %s ran again", what, e.Stage)
			}
		}
	}
	if resumed < killsInTrain {
		t.Errorf("%d of %d trainings began anew instead of at their last state", killsInTrain-resumed, killsInTrain)
	}
}

// TestSignals interrupts a run in its training, which must end by itself with the
// signal's code, leave nothing half-made and go on later.
func TestSignals(t *testing.T) {
	dir := killWorld(t)
	alone := filepath.Join(dir, "alone")
	if p := launch(t, nil, runArgs(dir, alone)...); p.code != 0 {
		t.Fatalf("the run that is left alone ended with %d: %s", p.code, p.stderr)
	}
	want := outputs(t, alone)
	for sig, code := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		workdir := filepath.Join(dir, sig.String())
		p := launch(t, func(p *child, e pipeline.Event) {
			if isTraining(e) && e.Done == 10 {
				_ = p.Signal(sig)
			}
		}, runArgs(dir, workdir)...)
		if p.code != code || !strings.Contains(p.stderr, "the same command") || strings.Count(p.stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d: %s", sig, p.code, code, p.stderr)
		}
		var rec pipeline.RunRecord
		data, err := os.ReadFile(filepath.Join(workdir, "run.json"))
		if err == nil {
			err = json.Unmarshal(data, &rec)
		}
		if err != nil || rec.Status != "interrupted" {
			t.Errorf("%s: run.json says %q, %v", sig, rec.Status, err)
		}
		if _, err := os.Lstat(filepath.Join(workdir, ".lock")); err == nil {
			t.Errorf("%s: the lock is left", sig)
		}
		finishes(t, sig.String(), dir, workdir, want)
	}
}

// TestExitCodesOfTheProgram provokes every exit code but the signals' once.
func TestExitCodesOfTheProgram(t *testing.T) {
	dir := killWorld(t)
	write := func(name, plan string) string {
		name = filepath.Join(dir, name)
		put(t, name, plan)
		return name
	}
	small := "name: p\ninput: [{path: data/*.jsonl}]\nmax_reject_fraction: 0.05\nstages: [{normalize: {}}, {export: {format: jsonl}}]\n"
	put(t, filepath.Join(dir, "cut", "x.jsonl.gz"), "\x1f\x8b\x08")
	gate := strings.NewReplacer("learning_rate: 0.01", "learning_rate: 1e-12", "max_steps: 40", "max_steps: 1").Replace(killPlan)
	held := filepath.Join(dir, "held")
	for _, c := range []struct {
		what string
		want int
		say  string
		args []string
	}{
		{"done", 0, "", []string{"run", write("ok.yaml", small)}},
		{"no place for a run", 1, "--workdir", []string{"run", write("place.yaml", small), "--workdir", filepath.Join(dir, "place.yaml", "run")}},
		{"cut input", 3, "x.jsonl.gz", []string{"run", write("cut.yaml", strings.Replace(small, "data/*.jsonl", "cut", 1))}},
		{"no plan", 2, "nosuch.yaml", []string{"run", filepath.Join(dir, "nosuch.yaml")}},
		{"mistake in the plan", 2, "normalise", []string{"run", write("bad.yaml", strings.Replace(small, "normalize", "normalise", 1))}},
		{"glob without a match", 2, "nosuch", []string{"run", write("glob.yaml", strings.Replace(small, "data/*", "nosuch/*", 1))}},
		{"unknown flag", 2, "--nosuch", []string{"run", "--nosuch"}},
		{"no document left", 3, "quality", []string{"run", write("none.yaml",
			strings.Replace(small, "normalize: {}", "quality: {preset: connito, limits: {characters_min: 100000}}", 1))}},
		{"malformed records", 3, "max_reject_fraction", []string{"run", write("rejects.yaml", strings.Replace(small, "0.05", "0", 1))}},
		{"gate", 4, "gate", []string{"run", write("gate.yaml", gate), "--kernels", "plain"}},
		{"in use", 5, "in use by process", []string{"run", write("held.yaml", small), "--workdir", held}},
	} {
		if c.want == 5 {
			hold(t, held)
		}
		var stdout, stderr bytes.Buffer
		cmd := exec.Command("bzdata", append(c.args, "--progress", "none")...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != c.want {
			t.Errorf("%s: exit code %d, want %d: %v %s", c.what, code, c.want, err, stderr.String())
		}
		if !strings.Contains(stderr.String(), c.say) {
			t.Errorf("%s: the error does not name %q: %s", c.what, c.say, stderr.String())
		}
	}
}

// hold takes a work directory for as long as the test runs.
func hold(t *testing.T, workdir string) {
	t.Helper()
	lock, err := pipeline.Acquire(t.Context(), store.OS(), workdir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
	})
}
