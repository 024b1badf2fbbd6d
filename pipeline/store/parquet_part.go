package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// ParquetGroup is what the footer of a Parquet file says about one row group.
type ParquetGroup struct {
	Rows int64
	// Bytes is the size of all its columns before compression.
	Bytes int64
}

// ParquetGroups returns the row groups of a Parquet file, in order. It reads the footer only.
func ParquetGroups(fsys FS, name string) (groups []ParquetGroup, err error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	err = guardParquet(name, func() error {
		meta, err := readMetadata(file)
		if err != nil {
			return damagedParquet(name, err)
		}
		for g := range meta.RowGroups {
			group := ParquetGroup{Rows: meta.RowGroups[g].NumRows}
			for c := range meta.RowGroups[g].Columns {
				group.Bytes += meta.RowGroups[g].Columns[c].MetaData.TotalUncompressedSize
			}
			groups = append(groups, group)
		}
		return nil
	})
	return groups, err
}

// readMetadata reads and checks a file's footer.
func readMetadata(file ReadFile) (*format.FileMetaData, error) {
	footer, err := readFooter(file, file.Size())
	if err != nil {
		return nil, err
	}
	meta := new(format.FileMetaData)
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), footer, meta); err != nil {
		return nil, err
	}
	return meta, checkMetadata(meta, file.Size())
}

// PartError says that a file does not have the part that [RowOptions] ask for.
type PartError struct{ Msg string }

// Error names the file and what it has instead.
func (e *PartError) Error() string { return e.Msg }

// filePart is which part of a file is read.
type filePart struct {
	group int   // index in the file of the first row group
	row   int64 // number of its first row
	names []string
	whole bool
}

// cutMetadata reduces the metadata of a file to the row groups and top-level columns that
// are asked for. What is cut off is never looked at again.
func cutMetadata(name string, meta *format.FileMetaData, opts *RowOptions) (part filePart, err error) {
	columns := topColumns(meta.Schema)
	for _, c := range columns {
		part.names = append(part.names, c.name)
	}
	part.whole = len(opts.Columns) == 0 && opts.RowGroups == [2]int{}
	if len(opts.Columns) > 0 {
		if err := checkAsked(name, part.names, opts); err != nil {
			return part, err
		}
		cutColumns(meta, columns, opts.Columns)
	}
	if opts.RowGroups == [2]int{} {
		return part, nil
	}
	from, to := opts.RowGroups[0], opts.RowGroups[1]
	if from < 0 || to < from || to > len(meta.RowGroups) {
		return part, &PartError{fmt.Sprintf("%s: row groups %d to %d of a file that has %d", name, from, to, len(meta.RowGroups))}
	}
	part.group = from
	for g := range from {
		part.row += meta.RowGroups[g].NumRows
	}
	meta.RowGroups, meta.NumRows = meta.RowGroups[from:to], 0
	return part, nil
}

// checkAsked checks that the columns asked for are there.
func checkAsked(name string, names []string, opts *RowOptions) error {
	for _, want := range opts.Columns {
		if !slices.Contains(names, want) {
			return &PartError{fmt.Sprintf("%s: there is no column %q; the file has %s", name, want, listNames(names))}
		}
	}
	return nil
}

// listNames lists names for a message, not all of very many.
func listNames(names []string) string {
	const most = 20
	quoted := make([]string, 0, most+1)
	for i, n := range names {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("%d more", len(names)-most))
			break
		}
		quoted = append(quoted, fmt.Sprintf("%.60q", n))
	}
	return strings.Join(quoted, ", ")
}

// topColumn is a column of the root: a leaf, or a group with all that is in it.
type topColumn struct {
	name                string
	element, elementEnd int // the first in the schema, and the one after its last
	leaf, leafEnd       int
}

// topColumns lists a checked schema's columns in order. Elements stand in preorder.
func topColumns(schema []format.SchemaElement) []topColumn {
	var out []topColumn
	element, leaf := 1, 0
	for element < len(schema) {
		c := topColumn{name: schema[element].Name, element: element, leaf: leaf}
		for open := 1; open > 0 && element < len(schema); element++ {
			open--
			if schema[element].Type.Valid {
				leaf++
			} else {
				open += int(schema[element].NumChildren.V)
			}
		}
		c.elementEnd, c.leafEnd = element, leaf
		out = append(out, c)
	}
	return out
}

// cutColumns removes the columns whose names are not in keep from the schema and from each row group.
func cutColumns(meta *format.FileMetaData, columns []topColumn, keep []string) {
	schema := slices.Clone(meta.Schema[:1])
	children := int32(0)
	leaves := make([]bool, 0, len(meta.Schema))
	for _, c := range columns {
		kept := slices.Contains(keep, c.name)
		for range c.leafEnd - c.leaf {
			leaves = append(leaves, kept)
		}
		if kept {
			schema = append(schema, meta.Schema[c.element:c.elementEnd]...)
			children++
		}
	}
	schema[0].NumChildren.V = children
	meta.Schema, meta.ColumnOrders = schema, nil
	for g := range meta.RowGroups {
		var chunks []format.ColumnChunk
		for i := range meta.RowGroups[g].Columns {
			if leaves[i] {
				chunks = append(chunks, meta.RowGroups[g].Columns[i])
			}
		}
		meta.RowGroups[g].Columns = chunks
	}
}
