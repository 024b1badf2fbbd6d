package metrics

import (
	"encoding/binary"
	"math"
)

// message is the wire form of a protocol buffer under construction: fields in the order of their
// calls. As in proto3, an absent field is one of value zero, and is not written.
type message []byte

func (m message) key(field int, wire uint64) message {
	return binary.AppendUvarint(m, uint64(field)<<3|wire)
}

// varint appends an integer that is not negative.
func (m message) varint(field int, v int64) message {
	if v == 0 {
		return m
	}
	return binary.AppendUvarint(m.key(field, 0), uint64(v))
}

func (m message) double(field int, v float64) message {
	return binary.LittleEndian.AppendUint64(m.key(field, 1), math.Float64bits(v))
}

// single appends a float, also if it is zero: that of a oneof.
func (m message) single(field int, v float32) message {
	return binary.LittleEndian.AppendUint32(m.key(field, 5), math.Float32bits(v))
}

func (m message) text(field int, v string) message {
	if v == "" {
		return m
	}
	return m.message(field, message(v))
}

// message appends a message, also if it is empty.
func (m message) message(field int, v message) message {
	return append(binary.AppendUvarint(m.key(field, 2), uint64(len(v))), v...)
}
