package stages

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/eval/network"
	"bzdata/pipeline/store"
)

// TestLocalRows reads pages across files in one pass, by the column that there is.
func TestLocalRows(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for k, column := range []string{"content", "text"} {
		var b strings.Builder
		for i := range 130 {
			fmt.Fprintf(&b, "{\"other\":1,%q:\"row %d\"}\n", column, 130*k+i)
		}
		files = append(files, filepath.Join(dir, fmt.Sprint(k)+".jsonl"))
		if err := os.WriteFile(files[k], []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	l := &localRows{fsys: store.OS(), files: files}
	if n, err := l.count(); err != nil || n != 260 {
		t.Fatal(n, err)
	}
	pages := []network.Page{{Offset: 107}, {Offset: 7}, {Offset: 207}}
	got, err := l.read(pages)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range pages {
		var want []string
		for row := range int64(network.PageRows) {
			want = append(want, fmt.Sprintf("row %d", p.Offset+row))
		}
		if !slices.Equal(got[i], want) {
			t.Errorf("page from %d: %q", p.Offset, got[i])
		}
	}
	few := &localRows{fsys: store.OS(), files: files[:1]}
	few.n = 60
	if got, err := few.read([]network.Page{{}}); err != nil || len(got[0]) != 60 {
		t.Errorf("of few rows all are a page: %d, %v", len(got[0]), err)
	}
	if err := os.WriteFile(files[1], []byte("{\"text\":\"a\"}\n{\"x\":1}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	bad := &localRows{fsys: store.OS(), files: files[1:]}
	for range 2 { // a second time, too
		if n, err := bad.count(); err == nil || !strings.Contains(err.Error(), "neither text nor content") {
			t.Errorf("%d rows, %v", n, err)
		}
	}
}
