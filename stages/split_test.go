package stages_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// splitCorpus is a data set in every format, with records of all kinds around which a file
// of lines may be cut.
func splitCorpus(t *testing.T) string {
	t.Helper()
	dir := corpus(t, 30)
	name := filepath.Join(dir, "data", "b.jsonl")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	long := fmt.Sprintf(`{"id":9,"text":%q}`, strings.Repeat("too long ", 120))
	lines := "\ufeff" + strings.ReplaceAll(string(data), "\n", "\r\n") + "\r\n \t\r\n\n" + long + "\n{\"text\":\"an end without a line\"}"
	write(t, name, lines)
	write(t, filepath.Join(dir, "data", "empty.jsonl"), "")
	write(t, filepath.Join(dir, "data", "c.jsonl.gz"), string(gzipped(t, data[:len(data)/2])))
	groups, err := os.ReadFile("testdata/groups.parquet") // five row groups
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "data", "d.parquet"), string(groups))
	return dir
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := store.NewCompressor(&b, store.Gzip, store.EffortDefault)
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const splitPlan = `
name: split
seed: 7
keep_dropped: true
input:
  - path: data/*
    source: s
    record_bytes_max: 1KiB
held_out: {fraction: 0.1}
max_reject_fraction: 0.5
stages:
  - normalize: {}
  - quality: {preset: connito}
  - exact_dedup: {}
  - minhash: {}
  - mix: {weights: {s: 1}}
  - export: {format: jsonl}
`

// splitRun is what a run leaves that must not depend on how its input was cut.
type splitRun struct {
	out            map[string]string
	drops, rejects string
	result         string
	fates          []pipeline.Fate
}

func runSplit(t *testing.T, dir string, opt pipeline.Options) splitRun {
	t.Helper()
	p := parse(t, dir, splitPlan)
	got := splitRun{out: outTree(t, p, opt)}
	read := func(name string) string {
		data, err := store.ReadAll(opt.FS, filepath.Join(opt.Workdir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	got.drops, got.rejects = read(pipeline.DropsName), read(pipeline.RejectsName)
	res, err := pipeline.Run(context.Background(), p, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range res.Inputs { // a large file is compared by the hashes of its ranges
		res.Inputs[i].SHA256, res.Inputs[i].RangeBytes = "", 0
	}
	data, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	got.result = string(data)
	for _, text := range []string{"w1 ", "altered", "short", "no such"} {
		fates, _, err := pipeline.Why(context.Background(), opt.FS, opt.Workdir, func(d *pipeline.Doc) bool {
			return strings.Contains(d.Text, text) || d.Ref.Record == 17
		})
		if err != nil {
			t.Fatal(err)
		}
		got.fates = append(got.fates, fates...)
	}
	slices.SortFunc(got.fates, func(a, b pipeline.Fate) int { return strings.Compare(a.Name, b.Name) })
	return got
}

func sameRun(t *testing.T, what string, got, want splitRun) {
	t.Helper()
	sameTree(t, what, got.out, want.out)
	if got.drops != want.drops || got.rejects != want.rejects {
		t.Errorf("%s: the drop log is the same: %v; the rejects are: %v", what, got.drops == want.drops, got.rejects == want.rejects)
	}
	if got.result != want.result {
		t.Errorf("%s: the result is\n%s\nwant\n%s", what, got.result, want.result)
	}
	if !reflect.DeepEqual(got.fates, want.fates) {
		t.Errorf("%s: fates are\n%+v\nwant\n%+v", what, got.fates, want.fates)
	}
}

// TestSplitFiles cuts the input files into ranges down to the size of a record: what comes
// out is what whole files give.
func TestSplitFiles(t *testing.T) {
	dir := splitCorpus(t)
	for _, c := range []struct{ limit, bytes int64 }{{0, 600}, {0, 3000}, {31, 600}, {31, 3000}} {
		opt := options(dir)
		opt.Limit, opt.Workdir = c.limit, filepath.Join(dir, fmt.Sprint("whole", c))
		want := runSplit(t, dir, opt)
		opt.RangeBytes, opt.Workdir = c.bytes, filepath.Join(dir, fmt.Sprint("cut", c))
		sameRun(t, fmt.Sprintf("limit %d, ranges of %d bytes", c.limit, c.bytes), runSplit(t, dir, opt), want)
	}
}

// TestSplitFileResumes interrupts a run inside a file: the parts that were done are not
// read again.
func TestSplitFileResumes(t *testing.T) {
	dir := splitCorpus(t)
	opt := options(dir)
	want := runSplit(t, dir, opt)
	opt.Workdir, opt.RangeBytes, opt.Workers = filepath.Join(dir, "cut"), 600, 1
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := map[string]bool{}
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "done" && strings.Contains(e.Task, "a.jsonl (") {
			if done[e.Task] = true; len(done) == 5 {
				cancel()
			}
		}
	}
	if _, err := pipeline.Run(ctx, parse(t, dir, splitPlan), opt); !errors.Is(err, context.Canceled) {
		t.Fatalf("the interrupted run says %v", err)
	}
	reused := map[string]bool{}
	opt.OnEvent = func(e pipeline.Event) {
		switch {
		case e.Kind == "start" && done[e.Task] && !reused[e.Task]:
			t.Errorf("%s runs again", e.Task)
		case e.Kind == "reused":
			reused[e.Task] = true
		}
	}
	outTree(t, parse(t, dir, splitPlan), opt)
	opt.OnEvent = nil
	sameRun(t, "after an interruption", runSplit(t, dir, opt), want)
	if len(done) != 5 || len(reused) < 5 {
		t.Errorf("%d parts were done and %d reused", len(done), len(reused))
	}
}

// TestSplitFileTouched gives a file that is read by ranges another time and then, at the
// same length, another content.
func TestSplitFileTouched(t *testing.T) {
	dir := splitCorpus(t)
	opt := options(dir)
	opt.RangeBytes = 1000
	outTree(t, parse(t, dir, splitPlan), opt)
	for i, name := range []string{"a.jsonl", "d.parquet"} {
		name = filepath.Join(dir, "data", name)
		later := time.Now().Add(time.Duration(i+1) * time.Hour)
		if err := os.Chtimes(name, later, later); err != nil {
			t.Fatal(err)
		}
		if ran := started(t, parse(t, dir, splitPlan), opt); len(ran) != 0 {
			t.Errorf("%s has another time, and %v ran", name, ran)
		}
	}
	name := filepath.Join(dir, "data", "a.jsonl")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, strings.Replace(string(data), "w1", "w2", 1))
	if ran := started(t, parse(t, dir, splitPlan), opt); len(ran) == 0 {
		t.Error("another content of the same length, and nothing ran")
	}
}

// TestLimitStopsReading checks that a limit ends the reading of a large file: of the tasks
// behind it none opens it.
func TestLimitStopsReading(t *testing.T) {
	dir := t.TempDir()
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "{\"text\":\"a document with the number %d\"}\n", i)
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), lines.String())
	opt := options(dir)
	counted := &openCounter{FS: opt.Inputs, count: map[string]int{}}
	opt.Inputs, opt.Limit, opt.RangeBytes = counted, 100, 2000
	plan := parse(t, dir, "name: p\ninput: [{path: data/*.jsonl, source: s}]\nstages: [{normalize: {}}, {export: {format: jsonl}}]\n")
	res, err := pipeline.Run(context.Background(), plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	if n := counted.count["a.jsonl"]; n > 8 || res.Inputs[0].Records != 100 || res.Inputs[0].SHA256 != "" {
		t.Errorf("%d times opened, %+v", n, res.Inputs[0])
	}
}
