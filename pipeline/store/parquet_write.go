package store

import (
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

const (
	// parquetPageBytes is how large a written page grows, before compression: what it
	// takes to read a file is about one page of each column.
	parquetPageBytes = 1 << 20
	// parquetGroupBytes is how large a row group grows, before compression, give or take
	// one record: Hugging Face advises 100 to 300 MB.
	parquetGroupBytes = 128 << 20
)

// ParquetWriter writes records as rows of declared columns, compressed with zstd at
// its default level, in pages of 1 MiB and row groups of 128 MiB before compression.
// Equal records give equal bytes.
//
// A field goes to the column of its name if the column can hold its value. Every other
// field, one that is null among them, goes to the extra column, byte for byte. So reading
// the file back ([OpenRows]) restores each record: the text of every name and value, and
// their order, but no space between them. A value that a column holds only in part, or
// under a spelling that is told neither by the column's type nor by a common program's
// habits, is in both places, and the extra column wins.
//
// In a schema without extra column, fields must fit: null is a null, values may be
// spelled in any way, the order is that of the schema, and all else is an error that
// names the field.
type ParquetWriter struct {
	w       *parquet.GenericWriter[any]
	columns []columnWriter
	byName  map[string]int
	extra   int // index of the extra column, or -1
	group   int64
	row     parquet.Row
	extras  []Field     // of the record at hand, for the extra column
	placed  []placement // of its fields that have columns of their own
	json    []byte      // of the extra column
	err     error
}

// NewParquetWriter writes a Parquet file to w. Close writes the rest and the footer,
// and leaves w open.
func NewParquetWriter(w io.Writer, schema []Column) (*ParquetWriter, error) {
	p := &ParquetWriter{byName: map[string]int{}, extra: -1}
	root := newOrderedGroup()
	for i, c := range schema {
		if _, twice := p.byName[c.Name]; twice || c.Name == "" || !utf8.ValidString(c.Name) {
			return nil, fmt.Errorf("column %d: name %q is used twice, empty or not UTF-8", i, c.Name)
		}
		p.byName[c.Name] = i
		if c.Type == TypeExtra {
			if p.extra >= 0 || c.Required {
				return nil, fmt.Errorf("column %s: only one extra column is allowed, never a required one", c.Name)
			}
			p.extra = i
		}
		node, err := columnNode(c)
		if err != nil {
			return nil, err
		}
		root.add(c.Name, node)
		p.columns = append(p.columns, columnWriter{Column: c, quoted: string(AppendQuote(nil, c.Name))})
	}
	if len(schema) == 0 {
		return nil, fmt.Errorf("a Parquet file needs at least one column")
	}
	leaf := 0
	for i := range p.columns {
		leaf = p.columns[i].place(leaf)
	}
	p.w = parquet.NewGenericWriter[any](w, parquet.NewSchema("record", root),
		parquet.CreatedBy("bzdata", "1", "0"),
		parquet.Compression(&pageCodec{}),
		parquet.PageBufferSize(parquetPageBytes),
		parquet.DataPageStatistics(false),
		parquet.KeyValueMetadata(ownColumnsKey, ownColumnsNote(schema)),
		noBounds(root))
	return p, nil
}

// noBounds keeps the extremes of strings, which may be as long as a document, out of
// the headers.
func noBounds(root *orderedGroup) parquet.WriterOption {
	config := &parquet.WriterConfig{}
	config.SkipPageBounds = parquet.NewSchema("record", root).Columns()
	return config
}

// Write writes one record. Keys must differ from each other and values must be valid
// JSON, as [Rows] gives them. After an error the file is of no use.
func (p *ParquetWriter) Write(fields []Field) error {
	if p.err == nil {
		p.err = p.write(fields)
	}
	return p.err
}

func (p *ParquetWriter) write(fields []Field) error {
	for i := range p.columns {
		p.columns[i].reset()
	}
	p.extras, p.placed = p.extras[:0], p.placed[:0]
	for _, f := range fields {
		if err := p.field(f); err != nil {
			return err
		}
	}
	if p.extra >= 0 {
		if p.json = appendExtra(p.json[:0], p.extras, p.placed); len(p.json) > 0 {
			p.columns[p.extra].setText(p.json)
		}
	}
	p.row = p.row[:0]
	bytes := int64(0)
	for i := range p.columns {
		c := &p.columns[i]
		if c.Required && !c.set {
			return fmt.Errorf("required column %s has no %s value in this record", c.Name, c.Type)
		}
		p.row = c.append(p.row)
		bytes += c.bytes()
	}
	if _, err := p.w.WriteRows([]parquet.Row{p.row}); err != nil {
		return err
	}
	if p.group += bytes; p.group >= parquetGroupBytes {
		p.group = 0
		return p.w.Flush()
	}
	return nil
}

// field puts one field into its column, the extra column, or both.
func (p *ParquetWriter) field(f Field) error {
	i, declared := p.byName[f.Key]
	held := heldNot
	if declared && i != p.extra {
		c := &p.columns[i]
		if c.met {
			return fmt.Errorf("field %s is twice in one record", f.Key)
		}
		c.met = true
		held = c.parse(f.Value)
		if held == heldExactly && (f.RawKey == nil || string(f.RawKey) == c.quoted) {
			p.placed = append(p.placed, placement{i, len(p.extras), c.spelling})
			return nil
		}
	}
	switch {
	case p.extra >= 0:
		p.extras = append(p.extras, f)
	case held >= heldByValue || declared && string(f.Value) == "null":
	case declared:
		return fmt.Errorf("field %s does not fit its %s column: %.40s", f.Key, p.columns[i].Type, f.Value)
	default:
		return fmt.Errorf("field %s has no column: declare one, or an extra column", f.Key)
	}
	return nil
}

// Misfits returns how many values of a column's fields it could not hold, nulls aside.
func (p *ParquetWriter) Misfits(column int) int64 { return p.columns[column].misfits }

// Close writes what is buffered, and the footer.
func (p *ParquetWriter) Close() error {
	if p.err != nil {
		return p.err
	}
	p.err = p.w.Close()
	return p.err
}

// orderedGroup is a parquet.Group whose fields keep the order they were added in.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func newOrderedGroup() *orderedGroup { return &orderedGroup{Group: parquet.Group{}} }

func (g *orderedGroup) add(name string, node parquet.Node) {
	g.Group[name] = node
	g.fields = append(g.fields, orderedField{node, name})
}

// Fields returns the fields in order.
func (g *orderedGroup) Fields() []parquet.Field { return g.fields }

type orderedField struct {
	parquet.Node
	name string
}

// Name returns the field's name.
func (f orderedField) Name() string { return f.name }

// Value finds the field in a Go map; rows are written as values instead.
func (f orderedField) Value(base reflect.Value) reflect.Value {
	return base.MapIndex(reflect.ValueOf(f.name))
}
