package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote"
	"bzdata/pipeline/store/remote/remotetest"
	"bzdata/train/checkpoint"
)

const readme = `---
license: mit
configs:
- config_name: en
  default: true
  data_files:
  - split: train
    path: [en/part-*.jsonl, en/more/*.jsonl]
  - split: validation
    path: en/valid.jsonl
- config_name: old
  data_dir: old
- config_name: flat
  data_files: flat/*.jsonl
---
# A set
`

func hubFiles() map[string][]byte {
	files := map[string][]byte{"README.md": []byte(readme)}
	for _, name := range []string{"en/part-1.jsonl", "en/part-0.jsonl", "en/valid.jsonl", "en/more/x.jsonl",
		"old/train/a.jsonl", "old/test/b.jsonl", "flat/z.jsonl", "flat/y.jsonl"} {
		files[name] = bytes.Repeat([]byte(`{"text":"`+name+`"}`+"\n"), 20)
	}
	files["flat/small.jsonl"] = []byte("{}\n")
	return files
}

func newHub(t *testing.T, files map[string][]byte, changes ...func(*remotetest.Hub)) (*remotetest.Hub, *remote.FS) {
	t.Helper()
	h := remotetest.NewHub("owner/set", files, changes...)
	t.Cleanup(h.Close)
	return h, newFS(t, h, t.TempDir())
}

func newFS(t *testing.T, h *remotetest.Hub, home string) *remote.FS {
	t.Helper()
	env := map[string]string{"HF_ENDPOINT": h.URL, "HF_HOME": home}
	fsys := remote.New(t.Context(), store.OS(), remote.Options{Attempts: 2, Jitter: rand.New(rand.NewPCG(1, 2)),
		Env:   func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Sleep: func(context.Context, time.Duration) error { return nil }})
	t.Cleanup(func() { fsys.Close() })
	return fsys
}

func source(name, split, dir string) Source {
	return Source{Path: "owner/set", Name: name, Split: split, DataDir: dir, Revision: "main"}
}

func TestList(t *testing.T) {
	_, hub := newHub(t, hubFiles())
	for _, c := range []struct {
		source Source
		want   string
	}{
		{source("en", "train", ""), "en/part-0.jsonl en/part-1.jsonl en/more/x.jsonl"},
		{source("", "validation", ""), "en/valid.jsonl"},
		{source("old", "train", ""), "old/train/a.jsonl"},
		{source("flat", "train", ""), "flat/small.jsonl flat/y.jsonl flat/z.jsonl"},
		{source("", "test", "old"), "old/test/b.jsonl"},
		{source("de", "train", ""), "error owner/set: has no configuration de; set name to one of en, old, flat"},
		{source("en", "test", ""), "error owner/set: its configuration en has no split test; it has train, validation"},
		{source("", "train", "nowhere"), `error owner/set has no JSONL or Parquet file below "nowhere"`},
		{Source{Path: "owner/none", Split: "train", Revision: "main"}, "error hf://datasets/owner/none@main: the hub wants a token, " +
			"or there is no such data set; check the name"},
		{Source{Path: "./here", Split: "train", Revision: "main"}, "error ./here at revision main is no data set of the hub"},
		{Source{Path: "owner/set", Split: "train", Revision: "v9"}, "error hf://datasets/owner/set@v9: the data set has no revision v9"},
	} {
		m, err := List(hub, c.source)
		if want, bad := strings.CutPrefix(c.want, "error "); bad {
			var place *store.LocationError
			if !errors.As(err, &place) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v: %v, want %s", c.source, err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range m.Files {
			names = append(names, f.Name)
		}
		if strings.Join(names, " ") != c.want || m.Commit != remotetest.Commit {
			t.Errorf("%v: %v of %s, want %s", c.source, names, m.Commit, c.want)
		}
	}
}

// TestListWithoutConfigs tells splits by names of files, and takes a name for a folder.
func TestListWithoutConfigs(t *testing.T) {
	_, hub := newHub(t, map[string][]byte{"en/train.jsonl": []byte("{}\n"), "en/test.jsonl": []byte("{}\n"), "de/train.jsonl": []byte("{}\n"),
		"a.txt": []byte("x")})
	for name, want := range map[string]string{"en": "en/train.jsonl", "": "de/train.jsonl en/train.jsonl"} {
		m, err := List(hub, source(name, "train", ""))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range m.Files {
			names = append(names, f.Name)
		}
		if strings.Join(names, " ") != want {
			t.Errorf("%q: %v, want %s", name, names, want)
		}
	}
}

func gated(h *remotetest.Hub) { h.Token, h.Gated = "secret", true }

func TestGatedSource(t *testing.T) {
	_, hub := newHub(t, hubFiles(), gated)
	_, err := List(hub, source("en", "train", ""))
	var place *store.LocationError
	if !errors.As(err, &place) || !strings.Contains(err.Error(), "accept its terms at") || !strings.Contains(err.Error(), "set HF_TOKEN") {
		t.Error(err)
	}
}

// clock counts calls in place of time.
func clock() func() string {
	n := 0
	return func() string { n++; return fmt.Sprint(n) }
}

func openFolder(t *testing.T, hub *remote.FS, dir string) *Folder {
	t.Helper()
	f, err := OpenFolder(hub, hub, dir, clock())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// gets are the requests for content.
func gets(h *remotetest.Hub) (out []string) {
	for _, r := range h.Requests() {
		if strings.HasPrefix(r, "GET /en/") || strings.HasPrefix(r, "GET /flat/") || strings.Contains(r, "/resolve/") {
			out = append(out, r)
		}
	}
	return out
}

func TestFolder(t *testing.T) {
	files := hubFiles()
	h, hub := newHub(t, files)
	dir := filepath.Join(t.TempDir(), "mirror")
	f := openFolder(t, hub, dir)
	s := source("en", "train", "")
	m, err := f.Update(s)
	if err != nil {
		t.Fatal(err)
	}
	seen := int64(0)
	if err := f.Fetch(t.Context(), m, 0, func(n int64) { seen = n }); err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(dir, "owner", "set", "en", "en", "part-0.jsonl")
	got, err := os.ReadFile(place)
	if err != nil || !bytes.Equal(got, files["en/part-0.jsonl"]) || seen != int64(len(got)) || !f.Has(m, 0) || f.Has(m, 1) {
		t.Fatalf("%d bytes, told of %d, %v", len(got), seen, err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	gets(h)

	// Another run, with an empty cache, has nothing to fetch or to write.
	f = openFolder(t, newFS(t, h, t.TempDir()), dir)
	if m, err = f.Update(s); err != nil {
		t.Fatal(err)
	}
	if err := f.Fetch(t.Context(), m, 0, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range gets(h) {
		if !strings.HasSuffix(r, "README.md") {
			t.Errorf("%s again", r)
		}
	}
	again, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil || !bytes.Equal(again, manifest) {
		t.Errorf("the manifest changed from\n%s\nto\n%s\n%v", manifest, again, err)
	}
	testFilesOf(t, dir, place)
	testLostManifest(t, h, dir)
}

func testFilesOf(t *testing.T, dir, place string) {
	t.Helper()
	m, err := Read(store.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s := source("en", "train", "")
	files, names, err := m.FilesOf(store.OS(), dir, s)
	if err != nil || !slices.Equal(files, []string{place, "", ""}) || names[2] != "en/more/x.jsonl" {
		t.Errorf("%q %q, %v", files, names, err)
	}
	s.Split = "validation" // is not in the manifest: whatever lies there
	if files, names, err = m.FilesOf(store.OS(), dir, s); err != nil || !slices.Equal(files, []string{place}) ||
		names[0] != "en/part-0.jsonl" {
		t.Errorf("%q %q, %v", files, names, err)
	}
	if _, _, err := m.FilesOf(store.OS(), dir, Source{Path: "owner/other"}); err == nil || !strings.Contains(err.Error(), "bzdata mirror") {
		t.Error(err)
	}
}

// testLostManifest takes over a copy whose line was lost, and fetches one that was changed.
func testLostManifest(t *testing.T, h *remotetest.Hub, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, ManifestName)); err != nil {
		t.Fatal(err)
	}
	f := openFolder(t, newFS(t, h, t.TempDir()), dir)
	m, err := f.Update(source("en", "train", ""))
	if err != nil {
		t.Fatal(err)
	}
	gets(h)
	if err := f.Fetch(t.Context(), m, 0, nil); err != nil || len(gets(h)) > 0 || m.Files[0].SHA256 == "" {
		t.Errorf("%v, %v", m.Files[0], err)
	}
	place := m.Place(dir, 0)
	old, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(place, bytes.ToUpper(old), 0o666); err != nil {
		t.Fatal(err)
	}
	m.Files[0].SHA256 = ""
	if err := f.Fetch(t.Context(), m, 0, nil); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(place); err != nil || !bytes.Equal(now, old) {
		t.Errorf("the copy is %.40q, %v", now, err)
	}
}

// TestChangedSet lists a data set anew whose files changed, and keeps those that did not.
func TestChangedSet(t *testing.T) {
	h, hub := newHub(t, hubFiles())
	dir := t.TempDir()
	f := openFolder(t, hub, dir)
	s := source("flat", "train", "")
	m, err := f.Update(s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Files {
		if err := f.Fetch(t.Context(), m, i, nil); err != nil {
			t.Fatal(err)
		}
	}
	h.Put("flat/y.jsonl", []byte(strings.Repeat("{\"text\":\"new\"}\n", 50)))
	f = openFolder(t, newFS(t, h, t.TempDir()), dir)
	if m, err = f.Update(s); err != nil {
		t.Fatal(err)
	}
	if !f.Has(m, 0) || f.Has(m, 1) || !f.Has(m, 2) {
		t.Errorf("%+v", m.Files)
	}
	if err := f.Fetch(t.Context(), m, 1, nil); err != nil || !f.Has(m, 1) {
		t.Error(err)
	}
}

// TestInterrupted leaves no file that is not whole.
func TestInterrupted(t *testing.T) {
	_, hub := newHub(t, hubFiles())
	dir := t.TempDir()
	f := openFolder(t, hub, dir)
	m, err := f.Update(source("en", "train", ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Fetch(ctx, m, 1, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	err = filepath.WalkDir(filepath.Join(dir, "owner"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is there", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSourcesOf(t *testing.T) {
	sets, err := SourcesOf(checkpoint.GroupData{DatasetSources: []checkpoint.DatasetSource{
		{Path: "o/a", Name: "x", Weight: 0.2}, {Path: "o/a", Name: "y", Weight: 0.3, Split: "test"}, {Path: "o/b", Weight: 0.5, Revision: "v1",
			TextColumn: "body"}}})
	if err != nil || len(sets) != 3 {
		t.Fatal(err)
	}
	for i, want := range []Weighted{{Source{"o/a", "x", "train", "", "main"}, 0.2, "text", "o/a/x"},
		{Source{"o/a", "y", "test", "", "main"}, 0.3, "text", "o/a/y"}, {Source{"o/b", "", "train", "", "v1"}, 0.5, "body", "o/b"}} {
		if sets[i] != want {
			t.Errorf("%+v, want %+v", sets[i], want)
		}
	}
	for _, data := range []checkpoint.GroupData{{}, {DatasetName: "../../etc"},
		{DatasetSources: []checkpoint.DatasetSource{{Path: "a/b", TextTemplate: "{x}"}}}} {
		if _, err := SourcesOf(data); err == nil {
			t.Errorf("%+v has sources", data)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for text, says := range map[string]string{"{": "run bzdata mirror again", `{"version": 2}`: "version 2",
		`{"version": 1, "sources": [{"folder": "a", "files": [{"file": "../../x"}]}]}`: "outside"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ManifestName), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(store.OS(), dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", text, err, says)
		}
	}
}
