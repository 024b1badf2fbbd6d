package mirror

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

// answers is a datasets server that says the same always.
type answers string

func (a answers) View(_, _ string, _ url.Values, answer any) error {
	return json.Unmarshal([]byte(a), answer)
}

// TestSplits leaves the configuration default out, and takes the last split of one, as Python's dict does.
func TestSplits(t *testing.T) {
	p := Pages{FS: store.OS(), Dir: t.TempDir(), Path: "owner/set"}
	if _, err := p.Splits(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a list: %v", err)
	}
	got, err := p.UpdateSplits(answers(`{"size": {"splits": [{"config": "default", "split": "train", "num_rows": 9},
		{"config": "b", "split": "train", "num_rows": 1}, {"config": "a", "split": "train", "num_rows": 2},
		{"config": "b", "split": "test", "num_rows": 3}]}}`))
	want := []Split{{"b", "test", 3}, {"a", "train", 2}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if kept, err := p.Splits(); err != nil || !slices.Equal(kept, want) {
		t.Errorf("kept: %v, %v", kept, err)
	}
	if _, err := p.UpdateSplits(answers(`{"size": {"splits": [{"config": "../../x", "split": "train", "num_rows": 9}]}}`)); err == nil ||
		!strings.Contains(err.Error(), "leads out of the mirror") {
		t.Errorf("a configuration outside: %v", err)
	}
	if _, err := p.UpdateSplits(answers(`{}`)); err == nil {
		t.Error("a data set without rows has pages")
	}
}

// TestPage reads back what was fetched, and tells a page that was damaged.
func TestPage(t *testing.T) {
	p := Pages{FS: store.OS(), Dir: t.TempDir(), Path: "owner/set"}
	s := Split{Config: "c", Split: "train"}
	hub := answers(`{"rows": [{"row_idx": 7, "row": {"text": "a\nb", "content": "no"}}, {"row_idx": 8, "row": {"content": ""}}]}`)
	n, err := p.Fetch(t.Context(), hub, s, 7, 50)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if got, err := p.Read(s, 7); err != nil || !slices.Equal(got, []string{"a\nb", ""}) {
		t.Errorf("%q, %v", got, err)
	}
	if n, err = p.Fetch(t.Context(), answers("{"), s, 7, 50); n != 0 || err != nil {
		t.Errorf("a page that is there: %d bytes, %v", n, err)
	}
	if _, err := p.Fetch(t.Context(), answers(`{"rows": [{"row_idx": 1, "row": {"blob_id": "x"}}]}`), s, 1, 50); err == nil ||
		!strings.Contains(err.Error(), "row 1 has neither text nor content") {
		t.Errorf("a row without text: %v", err)
	}
	if _, err := p.Read(s, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a page that is not there: %v", err)
	}
	if files, err := p.Local("c"); err != nil || len(files) != 0 {
		t.Errorf("own files: %v, %v", files, err)
	}
	own := filepath.Join(p.Folder(), "c", "a.jsonl")
	if err := errors.Join(os.MkdirAll(filepath.Dir(own), 0o777), os.WriteFile(own, []byte("{}"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if files, err := p.Local("c"); err != nil || !slices.Equal(files, []string{own}) {
		t.Errorf("own files: %v, %v", files, err)
	}
	if err := os.WriteFile(p.File(s, 7), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(s, 7); err == nil || !strings.Contains(err.Error(), "run bzdata mirror again") {
		t.Errorf("a damaged page: %v", err)
	}
}
