package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"
)

// fault names the class of an error, by which the two file systems must agree.
func fault(err error) string {
	if err == nil {
		return "ok"
	}
	for name, class := range map[string]error{
		"not exist": fs.ErrNotExist, "exist": syscall.EEXIST, "not empty": syscall.ENOTEMPTY,
		"not a directory": syscall.ENOTDIR, "loop": syscall.ELOOP, "closed": fs.ErrClosed,
		"invalid": syscall.EINVAL, "EOF": io.EOF,
	} {
		if errors.Is(err, class) {
			return name
		}
	}
	return "error"
}

// actor performs operations and writes down what came of each.
type actor struct {
	fsys FS
	root string
	seen []string
}

func (a *actor) path(name string) string { return a.root + "/" + name }

func (a *actor) note(format string, args ...any) {
	a.seen = append(a.seen, fmt.Sprintf(format, args...))
}

func (a *actor) write(name string, parts ...string) {
	f, err := a.fsys.Create(a.path(name))
	a.note("create %s: %s", name, fault(err))
	if err != nil {
		return
	}
	for _, p := range parts {
		n, err := f.Write([]byte(p))
		a.note("write %d: %s", n, fault(err))
	}
	a.note("sync: %s, close: %s, close: %s", fault(f.Sync()), fault(f.Close()), fault(f.Close()))
	n, err := f.Write([]byte("late"))
	a.note("write after close: %d %s, sync: %s", n, fault(err), fault(f.Sync()))
}

func (a *actor) read(name string) {
	data, err := ReadAll(a.fsys, a.path(name))
	a.note("read %s: %q %s", name, data, fault(err))
}

func (a *actor) rename(from, to string) {
	a.note("rename %s %s: %s", from, to, fault(a.fsys.Rename(a.path(from), a.path(to))))
}
func (a *actor) remove(name string) {
	a.note("remove %s: %s", name, fault(a.fsys.Remove(a.path(name))))
}
func (a *actor) mkdir(name string) {
	a.note("mkdir %s: %s", name, fault(a.fsys.MkdirAll(a.path(name))))
}
func (a *actor) syncDir(name string) {
	a.note("syncdir %s: %s", name, fault(a.fsys.SyncDir(a.path(name))))
}
func (a *actor) symlink(target, name string) {
	a.note("symlink %s %s: %s", target, name, fault(a.fsys.Symlink(target, a.path(name))))
}

func (a *actor) list(name string) {
	entries, err := a.fsys.ReadDir(a.path(name))
	a.note("list %s: %s", name, fault(err))
	for _, e := range entries {
		info, err := e.Info()
		a.note("  %s dir=%v type=%v info=%s %v", e.Name(), e.IsDir(), e.Type(), info.Name(), err)
	}
}

func (a *actor) stat(name string) {
	info, err := a.fsys.Stat(a.path(name))
	a.note("stat %s: %s", name, fault(err))
	if err == nil && info.IsDir() {
		a.note("  directory %s %v", info.Name(), info.Mode().Type())
	} else if err == nil {
		a.note("  file %s %d bytes, mode %v", info.Name(), info.Size(), info.Mode().Type())
	}
	target, err := a.fsys.Readlink(a.path(name))
	a.note("readlink %s: %q %s", name, target, fault(err))
}

var scenarios = map[string]func(a *actor){
	"files": func(a *actor) {
		a.write("f", "hello ", "", "world")
		a.read("f")
		a.stat("f")
		a.write("f", "new")
		a.read("f")
		a.read("g")
		a.stat("g")
		a.write("no/f", "x")
		a.write("f/f", "x")
		a.read("f/f")
		a.remove("f")
		a.remove("f")
		a.remove("f/f")
		a.list("")
	},
	"directories": func(a *actor) {
		a.mkdir("a/b/c")
		a.mkdir("a/b/c/")
		a.mkdir("a/./b/../d")
		a.write("a/f", "x")
		a.mkdir("a/f")
		a.mkdir("a/f/g")
		a.remove("a")
		a.remove("a/b/c")
		a.list("a")
		a.list("a/f")
		a.list("a/none")
		a.write("a/b", "x")
		a.read("a/b")
		a.stat("a/b")
		a.syncDir("a")
		a.syncDir("a/f")
		a.syncDir("a/none")
		a.stat("a/../a/f")
		a.stat("a/f/../f")
		a.stat("a/none/../f")
	},
	"renames": func(a *actor) {
		a.write("f", "1")
		a.write("g", "2")
		a.mkdir("d/sub")
		a.mkdir("empty")
		a.rename("f", "g")
		a.read("g")
		a.rename("f", "h")
		a.rename("g", "g")
		a.rename("g", "d")
		a.rename("d", "g")
		a.rename("d", "empty")
		a.rename("d", "d")
		a.rename("d", "d/sub/d")
		a.rename("d", "none/d")
		a.rename("none", "d")
		a.rename("g", "d/sub/g")
		a.read("d/sub/g")
		a.rename("d/sub", "moved")
		a.read("moved/g")
		a.rename("g", "f/g")
		a.list("")
		a.list("d")
	},
	"links": func(a *actor) {
		a.mkdir("d/e")
		a.write("d/f", "in d")
		a.symlink("d", "l")
		a.symlink("f", "d/lf")
		a.symlink("../d/./lf", "d/e/up")
		a.symlink(a.path("d/f"), "absolute")
		a.symlink("nowhere", "dangling")
		a.symlink("loop2", "loop1")
		a.symlink("loop1", "loop2")
		a.symlink("d", "l")
		a.symlink("", "none")
		for _, name := range []string{"l", "l/f", "l/lf", "l/e/up", "absolute", "dangling", "loop1", "loop1/x", "l/../d/f"} {
			a.stat(name)
			a.read(name)
		}
		a.list("l")
		a.list("")
		a.mkdir("l/made")
		a.mkdir("l")
		a.mkdir("dangling")
		a.mkdir("dangling/x")
		a.rename("l/f", "l/g")
		a.read("d/g")
		a.write("dangling", "made through a link")
		a.read("nowhere")
		a.rename("d/g", "l2")
		a.rename("l2", "l")
		a.read("l")
		a.remove("absolute")
		a.remove("loop1")
		a.syncDir("d/e")
		a.list("")
	},
	"open handles": func(a *actor) {
		a.write("f", "0123456789")
		r, err := a.fsys.Open(a.path("f"))
		a.note("open: %s, size %d", fault(err), r.Size())
		buf := make([]byte, 4)
		n, err := r.Read(buf)
		a.note("read %d %q %s", n, buf[:n], fault(err))
		n, err = r.ReadAt(buf, 8)
		a.note("read at %d %q %s", n, buf[:n], fault(err))
		n, err = r.ReadAt(buf, 20)
		a.note("read past %d %s", n, fault(err))
		_, err = r.ReadAt(buf, -1)
		a.note("read before: %s", fault(err))
		a.remove("f")
		rest, err := io.ReadAll(r)
		a.note("rest %q %s", rest, fault(err))
		n, err = r.Read(nil)
		a.note("read nothing %d %s", n, fault(err))
		a.note("close %s %s", fault(r.Close()), fault(r.Close()))
		_, err = r.Read(buf)
		a.note("read after close: %s", fault(err))
		w1, _ := a.fsys.Create(a.path("two"))
		_, _ = w1.Write([]byte("abcdef"))
		w2, _ := a.fsys.Create(a.path("two"))
		_, _ = w2.Write([]byte("XY"))
		_, _ = w1.Write([]byte("g"))
		_, _ = w2.Write([]byte("Z"))
		a.read("two")
		a.rename("two", "three")
		_, _ = w2.Write([]byte("!"))
		a.note("close %s %s", fault(w1.Close()), fault(w2.Close()))
		a.read("three")
	},
	"helpers": func(a *actor) {
		a.note("%s", fault(WriteBytes(a.fsys, a.path("f"), []byte("content"))))
		a.note("%s", fault(WriteBytes(a.fsys, a.path("none/f"), []byte("content"))))
		boom := func(w io.Writer) error { _, _ = w.Write([]byte("half")); return io.EOF }
		a.note("%s", fault(WriteFile(a.fsys, a.path("f"), boom)))
		a.read("f")
		a.mkdir(".tmp-d/sub")
		a.write(".tmp-d/sub/f", "1")
		a.note("%s", fault(CommitDir(a.fsys, a.path(".tmp-d"), a.path("d"))))
		a.mkdir(".tmp-d")
		a.write(".tmp-d/f", "2")
		a.note("%s", fault(CommitDir(a.fsys, a.path(".tmp-d"), a.path("d"))))
		for _, target := range []string{"d", "d", "other"} {
			a.note("%s", fault(SwapLink(a.fsys, target, a.path("link"))))
		}
		a.symlink("d", "d2")
		a.note("%s", fault(RemoveAll(a.fsys, a.path("d2"))))
		tree, err := Tree(a.fsys, a.root)
		a.note("%v %s", tree, fault(err))
		a.note("%s", fault(RemoveAll(a.fsys, a.path("d"))))
		a.note("%s", fault(RemoveAll(a.fsys, a.path("d"))))
		a.list("")
	},
}

// TestCrashFSBehavesLikeOS runs every scenario on both file systems and compares what
// was seen, line by line.
func TestCrashFSBehavesLikeOS(t *testing.T) {
	for name, run := range scenarios {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			real := &actor{fsys: OS(), root: root}
			run(real)
			c := NewCrashFS()
			if err := c.MkdirAll(root); err != nil {
				t.Fatal(err)
			}
			memory := &actor{fsys: c, root: root}
			run(memory)
			for i := range max(len(real.seen), len(memory.seen)) {
				if i >= len(real.seen) || i >= len(memory.seen) || real.seen[i] != memory.seen[i] {
					t.Fatalf("line %d:\n os     %q\n memory %q", i,
						real.seen[min(i, len(real.seen)):], memory.seen[min(i, len(memory.seen)):])
				}
			}
		})
	}
}
