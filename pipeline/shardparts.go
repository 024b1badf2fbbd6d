package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bzdata/pipeline/store"
)

// A file of shard parts holds a block of bytes for each shard, so that the tasks of many
// shards read only what is theirs: the blocks of the shards 0 to n-1, n times uint64, the
// offsets at which they end, uint64 n, shardPartsMagic. Numbers are little-endian. Shards from
// n on have no block.
const shardPartsMagic = "BZSHP02\n"

// shardPartsTail is the size of what follows the offsets.
const shardPartsTail = 16

// ShardPartsWriter writes a file of shard parts as it is made.
type ShardPartsWriter struct {
	w    io.Writer
	buf  []byte
	at   uint64
	ends []byte // as they will stand in the file
}

// NewShardPartsWriter returns a writer of a file without blocks.
func NewShardPartsWriter(w io.Writer) *ShardPartsWriter { return &ShardPartsWriter{w: w} }

// shardPartsBuffer is how much is written at a time.
const shardPartsBuffer = 64 << 10

// Write adds bytes to the block of a shard. Shards must not fall.
func (w *ShardPartsWriter) Write(shard int, b []byte) error {
	if 8*shard < len(w.ends) {
		return fmt.Errorf("the part of shard %d is written after that of shard %d", shard, len(w.ends)/8)
	}
	w.endBefore(shard)
	w.buf, w.at = append(w.buf, b...), w.at+uint64(len(b))
	if len(w.buf) < shardPartsBuffer {
		return nil
	}
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// endBefore notes the ends of the blocks of the shards before one.
func (w *ShardPartsWriter) endBefore(shard int) {
	for len(w.ends) < 8*shard {
		w.ends = binary.LittleEndian.AppendUint64(w.ends, w.at)
	}
}

// Close ends the file, which has blocks for so many shards at least; it leaves the underlying
// writer open.
func (w *ShardPartsWriter) Close(shards int) error {
	if w.at > 0 {
		w.endBefore(len(w.ends)/8 + 1)
	}
	w.endBefore(shards)
	n := uint64(len(w.ends) / 8)
	b := binary.LittleEndian.AppendUint64(append(w.buf, w.ends...), n)
	_, err := w.w.Write(append(b, shardPartsMagic...))
	return err
}

// WriteShardParts writes a file of shard parts: parts[i] is the block of shard i.
func WriteShardParts(w io.Writer, parts [][]byte) error {
	pw := NewShardPartsWriter(w)
	for i, p := range parts {
		if err := pw.Write(i, p); err != nil {
			return err
		}
	}
	return pw.Close(len(parts))
}

// ReadShardPart returns the block of one shard, reading no other; it is nil if the shard
// has none.
func ReadShardPart(fsys store.FS, name string, shard int) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	part, err := readShardPart(f, shard)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return part, nil
}

func readShardPart(f store.ReadFile, shard int) ([]byte, error) {
	var tail [shardPartsTail]byte
	after := f.Size() - shardPartsTail
	if after < 0 {
		return nil, errors.New("not a file of shard parts of this version")
	}
	if _, err := f.ReadAt(tail[:], after); notEOF(err) != nil {
		return nil, err
	}
	if string(tail[8:]) != shardPartsMagic {
		return nil, errors.New("cut short, or not a file of shard parts of this version")
	}
	n := binary.LittleEndian.Uint64(tail[:])
	if n > uint64(after)/8 {
		return nil, errors.New("its table is longer than the file")
	}
	if uint64(shard) >= n {
		return nil, nil
	}
	table := after - 8*int64(n)
	var last [8]byte
	if _, err := f.ReadAt(last[:], after-8); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint64(last[:]) != uint64(table) {
		return nil, errors.New("its table is not where its blocks end")
	}
	var ends [16]byte // of the shard before, and of this one
	from := ends[8:]
	if shard > 0 {
		from = ends[:]
	}
	if _, err := f.ReadAt(from, table+8*int64(shard+1)-int64(len(from))); err != nil {
		return nil, err
	}
	return readShardBlock(f, shard, uint64(table), ends)
}

func readShardBlock(f store.ReadFile, shard int, table uint64, ends [16]byte) ([]byte, error) {
	from, to := binary.LittleEndian.Uint64(ends[:]), binary.LittleEndian.Uint64(ends[8:])
	if from > to || to > table {
		return nil, fmt.Errorf("the part of shard %d lies outside the file", shard)
	}
	if from == to {
		return nil, nil
	}
	part := make([]byte, to-from)
	if _, err := f.ReadAt(part, int64(from)); notEOF(err) != nil {
		return nil, err
	}
	return part, nil
}

// notEOF leaves out the error of a file that ends where it was read to.
func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
