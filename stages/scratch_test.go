package stages_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// roomFS is a file system with so much room left.
type roomFS struct {
	store.FS
	free int64
}

func (r roomFS) FreeBytes(string) (int64, error) { return r.free, nil }

// TestScratchIsEstimated compares the estimate of what a run writes with what it writes.
func TestScratchIsEstimated(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	for i := range uint64(4) {
		lines = append(lines, sentences(i, 500, 150)...)
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), lines...)
	plan := parse(t, dir, "name: p\ninput: [{path: data, source: s}]\nstages: [{exact_dedup: {}}, {minhash: {}}]\n")
	opt := options(dir)
	opt.FS = roomFS{opt.FS, 1 << 40}
	work, err := pipeline.Outlook(plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Run(context.Background(), plan, opt); err != nil {
		t.Fatal(err)
	}
	written := int64(0)
	dirs, err := opt.FS.ReadDir(filepath.Join(opt.Workdir, "stages"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		report, err := pipeline.TaskReportOf(opt.FS, opt.Workdir, pipeline.Key(d.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range report.Outputs {
			written += o.Bytes
		}
	}
	if e := work.Scratch.Bytes; e < written*2/3 || e > 3*written || work.Free != 1<<40 || work.Missing() != 0 {
		t.Errorf("the estimate is %d of %d free, and %d bytes were written", e, work.Free, written)
	}
	if work, err = pipeline.Outlook(plan, opt); err != nil || work.Scratch.Bytes != 0 {
		t.Errorf("a run that is done is expected to write %d bytes, %v", work.Scratch.Bytes, err)
	}
}

// TestScratchIsChecked runs with too little room: one clear error, before any work.
func TestScratchIsChecked(t *testing.T) {
	dir := corpus(t, 300)
	plan := parse(t, dir, smallPlan)
	opt := options(dir)
	opt.FS = roomFS{opt.FS, 1000}
	begun := 0
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "start" {
			begun++
		}
	}
	_, err := pipeline.Run(context.Background(), plan, opt)
	var disk *pipeline.DiskError
	if !errors.As(err, &disk) || begun > 0 {
		t.Fatalf("%d tasks were begun, and the error is %v", begun, err)
	}
	for _, part := range []string{opt.Workdir, "missing", "--workdir"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	if work, err := pipeline.Outlook(plan, opt); err != nil || work.Missing() <= 0 || work.Missing() >= work.Scratch.Bytes {
		t.Errorf("the outlook: %+v, %v", work.Scratch, err)
	}
	opt.FS = roomFS{options(dir).FS, 1 << 30}
	if _, err := pipeline.Run(context.Background(), plan, opt); err != nil {
		t.Errorf("with room: %v", err)
	}
}
