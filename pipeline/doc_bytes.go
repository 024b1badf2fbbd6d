package pipeline

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// byteSource reads the building blocks of the package's own files: uvarints and
// length-prefixed bytes. The first error sticks.
type byteSource struct {
	r   *bufio.Reader
	buf []byte
	err error
}

// blockBytesMax bounds one length-prefixed block, against damaged lengths.
const blockBytesMax = 1 << 31

func newByteSource(r io.Reader) *byteSource { return &byteSource{r: bufio.NewReaderSize(r, 1<<16)} }

func (s *byteSource) atEnd() bool {
	_, err := s.r.Peek(1)
	return err == io.EOF
}

func (s *byteSource) fail(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if s.err == nil {
		s.err = err
	}
}

func (s *byteSource) uvarint() uint64 {
	v, err := binary.ReadUvarint(s.r)
	if err != nil {
		s.fail(err)
		return 0
	}
	return v
}

func (s *byteSource) byte() byte {
	b, err := s.r.ReadByte()
	if err != nil {
		s.fail(err)
	}
	return b
}

func (s *byteSource) uint64() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		s.fail(err)
	}
	return binary.LittleEndian.Uint64(b[:])
}

// bytes returns the next block, valid until the next call.
func (s *byteSource) bytes() []byte {
	n := s.uvarint()
	if n > blockBytesMax {
		s.fail(errors.New("block length out of range"))
	}
	if s.err != nil {
		return nil
	}
	// A damaged length must not allocate more than the stream holds: grow as it is read.
	s.buf = s.buf[:0]
	for uint64(len(s.buf)) < n {
		step := int(min(n-uint64(len(s.buf)), 1<<20))
		at := len(s.buf)
		s.buf = append(s.buf, make([]byte, step)...)
		if _, err := io.ReadFull(s.r, s.buf[at:]); err != nil {
			s.fail(err)
			return nil
		}
	}
	return s.buf
}
