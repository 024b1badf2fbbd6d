package store

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// tree makes files (and, by a trailing slash, directories) below a fresh directory.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		path := filepath.Join(root, name)
		dir := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if err := os.WriteFile(path, []byte("{}\n"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestExpand(t *testing.T) {
	root := tree(t, "a/x.jsonl", "a/y.jsonl.gz", "a/.hidden.jsonl", "a/.tmp-z.jsonl", "a/README.md", "a/b/x.parquet",
		"a/b/c/x.jsonl", "a/.git/x.jsonl", "a-b/x.jsonl", "a1/x.jsonl", "a2/x.ndjson.zst", "a10/x.json", "odd[1].jsonl",
		"odd1.jsonl", "empty/", "docs/notes.txt", "B/x.jsonl")
	for _, c := range []struct{ pattern, prefix, names string }{
		{"a/x.jsonl", "a", "a/x.jsonl"},
		{"docs/notes.txt", "docs", "docs/notes.txt"},
		{"a", "a", "a/b/c/x.jsonl a/b/x.parquet a/x.jsonl a/y.jsonl.gz"},
		{"a/", "a", "a/b/c/x.jsonl a/b/x.parquet a/x.jsonl a/y.jsonl.gz"},
		{"a/*", "a", "a/x.jsonl a/y.jsonl.gz"},
		{"a/*.jsonl", "a", "a/x.jsonl"},
		{"a/**/x.*", "a", "a/b/c/x.jsonl a/b/x.parquet a/x.jsonl"},
		{"a/**", "a", "a/b/c/x.jsonl a/b/x.parquet a/x.jsonl a/y.jsonl.gz"},
		{"a/**/**/*.jsonl", "a", "a/b/c/x.jsonl a/x.jsonl"},
		{"**/c/*", ".", "a/b/c/x.jsonl"},
		{"*/x.jsonl", ".", "B/x.jsonl a-b/x.jsonl a/x.jsonl a1/x.jsonl"},
		{"a?/x.*", ".", "a1/x.jsonl a2/x.ndjson.zst"},
		{"a[0-9]/x.*", ".", "a1/x.jsonl a2/x.ndjson.zst"},
		{"a[^0-9b]*/*", ".", "a-b/x.jsonl"},
		{"a/.hid*", "a", "a/.hidden.jsonl"},
		{"a/.git/*", "a/.git", "a/.git/x.jsonl"},
		{"odd[1].jsonl", ".", "odd[1].jsonl"},
		{"odd\\[1].jsonl", ".", "odd[1].jsonl"},
		{"odd?.jsonl", ".", "odd1.jsonl"},
	} {
		prefix, names, err := Expand(OS(), root+"/"+c.pattern)
		for i := range names {
			names[i] = strings.TrimPrefix(names[i], root+"/")
		}
		rel, relErr := filepath.Rel(root, prefix)
		if errors.Join(err, relErr) != nil || rel != c.prefix || strings.Join(names, " ") != c.names {
			t.Errorf("%s: prefix %s, names %v, %v", c.pattern, prefix, names, err)
		}
	}
}

func TestExpandNoMatch(t *testing.T) {
	root := tree(t, "docs/notes.txt", "docs/more.txt", "empty/")
	for pattern, unknown := range map[string]int{
		"none.jsonl": 0, "no/such/dir/*.jsonl": 0, "empty": 0, "empty/*": 0, "docs": 2, "docs/*.txt": 2, "docs/n*": 1,
	} {
		_, _, err := Expand(OS(), filepath.Join(root, pattern))
		var none *NoMatchError
		if !errors.As(err, &none) || none.Unknown != unknown || !strings.Contains(err.Error(), pattern) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	if _, _, err := Expand(OS(), root+"/[a"); err == nil || !strings.Contains(err.Error(), "bad pattern") {
		t.Errorf("an open bracket: %v", err)
	}
	if err := os.Chmod(root+"/empty", 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Expand(OS(), root+"/**"); os.Geteuid() != 0 && !errors.Is(err, os.ErrPermission) {
		t.Errorf("a directory that may not be read: %v", err)
	}
}

func TestExpandRelative(t *testing.T) {
	t.Chdir(tree(t, "x.jsonl", "d/y.jsonl"))
	for pattern, want := range map[string][]string{
		"x.jsonl": {"x.jsonl"}, "*.jsonl": {"x.jsonl"}, ".": {"d/y.jsonl", "x.jsonl"}, "./d": {"d/y.jsonl"}, "**/y*": {"d/y.jsonl"},
	} {
		if _, names, err := Expand(OS(), pattern); err != nil || !reflect.DeepEqual(names, want) {
			t.Errorf("%s: %v, %v", pattern, names, err)
		}
	}
}

func TestExpandLinks(t *testing.T) {
	root := tree(t, "real/x.jsonl", "real/sub/y.jsonl", "d/z.jsonl")
	for name, target := range map[string]string{
		"d/file.jsonl": "../real/x.jsonl", "d/dir": "../real", "d/self": "../d", "d/nowhere.jsonl": "none", "out": "real",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string]string{
		"d":             "d/file.jsonl d/z.jsonl",
		"d/**":          "d/file.jsonl d/z.jsonl",
		"out":           "out/sub/y.jsonl out/x.jsonl",
		"d/dir/*":       "d/dir/x.jsonl",
		"d/d*/x.jsonl":  "d/dir/x.jsonl",
		"d/**/dir/*":    "d/dir/x.jsonl",
		"d/**/self/**":  "d/self/file.jsonl d/self/z.jsonl",
		"d/self/self/*": "d/self/self/file.jsonl d/self/self/z.jsonl",
	} {
		_, names, err := Expand(OS(), filepath.Join(root, pattern))
		if got := strings.ReplaceAll(strings.Join(names, " "), root+"/", ""); err != nil || got != want {
			t.Errorf("%s: %s, %v", pattern, got, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	root := tree(t, "data/a/x.jsonl")
	name := filepath.Join(root, "data/a/x.jsonl")
	when := time.Unix(1_700_000_000, 123_456_789)
	if err := os.Chtimes(name, when, when); err != nil {
		t.Fatal(err)
	}
	got, err := IdentityOf(OS(), filepath.Join(root, "data"), name)
	if want := (Identity{Path: "a/x.jsonl", Bytes: 3, ModTimeNS: when.UnixNano()}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := IdentityOf(OS(), root, filepath.Join(root, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}
