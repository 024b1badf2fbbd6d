package stages_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
)

// TestAlarm removes most of one source and little of another.
func TestAlarm(t *testing.T) {
	dir := t.TempDir()
	few := sentences(9, 40, 12)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), few...)
	copies := sentences(10, 2, 12)
	for range 7 {
		copies = append(copies, copies[0], copies[1], few[0])
	}
	jsonl(t, filepath.Join(dir, "web", "b.jsonl"), copies...)
	plan := `
name: p
alarm_fraction: 0.5
input: [{path: data, source: good}, {path: web, source: web}]
stages:
  - exact_dedup: {}
  - export: {format: jsonl}
`
	const want = "ALARM: stage exact_dedup removed 91.3 % of source web (21 of 23 documents), more than alarm_fraction 0.5"
	opt := options(dir)
	var told []string
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "alarm" {
			told = append(told, e.Note)
		}
	}
	res := run(t, dir, plan, opt)
	if s := must(res.Stage("exact_dedup")); !slices.Contains(s.Notes, want) || !slices.Equal(told, []string{want}) {
		t.Errorf("the report says %q, and told was %q", s.Notes, told)
	}
	opt.OnEvent = nil
	_, err := pipeline.Run(context.Background(), parse(t, dir, "on_alarm: fail"+plan), opt)
	var data *pipeline.DataError
	if !errors.As(err, &data) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("with on_alarm: fail: %v", err)
	}
	for _, quiet := range []string{"alarm_fraction: 0.95", "alarm_fraction: 0"} {
		res := run(t, dir, strings.Replace(plan, "alarm_fraction: 0.5", quiet, 1), opt)
		if s := must(res.Stage("exact_dedup")); strings.Contains(strings.Join(s.Notes, " "), "ALARM") {
			t.Errorf("%s: %q", quiet, s.Notes)
		}
	}
}
