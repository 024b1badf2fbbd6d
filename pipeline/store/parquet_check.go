package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

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
	// parquetHeldMax is of the pages of all columns at a time, decoded: values in runs and those
	// of a dictionary take far less in the file, and a file may have thousands of columns.
	parquetHeldMax = 4 << 30
	// laidOutBytes is what a value takes that is not laid out in its page.
	laidOutBytes = 8
	// parquetHeaderBytesMax is of one page header, which may hold the page's extremes.
	parquetHeaderBytesMax = 16 << 20
	// parquetFooterBytesMax is of the footer, which is held in memory several times over.
	parquetFooterBytesMax = 128 << 20
	// parquetCountMax is of a row group's rows and of a chunk's bytes, so that sums of all
	// that a footer has room for do not overflow.
	parquetCountMax = 1 << 40
	// parquetTypeLengthMax is of a column of byte arrays of fixed length.
	parquetTypeLengthMax = 1 << 20
)

// guardParquet runs op, which reads a Parquet file, and turns a panic of the decoder
// into an error: damaged files are met at run time, and not each way of being damaged
// is checked for. A fault in the decoder's assembly counts as a panic, too.
func guardParquet(name string, op func() error) error {
	return guardParquetAt(name, func() string { return "" }, op)
}

// guardParquetAt is [guardParquet] where it is known which part of the file is read.
func guardParquetAt(name string, part func() string, op func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damagedParquet(name, fmt.Errorf("%sdecoder failed: %v", part(), p))
		}
	}()
	return op()
}

// unsupportedError says what a whole file uses that cannot be read, and what to do.
type unsupportedError struct{ what, fix string }

func (e *unsupportedError) Error() string { return e.what + " is not supported: " + e.fix }

// errEncrypted refuses Parquet's modular encryption.
var errEncrypted = &unsupportedError{"encryption", "write the file without"}

// damagedParquet says what an error means to whoever has the file.
func damagedParquet(name string, err error) error {
	var read *readError
	if errors.As(err, &read) {
		return fmt.Errorf("read %s: %w", name, read.err)
	}
	var unsupported *unsupportedError
	if errors.As(err, &unsupported) {
		return &ContentError{name, fmt.Errorf("read %s: %w", name, err)}
	}
	return &ContentError{name, fmt.Errorf("read %s: the file is damaged or no Parquet (%w): fetch it again", name, err)}
}

// readFooter returns the FileMetaData structure of a Parquet file, checked.
func readFooter(file io.ReaderAt, size int64) ([]byte, error) {
	const ends = 12 // PAR1 at the start; length and PAR1 at the end
	var head [4]byte
	var tail [8]byte
	if size < ends {
		return nil, fmt.Errorf("of %d bytes, too short", size)
	}
	if err := errors.Join(readAtFull(file, head[:], 0), readAtFull(file, tail[:], size-8)); err != nil {
		return nil, err
	}
	if string(head[:]) == "PARE" || string(tail[4:]) == "PARE" {
		return nil, errEncrypted
	}
	if string(head[:]) != "PAR1" {
		return nil, errors.New("does not start with PAR1")
	}
	if string(tail[4:]) != "PAR1" {
		return nil, errors.New("does not end with PAR1: cut short")
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	if length > parquetFooterBytesMax {
		return nil, fmt.Errorf("footer of %d bytes, over the limit of %d", length, parquetFooterBytesMax)
	}
	if length > size-ends {
		return nil, fmt.Errorf("footer of %d bytes in a file of %d", length, size)
	}
	footer := make([]byte, length)
	if err := readAtFull(file, footer, size-8-length); err != nil {
		return nil, err
	}
	return footer, checkFooter(footer)
}

// checkMetadata checks what a footer says of the data against the file's size.
func checkMetadata(meta *format.FileMetaData, size int64) error {
	rows := int64(0)
	var leaves []*format.SchemaElement
	for i := range meta.Schema {
		if meta.Schema[i].Type.Valid {
			leaves = append(leaves, &meta.Schema[i])
		}
	}
	for g := range meta.RowGroups {
		group := &meta.RowGroups[g]
		if len(group.Columns) != len(leaves) {
			return fmt.Errorf("row group %d has %d columns, the schema %d", g, len(group.Columns), len(leaves))
		}
		if group.NumRows < 0 || group.NumRows > parquetCountMax {
			return fmt.Errorf("row group %d has %d rows", g, group.NumRows)
		}
		rows += group.NumRows
		for c := range group.Columns {
			chunk := &group.Columns[c]
			if err := checkChunk(chunk, size); err != nil {
				return fmt.Errorf("row group %d, column %d: %w", g, c, err)
			}
			// Values are read by the chunk's type and written as JSON by the schema's.
			if has := chunk.MetaData.Type; has != leaves[c].Type.V {
				return fmt.Errorf("row group %d, column %q: holds %s, the schema says %s", g, leaves[c].Name, has,
					leaves[c].Type.V)
			}
		}
	}
	if rows != meta.NumRows && meta.NumRows != 0 { // some writers leave the footer's count out
		return fmt.Errorf("row groups have %d rows, the footer says %d", rows, meta.NumRows)
	}
	return nil
}

func checkChunk(chunk *format.ColumnChunk, size int64) error {
	m := &chunk.MetaData
	switch {
	case chunk.FilePath != "":
		return &unsupportedError{"data in another file", "write one file that holds it all"}
	case chunk.CryptoMetadata.Value != nil:
		return errEncrypted
	case m.NumValues < 0 || m.TotalUncompressedSize < 0 || m.TotalCompressedSize < 0:
		return errors.New("negative size")
	case m.TotalUncompressedSize > parquetCountMax:
		return fmt.Errorf("%d bytes before compression", m.TotalUncompressedSize)
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
