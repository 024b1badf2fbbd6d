package stages_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// slowAgainst is the rule of minhash with other documents that win: the texts that stay.
func slowAgainst(docs, against []nearDoc, verify float64, prefer func(a, b nearDoc) int) []string {
	rest := slices.Clone(docs)
	for _, b := range against {
		rest = slices.DeleteFunc(rest, func(d nearDoc) bool {
			return len(slowNear([]nearDoc{b, d}, verify, func(a, b nearDoc) int { return 0 })) == 1
		})
	}
	return slowNear(rest, verify, prefer)
}

const againstPlan = `
name: p
seed: 7
input: [{path: s0, source: s0}, {path: s1, source: s1}]
stages:
  - minhash: {verify: 0.7, keep: longest, against: [{path: "b/s0/*.jsonl"}, {path: b/s1, template: "{{text}}"}]%s}
  - export: {format: jsonl}
`

// TestMinHashAgainst compares with the rule for several budgets, workers and with an index.
func TestMinHashAgainst(t *testing.T) {
	all := nearCorpus(t, 11, 1200)
	var docs, against []nearDoc
	for i, d := range all {
		if i%4 == 0 {
			against = append(against, d)
		} else {
			docs = append(docs, d)
		}
	}
	dir := t.TempDir()
	writeNear(t, dir, docs)
	writeNear(t, filepath.Join(dir, "b"), against)
	longest := func(a, b nearDoc) int { return len(b.text) - len(a.text) }
	want := slowAgainst(docs, against, 0.7, longest)
	if len(want) > len(slowNear(docs, 0.7, longest))-30 {
		t.Fatal("the corpus tests little")
	}
	var logs []string
	for i, c := range []struct {
		bytes   int64
		workers int
		index   string
	}{{1 << 30, 2, ""}, {2 << 20, 1, ""}, {64 << 20, 5, ", index: {dir: state, generation: d1}"}} {
		opt := options(dir)
		opt.MemoryBytes, opt.Workers, opt.Workdir = c.bytes, c.workers, filepath.Join(dir, fmt.Sprint("run", i))
		run(t, dir, fmt.Sprintf(againstPlan, c.index), opt)
		if got := textsOf(t, exportedLines(t, opt)); !slices.Equal(got, want) {
			t.Errorf("%+v: %d documents stay, by the rule %d", c, len(got), len(want))
		}
		logs = append(logs, matches(t, opt, against))
	}
	if logs[0] != logs[1] || logs[0] != logs[2] {
		t.Error("the matches differ")
	}
	// The next generation is compared with files and index, which does not hold copies of them.
	res := run(t, dir, fmt.Sprintf(againstPlan, ", index: {dir: state, generation: d2}"), options(dir))
	if l := ledger(t, res, "minhash"); l.Kept > 0 || l.In != int64(len(docs)) {
		t.Errorf("of %d documents that were there before %d stay", l.In, l.Kept)
	}
}

// nothingLeft runs a plan that must fail.
func nothingLeft(t *testing.T, dir, plan, want string) {
	t.Helper()
	_, err := pipeline.Run(t.Context(), parse(t, dir, plan), options(dir))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// drop is what a row of the drop log says.
type drop struct {
	File    string
	Row     int
	Reason  string
	Matched string
	Value   float64
}

func dropLog(t *testing.T, opt pipeline.Options) []drop {
	t.Helper()
	var out []drop
	name := filepath.Join(opt.Workdir, filepath.FromSlash(pipeline.DropsName))
	err := store.ReadRows(opt.FS, name, store.RowOptions{}, func(row *store.Row) error {
		out = append(out, drop{})
		return errors.Join(row.Bad, json.Unmarshal(row.Raw, &out[len(out)-1]))
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// matches lists what was dropped for which document, and checks that a file's name leads to one.
func matches(t *testing.T, opt pipeline.Options, against []nearDoc) string {
	t.Helper()
	row, texts := map[string]int{}, map[string]nearDoc{}
	for _, d := range against {
		name := filepath.Join("b", d.source, d.file+".jsonl")
		texts[fmt.Sprint(name, ":", row[name])] = d
		row[name]++
	}
	var b strings.Builder
	named := 0
	for _, d := range dropLog(t, opt) {
		fmt.Fprintln(&b, d.File, d.Row, d.Matched, d.Value)
		if strings.HasPrefix(d.Matched, "b/") {
			named++
			if _, ok := texts[d.Matched]; !ok {
				t.Errorf("no document is called %s", d.Matched)
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d documents are copies of those in files", named)
	}
	return b.String()
}

// againstCut runs a plan with files cut into parts of some size, and returns what it exports, its
// drop log, and how often files of against were opened.
func againstCut(t *testing.T, dir, plan string, rangeBytes int64, workers int) ([]string, []drop, int64) {
	t.Helper()
	opt := options(dir)
	opt.RangeBytes, opt.Workers, opt.Workdir, opt.Fresh = rangeBytes, workers, filepath.Join(dir, "run"), true
	var opened atomic.Int64
	opt.Inputs = faultFS{FS: store.OS(), fail: func(op, name string) error {
		if op == "open" && strings.HasPrefix(name, filepath.Join(dir, "b")) {
			opened.Add(1)
		}
		return nil
	}}
	run(t, dir, plan, opt)
	times := opened.Load()
	opt.Fresh = false
	if ran := startedTasks(t, dir, plan, opt); len(ran) > 0 {
		t.Errorf("all is done, and tasks ran: %v", ran)
	}
	return textsOf(t, exportedLines(t, opt)), dropLog(t, opt), times
}

// TestAgainstIsCut has large files of against, of which shards read parts: they give what they
// give whole.
func TestAgainstIsCut(t *testing.T) {
	dir := t.TempDir()
	all := nearCorpus(t, 12, 900)
	var docs []nearDoc
	var texts []string
	for i, d := range all {
		if i%3 == 0 {
			docs = append(docs, d)
		} else {
			texts = append(texts, d.text, "") // with rows that are nothing
		}
	}
	for i := 0; i < len(docs); i += 5 {
		texts = append(texts, docs[i].text)
	}
	writeNear(t, dir, docs)
	jsonl(t, filepath.Join(dir, "b", "x.jsonl"), texts...)
	jsonl(t, filepath.Join(dir, "b", "y.jsonl"), texts[:99]...)
	for _, stage := range []string{"minhash: {verify: 0.7", "exact_dedup: {compare: words"} {
		plan := `
name: p
input: [{path: s0, source: s0}, {path: s1, source: s1}]
stages:
  - ` + stage + `, against: [{path: b/x.jsonl}, {path: b/y.jsonl}]}
  - export: {format: jsonl}
`
		want, wantDrops, few := againstCut(t, dir, plan, 1<<30, 1)
		if len(wantDrops) < 20 {
			t.Fatalf("%s: %d documents are dropped: this tests little", stage, len(wantDrops))
		}
		for _, workers := range []int{1, 4} {
			got, drops, many := againstCut(t, dir, plan, 4<<10, workers)
			if !slices.Equal(got, want) || !slices.Equal(drops, wantDrops) {
				t.Errorf("%s: of files that are cut %d documents stay and %d go, want %d and %d", stage,
					len(got), len(drops), len(want), len(wantDrops))
			}
			if many < few+20 {
				t.Errorf("%s: files are opened %d times whole, and %d times cut", stage, few, many)
			}
		}
	}
}

// TestExactAgainst drops copies of rows, whatever keep says, and names the first.
func TestExactAgainst(t *testing.T) {
	dir := t.TempDir()
	var a, b []string
	for i, text := range sentences(3, 60, 12) {
		if i%2 == 0 {
			a = append(a, text, text)
		}
		if i%3 == 0 {
			b = append(b, text, strings.ToUpper(text))
		}
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), a...)
	jsonl(t, filepath.Join(dir, "b", "x.jsonl"), b[:20]...)
	jsonl(t, filepath.Join(dir, "b", "y.jsonl"), b[20:]...)
	plan := `
name: p
input: [{path: data, source: s}]
stages:
  - exact_dedup: {keep: longest, against: [{path: b}]%s}
  - export: {format: jsonl}
`
	want := slices.DeleteFunc(slices.Clone(a), func(text string) bool { return slices.Contains(b, text) })
	slices.Sort(want)
	want = slices.Compact(want)
	for i, index := range []string{"", ", index: {dir: state, generation: d1}"} {
		opt := options(dir)
		opt.MemoryBytes = cmp.Or(int64(i)<<20, 1<<30)
		run(t, dir, fmt.Sprintf(plan, index), opt)
		if got := textsOf(t, exportedLines(t, opt)); !slices.Equal(got, want) {
			t.Errorf("%d documents stay, want %d", len(got), len(want))
		}
		for _, d := range dropLog(t, opt) {
			at := slices.Index(b, a[d.Row])
			name := fmt.Sprintf("b/x.jsonl:%d", at)
			if at >= 20 {
				name = fmt.Sprintf("b/y.jsonl:%d", at-20)
			}
			if at >= 0 && d.Matched != name {
				t.Errorf("row %d names %s, want %s", d.Row, d.Matched, name)
			}
		}
	}
	// Another file there is another result.
	jsonl(t, filepath.Join(dir, "b", "z.jsonl"), a...)
	nothingLeft(t, dir, fmt.Sprintf(plan, ""), "no document is left after stage exact_dedup")
	write(t, filepath.Join(dir, "b", "z.jsonl"), "{\n")
	nothingLeft(t, dir, fmt.Sprintf(plan, ""), "z.jsonl")
}

// TestAgainstMovesWithTheShards adds an input that sorts first: what read the files is then
// another shard.
func TestAgainstMovesWithTheShards(t *testing.T) {
	dir := t.TempDir()
	texts := sentences(8, 40, 30)
	jsonl(t, filepath.Join(dir, "data", "m.jsonl"), texts[:20]...)
	jsonl(t, filepath.Join(dir, "b", "x.jsonl"), texts[5:15]...)
	jsonl(t, filepath.Join(dir, "b", "y.jsonl"), texts[15:25]...)
	const plan = `
name: p
input: [{path: data, source: s}]
stages:
  - exact_dedup: {against: [{path: b/x.jsonl}]}
  - minhash: {against: [{path: b/y.jsonl}]}
  - export: {format: jsonl}
`
	opt := options(dir)
	kept := func() int {
		run(t, dir, plan, opt)
		return len(exportedLines(t, opt))
	}
	if n := kept(); n != 5 {
		t.Errorf("%d documents stay, want 5", n)
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts[20:]...)
	if n := kept(); n != 20 {
		t.Errorf("with a file before %d documents stay, want 20", n)
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), "")
	if n := kept(); n != 5 {
		t.Errorf("with an empty file before %d documents stay, want 5", n)
	}
}
