package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAsk runs real commands: those that answer, and those that fail, hang or never stop talking.
func TestAsk(t *testing.T) {
	for command, want := range map[string]string{
		"echo 3":                             "3\n",
		"echo 4; sleep 60 &":                 "4\n", // what is left behind is not waited for
		"echo one >&2; echo two >&2; exit 7": "--asked echo one >&2; echo two >&2; exit 7: exit status 7: two",
		"exit 1":                             "--asked exit 1: exit status 1",
		"yes":                                "--asked yes: it prints more than 65536 bytes",
	} {
		out, err := ask(t.Context(), "--asked", command, time.Minute)
		if got := string(out); err == nil && got != want || err != nil && err.Error() != want {
			t.Errorf("%s: %q, %v, want %q", command, got, err, want)
		}
	}
}

// TestAskInTime ends a command that hangs, with what it has started.
func TestAskInTime(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	command := fmt.Sprintf("sleep 600 & echo $! >%s; wait", pid)
	_, err := ask(t.Context(), "--asked", command, time.Second)
	if err == nil || !strings.Contains(err.Error(), ": no answer within 1.") {
		t.Errorf("it ended with %v", err)
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); runs(child); {
		if time.Now().After(until) {
			t.Fatalf("process %d still runs", child)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := ask(ctx, "--asked", "sleep 600", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted, it ended with %v", err)
	}
}

// runs reports whether a process runs: one that is killed may be left as a zombie by who adopts it.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		return !strings.Contains(string(stat), ") Z ")
	}
	return syscall.Kill(pid, 0) == nil
}

// TestPhaseCounts takes a phase to end as many blocks from when it was asked, not from when it has answered.
func TestPhaseCounts(t *testing.T) {
	ticks := 0
	c := &clock{now: func() time.Time { ticks++; return time.Unix(int64(1000*ticks), 0) }}
	f := &cycleFlags{phase: "echo 5", block: 12 * time.Second}
	if err := f.askPhase(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if want := time.Unix(1060, 0); !c.deadline().Equal(want) {
		t.Errorf("the deadline is %s, want %s", c.deadline(), want)
	}
}
