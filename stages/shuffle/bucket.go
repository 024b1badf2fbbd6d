package shuffle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"bzdata/pipeline/store"
)

// bucket holds the records whose keys start alike: in buf, and before these in a file.
type bucket struct {
	opt   *Options
	name  string // of the file, below the folder
	count int64

	mu      sync.Mutex
	buf     []byte
	file    store.File // while records are added
	spilled int64      // bytes in the file

	first   int64 // rank of its first record
	uses    int   // parts that have yet to read it
	records []Record
}

func (b *bucket) path() string { return filepath.Join(b.opt.Dir, b.name) }

func (b *bucket) bytes() int64 { return b.spilled + int64(len(b.buf)) }

func (b *bucket) add(r Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = appendRecord(b.buf, r)
	b.count++
	full := max(bufferBytesMin, int(b.opt.BufferBytes/fanOut))
	if len(b.buf) < full {
		return nil
	}
	err := b.flush()
	if cap(b.buf) > 2*full {
		b.buf = nil // it held a large record
	}
	return err
}

// flush writes the buffer to the file.
func (b *bucket) flush() (err error) {
	if len(b.buf) == 0 {
		return nil
	}
	if b.file == nil {
		if err := b.opt.FS.MkdirAll(b.opt.Dir); err != nil {
			return err
		}
		if b.file, err = b.opt.FS.Create(b.path()); err != nil {
			return err
		}
	}
	n, err := b.file.Write(b.buf)
	b.spilled += int64(n)
	b.buf = b.buf[:0]
	return err
}

// close closes the file, if there is one, for writing.
func (b *bucket) close() error {
	if b.file == nil {
		return nil
	}
	err := b.file.Close()
	b.file = nil
	return err
}

// each calls visit with every record, in no order; the payload is valid until it returns.
func (b *bucket) each(visit func(Record) error) (err error) {
	var head [headBytes]byte
	r, done, err := b.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	var buf []byte
	for range b.count {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return b.short(err)
		}
		record, size := parseHead(head[:])
		buf = slices.Grow(buf[:0], size)[:size]
		if _, err := io.ReadFull(r, buf); err != nil {
			return b.short(err)
		}
		record.Payload = buf
		if err := visit(record); err != nil {
			return err
		}
	}
	return nil
}

// open reads the file and then the buffer.
func (b *bucket) open() (io.Reader, func() error, error) {
	if b.spilled == 0 {
		return bytes.NewReader(b.buf), func() error { return nil }, nil
	}
	f, err := b.opt.FS.Open(b.path())
	if err != nil {
		return nil, nil, err
	}
	return io.MultiReader(bufio.NewReaderSize(io.LimitReader(f, b.spilled), 1<<20), bytes.NewReader(b.buf)), f.Close, nil
}

// short says that a file has lost bytes since it was written.
func (b *bucket) short(err error) error {
	return fmt.Errorf("%s: cut short (%w): run again", b.path(), err)
}

// sorted returns the bucket's records in order. All parts that read a bucket share them.
func (b *bucket) sorted() ([]Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.records != nil {
		return b.records, nil
	}
	data, err := b.load()
	if err != nil {
		return nil, err
	}
	records := make([]Record, b.count)
	for i := range records {
		if records[i], data, err = cutRecord(data); err != nil {
			return nil, b.short(err)
		}
	}
	slices.SortFunc(records, compare)
	b.records = records
	return records, nil
}

// load returns the bytes of all records.
func (b *bucket) load() ([]byte, error) {
	if b.spilled == 0 {
		return b.buf, nil
	}
	r, done, err := b.open()
	if err != nil {
		return nil, err
	}
	data := make([]byte, b.bytes())
	if _, err = io.ReadFull(r, data); err != nil {
		err = b.short(err)
	}
	return data, errors.Join(err, done())
}

// release notes that a part has read the bucket. The last one frees it.
func (b *bucket) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.uses--; b.uses > 0 {
		return nil
	}
	return b.free()
}

// free gives memory and file back.
func (b *bucket) free() error {
	b.records, b.buf = nil, nil
	if b.spilled == 0 {
		return nil
	}
	return b.opt.FS.Remove(b.path())
}
