package dedup

import (
	"cmp"
	"errors"
	"io"

	"bzdata/pipeline/store"
)

// IndexFiles opens files of kept indexes as they are read, and holds only so many open at a
// time: those that were read last. It is for one goroutine.
type IndexFiles struct {
	fsys  store.FS
	most  int
	open  map[string]*openFile
	clock int
}

type openFile struct {
	store.ReadFile
	used int // the time of the latest reading
}

// NewIndexFiles returns files of which at most most are open at a time.
func NewIndexFiles(fsys store.FS, most int) *IndexFiles {
	return &IndexFiles{fsys: fsys, most: max(1, most), open: map[string]*openFile{}}
}

// file returns a file that is open.
func (p *IndexFiles) file(name string) (*openFile, error) {
	p.clock++
	if f := p.open[name]; f != nil {
		f.used = p.clock
		return f, nil
	}
	if len(p.open) >= p.most {
		if err := p.closeOldest(); err != nil {
			return nil, err
		}
	}
	f, err := p.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	p.open[name] = &openFile{f, p.clock}
	return p.open[name], nil
}

func (p *IndexFiles) closeOldest() error {
	oldest, used := "", p.clock
	for name, f := range p.open {
		if f.used < used {
			oldest, used = name, f.used
		}
	}
	err := p.open[oldest].Close()
	delete(p.open, oldest)
	return err
}

func (p *IndexFiles) size(name string) (int64, error) {
	f, err := p.file(name)
	if err != nil {
		return 0, err
	}
	return f.Size(), nil
}

func (p *IndexFiles) read(name string, b []byte, at int64) error {
	f, err := p.file(name)
	if err != nil {
		return err
	}
	if n, err := f.ReadAt(b, at); n < len(b) {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return nil
}

// Close closes the files that are open. They are opened again if they are read.
func (p *IndexFiles) Close() error {
	var errs []error
	for _, f := range p.open {
		errs = append(errs, f.Close())
	}
	clear(p.open)
	return errors.Join(errs...)
}
