package pipeline

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"bzdata/pipeline/store"
)

// countedFS counts how often files are opened.
type countedFS struct {
	store.FS
	opened int
}

func (f *countedFS) Open(name string) (store.ReadFile, error) {
	f.opened++
	return f.FS.Open(name)
}

// pinned is one file that is pinned again and again.
type pinned struct {
	t         *testing.T
	fsys      *countedFS
	dir, name string
	opt       Options
}

func newPinned(t *testing.T) *pinned {
	dir, now := t.TempDir(), time.Now()
	return &pinned{t, &countedFS{FS: store.OS()}, dir, filepath.Join(dir, "file"),
		Options{FS: store.OS(), Workdir: dir, Now: func() time.Time { return now }}}
}

// put writes the file, with a time before now.
func (p *pinned) put(text string, age time.Duration) {
	p.t.Helper()
	if err := os.WriteFile(p.name, []byte(text), 0o666); err != nil {
		p.t.Fatal(err)
	}
	at := p.opt.Now().Add(-age)
	if err := os.Chtimes(p.name, at, at); err != nil {
		p.t.Fatal(err)
	}
}

// sum pins the file and returns its hash, having opened it so many times in all.
func (p *pinned) sum(ids *identities, opened int) string {
	p.t.Helper()
	f, err := pin(p.fsys, p.dir, p.name, "file", contentKeyedBytes, ids)
	if err != nil || f.sha256 == "" || f.identity != "file "+f.sha256 {
		p.t.Fatalf("%+v, %v", f, err)
	}
	if p.fsys.opened != opened {
		p.t.Errorf("opened %d times, want %d", p.fsys.opened, opened)
	}
	return f.sha256
}

// TestIdentities hashes a file once, also over runs, as long as size and time are the same.
func TestIdentities(t *testing.T) {
	p := newPinned(t)
	p.put("first", time.Minute)
	ids := readIdentities(p.opt)
	first := p.sum(ids, 1)
	p.sum(ids, 1)
	if err := ids.write(p.opt.FS, p.dir); err != nil {
		t.Fatal(err)
	}
	if again := p.sum(readIdentities(p.opt), 1); again != first {
		t.Errorf("%s in the next run, was %s", again, first)
	}
	fresh := p.opt
	fresh.Fresh = true
	p.sum(readIdentities(fresh), 2)
	p.put("other", time.Minute+time.Nanosecond)
	if p.sum(readIdentities(p.opt), 3) == first {
		t.Error("another file of the same size has the same identity")
	}
	if err := os.WriteFile(filepath.Join(p.dir, identitiesName), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	p.put("first", time.Minute)
	if p.sum(readIdentities(p.opt), 4) != first {
		t.Error("a damaged record gives another identity")
	}
}

// TestIdentitiesOfYoungFiles hashes a file again whose time is so young that it may change within it.
func TestIdentitiesOfYoungFiles(t *testing.T) {
	p := newPinned(t)
	p.put("third", time.Second)
	ids := readIdentities(p.opt)
	third := p.sum(ids, 1)
	p.put("4th 4", time.Second)
	if p.sum(ids, 2) == third {
		t.Error("a file that was just written is taken to be the same by its time")
	}
	f, err := pin(p.fsys, p.dir, p.name, "file", Read{ByTime: true}.contentBytes(), ids)
	if err != nil || f.sha256 != "" || p.fsys.opened != 2 {
		t.Errorf("by time: %+v, %v, opened %d times", f, err, p.fsys.opened)
	}
}

// closing tells that it was closed.
type closing struct{ closed *int }

func (c closing) Close() error { *c.closed++; return nil }

// TestWarm gives what was put to one taker, and closes what nobody takes.
func TestWarm(t *testing.T) {
	a, b := 0, 0
	var none *Warm
	if none.Take("x") != nil || none.Put("x", closing{&a}) != nil || a != 1 {
		t.Errorf("nothing is kept, and closed %d times", a)
	}
	w := NewWarm()
	if w.Put("x", closing{&a}) != nil || w.Take("x") == nil || w.Take("x") != nil || a != 1 {
		t.Errorf("closed %d times, want 1", a)
	}
	if w.Put("x", closing{&a}) != nil || w.Put("x", closing{&b}) != nil || a != 2 || b != 0 {
		t.Errorf("replaced: closed %d and %d times, want 2 and 0", a, b)
	}
	if w.Close() != nil || b != 1 || w.Take("x") != nil {
		t.Errorf("at the end: closed %d times, want 1", b)
	}
}
