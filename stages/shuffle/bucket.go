package shuffle

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"bzdata/pipeline/store"
)

// bucket holds the records whose keys start alike: in chunks, and before these in a file. A
// record lies in one chunk, and none is moved while more are added.
type bucket struct {
	opt   *Options
	name  string // of the file, below the folder
	count int64

	mu      sync.Mutex
	chunks  [][]byte
	held    int64      // bytes that the chunks take
	spare   []byte     // an empty chunk, once others were written to the file
	file    store.File // while records are added
	spilled int64      // bytes in the file

	first   int64 // rank of its first record
	uses    int   // parts that have yet to read it
	far     bool  // payloads stay in the file; places stands for records
	records []Record
	places  []place
}

func (b *bucket) path() string { return filepath.Join(b.opt.Dir, b.name) }

func (b *bucket) bytes() int64 {
	bytes := b.spilled
	for _, c := range b.chunks {
		bytes += int64(len(c))
	}
	return bytes
}

// chunkBytesMax is the size of a chunk, where the budget allows for it.
const chunkBytesMax = 32 << 10

func (b *bucket) add(r Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := max(bufferBytesMin, b.opt.BufferBytes/fanOut)
	need := headBytes + len(r.Payload)
	last := len(b.chunks) - 1
	if last < 0 || cap(b.chunks[last])-len(b.chunks[last]) < need {
		if b.held >= full {
			if err := b.flush(); err != nil {
				return err
			}
		}
		b.makeRoom(need, int(min(full, chunkBytesMax)))
		last = len(b.chunks) - 1
	}
	b.chunks[last] = appendRecord(b.chunks[last], r)
	b.count++
	if b.held >= full && cap(b.chunks[last]) > chunkBytesMax {
		return b.flush() // a large record does not wait for the next one
	}
	return nil
}

// makeRoom adds a chunk that has room for so many bytes, and is of the usual size if that will do.
func (b *bucket) makeRoom(need, usual int) {
	if len(b.chunks) == 0 && cap(b.spare) >= need {
		b.chunks, b.spare = append(b.chunks, b.spare), nil
	} else {
		b.chunks = append(b.chunks, make([]byte, 0, max(need, usual)))
	}
	b.held += int64(cap(b.chunks[len(b.chunks)-1]))
}

// flush writes the chunks to the file, and keeps one of the usual size for what follows.
func (b *bucket) flush() (err error) {
	if len(b.chunks) == 0 {
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
	for _, c := range b.chunks {
		n, err := b.file.Write(c)
		b.spilled += int64(n)
		if err != nil {
			return err
		}
		if cap(c) <= chunkBytesMax {
			b.spare = c[:0]
		}
	}
	clear(b.chunks) // or the written ones would stay in memory
	b.chunks, b.held = b.chunks[:0], 0
	return nil
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

// scan calls visit with the head of every record, in the order of the file, which must hold all of them
// (see flush). visit takes the payload of the given size off r; it begins at the byte at of the file.
func (b *bucket) scan(visit func(head Record, at int64, size int, r *bufio.Reader) error) (err error) {
	f, err := b.opt.FS.Open(b.path())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, at := bufio.NewReaderSize(io.LimitReader(f, b.spilled), 1<<20), int64(0)
	var head [headBytes]byte
	for range b.count {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return b.short(err)
		}
		record, size := parseHead(head[:])
		at += headBytes
		if err := visit(record, at, size, r); err != nil {
			return err
		}
		at += int64(size)
	}
	return nil
}

// each calls visit with every record, in no order; the payload is valid until it returns.
func (b *bucket) each(visit func(Record) error) error {
	var buf []byte
	return b.scan(func(record Record, _ int64, size int, r *bufio.Reader) error {
		buf = slices.Grow(buf[:0], size)[:size]
		if _, err := io.ReadFull(r, buf); err != nil {
			return b.short(err)
		}
		record.Payload = buf
		return visit(record)
	})
}

// short says that a file has lost bytes since it was written.
func (b *bucket) short(err error) error {
	return fmt.Errorf("%s: cut short (%w): run again", b.path(), err)
}

// visit calls visit with the payloads of the records from rank from to before rank to, the bucket's
// first record having rank 0. All parts that read a bucket share what was sorted.
func (b *bucket) visit(from, to int64, visit func(payload []byte) error) error {
	if b.far {
		return b.visitFar(from, to, visit)
	}
	records, err := b.sorted()
	if err != nil {
		return err
	}
	for _, r := range records[from:to] {
		if err := visit(r.Payload); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns the bucket's records in order.
func (b *bucket) sorted() ([]Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.records != nil {
		return b.records, nil
	}
	pieces, err := b.load()
	if err != nil {
		return nil, err
	}
	records := make([]Record, 0, b.count)
	for _, piece := range pieces {
		for len(piece) > 0 {
			var r Record
			if r, piece, err = cutRecord(piece); err != nil {
				return nil, b.short(err)
			}
			records = append(records, r)
		}
	}
	if int64(len(records)) != b.count {
		return nil, b.short(io.ErrUnexpectedEOF)
	}
	slices.SortFunc(records, compare)
	b.records = records
	return records, nil
}

// load returns the bytes of all records, in pieces of whole records.
func (b *bucket) load() (pieces [][]byte, err error) {
	if b.spilled == 0 {
		return b.chunks, nil
	}
	f, err := b.opt.FS.Open(b.path())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data := make([]byte, b.spilled)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, b.short(err)
	}
	return append([][]byte{data}, b.chunks...), nil
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
	b.records, b.places, b.chunks, b.spare = nil, nil, nil, nil
	if b.spilled == 0 {
		return nil
	}
	return b.opt.FS.Remove(b.path())
}
