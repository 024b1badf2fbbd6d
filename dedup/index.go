package dedup

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	"bzdata/pipeline/store"

	"github.com/zeebo/xxh3"
)

// A file of a kept index holds documents with a name and a set of 64-bit numbers, found by
// their keys:
//
//	indexMagic
//	for each document: uvarint length · name · uint64 for each number of the set ·
//	    uint64 XXH3 of what is before it
//	keys, sorted: blocks of up to indexBlockKeys entries of uint64 key and uint32 document,
//	    each block followed by its uint64 XXH3
//	uint64 offset for each document, and where the last one ends
//	uint64 documents · uint64 keys · uint64 XXH3 of the offsets and of these two · indexMagic
//
// Numbers are little-endian.
const (
	indexMagic      = "BZKIX01\n"
	indexEntryBytes = 12
	indexBlockKeys  = 1024
	indexTailBytes  = 3*8 + len(indexMagic)
	indexBlockBytes = indexBlockKeys*indexEntryBytes + 8
)

type indexEntry struct {
	key uint64
	doc uint32
}

// IndexWriter writes a file of a kept index. It holds 16 bytes for each key and 8 for each
// document.
type IndexWriter struct {
	w       *bufio.Writer
	at      uint64
	offsets []uint64
	entries []indexEntry
	buf     []byte
}

// NewIndexWriter returns a writer to w, which it leaves open.
func NewIndexWriter(w io.Writer) (*IndexWriter, error) {
	x := &IndexWriter{w: bufio.NewWriterSize(w, 1<<16), at: uint64(len(indexMagic))}
	_, err := x.w.WriteString(indexMagic)
	return x, err
}

// Add adds a document. Documents of one key are found in the order in which they were added.
func (x *IndexWriter) Add(name string, keys, set []uint64) error {
	if len(x.offsets) >= math.MaxUint32 {
		return errors.New("a file of a kept index holds at most 2^32-1 documents")
	}
	for _, key := range keys {
		x.entries = append(x.entries, indexEntry{key, uint32(len(x.offsets))})
	}
	x.offsets = append(x.offsets, x.at)
	b := append(binary.AppendUvarint(x.buf[:0], uint64(len(name))), name...)
	for _, v := range set {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return x.write(binary.LittleEndian.AppendUint64(b, xxh3.Hash(b)))
}

func (x *IndexWriter) write(b []byte) error {
	x.buf, x.at = b, x.at+uint64(len(b))
	_, err := x.w.Write(b)
	return err
}

// Close writes the keys and the end of the file.
func (x *IndexWriter) Close() error {
	x.offsets = append(x.offsets, x.at)
	slices.SortFunc(x.entries, func(a, b indexEntry) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.doc, b.doc)) })
	for block := range slices.Chunk(x.entries, indexBlockKeys) {
		b := x.buf[:0]
		for _, e := range block {
			b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(b, e.key), e.doc)
		}
		if err := x.write(binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))); err != nil {
			return err
		}
	}
	b := x.buf[:0]
	for _, at := range x.offsets {
		b = binary.LittleEndian.AppendUint64(b, at)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(x.offsets)-1))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(x.entries)))
	b = binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
	return cmp.Or(x.write(append(b, indexMagic...)), x.w.Flush())
}

// Index reads a file of a kept index. Keys are asked for in rising order.
type Index struct {
	f             store.ReadFile
	name          string
	docs, entries uint64
	keysAt        int64
	offsets       []byte
	block         []byte // entries of the current block that are left
	next          int64  // number of the block after it
	buf           []byte
}

// OpenIndex opens a file. One that is cut short or damaged is an error, here or where the
// damage is read.
func OpenIndex(fsys store.FS, name string) (*Index, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	x := &Index{f: f, name: name}
	if err := x.readTail(); err != nil {
		return nil, errors.Join(x.damaged(err), f.Close())
	}
	return x, nil
}

func (x *Index) damaged(err error) error {
	return fmt.Errorf("kept index %s: %w; run the plan of its generation again", x.name, err)
}

// errIndexDamaged says that a checksum does not fit.
var errIndexDamaged = errors.New("it is damaged, or not a file of this version")

func (x *Index) readTail() error {
	size, tail := x.f.Size(), make([]byte, indexTailBytes)
	if size < int64(len(indexMagic)+8+indexTailBytes) {
		return errIndexDamaged
	}
	if err := x.read(tail, size-int64(indexTailBytes)); err != nil {
		return err
	}
	x.docs, x.entries = binary.LittleEndian.Uint64(tail), binary.LittleEndian.Uint64(tail[8:])
	room := uint64(size-int64(indexTailBytes)) / 8
	if string(tail[24:]) != indexMagic || x.docs >= room || x.entries > uint64(size)/indexEntryBytes {
		return errIndexDamaged
	}
	x.offsets = make([]byte, 8*(x.docs+1)+16)
	offsetsAt := size - int64(indexTailBytes) - int64(8*(x.docs+1))
	if err := x.read(x.offsets, offsetsAt); err != nil {
		return err
	}
	blocks := (x.entries + indexBlockKeys - 1) / indexBlockKeys
	x.keysAt = offsetsAt - int64(x.entries*indexEntryBytes+8*blocks)
	sum := binary.LittleEndian.Uint64(tail[16:])
	if xxh3.Hash(x.offsets) != sum || x.keysAt < int64(len(indexMagic)) || x.offset(x.docs) != uint64(x.keysAt) {
		return errIndexDamaged
	}
	return nil
}

func (x *Index) read(b []byte, at int64) error {
	if n, err := x.f.ReadAt(b, at); n < len(b) {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return nil
}

func (x *Index) offset(doc uint64) uint64 { return binary.LittleEndian.Uint64(x.offsets[8*doc:]) }

// Documents is the number of documents.
func (x *Index) Documents() int { return int(x.docs) }

// MemoryBytes is what lookups hold: 8 bytes for each document, and a block of keys.
func (x *Index) MemoryBytes() int64 { return int64(len(x.offsets)) + int64(indexBlockBytes) }

// Close closes the file.
func (x *Index) Close() error { return x.f.Close() }

func (x *Index) blocks() int64 { return int64((x.entries + indexBlockKeys - 1) / indexBlockKeys) }

// readBlock makes a block the current one.
func (x *Index) readBlock(n int64) error {
	keys := min(indexBlockKeys, int64(x.entries)-n*indexBlockKeys)
	x.buf = slices.Grow(x.buf[:0], indexBlockBytes)[:keys*indexEntryBytes+8]
	if err := x.read(x.buf, x.keysAt+n*int64(indexBlockBytes)); err != nil {
		return err
	}
	body := x.buf[:len(x.buf)-8]
	if xxh3.Hash(body) != binary.LittleEndian.Uint64(x.buf[len(body):]) {
		return errIndexDamaged
	}
	x.block, x.next = body, n+1
	return nil
}

// seek moves to the first entry of a key or of those after it.
func (x *Index) seek(key uint64) (err error) {
	if x.next == 0 { // the first question may be far into the keys
		n := sort.Search(int(x.blocks()), func(i int) bool {
			var first [8]byte
			if e := x.read(first[:], x.keysAt+int64(i)*int64(indexBlockBytes)); e != nil {
				err = e
			}
			return binary.LittleEndian.Uint64(first[:]) >= key
		})
		if x.next = int64(max(0, n-1)); err != nil {
			return err
		}
	}
	for {
		if n := len(x.block); n > 0 && binary.LittleEndian.Uint64(x.block[n-indexEntryBytes:]) >= key {
			break // in this block
		}
		if x.next >= x.blocks() {
			x.block = nil
			return nil
		}
		if err := x.readBlock(x.next); err != nil {
			return err
		}
	}
	for len(x.block) > 0 && binary.LittleEndian.Uint64(x.block) < key {
		x.block = x.block[indexEntryBytes:]
	}
	return nil
}

// Find appends to dst the documents of a key, at most max, in the order in which they were
// added. No key may be smaller than the one before.
func (x *Index) Find(dst []uint32, key uint64, most int) ([]uint32, error) {
	for found := 0; ; {
		if err := x.seek(key); err != nil {
			return dst, x.damaged(err)
		}
		if len(x.block) == 0 || binary.LittleEndian.Uint64(x.block) != key {
			return dst, nil
		}
		for len(x.block) > 0 && binary.LittleEndian.Uint64(x.block) == key {
			if found++; found <= most {
				dst = append(dst, binary.LittleEndian.Uint32(x.block[8:]))
			}
			x.block = x.block[indexEntryBytes:]
		}
	}
}

// Document returns the name and the set of a document.
func (x *Index) Document(doc uint32) (name string, set []uint64, err error) {
	if uint64(doc) >= x.docs {
		return "", nil, x.damaged(errIndexDamaged)
	}
	from, to := x.offset(uint64(doc)), x.offset(uint64(doc)+1)
	if from > to || to > uint64(x.keysAt) || to-from < 9 {
		return "", nil, x.damaged(errIndexDamaged)
	}
	b := make([]byte, to-from)
	if err := x.read(b, int64(from)); err != nil {
		return "", nil, x.damaged(err)
	}
	body := b[:len(b)-8]
	length, n := binary.Uvarint(body)
	if xxh3.Hash(body) != binary.LittleEndian.Uint64(b[len(body):]) || n <= 0 || length > uint64(len(body)-n) {
		return "", nil, x.damaged(errIndexDamaged)
	}
	name, body = string(body[n:n+int(length)]), body[n+int(length):]
	for ; len(body) >= 8; body = body[8:] {
		set = append(set, binary.LittleEndian.Uint64(body))
	}
	return name, set, nil
}
