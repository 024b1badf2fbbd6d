package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store"
)

// beatFS stands still after each renewal of a lock until it has taken what is to be done there.
type beatFS struct {
	store.FS
	then chan func()
}

func (f beatFS) Rename(from, to string) error {
	err := f.FS.Rename(from, to)
	(<-f.then)()
	return err
}

// TestHeartbeat renews a lock, then takes it away: its context ends and says why.
func TestHeartbeat(t *testing.T) {
	dir := t.TempDir()
	l, err := Acquire(t.Context(), store.OS(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.stop()
	<-l.stopped
	beats := beatFS{store.OS(), make(chan func())}
	l.fsys = beats
	l.keepAlive(time.Millisecond)
	ctx := l.Context(t.Context())
	_, before, err := l.read(l.path())
	if err != nil {
		t.Fatal(err)
	}
	beats.then <- func() {
		if _, now, err := l.read(l.path()); err != nil || now.Seen.Equal(before.Seen) {
			t.Errorf("the lock was not renewed: %v", err)
		}
		if ctx.Err() != nil {
			t.Error("the context ended while the lock was held")
		}
	}
	link := filepath.Join(dir, lockName)
	beats.then <- func() {
		if err := store.SwapLink(store.OS(), `{"host":"other","pid":1}`, link); err != nil {
			t.Error(err)
		}
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !strings.Contains(cause.Error(), dir+" was taken over") {
		t.Errorf("the context ended by %v", cause)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || !strings.Contains(target, "other") {
		t.Errorf("the other's lock is now %s, %v", target, err)
	}
}
