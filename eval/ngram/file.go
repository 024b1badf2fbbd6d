package ngram

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

const (
	magic       = "BZNGRAM\n"
	version     = 1
	headerBytes = 88
	// bodyBytesMax is beyond any machine's memory and keeps sums of sizes in range.
	bodyBytesMax = 1 << 50
)

// header is the start of a file; the package comment describes each field.
type header struct {
	order     int
	bytes     uint64
	minCount  uint64
	documents uint64
	tokens    uint64
	words     uint64
	grams     [OrderMax - 1]uint64
}

func (h header) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.order))
	for _, v := range []uint64{h.bytes, h.minCount, h.documents, h.tokens, h.words} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	for _, v := range h.grams {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

// parseHeader checks what can be checked without the body: what is declared must fit it.
func parseHeader(data []byte) (header, error) {
	if string(data[:8]) != magic {
		return header{}, errors.New("ngram model: not such a file (it does not begin with BZNGRAM)")
	}
	if v := binary.LittleEndian.Uint32(data[8:]); v != version {
		return header{}, fmt.Errorf("ngram model: version %d of the file, but this program reads "+
			"version %d; train the model again or use the program that wrote it", v, version)
	}
	h := header{order: int(binary.LittleEndian.Uint32(data[12:]))}
	for i, v := range []*uint64{&h.bytes, &h.minCount, &h.documents, &h.tokens, &h.words} {
		*v = binary.LittleEndian.Uint64(data[16+8*i:])
	}
	fits := h.order >= 1 && h.order <= OrderMax && h.bytes <= bodyBytesMax && h.words <= h.bytes/8
	for i := range h.grams {
		h.grams[i] = binary.LittleEndian.Uint64(data[56+8*i:])
		fits = fits && h.grams[i] <= h.bytes/2 && (h.grams[i] == 0 || i+2 <= h.order)
	}
	if !fits {
		return header{}, errDamaged
	}
	return h, nil
}

// WriteTo writes the model's file and returns how many bytes that took.
func (m *Model) WriteTo(w io.Writer) (int64, error) {
	head := m.head.append(nil)
	sum := xxh3.New()
	sum.Write(head)
	sum.Write(m.body)
	tail := binary.LittleEndian.AppendUint64(nil, sum.Sum64())
	var written int64
	for _, part := range [][]byte{head, m.body, tail} {
		n, err := w.Write(part)
		written += int64(n)
		if err != nil {
			return written, fmt.Errorf("ngram model: %w", err)
		}
	}
	return written, nil
}

// Read reads a model's file and no byte beyond its end. A file that is not one, of
// another version, cut or damaged is an error that says so.
func Read(r io.Reader) (*Model, error) {
	start := make([]byte, headerBytes)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, cut(err)
	}
	head, err := parseHeader(start)
	if err != nil {
		return nil, err
	}
	// The buffer grows with what arrives, so that a false length costs no memory.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(head.bytes)); err != nil {
		return nil, cut(err)
	}
	var tail [8]byte
	if _, err := io.ReadFull(r, tail[:]); err != nil {
		return nil, cut(err)
	}
	sum := xxh3.New()
	sum.Write(start)
	sum.Write(body.Bytes())
	if sum.Sum64() != binary.LittleEndian.Uint64(tail[:]) {
		return nil, errors.New("ngram model: the checksum differs; copy the file again or train again")
	}
	return compile(head, body.Bytes())
}

func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("ngram model: the file is cut short; copy it again or train again")
	}
	return fmt.Errorf("ngram model: %w", err)
}
