package stages_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// nights is a folder of a few days and the plan that runs each.
type nights struct {
	t   *testing.T
	dir string
}

func newNights(t *testing.T) nights {
	n := nights{t, t.TempDir()}
	for i, day := range days(5, 3, 60) {
		jsonl(t, filepath.Join(n.dir, "data", fmt.Sprintf("d%d.jsonl", i)), day...)
	}
	return n
}

func (n nights) plan(date string) string {
	return strings.Replace(nightlyPlan, "date: null", "date: "+date, 1)
}

func (n nights) state() string {
	if _, err := os.Stat(filepath.Join(n.dir, "state")); os.IsNotExist(err) {
		return ""
	}
	return tree(n.t, filepath.Join(n.dir, "state"))
}

// TestIndexNotOfAPart runs with --limit, and not to the end: the index stays, and report and
// progress say so.
func TestIndexNotOfAPart(t *testing.T) {
	n := newNights(t)
	opt := options(n.dir)
	run(t, n.dir, n.plan("d0"), opt)
	before := n.state()
	for flag, change := range map[string]func(o *pipeline.Options){
		"--limit": func(o *pipeline.Options) { o.Limit = 3 },
		"--until": func(o *pipeline.Options) { o.Until = "minhash" },
	} {
		opt := opt
		var told []string
		opt.Workdir = filepath.Join(n.dir, flag)
		opt.OnEvent = func(e pipeline.Event) {
			if e.Kind == "note" {
				told = append(told, e.Note)
			}
		}
		change(&opt)
		for _, date := range []string{"d0", "d1"} {
			res := run(t, n.dir, n.plan(date), opt)
			if n.state() != before {
				t.Fatalf("%s: the index is another one", flag)
			}
			s, err := res.Stage("minhash")
			if err != nil || !strings.Contains(strings.Join(s.Notes, "\n"), flag) {
				t.Errorf("%s: the report does not say that the index is left: %v", flag, s.Notes)
			}
		}
		if len(told) != 4 || !strings.Contains(told[0], flag) {
			t.Errorf("%s: progress says %q", flag, told)
		}
	}
	opt.Until = "export"
	run(t, n.dir, n.plan("d1"), opt)
	if n.state() == before {
		t.Error("--until with the last stage leaves the index as it is")
	}
}

// TestIndexOwners gives one generation to two stages, plans and labels.
func TestIndexOwners(t *testing.T) {
	n := newNights(t)
	twice := strings.Replace(n.plan("d0"), "  - minhash",
		"  - exact_dedup: {compare: words, index: {dir: ./state, generation: x}}\n    id: again\n  - minhash", 1)
	is[*pipeline.UsageError](t, fails(t, n.dir, twice, options(n.dir), "plan.yaml:7", "exact_dedup-1 and again", "state"))
	run(t, n.dir, n.plan("d0"), options(n.dir))
	before := n.state()
	for _, change := range []*strings.Replacer{
		strings.NewReplacer("name: p", "name: other"),
		strings.NewReplacer("  - minhash", "    id: mine\n  - minhash"),
	} {
		opt := options(n.dir)
		opt.Workdir = filepath.Join(n.dir, "other")
		is[*pipeline.UsageError](t, fails(t, n.dir, change.Replace(n.plan("d0")), opt, "generation d0", "plan p, stage exact_dedup"))
		if _, err := os.Stat(opt.Workdir); err == nil {
			t.Error("the run began before it was refused")
		}
	}
	if n.state() != before {
		t.Error("the index is another one")
	}
}

// TestIndexOfAFailedRun fails after the dedup stages, and then passes.
func TestIndexOfAFailedRun(t *testing.T) {
	n := newNights(t)
	opt := options(n.dir)
	gated := func(least string) string {
		return strings.Replace(n.plan("d0"), "  - export", "  - quality: {drop_if: word_count < "+least+"}\n  - export", 1)
	}
	is[*pipeline.DataError](t, fails(t, n.dir, gated("99999"), opt, "no document is left after stage quality"))
	alarm := strings.Replace(gated("20"), "stages:", "alarm_fraction: 0.01\non_alarm: fail\nstages:", 1)
	is[*pipeline.DataError](t, fails(t, n.dir, alarm, opt, "ALARM"))
	if s := n.state(); s != "" {
		t.Fatalf("a run that failed has published\n%s", s)
	}
	run(t, n.dir, gated("1"), opt)
	if s := n.state(); !strings.Contains(s, "exact_dedup/d0") || !strings.Contains(s, "minhash/d0") {
		t.Errorf("the index has\n%s", s)
	}
}

// TestIndexIsRepaired damages files without changing their sizes, and the manifest.
func TestIndexIsRepaired(t *testing.T) {
	n := newNights(t)
	opt := options(n.dir)
	run(t, n.dir, n.plan("d0"), opt)
	before := n.state()
	for _, glob := range []string{"state/*/d0@*/part-00000", "state/*/d0.json"} {
		found, err := filepath.Glob(filepath.Join(n.dir, glob))
		if err != nil || len(found) != 2 {
			t.Fatal(found, err)
		}
		whole := map[string]string{}
		for _, name := range found {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			whole[name] = string(data)
			data[len(data)/2] ^= 1
			data[0] ^= 0x80
			write(t, name, string(data))
		}
		if ran := startedTasks(t, n.dir, n.plan("d0"), opt); len(ran) > 0 {
			t.Errorf("tasks ran: %v", ran)
		}
		for name, want := range whole {
			if data, err := os.ReadFile(name); err != nil || string(data) != want {
				t.Errorf("%s is not made good: %v", name, err)
			}
		}
	}
	if n.state() != before {
		t.Error("the index is another one")
	}
}

// TestIndexKeys runs nights again: none has anything to do, also after an earlier one was run
// from the start elsewhere.
func TestIndexKeys(t *testing.T) {
	n := newNights(t)
	opt := options(n.dir)
	for _, date := range []string{"d0", "d1"} {
		run(t, n.dir, n.plan(date), opt)
		if ran := startedTasks(t, n.dir, n.plan(date), opt); len(ran) > 0 {
			t.Errorf("%s again: tasks ran: %v", date, slices.Sorted(maps.Keys(ran)))
		}
	}
	elsewhere := opt
	elsewhere.Workdir, elsewhere.Build = filepath.Join(n.dir, "elsewhere"), "other"
	changed := strings.Replace(n.plan("d0"), "keep: longest", "keep: longest, bucket_documents_max: 999", 1)
	run(t, n.dir, changed, elsewhere) // other tasks, the same documents
	if ran := startedTasks(t, n.dir, n.plan("d1"), opt); len(ran) > 0 {
		t.Errorf("the same generation before it, and tasks ran: %v", slices.Sorted(maps.Keys(ran)))
	}
}

// TestNothingNew runs a night whose documents are all known, in one stage and in both.
func TestNothingNew(t *testing.T) {
	n := newNights(t)
	opt := options(n.dir)
	run(t, n.dir, n.plan("d0"), opt)
	known, err := os.ReadFile(filepath.Join(n.dir, "data", "d0.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	near := strings.Join(days(5, 1, 60)[0][:1], "") + " more"
	for name, text := range map[string]string{
		"exact_dedup": string(known), "minhash": string(known) + fmt.Sprintf("{\"text\":%q}\n", near)} {
		write(t, filepath.Join(n.dir, "data", "d1.jsonl"), text)
		opt.Workdir = filepath.Join(n.dir, name)
		res := run(t, n.dir, n.plan("d1"), opt)
		if got := exportedLines(t, opt); len(got) > 0 {
			t.Errorf("%d documents are exported", len(got))
		}
		s, err := res.Stage(name)
		if err != nil || !res.Complete || !strings.Contains(strings.Join(s.Notes, "\n"), "all are copies") {
			t.Errorf("%s: %v, notes %q", name, err, s.Notes)
		}
		run(t, n.dir, n.plan("d2"), opt) // with an empty generation before it
	}
	none := strings.Replace(n.plan("d1"), "  - exact", "  - quality: {drop_if: word_count < 9999}\n  - exact", 1)
	is[*pipeline.DataError](t, fails(t, n.dir, none, opt, "no document is left after stage quality"))
}

// TestGroupMemory has one group of few, long documents, which the memory does not hold.
func TestGroupMemory(t *testing.T) {
	dir := t.TempDir()
	var texts []string
	for i := range 40 { // the first half is shared, so that all have bands in common and none is a copy
		var b strings.Builder
		for j := range 20000 {
			n := j
			if j > 10000 {
				n = j + i*20000
			}
			fmt.Fprintf(&b, "w%d ", n)
		}
		texts = append(texts, b.String())
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts...)
	opt := options(dir)
	plan := `
name: p
input: [{path: data/*.jsonl, source: s}]
stages:
  - minhash: {bands: 64, rows: 1, verify: 0.9}
  - export: {format: jsonl}
`
	opt.MemoryBytes = 14 << 20
	fails(t, dir, plan, opt, "bands of more rows make smaller groups", "--memory")
	opt.MemoryBytes = 256 << 20
	if n := ledger(t, run(t, dir, plan, opt), "minhash").Kept; n != 40 {
		t.Errorf("%d documents stay, want 40", n)
	}
}

// openFS counts the files that are open.
type openFS struct {
	store.FS
	open, most *atomic.Int64
}

type openFile struct {
	store.ReadFile
	open *atomic.Int64
}

func (o openFS) Open(name string) (store.ReadFile, error) {
	f, err := o.FS.Open(name)
	if err != nil {
		return nil, err
	}
	for n := o.open.Add(1); ; {
		if most := o.most.Load(); n <= most || o.most.CompareAndSwap(most, n) {
			return openFile{f, o.open}, nil
		}
	}
}

func (f openFile) Close() error {
	f.open.Add(-1)
	return f.ReadFile.Close()
}

// TestIndexBounds reads an index of more generations than a task may have files open, and one
// that takes more memory than there is.
func TestIndexBounds(t *testing.T) {
	n := newNights(t)
	jsonl(t, filepath.Join(n.dir, "data", "d0.jsonl"), sentences(9, 3000, 6)...)
	opt := options(n.dir)
	run(t, n.dir, n.plan("d0"), opt)
	for _, stage := range []string{"exact_dedup", "minhash"} {
		data, err := os.ReadFile(filepath.Join(n.dir, "state", stage, "d0.json"))
		if err != nil {
			t.Fatal(err)
		}
		folder, err := filepath.Glob(filepath.Join(n.dir, "state", stage, "d0@*"))
		if err != nil || len(folder) != 1 {
			t.Fatal(folder, err)
		}
		for i := range 300 { // the same documents again under other names
			other := fmt.Sprintf("c%d", i)
			write(t, filepath.Join(n.dir, "state", stage, other+".json"),
				strings.Replace(string(data), `"generation": "d0"`, `"generation": "`+other+`"`, 1))
			if err := os.Symlink(folder[0], strings.Replace(folder[0], "d0@", other+"@", 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fsys := openFS{store.OS(), new(atomic.Int64), new(atomic.Int64)}
	opt.Inputs = fsys
	if l := ledger(t, run(t, n.dir, n.plan("d1"), opt), "exact_dedup"); l.In != 60 || l.Kept == 0 {
		t.Errorf("%d of %d documents stay", l.Kept, l.In)
	}
	if open, most := fsys.open.Load(), fsys.most.Load(); open != 0 || most < 128 || most > 2*(128+8) {
		t.Errorf("%d files are left open, and %d were at a time by 2 tasks", open, most)
	}
	opt.MemoryBytes = 4 << 20
	fails(t, n.dir, n.plan("d2"), opt, "state", "age_max", "--memory")
}

// TestIndexOfParts has nights of which some are cut into several partitions, and others not:
// what stays is the same.
func TestIndexOfParts(t *testing.T) {
	if testing.Short() {
		t.Skip("its input is large")
	}
	dir := t.TempDir()
	texts := days(6, 3, 40)
	blank := strings.Repeat(strings.Repeat(" ", 1<<16-1)+"\n", 1100) // lines that are no records
	kept := func(name string, padded func(day int) bool) [][]string {
		var out [][]string
		dir := filepath.Join(dir, name)
		for day := range texts {
			file := filepath.Join(dir, "data", fmt.Sprintf("d%d.jsonl", day))
			jsonl(t, file, texts[day]...)
			if padded(day) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				write(t, file, string(data)+blank)
			}
			opt := options(dir)
			opt.Workdir = filepath.Join(dir, fmt.Sprint("run", day))
			run(t, dir, strings.Replace(nightlyPlan, "date: null", fmt.Sprintf("date: d%d", day), 1), opt)
			out = append(out, textsOf(t, exportedLines(t, opt)))
		}
		return out
	}
	want := kept("whole", func(int) bool { return false })
	got := kept("cut", func(day int) bool { return day%2 == 0 })
	for day := range want {
		if !slices.Equal(got[day], want[day]) {
			t.Errorf("day %d: %d documents stay, want %d", day, len(got[day]), len(want[day]))
		}
	}
	for glob, want := range map[string]int{"d0@*/keys-*": 2, "d1@*/keys-*": 1} {
		found, err := filepath.Glob(filepath.Join(dir, "cut", "state", "minhash", glob))
		if err != nil || len(found) != want {
			t.Errorf("%s: %d files, want %d, %v", glob, len(found), want, err)
		}
	}
}
