package cli

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"bzdata/pipeline"
)

// TestAblateGoesOn interrupts an ablation in the training of its second variant. The same command
// then trains no variant again that was trained, and its answer is that of one that was let be.
func TestAblateGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := killWorld(t)
	args := func(workdir string) []string {
		return []string{"ablate", filepath.Join(dir, "plan.yaml"), "--workdir", filepath.Join(dir, workdir), "--progress", "json",
			"--kernels", "plain", "--seeds", "1", "--only", "exact_dedup,minhash", "--json", filepath.Join(dir, workdir+".json")}
	}
	whole := launch(t, nil, args("whole")...)
	if whole.code != exitDone {
		t.Fatalf("exit code %d: %s", whole.code, whole.stderr)
	}
	trained := func(p process) (n int) {
		for _, e := range p.events {
			if e.Kind == "start" && e.Stage == "train" {
				n++
			}
		}
		return n
	}
	begun, sent := 0, false
	cut := launch(t, func(p *child, e pipeline.Event) {
		if e.Stage == "train" && e.Kind == "start" {
			begun++
		}
		if e.Stage == "train" && e.Kind == "progress" && begun == 2 && !sent {
			sent = p.Signal(syscall.SIGINT) == nil // a second one would end it at once
		}
	}, args("cut")...)
	if cut.code != exitInterrupted {
		t.Fatalf("exit code %d: %s", cut.code, cut.stderr)
	}
	rest := launch(t, nil, args("cut")...)
	if rest.code != exitDone {
		t.Fatalf("exit code %d: %s", rest.code, rest.stderr)
	}
	if trained(whole) < 2 || trained(rest) != trained(whole)-1 {
		t.Errorf("%d trainings, of which %d after the interruption", trained(whole), trained(rest))
	}
	got, err := os.ReadFile(filepath.Join(dir, "cut.json"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "whole.json"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("after an interruption the answer is\n%s\nwant\n%s", got, want)
	}
}
