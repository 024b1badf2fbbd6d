package stages_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// corpus writes a small data set with exact and near copies, short rows and a malformed
// line, and returns its folder.
func corpus(t testing.TB, docs int) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	var lines []string
	for i := range docs {
		text := sentence(rng, 60)
		lines = append(lines, fmt.Sprintf(`{"id":%d,"text":%q,"meta":{"a":[1,2.50,"x\u00e9"]}}`, i, text))
		switch {
		case i%10 == 3: // exact copy
			lines = append(lines, fmt.Sprintf(`{"id":%d,"text":%q}`, 1000+i, text))
		case i%10 == 5: // near copy: one word of sixty
			words := strings.Fields(text)
			words[7] = "altered"
			lines = append(lines, fmt.Sprintf(`{"id":%d,"text":%q}`, 2000+i, strings.Join(words, " ")))
		case i%10 == 7:
			lines = append(lines, `{"id":1,"text":"short"}`)
		}
	}
	half := len(lines) / 2
	write(t, filepath.Join(dir, "data", "a.jsonl"), strings.Join(lines[:half], "\n")+"\n")
	write(t, filepath.Join(dir, "data", "b.jsonl"), strings.Join(lines[half:], "\n")+"\n{\"text\": \"cut\n")
	return dir
}

func sentence(rng *rand.Rand, n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("w%d", rng.IntN(5000))
	}
	return strings.Join(words, " ")
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

const smallPlan = `
name: small
seed: 7
input:
  - path: data/*.jsonl
    source: s
held_out: {fraction: 0.1}
max_reject_fraction: 0.05
stages:
  - normalize: {}
  - quality: {preset: connito}
  - exact_dedup: {}
  - minhash: {}
  - export: {format: jsonl}
`

func parse(t testing.TB, dir, plan string) *pipeline.Plan {
	t.Helper()
	p, err := parseProfiled(dir, plan)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hastyFS leaves out what makes files durable, which these tests do not look at: the
// crash tests do, on a disk of their own.
type hastyFS struct{ store.FS }

func (f hastyFS) SyncDir(string) error { return nil }
func (f hastyFS) Create(name string) (store.File, error) {
	file, err := f.FS.Create(name)
	return hastyFile{file}, err
}

type hastyFile struct{ store.File }

func (hastyFile) Sync() error { return nil }

func options(dir string) pipeline.Options {
	return pipeline.Options{Workdir: filepath.Join(dir, "run"), FS: hastyFS{store.OS()}, Inputs: store.OS(),
		Workers: 2, MemoryBytes: 1 << 30, Build: "test", Kernels: "plain", AllowExec: true}
}

func TestSmallRun(t *testing.T) {
	dir := corpus(t, 200)
	res, err := pipeline.Run(context.Background(), parse(t, dir, smallPlan), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range res.Stages {
		if s.Ledger != nil {
			t.Logf("%-14s in %d kept %d held %d rejected %d dropped %v", s.Label, s.Ledger.In, s.Ledger.Kept,
				s.Ledger.HeldOut, s.Ledger.Rejected, s.Ledger.Dropped)
		}
	}
}

// outTree runs a plan and returns what is under out/, by path and hash.
func outTree(t *testing.T, p *pipeline.Plan, opt pipeline.Options) map[string]string {
	t.Helper()
	if _, err := pipeline.Run(context.Background(), p, opt); err != nil {
		t.Fatal(err)
	}
	tree := map[string]string{}
	out := filepath.Join(opt.Workdir, "out")
	links, err := opt.FS.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		walk(t, opt.FS, filepath.Join(out, l.Name()), l.Name(), tree)
	}
	if len(tree) == 0 {
		t.Fatal("nothing under out/")
	}
	return tree
}

func walk(t *testing.T, fsys store.FS, name, rel string, tree map[string]string) {
	t.Helper()
	info, err := fsys.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if !info.IsDir() {
		sum, err := pipeline.FileSHA256(fsys, name)
		if err != nil {
			t.Fatal(err)
		}
		tree[rel] = sum
		return
	}
	entries, err := fsys.ReadDir(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		walk(t, fsys, filepath.Join(name, e.Name()), rel+"/"+e.Name(), tree)
	}
}

func sameTree(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, sum := range want {
		if got[name] != sum {
			t.Errorf("%s: %s differs", what, name)
		}
	}
	for name := range got {
		if want[name] == "" {
			t.Errorf("%s: %s should not be there", what, name)
		}
	}
}

// started runs a plan and returns the stages in which a task ran.
func started(t *testing.T, p *pipeline.Plan, opt pipeline.Options) []string {
	t.Helper()
	var ran []string
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "start" && !slices.Contains(ran, e.Stage) {
			ran = append(ran, e.Stage)
		}
	}
	if _, err := pipeline.Run(context.Background(), p, opt); err != nil {
		t.Fatal(err)
	}
	return ran
}

func TestReuse(t *testing.T) {
	dir := corpus(t, 200)
	opt := options(dir)
	want := outTree(t, parse(t, dir, smallPlan), opt)
	if ran := started(t, parse(t, dir, smallPlan), opt); len(ran) != 0 {
		t.Errorf("a second run ran %v", ran)
	}
	edited := strings.Replace(smallPlan, "minhash: {}", "minhash: {verify: 0.9}", 1)
	if ran := started(t, parse(t, dir, edited), opt); slices.Contains(ran, "exact_dedup") || !slices.Contains(ran, "minhash") {
		t.Errorf("after an edit of minhash %v ran", ran)
	}
	sameTree(t, "back to the first plan", outTree(t, parse(t, dir, smallPlan), opt), want)
}

func TestSameForAnyWorkers(t *testing.T) {
	dir := corpus(t, 200)
	want := outTree(t, parse(t, dir, smallPlan), options(dir))
	for _, workers := range []int{1, 8} {
		opt := options(dir)
		opt.Workdir, opt.Workers = filepath.Join(dir, fmt.Sprint("run", workers)), workers
		sameTree(t, fmt.Sprint(workers, " workers"), outTree(t, parse(t, dir, smallPlan), opt), want)
	}
}

func TestUntilAndLimit(t *testing.T) {
	dir := corpus(t, 200)
	want := outTree(t, parse(t, dir, smallPlan), options(dir))
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "stepwise")
	for _, until := range []string{"normalize", "quality", "minhash"} {
		o := opt
		o.Until = until
		if _, err := pipeline.Run(context.Background(), parse(t, dir, smallPlan), o); err != nil {
			t.Fatal(err)
		}
	}
	sameTree(t, "after --until", outTree(t, parse(t, dir, smallPlan), opt), want)
	limited := opt
	limited.Workdir, limited.Limit = filepath.Join(dir, "limited"), 50
	if _, err := pipeline.Run(context.Background(), parse(t, dir, smallPlan), limited); err != nil {
		t.Fatal(err)
	}
	limited.Limit = 0
	sameTree(t, "after --limit", outTree(t, parse(t, dir, smallPlan), limited), want)
}

func TestUntilBoundaryIsReused(t *testing.T) {
	dir := corpus(t, 100)
	opt := options(dir)
	opt.Until = "quality"
	if _, err := pipeline.Run(context.Background(), parse(t, dir, smallPlan), opt); err != nil {
		t.Fatal(err)
	}
	opt.Until = ""
	if ran := started(t, parse(t, dir, smallPlan), opt); slices.Contains(ran, "quality") || slices.Contains(ran, "normalize") {
		t.Errorf("after --until quality %v ran", ran)
	}
}

func TestFreshLeavesForeignFiles(t *testing.T) {
	dir := corpus(t, 100)
	opt := options(dir)
	want := outTree(t, parse(t, dir, smallPlan), opt)
	foreign := filepath.Join(opt.Workdir, "stages", "mine.txt")
	write(t, foreign, "keep me")
	opt.Fresh = true
	sameTree(t, "fresh", outTree(t, parse(t, dir, smallPlan), opt), want)
	if _, err := os.Stat(foreign); err != nil {
		t.Error("a file that is not the program's was deleted")
	}
}
