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
	// bombExpansion is how many times its size a compressed file may have, beyond the first
	// bombFreeBytes: web text has 3 to 10, the same few lines over and over may have more.
	// Of zeros, gzip makes 1,032 bytes of one (RFC 1951), zstd 32,768 (RFC 8878, a block of
	// 128 KiB in 4 bytes). Without a bound, a small file could keep a run busy for days.
	bombExpansion = 250
	bombFreeBytes = 64 << 20
	// readBufferBytes is what one read asks of a file.
	readBufferBytes = 256 << 10
)

// Reader is an open file, decompressed as its name says.
type Reader struct {
	name string
	file ReadFile
	raw  *rawReader
	data io.Reader
	zstd *zstd.Decoder
	out  int64 // bytes given
}

// errExpansion is the error of a file that expands too much.
var errExpansion = fmt.Errorf("it has become more than %d times as long", bombExpansion)

// A ContentError says that what a file holds cannot be read: it is damaged, cut short, beyond
// a limit, or of a kind that is not supported. Reading it again does not help.
type ContentError struct {
	Name string // of the file
	Err  error
}

// Error names the file, and says what is wrong and what to do.
func (e *ContentError) Error() string { return e.Err.Error() }

// Unwrap returns what was found.
func (e *ContentError) Unwrap() error { return e.Err }

// OpenReader opens a file for reading and decompresses it if its name ends in .gz or
// .zst. One Reader uses one goroutine. Damaged or shortened data is a [*ContentError] of
// [Reader.Read].
func OpenReader(fsys FS, name string) (*Reader, error) { return openReader(fsys, name, nil, false) }

// openReader opens a file, or a plain one from where a part starts, and hashes its raw bytes
// if asked to.
func openReader(fsys FS, name string, part *LineRange, hashed bool) (*Reader, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	r := &Reader{name: name, file: file, raw: &rawReader{r: file, part: part != nil}}
	if part != nil {
		r.raw.r = io.NewSectionReader(file, part.From, max(0, file.Size()-part.From))
	}
	if hashed {
		r.raw.hash = sha256.New()
	}
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
	r.out += int64(n)
	if err == nil && r.out > bombFreeBytes && r.out/bombExpansion > r.raw.bytes {
		n, err = 0, errExpansion
	}
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
	case errors.Is(err, errExpansion):
		what, fix = "a decompression bomb", "leave it out, or decompress it first if it is meant"
	}
	err = fmt.Errorf("read %s after %d bytes: the file is %s (%w): %s", r.name, r.raw.bytes, what, err, fix)
	return &ContentError{r.name, err}
}

// sum returns the hash, if it was asked for, and the number of the raw bytes read so far:
// after io.EOF, those of the file. Of a part of a file they are zero.
func (r *Reader) sum() (hash [sha256.Size]byte, bytes int64) {
	if r.raw.part {
		return hash, 0
	}
	if r.raw.hash != nil {
		hash = [sha256.Size]byte(r.raw.hash.Sum(nil))
	}
	return hash, r.raw.bytes
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

// rawReader counts a file's bytes on their way, and hashes them if hash is set.
type rawReader struct {
	r     io.Reader
	part  bool // r is not the whole file
	hash  hash.Hash
	bytes int64
}

// Read reads raw bytes.
func (h *rawReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if h.hash != nil {
		h.hash.Write(p[:n])
	}
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
