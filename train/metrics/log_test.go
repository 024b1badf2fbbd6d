package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline/store"
)

const linesName = "/disk/metrics/math-0123abcd.jsonl"

// testLog opens a log with every format, whose warnings are errors of the test unless warn is given.
func testLog(t *testing.T, fsys store.FS, after int, warn func(string)) *Log {
	t.Helper()
	if warn == nil {
		warn = func(line string) { t.Errorf("step %d: %s", after, line) }
	}
	l, _ := Open(Options{FS: fsys, Dir: "/disk", Run: testRun(), Warn: warn,
		Formats: []Format{CSV, TensorBoard, Prometheus, WandB}}, after)
	return l
}

// newDisk has a work directory.
func newDisk(t *testing.T) *store.CrashFS {
	t.Helper()
	disk := store.NewCrashFS()
	if err := errors.Join(disk.MkdirAll("/disk"), disk.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return disk
}

const (
	testSteps = 6
	syncSteps = 2 // states of the loop
)

// loop does what a training loop does from a step on: an evaluation before the first step and after each
// third, numbers each step, a sync before each state. A clock of the step alone makes a repeated step
// the same.
func loop(l *Log, from int, onState func(step int)) {
	clock := func(step int, seconds float64) time.Time {
		return start.Add(time.Duration((float64(step)*2 + seconds) * float64(time.Second)))
	}
	for step := from; step <= testSteps; step++ {
		if step > from {
			l.Add(step, clock(step, 0), []Value{{Loss, 3 - float64(step)/8}, {Tokens, float64(100 * step)}},
				[]Load{{1, []int64{int64(step), 2}}})
		}
		if step%3 == 0 && (step == 0 || step > from) {
			l.Add(step, clock(step, 0.5), []Value{{ValLoss, 4 - float64(step)/8}}, nil)
		}
		if step%syncSteps == 0 && step > from {
			l.Sync()
			onState(step)
		}
		l.Complete()
	}
}

// treeOf has the files by name and content, without those of temporary name.
func treeOf(t *testing.T, fsys store.FS, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			maps.Copy(out, treeOf(t, fsys, name))
		} else if !store.IsTemp(name) {
			data, err := store.ReadAll(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = string(data)
		}
	}
	return out
}

func wholeRun(t *testing.T, fsys *store.CrashFS) map[string]string {
	t.Helper()
	l := testLog(t, fsys, 0, nil)
	loop(l, 0, func(int) {})
	l.Close(true)
	return treeOf(t, fsys, "/disk")
}

// TestCrash cuts the power after every operation of a run, lets it go on from the state that it had
// reached, and expects the files of a run that was never cut off.
func TestCrash(t *testing.T) {
	full := newDisk(t)
	want := wholeRun(t, full)
	if len(want) != 5 {
		t.Fatalf("files: %v", slices.Sorted(maps.Keys(want)))
	}
	for ops := range full.Ops() {
		for _, mode := range []store.CrashMode{store.LoseUnsynced, store.KeepAll, store.Torn(1), store.Torn(2)} {
			disk := newDisk(t)
			disk.StopAfter(ops)
			reached := 0
			l := testLog(t, disk, 0, func(string) {})
			loop(l, 0, func(step int) {
				if disk.Ops() < ops {
					reached = step
				}
			})
			left := disk.Crash(mode)
			l = testLog(t, left, reached, nil)
			loop(l, reached, func(int) {})
			l.Close(true)
			if got := treeOf(t, left, "/disk"); !maps.Equal(got, want) {
				t.Fatalf("power cut after %d operations, %v, going on from step %d: %s", ops, mode, reached, differs(got, want))
			}
		}
	}
}

func differs(got, want map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			return fmt.Sprintf("%s:\n%q\nwant\n%q", name, got[name], want[name])
		}
	}
	return fmt.Sprintf("files %v", slices.Sorted(maps.Keys(got)))
}

// TestTornLine cuts the lines at every byte: what is whole is kept, up to the step asked for.
func TestTornLine(t *testing.T) {
	disk := newDisk(t)
	whole := []byte(wholeRun(t, disk)[linesName])
	for n := range len(whole) + 1 {
		var kept []byte
		steps := 0
		err := readRows(bytes.NewReader(whole[:n]), 4, func(r Row) {
			kept = append(kept, jsonLines{}.row(r)...)
			steps++
		})
		complete := min(bytes.Count(whole[:n], []byte("\n")), 5)
		if err != nil || steps != complete || !bytes.HasPrefix(whole, kept) {
			t.Fatalf("%d bytes: %d rows, want %d: %v", n, steps, complete, err)
		}
	}
}

// TestFormatAskedForLater adds a verdict to a run that had JSON lines only: the other files hold all of it.
func TestFormatAskedForLater(t *testing.T) {
	want, disk := newDisk(t), newDisk(t)
	plain, _ := Open(Options{FS: disk, Dir: "/disk", Run: testRun()}, 0)
	loop(plain, 0, func(int) {})
	plain.Close(true)
	wholeRun(t, want)
	for _, fsys := range []*store.CrashFS{want, disk} {
		l := testLog(t, fsys, testSteps, nil)
		l.Add(testSteps+1, start.Add(time.Hour), []Value{{Score, 0.5}}, nil)
		l.Close(true)
	}
	if got, want := treeOf(t, disk, "/disk"), treeOf(t, want, "/disk"); !maps.Equal(got, want) {
		t.Error(differs(got, want))
	}
}

// TestBeginsAnew leaves nothing of an attempt in files that another begins.
func TestBeginsAnew(t *testing.T) {
	disk := newDisk(t)
	l := testLog(t, disk, 0, nil)
	l.Add(0, start.Add(-time.Hour), []Value{{ValLoss, 9}}, nil)
	l.Add(1, start.Add(-time.Minute), []Value{{Loss, 9}}, nil)
	l.Close(false)
	got := wholeRun(t, disk)
	maps.DeleteFunc(got, func(name, _ string) bool {
		return strings.Contains(name, wandbID(testRun(), start.Add(-time.Hour))) // to W&B a run of its own
	})
	if want := wholeRun(t, newDisk(t)); !maps.Equal(got, want) {
		t.Error(differs(got, want))
	}
}

// TestFullDisk checks that each format which cannot be written is said once and left off, that those
// which can go on, and that lost rows are said.
func TestFullDisk(t *testing.T) {
	disk := newDisk(t)
	want := wholeRun(t, disk)
	var lines []string
	l := testLog(t, disk, 4, func(line string) { lines = append(lines, line) })
	disk.FailWrites(0, syscall.ENOSPC)
	l.Add(5, start, []Value{{Loss, 1}}, nil)
	l.Add(6, start, []Value{{Loss, 1}}, nil)
	l.Sync()
	l.Add(7, start, []Value{{Loss, 1}}, nil)
	l.Close(true)
	left := func(line string) bool {
		return strings.Contains(line, "no space left") && strings.Contains(line, "is left off")
	}
	if len(lines) != 5 || !slices.ContainsFunc(lines, left) {
		t.Errorf("warnings: %q", lines)
	}
	if got := treeOf(t, disk, "/disk"); got[linesName] != want[linesName] {
		t.Errorf("the lines of before are %q", got[linesName])
	}
	lines = nil
	disk.FailWrites(0, nil)
	testLog(t, disk, 9, func(line string) { lines = append(lines, line) }).Close(false)
	if len(lines) != 1 || !strings.Contains(lines[0], "no row of step 9") {
		t.Errorf("warnings: %q", lines)
	}
}

// TestComplete checks that a row is there for readers as soon as it is complete.
func TestComplete(t *testing.T) {
	disk := newDisk(t)
	l := testLog(t, disk, 0, nil)
	for step := range 3 {
		l.Add(step, start, []Value{{Loss, 1}}, nil)
		l.Complete()
		data, err := store.ReadAll(disk, linesName)
		if err != nil || bytes.Count(data, []byte("\n")) != step+1 {
			t.Errorf("after step %d: %q, %v", step, data, err)
		}
	}
	l.Close(false)
}

// TestLateNumbers checks that numbers for a row that is written already are refused, not written twice.
func TestLateNumbers(t *testing.T) {
	var lines []string
	disk := newDisk(t)
	l := testLog(t, disk, 0, func(line string) { lines = append(lines, line) })
	l.Add(1, start, []Value{{Loss, 1}}, nil)
	l.Sync()
	l.Add(1, start, []Value{{Loss, 2}}, nil)
	l.Close(false)
	data, err := store.ReadAll(disk, linesName)
	if err != nil || bytes.Count(data, []byte("\n")) != 1 || len(lines) != 1 {
		t.Errorf("%q, %v, %v", data, lines, err)
	}
}
