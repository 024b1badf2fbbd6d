package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FS is the file system under every durable file. Names are operating-system
// paths, absolute or relative to the working directory. Implementations are safe
// for concurrent use; the files they return are not.
type FS interface {
	// Create makes or truncates a file for writing.
	Create(name string) (File, error)
	// Open opens a file for reading, at any offset.
	Open(name string) (ReadFile, error)
	// Rename replaces newname, if it is a file or link, by oldname, atomically.
	Rename(oldname, newname string) error
	// Remove deletes a file, a link or an empty directory.
	Remove(name string) error
	// MkdirAll makes a directory and its missing parents.
	MkdirAll(name string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file, following links.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Symlink makes newname a link to target.
	Symlink(target, newname string) error
	// Readlink returns a link's target, or an error if name is no link.
	Readlink(name string) (string, error)
}

// File is an open file being written.
type File interface {
	io.Writer
	// Sync makes what was written durable.
	Sync() error
	io.Closer
}

// ReadFile is an open file being read.
type ReadFile interface {
	io.Reader
	io.ReaderAt
	io.Closer
	// Size is the file's length in bytes when it was opened.
	Size() int64
}

// TempPrefix starts the base name of every file and directory that is not yet
// committed. Readers ignore such names, and a later run may delete them.
const TempPrefix = ".tmp-"

// IsTemp reports whether the path's base name is that of an uncommitted file.
func IsTemp(name string) bool { return strings.HasPrefix(filepath.Base(name), TempPrefix) }

// TempName returns the uncommitted name that belongs to name, in the same directory.
func TempName(name string) string {
	return filepath.Join(filepath.Dir(name), TempPrefix+filepath.Base(name))
}

// WriteFile writes name durably: write fills a file of temporary name, which is
// then synced and renamed, and its directory synced. On any error nothing appears
// under name. The directory must exist.
func WriteFile(fsys FS, name string, write func(io.Writer) error) error {
	tmp := TempName(name)
	if err := writeSynced(fsys, tmp, write); err != nil {
		return errors.Join(err, removeIfThere(fsys, tmp))
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return errors.Join(fmt.Errorf("commit %s: %w", name, err), removeIfThere(fsys, tmp))
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// WriteBytes is [WriteFile] of a slice.
func WriteBytes(fsys FS, name string, data []byte) error {
	return WriteFile(fsys, name, func(w io.Writer) error { _, err := w.Write(data); return err })
}

func writeSynced(fsys FS, name string, write func(io.Writer) error) (err error) {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := write(f); err != nil {
		return err
	}
	return f.Sync()
}

func removeIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ReadAll returns the content of a file.
func ReadAll(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, f.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// Exists reports whether a file, directory or link target is there.
func Exists(fsys FS, name string) bool {
	_, err := fsys.Stat(name)
	return err == nil
}

// CommitDir makes the directory tmp, whose files are already synced, appear as name:
// tmp's directories are synced, tmp is renamed, and the parent is synced. A directory
// that stands under name already is removed first, which is safe because readers
// trust only directories that are complete.
func CommitDir(fsys FS, tmp, name string) error {
	if err := syncTree(fsys, tmp); err != nil {
		return err
	}
	if Exists(fsys, name) {
		if err := RemoveAll(fsys, name); err != nil {
			return err
		}
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("commit %s: %w", name, err)
	}
	return fsys.SyncDir(filepath.Dir(name))
}

func syncTree(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := syncTree(fsys, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return fsys.SyncDir(dir)
}

// RemoveAll deletes a file, a link, or a directory with all it holds; links inside
// are deleted, not followed. A name that is not there is no error.
func RemoveAll(fsys FS, name string) error {
	if _, err := fsys.Readlink(name); err == nil {
		return removeIfThere(fsys, name)
	}
	info, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := fsys.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := RemoveAll(fsys, filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	return removeIfThere(fsys, name)
}

// SwapLink makes link a symbolic link to target, replacing an older link atomically.
func SwapLink(fsys FS, target, link string) error {
	tmp := TempName(link)
	if err := removeIfThere(fsys, tmp); err != nil {
		return err
	}
	if now, err := fsys.Readlink(link); err == nil && now == target {
		return nil
	}
	if err := fsys.Symlink(target, tmp); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, link); err != nil {
		return errors.Join(err, removeIfThere(fsys, tmp))
	}
	return fsys.SyncDir(filepath.Dir(link))
}

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

type osFS struct{}

var _ FS = osFS{}

type osReadFile struct {
	*os.File
	size int64
}

func (f osReadFile) Size() int64 { return f.size }

func (osFS) Create(name string) (File, error) { return os.Create(name) }

func (osFS) Open(name string) (ReadFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if info.IsDir() {
		return nil, errors.Join(fmt.Errorf("open %s: is a directory", name), f.Close())
	}
	return osReadFile{f, info.Size()}, nil
}

func (osFS) Rename(oldname, newname string) error       { return os.Rename(oldname, newname) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }
func (osFS) MkdirAll(name string) error                 { return os.MkdirAll(name, 0o777) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) }
func (osFS) Symlink(target, newname string) error       { return os.Symlink(target, newname) }
func (osFS) Readlink(name string) (string, error)       { return os.Readlink(name) }
func (osFS) SyncDir(name string) (err error) {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
