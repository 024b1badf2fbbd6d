package remote

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote/remotetest"
)

// TestUselessPartsAreRemoved looks at what is left of files that nobody downloads.
func TestUselessPartsAreRemoved(t *testing.T) {
	h := newPartHub(t, randomBytes(2*blockBytes))
	other, done := strings.Repeat("ab", 32), hexSHA256(h.data)
	old := time.Now().Add(-partAge - time.Hour)
	kept := map[string]bool{ // and whether it is old
		done + ".incomplete": true, done + ".1a2b3c4d.incomplete": true, // the library's
		other + ".bzdata-0.incomplete": false, other + ".bzdata-3.incomplete": true,
	}
	gone := map[string]bool{other + ".bzdata-1.incomplete": true, done + ".bzdata-7.incomplete": false, done + ".bzdata-0.incomplete": false}
	if err := os.MkdirAll(h.blobs(), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, files := range []map[string]bool{kept, gone} {
		for name, aged := range files {
			name = filepath.Join(h.blobs(), name)
			err := os.WriteFile(name, []byte("something"), 0o600)
			if aged {
				err = errors.Join(err, os.Chtimes(name, old, old))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	held, err := openLocked(filepath.Join(h.blobs(), other+".bzdata-3.incomplete"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	fsys, _ := newTestFS(t, h.env)
	if got, err := readName(fsys, partsFile, readWays["Read"]); err != nil || !bytes.Equal(got, h.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := fsys.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range h.parts() {
		if _, ok := kept[filepath.Base(name)]; !ok {
			t.Errorf("%s is still there", filepath.Base(name))
		}
	}
	if n := len(h.parts()); n != len(kept) {
		t.Errorf("%d of %d parts are there", n, len(kept))
	}
}

// TestLocksThatDoNotHold has parts that are only their makers'.
func TestLocksThatDoNotHold(t *testing.T) {
	h := newPartHub(t, randomBytes(4*blockBytes))
	open := func() *FS {
		fsys, _ := newTestFS(t, h.env)
		fsys.schemes["hf"].(*hubScheme).cache.locks = func(string) bool { return false }
		return fsys
	}
	first, second := open(), open()
	f, g := openName(t, first, partsFile), openName(t, second, partsFile)
	readSome(t, f, 2*blockBytes)
	readSome(t, g, 2*blockBytes)
	if n := len(h.parts()); n != 2 {
		t.Errorf("%d parts of two processes", n)
	}
	kill(first, f)
	left := h.parts()
	h.asked()
	third := open()
	got, err := readName(third, partsFile, readWays["ReadAt"])
	if err != nil || !bytes.Equal(got, h.data) || h.asked()[0] != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := errors.Join(g.Close(), second.Close(), third.Close()); err != nil {
		t.Error(err)
	}
	// What a killed process has left cannot be told from what a live one has.
	if now := h.parts(); len(now) != 1 || !slices.Contains(left, now[0]) {
		t.Errorf("left in the cache: %v", now)
	}
}

// TestClearedCache takes a part's name away in the middle of the download.
func TestClearedCache(t *testing.T) {
	h := newPartHub(t, randomBytes(4*blockBytes))
	fsys, _ := newTestFS(t, h.env)
	got, err := readName(fsys, partsFile, func(f store.ReadFile) ([]byte, error) {
		readSomeAt(t, f, blockBytes)
		if err := os.RemoveAll(filepath.Dir(h.blobs())); err != nil {
			return nil, err
		}
		return readWays["Read"](f)
	})
	if err != nil || !bytes.Equal(got, h.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := readName(fsys, partsFile, readWays["Read"]); err != nil || !bytes.Equal(got, h.data) {
		t.Errorf("once more: %d bytes, %v", len(got), err)
	}
	h.checkDone()
}

// TestOtherContentOfACommit replaces a file after it was first seen.
func TestOtherContentOfACommit(t *testing.T) {
	for what, size := range map[string]int{"large": 3 * blockBytes, "small": 90} {
		data := randomBytes(size + 1)
		h := newPartHub(t, data[1:])
		for way, read := range readWays {
			h.Put("data/big.bin", data[1:])
			fsys, _ := newTestFS(t, h.env)
			if _, err := fsys.Stat(partsFile); err != nil {
				t.Fatal(err)
			}
			h.Put("data/big.bin", data[:size])
			if _, err := readName(fsys, partsFile, read); !errors.Is(err, errChanged) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, %s: %v", what, way, err)
			}
		}
	}
}

// TestRefsAreWrittenAtOnce has several processes note the commit of a branch.
func TestRefsAreWrittenAtOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		l, err := store.ParseLocation("hf://datasets/owner/name@main/a.bin")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := newHubCache(dir).writeRef(&entry{loc: l, commit: remotetest.Commit}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if got := newHubCache(dir).ref(l); err != nil || got != remotetest.Commit || len(files) != 1 {
			t.Errorf("%q, %v, %v", got, files, err)
		}
	}
}
