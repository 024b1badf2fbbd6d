package stages_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// TestExportIsTheSameForAnyMemory writes a data set with memory for all of it, and with
// far less, by one worker and by several.
func TestExportIsTheSameForAnyMemory(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		jsonl(t, filepath.Join(dir, "data", fmt.Sprint(i, ".jsonl")), sentences(uint64(i), 700, 200)...)
	}
	jsonl(t, filepath.Join(dir, "rare.jsonl"), sentences(9, 50, 200)...)
	for _, format := range []string{"parquet", "jsonl.zst"} {
		plan := "name: p\ninput: [{path: data, source: s}, {path: rare.jsonl, source: r}]\nstages:\n" +
			"  - mix: {weights: {s: 4, r: 1}, repeat_max: 4}\n  - export: {format: " + format +
			", shard_bytes_max: 128KiB, files_multiple: 3}\n"
		var want map[string]string
		for _, memory := range []int64{1 << 30, 400_000} {
			for _, workers := range []int{1, 4} {
				opt := options(dir)
				opt.Workdir = filepath.Join(dir, fmt.Sprint("run", format, memory, workers))
				opt.MemoryBytes, opt.Workers = memory, workers
				run(t, dir, plan, opt)
				got := filesBelow(t, opt.FS, filepath.Join(opt.Workdir, "out", "data", "data"))
				if want == nil {
					want = got
				}
				if len(got) != len(want) || len(got) < 6 {
					t.Fatalf("%s, %d bytes, %d workers: %d files, want %d", format, memory, workers, len(got), len(want))
				}
				for name := range want {
					if got[name] != want[name] {
						t.Errorf("%s, %d bytes, %d workers: %s differs", format, memory, workers, name)
					}
				}
				if left, _ := opt.FS.ReadDir(filepath.Join(opt.Workdir, "scratch")); len(left) > 0 {
					t.Errorf("scratch files are left: %v", left)
				}
			}
		}
	}
}

// filesBelow are the contents of a folder's files by name.
func filesBelow(t *testing.T, fsys store.FS, dir string) map[string]string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		data, err := store.ReadAll(fsys, filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

// TestExportRoundTripIsExact writes records as Parquet with typed columns and reads them
// back as JSONL: every record is as it came.
func TestExportRoundTripIsExact(t *testing.T) {
	lines := []string{
		`{"id":1,"text":"first","score":0.5,"tags":["a","b"],"when":"2024-05-01T12:00:00Z","meta":{"k" :  [1, 2]}}`,
		`{"when":"2024-05-01T12:00:00.25Z","text":"caf\u00e9 \ud83d\ude00","id":2,"score":1e400,"tags":[],"ok":true}`,
		`{"b":-0,"a":123456789012345678901234567890,"text":"\u003c\/","score":-0,"ok":"no","id":1.0,"tags":"none"}`,
		`{"text":"last","when":"yesterday","tags":[null,"x"],"ok":null,"\u0062":1,"extra":{"extra":0},"text_original":5}`,
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "in.jsonl"), strings.Join(lines, "\n"))
	opt := options(dir)
	plan := "name: p\ninput: [{path: in.jsonl, source: s}]\nstages:\n  - export:\n      files_multiple: 2\n" +
		"      columns: {score: float64, tags: 'list<string>', when: timestamp, ok: bool, id: int64}\n"
	res := run(t, dir, plan, opt)
	stage, err := res.Stage("export")
	if err != nil {
		t.Fatal(err)
	}
	notes := fmt.Sprint(stage.Notes)
	for _, want := range []string{"column id: 1 values do not fit int64", "column ok: 1 values", "column score: 1 values",
		"column tags: 1 values do not fit list<string>", "column when: 1 values do not fit timestamp"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in %s", want, notes)
		}
	}
	back := options(dir)
	back.Workdir = filepath.Join(dir, "back")
	run(t, dir, "name: b\ninput: [{path: 'run/out/data/data/*.parquet', source: s}]\nstages: [{export: {format: jsonl}}]\n", back)
	slices.Sort(lines)
	if got := exportedLines(t, back); !slices.Equal(got, lines) {
		t.Errorf("back came\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

func TestExportColumnsAreChecked(t *testing.T) {
	for plan, want := range map[string]string{
		"{columns: {a: float32}}":              `"float32" is none of string, int64`,
		"{columns: {text: string}}":            `"text" is no name for a column`,
		"{columns: {a: bool}, format: jsonl}":  "is for format: parquet",
		"{columns: {a: 'list<list<string>>'}}": "is none of string, int64",
	} {
		_, err := pipeline.ParsePlan("plan.yaml", []byte("name: p\ninput: [{path: a.jsonl}]\nstages: [{export: "+plan+"}]\n"),
			stages.All(), pipeline.ParseOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", plan, err, want)
		}
	}
}
