package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
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

// ended is a context that ends when the test says so, as one does whose time is over.
type ended struct {
	context.Context
	over chan struct{}
}

func (e ended) Done() <-chan struct{} { return e.over }

func (e ended) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// hang asks a command that hangs, calls end once it runs, and with it what it has started, and returns when none of that
// is left: all of it holds the pipe open.
func hang(t *testing.T, ctx context.Context, end func()) error {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		_, err := ask(ctx, "--asked", fmt.Sprintf("exec 3>%s; sleep 100000 & echo both >&3; wait", pipe), 24*time.Hour)
		asked <- err
	}()
	left, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	if _, err := io.ReadFull(left, make([]byte, len("both\n"))); err != nil {
		t.Fatal(err)
	}
	end()
	if more, err := io.ReadAll(left); err != nil || len(more) > 0 {
		t.Errorf("behind the end came %q, %v", more, err)
	}
	return <-asked
}

// TestAskInTime ends a command that hangs, with what it has started.
func TestAskInTime(t *testing.T) {
	late := regexp.MustCompile(`^--asked .*: no answer within [0-9]+\.[0-9] s$`)
	over := make(chan struct{})
	if err := hang(t, ended{t.Context(), over}, func() { close(over) }); err == nil || !late.MatchString(err.Error()) {
		t.Errorf("when its time was over it ended with %v", err)
	}
	if _, err := ask(t.Context(), "--asked", "exec sleep 100000", time.Millisecond); err == nil || !late.MatchString(err.Error()) {
		t.Errorf("with a millisecond it ended with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := hang(t, ctx, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted, it ended with %v", err)
	}
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
