package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The library that decodes Parquet trusts the sizes that a file declares, and
// allocates them before it reads. So the file's structures are walked here first, by
// a reader of Thrift's compact protocol that allocates nothing: every length must lie
// within the bytes that are really there.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

// Types of the compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

// thriftDepthMax bounds nesting of structures; Parquet's own are nested about 8 deep.
const thriftDepthMax = 32

var (
	errThriftShort = errors.New("structure ends too early")
	errThriftBad   = errors.New("structure is no Thrift")
)

// thriftReader walks b. After the first error it stands still and reads zeros.
type thriftReader struct {
	b   []byte
	i   int
	err error
}

func (t *thriftReader) fail(err error) {
	if t.err == nil {
		t.err = err
	}
	t.i = len(t.b)
}

func (t *thriftReader) byte() byte {
	if t.i >= len(t.b) {
		t.fail(errThriftShort)
		return 0
	}
	t.i++
	return t.b[t.i-1]
}

func (t *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(t.b[t.i:])
	switch {
	case n > 0:
		t.i += n
	case n == 0:
		t.fail(errThriftShort)
	default:
		t.fail(errThriftBad)
	}
	return v
}

func (t *thriftReader) varint() int64 {
	u := t.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (t *thriftReader) skipBytes(n uint64) {
	if n > uint64(len(t.b)-t.i) {
		t.fail(errThriftShort)
		return
	}
	t.i += int(n)
}

// fields calls visit for each field of the structure at hand; visit must consume the
// field's value and may do so with skip.
func (t *thriftReader) fields(depth int, visit func(id int64, typ byte)) {
	if depth > thriftDepthMax {
		t.fail(errThriftBad)
	}
	for id := int64(0); t.err == nil; {
		head := t.byte()
		if t.err != nil || head == 0 {
			return
		}
		if delta := int64(head >> 4); delta != 0 {
			id += delta
		} else {
			id = t.varint()
		}
		visit(id, head&15)
	}
}

// list reads the head of a list or set.
func (t *thriftReader) list() (n int, typ byte) {
	head := t.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = t.uvarint()
	}
	if size > uint64(len(t.b)-t.i) { // each element takes at least one byte
		t.fail(errThriftShort)
		return 0, 0
	}
	return int(size), head & 15
}

// skip passes over one value of a field.
func (t *thriftReader) skip(typ byte, depth int) {
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.byte()
	case thriftI16, thriftI32, thriftI64:
		t.uvarint()
	case thriftDouble:
		t.skipBytes(8)
	case thriftBinary:
		t.skipBytes(t.uvarint())
	case thriftUUID:
		t.skipBytes(16)
	case thriftStruct:
		t.fields(depth, func(_ int64, typ byte) { t.skip(typ, depth+1) })
	case thriftList, thriftSet:
		n, element := t.list()
		for range n {
			t.skipElement(element, depth+1)
		}
	case thriftMap:
		t.skipMap(depth)
	default:
		t.fail(errThriftBad)
	}
}

// skipElement passes over one element of a list, where a bool takes a byte.
func (t *thriftReader) skipElement(typ byte, depth int) {
	switch {
	case t.err != nil:
	case depth > thriftDepthMax:
		t.fail(errThriftBad)
	case typ == thriftTrue || typ == thriftFalse:
		t.byte()
	default:
		t.skip(typ, depth)
	}
}

func (t *thriftReader) skipMap(depth int) {
	n := t.uvarint()
	if n == 0 {
		return
	}
	if n > uint64(len(t.b)-t.i) {
		t.fail(errThriftShort)
		return
	}
	types := t.byte()
	for range n {
		t.skipElement(types>>4, depth+1)
		t.skipElement(types&15, depth+1)
	}
}

// checkFooter walks a FileMetaData structure and checks what the cost of opening it
// depends on: its schema is one tree of bounded depth, and every row group has one
// chunk for each of its leaves.
func checkFooter(footer []byte) error {
	t := thriftReader{b: footer}
	var tree schemaShape
	var groups []int // columns of each row group
	t.fields(0, func(id int64, typ byte) {
		if typ != thriftList || (id != 2 && id != 4) {
			t.skip(typ, 1)
			return
		}
		n, element := t.list()
		for range n {
			switch {
			case t.err != nil:
			case element != thriftStruct:
				t.fail(errThriftBad)
			case id == 2:
				t.schemaElement(&tree)
			default:
				groups = append(groups, t.rowGroup())
			}
		}
	})
	if t.err == nil && tree.err == nil && len(tree.open) > 0 {
		tree.err = errors.New("schema has fewer elements than it says")
	}
	if err := errors.Join(t.err, tree.err); err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	for i, columns := range groups {
		if columns != tree.leaves {
			return fmt.Errorf("footer: row group %d has %d columns, the schema %d", i, columns, tree.leaves)
		}
	}
	return nil
}

// schemaShape follows a schema's elements, which stand in preorder.
type schemaShape struct {
	elements int
	leaves   int
	open     []int64 // children to come, of each open group
	err      error
}

// Limits on a footer, whose structures take far more memory than they take bytes.
const (
	// parquetDepthMax is of how deep a schema may nest.
	parquetDepthMax = 100
	// parquetLeavesMax and parquetElementsMax are of the columns with values, and of these
	// and their groups.
	parquetLeavesMax   = 1 << 15
	parquetElementsMax = 1 << 17
	// parquetChunkMetaMin is the least that a column chunk takes in a footer: six required
	// fields and three offsets and sizes.
	parquetChunkMetaMin = 16
)

func (s *schemaShape) add(leaf bool, children int64) {
	switch {
	case s.elements > 0 && len(s.open) == 0:
		s.err = errors.New("schema has more elements than it says")
	case s.elements == 0 && leaf:
		s.err = errors.New("schema has no root")
	case len(s.open) > parquetDepthMax:
		s.err = fmt.Errorf("schema nests deeper than %d", parquetDepthMax)
	case children < 0:
		s.err = errors.New("schema has a group of negative size")
	case s.elements == parquetElementsMax || leaf && s.leaves == parquetLeavesMax:
		s.err = fmt.Errorf("schema has more than %d columns", parquetLeavesMax)
	}
	if s.err != nil {
		return
	}
	s.elements++
	if leaf {
		s.leaves++
	} else if children > 0 {
		s.open = append(s.open, children)
		return
	}
	for len(s.open) > 0 {
		s.open[len(s.open)-1]--
		if s.open[len(s.open)-1] > 0 {
			break
		}
		s.open = s.open[:len(s.open)-1]
	}
}

func (t *thriftReader) schemaElement(tree *schemaShape) {
	leaf, children := false, int64(0)
	t.fields(2, func(id int64, typ byte) {
		switch {
		case id == 1 && typ == thriftI32: // type
			leaf = true
			t.varint()
		case id == 5 && typ == thriftI32: // num_children
			children = t.varint()
		default:
			t.skip(typ, 3)
		}
	})
	if t.err == nil && tree.err == nil {
		tree.add(leaf, children)
	}
}

// rowGroup returns how many columns a RowGroup has.
func (t *thriftReader) rowGroup() (columns int) {
	t.fields(2, func(id int64, typ byte) {
		if id != 1 || typ != thriftList {
			t.skip(typ, 3)
			return
		}
		n, element := t.list()
		columns = n
		for range n {
			from := t.i
			if t.skipElement(element, 3); t.err == nil && t.i-from < parquetChunkMetaMin {
				t.fail(errThriftBad)
			}
		}
	})
	return columns
}

// pageHeader is a page's header without its statistics.
type pageHeader struct {
	length       int // of the header itself, in bytes
	kind         int64
	uncompressed int64
	compressed   int64
	crc          uint32
	hasCRC       bool
	values       int64 // NULLs included
	encoding     int64
	repEncoding  int64 // of the repetition levels, version 1
	defEncoding  int64 // of the definition levels, version 1
	nulls, rows  int64 // version 2
	repBytes     int64 // of the repetition levels, version 2
	defBytes     int64 // of the definition levels, version 2
	compressing  bool  // false if a version 2 page says that its values are not compressed
}

// Page types.
const (
	dataPage       = 0
	indexPage      = 1
	dictionaryPage = 2
	dataPageV2     = 3
)

// parsePageHeader reads a PageHeader at the start of b. The error is errThriftShort if
// b ends before the header does.
func parsePageHeader(b []byte) (pageHeader, error) {
	t := thriftReader{b: b}
	h := pageHeader{kind: -1, values: -1, compressing: true}
	t.fields(0, func(id int64, typ byte) {
		switch {
		case typ == thriftI32 && id == 1:
			h.kind = t.varint()
		case typ == thriftI32 && id == 2:
			h.uncompressed = t.varint()
		case typ == thriftI32 && id == 3:
			h.compressed = t.varint()
		case typ == thriftI32 && id == 4:
			h.crc, h.hasCRC = uint32(t.varint()), true
		case typ == thriftStruct && id == 5:
			t.i32s(&h.values, &h.encoding, &h.defEncoding, &h.repEncoding)
		case typ == thriftStruct && id == 7:
			t.i32s(&h.values, &h.encoding)
		case typ == thriftStruct && id == 8:
			h.compressing = t.i32s(&h.values, &h.nulls, &h.rows, &h.encoding, &h.defBytes, &h.repBytes)
		default:
			t.skip(typ, 1)
		}
	})
	h.length = t.i
	return h, t.err
}

// i32s reads a structure whose first fields, numbered from 1, are of type i32, and
// reports whether field 7, which is_compressed is in a DataPageHeaderV2, is not false.
func (t *thriftReader) i32s(fields ...*int64) (notFalse bool) {
	notFalse = true
	t.fields(1, func(id int64, typ byte) {
		switch {
		case typ == thriftI32 && id >= 1 && id <= int64(len(fields)):
			*fields[id-1] = t.varint()
		case id == 7 && typ == thriftFalse:
			notFalse = false
		default:
			t.skip(typ, 2)
		}
	})
	return notFalse
}
