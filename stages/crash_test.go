package stages_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// image is a disk as a power cut at some moment of a run leaves it.
type image struct {
	what string
	disk *store.CrashFS
	done []string // tasks that the run had reported as done
}

// imager is a [store.CrashFS] that takes images after every operation. Images that
// differ in nothing are taken once.
type imager struct {
	*store.CrashFS
	t      *testing.T
	done   []string
	images []image
	seen   map[string]bool

	spilled int // files of sorts that were made
}

func (m *imager) take() {
	n := m.Ops()
	for mode, how := range []store.CrashMode{store.LoseUnsynced, store.Torn(uint64(n))} {
		disk := m.Crash(how)
		tree, err := store.Tree(disk, "/")
		if err != nil {
			m.t.Fatal(err)
		}
		id := fmt.Sprint(len(m.done))
		for _, name := range slices.Sorted(maps.Keys(tree)) {
			id += "\n" + name + " " + tree[name]
		}
		if !m.seen[id] {
			m.seen[id] = true
			what := fmt.Sprintf("power cut after operation %d, %s", n, []string{"unsynced lost", "torn"}[mode])
			m.images = append(m.images, image{what, disk, slices.Clone(m.done)})
		}
	}
}

func (m *imager) after(err error) error { m.take(); return err }

func (m *imager) Rename(a, b string) error    { return m.after(m.CrashFS.Rename(a, b)) }
func (m *imager) Remove(name string) error    { return m.after(m.CrashFS.Remove(name)) }
func (m *imager) MkdirAll(name string) error  { return m.after(m.CrashFS.MkdirAll(name)) }
func (m *imager) SyncDir(name string) error   { return m.after(m.CrashFS.SyncDir(name)) }
func (m *imager) Symlink(to, at string) error { return m.after(m.CrashFS.Symlink(to, at)) }
func (m *imager) Create(name string) (store.File, error) {
	if strings.Contains(name, store.TempPrefix+"spill") {
		m.spilled++
	}
	f, err := m.CrashFS.Create(name)
	return imagedFile{f, m}, m.after(err)
}

type imagedFile struct {
	store.File
	m *imager
}

func (f imagedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.m.after(err)
}
func (f imagedFile) Sync() error { return f.m.after(f.File.Sync()) }

// crashPlan is small enough to be resumed some hundred times.
var crashPlan = strings.NewReplacer("{fraction: 0.1}", "{fraction: 0.3}", "fraction: 0.05", "fraction: 0.2").Replace(smallPlan)

// crashRun runs a plan in /deep/disk of fsys and returns the tasks that started.
func crashRun(t testing.TB, dir, plan string, memory int64, fsys store.FS, onDone func(task string)) (started []string, err error) {
	t.Helper()
	opt := options(dir)
	opt.FS, opt.Workdir, opt.Workers, opt.MemoryBytes = fsys, "/deep/disk", 1, memory
	opt.OnEvent = func(e pipeline.Event) {
		switch e.Kind {
		case "start":
			started = append(started, e.Stage+" "+e.Task)
		case "done":
			onDone(e.Stage + " " + e.Task)
		}
	}
	_, err = pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	return started, err
}

// TestCrash cuts the power after every single operation of a run on the disk, in two
// ways, and checks that a second run gives the same outputs and repeats nothing that
// the first had reported as done.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of runs")
	}
	resumeImages(t, corpus(t, 12), crashPlan, enoughMemory, "data", 1)
}

// enoughMemory spares a small run any temporary file; littleMemory does not.
const (
	enoughMemory = 1 << 30
	littleMemory = 32 << 10
)

// TestCrashWhileSpilling does so where tasks must sort on the disk; of its images every so
// many are resumed.
func TestCrashWhileSpilling(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of runs")
	}
	spilled := resumeImages(t, corpus(t, 60), crashPlan, littleMemory, "data", 11)
	if spilled < 3 {
		t.Errorf("only %d temporary files of sorts were written", spilled)
	}
}

// TestCrashOfTheWholeArc does so with a plan that routes, trains, judges and bundles; of
// its images every so many are resumed, each with training in it.
func TestCrashOfTheWholeArc(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of trainings")
	}
	resumeImages(t, modelCorpus(t, 100), modelPlan, enoughMemory, "bundle", 4)
}

// resumeImages runs a plan, and again from every step-th image of its disk. It returns how
// many files of sorts the first run wrote.
func resumeImages(t *testing.T, dir, plan string, memory int64, out string, step int) (spilled int) {
	m := &imager{CrashFS: store.NewCrashFS(), t: t, seen: map[string]bool{}}
	if _, err := crashRun(t, dir, plan, memory, m, func(task string) { m.done = append(m.done, task) }); err != nil {
		t.Fatal(err)
	}
	want := outOf(t, m.CrashFS, out)
	t.Logf("%d operations, %d different images", m.Ops(), len(m.images))
	for i := 0; i < len(m.images); i += step {
		im := m.images[i]
		again, err := crashRun(t, dir, plan, memory, im.disk, func(string) {})
		if err != nil {
			t.Fatalf("%s: resumed run: %v", im.what, err)
		}
		if repeated := len(again) + len(im.done) - len(m.done); repeated > 0 {
			t.Errorf("%s: %d tasks were done and ran again; done: %v; ran: %v", im.what, repeated, im.done, again)
		}
		sameTree(t, im.what, outOf(t, im.disk, out), want)
		if rest := leftovers(t, im.disk, "/deep/disk"); len(rest) > 0 {
			t.Errorf("%s: the resumed run left %v", im.what, rest)
		}
		if t.Failed() {
			return m.spilled
		}
	}
	return m.spilled
}

// TestCrashIsNoticed cuts the power for good, after every so many operations: the run
// itself must end with that error.
func TestCrashIsNoticed(t *testing.T) {
	dir := corpus(t, 12)
	for n := 0; ; n += 23 {
		fsys := store.NewCrashFS()
		fsys.StopAfter(n)
		_, err := crashRun(t, dir, crashPlan, enoughMemory, fsys, func(string) {})
		if err == nil && fsys.Ops() <= n {
			return // the run needs fewer operations
		}
		if !errors.Is(err, store.ErrCrashed) {
			t.Fatalf("power cut after operation %d: the run ended with %v", n, err)
		}
	}
}

// leftovers lists temporary names below a folder.
func leftovers(t *testing.T, fsys store.FS, dir string) []string {
	t.Helper()
	tree, err := store.Tree(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for name := range tree {
		for part := range strings.SplitSeq(name, "/") {
			if store.IsTemp(part) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

func outOf(t *testing.T, fsys *store.CrashFS, name string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	walk(t, fsys, "/deep/disk/out/"+name, name, tree)
	return tree
}

// faultFS is a file system on which the operations of one kind fail, all of them or
// those on names that match.
type faultFS struct {
	store.FS
	fail func(op, name string) error
	// readLimit, if not 0, lets every file give so many bytes and then the error of
	// fail("read", name).
	readLimit int64
}

func (f faultFS) Create(name string) (store.File, error) {
	if err := f.fail("create", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	return faultFile{file, f, name}, err
}

func (f faultFS) Open(name string) (store.ReadFile, error) {
	if err := f.fail("open", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name)
	if err != nil || f.fail("read", name) == nil {
		return file, err
	}
	return &faultReader{ReadFile: file, fs: f, name: name}, nil
}

func (f faultFS) Rename(a, b string) error {
	if err := f.fail("rename", b); err != nil {
		return err
	}
	return f.FS.Rename(a, b)
}

func (f faultFS) SyncDir(name string) error {
	if err := f.fail("syncdir", name); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

func (f faultFS) MkdirAll(name string) error {
	if err := f.fail("mkdir", name); err != nil {
		return err
	}
	return f.FS.MkdirAll(name)
}

func (f faultFS) Symlink(to, at string) error {
	if err := f.fail("symlink", at); err != nil {
		return err
	}
	return f.FS.Symlink(to, at)
}

type faultFile struct {
	store.File
	fs   faultFS
	name string
}

func (f faultFile) Sync() error {
	if err := f.fs.fail("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

type faultReader struct {
	store.ReadFile
	fs   faultFS
	name string
	at   int64
}

func (r *faultReader) Read(p []byte) (int, error) {
	left := r.fs.readLimit - r.at
	if left <= 0 {
		return 0, r.fs.fail("read", r.name)
	}
	n, err := r.ReadFile.Read(p[:min(int64(len(p)), left)])
	r.at += int64(n)
	return n, err
}

func (r *faultReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= r.fs.readLimit {
		return r.ReadFile.ReadAt(p, off)
	}
	return 0, r.fs.fail("read", r.name)
}

var (
	_ store.FS  = (*imager)(nil)
	_ store.FS  = faultFS{}
	_ io.Reader = (*faultReader)(nil)
)
