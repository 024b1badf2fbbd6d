package cli

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// TestOutcome tells what becomes of a cycle by what its run ended with, and what ended it.
func TestOutcome(t *testing.T) {
	late, gate, usage, fault := &pipeline.LateError{Msg: "late"}, &pipeline.GateError{Msg: "no"}, &pipeline.UsageError{Msg: "plan"},
		errors.New("disk")
	for _, c := range []struct {
		name        string
		run         error
		deadline    bool // has passed
		interrupted bool
		want        error
		ended       bool
	}{
		{"done", nil, false, false, nil, true},
		{"done, and then the deadline", nil, true, false, nil, true},
		{"cut off by the deadline", context.Canceled, true, false, late, true},
		{"refused, and then the deadline", gate, true, false, gate, true},
		{"refused", gate, false, false, gate, true},
		{"failed", fault, false, false, fault, true},
		{"a wrong plan", usage, false, false, usage, false},
		{"interrupted", context.Canceled, false, true, context.Canceled, false},
		{"done, and interrupted before it was on record", nil, false, true, context.Canceled, false},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		within, end := context.WithCancelCause(ctx)
		if c.deadline {
			end(late)
		}
		if c.interrupted {
			interrupt()
		}
		if err, ended := outcome(ctx, within, c.run); !errors.Is(err, c.want) || err != nil && c.want == nil || ended != c.ended {
			t.Errorf("%s: %v, ended: %v", c.name, err, ended)
		}
		interrupt()
		end(nil)
	}
}

// recordOf puts a cycle on record beside what an earlier one has left, and returns the line.
func recordOf(t *testing.T, dir string, runErr error) string {
	t.Helper()
	now := func() time.Time { return time.Unix(1_700_000_000, 0) }
	c := newCycleOf(&cycleFlags{}, &environment{}, &pipeline.Plan{}, pipeline.Options{FS: store.OS(), Workdir: dir}, &clock{now: now})
	if _, err := c.window(); err != nil {
		t.Fatal(err)
	}
	if err := c.finish(runErr); err != nil {
		t.Fatal(err)
	}
	data, err := store.ReadAll(store.OS(), filepath.Join(dir, pipeline.WindowsName))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}

// TestRecordOfFailure does not take the figures of an earlier cycle for those of one that failed.
func TestRecordOfFailure(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "run.json"), `{"status": "done", "tasks": []}`)
	put(t, filepath.Join(dir, "out", "score.json"), `{"difference_nats": -0.5, "verdict": {"outcome": "worsens"}}`)
	put(t, filepath.Join(dir, "out", "update", "update.json"), `{"steps_run": 7}`)
	if line := recordOf(t, dir, errors.New("a shard is damaged")); strings.Contains(line, "worsens") || strings.Contains(line, "steps") ||
		!strings.Contains(line, `"error":"a shard is damaged"`) {
		t.Error(line)
	}
	if line := recordOf(t, dir, &pipeline.GateError{Msg: "no"}); !strings.Contains(line, `"steps":7,"difference_nats":-0.5,"verdict":"worsens"`) {
		t.Error(line)
	}
	if line := recordOf(t, dir, &pipeline.LateError{Msg: "late"}); strings.Contains(line, "worsens") || !strings.Contains(line, `"missed":true`) {
		t.Error(line)
	}
}

// TestDamagedRecord is found out before a cycle, not behind it.
func TestDamagedRecord(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "run.json"), `{"status": "done", "tasks": []}`)
	put(t, filepath.Join(dir, pipeline.WindowsName), "{}\n{\n")
	c := newCycleOf(&cycleFlags{}, &environment{}, &pipeline.Plan{}, pipeline.Options{FS: store.OS(), Workdir: dir},
		&clock{now: time.Now})
	if _, err := c.window(); err == nil || !strings.Contains(err.Error(), "cycles.jsonl line 2: ") {
		t.Errorf("the cycle begins: %v", err)
	}
}
