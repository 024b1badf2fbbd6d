package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const (
	// parquetBatchRows is how many rows are decoded at a time, but only one where each may
	// have any number of values.
	parquetBatchRows = 64
	// parquetChunkBuffer is the read-ahead for each column.
	parquetChunkBuffer = 32 << 10
	// parquetBuffersMax bounds the read-ahead for all columns.
	parquetBuffersMax = 32 << 20
	// streamBytes stands for the length of a [pageStream], which ends by itself.
	streamBytes = 1 << 50
)

// parquetRows reads records of Parquet.
type parquetRows struct {
	name    string
	file    ReadFile
	max     int64
	part    filePart
	pq      *parquet.File
	columns []*parquetNode
	own     *ownColumns // of a file with an extra column, or nil
	encoder rowEncoder

	group  int          // the next row group of the part
	rows   parquet.Rows // of the row group at hand, or nil
	left   int64        // rows of it still to decode
	batch  []parquet.Row
	at, n  int // batch[at:n] is decoded and not yet given out
	number int64
	chunks [][]chunkInfo // of each row group
	unpack unpacker

	raw    []byte
	spans  []span // values within raw
	hash   bool   // asked for
	digest [sha256.Size]byte
	bytes  int64
}

type span struct{ from, to int }

func openParquetRows(fsys FS, name string, opts RowOptions) (*parquetRows, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	p := &parquetRows{
		name:  name,
		file:  file,
		max:   opts.RecordBytesMax,
		hash:  opts.Hash,
		batch: make([]parquet.Row, parquetBatchRows),
	}
	if err := guardParquet(name, func() error { return p.open(opts) }); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return p, nil
}

// open reads the footer.
func (p *parquetRows) open(opts RowOptions) error {
	meta, err := readMetadata(p.file)
	if err != nil {
		return damagedParquet(p.name, err)
	}
	if p.part, err = cutMetadata(p.name, meta, &opts); err != nil {
		return err
	}
	p.number = p.part.row
	p.pq, err = openPlain(meta)
	var tree parquetTree
	if err == nil {
		tree = parquetTree{elements: meta.Schema, binaryAsText: opts.BinaryAsText}
		p.columns, err = tree.build(p.pq)
	}
	if err != nil {
		return damagedParquet(p.name, err)
	}
	p.chunks = chunkInfos(meta, tree.levels, p.part.group, rowValuesMax(p.max))
	if slices.ContainsFunc(tree.levels, func(l leafLevels) bool { return l.rep > 0 }) {
		p.batch = p.batch[:1]
	}
	p.encoder.most = p.max
	p.encoder.leaves = make([][]parquet.Value, len(tree.levels))
	p.own = findOwnColumns(p.pq, p.columns, p.part.names)
	return nil
}

// openPlain opens a file of the same schema and row groups without compression, whose
// pages are yet to be supplied.
func openPlain(meta *format.FileMetaData) (*parquet.File, error) {
	plain := *meta
	plain.RowGroups = slices.Clone(meta.RowGroups)
	for g := range plain.RowGroups {
		group := &plain.RowGroups[g]
		group.Columns = slices.Clone(group.Columns)
		group.SortingColumns = nil
		group.Ordinal = 0 // numbered anew
		for c := range group.Columns {
			m := &group.Columns[c].MetaData
			m.Codec = format.Uncompressed
			m.DataPageOffset, m.DictionaryPageOffset = 0, 0
			m.TotalCompressedSize = streamBytes
			m.Statistics = format.Statistics{}
		}
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &plain)
	if err != nil {
		return nil, err
	}
	file := append([]byte("PAR1"), footer...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(footer)))
	file = append(file, "PAR1"...)
	buffer := min(parquetChunkBuffer, max(512, parquetBuffersMax/len(meta.Schema)))
	return parquet.OpenFile(bytes.NewReader(file), int64(len(file)), parquet.SkipPageIndex(true),
		parquet.SkipBloomFilters(true), parquet.ReadBufferSize(buffer))
}

// rowValuesMax is how many values one column of a row may have. The shortest is a digit and a comma,
// so that a row of more is over the limit of its length.
func rowValuesMax(recordBytesMax int64) int64 { return recordBytesMax/2 + 1 }

// chunkInfos says where each chunk's pages lie; levels are the greatest of each leaf, and
// first is the index in the file of the first row group.
func chunkInfos(meta *format.FileMetaData, levels []leafLevels, first int, rowValuesMax int64) [][]chunkInfo {
	infos := make([][]chunkInfo, len(meta.RowGroups))
	for g := range meta.RowGroups {
		for c := range meta.RowGroups[g].Columns {
			m := &meta.RowGroups[g].Columns[c].MetaData
			infos[g] = append(infos[g], chunkInfo{
				group:        first + g,
				column:       strings.Join(m.PathInSchema, "."),
				start:        chunkStart(m),
				end:          chunkStart(m) + m.TotalCompressedSize,
				uncompressed: m.TotalUncompressedSize,
				values:       m.NumValues,
				codec:        m.Codec,
				physical:     levels[c].physical,
				maxRep:       levels[c].rep,
				maxDef:       levels[c].def,
				rowValuesMax: rowValuesMax,
			})
		}
	}
	return infos
}

func (p *parquetRows) next(row *Row) error {
	return guardParquetAt(p.name, p.where, func() error {
		if p.at == p.n {
			if err := p.decode(); err != nil {
				return err
			}
		}
		p.encoder.load(p.batch[p.at])
		p.convert(row)
		p.at++
		row.Number = p.number
		p.number++
		return nil
	})
}

// where says which part of the file is read, for messages.
func (p *parquetRows) where() string {
	switch {
	case p.at < p.n:
		return fmt.Sprintf("row %d, column %.100q: ", p.number, p.encoder.name)
	case p.unpack.chunk != nil:
		return p.unpack.chunk.String() + ": "
	}
	return ""
}

// decode fills the batch, from the next row group if need be.
func (p *parquetRows) decode() error {
	for p.left == 0 {
		if err := p.closeGroup(); err != nil {
			return damagedParquet(p.name, err)
		}
		groups := p.pq.RowGroups()
		if p.group == len(groups) {
			return p.finish()
		}
		p.left = groups[p.group].NumRows()
		p.rows = p.openGroup(groups[p.group])
		p.group++
	}
	n, err := p.rows.ReadRows(p.batch[:min(p.left, int64(len(p.batch)))])
	if n == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return damagedParquet(p.name, fmt.Errorf("row %d: %w", p.number, err))
	}
	p.at, p.n = 0, n
	p.left -= int64(n)
	return nil
}

// openGroup starts to read a row group.
func (p *parquetRows) openGroup(group parquet.RowGroup) parquet.Rows {
	streamed := streamedGroup{RowGroup: group}
	p.unpack.held = 0
	for i, c := range group.ColumnChunks() {
		stream := newPageStream(p.file, p.chunks[p.group][i], &p.unpack)
		streamed.chunks = append(streamed.chunks, streamedChunk{c.(*parquet.FileColumnChunk), stream})
	}
	return parquet.NewRowGroupRowReader(streamed)
}

func (p *parquetRows) closeGroup() error {
	if p.rows == nil {
		return nil
	}
	rows := p.rows
	p.rows = nil
	return rows.Close()
}

// finish hashes the file, if all of it and its hash were asked for, and ends it.
func (p *parquetRows) finish() error {
	if p.part.whole {
		p.bytes = p.file.Size()
	}
	if !p.part.whole || !p.hash {
		return io.EOF
	}
	hash := sha256.New()
	whole := io.NewSectionReader(p.file, 0, p.file.Size())
	if _, err := io.CopyBuffer(hash, whole, make([]byte, readBufferBytes)); err != nil {
		return fmt.Errorf("read %s: %w", p.name, err)
	}
	p.digest = [sha256.Size]byte(hash.Sum(nil))
	return io.EOF
}

// convert turns the loaded values into the record.
func (p *parquetRows) convert(row *Row) {
	row.Fields, row.Bad = row.Fields[:0], nil
	p.raw, p.spans = p.raw[:0], p.spans[:0]
	if p.own != nil {
		p.convertOwn(row)
	} else {
		for _, n := range p.columns {
			row.Fields = append(row.Fields, Field{Key: n.name, RawKey: n.quoted[:len(n.quoted)-1]})
			p.appendColumn(n)
		}
		p.close(row)
	}
	if row.Bad == nil {
		row.Bad = p.encoder.bad
	}
	kept := p.max
	if p.encoder.over || row.Bad == nil && int64(len(row.Raw)) > p.max {
		row.Bad = &SyntaxError{p.max, fmt.Sprintf("record is over the limit of %d bytes", p.max)}
		kept = min(kept, tooLongKept)
	}
	if row.Bad != nil {
		row.Fields = row.Fields[:0]
		row.Raw = row.Raw[:min(int64(len(row.Raw)), kept)]
	}
}

// appendColumn appends a column's name and its value to raw.
func (p *parquetRows) appendColumn(n *parquetNode) {
	p.encoder.name = n.name
	p.appendMember(n.quoted)
	from := len(p.raw)
	p.raw = p.encoder.append(p.raw, n)
	p.spans = append(p.spans, span{from, len(p.raw)})
}

// appendMember starts a member of raw; name ends with the colon.
func (p *parquetRows) appendMember(name []byte) {
	if len(p.raw) == 0 {
		p.raw = append(p.raw, '{')
	} else {
		p.raw = append(p.raw, ',')
	}
	p.raw = append(p.raw, name...)
}

// close ends raw and points the fields' values into it, now that it no longer moves.
func (p *parquetRows) close(row *Row) {
	if len(p.raw) == 0 {
		p.raw = append(p.raw, '{')
	}
	p.raw = append(p.raw, '}')
	row.Raw = p.raw
	for i, s := range p.spans {
		row.Fields[i].Value = p.raw[s.from:s.to]
	}
}

func (p *parquetRows) sum() ([sha256.Size]byte, int64) { return p.digest, p.bytes }

// Close closes the file.
func (p *parquetRows) Close() error {
	err := guardParquet(p.name, p.closeGroup)
	return errors.Join(err, p.file.Close())
}
