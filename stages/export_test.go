package stages_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"bzdata/pipeline/store"
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
