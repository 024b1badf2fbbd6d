package store

import (
	"fmt"

	"github.com/parquet-go/parquet-go"
)

// ColumnType is the type of a column that [ParquetWriter] writes.
type ColumnType uint8

// The column types.
const (
	TypeString   ColumnType = iota // UTF-8 text
	TypeInt64                      // 64-bit signed integer
	TypeDouble                     // IEEE 754 binary64
	TypeBool                       // true or false
	TypeMessages                   // list of {role, content}, both text
	// TypeExtra holds, as one JSON object, each field that has no column of its own,
	// or whose value its column cannot hold, bytes untouched and in order.
	TypeExtra
)

// String returns the type's name.
func (t ColumnType) String() string {
	names := [...]string{"string", "int64", "double", "bool", "messages", "extra"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("ColumnType(%d)", t)
}

// Column declares a column.
type Column struct {
	Name string
	Type ColumnType
	// Required says that the column is never null: a record without a value for it is an error.
	Required bool
}

// ownColumnsKey names the footer's note of which columns were declared. It tells a null
// that stands for an absent field from one that a foreign file means, and the extra
// column from a foreign one.
const ownColumnsKey = "bzdata.columns"

// ownColumnsNote is the text under that key: {"name":"type",…} in order.
func ownColumnsNote(schema []Column) string {
	var fields []Field
	for _, c := range schema {
		fields = append(fields, Field{Key: c.Name, Value: AppendQuote(nil, c.Type.String())})
	}
	return string(AppendFields(nil, fields))
}

// ownColumns is how to read a file that [ParquetWriter] wrote.
type ownColumns struct {
	extra  int // index of the extra column, or -1
	fields Record
	keys   keyTable
	row    []Field
	text   []byte
}

// findOwnColumns recognises a file of [ParquetWriter] by its note and its columns: names
// are those of the file, columns those that are read.
func findOwnColumns(file *parquet.File, columns []*parquetNode, names []string) *ownColumns {
	note, ok := file.Lookup(ownColumnsKey)
	if !ok {
		return nil
	}
	var rec Record
	if Scan([]byte(note), &rec) != nil || len(rec.Fields) != len(names) {
		return nil
	}
	own := &ownColumns{extra: -1}
	i := 0 // among columns
	for at, f := range own.keys.fields(nil, rec.Fields) {
		if f.Key != names[at] {
			return nil
		}
		if i == len(columns) || f.Key != columns[i].name {
			continue // not asked for
		}
		if string(f.Value) == `"extra"` {
			if !columns[i].text {
				return nil
			}
			own.extra = i
		}
		i++
	}
	return own
}

// convertOwn restores a record that [ParquetWriter] wrote: the declared fields that are
// there, in the schema's order, then those of the extra column.
func (p *parquetRows) convertOwn(row *Row) {
	own := p.own
	own.row = own.row[:0]
	if own.extra >= 0 {
		if row.Bad = p.loadExtra(); row.Bad != nil {
			row.Raw = own.text
			return
		}
	}
	for i, n := range p.columns {
		if i == own.extra {
			continue
		}
		value := own.take(n.name)
		if value == nil && n.optional && p.encoder.null(n) {
			continue
		}
		row.Fields = append(row.Fields, Field{Key: n.name, RawKey: n.quoted[:len(n.quoted)-1]})
		p.appendColumn(n, value)
	}
	for _, f := range own.row {
		if f.Value == nil {
			continue
		}
		row.Fields = append(row.Fields, f)
		p.appendMember(f.RawKey)
		p.raw = append(p.raw, ':')
		from := len(p.raw)
		p.raw = append(p.raw, f.Value...)
		p.spans = append(p.spans, span{from, len(p.raw)})
	}
	p.close(row)
}

// loadExtra splits the extra column's value into own.row. The error says why it is
// no JSON object.
func (p *parquetRows) loadExtra() error {
	own, n := p.own, p.columns[p.own.extra]
	if n.optional && p.encoder.null(n) {
		return nil
	}
	own.text = append(own.text[:0], p.encoder.leaves[n.lo][0].ByteArray()...)
	if err := Scan(own.text, &own.fields); err != nil {
		return fmt.Errorf("column %s: %w", n.name, err)
	}
	own.row = own.keys.fields(own.row, own.fields.Fields)
	return nil
}

// take removes a field from own.row and returns its value, or nil.
func (o *ownColumns) take(name string) []byte {
	for i := range o.row {
		if o.row[i].Key == name {
			value := o.row[i].Value
			o.row[i].Value = nil
			return value
		}
	}
	return nil
}
