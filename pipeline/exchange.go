package pipeline

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"bzdata/pipeline/store"
)

// Record is one message from a pass to its barrier.
type Record struct {
	Key     uint64
	Ref     Ref
	Payload []byte
}

func compareRecords(a, b Record) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), bytes.Compare(a.Payload, b.Payload), a.Ref.Compare(b.Ref))
}

// partOf cuts the key space into equal ranges.
func partOf(key uint64, parts int) int {
	hi, _ := bits.Mul64(key, uint64(parts))
	return int(hi)
}

// recordBytes is what a record costs in memory beside its payload.
const recordBytes = 48

// An exchange file holds what one task sent to one barrier: exchangeMagic, uint64
// parts, for each part its uint64 bytes, then the parts. A part is a run of
//
//	uint64 key · uvarint record · bytes payload
//
// in the order (key, payload, record). Numbers are little-endian.
const exchangeMagic = "BZEXC01\n"

// writeExchange writes recs, which it sorts, cut into parts. Sorted by key, the records of a
// part stand together.
func writeExchange(w io.Writer, recs []Record, parts int) error {
	slices.SortFunc(recs, compareRecords)
	sizes := make([]uint64, parts)
	var b []byte
	for _, r := range recs {
		b = appendRecord(b[:0], r)
		sizes[partOf(r.Key, parts)] += uint64(len(b))
	}
	b = binary.LittleEndian.AppendUint64([]byte(exchangeMagic), uint64(parts))
	for _, size := range sizes {
		b = binary.LittleEndian.AppendUint64(b, size)
	}
	for _, r := range recs {
		if b = appendRecord(b, r); len(b) >= 1<<16 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := w.Write(b)
	return err
}

func appendRecord(b []byte, r Record) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.Key)
	return appendBytes(binary.AppendUvarint(b, r.Ref.Record), r.Payload)
}

// readExchange appends part's records of one exchange file; shard becomes part of
// their refs. Their cost is taken from held.
func readExchange(fsys store.FS, name string, part int, shard uint32, dst []Record, held *account) ([]Record, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	at, size, err := exchangePart(f, part)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := held.take(size); err != nil {
		return nil, err
	}
	body := make([]byte, size)
	if _, err := f.ReadAt(body, at); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	for len(body) > 0 {
		r, rest, err := cutRecord(body, shard)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := held.take(recordBytes); err != nil {
			return nil, err
		}
		dst, body = append(dst, r), rest
	}
	return dst, nil
}

func exchangePart(f store.ReadFile, part int) (at, size int64, err error) {
	head := make([]byte, len(exchangeMagic)+8)
	if _, err := f.ReadAt(head, 0); err != nil || string(head[:len(exchangeMagic)]) != exchangeMagic {
		return 0, 0, errors.New("not an exchange file of this version")
	}
	parts := int(binary.LittleEndian.Uint64(head[len(exchangeMagic):]))
	if part >= parts || int64(parts) > f.Size()/8 {
		return 0, 0, fmt.Errorf("has %d parts, want part %d", parts, part)
	}
	table := make([]byte, 8*parts)
	if _, err := f.ReadAt(table, int64(len(head))); err != nil {
		return 0, 0, err
	}
	at = int64(len(head) + len(table))
	for i := range part {
		at += int64(binary.LittleEndian.Uint64(table[8*i:]))
	}
	size = int64(binary.LittleEndian.Uint64(table[8*part:]))
	if size < 0 || at < 0 || at+size > f.Size() {
		return 0, 0, errors.New("part lies outside the file")
	}
	return at, size, nil
}

func cutRecord(b []byte, shard uint32) (Record, []byte, error) {
	if len(b) < 8 {
		return Record{}, nil, io.ErrUnexpectedEOF
	}
	key := binary.LittleEndian.Uint64(b)
	record, n := binary.Uvarint(b[8:])
	size, m := binary.Uvarint(b[8+max(n, 0):])
	at := 8 + n + m
	if n <= 0 || m <= 0 || size > uint64(len(b)-at) {
		return Record{}, nil, io.ErrUnexpectedEOF
	}
	end := at + int(size)
	return Record{key, Ref{shard, record}, b[at:end:end]}, b[end:], nil
}

// BudgetError says that a task needs more memory than --memory allows.
type BudgetError struct {
	What  string
	Stage string
	Bytes int64 // the budget

	others bool // held some of it
}

// Error names the stage and what to do.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("stage %s: %s need more than the memory budget of %d bytes; raise --memory",
		e.Stage, e.What, e.Bytes)
}

// Partition is what a Reduce sees of an exchange: the records of one key range, sorted by
// (key, payload, document). Its records may be gone through several times.
type Partition struct {
	Index, Parts int

	records []Record
	node    *node // of the task
}

// tellEvery is after how many records a partition tells how far it is.
const tellEvery = 1 << 12

// Each calls visit with every record, in order. The payload is valid until visit returns.
func (p *Partition) Each(visit func(r Record) error) error {
	for i, r := range p.records {
		if err := visit(r); err != nil {
			return err
		}
		if p.node != nil && i%tellEvery == 0 {
			p.node.advance((1 + float64(i)/float64(len(p.records))) / 2)
		}
	}
	return nil
}

// Groups calls visit with each run of records of equal key, in order. The group and its
// payloads are valid until visit returns.
func (p *Partition) Groups(visit func(group []Record) error) error {
	var group []Record
	err := p.Each(func(r Record) error {
		if len(group) > 0 && group[0].Key != r.Key {
			if err := visit(group); err != nil {
				return err
			}
			group = group[:0]
		}
		group = append(group, r)
		return nil
	})
	if err != nil || len(group) == 0 {
		return err
	}
	return visit(group)
}
