package store

import (
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// ColumnType is the type of a column that [ParquetWriter] writes, with the logical type
// of Parquet that it has (LogicalTypes.md of apache/parquet-format). A null of a list's
// element is a null.
type ColumnType uint8

// The column types.
const (
	TypeString    ColumnType = iota // STRING: UTF-8 text
	TypeInt64                       // INT64: an integer without fraction or exponent
	TypeDouble                      // DOUBLE: any number within its range, rounded
	TypeBool                        // BOOLEAN: true or false
	TypeTimestamp                   // TIMESTAMP(MICROS, UTC): a text by RFC 3339, to the microsecond
	TypeMessages                    // LIST of {role, content}, both STRING
	// TypeExtra holds, as one JSON object, each field that has no column of its own,
	// or whose value its column cannot hold, bytes untouched and in order.
	TypeExtra
	TypeStringList // LIST of STRING
	TypeInt64List  // LIST of INT64
	TypeDoubleList // LIST of DOUBLE
	TypeBoolList   // LIST of BOOLEAN
)

// columnTypeNames are the names of the types in the footer's note.
var columnTypeNames = [...]string{"string", "int64", "double", "bool", "timestamp", "messages", "extra",
	"list<string>", "list<int64>", "list<double>", "list<bool>"}

// String returns the type's name.
func (t ColumnType) String() string {
	if int(t) < len(columnTypeNames) {
		return columnTypeNames[t]
	}
	return fmt.Sprintf("ColumnType(%d)", t)
}

// element returns the type of a list's elements, or of a column that is no list.
func (t ColumnType) element() ColumnType {
	if t >= TypeStringList && t <= TypeBoolList {
		return t - TypeStringList // in the order of the first four
	}
	return t
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
	extra  int   // index of the extra column among those that are read, or -1
	number []int // of each column in the file: its index among those that are read, or -1
	fields Record
	keys   keyTable
	row    []Field
	told   []placement
	placed []placement
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
			own.number = append(own.number, -1) // not asked for
			continue
		}
		switch string(f.Value) {
		case `"extra"`:
			if !columns[i].text {
				return nil
			}
			own.extra = i
		case `"timestamp"`:
			columns[i].leaf = appendTimestamp
		}
		own.number = append(own.number, i)
		i++
	}
	return own
}

// convertOwn restores a record that [ParquetWriter] wrote.
func (p *parquetRows) convertOwn(row *Row) {
	own := p.own
	own.row, own.told, own.placed = own.row[:0], own.told[:0], own.placed[:0]
	if own.extra >= 0 {
		if row.Bad = p.loadExtra(); row.Bad != nil {
			row.Raw = own.text
			return
		}
	}
	placed := placedOf(own.placed, own.told, p.isOwn, len(own.number))
	own.placed = placed
	for slot := 0; slot <= len(own.row); slot++ {
		for ; len(placed) > 0 && placed[0].slot == slot; placed = placed[1:] {
			n := p.columns[own.number[placed[0].column]]
			row.Fields = append(row.Fields, Field{Key: n.name, RawKey: n.quoted[:len(n.quoted)-1]})
			p.encoder.spelling = placed[0].spelling
			p.appendColumn(n)
		}
		if slot < len(own.row) {
			p.appendExtra(row, own.row[slot])
		}
	}
	p.encoder.spelling = spelling{}
	p.close(row)
}

// isOwn reports whether a column of the file is read, is not the extra column, and holds
// the value of a field that is not in the extra column.
func (p *parquetRows) isOwn(column int) bool {
	i := p.own.number[column]
	if i < 0 || i == p.own.extra {
		return false
	}
	n := p.columns[i]
	inExtra := slices.ContainsFunc(p.own.row, func(f Field) bool { return f.Key == n.name })
	return !inExtra && !(n.optional && p.encoder.null(n))
}

// appendExtra appends a field of the extra column to the record.
func (p *parquetRows) appendExtra(row *Row, f Field) {
	row.Fields = append(row.Fields, f)
	p.appendMember(f.RawKey)
	p.raw = append(p.raw, ':')
	from := len(p.raw)
	p.raw = append(p.raw, f.Value...)
	p.spans = append(p.spans, span{from, len(p.raw)})
}

// loadExtra splits the extra column's value into own.row and own.told. The error says why
// it is no JSON object.
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
	own.told = readPlaced(own.told, own.text, own.fields.Fields)
	return nil
}
