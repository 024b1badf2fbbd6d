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
	"syscall"
	"time"
)

// crashPlace is where a name leads: the directories from the root to the one it stands
// in, its last part, and its node, nil if there is none. A name that ends in a
// directory already passed ("/", "a/..") has no last part.
type crashPlace struct {
	dirs []*crashNode
	base string
	node *crashNode
}

func (p crashPlace) dir() *crashNode { return p.dirs[len(p.dirs)-1] }

// linksMax is how many links Linux follows before it gives up on a name.
const linksMax = 40

// locate finds a name, following links, the last part's only if follow is set.
func (c *CrashFS) locate(name string, follow bool) (crashPlace, error) {
	if name == "" {
		return crashPlace{}, syscall.ENOENT
	}
	p := crashPlace{dirs: []*crashNode{c.root}}
	for parts, links := nameParts(name), 0; len(parts) > 0; {
		part, rest := parts[0], parts[1:]
		parts = rest
		if part == ".." {
			p.dirs = p.dirs[:max(1, len(p.dirs)-1)]
			continue
		}
		child := p.dir().live[part]
		switch {
		case child != nil && child.mode.Type() == fs.ModeSymlink && (follow || len(rest) > 0):
			if links++; links > linksMax {
				return p, syscall.ELOOP
			}
			if filepath.IsAbs(child.target) {
				p.dirs = p.dirs[:1]
			}
			parts = slices.Concat(nameParts(child.target), rest)
		case len(rest) == 0:
			p.base, p.node = part, child
			return p, nil
		case child == nil:
			return p, syscall.ENOENT
		case !child.mode.IsDir():
			return p, syscall.ENOTDIR
		default:
			p.dirs = append(p.dirs, child)
		}
	}
	p.node = p.dir()
	return p, nil
}

func nameParts(name string) []string {
	parts := strings.Split(filepath.ToSlash(name), "/")
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" || s == "." })
}

// find is locate of a name that must be there.
func (c *CrashFS) find(op, name string, follow bool) (*crashNode, error) {
	if err := c.start(op, name); err != nil {
		return nil, err
	}
	p, err := c.locate(name, follow)
	if err == nil && p.node == nil {
		err = syscall.ENOENT
	}
	return p.node, pathError(op, name, err)
}

// Create makes or truncates a file for writing; a link is followed.
func (c *CrashFS) Create(name string) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.start("create", name); err != nil {
		return nil, err
	}
	p, err := c.locate(name, true)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	switch {
	case p.node == nil:
		p.node = c.newNode(0o644)
		p.dir().change(nameChange{name: p.base, node: p.node})
		c.done("create "+name, p.node, p.dir())
	case p.node.mode.IsDir():
		return nil, pathError("create", name, syscall.EISDIR)
	default:
		if len(p.node.data) > 0 {
			p.node.data, p.node.dirtyFrom = nil, 0
		}
		c.done("create "+name, p.node)
	}
	return &crashWriter{fsys: c, node: p.node, name: name}, nil
}

// Open opens a file for reading.
func (c *CrashFS) Open(name string) (ReadFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	return &crashReader{fsys: c, node: n, name: name, size: int64(len(n.data))}, nil
}

// Rename replaces newname, if it is a file or link, by oldname.
func (c *CrashFS) Rename(oldname, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.start("rename", oldname); err != nil {
		return err
	}
	from, err := c.locate(oldname, false)
	if err == nil && from.node == nil {
		err = syscall.ENOENT
	}
	var to crashPlace
	if err == nil {
		to, err = c.locate(newname, false)
	}
	if err == nil {
		err = renameFault(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	if from.node == to.node {
		return nil
	}
	if from.dir() == to.dir() {
		to.dir().change(nameChange{name: to.base, node: from.node, from: from.base})
	} else {
		to.dir().change(nameChange{name: to.base, node: from.node})
		from.dir().change(nameChange{name: from.base})
	}
	c.done("rename "+oldname+" "+newname, from.dir(), to.dir())
	return nil
}

// renameFault tells why a node cannot be renamed, as os.Rename on Linux does.
func renameFault(from, to crashPlace) error {
	switch {
	case from.base == "":
		return syscall.EBUSY
	case to.node != nil && to.node.mode.IsDir():
		return syscall.EEXIST
	case !from.node.mode.IsDir():
		return nil
	case slices.Contains(to.dirs, from.node):
		return syscall.EINVAL
	case to.node != nil:
		return syscall.ENOTDIR
	}
	return nil
}

// Remove deletes a file, a link or an empty directory.
func (c *CrashFS) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.start("remove", name); err != nil {
		return err
	}
	p, err := c.locate(name, false)
	switch {
	case err != nil:
	case p.node == nil:
		err = syscall.ENOENT
	case p.base == "":
		err = syscall.EBUSY
	case len(p.node.live) > 0:
		err = syscall.ENOTEMPTY
	default:
		p.dir().change(nameChange{name: p.base})
		c.done("remove "+name, p.dir())
	}
	return pathError("remove", name, err)
}

// MkdirAll makes a directory and its missing parents.
func (c *CrashFS) MkdirAll(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name != "" {
		name = filepath.Clean(name)
	}
	return c.mkdirAll(name)
}

func (c *CrashFS) mkdirAll(name string) error {
	n, err := c.find("mkdir", name, true)
	if err == nil && !n.mode.IsDir() {
		err = pathError("mkdir", name, syscall.ENOTDIR)
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := c.mkdirAll(filepath.Dir(name)); err != nil {
		return err
	}
	return c.link("mkdir", "mkdir "+name, name, func() *crashNode { return c.newNode(fs.ModeDir | 0o755) })
}

// Symlink makes newname a link to target.
func (c *CrashFS) Symlink(target, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if target == "" {
		return pathError("symlink", newname, syscall.ENOENT)
	}
	return c.link("symlink", "symlink "+target+" "+newname, newname, func() *crashNode {
		n := c.newNode(fs.ModeSymlink | 0o777)
		n.target = target
		return n
	})
}

// link puts a new node under a free name.
func (c *CrashFS) link(op, line, name string, newNode func() *crashNode) error {
	if err := c.start(op, name); err != nil {
		return err
	}
	p, err := c.locate(name, false)
	if err == nil && p.node != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError(op, name, err)
	}
	n := newNode()
	p.dir().change(nameChange{name: p.base, node: n})
	c.done(line, n, p.dir())
	return nil
}

// Readlink returns a link's target.
func (c *CrashFS) Readlink(name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode.Type() != fs.ModeSymlink {
		return "", pathError("readlink", name, syscall.EINVAL)
	}
	return n.target, nil
}

// Stat describes a file, following links.
func (c *CrashFS) Stat(name string) (fs.FileInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return n.info(filepath.Base(name)), nil
}

// ReadDir lists a directory, sorted by name.
func (c *CrashFS) ReadDir(name string) ([]fs.DirEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, pathError("readdir", name, syscall.ENOTDIR)
	}
	var entries []fs.DirEntry
	for _, child := range slices.Sorted(maps.Keys(n.live)) {
		entries = append(entries, fs.FileInfoToDirEntry(n.live[child].info(child)))
	}
	return entries, nil
}

// SyncDir makes the names in a directory durable; of a file, as fsync does, its content.
func (c *CrashFS) SyncDir(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("syncdir", name, true)
	if err != nil {
		return err
	}
	n.sync()
	c.done("syncdir " + name)
	return nil
}

func (n *crashNode) sync() {
	n.synced, n.dirtyFrom = slices.Clip(n.data), -1
	n.disk, n.pending = maps.Clone(n.live), nil
}

// write puts p at an offset. Content that a sync or a crash shares is not overwritten.
func (n *crashNode) write(p []byte, offset int) {
	if len(p) == 0 {
		return
	}
	from := min(offset, len(n.data))
	if n.dirtyFrom < 0 || from < n.dirtyFrom {
		n.dirtyFrom = from
	}
	if offset < len(n.data) {
		n.data = slices.Clone(n.data)
	} else {
		n.data = append(n.data, make([]byte, offset-len(n.data))...)
	}
	over := copy(n.data[offset:], p)
	n.data = append(n.data, p[over:]...)
}

// crashInfo describes a node as it was when asked.
type crashInfo struct {
	name string
	size int64
	mode fs.FileMode
	time int64
}

func (n *crashNode) info(name string) fs.FileInfo {
	return crashInfo{name, int64(len(n.data)), n.mode, n.time}
}

func (i crashInfo) Name() string      { return i.name }
func (i crashInfo) Size() int64       { return i.size }
func (i crashInfo) Mode() fs.FileMode { return i.mode }
func (i crashInfo) IsDir() bool       { return i.mode.IsDir() }
func (i crashInfo) Sys() any          { return nil }

// ModTime counts one second for each operation since the start of 2000.
func (i crashInfo) ModTime() time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i.time) * time.Second)
}

// crashWriter is an open file of a CrashFS, written from its start on.
type crashWriter struct {
	fsys   *CrashFS
	node   *crashNode
	name   string
	offset int
	closed bool
}

func (w *crashWriter) start(op string) error {
	if w.closed {
		return pathError(op, w.name, fs.ErrClosed)
	}
	return w.fsys.start(op, w.name)
}

func (w *crashWriter) Write(p []byte) (int, error) {
	c := w.fsys
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := w.start("write"); err != nil {
		return 0, err
	}
	var err error
	if c.writeErr != nil {
		if int64(len(p)) > c.writeRoom {
			p, err = p[:max(0, c.writeRoom)], pathError("write", w.name, c.writeErr)
		}
		c.writeRoom -= int64(len(p))
	}
	w.node.write(p, w.offset)
	w.offset += len(p)
	c.done(fmt.Sprintf("write %s %d", w.name, len(p)), w.node)
	return len(p), err
}

func (w *crashWriter) Sync() error {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	if err := w.start("sync"); err != nil {
		return err
	}
	w.node.sync()
	w.fsys.done("sync " + w.name)
	return nil
}

func (w *crashWriter) Close() error {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	err := w.start("close")
	w.closed = true
	return err
}

// crashReader is an open file of a CrashFS; like a file of the operating system it
// sees what is written after it was opened.
type crashReader struct {
	fsys   *CrashFS
	node   *crashNode
	name   string
	size   int64
	offset int64
	closed bool
}

func (r *crashReader) Size() int64 { return r.size }

func (r *crashReader) start(op string) error {
	if r.closed {
		return pathError(op, r.name, fs.ErrClosed)
	}
	return r.fsys.start(op, r.name)
}

func (r *crashReader) Read(p []byte) (int, error) {
	r.fsys.mu.Lock()
	defer r.fsys.mu.Unlock()
	n, err := r.readAt(p, r.offset)
	r.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (r *crashReader) ReadAt(p []byte, offset int64) (int, error) {
	r.fsys.mu.Lock()
	defer r.fsys.mu.Unlock()
	return r.readAt(p, offset)
}

func (r *crashReader) readAt(p []byte, offset int64) (int, error) {
	if err := r.start("read"); err != nil {
		return 0, err
	}
	if offset < 0 {
		return 0, pathError("read", r.name, errors.New("negative offset"))
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := copy(p, r.node.data[min(offset, int64(len(r.node.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *crashReader) Close() error {
	r.fsys.mu.Lock()
	defer r.fsys.mu.Unlock()
	err := r.start("close")
	r.closed = true
	return err
}
