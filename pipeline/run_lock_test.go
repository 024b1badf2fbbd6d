package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

func acquire(dir string, wait time.Duration) (*pipeline.Lock, error) {
	return pipeline.Acquire(context.Background(), store.OS(), dir, wait)
}

// leave writes a lock as another process would have left it.
func leave(t *testing.T, dir string, h pipeline.Holder) {
	t.Helper()
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(string(data), filepath.Join(dir, ".lock")); err != nil {
		t.Fatal(err)
	}
}

// deadPID is the number of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestLockNamesItsHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	l, err := acquire(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = acquire(dir, 0)
	var locked *pipeline.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("a second run got %v", err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if locked.Holder.Host != host || locked.Holder.PID != os.Getpid() {
		t.Errorf("the holder is %+v", locked.Holder)
	}
	for _, part := range []string{dir, host, strconv.Itoa(os.Getpid()), "ago", "--wait"} {
		if !strings.Contains(locked.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, locked)
		}
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = acquire(dir, 0); err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
}

// refusedFS tells when a lock is refused.
type refusedFS struct {
	store.FS
	refused func()
}

func (f refusedFS) Symlink(target, name string) error {
	err := f.FS.Symlink(target, name)
	if err != nil {
		f.refused()
	}
	return err
}

// TestLockIsWaitedFor gives a lock up, and ends the waiting for one, when it was refused.
func TestLockIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	first, err := acquire(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	second, err := pipeline.Acquire(t.Context(), refusedFS{store.OS(), func() {
		if refused++; refused != 2 { // the second time it has waited
			return
		}
		if err := first.Release(); err != nil {
			t.Error(err)
		}
	}}, dir, 24*time.Hour)
	if err != nil || refused < 2 {
		t.Fatalf("refused %d times, %v", refused, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := pipeline.Acquire(ctx, refusedFS{store.OS(), cancel}, dir, 24*time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLocksAreTakenOver(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, c := range []struct {
		what   string
		holder pipeline.Holder
		taken  bool
	}{
		{"a process that died here", pipeline.Holder{Host: host, PID: deadPID(t), Since: now, Seen: now}, true},
		{"another host, not seen for long", pipeline.Holder{Host: "other", PID: 1, Since: now.Add(-time.Hour), Seen: now.Add(-3 * time.Minute)}, true},
		{"another host, seen just now", pipeline.Holder{Host: "other", PID: deadPID(t), Since: now, Seen: now}, false},
		{"a living process here", pipeline.Holder{Host: host, PID: os.Getppid(), Since: now, Seen: now}, false},
		{"an earlier process of the own number", pipeline.Holder{Host: host, PID: os.Getpid(), Since: now.Add(-time.Hour), Seen: now}, true},
	} {
		dir := t.TempDir()
		leave(t, dir, c.holder)
		l, err := acquire(dir, 0)
		var locked *pipeline.LockedError
		switch {
		case c.taken && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case !c.taken && !errors.As(err, &locked):
			t.Errorf("%s: the lock was taken over (%v)", c.what, err)
		case !c.taken && locked.Holder.PID != c.holder.PID:
			t.Errorf("%s: the holder is %+v", c.what, locked.Holder)
		}
		if l != nil {
			if err := l.Release(); err != nil {
				t.Fatal(err)
			}
			if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
				t.Errorf("%s: %v is left, %v", c.what, names, err)
			}
		}
	}
}

// TestForeignLocks meets a lock that is none: it must be refused, by name.
func TestForeignLocks(t *testing.T) {
	for what, make := range map[string]func(name string) error{
		"file":   func(name string) error { return os.WriteFile(name, []byte("123"), 0o666) },
		"link":   func(name string) error { return os.Symlink("elsewhere", name) },
		"folder": func(name string) error { return os.Mkdir(name, 0o777) },
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, ".lock")
		if err := make(name); err != nil {
			t.Fatal(err)
		}
		_, err := acquire(dir, 0)
		var usage *pipeline.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(name); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLostLockIsLeft releases a lock that another run has taken over meanwhile.
func TestLostLockIsLeft(t *testing.T) {
	dir := t.TempDir()
	l, err := acquire(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, ".lock")); err != nil {
		t.Fatal(err)
	}
	leave(t, dir, pipeline.Holder{Host: "other", PID: 7, Since: time.Now(), Seen: time.Now()})
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".lock")); err != nil {
		t.Error("the other's lock was removed")
	}
}

// TestOneTaker lets many take over one dead lock at a time: one alone may get it.
func TestOneTaker(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		leave(t, dir, pipeline.Holder{Host: "other", PID: 7, Since: time.Now(), Seen: time.Now().Add(-time.Hour)})
		var got atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := acquire(dir, 0); err == nil {
					got.Add(1)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d runs hold the lock", got.Load())
		}
	}
}
