package spill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bzdata/pipeline/store"

	"github.com/zeebo/xxh3"
)

// A file holds sorted records, cut into parts: blocks, a table, a tail. A block is
//
//	uint32 bytes of the body · uint32 lower half of the body's XXH3 · body
//
// and its body a run of records, each
//
//	uvarint key minus that of the record before · uvarint shard · uvarint number · uvarint
//	bytes of the payload · payload
//
// where the first key of a block stands for itself. A part begins with a block of its own. The
// table has for each part the uint64 offset of its end and the uint64 number of its records.
// The tail is the uint64 number of parts and tailMagic. Numbers are little-endian.
const (
	tailMagic  = "BZSPL01\n"
	tailBytes  = 16
	tableBytes = 16
	headBytes  = 8
	// blockBytes is about the size of a block. One record may be longer.
	blockBytes = 32 << 10
)

// Writer writes a file of sorted records.
type Writer struct {
	w     io.Writer
	check func() error
	body  []byte // of the block that is being filled, after room for its head
	key   uint64 // of the record before in the block
	at    uint64
	ends  []partEnd
	parts int
	part  partEnd // the one being filled
}

type partEnd struct{ end, records uint64 }

// NewWriter returns a writer of a file with the given number of parts.
func NewWriter(w io.Writer, parts int) *Writer {
	return &Writer{w: w, parts: parts, body: make([]byte, headBytes, headBytes+blockBytes), check: func() error { return nil }}
}

// Write adds a record to a part. Parts must rise, and keys within a part.
func (w *Writer) Write(part int, r *Record) error {
	if part < len(w.ends) || part >= w.parts {
		return fmt.Errorf("part %d of %d is written after part %d", part, w.parts, len(w.ends))
	}
	if err := w.endParts(part); err != nil {
		return err
	}
	if len(w.body) == headBytes {
		w.key = 0
	}
	if r.Key < w.key {
		return errors.New("records are not written in order of their keys")
	}
	w.body = binary.AppendUvarint(w.body, r.Key-w.key)
	w.body = appendTail(w.body, r)
	w.key = r.Key
	w.part.records++
	if len(w.body) >= headBytes+blockBytes-blockBytes/16 {
		return w.flush()
	}
	return nil
}

// appendTail appends what stands after a record's key.
func appendTail(b []byte, r *Record) []byte {
	b = binary.AppendUvarint(b, uint64(r.Shard))
	b = binary.AppendUvarint(b, r.Number)
	b = binary.AppendUvarint(b, uint64(len(r.Payload)))
	return append(b, r.Payload...)
}

// endParts ends the parts before the given one.
func (w *Writer) endParts(before int) error {
	for len(w.ends) < before {
		if err := w.flush(); err != nil {
			return err
		}
		w.part.end = w.at
		w.ends = append(w.ends, w.part)
		w.part = partEnd{}
	}
	return nil
}

func (w *Writer) flush() error {
	body := w.body[headBytes:]
	if len(body) == 0 {
		return nil
	}
	if uint64(len(body)) > 1<<32-1 {
		return fmt.Errorf("a record has %d bytes, at most 4 GiB can be sorted", len(body))
	}
	binary.LittleEndian.PutUint32(w.body, uint32(len(body)))
	binary.LittleEndian.PutUint32(w.body[4:], uint32(xxh3.Hash(body)))
	_, err := w.w.Write(w.body)
	w.at += uint64(len(w.body))
	w.body = w.body[:headBytes]
	if cap(w.body) > 4*blockBytes { // of a very long record
		w.body = make([]byte, headBytes, headBytes+blockBytes)
	}
	return errors.Join(err, w.check())
}

// Close ends the file; it leaves the underlying writer open.
func (w *Writer) Close() error {
	if err := w.endParts(w.parts); err != nil {
		return err
	}
	b := make([]byte, 0, tableBytes*len(w.ends)+tailBytes)
	for _, e := range w.ends {
		b = binary.LittleEndian.AppendUint64(b, e.end)
		b = binary.LittleEndian.AppendUint64(b, e.records)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(w.parts))
	_, err := w.w.Write(append(b, tailMagic...))
	return err
}

// Part is one part of a file that a [Writer] made.
type Part struct {
	Name  string
	Index int
}

// Reader reads the records of one part.
type Reader struct {
	name    string
	f       store.ReadFile
	at, end int64  // of the part: what is not read yet
	buf     []byte // the body of a block and the head of the next
	body    []byte // what is left of it
	head    [headBytes]byte
	key     uint64
	left    uint64 // records of the part
	check   func() error
}

// OpenPart opens a part for reading.
func OpenPart(fsys store.FS, p Part) (*Reader, error) {
	f, err := fsys.Open(p.Name)
	if err != nil {
		return nil, err
	}
	r, err := newReader(f, p)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", p.Name, err), f.Close())
	}
	return r, nil
}

func newReader(f store.ReadFile, p Part) (*Reader, error) {
	r := &Reader{name: p.Name, f: f, check: func() error { return nil }}
	size := f.Size()
	var tail [tailBytes]byte
	if size < tailBytes {
		return nil, errors.New("is cut short")
	}
	if _, err := f.ReadAt(tail[:], size-tailBytes); err != nil && err != io.EOF {
		return nil, err
	}
	if string(tail[8:]) != tailMagic {
		return nil, errors.New("is cut short, or no file of sorted records of this version")
	}
	parts := binary.LittleEndian.Uint64(tail[:])
	if parts > uint64(size-tailBytes)/tableBytes || uint64(p.Index) >= parts {
		return nil, fmt.Errorf("is damaged: part %d of %d is not there", p.Index, parts)
	}
	table := size - tailBytes - tableBytes*int64(parts)
	var ends [2 * tableBytes]byte // the part before, and this one
	from := ends[:]
	if p.Index == 0 {
		from = ends[tableBytes:]
	}
	if _, err := f.ReadAt(from, table+tableBytes*int64(p.Index+1)-int64(len(from))); err != nil {
		return nil, err
	}
	r.at = int64(binary.LittleEndian.Uint64(ends[:]))
	r.end = int64(binary.LittleEndian.Uint64(ends[tableBytes:]))
	r.left = binary.LittleEndian.Uint64(ends[tableBytes+8:])
	if r.at < 0 || r.at > r.end || r.end > table || r.end > r.at && r.end-r.at < headBytes {
		return nil, fmt.Errorf("is damaged: part %d lies outside of it", p.Index)
	}
	if r.at == r.end {
		return r, nil
	}
	_, err := f.ReadAt(r.head[:], r.at)
	return r, err
}

// Records is the number of records not read yet.
func (r *Reader) Records() uint64 { return r.left }

// Next reads the next record. Its payload is valid until the call after. The error is io.EOF
// after the last record.
func (r *Reader) Next(rec *Record) error {
	if len(r.body) == 0 {
		if err := r.block(); err != nil {
			return err
		}
	}
	n, ok := r.cut(rec)
	if !ok || r.left == 0 {
		return fmt.Errorf("%s: is damaged: a record is cut off", r.name)
	}
	r.body = r.body[n:]
	r.left--
	return nil
}

// cut decodes the first record of the body and returns its length.
func (r *Reader) cut(rec *Record) (int, bool) {
	b := r.body
	delta, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, false
	}
	shard, m := binary.Uvarint(b[n:])
	if m <= 0 || shard > 1<<32-1 {
		return 0, false
	}
	n += m
	number, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return 0, false
	}
	n += m
	size, m := binary.Uvarint(b[n:])
	if m <= 0 || size > uint64(len(b)-n-m) {
		return 0, false
	}
	n += m
	r.key += delta
	end := n + int(size)
	*rec = Record{r.key, uint32(shard), number, b[n:end:end]}
	return end, true
}

// block reads the next block, and the head of the one after with it.
func (r *Reader) block() error {
	if r.at == r.end {
		if r.left != 0 {
			return fmt.Errorf("%s: is damaged: %d records are missing", r.name, r.left)
		}
		return io.EOF
	}
	size := int64(binary.LittleEndian.Uint32(r.head[:]))
	sum := binary.LittleEndian.Uint32(r.head[4:])
	from := r.at + headBytes
	if size == 0 || size > r.end-from {
		return fmt.Errorf("%s: is damaged: a block at %d is longer than its part", r.name, r.at)
	}
	next := int64(headBytes)
	if from+size == r.end {
		next = 0
	} else if r.end-from-size < headBytes {
		return fmt.Errorf("%s: is damaged: a block at %d is cut off", r.name, from+size)
	}
	if int64(cap(r.buf)) < size+next {
		r.buf = make([]byte, max(size+next, min(blockBytes+blockBytes/16, r.end-from)))
	}
	r.buf = r.buf[:size+next]
	if _, err := r.f.ReadAt(r.buf, from); err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", r.name, err)
	}
	r.body = r.buf[:size:size]
	copy(r.head[:], r.buf[size:])
	if uint32(xxh3.Hash(r.body)) != sum {
		return fmt.Errorf("%s: is damaged: the block at %d has another checksum", r.name, r.at)
	}
	r.at, r.key = from+size, 0
	return r.check()
}

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }
