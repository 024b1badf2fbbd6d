package cli

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline"
)

const loopPlan = `
name: loop
network: {base: {model: base, checkpoints: net}}
input: [{tokens: tokens}]
stages:
  - train: {trainable: all}
  - proof_of_loss: {}
  - bundle: {}
`

// newLoop is a loop over a folder without a checkpoint yet, in a phase that the file left tells.
func newLoop(t *testing.T) (*cycleLoop, string) {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "plan.yaml"), loopPlan)
	put(t, filepath.Join(dir, "left"), "0\n")
	if err := writeBase(filepath.Join(dir, "base")); err != nil {
		t.Fatal(err)
	}
	f := &cycleFlags{phase: "cat " + filepath.Join(dir, "left"), block: time.Second, reserve: 5 * time.Second,
		poll: time.Millisecond, loop: true}
	l := &cycleLoop{flags: f, env: &environment{stderr: &bytes.Buffer{}, now: time.Now}, file: filepath.Join(dir, "plan.yaml"), used: 2}
	f.inputs = newInputs(t.Context())
	if err := l.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, dir
}

// publish makes a checkpoint of the base's own weights appear, whole.
func publish(t *testing.T, dir, folder string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "base", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "arriving", "model_all.safetensors"), string(data))
	if err := os.MkdirAll(filepath.Join(dir, "net"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "arriving"), filepath.Join(dir, "net", folder)); err != nil {
		t.Fatal(err)
	}
}

// TestLoopReady says what a cycle waits for, one thing after the other.
func TestLoopReady(t *testing.T) {
	l, dir := newLoop(t)
	missing := func(want string) {
		t.Helper()
		version, clock, got := l.ready(t.Context())
		if !strings.Contains(got, want) || want == "" && (got != "" || version != 3 || clock.deadline().Sub(clock.now()) < time.Minute) {
			t.Errorf("version %d, %q; want %q", version, got, want)
		}
	}
	missing("network.base.checkpoints: ")
	publish(t, dir, "globalver_2_inneropt_0")
	missing("for a checkpoint newer than global version 2")
	publish(t, dir, "globalver_3_inneropt_0")
	missing("for the phase, with a checkpoint of global version 3")
	put(t, filepath.Join(dir, "left"), "5\n") // no more than the reserve
	missing("for the phase")
	put(t, filepath.Join(dir, "left"), "soon\n")
	missing(`it prints "soon`)
	put(t, filepath.Join(dir, "left"), "100\n")
	missing("")
	l.used = 3
	missing("newer than global version 3")
}

// TestLoopReload takes up an edited plan, and ends with a wrong one.
func TestLoopReload(t *testing.T) {
	l, dir := newLoop(t)
	put(t, filepath.Join(dir, "plan.yaml"), strings.Replace(loopPlan, "name: loop", "name: other", 1))
	if err := l.reload(t.Context()); err != nil || l.plan.Name != "other" {
		t.Errorf("plan %s, %v", l.plan.Name, err)
	}
	put(t, filepath.Join(dir, "plan.yaml"), strings.Replace(loopPlan, "trainable", "trainabel", 1))
	if err := l.reload(t.Context()); exitCode(err, nil) != exitUsage {
		t.Errorf("a wrong plan: %v", err)
	}
	put(t, filepath.Join(dir, "plan.yaml"), strings.Replace(loopPlan, ", checkpoints: net", "", 1))
	if err := l.reload(t.Context()); exitCode(err, nil) != exitUsage || !strings.Contains(err.Error(), "network.base.checkpoints") {
		t.Errorf("a plan without checkpoints to wait for: %v", err)
	}
}

// TestLoopInterrupted ends a loop that waits.
func TestLoopInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	_, dir := newLoop(t)
	cmd := exec.Command("bzdata", "cycle", filepath.Join(dir, "plan.yaml"), "--loop", "--phase-command", "echo 0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if told = append(told, lines.Text()); len(told) == 1 {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code says it
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.HasPrefix(told[0], "waiting: network.base.checkpoints") {
		t.Errorf("exit code %d: %q", code, told)
	}
}

// TestCycleLine is one line for every end.
func TestCycleLine(t *testing.T) {
	difference := -0.5
	r := cycleRecord{Verdict: "improves", DifferenceNats: &difference, IntervalNats: &[2]float64{-0.6, -0.4}, Steps: 7, FirstStepS: 1.25,
		Bundle: "/b", Hash: "ab"}
	if got := r.line(nil); got != "improves, -0.5000 nats (-0.6000 to -0.4000); 7 steps, the first after 1.25 s; bundle /b, hash ab" {
		t.Error(got)
	}
	if got := r.line(errors.Join(errors.New("a"), errors.New("b"))); got != "failed: a; b" {
		t.Error(got)
	}
	r.Missed = true
	if got := r.line(&pipeline.LateError{Msg: "too late"}); got != "missed: too late" {
		t.Error(got)
	}
}
