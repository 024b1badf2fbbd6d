package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Pages are read, decompressed and checked here, and given to the library that decodes
// values as pages of an uncompressed file. It would trust the sizes that a file
// declares, down to the lengths of runs; it decodes some pages of LZ4_RAW to zeros;
// and it misreads BOOLEANs that are run-length encoded (parquet-go v0.32.0).

// chunkInfo is where and how one column of one row group lies in the file.
type chunkInfo struct {
	group        int    // the row group, by its index in the file
	column       string // path of the column
	start, end   int64  // of its pages in the file
	uncompressed int64
	values       int64
	codec        format.CompressionCodec
	physical     format.Type
	maxRep       int
	maxDef       int
	rowValuesMax int64
}

// pageStream presents a chunk as pages without compression, one after the other from
// offset 0. It is read in order, and may start again.
type pageStream struct {
	file   io.ReaderAt
	chunk  chunkInfo
	unpack *unpacker

	at     int64  // of the next page in the file
	values int64  // in the data pages before it
	inRow  int64  // values so far of the row that they end with
	page   []byte // the page at hand, header and body
	from   int64  // of page in the stream
	window []byte // for headers
	stored []byte // a page as it is in the file
	body   []byte // a page's decompressed values
	held   int64  // what the page at hand takes once it is decoded
	dict   int64  // what the dictionary takes
	err    error
}

// String names the chunk for messages.
func (c *chunkInfo) String() string {
	return fmt.Sprintf("row group %d, column %.100q", c.group, c.column)
}

func newPageStream(file io.ReaderAt, chunk chunkInfo, unpack *unpacker) *pageStream {
	return &pageStream{file: file, chunk: chunk, unpack: unpack, at: chunk.start}
}

// ReadAt reads from the stream of pages; reading before the page at hand starts the
// stream again.
func (s *pageStream) ReadAt(p []byte, off int64) (n int, err error) {
	if off < s.from {
		s.at, s.values, s.from, s.page, s.err = s.chunk.start, 0, 0, s.page[:0], nil
		s.inRow = 0
		s.unpack.held -= s.held + s.dict
		s.held, s.dict = 0, 0
	}
	for n < len(p) {
		if i := off - s.from; i < int64(len(s.page)) {
			k := copy(p[n:], s.page[i:])
			n += k
			off += int64(k)
			continue
		}
		if s.err == nil {
			s.from += int64(len(s.page))
			s.page = s.page[:0]
			s.err = s.nextPage()
		}
		if s.err != nil {
			return n, s.err
		}
	}
	return n, nil
}

// nextPage reads the next page into s.page, or returns io.EOF.
func (s *pageStream) nextPage() error {
	s.unpack.chunk = &s.chunk
	if s.at >= s.chunk.end {
		if s.values != s.chunk.values {
			return fmt.Errorf("%v: pages hold %d values, the footer says %d", &s.chunk, s.values, s.chunk.values)
		}
		return io.EOF
	}
	h, err := s.header()
	if err != nil {
		return fmt.Errorf("%v: page header at byte %d: %w", &s.chunk, s.at, err)
	}
	if err := s.load(&h); err != nil {
		return fmt.Errorf("%v: page at byte %d: %w", &s.chunk, s.at, err)
	}
	s.at += int64(h.length) + h.compressed
	if h.kind == dataPage || h.kind == dataPageV2 {
		s.values += h.values
	}
	return nil
}

// header reads the page header at s.at.
func (s *pageStream) header() (pageHeader, error) {
	if s.window == nil {
		s.window = make([]byte, 1<<10)
	}
	left := s.chunk.end - s.at
	for {
		n := min(int64(len(s.window)), left)
		if _, err := s.file.ReadAt(s.window[:n], s.at); err != nil && err != io.EOF {
			return pageHeader{}, &readError{err}
		}
		h, err := parsePageHeader(s.window[:n])
		if err != errThriftShort || n == left {
			return h, err
		}
		if len(s.window) >= parquetHeaderBytesMax {
			return h, fmt.Errorf("longer than %d bytes", parquetHeaderBytesMax)
		}
		s.window = make([]byte, 4*len(s.window))
	}
}

// load reads, checks and decompresses the page whose header is h.
func (s *pageStream) load(h *pageHeader) error {
	from := s.at + int64(h.length)
	if err := s.check(h, s.chunk.end-from); err != nil || h.kind == indexPage {
		return err
	}
	if err := s.hold(h, 0); err != nil {
		return err
	}
	s.stored = resize(s.stored, int(h.compressed))
	if err := readAtFull(s.file, s.stored, from); err != nil {
		return err
	}
	if h.hasCRC && crc32.ChecksumIEEE(s.stored) != h.crc {
		return errors.New("checksum mismatch")
	}
	levels := int(h.repBytes + h.defBytes)
	body := s.stored[levels:]
	if h.compressing && s.chunk.codec != format.Uncompressed {
		var err error
		if body, err = s.decompress(body, h.uncompressed-int64(levels)); err != nil {
			return err
		}
	}
	return s.present(h, s.stored[:levels], body)
}

// hold counts what a page takes once it is decoded: its bytes, a byte for each level, and as
// many more for values that are laid out. All columns have a page each at a time.
func (s *pageStream) hold(h *pageHeader, laidOut int64) error {
	kind := &s.held
	if h.kind == dictionaryPage {
		kind = &s.dict
	}
	bytes := h.uncompressed + laidOut
	for _, level := range [...]int{s.chunk.maxRep, s.chunk.maxDef} {
		bytes += int64(min(level, 1)) * h.values
	}
	s.unpack.held += bytes - *kind
	*kind = bytes
	if s.unpack.held <= parquetHeldMax {
		return nil
	}
	what := fmt.Sprintf("more than %d GiB in the pages of one moment", parquetHeldMax>>30)
	return &unsupportedError{what, "write smaller pages"}
}

// decompress returns the size bytes that stored stands for.
func (s *pageStream) decompress(stored []byte, size int64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	if !fits(size, int64(len(stored)), s.chunk.codec) {
		return nil, fmt.Errorf("%d bytes compressed to %d", size, len(stored))
	}
	s.body = resize(s.body, int(size))
	return s.body, s.unpack.unpack(s.body, stored, s.chunk.codec)
}

// readAtFull fills p from the file.
func readAtFull(file io.ReaderAt, p []byte, at int64) error {
	if n, err := file.ReadAt(p, at); n < len(p) {
		return &readError{err}
	}
	return nil
}

// check checks a header against its chunk, of which left bytes follow it.
func (s *pageStream) check(h *pageHeader, left int64) error {
	levels := h.repBytes + h.defBytes
	switch {
	case h.kind < dataPage || h.kind > dataPageV2:
		return fmt.Errorf("page of unknown type %d", h.kind)
	case h.compressed < 0 || h.compressed > left:
		return fmt.Errorf("%d compressed bytes where %d are left", h.compressed, left)
	case h.uncompressed < 0 || h.uncompressed > s.chunk.uncompressed:
		return fmt.Errorf("%d bytes in a chunk of %d", h.uncompressed, s.chunk.uncompressed)
	case h.uncompressed > parquetPageBytesMax || h.compressed > parquetPageBytesMax:
		return fmt.Errorf("%d bytes, over the limit of %d", h.uncompressed, parquetPageBytesMax)
	case h.kind == indexPage: // it has no values
		return nil
	case h.values < 0 || h.values > parquetPageValuesMax:
		return fmt.Errorf("%d values, over the limit of %d", h.values, parquetPageValuesMax)
	case h.kind != dictionaryPage && h.values > s.chunk.values-s.values:
		return fmt.Errorf("%d values where the footer leaves %d", h.values, s.chunk.values-s.values)
	case h.repBytes < 0 || h.defBytes < 0 || levels > h.compressed || levels > h.uncompressed:
		return fmt.Errorf("levels of %d bytes in a page of %d", levels, h.compressed)
	case h.nulls < 0 || h.nulls > h.values || h.rows < 0 || h.rows > h.values:
		return fmt.Errorf("%d nulls and %d rows in %d values", h.nulls, h.rows, h.values)
	}
	return nil
}

// present makes s.page of a checked page.
func (s *pageStream) present(h *pageHeader, levels, body []byte) error {
	var err error
	if h.kind == dictionaryPage {
		if h.values > int64(len(body)) {
			return fmt.Errorf("dictionary of %d values in %d bytes", h.values, len(body))
		}
	} else if levels, body, err = s.checkData(h, levels, body); err != nil {
		return err
	}
	out := format.PageHeader{Type: format.PageType(h.kind)}
	out.UncompressedPageSize = int32(len(levels) + len(body))
	out.CompressedPageSize = out.UncompressedPageSize
	switch h.kind {
	case dataPage:
		out.DataPageHeader = thrift.New(format.DataPageHeader{
			NumValues:               int32(h.values),
			Encoding:                format.Encoding(h.encoding),
			DefinitionLevelEncoding: format.Encoding(h.defEncoding),
			RepetitionLevelEncoding: format.Encoding(h.repEncoding),
		})
	case dictionaryPage:
		out.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{
			NumValues: int32(h.values),
			Encoding:  format.Encoding(h.encoding),
		})
	default:
		out.DataPageHeaderV2 = thrift.New(format.DataPageHeaderV2{
			NumValues:                  int32(h.values),
			NumNulls:                   int32(h.nulls),
			NumRows:                    int32(h.rows),
			Encoding:                   format.Encoding(h.encoding),
			DefinitionLevelsByteLength: int32(h.defBytes),
			RepetitionLevelsByteLength: int32(h.repBytes),
			IsCompressed:               thrift.New(false),
		})
	}
	buf := bytes.NewBuffer(s.page[:0])
	var protocol thrift.CompactProtocol
	if err := thrift.NewEncoder(protocol.NewWriter(buf)).Encode(&out); err != nil {
		return err
	}
	s.page = append(append(buf.Bytes(), levels...), body...)
	return nil
}

// resize returns n bytes, in b's memory if that is enough.
func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// streamedChunk is a column chunk whose pages come from a [pageStream].
type streamedChunk struct {
	*parquet.FileColumnChunk
	stream *pageStream
}

// Pages reads the chunk's pages.
func (c streamedChunk) Pages() parquet.Pages { return c.PagesFrom(c.stream) }

// streamedGroup is a row group of streamed chunks.
type streamedGroup struct {
	parquet.RowGroup
	chunks []parquet.ColumnChunk
}

// ColumnChunks returns the chunks.
func (g streamedGroup) ColumnChunks() []parquet.ColumnChunk { return g.chunks }
