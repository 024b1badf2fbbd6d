package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// TestForeignWorkdirIsRefused names folders as work directories that hold what is no run.
func TestForeignWorkdirIsRefused(t *testing.T) {
	dir := corpus(t, 20)
	write(t, filepath.Join(dir, "plan.yaml"), smallPlan)
	for what, make := range map[string]func(folder string){
		"a file":               func(folder string) { write(t, filepath.Join(folder, "thesis.txt"), "mine") },
		"a plan":               func(folder string) { write(t, filepath.Join(folder, "plan.yaml"), "mine") },
		"events":               func(folder string) { write(t, filepath.Join(folder, "events.jsonl"), "mine") },
		"stages":               func(folder string) { write(t, filepath.Join(folder, "stages", "a.go"), "mine") },
		"another's run.json":   func(folder string) { write(t, filepath.Join(folder, "run.json"), `{"name":"mine","tasks":[]}`) },
		"a record and no task": func(folder string) { write(t, filepath.Join(folder, "run.json"), "damaged") },
	} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, "foreign "+what)
		make(opt.Workdir)
		before, err := store.Tree(opt.FS, opt.Workdir)
		if err != nil {
			t.Fatal(err)
		}
		for _, fresh := range []bool{false, true} {
			opt.Fresh = fresh
			is[*pipeline.UsageError](t, fails(t, dir, smallPlan, opt, opt.Workdir, "holds no run", "--workdir"))
		}
		after, err := store.Tree(opt.FS, opt.Workdir)
		if err != nil {
			t.Fatal(err)
		}
		sameTree(t, what, after, before)
	}
	opt := options(dir)
	opt.Workdir = dir
	is[*pipeline.UsageError](t, fails(t, dir, smallPlan, opt, dir, "holds the plan plan.yaml", "--workdir"))
	run(t, dir, smallPlan, options(dir))
	copied := filepath.Join(dir, "run", "plan.yaml")
	if err := pipeline.CheckWorkdir(store.OS(), filepath.Join(dir, "run"), copied); err == nil {
		t.Error("a run of the copy of the plan in the work directory is let in")
	}

	opt.Workdir = filepath.Join(dir, "disk")
	for _, name := range []string{"lost+found/x", ".lock-clear", ".tmp-.lock", ".tmp-run.json"} {
		write(t, filepath.Join(opt.Workdir, name), "")
	}
	run(t, dir, smallPlan, opt)
}

// TestFreshDeletesOnlyItsOwn puts files everywhere in a work directory, and begins anew.
func TestFreshDeletesOnlyItsOwn(t *testing.T) {
	dir := corpus(t, 60)
	opt := options(dir)
	old := outTree(t, parse(t, dir, smallPlan), opt)
	exported := resolved(t, filepath.Join(opt.Workdir, "out", "data"))
	key := strings.Repeat("0123456789abcdef", 2)
	mine := []string{"notes.txt", "stages/notes.txt", "stages/" + key + "/model.bin", "scratch/notes.txt", "out/notes.txt",
		"out/own/notes.txt", "drops/notes.txt", "rejects/notes.txt", filepath.Join(exported, "data", "notes.txt"),
		filepath.Join(filepath.Dir(exported), "notes.txt")} // of a task that is not made again
	for i, name := range mine {
		if !filepath.IsAbs(name) {
			mine[i] = filepath.Join(opt.Workdir, name)
		}
		write(t, mine[i], "mine")
	}
	write(t, filepath.Join(opt.Workdir, "scratch", key, "checkpoint"), "theirs")
	write(t, filepath.Join(opt.Workdir, "stages", ".tmp-"+key, "docs.zst"), "theirs")

	opt.Fresh, opt.Until = true, "normalize"
	run(t, dir, smallPlan, opt)
	for _, name := range mine {
		if data, err := os.ReadFile(name); err != nil || string(data) != "mine" {
			t.Errorf("%s was lost: %v", name, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(opt.Workdir, "stages", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	record, err := pipeline.ReadRecord(opt.FS, opt.Workdir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		ours := strings.HasSuffix(name, "notes.txt") || strings.HasSuffix(name, "model.bin") || name == exported
		for _, task := range record.Tasks {
			ours = ours || strings.Contains(name, string(task.Key))
		}
		if !ours {
			t.Errorf("%s is left of the earlier run", name)
		}
	}
	for _, name := range []string{"scratch/" + key, "stages/.tmp-" + key, "out/data"} {
		if _, err := os.Lstat(filepath.Join(opt.Workdir, name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	opt.Fresh, opt.Until = false, ""
	run(t, dir, smallPlan, opt)
	tree := map[string]string{}
	walk(t, opt.FS, filepath.Join(opt.Workdir, "out", "data"), "data", tree)
	delete(tree, "data/data/notes.txt")
	sameTree(t, "after --fresh", tree, old)
}

// resolved is where a link leads.
func resolved(t *testing.T, name string) string {
	t.Helper()
	full, err := filepath.EvalSymlinks(name)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// TestWorkdirIsNoInput has the work directory in a folder that is read: the second run reads what
// the first one read. What a path names in there is read.
func TestWorkdirIsNoInput(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(43, 5, 10)...)
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "data", "work")
	for _, path := range []string{"data", "data/**/*.jsonl", "'**'", "[data, data/a.jsonl]"} {
		plan := "name: p\ninput: [{path: " + path + ", source: s}]\nstages: [{export: {format: jsonl}}]\n"
		for range 2 {
			if res := run(t, dir, plan, opt); len(res.Inputs) != 1 {
				t.Errorf("%s: %d files were read, want 1", path, len(res.Inputs))
			}
		}
	}
	own := "name: p\ninput: [{path: data/work/out/data, source: s, optional: true}]\nstages: [{export: {format: jsonl}}]\n"
	work, err := pipeline.Outlook(parse(t, dir, own), opt)
	if err != nil || work.Files == 0 {
		t.Errorf("a path into the work directory: %v, %+v, want what was exported", err, work)
	}
	none := strings.Replace(own, "data/work/out/data", "data/*/**", 1)
	is[*pipeline.UsageError](t, fails(t, dir, strings.Replace(none, "optional: true", "optional: false", 1), opt, "matches no file"))
}

// TestFreshLeavesNoEmptyFolder begins anew where nothing but a run was.
func TestFreshLeavesNoEmptyFolder(t *testing.T) {
	dir := corpus(t, 30)
	opt := options(dir)
	run(t, dir, smallPlan, opt)
	opt.Fresh, opt.Until = true, "normalize"
	run(t, dir, smallPlan, opt)
	folders, err := filepath.Glob(filepath.Join(opt.Workdir, "stages", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if entries, err := os.ReadDir(folder); err != nil || len(entries) == 0 {
			t.Errorf("%s is empty: %v", folder, err)
		}
	}
	if _, err := os.Stat(filepath.Join(opt.Workdir, "out")); err == nil {
		t.Error("an empty folder out/ is left")
	}
}

// TestLostLockEndsTheRun lets another run take the work directory over amid a task.
func TestLostLockEndsTheRun(t *testing.T) {
	for _, how := range []string{"taken", "taken, and its files removed", "cancelled late"} {
		dir := corpus(t, 40)
		opt := options(dir)
		opt.Workers = 1
		lock, err := pipeline.Acquire(context.Background(), opt.FS, opt.Workdir, 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(lock.Context(context.Background()))
		record := filepath.Join(opt.Workdir, "run.json")
		unfinished := ""
		opt.OnEvent = func(e pipeline.Event) {
			if e.Kind != "start" || e.Stage != "minhash" || unfinished != "" {
				return
			}
			link := filepath.Join(opt.Workdir, ".lock")
			if err := os.Remove(link); err != nil {
				t.Fatal(err)
			}
			holder, err := json.Marshal(pipeline.Holder{Host: "other", PID: 7, Since: time.Now(), Seen: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(string(holder), link); err != nil {
				t.Fatal(err)
			}
			write(t, record, "theirs")
			unfinished = filepath.Join(opt.Workdir, "stages", ".tmp-0123456789abcdef0123456789abcdef")
			write(t, filepath.Join(unfinished, "docs.zst"), "theirs")
			switch how {
			case "taken, and its files removed":
				remove(t, filepath.Join(opt.Workdir, "stages"))
			case "cancelled late":
				cancel()
			}
		}
		_, err = pipeline.Run(ctx, parse(t, dir, smallPlan), opt)
		cancel()
		var lost *pipeline.LockLostError
		var locked *pipeline.LockedError
		if !errors.As(err, &lost) || !errors.As(err, &locked) || locked.Holder.Host != "other" ||
			!strings.Contains(err.Error(), opt.Workdir+" was taken over") {
			t.Errorf("%s: the run ended with %v", how, err)
		}
		if data, err := os.ReadFile(record); err != nil || string(data) != "theirs" {
			t.Errorf("%s: the other's run.json is now %q, %v", how, data, err)
		}
		if _, err := os.Stat(filepath.Join(opt.Workdir, "out")); err == nil {
			t.Errorf("%s: the run went on to its outputs", how)
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInterruptedRunSaysSo(t *testing.T) {
	dir := corpus(t, 40)
	opt := options(dir)
	for i, end := range []func(context.CancelFunc){func(cancel context.CancelFunc) { cancel() }, func(context.CancelFunc) {}} {
		ctx, cancel := context.WithCancel(context.Background())
		opt.OnEvent = func(e pipeline.Event) {
			if e.Kind == "start" && e.Stage == "minhash" {
				end(cancel)
			}
		}
		_, err := pipeline.Run(ctx, parse(t, dir, smallPlan), opt)
		cancel()
		rec, recErr := pipeline.ReadRecord(opt.FS, opt.Workdir)
		if recErr != nil {
			t.Fatal(recErr)
		}
		if want := []string{"interrupted", "done"}[i]; rec.Status != want || rec.Error != "" || (err != nil) != (i == 0) {
			t.Errorf("run.json says %s, %q after a run that ended with %v; want %s", rec.Status, rec.Error, err, want)
		}
	}
}

// TestDiskErrorsAreOneLine lets writing fail in the ways of full and locked disks.
func TestDiskErrorsAreOneLine(t *testing.T) {
	dir := corpus(t, 30)
	for _, c := range []struct {
		errno error
		parts []string
	}{
		{syscall.ENOSPC, []string{"no space left", "free space"}},
		{syscall.EDQUOT, []string{"quota exceeded", "larger quota"}},
		{syscall.EROFS, []string{"read-only file system"}},
		{syscall.EFBIG, []string{"file too large", "ulimit -f"}},
		{syscall.EACCES, []string{"permission denied", "let this user"}},
	} {
		for _, op := range []string{"create", "rename", "sync", "mkdir"} {
			for _, from := range []int{1, 12} {
				opt := options(dir)
				opt.Workdir = filepath.Join(dir, fmt.Sprint("run", op, from, int(c.errno.(syscall.Errno))))
				n := 0
				opt.Workers = 1
				opt.FS = faultFS{FS: store.OS(), fail: func(now, name string) error {
					if now != op {
						return nil
					}
					if n++; n < from {
						return nil
					}
					return &fs.PathError{Op: op, Path: name, Err: c.errno}
				}}
				err := fails(t, dir, smallPlan, opt, append(c.parts, "work directory "+opt.Workdir+":", "--workdir")...)
				is[*pipeline.DiskError](t, err)
				plainError(t, err)
				if strings.Contains(err.Error(), ".tmp-") || !errors.Is(err, c.errno) {
					t.Errorf("%s fails with %v: %v", op, c.errno, err)
				}
			}
		}
	}
}
