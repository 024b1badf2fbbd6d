package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindowMax bounds a decoder's memory: the window of zstd --ultra -22 --long=27,
	// which is also the largest that the zstd command accepts unasked.
	zstdWindowMax = 128 << 20
	// readBufferBytes is what one read asks of a file.
	readBufferBytes = 256 << 10
)

// Reader is an open file, decompressed as its name says. It counts and hashes the
// raw bytes on their way.
type Reader struct {
	name string
	file ReadFile
	raw  *hashReader
	data io.Reader
	zstd *zstd.Decoder
}

// OpenReader opens a file for reading and decompresses it if its name ends in .gz or
// .zst. One Reader uses one goroutine. Damaged or shortened data is an error of
// [Reader.Read] that names the file.
func OpenReader(fsys FS, name string) (*Reader, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	r := &Reader{name: name, file: file, raw: &hashReader{r: file, hash: sha256.New()}}
	if r.data, err = r.decompressor(CompressionOf(name)); err != nil {
		return nil, errors.Join(r.damaged(err), file.Close())
	}
	return r, nil
}

func (r *Reader) decompressor(c Compression) (io.Reader, error) {
	if c != Plain && r.file.Size() == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	var err error
	switch c {
	case Gzip:
		return gzip.NewReader(&sizedReader{r: r.raw})
	case Zstd:
		r.zstd, err = zstd.NewReader(r.raw, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(zstdWindowMax))
		return r.zstd, err
	}
	return r.raw, nil
}

// Read reads decompressed bytes. The error is io.EOF, or names the file.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.data.Read(p)
	if err != nil && err != io.EOF {
		err = r.damaged(err)
	}
	return n, err
}

// damaged says what a decoder's error means to whoever has the file.
func (r *Reader) damaged(err error) error {
	var read *readError
	if errors.As(err, &read) {
		return fmt.Errorf("read %s: %w", r.name, read.err)
	}
	what, fix := "damaged", "fetch it again"
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "cut short"
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		what = "not compressed as its name says, or followed by foreign bytes"
		fix = "rename it or fetch it again"
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		what = fmt.Sprintf("compressed with a window of more than %d MiB", zstdWindowMax>>20)
		fix = "compress it again without --long"
	}
	return fmt.Errorf("read %s after %d bytes: the file is %s (%w): %s", r.name, r.raw.bytes, what, err, fix)
}

// Bytes returns how many raw bytes were read so far; after io.EOF, the file's size.
func (r *Reader) Bytes() int64 { return r.raw.bytes }

// SHA256 returns the hash of the raw bytes read so far; after io.EOF, of the file.
func (r *Reader) SHA256() [sha256.Size]byte {
	return [sha256.Size]byte(r.raw.hash.Sum(nil))
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.zstd != nil {
		r.zstd.Close()
	}
	return r.file.Close()
}

// readError marks an error of the file itself among those of a decoder.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

type hashReader struct {
	r     io.Reader
	hash  hash.Hash
	bytes int64
}

func (h *hashReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.hash.Write(p[:n])
	h.bytes += int64(n)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

// sizedReader reads ahead in large pieces. As an io.ByteReader it also keeps gzip
// from wrapping it in a smaller buffer.
type sizedReader struct {
	r        io.Reader
	buf      []byte
	from, to int
}

func (s *sizedReader) fill() error {
	if s.buf == nil {
		s.buf = make([]byte, readBufferBytes)
	}
	n, err := s.r.Read(s.buf)
	s.from, s.to = 0, n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (s *sizedReader) Read(p []byte) (int, error) {
	if s.from == s.to {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.buf[s.from:s.to])
	s.from += n
	return n, nil
}

func (s *sizedReader) ReadByte() (byte, error) {
	if s.from == s.to {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	s.from++
	return s.buf[s.from-1], nil
}

// Effort is how hard a writer compresses.
type Effort uint8

// The efforts, with zstd's and gzip's levels.
const (
	EffortDefault Effort = iota // zstd's default (about level 3), gzip level 6
	EffortFastest               // zstd's fastest (about level 1), gzip level 1
)

// NewCompressor returns a writer that compresses into w. Close ends the stream and
// leaves w open. Equal writes give equal bytes: one goroutine, fixed settings, no
// name or time in the header.
func NewCompressor(w io.Writer, c Compression, effort Effort) (io.WriteCloser, error) {
	switch c {
	case Plain:
		return nopCloser{w}, nil
	case Gzip:
		level := gzip.DefaultCompression
		if effort == EffortFastest {
			level = gzip.BestSpeed
		}
		return gzip.NewWriterLevel(w, level)
	case Zstd:
		return &zstdWriter{w: w, effort: effort}, nil
	}
	return nil, fmt.Errorf("compression %d is unknown", c)
}

// zstdEncoders keeps encoders for the next file, by effort: one holds 8 MiB of history,
// most of what a small file costs.
var zstdEncoders [2]sync.Pool

// zstdEmpty is the frame of no data: of a single segment, so that reading it takes no
// window (RFC 8878, section 3.1.1).
const zstdEmpty = "\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"

// zstdWriter is a zstd stream that takes an encoder once there is something to write.
type zstdWriter struct {
	w      io.Writer
	effort Effort
	enc    *zstd.Encoder
	closed bool
}

// Write compresses p.
func (z *zstdWriter) Write(p []byte) (int, error) {
	if z.closed {
		return 0, zstd.ErrEncoderClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if z.enc == nil {
		if err := z.take(); err != nil {
			return 0, err
		}
	}
	return z.enc.Write(p)
}

func (z *zstdWriter) take() (err error) {
	if enc, ok := zstdEncoders[z.effort].Get().(*zstd.Encoder); ok {
		enc.Reset(z.w)
		z.enc = enc
		return nil
	}
	level := zstd.SpeedDefault
	if z.effort == EffortFastest {
		level = zstd.SpeedFastest
	}
	z.enc, err = zstd.NewWriter(z.w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(true))
	return err
}

// Close ends the stream.
func (z *zstdWriter) Close() error {
	if z.closed {
		return nil
	}
	z.closed = true
	if z.enc == nil {
		_, err := io.WriteString(z.w, zstdEmpty)
		return err
	}
	err := z.enc.Close()
	z.enc.Reset(nil)
	zstdEncoders[z.effort].Put(z.enc)
	z.enc = nil
	return err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
