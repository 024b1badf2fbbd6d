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

// TestHeartbeat renews a lock, then takes it away: its context ends and says why.
func TestHeartbeat(t *testing.T) {
	dir := t.TempDir()
	l, err := Acquire(t.Context(), store.OS(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.stop()
	<-l.stopped
	l.keepAlive(5 * time.Millisecond)
	ctx := l.Context(t.Context())
	_, before, err := l.read(l.path())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, now, err := l.read(l.path()); err == nil && now.Seen.After(before.Seen) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lock was not renewed")
		}
	}
	if ctx.Err() != nil {
		t.Fatal("the context ended while the lock was held")
	}
	link := filepath.Join(dir, lockName)
	if err := store.SwapLink(store.OS(), `{"host":"other","pid":1}`, link); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the lost lock was not noticed")
	}
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
