package stages_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// TestDamagedReferences reads damaged files that are no input.
func TestDamagedReferences(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 5, 20)...)
	for _, name := range []string{"x.jsonl.gz", "x.jsonl.zst", "x.parquet"} {
		file := filepath.Join(dir, name)
		write(t, file, "no such thing at all")
		for _, plan := range []string{
			"name: p\ninput: [{path: data}]\nstages: [{exact_dedup: {against: [{path: " + name + "}]}}, {export: {}}]\n",
			"name: p\ninput: [{path: data}]\nheld_out: [{path: " + name + "}]\nstages: [{export: {}}]\n",
		} {
			is[*pipeline.DataError](t, fails(t, dir, plan, options(dir), file, "fetch it again"))
		}
	}
}

// TestDisksFail reads whole files from a disk that fails, and damaged ones that are written anew
// meanwhile: a retry helps.
func TestDisksFail(t *testing.T) {
	texts := sentences(1, 400, 30)
	for _, name := range []string{"x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.parquet"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "data", name)
		records(t, file, texts)
		opt := options(dir)
		opt.Inputs = faultFS{FS: store.OS(), readLimit: 100, fail: func(op, at string) error {
			if op == "read" && strings.HasSuffix(at, name) {
				return &fs.PathError{Op: op, Path: at, Err: syscall.EIO}
			}
			return nil
		}}
		plainError(t, fails(t, dir, plainPlan, opt, file, "input/output error"))
		if name == "x.jsonl" {
			continue
		}
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		opt = options(dir)
		opt.OnEvent = func(e pipeline.Event) {
			if e.Kind == "start" {
				damaged := slices.Clone(whole)
				copy(damaged[4:], make([]byte, len(whole)/2))
				write(t, file, string(damaged))
			}
		}
		plainError(t, fails(t, dir, plainPlan, opt, file, "changed during the run", "run again"))
	}
}

// records writes a file of records, packed as its name says.
func records(t *testing.T, file string, texts []string) {
	t.Helper()
	var lines strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&lines, "{\"text\":%q}\n", text)
	}
	switch filepath.Ext(file) {
	case ".parquet":
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		parquetFile(t, file, texts...)
	case ".jsonl":
		write(t, file, lines.String())
	default:
		compressed(t, file, []byte(lines.String()))
	}
}
