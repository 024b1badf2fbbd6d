package metrics

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// tensorBoard is the format of an event file: TFRecord framing around messages tensorflow.Event with
// scalars as Summary.Value.simple_value, which is a float of 32 bits (tensorflow/core/util/event.proto,
// tensorflow/core/framework/summary.proto). The expert load is there in its three sums only: a series
// for each of a thousand experts is nothing that a person looks at.
type tensorBoard struct{}

// Fields of the messages.
const (
	eventWallTime, eventStep, eventFileVersion, eventSummary = 1, 2, 3, 5

	summaryValue                    = 1
	summaryTag, summarySingleNumber = 1, 2
)

func (tensorBoard) head(first Row) []byte {
	e := message(nil).double(eventWallTime, unixSeconds(first.Time)).text(eventFileVersion, "brain.Event:2")
	return tfRecord(e)
}

func (tensorBoard) tail(Row) []byte { return nil }

func (tensorBoard) row(r Row) []byte {
	var summary message
	for _, v := range r.Values {
		value := message(nil).text(summaryTag, v.Name).single(summarySingleNumber, float32(v.Number))
		summary = summary.message(summaryValue, value)
	}
	e := message(nil).double(eventWallTime, unixSeconds(r.Time)).varint(eventStep, int64(r.Step))
	return tfRecord(e.message(eventSummary, summary))
}

// unixSeconds is exact to a microsecond.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tfRecord frames data: its length, the length's checksum, the data, its checksum
// (tensorflow/core/lib/io/record_writer.h).
func tfRecord(data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, maskedCRC(out))
	out = append(out, data...)
	return binary.LittleEndian.AppendUint32(out, maskedCRC(data))
}

// maskedCRC is TensorFlow's: a checksum of data that holds checksums is a poor one.
func maskedCRC(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}
