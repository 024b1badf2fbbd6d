package store

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
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
// A field goes to the column of its name if the column can hold its value: strings and
// messages by what they stand for, however they are spelled; other types if the column
// gives back the very same JSON text. Every other field, one that is null among them,
// goes to the extra column, so that reading the file back ([OpenRows]) restores each
// record: its declared fields in the order of the schema, then the others byte for byte
// in theirs. A number that a double column holds under another spelling, or messages
// that have more than role and content, are in both places; the extra column wins.
//
// In a schema without extra column, fields must fit: null is a null, a double may be
// spelled in any way, and all else is an error that names the field.
type ParquetWriter struct {
	w       *parquet.GenericWriter[any]
	columns []columnWriter
	byName  map[string]int
	extra   int // index of the extra column, or -1
	group   int64
	row     parquet.Row
	json    []byte // of the extra column
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
		p.columns = append(p.columns, columnWriter{Column: c})
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
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
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
	p.json = p.json[:0]
	for _, f := range fields {
		if err := p.field(f); err != nil {
			return err
		}
	}
	if len(p.json) > 0 {
		p.json = append(p.json, '}')
		p.columns[p.extra].setText(p.json)
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
		if held = c.parse(f.Value); held == heldExactly {
			return nil
		}
	}
	switch {
	case p.extra >= 0:
		p.appendExtra(f)
	case held == heldByValue || declared && string(f.Value) == "null":
	case declared:
		return fmt.Errorf("field %s does not fit its %s column: %.40s", f.Key, p.columns[i].Type, f.Value)
	default:
		return fmt.Errorf("field %s has no column: declare one, or an extra column", f.Key)
	}
	return nil
}

func (p *ParquetWriter) appendExtra(f Field) {
	if len(p.json) == 0 {
		p.json = append(p.json, '{')
	} else {
		p.json = append(p.json, ',')
	}
	if f.RawKey != nil {
		p.json = append(p.json, f.RawKey...)
	} else {
		p.json = AppendQuote(p.json, f.Key)
	}
	p.json = append(append(p.json, ':'), f.Value...)
}

// Close writes what is buffered, and the footer.
func (p *ParquetWriter) Close() error {
	if p.err != nil {
		return p.err
	}
	p.err = p.w.Close()
	return p.err
}

// held says how much of a field's value a column holds.
type held uint8

const (
	heldNot     held = iota
	heldPartly       // a part of it
	heldByValue      // the same value, under another spelling
	heldExactly      // what gives the same JSON text back
)

// columnWriter holds one column's value of the record at hand.
type columnWriter struct {
	Column
	leaf     int  // the first
	met, set bool // the record has the field; the column has a value
	text     []byte
	number   int64
	double   float64
	truth    bool
	messages messageList
	scratch  []byte
}

func (c *columnWriter) reset() { c.met, c.set = false, false }

// place takes the leaves from the given one on and returns the next.
func (c *columnWriter) place(leaf int) int {
	c.leaf = leaf
	if c.Type == TypeMessages {
		return leaf + 2
	}
	return leaf + 1
}

func (c *columnWriter) setText(text []byte) { c.text, c.set = text, true }

// bytes is what the value takes, before compression.
func (c *columnWriter) bytes() int64 {
	switch {
	case !c.set:
		return 1
	case c.Type == TypeString || c.Type == TypeExtra:
		return int64(len(c.text)) + 4
	case c.Type == TypeMessages:
		return int64(len(c.messages.buf)) + 8*int64(len(c.messages.ends))
	}
	return 8
}

// parse takes a field's value into the column as far as it fits.
func (c *columnWriter) parse(value []byte) (h held) {
	switch c.Type {
	case TypeString:
		var err error
		if c.scratch, err = Unquote(c.scratch[:0], value); err == nil {
			h, c.text = heldExactly, c.scratch
		}
	case TypeInt64:
		n, err := strconv.ParseInt(string(value), 10, 64)
		c.scratch = strconv.AppendInt(c.scratch[:0], n, 10)
		if err == nil && string(c.scratch) == string(value) {
			h, c.number = heldExactly, n
		}
	case TypeDouble:
		h = c.parseDouble(value)
	case TypeBool:
		if s := string(value); s == "true" || s == "false" {
			h, c.truth = heldExactly, s == "true"
		}
	case TypeMessages:
		h = c.messages.parse(value)
	}
	c.set = h != heldNot
	return h
}

func (c *columnWriter) parseDouble(value []byte) held {
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return heldNot
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return heldNot
	}
	c.double = f
	c.scratch = appendFloat(c.scratch[:0], f, 64)
	if string(c.scratch) != string(value) {
		return heldByValue
	}
	return heldExactly
}

// append appends the column's values with their levels.
func (c *columnWriter) append(row parquet.Row) parquet.Row {
	if c.Type == TypeMessages {
		return c.messages.append(row, c)
	}
	def := 1
	if c.Required {
		def = 0
	}
	if !c.set {
		return append(row, parquet.NullValue().Level(0, 0, c.leaf))
	}
	var v parquet.Value
	switch c.Type {
	case TypeInt64:
		v = parquet.Int64Value(c.number)
	case TypeDouble:
		v = parquet.DoubleValue(c.double)
	case TypeBool:
		v = parquet.BooleanValue(c.truth)
	default:
		v = parquet.ByteArrayValue(c.text)
	}
	return append(row, v.Level(0, def, c.leaf))
}

// columnNode is a column's place in the schema.
func columnNode(c Column) (parquet.Node, error) {
	var node parquet.Node
	switch c.Type {
	case TypeString, TypeExtra:
		node = parquet.Encoded(parquet.String(), &parquet.Plain)
	case TypeInt64:
		node = parquet.Leaf(parquet.Int64Type)
	case TypeDouble:
		node = parquet.Leaf(parquet.DoubleType)
	case TypeBool:
		node = parquet.Leaf(parquet.BooleanType)
	case TypeMessages:
		node = messagesNode()
	default:
		return nil, fmt.Errorf("column %s: type %s is unknown", c.Name, c.Type)
	}
	if !c.Required {
		node = parquet.Optional(node)
	}
	return node, nil
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
