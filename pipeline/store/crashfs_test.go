package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, fsys FS, name, content string, sync bool) {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	_, err = io.WriteString(f, content)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

// content returns a file's content, or "(none)".
func content(c *CrashFS, name string) string {
	data, err := ReadAll(c, name)
	if err != nil {
		return "(none)"
	}
	return string(data)
}

// afterCrash collects, over many seeds, what Torn makes of a file.
func afterCrash(c *CrashFS, name string) []string {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		seen[content(c.Crash(Torn(seed)), name)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func TestCrashContent(t *testing.T) {
	for _, tc := range []struct {
		name             string
		do               func(t *testing.T, c *CrashFS)
		lose, keep, torn string
	}{
		{"synced", func(t *testing.T, c *CrashFS) { put(t, c, "/f", "abc", true) }, "abc", "abc", "abc"},
		{"not synced", func(t *testing.T, c *CrashFS) { put(t, c, "/f", "abc", false) }, "", "abc", "|a|ab|abc"},
		{"appended", func(t *testing.T, c *CrashFS) {
			f, err := c.Create("/f")
			must(t, err)
			_, err = f.Write([]byte("ab"))
			must(t, errors.Join(err, f.Sync()))
			_, err = f.Write([]byte("cd"))
			must(t, err)
		}, "ab", "abcd", "ab|abc|abcd"},
		{"truncated", func(t *testing.T, c *CrashFS) {
			put(t, c, "/f", "old", true)
			put(t, c, "/f", "XY", false)
		}, "old", "XY", "|X|XY|old"},
		{"overwritten by an older handle", func(t *testing.T, c *CrashFS) {
			older, err := c.Create("/f")
			must(t, err)
			_, err = older.Write([]byte("a"))
			must(t, err)
			put(t, c, "/f", "1234", true)
			_, err = older.Write([]byte("b"))
			must(t, err)
		}, "1234", "1b34", "1|1234|1b|1b3|1b34"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewCrashFS()
			put(t, c, "/f", "", true)
			must(t, c.SyncDir("/"))
			tc.do(t, c)
			lose, keep := content(c.Crash(LoseUnsynced), "/f"), content(c.Crash(KeepAll), "/f")
			torn := strings.Join(afterCrash(c, "/f"), "|")
			if lose != tc.lose || keep != tc.keep || torn != tc.torn {
				t.Errorf("lose %q, keep %q, torn %q; want %q, %q, %q", lose, keep, torn, tc.lose, tc.keep, tc.torn)
			}
		})
	}
}

// TestCrashNames checks which names a crash leaves, and which file each leads to.
func TestCrashNames(t *testing.T) {
	state := func(c *CrashFS) string {
		var out []string
		for _, name := range []string{"/a", "/b", "/d/a"} {
			out = append(out, content(c, name))
		}
		return strings.Join(out, " ")
	}
	for _, tc := range []struct {
		name       string
		do         func(c *CrashFS) error
		lose, keep string
		torn       []string
	}{
		{"nothing", func(c *CrashFS) error { return nil }, "A B (none)", "A B (none)", []string{"A B (none)"}},
		{"rename over a file", func(c *CrashFS) error { return c.Rename("/a", "/b") }, "A B (none)", "(none) A (none)",
			[]string{"(none) A (none)", "A B (none)"}},
		{"rename, synced", func(c *CrashFS) error { return errors.Join(c.Rename("/a", "/b"), c.SyncDir("/")) },
			"(none) A (none)", "(none) A (none)", []string{"(none) A (none)"}},
		{"remove", func(c *CrashFS) error { return c.Remove("/a") }, "A B (none)", "(none) B (none)",
			[]string{"(none) B (none)", "A B (none)"}},
		{"move", func(c *CrashFS) error { return c.Rename("/a", "/d/a") }, "A B (none)", "(none) B A",
			[]string{"(none) B (none)", "(none) B A", "A B (none)", "A B A"}},
		{"move, only the new directory synced",
			func(c *CrashFS) error { return errors.Join(c.Rename("/a", "/d/a"), c.SyncDir("/d")) },
			"A B A", "(none) B A", []string{"(none) B A", "A B A"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewCrashFS()
			must(t, c.MkdirAll("/d"))
			put(t, c, "/a", "A", true)
			put(t, c, "/b", "B", true)
			must(t, c.SyncDir("/"))
			must(t, tc.do(c))
			if got := state(c.Crash(LoseUnsynced)); got != tc.lose {
				t.Errorf("lost: %q, want %q", got, tc.lose)
			}
			if got := state(c.Crash(KeepAll)); got != tc.keep || state(c) != got {
				t.Errorf("kept: %q, want %q; live %q", got, tc.keep, state(c))
			}
			torn := map[string]bool{}
			for seed := range uint64(100) {
				torn[state(c.Crash(Torn(seed)))] = true
			}
			if got := slices.Sorted(maps.Keys(torn)); !slices.Equal(got, tc.torn) {
				t.Errorf("torn: %q, want %q", got, tc.torn)
			}
		})
	}
}

// TestCrashCyclicNames moves two directories into each other so that the disk, half
// synced, has each below the other.
func TestCrashCyclicNames(t *testing.T) {
	c := NewCrashFS()
	must(t, c.MkdirAll("/a"))
	must(t, c.MkdirAll("/b"))
	must(t, c.SyncDir("/"))
	must(t, errors.Join(c.Rename("/a", "/b/a"), c.SyncDir("/b"), c.Rename("/b/a", "/a")))
	must(t, errors.Join(c.Rename("/b", "/a/b"), c.SyncDir("/a")))
	got := c.Crash(LoseUnsynced).Tree("/")
	want := map[string]string{"a": "directory", "a/b": "directory", "b": "directory", "b/a": "directory"}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestCrashStopLogAndTimes(t *testing.T) {
	run := func(c *CrashFS) error {
		if err := c.MkdirAll("/x/y"); err != nil {
			return err
		}
		if err := WriteBytes(c, "/x/y/f", []byte("abc")); err != nil {
			return err
		}
		if err := SwapLink(c, "y", "/x/l"); err != nil {
			return err
		}
		return RemoveAll(c, "/x/y")
	}
	whole := NewCrashFS()
	must(t, run(whole))
	want := []string{"mkdir /x", "mkdir /x/y", "create /x/y/.tmp-f", "write /x/y/.tmp-f 3",
		"sync /x/y/.tmp-f", "rename /x/y/.tmp-f /x/y/f", "syncdir /x/y", "symlink y /x/.tmp-l",
		"rename /x/.tmp-l /x/l", "syncdir /x", "remove /x/y/f", "remove /x/y"}
	if got := whole.Log(); !slices.Equal(got, want) || whole.Ops() != len(want) {
		t.Fatalf("%d operations: %q", whole.Ops(), got)
	}
	for n := range want {
		c := NewCrashFS()
		c.StopAfter(n)
		err := run(c)
		if !errors.Is(err, ErrCrashed) || !slices.Equal(c.Log(), want[:n]) {
			t.Fatalf("stopped after %d: %v, %q", n, err, c.Log())
		}
		if _, err := c.Stat("/"); !errors.Is(err, ErrCrashed) {
			t.Errorf("stopped after %d: stat says %v", n, err)
		}
		if next := c.Crash(KeepAll); next.Ops() != 0 || !maps.Equal(next.Tree("/"), c.Tree("/")) {
			t.Errorf("stopped after %d: the next start has %d operations and %v", n, next.Ops(), next.Tree("/"))
		}
	}
	put(t, whole, "/f", "1", true)
	before, err := whole.Stat("/f")
	must(t, err)
	after := whole.Crash(KeepAll)
	put(t, after, "/f", "2", true)
	if now, err := after.Stat("/f"); err != nil || !now.ModTime().After(before.ModTime()) {
		t.Errorf("a later change is not later: %v, %v", before.ModTime(), err)
	}
}

func TestFailWrites(t *testing.T) {
	c := NewCrashFS()
	c.FailWrites(5, syscall.ENOSPC)
	err := WriteFile(c, "/f", func(w io.Writer) error {
		if n, err := w.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("within the room: %d, %v", n, err)
		}
		n, err := w.Write([]byte("defg"))
		if n != 2 || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("at the limit: %d, %v", n, err)
		}
		return err
	})
	if !errors.Is(err, syscall.ENOSPC) || len(c.Tree("/")) != 0 {
		t.Errorf("full disk: %v, left %v", err, c.Tree("/"))
	}
	c.FailWrites(0, nil)
	must(t, WriteBytes(c, "/f", []byte("abcdef")))
	if content(c.Crash(LoseUnsynced), "/f") != "abcdef" {
		t.Error("lifted: the file is not there")
	}
}

// crashes calls check with what every mode leaves after every operation of run, which
// starts each time from a copy of start.
func crashes(t *testing.T, start *CrashFS, run func(FS) error, check func(c *CrashFS, where string)) {
	t.Helper()
	whole := start.Crash(KeepAll)
	must(t, run(whole))
	for n := range whole.Ops() + 1 {
		c := start.Crash(KeepAll)
		c.StopAfter(n)
		if err := run(c); (n < whole.Ops()) != errors.Is(err, ErrCrashed) {
			t.Fatalf("stopped after %d of %d operations: %v", n, whole.Ops(), err)
		}
		modes := []CrashMode{LoseUnsynced, KeepAll}
		for seed := range uint64(50) {
			modes = append(modes, Torn(seed))
		}
		for _, mode := range modes {
			check(c.Crash(mode), fmt.Sprintf("after %d operations, %#v, last %q", n, mode, c.Log()[max(0, n-1):]))
		}
		if n == whole.Ops() && !maps.Equal(c.Crash(LoseUnsynced).Tree("/"), whole.Tree("/")) {
			t.Errorf("something done is not durable: %q", whole.Log())
		}
	}
}

func TestWriteFileIsWhole(t *testing.T) {
	start := NewCrashFS()
	must(t, WriteBytes(start, "/f", []byte("old content")))
	seen := map[string]bool{}
	crashes(t, start, func(fsys FS) error {
		return WriteFile(fsys, "/f", func(w io.Writer) error {
			_, err1 := w.Write([]byte("new "))
			_, err2 := w.Write([]byte("text"))
			return errors.Join(err1, err2)
		})
	}, func(c *CrashFS, where string) {
		got := content(c, "/f")
		if got != "old content" && got != "new text" {
			t.Errorf("%s: %q", where, got)
		}
		seen[got] = true
	})
	if len(seen) != 2 {
		t.Errorf("seen only %v", seen)
	}
}

func TestSwapLinkIsWhole(t *testing.T) {
	start := NewCrashFS()
	must(t, SwapLink(start, "old", "/link"))
	crashes(t, start, func(fsys FS) error { return SwapLink(fsys, "new", "/link") },
		func(c *CrashFS, where string) {
			if got, err := c.Readlink("/link"); err != nil || (got != "old" && got != "new") {
				t.Errorf("%s: %q, %v", where, got, err)
			}
		})
}

// TestCommitDirIsWhole checks that a directory appears with all it holds or not at
// all, and that over an older directory new and old content never mix.
func TestCommitDirIsWhole(t *testing.T) {
	fill := func(fsys FS, dir, text string) error {
		if err := fsys.MkdirAll(dir + "/sub"); err != nil {
			return err
		}
		for _, name := range []string{"/1", "/2", "/sub/3"} {
			write := func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
			if err := writeSynced(fsys, dir+name, write); err != nil {
				return err
			}
		}
		return nil
	}
	commit := func(fsys FS, text string) error {
		if err := fill(fsys, "/.tmp-d", text); err != nil {
			return err
		}
		return CommitDir(fsys, "/.tmp-d", "/d")
	}
	old := NewCrashFS()
	must(t, commit(old, "old"))
	for name, start := range map[string]*CrashFS{"none before": NewCrashFS(), "an older one": old} {
		t.Run(name, func(t *testing.T) {
			crashes(t, start, func(fsys FS) error { return commit(fsys, "new") }, func(c *CrashFS, where string) {
				var texts []string
				for _, f := range []string{"/d/1", "/d/2", "/d/sub/3"} {
					texts = append(texts, content(c, f))
				}
				if slices.Contains(texts, "new") && strings.Join(texts, " ") != "new new new" {
					t.Errorf("%s: %q", where, texts)
				}
				if name == "none before" && texts[0] == "(none)" && Exists(c, "/d") {
					t.Errorf("%s: an empty directory appeared", where)
				}
				if slices.Contains(texts, "") {
					t.Errorf("%s: a file is cut: %q", where, texts)
				}
			})
		})
	}
}

func TestFromDir(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "a/f"), []byte("text"), 0o644))
	must(t, os.Symlink("f", filepath.Join(root, "a/l")))
	c, err := FromDir(root)
	must(t, err)
	want, err := Tree(OS(), root)
	must(t, err)
	if got := c.Tree(root); !maps.Equal(got, want) || len(got) != 4 {
		t.Errorf("%v, want %v", got, want)
	}
	if c.Ops() != 0 || !maps.Equal(c.Crash(LoseUnsynced).Tree(root), want) {
		t.Errorf("the copy is not durable: %d operations", c.Ops())
	}
	if _, err := FromDir(filepath.Join(root, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if got := c.Tree("/none"); len(got) != 0 {
		t.Errorf("tree of nothing: %v", got)
	}
}

// TestCrashFSConcurrent writes from many goroutines while crashes are taken.
func TestCrashFSConcurrent(t *testing.T) {
	c := NewCrashFS()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				name := fmt.Sprintf("/f%d", (i+j)%5)
				if err := WriteBytes(c, fmt.Sprintf("/%d-%d", i, j), []byte(name)); err != nil {
					t.Error(err)
				}
				c.Crash(Torn(uint64(j)))
			}
		})
	}
	wg.Wait()
	if got := len(c.Crash(LoseUnsynced).Tree("/")); got != 160 || c.Ops() != 160*5 {
		t.Errorf("%d files after %d operations", got, c.Ops())
	}
}
