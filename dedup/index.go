package dedup

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/zeebo/xxh3"
)

// A file of a kept index has entries of a 64-bit key and a 64-bit value, found by their key,
// and documents, each with a name and a set of 64-bit numbers. The value is where a document
// stands in the file, or what names it in others. The file is written, and read, front to back:
//
//	indexMagic
//	documents and blocks as they come, a document before the block of its entry:
//	    document: uvarint length of the name · uvarint numbers of the set · name ·
//	        uint64 for each number · uint64 XXH3 of what is before it
//	    block: up to indexBlockKeys entries of uint64 key and uint64 value, sorted by key ·
//	        uint64 XXH3 of the entries; all but the last block are full
//	for each block: uint64 first key · uint64 offset of the block
//	uint64 blocks · uint64 entries · uint64 XXH3 of the table of blocks and of these two · indexMagic
//
// Numbers are little-endian.
const (
	indexMagic      = "BZKIX02\n"
	indexEntryBytes = 16
	indexBlockKeys  = 1024
	indexTailBytes  = 3*8 + len(indexMagic)
	indexBlockBytes = indexBlockKeys*indexEntryBytes + 8
)

// IndexWriter writes a file of a kept index. It holds one block, and 16 bytes for each.
type IndexWriter struct {
	w       *bufio.Writer
	at      uint64
	table   []byte
	block   []byte
	entries uint64
	last    uint64
	buf     []byte
}

// NewIndexWriter returns a writer to w, which it leaves open.
func NewIndexWriter(w io.Writer) (*IndexWriter, error) {
	x := &IndexWriter{w: bufio.NewWriterSize(w, 1<<16)}
	return x, x.write([]byte(indexMagic))
}

// Document adds a document under a key, which must not be below the one before.
func (x *IndexWriter) Document(key uint64, name string, set []uint64) error {
	at := x.at
	b := binary.AppendUvarint(binary.AppendUvarint(x.buf[:0], uint64(len(name))), uint64(len(set)))
	b = append(b, name...)
	for _, v := range set {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	x.buf = binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
	return cmp.Or(x.write(x.buf), x.Entry(key, at))
}

// Entry adds an entry. No key may be below the one before; the values of one key are found in
// the order in which they were added.
func (x *IndexWriter) Entry(key, value uint64) error {
	if key < x.last {
		return fmt.Errorf("kept index: key %x is added after %x", key, x.last)
	}
	x.last, x.entries = key, x.entries+1
	x.block = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(x.block, key), value)
	if len(x.block) < indexBlockKeys*indexEntryBytes {
		return nil
	}
	return x.endBlock()
}

func (x *IndexWriter) endBlock() error {
	if len(x.block) == 0 {
		return nil
	}
	x.table = append(append(x.table, x.block[:8]...), binary.LittleEndian.AppendUint64(nil, x.at)...)
	x.block = binary.LittleEndian.AppendUint64(x.block, xxh3.Hash(x.block))
	err := x.write(x.block)
	x.block = x.block[:0]
	return err
}

func (x *IndexWriter) write(b []byte) error {
	x.at += uint64(len(b))
	_, err := x.w.Write(b)
	return err
}

// Close writes the end of the file.
func (x *IndexWriter) Close() error {
	if err := x.endBlock(); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint64(x.table, uint64(len(x.table)/16))
	b = binary.LittleEndian.AppendUint64(b, x.entries)
	b = binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
	return cmp.Or(x.write(append(b, indexMagic...)), x.w.Flush())
}

// Index reads a file of a kept index. It holds 16 bytes for each block, and a block; the file
// itself is open only as [IndexFiles] has room.
type Index struct {
	files   *IndexFiles
	name    string
	entries uint64
	end     uint64 // of documents and blocks
	table   []byte
	block   []byte // the latest one: its entries
	number  int    // of it, if there is one
	at      int    // the latest entry found, in bytes
	buf     []byte
}

// Open opens a file. One that is cut short or damaged is an error, here or where the damage
// is read.
func (p *IndexFiles) Open(name string) (*Index, error) {
	x := &Index{files: p, name: name}
	if err := x.readTail(); err != nil {
		return nil, x.damaged(err)
	}
	return x, nil
}

func (x *Index) damaged(err error) error {
	return fmt.Errorf("kept index %s: %w; run the plan of its generation again", x.name, err)
}

// errIndexDamaged says that a checksum does not fit.
var errIndexDamaged = errors.New("it is damaged, or not a file of this version")

func (x *Index) readTail() error {
	size, err := x.files.size(x.name)
	if err != nil {
		return err
	}
	room := size - int64(len(indexMagic)+indexTailBytes)
	if room < 0 {
		return errIndexDamaged
	}
	tail := make([]byte, indexTailBytes)
	if err := x.read(tail, uint64(size)-uint64(indexTailBytes)); err != nil {
		return err
	}
	blocks := binary.LittleEndian.Uint64(tail)
	x.entries = binary.LittleEndian.Uint64(tail[8:])
	if string(tail[24:]) != indexMagic || blocks > uint64(room)/16 ||
		x.entries > blocks*indexBlockKeys || x.entries+indexBlockKeys <= blocks*indexBlockKeys {
		return errIndexDamaged
	}
	x.end = uint64(size) - uint64(indexTailBytes) - 16*blocks
	x.table = make([]byte, 16*blocks+16) // with the two numbers, for their hash
	if err := x.read(x.table, x.end); err != nil {
		return err
	}
	if xxh3.Hash(x.table) != binary.LittleEndian.Uint64(tail[16:]) {
		return errIndexDamaged
	}
	x.table = x.table[:16*blocks]
	return nil
}

func (x *Index) read(b []byte, at uint64) error { return x.files.read(x.name, b, int64(at)) }

// Entries is the number of entries.
func (x *Index) Entries() int { return int(x.entries) }

// MemoryBytes is what reading holds.
func (x *Index) MemoryBytes() int64 { return int64(len(x.table)) + int64(indexBlockBytes) }

func (x *Index) blocks() int { return len(x.table) / 16 }

func (x *Index) first(block int) uint64 { return binary.LittleEndian.Uint64(x.table[16*block:]) }

// Range returns the first and the last key of a file that has one.
func (x *Index) Range() (first, last uint64, err error) {
	if err := x.load(x.blocks() - 1); err != nil {
		return 0, 0, x.damaged(err)
	}
	return x.first(0), x.key(len(x.block) - indexEntryBytes), nil
}

// key is that of an entry of the block.
func (x *Index) key(at int) uint64 { return binary.LittleEndian.Uint64(x.block[at:]) }

// load makes a block the latest one.
func (x *Index) load(number int) error {
	if len(x.block) > 0 && x.number == number {
		return nil
	}
	x.block = nil
	n := int(min(indexBlockKeys, x.entries-uint64(number)*indexBlockKeys)) * indexEntryBytes
	at := binary.LittleEndian.Uint64(x.table[16*number+8:])
	if at > x.end || x.end-at < uint64(n+8) {
		return errIndexDamaged
	}
	x.buf = slices.Grow(x.buf[:0], indexBlockBytes)[:n+8]
	if err := x.read(x.buf, at); err != nil {
		return err
	}
	if xxh3.Hash(x.buf[:n]) != binary.LittleEndian.Uint64(x.buf[n:]) {
		return errIndexDamaged
	}
	x.block, x.number, x.at = x.buf[:n], number, 0
	return nil
}

// seek finds the first entry that is not below a key, and reports whether there is one. Keys
// that rise from call to call cost least: then it goes on from the entry found last.
func (x *Index) seek(key uint64) (bool, error) {
	if n := len(x.block); n == 0 || key <= x.first(x.number) || key > x.key(n-indexEntryBytes) {
		from := sort.Search(x.blocks(), func(i int) bool { return x.first(i) >= key })
		if x.blocks() == 0 {
			return false, nil
		}
		if err := x.load(max(0, from-1)); err != nil { // which may end with the key
			return false, err
		}
		if x.key(len(x.block)-indexEntryBytes) < key {
			if from == x.blocks() {
				return false, nil
			}
			return true, x.moveTo(from)
		}
	}
	if x.at > 0 && x.key(x.at-indexEntryBytes) >= key {
		x.at = 0
	}
	for x.key(x.at) < key {
		x.at += indexEntryBytes
	}
	return true, nil
}

// moveTo goes to the start of a block.
func (x *Index) moveTo(number int) error {
	err := x.load(number)
	x.at = 0
	return err
}

// Find appends the values of a key to dst, at most most, in the order in which they were added.
func (x *Index) Find(dst []uint64, key uint64, most int) ([]uint64, error) {
	some, err := x.seek(key)
	for ; some && err == nil && most > 0 && x.key(x.at) == key; most-- {
		dst = append(dst, binary.LittleEndian.Uint64(x.block[x.at+8:]))
		if x.at+indexEntryBytes < len(x.block) {
			x.at += indexEntryBytes
		} else if some = x.number+1 < x.blocks(); some {
			err = x.moveTo(x.number + 1)
		}
	}
	if err != nil {
		return dst, x.damaged(err)
	}
	return dst, nil
}

// documentGuess is how much is read for a document at first.
const documentGuess = 4096

// Document returns the name and the set of the document at a place.
func (x *Index) Document(at uint64) (name string, set []uint64, err error) {
	name, set, err = x.document(at)
	if err != nil {
		return "", nil, x.damaged(err)
	}
	return name, set, nil
}

func (x *Index) document(at uint64) (string, []uint64, error) {
	if at >= x.end {
		return "", nil, errIndexDamaged
	}
	b := make([]byte, min(documentGuess, x.end-at))
	if err := x.read(b, at); err != nil {
		return "", nil, err
	}
	length, n := binary.Uvarint(b)
	numbers, m := binary.Uvarint(b[max(0, n):])
	head := uint64(n + m)
	if n <= 0 || m <= 0 || length > x.end-at || numbers > (x.end-at)/8 || head+length+8*numbers+8 > x.end-at {
		return "", nil, errIndexDamaged
	}
	total := head + length + 8*numbers + 8
	if have := uint64(len(b)); have < total {
		b = slices.Grow(b, int(total-have))[:total]
		if err := x.read(b[have:], at+have); err != nil {
			return "", nil, err
		}
	}
	body := b[:total-8]
	if xxh3.Hash(body) != binary.LittleEndian.Uint64(b[total-8:]) {
		return "", nil, errIndexDamaged
	}
	set := make([]uint64, numbers)
	for i := range set {
		set[i] = binary.LittleEndian.Uint64(body[head+length+8*uint64(i):])
	}
	return string(body[head : head+length]), set, nil
}
