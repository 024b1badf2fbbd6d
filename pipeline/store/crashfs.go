package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ErrCrashed is what every operation of a [CrashFS] returns once its power is cut.
var ErrCrashed = errors.New("the machine has crashed")

// CrashFS is a file system in memory that remembers what a disk would have kept. It
// behaves like [OS], and [CrashFS.Crash] shows it as a power cut would leave it:
//
//   - a file's content survives as of its last Sync;
//   - a name survives as of the last SyncDir of the directory it stands in, for new
//     files, directories, links, renames and removals alike. Sync of a file does not
//     save its name, and SyncDir does not save the directory's own name above it;
//   - a rename inside one directory is kept or undone as one; a rename between two
//     directories is an entry in each, kept or undone separately.
//
// That is what POSIX promises and no more; most real file systems keep more. Relative
// names start at the root, a slash at the end of a name says nothing, and owners and
// permissions do not exist. It is safe for concurrent use.
type CrashFS struct {
	mu        sync.Mutex
	root      *crashNode
	nodes     uint64 // made so far; the next node's number
	clock     int64  // mutating operations before and after crashes; the time of day
	log       []string
	stopAfter int // operations; negative is never
	writeRoom int64
	writeErr  error // when not nil, writing fails after writeRoom bytes
}

var _ FS = (*CrashFS)(nil)

// crashNode is a file, a directory or a link: live as the program sees it, and as the
// disk has it.
type crashNode struct {
	number uint64
	mode   fs.FileMode
	time   int64
	target string // of a link

	data, synced []byte // of a file; an array is never changed below the length shared
	dirtyFrom    int    // offset of the first change since the last sync; -1 is none

	live, disk map[string]*crashNode // of a directory
	pending    []nameChange          // from disk to live, in order
}

// nameChange sets a name of a directory to a node, or removes it (node is nil), and
// removes the name from, if any, in the same step.
type nameChange struct {
	name string
	node *crashNode
	from string
}

func (ch nameChange) apply(names map[string]*crashNode) {
	delete(names, ch.from) // the empty name is never there
	if ch.node == nil {
		delete(names, ch.name)
	} else {
		names[ch.name] = ch.node
	}
}

func (d *crashNode) change(ch nameChange) {
	ch.apply(d.live)
	d.pending = append(d.pending, ch)
}

// NewCrashFS returns an empty file system with a root directory.
func NewCrashFS() *CrashFS {
	c := &CrashFS{stopAfter: -1}
	c.root = c.newNode(fs.ModeDir | 0o755)
	return c
}

func (c *CrashFS) newNode(mode fs.FileMode) *crashNode {
	n := &crashNode{number: c.nodes, mode: mode, time: c.clock, dirtyFrom: -1}
	if mode.IsDir() {
		n.live, n.disk = map[string]*crashNode{}, map[string]*crashNode{}
	}
	c.nodes++
	return n
}

// FromDir returns a CrashFS that holds, under the same name, a copy of a directory of
// the operating system: files, directories and links, all of it synced.
func FromDir(dir string) (*CrashFS, error) {
	c := NewCrashFS()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return c.MkdirAll(name)
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return c.Symlink(target, name)
		case e.Type().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return writeSynced(c, name, func(w io.Writer) error { _, err := w.Write(data); return err })
		}
		return fmt.Errorf("copy %s: %s is no file, directory or link", dir, name)
	})
	if err != nil {
		return nil, err
	}
	return c.Crash(KeepAll), nil
}

// StopAfter cuts the power once [CrashFS.Ops], counted since the file system was made,
// reaches n: every later operation, reading and closing too, returns [ErrCrashed].
func (c *CrashFS) StopAfter(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopAfter = n
}

// FailWrites makes writing fail with err, as on a full disk (syscall.ENOSPC), after
// n more bytes: the write that reaches the limit is cut short. A nil err lifts it.
func (c *CrashFS) FailWrites(n int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeRoom, c.writeErr = n, err
}

// Ops counts the operations that changed something: create, write, sync, rename,
// remove, mkdir (one for each directory made), symlink and syncdir.
func (c *CrashFS) Ops() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log)
}

// Log returns the operations that [CrashFS.Ops] counts, in order, as text:
//
//	create NAME | write NAME BYTES | sync NAME | rename OLD NEW | remove NAME |
//	mkdir NAME | symlink TARGET NAME | syncdir NAME
func (c *CrashFS) Log() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// Tree is [Tree] of the file system as it is, even if its power is cut; it is empty
// if root is not there.
func (c *CrashFS) Tree(root string) map[string]string {
	tree, err := Tree(c.Crash(KeepAll), root)
	if err != nil {
		return map[string]string{}
	}
	return tree
}

// Tree describes what stands below a directory, to compare two of them. Keys are paths
// below root; a file's value is the SHA-256 of its content in hexadecimal, a link's is
// "-> " and its target, a directory's is "directory".
func Tree(fsys FS, root string) (map[string]string, error) {
	tree := map[string]string{}
	var walk func(dir, prefix string) error
	walk = func(dir, prefix string) error {
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name, key := filepath.Join(dir, e.Name()), prefix+e.Name()
			if tree[key], err = describe(fsys, name, e); err != nil {
				return err
			}
			if e.IsDir() {
				if err := walk(name, key+"/"); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return tree, walk(root, "")
}

func describe(fsys FS, name string, e fs.DirEntry) (string, error) {
	switch {
	case e.IsDir():
		return "directory", nil
	case e.Type() == fs.ModeSymlink:
		target, err := fsys.Readlink(name)
		return "-> " + target, err
	}
	data, err := ReadAll(fsys, name)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// CrashMode says what a power cut leaves of unsynced changes: [LoseUnsynced],
// [KeepAll] or [Torn].
type CrashMode interface {
	content(n *crashNode) []byte
	names(n *crashNode) map[string]*crashNode
}

type fixedMode int

const (
	// LoseUnsynced leaves only what was synced.
	LoseUnsynced fixedMode = iota
	// KeepAll leaves everything.
	KeepAll
)

func (m fixedMode) content(n *crashNode) []byte {
	if m == KeepAll {
		return n.data
	}
	return n.synced
}

func (m fixedMode) names(n *crashNode) map[string]*crashNode {
	if m == KeepAll {
		return n.live
	}
	return n.disk
}

type tornMode struct{ seed uint64 }

// Torn leaves a random part of what was not synced, the same for the same seed and
// operations: of each file, the content up to a random point after the last sync (a
// file that was truncated may also have its old content back); of each directory, the
// changes of its names each kept or lost by the toss of a coin, in order.
func Torn(seed uint64) CrashMode { return tornMode{seed} }

func (m tornMode) random(n *crashNode) *rand.Rand { return rand.New(rand.NewPCG(m.seed, n.number)) }

func (m tornMode) content(n *crashNode) []byte {
	if n.dirtyFrom < 0 {
		return n.data
	}
	r := m.random(n)
	if n.dirtyFrom < len(n.synced) && r.IntN(2) == 0 {
		return n.synced
	}
	return n.data[:n.dirtyFrom+r.IntN(len(n.data)-n.dirtyFrom+1)]
}

func (m tornMode) names(n *crashNode) map[string]*crashNode {
	r, names := m.random(n), maps.Clone(n.disk)
	for _, ch := range n.pending {
		if r.IntN(2) == 0 {
			ch.apply(names)
		}
	}
	return names
}

// Crash returns the file system as the disk would show it after a power cut now; c
// itself is unchanged. In the copy everything is synced, nothing is counted and no
// failure is set. Times go on, so that a file changed later has a later time.
func (c *CrashFS) Crash(mode CrashMode) *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &CrashFS{clock: c.clock, stopAfter: -1}
	cp := crashCopier{out, mode, map[*crashNode]*crashNode{}, map[*crashNode]bool{}}
	out.root = cp.copy(c.root)
	return out
}

// crashCopier copies a tree as a crash leaves it. A file that survives under two names
// is one file; a directory that does is two, and is left out below itself.
type crashCopier struct {
	out   *CrashFS
	mode  CrashMode
	files map[*crashNode]*crashNode
	above map[*crashNode]bool
}

func (cp *crashCopier) copy(n *crashNode) *crashNode {
	if done := cp.files[n]; done != nil {
		return done
	}
	to := cp.out.newNode(n.mode)
	to.time, to.target = n.time, n.target
	if !n.mode.IsDir() {
		data := slices.Clip(cp.mode.content(n))
		to.data, to.synced = data, data
		cp.files[n] = to
		return to
	}
	cp.above[n] = true
	names := cp.mode.names(n)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if child := names[name]; !cp.above[child] {
			to.live[name] = cp.copy(child)
		}
	}
	to.disk = maps.Clone(to.live)
	delete(cp.above, n)
	return to
}

// start begins an operation; the caller holds the lock.
func (c *CrashFS) start(op, name string) error {
	if c.stopAfter >= 0 && len(c.log) >= c.stopAfter {
		return pathError(op, name, ErrCrashed)
	}
	return nil
}

// done counts an operation that changed the nodes; the caller holds the lock.
func (c *CrashFS) done(line string, changed ...*crashNode) {
	c.clock++
	c.log = append(c.log, line)
	for _, n := range changed {
		n.time = c.clock
	}
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
