package remote

import (
	"errors"
	"fmt"
	"io"

	"bzdata/pipeline/store"
)

// Open opens a file for reading. A remote one is asked for when it is read.
func (f *FS) Open(name string) (store.ReadFile, error) {
	if !store.IsRemote(name) {
		return f.FS.Open(name)
	}
	e, err := f.entry(name)
	if err != nil {
		return nil, err
	}
	if e.dir {
		return nil, fmt.Errorf("open %s: is a directory", name)
	}
	s := f.schemes[e.loc.Scheme]
	hub, isHub := s.(*hubScheme)
	if isHub {
		if cached, err := f.cached(hub, e); cached != nil || err != nil {
			return cached, err
		}
	}
	d := &download{fs: f, entry: e, from: s}
	if isHub {
		if d.spool, err = f.spool(e); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// download is an open remote file.
type download struct {
	fs    *FS
	entry *entry
	from  scheme
	spool *spool // of a file of the hub, or of one that is read at offsets; else nil
	at    int64  // of the next Read
	body  *stream
	// keeps says that the spool was there when body began: a block that is kept must have come
	// from its first byte on.
	keeps bool
}

// Size is the file's length when it was first seen.
func (d *download) Size() int64 { return d.entry.size }

// Read takes what the spool has, and between that reads on in one download.
func (d *download) Read(p []byte) (int, error) {
	for d.at < d.entry.size && len(p) > 0 {
		n, err := d.next(p)
		d.at += int64(n)
		if n > 0 || err != nil {
			return n, err
		}
	}
	if d.at < d.entry.size {
		return 0, nil
	}
	if d.spool != nil {
		if err := d.spool.settle(); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// next reads from the spool or the download; no byte and no error is the end of one of them.
func (d *download) next(p []byte) (int, error) {
	if d.body == nil {
		end := d.entry.size
		if d.spool != nil {
			if there := d.spool.there(d.at); there > d.at {
				return d.spool.file.ReadAt(p[:min(int64(len(p)), there-d.at)], d.at)
			}
			end = d.spool.gap(d.at)
		}
		d.body, d.keeps = d.fs.stream(d.entry, d.from, d.at, end), d.spool != nil
	}
	n, err := d.body.Read(p)
	if n > 0 && d.keeps {
		if err := d.spool.keep(p[:n], d.at); err != nil {
			return 0, err
		}
	}
	if err == io.EOF {
		err = d.body.Close()
		d.body = nil
	} else if err != nil && d.spool != nil {
		d.spool.breakOff()
	}
	return n, err
}

// ReadAt reads at an offset, through the file's spool.
func (d *download) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: offset %d", d.entry.loc, off)
	}
	n := min(int64(len(p)), max(0, d.entry.size-off))
	if d.spool == nil {
		var err error
		if d.spool, err = d.fs.spool(d.entry); err != nil {
			return 0, err
		}
	}
	if n > 0 {
		if err := d.spool.fetch(off, off+n, d.ranges); err != nil {
			return 0, err
		}
		if m, err := d.spool.file.ReadAt(p[:n], off); int64(m) < n {
			return m, err
		}
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// ranges downloads one range of the file.
func (d *download) ranges(from, to int64) io.ReadCloser {
	s := d.fs.stream(d.entry, d.from, from, to)
	s.ranged = true
	return s
}

// Close ends the download.
func (d *download) Close() error {
	var err error
	if d.body != nil {
		err = d.body.Close()
	}
	if d.spool != nil {
		err = errors.Join(err, d.fs.release(d.spool))
		d.spool = nil
	}
	return err
}

// stream is the download of the bytes at to end; where it breaks off, it goes on.
type stream struct {
	fs      *FS
	entry   *entry
	from    scheme
	at, end int64
	// ranged says that an answer with bytes before the first one asked for will not do.
	ranged bool
	body   io.ReadCloser
	failed int   // attempts since gained
	gained int64 // where the download was when failed was last 0
}

func (f *FS) stream(e *entry, from scheme, at, end int64) *stream {
	return &stream{fs: f, entry: e, from: from, at: at, end: end, gained: at}
}

// Read returns at least one byte or an error; io.EOF comes at the end only.
func (s *stream) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), s.end-s.at)]
	for s.at < s.end {
		n, err := s.attempt(p)
		s.at += int64(n)
		if n > 0 && (err == nil || err == io.EOF) {
			return n, nil // an end that comes too early shows at the next attempt
		}
		if err == nil {
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err := s.broken(err); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// attempt reads from the body, asking for it if there is none.
func (s *stream) attempt(p []byte) (int, error) {
	if s.body == nil {
		a, err := s.from.open(s.fs.ctx, s.entry, s.at, s.end)
		if err != nil {
			return 0, err
		}
		s.body = a.body
		if a.skip > 0 && s.ranged {
			return 0, &finalError{"the server ignores requests for a part of a file, which this format needs; download it first"}
		}
		if _, err := io.CopyN(io.Discard, a.body, a.skip); err != nil {
			return 0, err
		}
	}
	return s.body.Read(p)
}

// broken closes the body and waits, or gives up.
func (s *stream) broken(err error) error {
	if s.body != nil {
		s.body.Close() // it is broken already
		s.body = nil
	}
	if s.at-s.gained >= gainBytes {
		s.failed, s.gained = 0, s.at
	}
	s.failed++
	return s.fs.web.pause(s.fs.ctx, s.entry.loc.String(), s.failed, plainError(err))
}

// Close gives the body up.
func (s *stream) Close() error {
	if s.body == nil {
		return nil
	}
	s.body.Close() // what is not read may well be an error
	s.body = nil
	return nil
}
