package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
)

// TestProgressLines feeds one run's events to each way of showing them.
func TestProgressLines(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	events := []struct {
		after time.Duration
		event pipeline.Event
	}{
		{0, pipeline.Event{Kind: "plan", Note: "reused 1 of 3 stages"}},
		{0, pipeline.Event{Kind: "reused", Stage: "normalize", Task: "a.jsonl"}},
		{time.Second, pipeline.Event{Kind: "start", Stage: "train", Task: "train"}},
		{2 * time.Second, pipeline.Event{Kind: "progress", Stage: "train", Done: 1, Total: 2000, Unit: "steps"}},
		{21 * time.Second, pipeline.Event{Kind: "progress", Stage: "train", Done: 500, Total: 2000, Unit: "steps",
			Note: "loss 2.5"}},
		{22 * time.Second, pipeline.Event{Kind: "progress", Stage: "train", Done: 525, Total: 2000, Unit: "steps"}},
		{90 * time.Second, pipeline.Event{Kind: "done", Stage: "train", Task: "train"}},
	}
	for mode, want := range map[string]string{
		"plain": "reused 1 of 3 stages\ntrain: started\n" +
			"train: 500 of 2 000 steps, 26.3/s, 57.1 s left, loss 2.5\n",
		"live": "reused 1 of 3 stages\n" +
			"\r\x1b[Ktrain: train" +
			"\r\x1b[Ktrain: 1 of 2 000 steps" +
			"\r\x1b[Ktrain: 500 of 2 000 steps, 26.3/s, 57.1 s left, loss 2.5" +
			"\r\x1b[Ktrain: 525 of 2 000 steps, 26.2/s, 56.3 s left" +
			"\r\x1b[K",
		"json": `{"time":"2026-01-01T00:00:00Z","kind":"plan","stage":"","note":"reused 1 of 3 stages"}` + "\n",
		"none": "",
	} {
		var out bytes.Buffer
		dir := t.TempDir()
		p := newProgress(mode, &out, pipeline.Options{Workdir: dir})
		for _, e := range events {
			p.at(e.event, began.Add(e.after))
		}
		p.close()
		if got := out.String(); got != want && (mode != "json" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: got %q\nwant %q", mode, got, want)
		}
		log, err := os.ReadFile(filepath.Join(dir, "events.jsonl"))
		if err != nil || bytes.Count(log, []byte("\n")) != len(events) {
			t.Errorf("%s: the log has %q, %v", mode, log, err)
		}
	}
}

// TestPaceOfSteps has a loss that changes from step to step in the unit, and much to load before the first.
func TestPaceOfSteps(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2026, 1, 1, 0, 0, seconds, 0, time.UTC) }
	var out bytes.Buffer
	p := newProgress("plain", &out, pipeline.Options{Workdir: t.TempDir()})
	p.at(pipeline.Event{Kind: "start", Stage: "train", Task: "train"}, at(0))
	for _, e := range []struct {
		second int
		done   float64
		unit   string
	}{{30, 1, "steps, loss 7"}, {40, 6, "steps, loss 6"}, {50, 11, "steps, loss 5"}} {
		p.at(pipeline.Event{Kind: "progress", Stage: "train", Done: e.done, Total: 31, Unit: e.unit}, at(e.second))
	}
	p.close()
	want := "train: started\ntrain: 1 of 31 steps, loss 7\ntrain: 6 of 31 steps, loss 6, 0.5/s, 50.0 s left\n" +
		"train: 11 of 31 steps, loss 5, 0.5/s, 40.0 s left\n"
	if out.String() != want {
		t.Errorf("got  %s\nwant %s", out.String(), want)
	}
}

// TestPaceBeginsAnew is about a stage of two passes, each of which counts from the start,
// with a barrier that counts something else between them.
func TestPaceBeginsAnew(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2026, 1, 1, 0, 0, seconds, 0, time.UTC) }
	var out bytes.Buffer
	p := newProgress("plain", &out, pipeline.Options{Workdir: t.TempDir()})
	step := func(second int, kind string, done, total float64, unit string) {
		p.at(pipeline.Event{Kind: kind, Stage: "minhash", Task: "a", Done: done, Total: total, Unit: unit}, at(second))
	}
	step(0, "start", 0, 0, "")
	step(10, "progress", 100<<20, 200<<20, "bytes")
	step(20, "progress", 200<<20, 200<<20, "bytes")
	step(30, "progress", 0.5, 2, "parts")
	step(40, "progress", 1.5, 2, "parts")
	step(45, "progress", 1<<20, 200<<20, "bytes")
	step(50, "start", 0, 0, "")
	step(55, "progress", 51<<20, 200<<20, "bytes")
	p.close()
	want := `minhash: started
minhash: 100 MiB of 200 MiB, 10.0 MiB/s, 10.0 s left
minhash: 200 MiB of 200 MiB, 10.0 MiB/s, 0.0 s left
minhash: 0.5 of 2 parts
minhash: 1.5 of 2 parts, 0.1/s, 5.0 s left
minhash: 51.0 MiB of 200 MiB, 5.00 MiB/s, 29.8 s left
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
