package store

import (
	"github.com/parquet-go/parquet-go"
)

// A column of messages is laid out as pyarrow lays out list<struct<role, content>>,
// each level nullable:
//
//	optional group messages (LIST) {
//	  repeated group list {
//	    optional group element { optional binary role (STRING); optional binary content (STRING) }
//	  }
//	}

func messagesNode() parquet.Node {
	message := newOrderedGroup()
	for _, name := range [...]string{"role", "content"} {
		message.add(name, parquet.Optional(parquet.Encoded(parquet.String(), &parquet.Plain)))
	}
	return parquet.List(parquet.Optional(message))
}

// messageList holds the messages of one record.
type messageList struct {
	buf   []byte // roles and contents, one after the other
	ends  []int  // where each ends
	list  Record
	each  Record
	names [2]int // where role and content stand in a message's fields
}

// parse takes a JSON array of {"role":string,"content":string}.
func (m *messageList) parse(value []byte) held {
	m.buf, m.ends = m.buf[:0], m.ends[:0]
	if ScanArray(value, &m.list) != nil {
		return heldNot
	}
	h := heldExactly
	for _, element := range m.list.Fields {
		if Scan(element.Value, &m.each) != nil || !m.find() {
			return heldNot
		}
		for _, at := range m.names {
			var err error
			if m.buf, err = Unquote(m.buf, m.each.Fields[at].Value); err != nil {
				return heldNot
			}
			m.ends = append(m.ends, len(m.buf))
		}
		if len(m.each.Fields) != len(m.names) {
			h = heldPartly
		}
	}
	return h
}

// find looks for role and content among the fields of the message at hand.
func (m *messageList) find() bool {
	m.names = [2]int{-1, -1}
	for i, f := range m.each.Fields {
		switch string(f.Key) {
		case `"role"`:
			m.names[0] = i
		case `"content"`:
			m.names[1] = i
		}
	}
	return m.names[0] >= 0 && m.names[1] >= 0
}

// appendSpelled appends the messages as a JSON array, role before content.
func (m *messageList) appendSpelled(dst []byte, as spelling) []byte {
	dst = append(dst, '[')
	from := 0
	for i, end := range m.ends {
		switch {
		case i%2 == 1:
			dst = append(as.comma(dst), `"content":`...)
		case i > 0:
			dst = append(as.comma(dst), `{"role":`...)
		default:
			dst = append(dst, `{"role":`...)
		}
		dst = appendSpelled(as.colon(dst), m.buf[from:end], as)
		if from = end; i%2 == 1 {
			dst = append(dst, '}')
		}
	}
	return append(dst, ']')
}

// append appends the list's values: all roles, then all contents.
func (m *messageList) append(row parquet.Row, c *columnWriter) parquet.Row {
	list := 1 // definition level of a list that is there
	if c.Required {
		list = 0
	}
	for name := range 2 {
		leaf := c.leaf + name
		switch {
		case !c.set:
			row = append(row, parquet.NullValue().Level(0, 0, leaf))
		case len(m.ends) == 0:
			row = append(row, parquet.NullValue().Level(0, list, leaf))
		}
		for i := name; c.set && i < len(m.ends); i += 2 {
			from := 0
			if i > 0 {
				from = m.ends[i-1]
			}
			text := m.buf[from:m.ends[i]:m.ends[i]]
			row = append(row, parquet.ByteArrayValue(text).Level(min(i/2, 1), list+3, leaf))
		}
	}
	return row
}
