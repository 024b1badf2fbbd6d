package store

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
)

// Field is one member of a record.
type Field struct {
	Key   string // decoded
	Value []byte // valid JSON on one line
	// RawKey is the name as it stood in the file, with its quotes; nil stands for Key,
	// quoted anew.
	RawKey []byte
}

// Row is one record of a file. Its slices are valid until the next [Rows.Next].
type Row struct {
	// Number is the record's number in its file, from 0: the line's number in JSONL, where
	// empty lines count, and the row's number in Parquet.
	Number int64
	// Raw is the record as a JSON object: the line itself, without space around it, or
	// what the Parquet row converts to. Of a malformed record it holds the bytes that
	// were found; of a record over the limit, its first 4 KiB.
	Raw    []byte
	Fields []Field // in the order of the file; of a malformed record, empty
	Bad    error   // why the record is malformed, or nil
}

// RowOptions configures [OpenRows].
type RowOptions struct {
	// RecordBytesMax is the limit on one record as JSON; 0 stands for [RecordBytesMax].
	RecordBytesMax int64
	// BinaryAsText reads Parquet columns of bytes without annotation as UTF-8 text, as
	// writers before 2015 left them, and not as base64.
	BinaryAsText bool
	// Columns names the fields that are read; none stands for all. Of a Parquet file it
	// names top-level columns, which must be there, and bytes of others are not read; fields
	// of JSONL that are not named are left out of [Row.Fields].
	Columns []string
	// RowGroups are the first row group of a Parquet file to be read and the one after the
	// last; zero stands for all. Rows keep their numbers.
	RowGroups [2]int
	// Lines is the range of a plain JSONL file to be read; nil stands for all. Rows have the
	// numbers that they have in the file if its FirstLine is right.
	Lines *LineRange
	// Hash asks for [Rows.SHA256].
	Hash bool
}

// Rows reads the records of one file in order, JSONL or Parquet alike.
type Rows struct {
	name   string
	source rowSource
	err    error // what the last Next returned
}

// rowSource is a file's layout behind [Rows].
type rowSource interface {
	next(row *Row) error // io.EOF at the end; other errors name the file
	sum() (hash [sha256.Size]byte, bytes int64)
	Close() error
}

// OpenRows opens a file of records; its name tells the format ([FormatOf]). One Rows
// is read by one goroutine at a time. A compressed file is decompressed in another, which
// [Rows.Close] ends.
func OpenRows(fsys FS, name string, opts RowOptions) (*Rows, error) {
	format, err := FormatOf(name)
	if err != nil {
		return nil, err
	}
	if opts.RecordBytesMax <= 0 {
		opts.RecordBytesMax = RecordBytesMax
	}
	r := &Rows{name: name}
	if format.Layout == Parquet {
		r.source, err = openParquetRows(fsys, name, opts)
	} else {
		r.source, err = openJSONLRows(fsys, name, opts)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Next reads the next record into row, reusing its memory. A malformed record is a row
// with Bad set; an error that is not io.EOF names the file, and is final.
func (r *Rows) Next(row *Row) error {
	if r.err == nil {
		r.err = r.source.next(row)
	}
	return r.err
}

// SHA256 returns the hash of the file's raw bytes. It is valid once [Rows.Next] has
// returned io.EOF, and zero if it was not asked for, or not the whole file was.
func (r *Rows) SHA256() [sha256.Size]byte {
	hash, _ := r.source.sum()
	return hash
}

// Bytes returns the number of the file's raw bytes. It is valid when [Rows.SHA256] is, and
// zero if not the whole file was asked for.
func (r *Rows) Bytes() int64 {
	_, bytes := r.source.sum()
	return bytes
}

// Close closes the file.
func (r *Rows) Close() error { return r.source.Close() }

// jsonlRows reads records of JSONL.
type jsonlRows struct {
	file  *Reader
	ahead *aheadReader // of a compressed file
	lines *LineReader
	max   int64
	keep  []string // fields; none stands for all
	line  Line
	rec   Record
	keys  keyTable
}

func openJSONLRows(fsys FS, name string, opts RowOptions) (*jsonlRows, error) {
	s := &jsonlRows{max: opts.RecordBytesMax, keep: opts.Columns}
	var err error
	switch part := opts.Lines; {
	case part == nil:
		if s.file, err = openReader(fsys, name, nil, opts.Hash); err == nil {
			var text io.Reader = s.file
			if CompressionOf(name) != Plain {
				s.ahead = newAheadReader(s.file)
				text = s.ahead
			}
			s.lines = NewLineReader(text, s.max)
		}
	case CompressionOf(name) != Plain:
		err = &PartError{name + ": a compressed file has no ranges"}
	default:
		if s.file, err = openReader(fsys, name, part, false); err == nil {
			s.lines = NewLineRangeReader(s.file, *part, s.max)
		}
	}
	return s, err
}

func (s *jsonlRows) next(row *Row) error {
	if err := s.lines.Next(&s.line); err != nil {
		return err
	}
	row.Number, row.Raw, row.Bad = s.line.Number, s.line.Bytes, nil
	if s.line.TooLong {
		row.Bad = tooLong(s.line.Length, s.max)
	} else {
		row.Bad = Scan(s.line.Bytes, &s.rec)
	}
	if row.Bad != nil {
		row.Fields = row.Fields[:0]
		return nil
	}
	row.Fields = s.keys.fields(row.Fields, s.rec.Fields)
	if len(s.keep) > 0 {
		row.Fields = slices.DeleteFunc(row.Fields, func(f Field) bool { return !slices.Contains(s.keep, f.Key) })
	}
	return nil
}

func (s *jsonlRows) sum() ([sha256.Size]byte, int64) { return s.file.sum() }

func (s *jsonlRows) Close() error {
	if s.ahead != nil {
		s.ahead.Close()
	}
	return s.file.Close()
}

// keyTableMax bounds the names that a [keyTable] remembers.
const keyTableMax = 4096

// keyTable gives each name one string, so that records with the same names share them.
type keyTable struct {
	known map[string]string // decoded, by the raw name
	buf   []byte
}

// fields decodes names. dst's earlier content is the likely answer: most records have
// the names of the one before.
func (k *keyTable) fields(dst []Field, raw []RawField) []Field {
	before := dst[:cap(dst)]
	dst = dst[:0]
	for i, f := range raw {
		inner := f.Key[1 : len(f.Key)-1]
		key := ""
		if i < len(before) && before[i].Key == string(inner) && isPlain(inner) {
			key = before[i].Key
		} else {
			key = k.key(f.Key)
		}
		dst = append(dst, Field{key, f.Value, f.Key})
	}
	return dst
}

// isPlain reports whether the inside of a JSON string stands for itself.
func isPlain(inner []byte) bool {
	i, _ := plainRun(inner, 0)
	return i == len(inner)
}

// key decodes a valid raw name.
func (k *keyTable) key(raw []byte) string {
	if key, ok := k.known[string(raw)]; ok {
		return key
	}
	k.buf = appendUnescaped(k.buf[:0], raw[1:len(raw)-1])
	key := string(k.buf)
	if k.known == nil {
		k.known = map[string]string{}
	}
	if len(k.known) < keyTableMax && len(raw) <= 256 {
		k.known[string(raw)] = key
	}
	return key
}

// AppendFields appends fields to dst as one JSON object, values byte for byte.
func AppendFields(dst []byte, fields []Field) []byte {
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		if f.RawKey != nil {
			dst = append(dst, f.RawKey...)
		} else {
			dst = AppendQuote(dst, f.Key)
		}
		dst = append(dst, ':')
		dst = append(dst, f.Value...)
	}
	return append(dst, '}')
}

// ReadRows calls visit with each record of a file in order, until the end or the
// first error. The row is valid during the call.
func ReadRows(fsys FS, name string, opts RowOptions, visit func(*Row) error) error {
	rows, err := OpenRows(fsys, name, opts)
	if err != nil {
		return err
	}
	defer rows.Close()
	var row Row
	for {
		switch err := rows.Next(&row); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := visit(&row); err != nil {
			return fmt.Errorf("%s row %d: %w", name, row.Number, err)
		}
	}
}
