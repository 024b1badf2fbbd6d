package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// expansionMax is how many bytes one compressed byte can stand for: LZ4 adds 255 to a
// length for each byte, DEFLATE codes 258 bytes in two bits, a zstd block of four bytes
// can stand for 128 KiB. Brotli has no such bound; its is that of the plainest text.
// Snappy says its size at the start.
func expansionMax(codec format.CompressionCodec) int {
	switch codec {
	case format.Lz4Raw:
		return 255
	case format.Gzip:
		return 1032
	case format.Zstd:
		return 1 << 15
	}
	return 1 << 20
}

// errPageSize says that a page's content and its header disagree.
var errPageSize = errors.New("a page decompresses to another size than its header says")

// fits reports whether stored bytes may decompress to that many.
func fits(unpacked, stored int64, codec format.CompressionCodec) bool {
	return unpacked <= (stored+1)*int64(expansionMax(codec))
}

// unpacker decompresses pages, never to more than the size asked for.
type unpacker struct {
	zstd   *zstd.Decoder
	gzip   gzip.Reader
	brotli *brotli.Reader
	src    bytes.Reader
	chunk  *chunkInfo // of which a page was last asked for
	held   int64      // what the pages at hand of all columns take
}

// unpack decompresses src so that it fills dst.
func (u *unpacker) unpack(dst, src []byte, codec format.CompressionCodec) error {
	switch codec {
	case format.Snappy:
		if n, err := snappy.DecodedLen(src); err != nil || n != len(dst) {
			return errors.Join(errPageSize, err)
		}
		_, err := snappy.Decode(dst, src)
		return err
	case format.Zstd:
		return u.unpackZstd(dst, src)
	case format.Lz4Raw:
		n, err := lz4.UncompressBlock(src, dst)
		if err == nil && n != len(dst) {
			err = errPageSize
		}
		return err
	case format.Gzip:
		u.src.Reset(src)
		if err := u.gzip.Reset(&u.src); err != nil {
			return err
		}
		return readExactly(&u.gzip, dst)
	case format.Brotli:
		u.src.Reset(src)
		if u.brotli == nil {
			u.brotli = brotli.NewReader(nil)
		}
		if err := u.brotli.Reset(&u.src); err != nil {
			return err
		}
		return readExactly(u.brotli, dst)
	}
	return &unsupportedError{codec.String() + " compression", "write the file with zstd"}
}

func (u *unpacker) unpackZstd(dst, src []byte) error {
	if u.zstd == nil {
		var err error
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
	}
	out, err := u.zstd.DecodeAll(src, dst[:0:len(dst)])
	if err == nil && len(out) != len(dst) {
		err = errPageSize
	}
	return err
}

// readExactly fills dst from a stream that must end there.
func readExactly(r io.Reader, dst []byte) error {
	if _, err := io.ReadFull(r, dst); err != nil {
		return err
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != io.EOF {
		return errors.Join(errPageSize, err)
	}
	return nil
}

// Encodings of values and levels.
const (
	encodingPlain           = 0
	encodingPlainDictionary = 2
	encodingRLE             = 3
	encodingDeltaPacked     = 5
	encodingDeltaLengths    = 6
	encodingDeltaByteArray  = 7
	encodingDictionary      = 8
)

// checkData checks the parts of a data page whose size does not bound what they decode
// to. Of booleans in runs it makes plain ones.
func (s *pageStream) checkData(h *pageHeader, levels, body []byte) (_, _ []byte, err error) {
	present := h.values - h.nulls // values that are not null
	if h.kind == dataPageV2 {
		err = s.checkRows(levels[:h.repBytes], h.values)
		if err == nil {
			err = checkLevels(levels[h.repBytes:], h.values, s.chunk.maxDef)
		}
	} else {
		levels, body, present, err = s.levelsV1(h, body)
	}
	if err != nil {
		return nil, nil, err
	}
	if h.encoding != encodingPlain {
		if err := s.hold(h, laidOutBytes*present); err != nil {
			return nil, nil, err
		}
	}
	switch h.encoding {
	case encodingPlain:
		err = s.checkPlain(body, present)
	case encodingPlainDictionary, encodingDictionary:
		err = checkDictionaryPage(body, h.values)
	case encodingRLE:
		if s.chunk.physical != format.Boolean {
			return nil, nil, errors.New("runs of values that are no BOOLEANs")
		}
		h.encoding = encodingPlain
		body, err = plainBooleans(body, present)
	case encodingDeltaPacked:
		_, _, err = deltaHead(body, h.values)
	case encodingDeltaLengths, encodingDeltaByteArray:
		err = checkDeltaStrings(body, h.values, h.encoding == encodingDeltaByteArray)
	}
	return levels, body, err
}

// levelsV1 splits the levels off a version 1 page and counts the values that are there.
func (s *pageStream) levelsV1(h *pageHeader, body []byte) (levels, rest []byte, present int64, err error) {
	rest, present = body, h.values
	for i, level := range []struct {
		max      int
		encoding int64
	}{{s.chunk.maxRep, h.repEncoding}, {s.chunk.maxDef, h.defEncoding}} {
		if level.max == 0 {
			continue
		}
		if level.encoding != encodingRLE {
			what := fmt.Sprintf("encoding %d of levels", level.encoding)
			return nil, nil, 0, &unsupportedError{what, "write the file with a recent writer"}
		}
		var runs []byte
		if runs, rest, err = cutPrefixed(rest); err != nil {
			return nil, nil, 0, err
		}
		if i == 0 {
			err = s.checkRows(runs, h.values)
		} else {
			present, err = countRuns(runs, h.values, bits.Len(uint(level.max)), uint64(level.max))
		}
		if err != nil {
			return nil, nil, 0, err
		}
	}
	if s.chunk.maxDef == 0 {
		present = h.values
	}
	return body[:len(body)-len(rest)], rest, present, nil
}

// cutPrefixed cuts off bytes that their length in four bytes precedes.
func cutPrefixed(b []byte) (cut, rest []byte, err error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n := 4 + int(binary.LittleEndian.Uint32(b))
	return b[4:n], b[n:], nil
}

// checkRows checks a page's repetition levels, and that no row has so many values that it
// is over the limit whatever they are: a row's values are all held at once.
func (s *pageStream) checkRows(runs []byte, values int64) error {
	if s.chunk.maxRep == 0 {
		return nil
	}
	longest := int64(0)
	err := eachLevel(runs, values, bits.Len(uint(s.chunk.maxRep)), func(n int64, level uint64) {
		if level == 0 { // each begins a row
			s.inRow, n = 1, 0
		}
		s.inRow += n
		longest = max(longest, s.inRow)
	})
	if most := s.chunk.rowValuesMax; err == nil && longest > most {
		err = &unsupportedError{fmt.Sprintf("a row of more than %d values", most), "split the row, or raise record_bytes_max"}
	}
	return err
}

func checkLevels(runs []byte, values int64, highest int) error {
	if highest == 0 {
		return nil
	}
	_, err := countRuns(runs, values, bits.Len(uint(highest)), 0)
	return err
}

// runPadding is how many values of no meaning may end a packed run.
const runPadding = 255

// eachRun walks the hybrid of runs and packed values in which Parquet keeps small
// numbers (Encodings.md, RLE), until it has seen the given number of values. visit gets
// runs of one value with packed nil, and packed values in groups of eight. Nothing may
// go beyond the values but the padding of the last packed run, which DuckDB fills up to 256.
func eachRun(b []byte, values int64, width int, visit func(n int64, value uint64, packed []byte)) error {
	for values > 0 {
		head, k := binary.Uvarint(b)
		if k <= 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[k:]
		if head&1 != 0 {
			groups := int64(head >> 1)
			if groups < 0 || groups > (values+runPadding)/8 || groups*int64(width) > int64(len(b)) {
				return fmt.Errorf("%d packed groups where %d values are left", groups, values)
			}
			visit(min(values, 8*groups), 0, b[:groups*int64(width)])
			b = b[groups*int64(width):]
			values -= 8 * groups
			continue
		}
		size := (width + 7) / 8
		if head>>1 > uint64(values) || size > len(b) {
			return fmt.Errorf("run of %d where %d values are left", head>>1, values)
		}
		var value uint64
		for i, c := range b[:size] {
			value |= uint64(c) << (8 * i)
		}
		visit(int64(head>>1), value, nil)
		b = b[size:]
		values -= int64(head >> 1)
	}
	if len(b) > 0 && !isPadding(b) {
		return fmt.Errorf("%d bytes after the last run", len(b))
	}
	return nil
}

// isPadding reports whether b is empty runs.
func isPadding(b []byte) bool {
	for _, c := range b {
		if c > 1 {
			return false
		}
	}
	return true
}

// countRuns returns how many of the values equal want.
func countRuns(b []byte, values int64, width int, want uint64) (count int64, err error) {
	err = eachLevel(b, values, width, func(n int64, value uint64) {
		if value == want {
			count += n
		}
	})
	return count, err
}

// eachLevel is [eachRun] with packed values taken apart: visit gets each as a run of one.
func eachLevel(b []byte, values int64, width int, visit func(n int64, value uint64)) error {
	return eachRun(b, values, width, func(n int64, value uint64, packed []byte) {
		if packed == nil {
			visit(n, value)
			return
		}
		mask := uint64(1)<<width - 1
		for i := int64(0); i < n; i++ {
			bit := i * int64(width)
			word := uint64(packed[bit/8])
			if next := bit/8 + 1; next < int64(len(packed)) {
				word |= uint64(packed[next]) << 8
			}
			visit(1, word>>(bit%8)&mask)
		}
	})
}

// plainBooleans decodes a page of booleans in runs to one bit a value.
func plainBooleans(body []byte, values int64) ([]byte, error) {
	runs, rest, err := cutPrefixed(body)
	if err != nil || len(rest) > 0 {
		return nil, errors.Join(errPageSize, err)
	}
	out := make([]byte, (values+7)/8)
	at := int64(0)
	err = eachRun(runs, values, 1, func(n int64, value uint64, packed []byte) {
		for i := range n {
			bit := value & 1
			if packed != nil {
				bit = uint64(packed[i/8] >> (i % 8) & 1)
			}
			out[at/8] |= byte(bit << (at % 8))
			at++
		}
	})
	return out, err
}

// checkPlain checks that a page of values of fixed size holds all that are there.
func (s *pageStream) checkPlain(body []byte, present int64) error {
	need := int64(0) // bits
	switch s.chunk.physical {
	case format.Boolean:
		need = present
	case format.Int32, format.Float, format.ByteArray: // byte arrays have a length of four bytes each
		need = 32 * present
	case format.Int64, format.Double:
		need = 64 * present
	case format.Int96:
		need = 96 * present
	}
	if need > 8*int64(len(body)) {
		return fmt.Errorf("%d values in %d bytes", present, len(body))
	}
	return nil
}

// checkDictionaryPage checks a page of indexes into a dictionary.
func checkDictionaryPage(body []byte, values int64) error {
	if len(body) == 0 {
		return nil // all are null
	}
	width := int(body[0])
	if width > 32 {
		return fmt.Errorf("dictionary indexes of %d bits", width)
	}
	for b := body[1:]; len(b) > 0; {
		head, k := binary.Uvarint(b)
		if k <= 0 {
			return io.ErrUnexpectedEOF
		}
		n, size := head>>1, uint64(width+7)/8
		if head&1 != 0 {
			n, size = 8*(head>>1), uint64(width)*(head>>1)
		}
		if n > uint64(values)+runPadding || size > uint64(len(b)-k) {
			return fmt.Errorf("run of %d dictionary indexes in a page of %d values", n, values)
		}
		b = b[k+int(size):]
	}
	return nil
}
