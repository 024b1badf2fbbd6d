// Package shuffle puts any number of records into the order of their keys, within a
// budget of memory.
//
// Records fall into 256 buckets by the first byte of their key, each with a buffer that
// goes to a file when it is full. Of a bucket too large to be sorted in memory only the heads
// are, and the payloads are fetched from its file one by one; where that would be too much as
// well, it falls into 256 again by the next byte. This is a radix sort from the most significant
// digit, for which keys should be as good as random, such as hashes. The order does not depend
// on the budget. Writing every record a second time, as a sort in two passes does, took most of
// the time of ten million documents, in 65,536 small files.
package shuffle

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"bzdata/pipeline/store"
)

// Record is what is put into order: by Key, then by Shard and Row.
type Record struct {
	Key   uint64
	Shard uint32
	Row   uint64
	// Payload is what the record carries.
	Payload []byte
}

// headBytes is what a stored record has before its payload: key, row, shard, length.
const headBytes = 8 + 8 + 4 + 4

func appendRecord(dst []byte, r Record) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, r.Key)
	dst = binary.LittleEndian.AppendUint64(dst, r.Row)
	dst = binary.LittleEndian.AppendUint32(dst, r.Shard)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Payload)))
	return append(dst, r.Payload...)
}

// parseHead reads what a record has before its payload, and the payload's length.
func parseHead(b []byte) (r Record, size int) {
	r.Key, r.Row = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	r.Shard = binary.LittleEndian.Uint32(b[16:])
	return r, int(binary.LittleEndian.Uint32(b[20:]))
}

// cutRecord reads the record at the start of b.
func cutRecord(b []byte) (r Record, rest []byte, err error) {
	if len(b) < headBytes {
		return r, nil, io.ErrUnexpectedEOF
	}
	r, size := parseHead(b)
	if b = b[headBytes:]; size > len(b) {
		return r, nil, io.ErrUnexpectedEOF
	}
	r.Payload = b[:size]
	return r, b[size:], nil
}

func compare(a, b Record) int {
	switch {
	case a.Key != b.Key:
		return order(a.Key < b.Key)
	case a.Shard != b.Shard:
		return order(a.Shard < b.Shard)
	case a.Row != b.Row:
		return order(a.Row < b.Row)
	}
	return 0
}

func order(less bool) int {
	if less {
		return -1
	}
	return 1
}

// Options says what a [Set] may use.
type Options struct {
	FS store.FS
	// Dir is a folder for files, which need not be there yet. Files left in it by an
	// interrupted run are overwritten.
	Dir string
	// BufferBytes is about what the records take that are not in files.
	BufferBytes int64
	// BucketBytes is about the most that one bucket takes to be sorted.
	BucketBytes int64
}

const (
	fanOut         = 256
	bufferBytesMin = 4 << 10 // of one bucket
)

// Set is a set of records: first they are added, then cut into parts, then read.
type Set struct {
	opt     Options
	shift   int    // the bucket is the byte of the key that starts at this bit
	prefix  string // of the files' names
	buckets [fanOut]*bucket
	leaves  []*bucket // after Cut, in order
	parts   int
	length  int64
}

// New returns an empty set.
func New(opt Options) *Set { return newSet(opt, 56, "") }

func newSet(opt Options, shift int, prefix string) *Set {
	s := &Set{opt: opt, shift: shift, prefix: prefix}
	for i := range s.buckets {
		s.buckets[i] = &bucket{opt: &s.opt, name: fmt.Sprintf("%s%02x", prefix, i)}
	}
	return s
}

// Add adds a record, whose payload is copied. It may be called from several goroutines.
// Records that are equal in all but their payload have no stated order.
func (s *Set) Add(r Record) error {
	if int64(len(r.Payload)) > 1<<32-1 {
		return fmt.Errorf("a record of %d bytes is too large to be put into order", len(r.Payload))
	}
	return s.buckets[r.Key>>s.shift%fanOut].add(r)
}

// Cut ends adding, and cuts the order into parts of as equal a number of records as can
// be. It returns how many records there are.
func (s *Set) Cut(parts int) (records int64, err error) {
	if err := s.settle(&s.leaves); err != nil {
		return 0, err
	}
	s.parts = parts
	for _, b := range s.leaves {
		b.first, s.length = s.length, s.length+b.count
	}
	for i := range parts {
		for _, b := range s.overlap(i) {
			b.uses++
		}
	}
	return s.length, nil
}

// settle closes the buckets' files and appends the buckets to leaves in order, those that
// are too large for both ways of reading cut by the next byte of the key.
func (s *Set) settle(leaves *[]*bucket) error {
	for _, b := range s.buckets {
		large := b.bytes() > s.opt.BucketBytes
		if large {
			if err := b.flush(); err != nil {
				return err
			}
			b.spare = nil
		}
		if err := b.close(); err != nil {
			return err
		}
		if b.far = large && (b.canBeFar() || s.shift == 0); b.far || !large {
			*leaves = append(*leaves, b)
			continue
		}
		finer := newSet(s.opt, s.shift-8, b.name)
		if err := errors.Join(b.each(finer.Add), finer.flush(), b.free()); err != nil {
			return err
		}
		if err := finer.settle(leaves); err != nil {
			return err
		}
	}
	return nil
}

// flush writes all buffers to files.
func (s *Set) flush() error {
	for _, b := range s.buckets {
		if err := b.flush(); err != nil {
			return err
		}
		b.spare = nil
	}
	return nil
}

// bounds are the ranks of a part's first record and of the one after its last.
func (s *Set) bounds(part int) (from, to int64) {
	n, parts := s.length, int64(s.parts)
	return int64(part) * n / parts, int64(part+1) * n / parts
}

// overlap returns the leaves that hold records of a part.
func (s *Set) overlap(part int) []*bucket {
	from, to := s.bounds(part)
	if from == to {
		return nil
	}
	first, _ := slices.BinarySearchFunc(s.leaves, from, func(b *bucket, rank int64) int {
		return cmp.Compare(b.first+b.count, rank+1)
	})
	last := first
	for last < len(s.leaves) && s.leaves[last].first < to {
		last++
	}
	return s.leaves[first:last]
}

// Each calls visit with the payload of every record of a part, in order. Every part is
// read once, several by different goroutines at the same time if need be; a bucket that
// no other part needs is deleted.
func (s *Set) Each(part int, visit func(payload []byte) error) error {
	from, to := s.bounds(part)
	for _, b := range s.overlap(part) {
		if err := b.visit(max(from-b.first, 0), min(to-b.first, b.count), visit); err != nil {
			return err
		}
		if err := b.release(); err != nil {
			return err
		}
	}
	return nil
}
