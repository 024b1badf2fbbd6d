package metrics

import (
	"path/filepath"
	"time"

	"bzdata/pipeline/store"
)

// format turns rows into the bytes of one growing file.
type format interface {
	head(first Row) []byte
	row(Row) []byte
	tail(last Row) []byte // of a run that has come to its end
}

// syncEvery is the time between two syncs of a file, by the rows' own clock: a machine that stops loses
// no more, and a run with fast steps does not wait for the disk at each.
const syncEvery = 5 * time.Second

// file is a sink that writes a new file beside the old one until its first sync, and then goes on in
// that.
type file struct {
	fsys   store.FS
	root   string // the work directory, which place's names are below
	format format
	place  func(first Row) string
	name   string // empty until the first row, if it depends on that
	// alone says that other files in the directory are of earlier attempts, and go.
	alone bool
	// folder, if set, is made beside the file: W&B's upload writes there.
	folder string

	f      store.File
	last   Row
	placed bool      // the new file has its name
	synced time.Time // of the newest row then
}

func (s *file) path() string { return s.name }

func (s *file) write(r Row) error {
	if s.f == nil {
		if err := s.begin(r); err != nil {
			return err
		}
	}
	s.last = r
	_, err := s.f.Write(s.format.row(r))
	return err
}

func (s *file) begin(first Row) (err error) {
	s.name, s.synced = s.place(first), first.Time
	if err := s.fsys.MkdirAll(filepath.Join(filepath.Dir(s.name), s.folder)); err != nil {
		return err
	}
	if s.f, err = s.fsys.Create(store.TempName(s.name)); err != nil {
		return err
	}
	_, err = s.f.Write(s.format.head(first))
	return err
}

func (s *file) tick() error {
	if age := s.last.Time.Sub(s.synced); age < syncEvery && age >= 0 {
		return nil
	}
	return s.sync()
}

func (s *file) sync() error {
	if s.f == nil {
		return nil
	}
	s.synced = s.last.Time
	if err := s.f.Sync(); err != nil || s.placed {
		return err
	}
	s.placed = true
	if err := s.fsys.Rename(store.TempName(s.name), s.name); err != nil {
		return err
	}
	if err := s.removeOthers(); err != nil {
		return err
	}
	// The directories from the file's to the work directory may be new, too.
	for dir := filepath.Dir(s.name); ; dir = filepath.Dir(dir) {
		if err := s.fsys.SyncDir(dir); err != nil || dir == s.root {
			return err
		}
	}
}

// removeOthers deletes the other files of the directory: events of an attempt that began anew, and
// W&B's mark that the file of before was uploaded.
func (s *file) removeOthers() error {
	if !s.alone {
		return nil
	}
	dir := filepath.Dir(s.name)
	entries, err := s.fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || e.Name() == filepath.Base(s.name) {
			continue
		}
		if err := s.fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *file) close(ended bool) error {
	if s.f == nil {
		return nil
	}
	if ended {
		if tail := s.format.tail(s.last); len(tail) > 0 {
			if _, err := s.f.Write(tail); err != nil {
				return err
			}
			if err := s.f.Sync(); err != nil {
				return err
			}
		}
	}
	f := s.f
	s.f = nil
	return f.Close()
}
