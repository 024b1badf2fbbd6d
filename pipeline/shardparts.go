package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bzdata/pipeline/store"
)

// A file of shard parts holds a block of bytes for each shard, so that the tasks of many
// shards read only what is theirs: shardPartsMagic, uint64 n, n+1 times uint64, the
// offsets in the file at which the blocks of the shards 0 to n-1 begin and the last
// ends, then the blocks. Numbers are little-endian. Shards from n on have no block.
const shardPartsMagic = "BZSHP01\n"

// WriteShardParts writes a file of shard parts: parts[i] is the block of shard i.
func WriteShardParts(w io.Writer, parts [][]byte) error {
	head := binary.LittleEndian.AppendUint64([]byte(shardPartsMagic), uint64(len(parts)))
	at := uint64(len(head) + 8*(len(parts)+1))
	head = binary.LittleEndian.AppendUint64(head, at)
	for _, p := range parts {
		at += uint64(len(p))
		head = binary.LittleEndian.AppendUint64(head, at)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
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
	const start = len(shardPartsMagic) + 8
	head := make([]byte, start)
	if _, err := f.ReadAt(head, 0); err != nil || string(head[:len(shardPartsMagic)]) != shardPartsMagic {
		return nil, errors.Join(errors.New("not a file of shard parts of this version"), notEOF(err))
	}
	n := binary.LittleEndian.Uint64(head[len(shardPartsMagic):])
	if n > uint64(f.Size())/8 {
		return nil, errors.New("its table is longer than the file")
	}
	if uint64(shard) >= n {
		return nil, nil
	}
	var ends [16]byte
	if _, err := f.ReadAt(ends[:], int64(start+8*shard)); err != nil {
		return nil, err
	}
	from, to := binary.LittleEndian.Uint64(ends[:]), binary.LittleEndian.Uint64(ends[8:])
	if from > to || from < uint64(start)+8*(n+1) || to > uint64(f.Size()) {
		return nil, fmt.Errorf("the part of shard %d lies outside the file", shard)
	}
	if from == to {
		return nil, nil
	}
	part := make([]byte, to-from)
	if _, err := f.ReadAt(part, int64(from)); err != nil && err != io.EOF {
		return nil, err
	}
	return part, nil
}

// notEOF leaves out the error of a file that is too short.
func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
