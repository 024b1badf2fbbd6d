package store

import (
	"fmt"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// How a Parquet row becomes JSON. Values convert exactly, and so that the schema and
// the JSON text together give the value back:
//
//	BOOLEAN                        true, false
//	INT32, INT64, signed or not    integer
//	FLOAT, DOUBLE, FLOAT16         shortest number that reads back the same, with a point
//	                               or exponent; "NaN", "Infinity", "-Infinity"
//	DECIMAL                        number with all digits of the scale
//	STRING, ENUM, JSON             string
//	UUID                           "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
//	other byte arrays              base64 (RFC 4648, padded); a string by RowOptions.BinaryAsText
//	DATE                           "2006-01-02"
//	TIME                           "15:04:05.000", as many digits as the unit has
//	TIMESTAMP                      "2006-01-02T15:04:05.000Z", without Z if it is local time
//	INT96 (legacy timestamp)       "2006-01-02T15:04:05.000000000"
//	LIST, bare repeated fields     array
//	MAP with string keys           object; if a key repeats, as the next
//	other MAPs                     array of {"key":…,"value":…}
//	groups                         object
//	null, at any depth             null
//
// A string that is not UTF-8 makes the row malformed.
// https://github.com/apache/parquet-format/blob/master/LogicalTypes.md

type nodeKind uint8

const (
	leafNode nodeKind = iota
	structNode
	listNode
	mapNode
)

// parquetNode is one node of a schema, seen as JSON.
type parquetNode struct {
	name     string
	quoted   []byte // the name as JSON, with a colon behind
	kind     nodeKind
	optional bool
	def      int // definition level from which the node is not null
	// lo and hi are the first leaf below the node and the one after the last.
	lo, hi int
	// repeatedRep and repeatedDef are the levels of a list's or map's repeated part.
	repeatedRep, repeatedDef int
	kids                     []*parquetNode // members; a list's element; a map's key and value
	leaf                     leafEncoder
	text                     bool // the leaf is a string
}

// parquetTree builds the nodes of a schema. The elements of the footer stand in the
// order in which the columns are visited.
type parquetTree struct {
	elements     []format.SchemaElement
	next         int // element
	levels       []leafLevels
	binaryAsText bool
}

// leafLevels describes a leaf: its type and the greatest levels that its values have.
type leafLevels struct {
	physical format.Type
	rep, def int
}

// build returns the top-level columns of a file.
func (t *parquetTree) build(file *parquet.File) ([]*parquetNode, error) {
	t.next = 1
	kids, err := t.members(file.Root(), 0, 0)
	if err == nil && len(kids) == 0 {
		err = &unsupportedError{"a schema without columns", "leave the file out"}
	}
	return kids, err
}

// members builds a group's fields, which must have distinct names.
func (t *parquetTree) members(c *parquet.Column, rep, def int) ([]*parquetNode, error) {
	var kids []*parquetNode
	seen := map[string]bool{}
	for _, child := range c.Columns() {
		if seen[child.Name()] {
			return nil, fmt.Errorf("two columns named %q", child.Name())
		}
		seen[child.Name()] = true
		kid, err := t.node(child, rep, def)
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	return kids, nil
}

// node builds c. A repeated field outside a list annotation is a list of itself.
func (t *parquetTree) node(c *parquet.Column, rep, def int) (*parquetNode, error) {
	if !utf8.ValidString(c.Name()) {
		return nil, fmt.Errorf("column name %q is not UTF-8", c.Name())
	}
	if !c.Repeated() {
		return t.single(c, rep, def)
	}
	elem, err := t.repeated(c, rep+1, def+1)
	if err != nil {
		return nil, err
	}
	n := named(c)
	n.kind, n.kids, n.lo, n.hi = listNode, []*parquetNode{elem}, elem.lo, elem.hi
	n.repeatedRep, n.repeatedDef = rep+1, def+1
	return n, nil
}

func named(c *parquet.Column) *parquetNode {
	return &parquetNode{name: c.Name(), quoted: append(AppendQuote(nil, c.Name()), ':')}
}

// single builds c as it is within one repetition, null or not.
func (t *parquetTree) single(c *parquet.Column, rep, def int) (*parquetNode, error) {
	if c.Optional() {
		def++
	}
	n, err := t.repeated(c, rep, def)
	if err == nil {
		n.optional, n.def = c.Optional(), def
	}
	return n, err
}

// repeated builds what c holds, given the levels at which it is there.
func (t *parquetTree) repeated(c *parquet.Column, rep, def int) (*parquetNode, error) {
	n := named(c)
	element := &t.elements[t.next]
	t.next++
	n.lo = len(t.levels)
	var err error
	switch {
	case c.Leaf():
		t.levels = append(t.levels, leafLevels{element.Type.V, rep, def})
		n.leaf, n.text, err = leafOf(element, t.binaryAsText)
	case isList(element) && listShaped(c):
		n.kind = listNode
		err = t.list(n, c, rep, def)
	case isMap(element) && mapShaped(c):
		n.kind = mapNode
		n.repeatedRep, n.repeatedDef = rep+1, def+1
		t.next++
		n.kids, err = t.members(c.Columns()[0], rep+1, def+1)
	default:
		n.kind = structNode
		n.kids, err = t.members(c, rep, def)
	}
	if n.hi = len(t.levels); err == nil && n.lo == n.hi {
		err = &unsupportedError{"a group without columns", "write the file without it"}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name(), err)
	}
	return n, nil
}

// list builds the element of an annotated list, of three levels or, as older writers
// left them, of two (LogicalTypes.md, backward-compatibility rules).
func (t *parquetTree) list(n *parquetNode, c *parquet.Column, rep, def int) error {
	middle := c.Columns()[0]
	n.repeatedRep, n.repeatedDef = rep+1, def+1
	var elem *parquetNode
	var err error
	inner := middle.Columns()
	if middle.Leaf() || len(inner) != 1 || inner[0].Repeated() ||
		middle.Name() == "array" || middle.Name() == c.Name()+"_tuple" {
		elem, err = t.repeated(middle, rep+1, def+1)
	} else {
		t.next++
		elem, err = t.node(inner[0], rep+1, def+1)
	}
	n.kids = []*parquetNode{elem}
	return err
}

func listShaped(c *parquet.Column) bool {
	return len(c.Columns()) == 1 && c.Columns()[0].Repeated()
}

// mapShaped reports whether c is a repeated group of a key that is never null, and a value.
func mapShaped(c *parquet.Column) bool {
	if !listShaped(c) {
		return false
	}
	entry := c.Columns()[0].Columns()
	return len(entry) == 2 && entry[0].Leaf() && entry[0].Required()
}

func isList(e *format.SchemaElement) bool {
	_, logical := e.LogicalType.Value.(*format.ListType)
	return logical || e.ConvertedType.Valid && e.ConvertedType.V == deprecated.List
}

func isMap(e *format.SchemaElement) bool {
	_, logical := e.LogicalType.Value.(*format.MapType)
	return logical || e.ConvertedType.Valid &&
		(e.ConvertedType.V == deprecated.Map || e.ConvertedType.V == deprecated.MapKeyValue)
}

// rowEncoder turns the values of one row into JSON. It consumes each leaf's values
// from the front.
type rowEncoder struct {
	leaves [][]parquet.Value
	bad    error // why the row is malformed
	name   string
	// most is how many bytes a row may become. One that becomes more is over: a dictionary can
	// make any length of few bytes, so that no more of it is laid out.
	most int64
	over bool
	// spelling is how values of a file of ours are spelled.
	spelling spelling
}

// load splits a row, whose values stand in the order of their columns.
func (e *rowEncoder) load(row parquet.Row) {
	clear(e.leaves)
	e.bad, e.over = nil, false
	for i := 0; i < len(row); {
		leaf, j := row[i].Column(), i+1
		for j < len(row) && row[j].Column() == leaf {
			j++
		}
		e.leaves[leaf] = row[i:j]
		i = j
	}
}

// append appends one node as JSON. Values that do not fit the schema cause a panic
// by the index, which [guardParquet] takes for damage.
func (e *rowEncoder) append(dst []byte, n *parquetNode) []byte {
	if e.over = e.over || int64(len(dst)) > e.most; e.over {
		return dst
	}
	if n.optional && e.null(n) {
		e.skip(n)
		return append(dst, "null"...)
	}
	switch n.kind {
	case leafNode:
		v := e.leaves[n.lo][0]
		e.leaves[n.lo] = e.leaves[n.lo][1:]
		if v.Kind() >= parquet.ByteArray && int64(len(v.ByteArray())) > e.most {
			e.over = true
			b := v.ByteArray()
			v = parquet.ByteArrayValue(b[:min(len(b), tooLongKept)]) // to show
		}
		return n.leaf(e, dst, v)
	case structNode:
		return e.appendStruct(dst, n)
	case listNode:
		return e.appendList(dst, n)
	default:
		return e.appendMap(dst, n)
	}
}

// null reports whether the node's next value is null.
func (e *rowEncoder) null(n *parquetNode) bool {
	return e.leaves[n.lo][0].DefinitionLevel() < n.def
}

// skip consumes the one value that each leaf has below a node that is null or empty.
func (e *rowEncoder) skip(n *parquetNode) {
	for i := n.lo; i < n.hi; i++ {
		e.leaves[i] = e.leaves[i][1:]
	}
}

func (e *rowEncoder) appendStruct(dst []byte, n *parquetNode) []byte {
	dst = append(dst, '{')
	for i, kid := range n.kids {
		if i > 0 {
			dst = e.spelling.comma(dst)
		}
		dst = e.spelling.colon(append(dst, kid.quoted...))
		dst = e.append(dst, kid)
	}
	return append(dst, '}')
}

// more reports whether the repeated part of n goes on after an element.
func (e *rowEncoder) more(n *parquetNode) bool {
	if e.over {
		return false
	}
	values := e.leaves[n.lo]
	return len(values) > 0 && values[0].RepetitionLevel() == n.repeatedRep
}

func (e *rowEncoder) empty(n *parquetNode) bool {
	return e.leaves[n.lo][0].DefinitionLevel() < n.repeatedDef
}

func (e *rowEncoder) appendList(dst []byte, n *parquetNode) []byte {
	if e.empty(n) {
		e.skip(n)
		return append(dst, "[]"...)
	}
	dst = append(dst, '[')
	for {
		dst = e.append(dst, n.kids[0])
		if !e.more(n) {
			return append(dst, ']')
		}
		dst = e.spelling.comma(dst)
	}
}

func (e *rowEncoder) appendMap(dst []byte, n *parquetNode) []byte {
	key := n.kids[0]
	if e.empty(n) {
		e.skip(n)
		if key.text {
			return append(dst, "{}"...)
		}
		return append(dst, "[]"...)
	}
	if key.text && e.distinctKeys(n) {
		dst = append(dst, '{')
		for {
			dst = append(e.append(dst, key), ':')
			dst = e.append(dst, n.kids[1])
			if !e.more(n) {
				return append(dst, '}')
			}
			dst = append(dst, ',')
		}
	}
	dst = append(dst, '[')
	for {
		dst = append(e.append(append(dst, `{"key":`...), key), `,"value":`...)
		dst = append(e.append(dst, n.kids[1]), '}')
		if !e.more(n) {
			return append(dst, ']')
		}
		dst = append(dst, ',')
	}
}

// distinctKeys reports whether the string keys of the map at hand differ.
func (e *rowEncoder) distinctKeys(n *parquetNode) bool {
	seen := map[string]bool{}
	for i, v := range e.leaves[n.lo] {
		if i > 0 && v.RepetitionLevel() < n.repeatedRep {
			break
		}
		key := v.ByteArray()
		if seen[string(key)] {
			return false
		}
		seen[string(key)] = true
	}
	return true
}
