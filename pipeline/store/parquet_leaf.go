package store

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// leafEncoder appends one value that is not null as JSON.
type leafEncoder func(e *rowEncoder, dst []byte, v parquet.Value) []byte

// decimalScaleMax bounds a decimal's scale; the largest decimals in use have 76 digits.
const decimalScaleMax = 1000

// julianUnixEpoch is the Julian day of 1970-01-01.
const julianUnixEpoch = 2440588

// leafOf chooses how a column's values convert.
func leafOf(e *format.SchemaElement, binaryAsText bool) (leaf leafEncoder, text bool, err error) {
	if leaf = leafOfLogical(e); leaf == nil {
		if leaf, err = leafOfDecimal(e); leaf == nil && err == nil {
			leaf, err = leafOfPhysical(e)
		}
	}
	text = isText(e) || binaryAsText && isBareBinary(e)
	if text {
		leaf = appendText
	}
	return leaf, text, err
}

// isText reports whether a column is of strings.
func isText(e *format.SchemaElement) bool {
	if p := e.Type.V; p != format.ByteArray && p != format.FixedLenByteArray {
		return false
	}
	switch e.LogicalType.Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		return true
	case nil:
		c := e.ConvertedType
		return c.Valid && (c.V == deprecated.UTF8 || c.V == deprecated.Enum || c.V == deprecated.Json)
	}
	return false
}

// isBareBinary reports whether a column is of bytes without annotation.
func isBareBinary(e *format.SchemaElement) bool {
	return e.Type.V == format.ByteArray && e.LogicalType.Value == nil && !e.ConvertedType.Valid
}

// leafOfLogical returns the encoder that a column's annotation asks for, or nil if it
// asks for none, or does not fit the physical type.
func leafOfLogical(e *format.SchemaElement) leafEncoder {
	physical := e.Type.V
	switch l := e.LogicalType.Value.(type) {
	case *format.IntType:
		return leafOfInt(physical, l.IsSigned)
	case *format.DateType:
		return leafOfDate(physical)
	case *format.TimeType:
		return leafOfTime(physical, l.Unit)
	case *format.TimestampType:
		return leafOfTimestamp(physical, l.Unit, l.IsAdjustedToUTC)
	case *format.UUIDType:
		if physical == format.FixedLenByteArray && e.TypeLength.V == 16 {
			return appendUUID
		}
	case *format.Float16Type:
		if physical == format.FixedLenByteArray && e.TypeLength.V == 2 {
			return appendFloat16
		}
	case nil:
		return leafOfConverted(e)
	}
	return nil
}

// leafOfConverted is [leafOfLogical] for the annotations of older writers.
func leafOfConverted(e *format.SchemaElement) leafEncoder {
	if !e.ConvertedType.Valid {
		return nil
	}
	millis := format.TimeUnit{Value: new(format.MilliSeconds)}
	micros := format.TimeUnit{Value: new(format.MicroSeconds)}
	physical := e.Type.V
	switch e.ConvertedType.V {
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return leafOfInt(physical, false)
	case deprecated.Date:
		return leafOfDate(physical)
	case deprecated.TimeMillis:
		return leafOfTime(physical, millis)
	case deprecated.TimeMicros:
		return leafOfTime(physical, micros)
	case deprecated.TimestampMillis:
		return leafOfTimestamp(physical, millis, true)
	case deprecated.TimestampMicros:
		return leafOfTimestamp(physical, micros, true)
	}
	return nil
}

// leafOfPhysical returns the encoder of a column that has no annotation we use.
func leafOfPhysical(e *format.SchemaElement) (leafEncoder, error) {
	switch e.Type.V {
	case format.Boolean:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return strconv.AppendBool(dst, v.Boolean())
		}, nil
	case format.Int32, format.Int64:
		return leafOfInt(e.Type.V, true), nil
	case format.Int96:
		return appendInt96, nil
	case format.Float:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return appendFloat(dst, float64(v.Float()), 32)
		}, nil
	case format.Double:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return appendFloat(dst, v.Double(), 64)
		}, nil
	case format.ByteArray:
		return appendBinary, nil
	case format.FixedLenByteArray:
		if n := e.TypeLength.V; n <= 0 || n > parquetTypeLengthMax {
			return nil, fmt.Errorf("byte arrays of fixed length %d", n)
		}
		return appendBinary, nil
	}
	return nil, fmt.Errorf("physical type %d is unknown", e.Type.V)
}

func leafOfInt(physical format.Type, signed bool) leafEncoder {
	switch {
	case physical == format.Int32 && signed:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return strconv.AppendInt(dst, int64(v.Int32()), 10)
		}
	case physical == format.Int32:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return strconv.AppendUint(dst, uint64(uint32(v.Int32())), 10)
		}
	case physical == format.Int64 && signed:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return strconv.AppendInt(dst, v.Int64(), 10)
		}
	case physical == format.Int64:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return strconv.AppendUint(dst, uint64(v.Int64()), 10)
		}
	}
	return nil
}

func leafOfDate(physical format.Type) leafEncoder {
	if physical != format.Int32 {
		return nil
	}
	return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
		return time.Unix(int64(v.Int32())*86400, 0).UTC().AppendFormat(dst, `"2006-01-02"`)
	}
}

// unitOf returns a unit's name in layouts and its length.
func unitOf(u format.TimeUnit) (fraction string, unit time.Duration) {
	switch u.Value.(type) {
	case *format.MilliSeconds:
		return ".000", time.Millisecond
	case *format.MicroSeconds:
		return ".000000", time.Microsecond
	case *format.NanoSeconds:
		return ".000000000", time.Nanosecond
	}
	return "", 0
}

// leafOfTime shows a time of day. One outside the day is shown as the number it is.
func leafOfTime(physical format.Type, u format.TimeUnit) leafEncoder {
	fraction, unit := unitOf(u)
	plain := leafOfInt(physical, true)
	if unit == 0 || plain == nil {
		return plain
	}
	layout := `"15:04:05` + fraction + `"`
	perDay := int64(24 * time.Hour / unit)
	return func(e *rowEncoder, dst []byte, v parquet.Value) []byte {
		t := v.Int64()
		if physical == format.Int32 {
			t = int64(v.Int32())
		}
		if t < 0 || t >= perDay {
			return plain(e, dst, v)
		}
		return time.Unix(0, t*int64(unit)).UTC().AppendFormat(dst, layout)
	}
}

func leafOfTimestamp(physical format.Type, u format.TimeUnit, utc bool) leafEncoder {
	fraction, unit := unitOf(u)
	if unit == 0 || physical != format.Int64 {
		return leafOfInt(physical, true)
	}
	layout := `"2006-01-02T15:04:05` + fraction
	if utc {
		layout += "Z"
	}
	layout += `"`
	perSecond := int64(time.Second / unit)
	return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
		t := v.Int64()
		seconds, rest := t/perSecond, t%perSecond
		if rest < 0 {
			seconds, rest = seconds-1, rest+perSecond
		}
		return time.Unix(seconds, rest*int64(unit)).UTC().AppendFormat(dst, layout)
	}
}

// leafOfDecimal returns the encoder of a decimal column, or nil if it is none.
func leafOfDecimal(e *format.SchemaElement) (leafEncoder, error) {
	var scale int32
	switch l := e.LogicalType.Value.(type) {
	case *format.DecimalType:
		scale = l.Scale
	case nil:
		if !e.ConvertedType.Valid || e.ConvertedType.V != deprecated.Decimal {
			return nil, nil
		}
		scale = e.Scale.V
	default:
		return nil, nil
	}
	if scale < 0 || scale > decimalScaleMax {
		return nil, fmt.Errorf("decimal of scale %d", scale)
	}
	switch e.Type.V {
	case format.Int32:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return appendDecimal(dst, strconv.AppendInt(nil, int64(v.Int32()), 10), int(scale))
		}, nil
	case format.Int64:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return appendDecimal(dst, strconv.AppendInt(nil, v.Int64(), 10), int(scale))
		}, nil
	case format.ByteArray, format.FixedLenByteArray:
		return func(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
			return appendDecimal(dst, bigEndian(v.ByteArray()).Append(nil, 10), int(scale))
		}, nil
	}
	return nil, nil
}

// bigEndian reads an integer in two's complement.
func bigEndian(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// appendDecimal puts the point into an integer's digits.
func appendDecimal(dst, digits []byte, scale int) []byte {
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	if scale == 0 {
		return append(dst, digits...)
	}
	for len(digits) <= scale {
		digits = append([]byte{'0'}, digits...)
	}
	point := len(digits) - scale
	dst = append(append(dst, digits[:point]...), '.')
	return append(dst, digits[point:]...)
}

// appendFloat appends the shortest number that reads back as f, always with a point
// or an exponent, so that a reader takes it for floating point.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, bits)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	for _, c := range dst[from:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

// appendFloat16 shows an IEEE 754 binary16, which widens exactly.
func appendFloat16(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
	h := binary.LittleEndian.Uint16(v.ByteArray())
	exponent, fraction := int(h>>10&31), float64(h&1023)
	f := math.Ldexp(1+fraction/1024, exponent-15)
	switch {
	case exponent == 31 && fraction != 0:
		f = math.NaN()
	case exponent == 31:
		f = math.Inf(1)
	case exponent == 0:
		f = math.Ldexp(fraction, -24)
	}
	if h&0x8000 != 0 {
		f = math.Copysign(f, -1)
	}
	return appendFloat(dst, f, 32)
}

func appendInt96(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
	t := v.Int96()
	day := int64(t[2]) - julianUnixEpoch
	nanos := int64(uint64(t[1])<<32 | uint64(t[0]))
	return time.Unix(day*86400, nanos).UTC().AppendFormat(dst, `"2006-01-02T15:04:05.000000000"`)
}

func appendUUID(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
	b := v.ByteArray()
	dst = append(dst, '"')
	for i, cut := range [][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, b[cut[0]:cut[1]])
	}
	return append(dst, '"')
}

func appendBinary(_ *rowEncoder, dst []byte, v parquet.Value) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, v.ByteArray())
	return append(dst, '"')
}

// appendText appends a string; one that is not UTF-8 goes through as it is, and makes
// the row malformed.
func appendText(e *rowEncoder, dst []byte, v parquet.Value) []byte {
	b := v.ByteArray()
	if e.bad == nil && !utf8.Valid(b) {
		at := int64(invalidUTF8(b))
		e.bad = fmt.Errorf("column %s: %w", e.name, &SyntaxError{at, "invalid UTF-8 in a string"})
	}
	return appendSpelled(dst, b, e.spelling)
}
