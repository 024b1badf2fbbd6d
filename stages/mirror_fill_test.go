package stages_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/eval/mirror"
	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote"
	"bzdata/pipeline/store/remote/remotetest"
	"bzdata/stages"
)

// hubOf serves the files below a folder, as they are there, as the data set owner/set.
func hubOf(t *testing.T, dir string) (*remotetest.Hub, *remote.FS) {
	t.Helper()
	_, names, err := store.Expand(store.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		if files[filepath.ToSlash(rel)], err = store.ReadAll(store.OS(), name); err != nil {
			t.Fatal(err)
		}
	}
	hub := remotetest.NewHub("owner/set", files)
	t.Cleanup(hub.Close)
	env := map[string]string{"HF_ENDPOINT": hub.URL, "HF_HOME": t.TempDir()}
	fsys := remote.New(t.Context(), store.OS(), remote.Options{Attempts: 2, Jitter: rand.New(rand.NewPCG(1, 2)),
		Env:   func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Sleep: func(context.Context, time.Duration) error { return nil }})
	t.Cleanup(func() { fsys.Close() })
	return hub, fsys
}

const fillConfig = `group_id: 0
data:
  dataset_sources:
    - {path: owner/set, name: web, weight: 0.25}
    - {path: owner/set, name: math, weight: 0.75}
  vali_fraction: 0.5
  world_size: %d
`

// fillTexts writes nine files of web and nine of math, or ten and ten.
func fillTexts(t *testing.T, dir string, each int) {
	t.Helper()
	texts := problems(each * 2 * 12)
	for s, name := range []string{"web", "math"} {
		for f := range each {
			var b strings.Builder
			for _, text := range texts[(s*each+f)*12 : (s*each+f+1)*12] {
				fmt.Fprintf(&b, "{%q:%q}\n", "text", text)
			}
			write(t, filepath.Join(dir, "all", name, fmt.Sprintf("%02d.jsonl", f)), b.String())
		}
	}
}

// TestFillMirror fetches the files that the rows are in and no other, and the rows of the few are those of all.
func TestFillMirror(t *testing.T) {
	for each, world := range map[int]int{9: 2, 10: 2} { // rows are shared, or files
		dir := modelCorpus(t, 120)
		fillTexts(t, dir, each)
		write(t, filepath.Join(dir, "config.yaml"), fmt.Sprintf(fillConfig, world))
		_, hub := hubOf(t, filepath.Join(dir, "all"))
		o := mixOptions(dir)
		o.Rows, o.Seeds = 8, 2
		fill := stages.MirrorFill{MixOptions: o, Now: func() string { return "now" }}
		exam, filled, err := stages.FillMirror(t.Context(), hub, mixProfile(t), fill)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range filled {
			if f.Fetched == 0 || f.Fetched != f.Needed || f.Mirrored != f.Needed || f.Needed >= each || f.Files != each ||
				f.Commit != remotetest.Commit {
				t.Errorf("%d files: %+v", each, f)
			}
		}
		few, err := stages.OpenMix(t.Context(), store.OS(), mixProfile(t), filepath.Join(dir, "base"), o)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "config.yaml"), strings.ReplaceAll(fmt.Sprintf(fillConfig, world), "owner/set", "all"))
		o.Mirror = dir
		all, err := stages.OpenMix(t.Context(), store.OS(), mixProfile(t), filepath.Join(dir, "base"), o)
		if err != nil || few.Key != all.Key || few.Key != exam.Key || few.Rows != 16 || !slices.EqualFunc(few.BySeed, all.BySeed, slices.Equal) {
			t.Errorf("%d files: %d rows with key %s of few files, %d with %s of all, %s while filling, %v", each, few.Rows, few.Key, all.Rows,
				all.Key, exam.Key, err)
		}
	}
}

// TestFillMirrorBounded ends the rows where no more files may be fetched, and goes on from there.
func TestFillMirrorBounded(t *testing.T) {
	dir := modelCorpus(t, 120)
	fillTexts(t, dir, 9)
	write(t, filepath.Join(dir, "config.yaml"), fmt.Sprintf(fillConfig, 2))
	_, hub := hubOf(t, filepath.Join(dir, "all"))
	o := mixOptions(dir)
	o.Rows, o.Seeds = 20, 1
	var came []string
	fill := stages.MirrorFill{MixOptions: o, FilesMax: 1, Now: func() string { return "now" },
		OnFile: func(source string, f mirror.File, n int64) {
			if n == f.Bytes {
				came = append(came, f.Name)
			}
		}}
	exam, _, err := stages.FillMirror(t.Context(), hub, mixProfile(t), fill)
	slices.Sort(came)
	if err != nil || !slices.Equal(came, []string{"math/00.jsonl", "web/00.jsonl"}) || len(exam.Short) != 1 {
		t.Fatalf("%q came, short: %q, %v", came, exam.Short, err)
	}
	few, err := stages.OpenMix(t.Context(), store.OS(), mixProfile(t), filepath.Join(dir, "base"), o)
	if err != nil || few.Key != exam.Key || len(few.Short) != 1 || few.Rows == 0 || few.Rows >= 20 ||
		!strings.Contains(few.Short[0], "the mirror lacks owner/set/math math/01.jsonl") {
		t.Errorf("%d rows, %q, %v", few.Rows, few.Short, err)
	}
	fill.FilesMax = 0
	came = nil
	exam, filled, err := stages.FillMirror(t.Context(), hub, mixProfile(t), fill)
	if err != nil || len(exam.Short) > 0 || slices.Contains(came, "math/00.jsonl") || filled[1].Fetched != filled[1].Needed-1 {
		t.Fatalf("%q came, %+v, short: %q, %v", came, filled, exam.Short, err)
	}
	whole, err := stages.OpenMix(t.Context(), store.OS(), mixProfile(t), filepath.Join(dir, "base"), o)
	if err != nil || whole.Rows != 20 {
		t.Fatal(whole.Rows, err)
	}
	for i := range few.Rows { // what few files gave is the beginning
		if few.BySeed[0][i] != whole.BySeed[0][i] {
			t.Errorf("row %d differs", i)
		}
	}
}

func TestFillMirrorNamesTheSource(t *testing.T) {
	dir := modelCorpus(t, 120)
	fillTexts(t, dir, 9)
	_, hub := hubOf(t, filepath.Join(dir, "all"))
	write(t, filepath.Join(dir, "config.yaml"), strings.Replace(fmt.Sprintf(fillConfig, 2), "owner/set, name: math", "owner/none", 1))
	fill := stages.MirrorFill{MixOptions: mixOptions(dir), Now: func() string { return "now" }}
	_, _, err := stages.FillMirror(t.Context(), hub, mixProfile(t), fill)
	if err == nil || !strings.HasPrefix(err.Error(), "source owner/none: hf://datasets/owner/none@main: the hub wants a token, or there is no "+
		"such data set") {
		t.Error(err)
	}
}
