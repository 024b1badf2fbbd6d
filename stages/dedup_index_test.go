package stages_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
)

// days draws texts for each day: new ones, edits of the same day's and of earlier days'.
func days(seed uint64, n, each int) [][]string {
	rng := rand.New(rand.NewPCG(seed, 3))
	var all []string
	out := make([][]string, n)
	for day := range out {
		for range each {
			text := strings.Fields(sentence(rng, 15+rng.IntN(40)))
			if len(all) > 0 && rng.IntN(3) == 0 {
				text = strings.Fields(all[rng.IntN(len(all))])
				for range rng.IntN(3) {
					text[rng.IntN(len(text))] = fmt.Sprint("edit", rng.IntN(9))
				}
			}
			out[day] = append(out[day], strings.Join(text, " "))
			all = append(all, out[day][len(out[day])-1])
		}
	}
	return out
}

const nightlyPlan = `
name: p
vars: {date: null}
input: [{path: "data/${date}.jsonl", source: s}]
stages:
  - exact_dedup: {index: {dir: state, generation: "${date}"}}
  - minhash: {verify: 0.7, keep: longest, index: {dir: state, generation: "${date}"}}
  - export: {format: jsonl}
`

// TestNightly runs day after day and compares with one run over all days; then it runs a day
// again.
func TestNightly(t *testing.T) {
	dir := t.TempDir()
	texts := days(1, 5, 400)
	var paths []string
	for i, day := range texts {
		jsonl(t, filepath.Join(dir, "data", fmt.Sprintf("d%d.jsonl", i+8)), day...) // d8 to d12
		paths = append(paths, fmt.Sprintf("{path: data/d%d.jsonl, source: s%02d}", i+8, i))
	}
	night := func(i int, workdir string) []string {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, workdir)
		run(t, dir, strings.Replace(strings.Replace(nightlyPlan, "keep: longest", "keep: first", 1),
			"date: null", fmt.Sprintf("date: d%d", i+8), 1), opt)
		return exportedLines(t, opt)
	}
	var nights []string
	byDay := make([][]string, len(texts))
	for i := range texts {
		byDay[i] = night(i, fmt.Sprint("run", i))
		nights = append(nights, byDay[i]...)
	}
	opt := options(dir)
	run(t, dir, `
name: p
input: [`+strings.Join(paths, ", ")+`]
stages:
  - exact_dedup: {}
  - minhash: {verify: 0.7}
  - export: {format: jsonl}
`, opt)
	all := exportedLines(t, opt)
	slices.Sort(nights)
	if !slices.Equal(all, nights) {
		t.Errorf("day by day %d documents stay, in one run %d", len(nights), len(all))
	}
	if most := len(texts) * 400 * 9 / 10; len(all) > most {
		t.Errorf("%d documents stay: the days overlap too little", len(all))
	}
	before := tree(t, filepath.Join(dir, "state"))
	if again := night(1, "again"); !slices.Equal(again, byDay[1]) {
		t.Errorf("the second day gives %d documents when run again, %d before", len(again), len(byDay[1]))
	}
	if after := tree(t, filepath.Join(dir, "state")); after != before {
		t.Errorf("the index is another one:\n%s\n%s", before, after)
	}
	if err := os.RemoveAll(filepath.Join(dir, "state", "minhash", "d9.json")); err != nil {
		t.Fatal(err)
	}
	night(1, "again") // everything is done; the index is made good
	if after := tree(t, filepath.Join(dir, "state")); after != before {
		t.Error("a run that finds all done does not restore its generation")
	}
}

// tree lists the files below a folder with their contents' hashes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		if !strings.HasSuffix(name, ".json") { // it names the task, and so the folder
			fmt.Fprintf(&b, "%s %x\n", strings.Split(rel, "@")[0], pipeline.ContentHash(string(data)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestIndexIsRefused changes what an index depends on, and damages it.
func TestIndexIsRefused(t *testing.T) {
	dir := t.TempDir()
	for i, day := range days(2, 2, 50) {
		jsonl(t, filepath.Join(dir, "data", fmt.Sprintf("2025-01-0%d.jsonl", i+1)), day...)
	}
	plan := func(date, minhash string) string {
		return strings.NewReplacer("date: null", "date: "+date, "verify: 0.7", minhash).Replace(nightlyPlan)
	}
	opt := options(dir)
	run(t, dir, plan("2025-01-01", "verify: 0.7"), opt)
	for change, want := range map[string]string{
		"bands: 15":        "was made with bands 14, and this plan has 15",
		"rows: 9":          "was made with rows 8, and this plan has 9",
		"shingle_words: 4": "was made with shingle_words 5, and this plan has 4",
	} {
		refused(t, dir, plan("2025-01-02", change), opt, want)
	}
	refused(t, dir, strings.Replace(plan("2025-01-02", "verify: 0.7"), "name: p", "name: p\nseed: 5", 1), opt,
		"was made with seed 0, and this plan has 5")
	refused(t, dir, strings.Replace(plan("2025-01-02", "verify: 0.7"), "exact_dedup: {", "exact_dedup: {compare: words, ", 1), opt,
		"was made with compare text, and this plan has words")
	changeManifest(t, dir, `"words": "1"`, `"words": "0"`)
	refused(t, dir, plan("2025-01-02", "verify: 0.7"), opt, "was made with words 0, and this plan has 1")
	changeManifest(t, dir, `"words": "0"`, `"words": "1"`)
	changeManifest(t, dir, `"format": 3`, `"format": 2`)
	refused(t, dir, plan("2025-01-02", "verify: 0.7"), opt, "2025-01-01.json: its format is 2, and this version reads 3")
	changeManifest(t, dir, `"format": 2`, `"format": 3`)
	run(t, dir, plan("2025-01-02", "verify: 0.8"), opt)
	found, err := filepath.Glob(filepath.Join(dir, "state", "minhash", "2025-01-01@*", "part-00000"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, found[0], string(data[:len(data)-1]))
	opt.Fresh = true
	_, err = pipeline.Run(context.Background(), parse(t, dir, plan("2025-01-02", "verify: 0.8")), opt)
	if err == nil || !strings.Contains(err.Error(), "run the plan of its generation again") {
		t.Errorf("a damaged index: %v", err)
	}
}

// refused asks what a run would do, which must be refused, as the run must.
func refused(t *testing.T, dir, plan string, opt pipeline.Options, want string) {
	t.Helper()
	_, runErr := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	_, err := pipeline.Outlook(parse(t, dir, plan), opt)
	for _, err := range []error{err, runErr} {
		var usage *pipeline.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func changeManifest(t *testing.T, dir, from, to string) {
	t.Helper()
	name := filepath.Join(dir, "state", "minhash", "2025-01-01.json")
	data, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(data), from) {
		t.Fatalf("%v: no %s in %s", err, from, data)
	}
	write(t, name, strings.Replace(string(data), from, to, 1))
}

// TestIndexIsGone repeats a night after one that it read was removed, and puts it back.
func TestIndexIsGone(t *testing.T) {
	n := newNights(t)
	opt := options(n.dir)
	for _, date := range []string{"d0", "d1"} {
		run(t, n.dir, n.plan(date), opt)
	}
	name := filepath.Join(n.dir, "state", "minhash", "d0.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	refused(t, n.dir, n.plan("d1"), opt, "generation d1 was made with d0 before it, and "+name+" is no longer there")
	run(t, n.dir, n.plan("d2"), opt) // was never made with it
	write(t, name, string(data))
	if ran := startedTasks(t, n.dir, n.plan("d1"), opt); len(ran) > 0 {
		t.Errorf("it is back, and tasks ran: %v", ran)
	}
}

// TestIndexAge reads only what is young enough.
func TestIndexAge(t *testing.T) {
	dir := t.TempDir()
	texts := sentences(4, 20, 30)
	dates := []string{"2025-01-01", "2025-01-05", "2025-01-09"}
	for i, date := range dates {
		jsonl(t, filepath.Join(dir, "data", date+".jsonl"), append(slices.Clone(texts[:5]), texts[5*(i+1):5*(i+2)]...)...)
	}
	kept := func(date, age string) int64 {
		opt := options(dir)
		opt.Fresh = true
		plan := strings.NewReplacer("date: null", "date: "+date, `"${date}"}}`, `"${date}", age_max: `+age+"}}").Replace(nightlyPlan)
		return ledger(t, run(t, dir, plan, opt), "minhash").Kept
	}
	kept(dates[0], "96h")
	if n := kept(dates[2], "192h"); n != 5 {
		t.Errorf("a generation of just that age is not read: %d documents stay", n)
	}
	if n := kept(dates[2], "191h"); n != 10 {
		t.Errorf("a generation that is too old is read: %d documents stay", n)
	}
	plan := strings.NewReplacer("date: null", "date: "+dates[2], `"${date}"}}`, `"${date}", age_max: 7d}}`).Replace(nightlyPlan)
	kept(dates[1], "96h")
	w, err := pipeline.Outlook(parse(t, dir, plan), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	const want = "index: 1 earlier generations have 5 documents, "
	for _, s := range w.Stages[:2] {
		if !strings.Contains(s.Note, want) || !strings.Contains(s.Note, "1 older than age_max") ||
			!strings.Contains(s.Note, "the latest, 2025-01-05, added 5 documents") {
			t.Errorf("%s says %s", s.Label, s.Note)
		}
	}
	write(t, filepath.Join(dir, "state", "minhash", "0.json"), "{}")
	refused(t, dir, plan, options(dir), "0.json: its generation is no date, and age_max needs one")
}
