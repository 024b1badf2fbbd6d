package checkpoint

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Tensor is a tensor to be written or hashed. Its values are either in Data or made by
// Read, which is called once for each use, so that a large model need not be held whole.
type Tensor struct {
	Name  string
	DType DType
	Shape []int                  // outermost dimension first
	Data  []byte                 // little-endian, row-major
	Read  func() ([]byte, error) // used when Data is nil
}

// NewTensor encodes values in one of the types that [FromFloat32] knows. The number of
// values must be that of the shape. Errors name the tensor.
func NewTensor(name string, dtype DType, shape []int, values []float32) (Tensor, error) {
	size, ok := byteSize(dtype, shape)
	if !ok || size != int64(len(values))*int64(dtype.Bits()/8) {
		return Tensor{}, fmt.Errorf("tensor %q: %d values do not fill shape %v", name, len(values), shape)
	}
	data, err := FromFloat32(dtype, values)
	if err != nil {
		return Tensor{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	return Tensor{Name: name, DType: dtype, Shape: slices.Clone(shape), Data: data}, nil
}

// FromSource makes a tensor that is read from src when it is used.
func FromSource(src Source, name string) (Tensor, error) {
	info, ok := src.Info(name)
	if !ok {
		return Tensor{}, fmt.Errorf("no tensor %q", name)
	}
	read := func() ([]byte, error) { return src.Bytes(name) }
	return Tensor{Name: name, DType: info.DType, Shape: info.Shape, Read: read}, nil
}

// values returns the tensor's bytes, checked against its shape.
func (t Tensor) values() ([]byte, error) {
	size, ok := byteSize(t.DType, t.Shape)
	if !ok {
		return nil, fmt.Errorf("tensor %q: shape %v of %s has no valid size", t.Name, t.Shape, t.DType)
	}
	data := t.Data
	if data == nil && t.Read != nil {
		var err error
		if data, err = t.Read(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("tensor %q: %d bytes, but shape %v of %s takes %d",
			t.Name, len(data), t.Shape, t.DType, size)
	}
	return data, nil
}

// Write writes a safetensors file. The bytes depend only on the set of tensors and the
// metadata: tensors are laid out by type, widest first, and within a type by name, so
// that every one is aligned to its width; metadata keys are sorted; the header is padded
// with spaces to a multiple of 8. These are the reference implementation's rules.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	order := slices.Clone(tensors)
	slices.SortFunc(order, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(b.DType, a.DType), cmp.Compare(a.Name, b.Name))
	})
	header, err := encodeHeader(order, metadata)
	if err != nil {
		return err
	}
	prefix := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	if _, err := w.Write(append(prefix, header...)); err != nil {
		return err
	}
	for _, t := range order {
		data, err := t.values()
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}

func encodeHeader(order []Tensor, metadata map[string]string) ([]byte, error) {
	if err := checkNames(order); err != nil {
		return nil, err
	}
	out := []byte("{")
	if metadata != nil {
		out = append(append(out, strconv.Quote(metadataKey)...), ":{"...)
		for i, k := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(k) || !utf8.ValidString(metadata[k]) {
				return nil, fmt.Errorf("metadata %q is not UTF-8", k)
			}
			out = appendComma(out, i)
			out = append(appendQuoted(out, k), ':')
			out = appendQuoted(out, metadata[k])
		}
		out = append(out, '}')
	}
	offset := int64(0)
	for i, t := range order {
		size, ok := byteSize(t.DType, t.Shape)
		if !ok || size > math.MaxInt64-offset {
			return nil, fmt.Errorf("tensor %q: shape %v of %s has no valid size", t.Name, t.Shape, t.DType)
		}
		if metadata != nil {
			i++
		}
		out = appendComma(out, i)
		out = appendEntry(out, t, offset, offset+size)
		offset += size
	}
	out = append(out, '}')
	for len(out)%8 != 0 {
		out = append(out, ' ')
	}
	if len(out) > HeaderBytesMax {
		return nil, fmt.Errorf("header of %d bytes exceeds %d", len(out), HeaderBytesMax)
	}
	return out, nil
}

func checkNames(tensors []Tensor) error {
	seen := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		switch {
		case t.Name == metadataKey:
			return errors.New("a tensor cannot be called " + metadataKey)
		case !utf8.ValidString(t.Name):
			return fmt.Errorf("tensor name %q is not UTF-8", t.Name)
		case seen[t.Name]:
			return fmt.Errorf("two tensors are called %q", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}

func appendEntry(out []byte, t Tensor, begin, end int64) []byte {
	out = appendQuoted(out, t.Name)
	out = append(out, `:{"dtype":"`+t.DType.String()+`","shape":[`...)
	for i, n := range t.Shape {
		out = strconv.AppendInt(appendComma(out, i), int64(n), 10)
	}
	out = append(out, `],"data_offsets":[`...)
	out = strconv.AppendInt(out, begin, 10)
	out = strconv.AppendInt(append(out, ','), end, 10)
	return append(out, "]}"...)
}

func appendComma(out []byte, i int) []byte {
	if i > 0 {
		return append(out, ',')
	}
	return out
}

// appendQuoted appends a JSON string; s is UTF-8, for which quoting cannot fail.
func appendQuoted(out []byte, s string) []byte {
	out, _ = jsontext.AppendQuote(out, s)
	return out
}
