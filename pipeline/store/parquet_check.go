package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// Limits on what a Parquet file may declare. A file within them decodes in bounded
// memory: about one page of each column at a time.
const (
	// parquetPageBytesMax is of one page, decompressed. Writers aim at 1 MiB; DuckDB
	// writes pages of about 100 MB.
	parquetPageBytesMax = 1 << 30
	// parquetPageValuesMax is of the values in one page, for which levels and offsets
	// are laid out however well they compress.
	parquetPageValuesMax = 1 << 26
	// parquetHeaderBytesMax is of one page header, which may hold the page's extremes.
	parquetHeaderBytesMax = 16 << 20
	// parquetTypeLengthMax is of a column of byte arrays of fixed length.
	parquetTypeLengthMax = 1 << 20
)

// guardParquet runs op, which reads a Parquet file, and turns a panic of the decoder
// into an error: damaged files are met at run time, and not each way of being damaged
// is checked for. A fault in the decoder's assembly counts as a panic, too.
func guardParquet(name string, op func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damagedParquet(name, fmt.Errorf("decoder failed: %v", p))
		}
	}()
	return op()
}

// damagedParquet says what an error means to whoever has the file.
func damagedParquet(name string, err error) error {
	var read *readError
	if errors.As(err, &read) {
		return fmt.Errorf("read %s: %w", name, read.err)
	}
	return fmt.Errorf("read %s: the file is damaged or no Parquet (%w): fetch it again", name, err)
}

// readFooter returns the FileMetaData structure of a Parquet file, checked.
func readFooter(file io.ReaderAt, size int64) ([]byte, error) {
	const ends = 12 // PAR1 at the start; length and PAR1 at the end
	var head [4]byte
	var tail [8]byte
	if size < ends {
		return nil, fmt.Errorf("of %d bytes, too short", size)
	}
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return nil, &readError{err}
	}
	if _, err := file.ReadAt(tail[:], size-8); err != nil {
		return nil, &readError{err}
	}
	if string(head[:]) == "PARE" || string(tail[4:]) == "PARE" {
		return nil, errors.New("encrypted, which is not supported")
	}
	if string(head[:]) != "PAR1" {
		return nil, errors.New("does not start with PAR1")
	}
	if string(tail[4:]) != "PAR1" {
		return nil, errors.New("does not end with PAR1: cut short")
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	if length > size-ends {
		return nil, fmt.Errorf("footer of %d bytes in a file of %d", length, size)
	}
	footer := make([]byte, length)
	if _, err := file.ReadAt(footer, size-8-length); err != nil {
		return nil, &readError{err}
	}
	return footer, checkFooter(footer)
}

// checkMetadata checks what a footer says of the data against the file's size.
func checkMetadata(meta *format.FileMetaData, size int64) error {
	rows := int64(0)
	for g := range meta.RowGroups {
		group := &meta.RowGroups[g]
		if group.NumRows < 0 || group.NumRows > meta.NumRows {
			return fmt.Errorf("row group %d has %d rows of %d", g, group.NumRows, meta.NumRows)
		}
		rows += group.NumRows
		for c := range group.Columns {
			chunk := &group.Columns[c]
			if err := checkChunk(chunk, size); err != nil {
				return fmt.Errorf("row group %d, column %d: %w", g, c, err)
			}
			if first := &meta.RowGroups[0].Columns[c].MetaData; chunk.MetaData.Codec != first.Codec {
				return fmt.Errorf("column %d changes its compression in row group %d, which is not supported", c, g)
			}
		}
	}
	if rows != meta.NumRows {
		return fmt.Errorf("row groups have %d rows, the footer says %d", rows, meta.NumRows)
	}
	return nil
}

func checkChunk(chunk *format.ColumnChunk, size int64) error {
	m := &chunk.MetaData
	switch {
	case chunk.FilePath != "":
		return errors.New("data in another file, which is not supported")
	case chunk.CryptoMetadata.Value != nil:
		return errors.New("encrypted, which is not supported")
	case m.NumValues < 0 || m.TotalUncompressedSize < 0 || m.TotalCompressedSize < 0:
		return errors.New("negative size")
	case m.DataPageOffset < 0 || m.DictionaryPageOffset < 0:
		return errors.New("negative offset")
	case m.TotalCompressedSize > size || chunkStart(m) > size-m.TotalCompressedSize:
		return fmt.Errorf("%d bytes at %d in a file of %d", m.TotalCompressedSize, chunkStart(m), size)
	}
	return nil
}

// chunkStart is where a chunk's first page header lies.
func chunkStart(m *format.ColumnMetaData) int64 {
	if m.DictionaryPageOffset != 0 {
		return m.DictionaryPageOffset
	}
	return m.DataPageOffset
}

// checkPages walks the page headers of one chunk, which hold sizes that the decoder
// would allocate unseen. Page bodies are not read, but for the few bytes in which a
// codec repeats the decompressed size.
func checkPages(file io.ReaderAt, m *format.ColumnMetaData, window []byte) ([]byte, error) {
	at := chunkStart(m)
	end := at + m.TotalCompressedSize
	values := int64(0)
	for at < end {
		var h pageHeader
		var err error
		if h, window, err = readPageHeader(file, at, end, window); err != nil {
			return window, fmt.Errorf("page header at byte %d: %w", at, err)
		}
		body := at + int64(h.length)
		if err = checkPage(&h, m, end-body); err == nil {
			err = checkPreamble(file, &h, m, body)
		}
		if err != nil {
			return window, fmt.Errorf("page at byte %d: %w", at, err)
		}
		if h.kind == dataPage || h.kind == dataPageV2 {
			values += h.values
		}
		at = body + h.compressed
	}
	if values != m.NumValues {
		return window, fmt.Errorf("pages hold %d values, the footer says %d", values, m.NumValues)
	}
	return window, nil
}

// readPageHeader reads the header at offset at; window is memory to read into, and
// grows.
func readPageHeader(file io.ReaderAt, at, end int64, window []byte) (pageHeader, []byte, error) {
	for {
		n := min(int64(len(window)), end-at)
		if _, err := file.ReadAt(window[:n], at); err != nil && err != io.EOF {
			return pageHeader{}, window, &readError{err}
		}
		h, err := parsePageHeader(window[:n])
		if err != errThriftShort || n == end-at {
			return h, window, err
		}
		if len(window) >= parquetHeaderBytesMax {
			return h, window, fmt.Errorf("longer than %d bytes", parquetHeaderBytesMax)
		}
		window = make([]byte, 4*len(window))
	}
}

// checkPage checks a page header against its chunk, of which left bytes follow it.
func checkPage(h *pageHeader, m *format.ColumnMetaData, left int64) error {
	switch {
	case h.kind < dataPage || h.kind > dataPageV2:
		return fmt.Errorf("page of unknown type %d", h.kind)
	case h.compressed < 0 || h.compressed > left:
		return fmt.Errorf("%d compressed bytes where %d are left", h.compressed, left)
	case h.uncompressed < 0 || h.uncompressed > m.TotalUncompressedSize:
		return fmt.Errorf("%d bytes in a chunk of %d", h.uncompressed, m.TotalUncompressedSize)
	case h.uncompressed > parquetPageBytesMax:
		return fmt.Errorf("%d bytes, over the limit of %d", h.uncompressed, parquetPageBytesMax)
	case h.kind == 1: // an index page; it has no values
		return nil
	case h.values < 0 || h.values > parquetPageValuesMax:
		return fmt.Errorf("%d values, over the limit of %d", h.values, parquetPageValuesMax)
	case h.kind == dictionaryPage && h.values > max(h.uncompressed, h.compressed):
		return fmt.Errorf("dictionary of %d values in %d bytes", h.values, h.uncompressed)
	case h.levels < 0 || h.levels > h.compressed || h.levels > h.uncompressed:
		return fmt.Errorf("levels of %d bytes in a page of %d", h.levels, h.compressed)
	}
	return nil
}

// checkPreamble compares the page's declared size with the one that starts its
// compressed data.
func checkPreamble(file io.ReaderAt, h *pageHeader, m *format.ColumnMetaData, body int64) error {
	want, n := h.uncompressed-h.levels, h.compressed-h.levels
	if !h.compressing || n == 0 || (m.Codec != format.Snappy && m.Codec != format.Zstd) {
		return nil
	}
	var buf [zstd.HeaderMaxSize]byte
	start := buf[:min(n, int64(len(buf)))]
	if _, err := file.ReadAt(start, body+h.levels); err != nil && err != io.EOF {
		return &readError{err}
	}
	size := want
	if m.Codec == format.Snappy {
		decoded, k := binary.Uvarint(start)
		if k <= 0 {
			return errors.New("no snappy data")
		}
		size = int64(decoded)
	} else {
		var frame zstd.Header
		if err := frame.Decode(start); err != nil {
			return fmt.Errorf("no zstd data: %w", err)
		}
		if frame.HasFCS {
			size = int64(frame.FrameContentSize)
		}
	}
	if size > want || (size < want && m.Codec == format.Snappy) { // zstd may have further frames
		return fmt.Errorf("compressed data of %d bytes, the page header says %d", size, want)
	}
	return nil
}
