package store

import (
	"fmt"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
)

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
	quoted   string   // the name as JSON
	leaf     int      // the first
	met, set bool     // the record has the field; the column has a value
	spelling spelling // of the value, if the column holds it exactly
	misfits  int64    // values that it could not hold, null not among them
	text     []byte
	number   int64
	double   float64
	truth    bool
	messages messageList
	list     valueList
	scratch  []byte
	spelled  []byte
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
	case c.Type.element() != c.Type:
		return int64(len(c.list.buf)) + 8*int64(len(c.list.values)) + 1
	}
	return 8
}

// parse takes a field's value into the column as far as it fits.
func (c *columnWriter) parse(value []byte) (h held) {
	c.spelling = spelling{}
	switch c.Type {
	case TypeString:
		var err error
		if c.scratch, err = Unquote(c.scratch[:0], value); err == nil {
			c.text = c.scratch
			h = c.spell(value, func(dst []byte, as spelling) []byte { return appendSpelled(dst, c.text, as) })
		}
	case TypeInt64:
		c.number, h = parseInt64(value)
	case TypeDouble:
		c.double, h = parseDouble(value)
	case TypeBool:
		if s := string(value); s == "true" || s == "false" {
			h, c.truth = heldExactly, s == "true"
		}
	case TypeTimestamp:
		c.number, h = parseTimestamp(value)
	case TypeMessages:
		if h = c.messages.parse(value); h == heldExactly {
			h = c.spell(value, c.messages.appendSpelled)
		}
	default:
		if c.list.parse(value, c.Type.element()) {
			h = c.spell(value, c.list.appendSpelled)
		}
	}
	if c.set = h != heldNot; !c.set && string(value) != "null" {
		c.misfits++
	}
	return h
}

// spell looks for the spelling under which encode gives back a value.
func (c *columnWriter) spell(value []byte, encode func(dst []byte, as spelling) []byte) held {
	for _, as := range spellingsOf(value) {
		if c.spelled = encode(c.spelled[:0], as); string(c.spelled) == string(value) {
			c.spelling = as
			return heldExactly
		}
	}
	return heldByValue
}

func parseInt64(value []byte) (int64, held) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	var text [20]byte
	if err == nil && string(strconv.AppendInt(text[:0], n, 10)) == string(value) {
		return n, heldExactly
	}
	return 0, heldNot
}

func parseDouble(value []byte) (float64, held) {
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return 0, heldNot
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return 0, heldNot
	}
	var text [32]byte
	if string(appendFloat(text[:0], f, 64)) == string(value) {
		return f, heldExactly
	}
	return f, heldByValue
}

// timestampLayout is how a timestamp column of ours is shown: RFC 3339 in UTC, with as
// many digits as the fraction needs.
const timestampLayout = `"2006-01-02T15:04:05.999999Z"`

// parseTimestamp reads an RFC 3339 date and time to microseconds since 1970 in UTC.
func parseTimestamp(value []byte) (int64, held) {
	if len(value) < len(`"2006-01-02T15:04:05Z"`) || len(value) > 48 {
		return 0, heldNot
	}
	t, err := time.Parse(`"`+time.RFC3339+`"`, string(value))
	if err != nil || t.Nanosecond()%1000 != 0 {
		return 0, heldNot
	}
	if string(t.UTC().AppendFormat(nil, timestampLayout)) == string(value) {
		return t.UnixMicro(), heldExactly
	}
	return t.UnixMicro(), heldByValue
}

func appendTimestamp(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
	return time.UnixMicro(v.Int64()).UTC().AppendFormat(dst, timestampLayout)
}

// append appends the column's values with their levels.
func (c *columnWriter) append(row parquet.Row) parquet.Row {
	switch {
	case c.Type == TypeMessages:
		return c.messages.append(row, c)
	case c.Type.element() != c.Type:
		return c.list.append(row, c)
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
	case TypeInt64, TypeTimestamp:
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
	switch c.Type.element() {
	case TypeString, TypeExtra:
		node = parquet.Encoded(parquet.String(), &parquet.Plain)
	case TypeInt64:
		node = parquet.Leaf(parquet.Int64Type)
	case TypeDouble:
		node = parquet.Leaf(parquet.DoubleType)
	case TypeBool:
		node = parquet.Leaf(parquet.BooleanType)
	case TypeTimestamp:
		node = parquet.Timestamp(parquet.Microsecond)
	case TypeMessages:
		node = messagesNode()
	default:
		return nil, fmt.Errorf("column %s: type %s is unknown", c.Name, c.Type)
	}
	if c.Type.element() != c.Type {
		node = parquet.List(parquet.Optional(node))
	}
	if !c.Required {
		node = parquet.Optional(node)
	}
	return node, nil
}

// valueList holds the elements of a list column of one record.
type valueList struct {
	values []parquet.Value
	buf    []byte // strings, one after the other
	ends   []int  // where each element's string ends
	array  Record
}

// parse takes a JSON array if all its elements are null or fit the type, exactly.
func (l *valueList) parse(value []byte, element ColumnType) bool {
	l.values, l.buf, l.ends = l.values[:0], l.buf[:0], l.ends[:0]
	if ScanArray(value, &l.array) != nil {
		return false
	}
	for _, f := range l.array.Fields {
		v, h := parquet.Value{}, heldExactly
		switch text := string(f.Value); {
		case text == "null":
		case element == TypeString:
			var err error
			if l.buf, err = Unquote(l.buf, f.Value); err != nil {
				h = heldNot
			}
			v = parquet.ByteArrayValue(nil) // its bytes may still move
		case element == TypeInt64:
			var n int64
			n, h = parseInt64(f.Value)
			v = parquet.Int64Value(n)
		case element == TypeDouble:
			var x float64
			x, h = parseDouble(f.Value)
			v = parquet.DoubleValue(x)
		case text == "true" || text == "false":
			v = parquet.BooleanValue(text == "true")
		default:
			h = heldNot
		}
		if h == heldNot {
			return false
		}
		l.values, l.ends = append(l.values, v), append(l.ends, len(l.buf))
	}
	return true
}

// at returns an element; a string's bytes are valid until the next parse.
func (l *valueList) at(i int) parquet.Value {
	v := l.values[i]
	if v.Kind() != parquet.ByteArray || v.IsNull() {
		return v
	}
	from := 0
	if i > 0 {
		from = l.ends[i-1]
	}
	return parquet.ByteArrayValue(l.buf[from:l.ends[i]:l.ends[i]])
}

// appendSpelled appends the elements as a JSON array.
func (l *valueList) appendSpelled(dst []byte, as spelling) []byte {
	dst = append(dst, '[')
	for i := range l.values {
		if i > 0 {
			dst = as.comma(dst)
		}
		switch v := l.at(i); {
		case v.IsNull():
			dst = append(dst, "null"...)
		case v.Kind() == parquet.ByteArray:
			dst = appendSpelled(dst, v.ByteArray(), as)
		case v.Kind() == parquet.Int64:
			dst = strconv.AppendInt(dst, v.Int64(), 10)
		case v.Kind() == parquet.Double:
			dst = appendFloat(dst, v.Double(), 64)
		default:
			dst = strconv.AppendBool(dst, v.Boolean())
		}
	}
	return append(dst, ']')
}

// append appends the elements with their levels: a list that is there, one that has
// elements, and an element that is not null are each one level deeper.
func (l *valueList) append(row parquet.Row, c *columnWriter) parquet.Row {
	list := 1
	if c.Required {
		list = 0
	}
	switch {
	case !c.set:
		return append(row, parquet.NullValue().Level(0, 0, c.leaf))
	case len(l.values) == 0:
		return append(row, parquet.NullValue().Level(0, list, c.leaf))
	}
	for i := range l.values {
		v, def := l.at(i), list+2
		if v.IsNull() {
			def--
		}
		row = append(row, v.Level(min(i, 1), def, c.leaf))
	}
	return row
}
