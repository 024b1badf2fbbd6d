package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/zeebo/xxh3"
)

// A block file holds a program's own records between two of its steps, where reading them
// again must cost next to nothing: blocks, each of
//
//	uint32 raw bytes · uint32 stored bytes · uint64 XXH3 of the stored bytes · stored bytes
//
// little-endian. The stored bytes are an S2 block, which is read at several times zstd's
// speed for about 1.4 times its size, measured on word problems.

// BlockBytesMax bounds one block, against damaged lengths.
const BlockBytesMax = 1 << 31

const blockHeadBytes = 16

// BlockWriter writes a block file.
type BlockWriter struct {
	w   io.Writer
	buf []byte
}

// NewBlockWriter returns a writer of blocks to w.
func NewBlockWriter(w io.Writer) *BlockWriter { return &BlockWriter{w: w} }

// Write appends one block. An error is that of the writer below, or says that the block is
// longer than [BlockBytesMax].
func (w *BlockWriter) Write(raw []byte) error {
	if len(raw) > BlockBytesMax {
		return fmt.Errorf("a block of %d bytes is longer than %d", len(raw), BlockBytesMax)
	}
	if need := blockHeadBytes + s2.MaxEncodedLen(len(raw)); cap(w.buf) < need {
		w.buf = make([]byte, need)
	}
	w.buf = w.buf[:cap(w.buf)]
	stored := s2.Encode(w.buf[blockHeadBytes:], raw)
	binary.LittleEndian.PutUint32(w.buf, uint32(len(raw)))
	binary.LittleEndian.PutUint32(w.buf[4:], uint32(len(stored)))
	binary.LittleEndian.PutUint64(w.buf[8:], xxh3.Hash(stored))
	_, err := w.w.Write(w.buf[:blockHeadBytes+len(stored)])
	return err
}

// BlockReader reads a block file.
type BlockReader struct {
	r      io.Reader
	stored []byte
}

// NewBlockReader returns a reader of the blocks of r.
func NewBlockReader(r io.Reader) *BlockReader { return &BlockReader{r: r} }

// Next returns the next block in memory of its own, or io.EOF behind the last. Damaged
// and shortened blocks are errors; what is allocated is what an intact head declares.
func (r *BlockReader) Next() ([]byte, error) {
	var head [blockHeadBytes]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, err // io.EOF between two blocks
	}
	raw, stored := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	if raw > BlockBytesMax {
		return nil, errors.New("block length out of range")
	}
	if err := r.fill(int(stored)); err != nil {
		return nil, err
	}
	if xxh3.Hash(r.stored) != binary.LittleEndian.Uint64(head[8:]) {
		return nil, errors.New("damaged block: its checksum is another")
	}
	if n, err := s2.DecodedLen(r.stored); err != nil || n != int(raw) {
		return nil, errors.Join(errors.New("damaged block: its length is another"), err)
	}
	return s2.Decode(nil, r.stored)
}

// fill reads n stored bytes, growing as they come.
func (r *BlockReader) fill(n int) error {
	r.stored = r.stored[:0]
	for len(r.stored) < n {
		at := len(r.stored)
		step := min(n-at, 1<<20)
		if cap(r.stored) < at+step {
			r.stored = append(r.stored, make([]byte, step)...)
		}
		r.stored = r.stored[:at+step]
		if _, err := io.ReadFull(r.r, r.stored[at:]); err != nil {
			return notEOF(err)
		}
	}
	return nil
}

func notEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
