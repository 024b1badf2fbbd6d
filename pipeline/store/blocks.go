package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/zeebo/xxh3"
)

// A block file holds a program's own records between two of its steps, where reading them
// again must cost next to nothing: blocks, each of
//
//	uint32 raw bytes · uint32 stored bytes · uint64 XXH3 of the stored bytes · stored bytes
//
// little-endian. The stored bytes are an S2 block, which is read at several times zstd's
// speed for about 1.4 times its size, measured on word problems. Where their number is
// given as 0 they are the raw bytes as they are: writing S2 takes ten times as long as
// writing to memory, of which small files are worth some more.

// BlockBytesMax bounds one block, against damaged lengths.
const BlockBytesMax = 1 << 31

const blockHeadBytes = 16

// BlockWriter writes a block file.
type BlockWriter struct {
	w     io.Writer
	plain bool
	buf   []byte
}

// NewBlockWriter returns a writer of blocks to w, which are compressed unless plain is set.
func NewBlockWriter(w io.Writer, plain bool) *BlockWriter { return &BlockWriter{w: w, plain: plain} }

// Write appends one block. An error is that of the writer below, or says that the block is
// longer than [BlockBytesMax].
func (w *BlockWriter) Write(raw []byte) error {
	if len(raw) > BlockBytesMax {
		return fmt.Errorf("a block of %d bytes is longer than %d", len(raw), BlockBytesMax)
	}
	if w.plain {
		w.buf = slices.Grow(w.buf[:0], blockHeadBytes)[:blockHeadBytes]
		w.putHead(len(raw), 0, raw)
		if _, err := w.w.Write(w.buf); err != nil {
			return err
		}
		_, err := w.w.Write(raw)
		return err
	}
	if need := blockHeadBytes + s2.MaxEncodedLen(len(raw)); cap(w.buf) < need {
		w.buf = make([]byte, need)
	}
	w.buf = w.buf[:cap(w.buf)]
	stored := s2.Encode(w.buf[blockHeadBytes:], raw)
	w.putHead(len(raw), len(stored), stored)
	_, err := w.w.Write(w.buf[:blockHeadBytes+len(stored)])
	return err
}

func (w *BlockWriter) putHead(raw, stored int, data []byte) {
	binary.LittleEndian.PutUint32(w.buf, uint32(raw))
	binary.LittleEndian.PutUint32(w.buf[4:], uint32(stored))
	binary.LittleEndian.PutUint64(w.buf[8:], xxh3.Hash(data))
}

// BlockReader reads a block file.
type BlockReader struct {
	r        io.ReaderAt
	at, size int64
	stored   []byte
}

// NewBlockReader returns a reader of the blocks of r, which has so many bytes.
func NewBlockReader(r io.ReaderAt, size int64) *BlockReader { return &BlockReader{r: r, size: size} }

// Block is a block of which only the head has been read.
type Block struct {
	// Bytes is the length of what [BlockReader.Read] returns.
	Bytes  int
	plain  bool
	at     int64 // of the stored bytes
	stored int64
	sum    uint64
}

// Next returns the next block, or io.EOF behind the last. One that is cut off is an error.
func (r *BlockReader) Next() (Block, error) {
	if r.at == r.size {
		return Block{}, io.EOF
	}
	var head [blockHeadBytes]byte
	if r.size-r.at < blockHeadBytes {
		return Block{}, io.ErrUnexpectedEOF
	}
	if err := r.fill(head[:], r.at); err != nil {
		return Block{}, err
	}
	raw, stored := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	if raw > BlockBytesMax {
		return Block{}, errors.New("block length out of range")
	}
	b := Block{Bytes: int(raw), plain: stored == 0, at: r.at + blockHeadBytes, stored: int64(stored),
		sum: binary.LittleEndian.Uint64(head[8:])}
	if b.plain {
		b.stored = int64(raw)
	}
	if b.stored > r.size-b.at {
		return Block{}, io.ErrUnexpectedEOF
	}
	r.at = b.at + b.stored
	return b, nil
}

// Read returns what is in a block, in memory of its own. Damage is an error; what is allocated
// is what an intact head declares.
func (r *BlockReader) Read(b Block) ([]byte, error) {
	stored := r.stored
	if b.plain || int64(cap(stored)) < b.stored {
		stored = make([]byte, b.stored)
	}
	stored = stored[:b.stored]
	if err := r.fill(stored, b.at); err != nil {
		return nil, err
	}
	if xxh3.Hash(stored) != b.sum {
		return nil, errors.New("damaged block: its checksum is another")
	}
	if b.plain {
		return stored, nil
	}
	r.stored = stored
	if n, err := s2.DecodedLen(stored); err != nil || n != b.Bytes {
		return nil, errors.Join(errors.New("damaged block: its length is another"), err)
	}
	return s2.Decode(nil, stored)
}

// fill reads bytes that the file has.
func (r *BlockReader) fill(b []byte, at int64) error {
	if n, err := r.r.ReadAt(b, at); n < len(b) {
		return notEOF(err)
	}
	return nil
}

func notEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
