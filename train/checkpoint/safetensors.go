package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"bzdata/pipeline/store"
)

// HeaderBytesMax is the largest header accepted, the reference implementation's limit.
const HeaderBytesMax = 100_000_000

// nameBytesMax is the length of the longest tensor name accepted, far above any model's.
const nameBytesMax = 1024

const metadataKey = "__metadata__"

// Info describes one tensor of a file.
type Info struct {
	DType  DType
	Shape  []int // outermost dimension first; empty for a scalar
	Offset int64 // of the first byte from the start of the file that holds it
	Bytes  int64 // length
}

// Elements is the number of values.
func (i Info) Elements() int { return elements(i.Shape) }

// Source is a set of named tensors: a file, a folder of shards, or an overlay.
// Implementations are safe for concurrent use.
type Source interface {
	// Names lists the tensors, sorted.
	Names() []string
	// Info describes a tensor.
	Info(name string) (Info, bool)
	// Float32 reads F32, F16 or BF16 values into dst, which is grown when too small.
	Float32(name string, dst []float32) ([]float32, error)
	// Bytes reads a tensor's raw values.
	Bytes(name string) ([]byte, error)
}

// File is an open safetensors file. Tensors are read when asked for.
type File struct {
	path     string
	r        io.ReaderAt
	close    func() error
	tensors  map[string]Info
	strided  map[string]strides // tensors whose values do not follow each other
	names    []string
	metadata map[string]string
}

var _ Source = (*File)(nil)

// Open reads and checks the header of a safetensors file.
func Open(fsys store.FS, path string) (*File, error) {
	r, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(r, r.Size(), path)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	f.close = r.Close
	return f, nil
}

// Parse reads and checks the header of a safetensors file of the given size in bytes.
// The path is for messages only, and closing the result does not close r.
func Parse(r io.ReaderAt, size int64, path string) (*File, error) {
	header, err := readHeader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &File{path: path, r: r, close: func() error { return nil }}
	if err := f.parseHeader(header, size-8-int64(len(header))); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func readHeader(r io.ReaderAt, size int64) ([]byte, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, fmt.Errorf("%d bytes are too few for a safetensors file", size)
	}
	if _, err := r.ReadAt(prefix[:], 0); err != nil && err != io.EOF {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > HeaderBytesMax {
		return nil, fmt.Errorf("header of %d bytes exceeds %d; is this a safetensors file?",
			n, HeaderBytesMax)
	}
	if int64(n) > size-8 {
		return nil, fmt.Errorf("header of %d bytes does not fit in %d bytes; the file is cut short", n, size)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil && !(err == io.EOF && size == int64(n)+8) {
		return nil, fmt.Errorf("read header: %w", err)
	}
	if !bytes.HasPrefix(header, []byte("{")) {
		return nil, errors.New("header does not start with {; is this a safetensors file?")
	}
	return header, nil
}

// shortened cuts an error's text that quotes the file at length.
func shortened(err error) error {
	const bytesMax = 200
	text := err.Error()
	if len(text) <= bytesMax {
		return err
	}
	return errors.New(strings.ToValidUTF8(text[:bytesMax], "") + "…")
}

// entry is a tensor's description in the header. Members that are absent stay nil.
type entry struct {
	DType   *string    `json:"dtype"`
	Shape   *[]uint64  `json:"shape"`
	Offsets *[2]uint64 `json:"data_offsets"`
}

// parseHeader fills f from the header; dataBytes is the length of what follows it.
func (f *File) parseHeader(header []byte, dataBytes int64) error {
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(header, &raw); err != nil {
		return fmt.Errorf("header: %w", shortened(err))
	}
	if meta, ok := raw[metadataKey]; ok {
		if err := json.Unmarshal(meta, &f.metadata); err != nil {
			return fmt.Errorf("%s: %w", metadataKey, shortened(err))
		}
		delete(raw, metadataKey)
	}
	f.names = slices.Sorted(maps.Keys(raw))
	f.tensors = make(map[string]Info, len(raw))
	for _, name := range f.names {
		info, err := parseEntry(raw[name])
		if err == nil && len(name) > nameBytesMax {
			err = fmt.Errorf("its name has %d bytes, more than %d", len(name), nameBytesMax)
		}
		if err != nil {
			return fmt.Errorf("tensor %.100q: %w", name, err)
		}
		f.tensors[name] = info
	}
	if err := f.checkLayout(dataBytes); err != nil {
		return err
	}
	base := 8 + int64(len(header))
	for name, info := range f.tensors {
		info.Offset += base
		f.tensors[name] = info
	}
	return nil
}

// parseEntry checks one description by itself. Its Offset counts from the header's end.
func parseEntry(raw []byte) (Info, error) {
	var e entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return Info{}, shortened(err)
	}
	if e.DType == nil || e.Shape == nil || *e.Shape == nil || e.Offsets == nil {
		return Info{}, errors.New("needs dtype, shape and data_offsets")
	}
	dtype, err := ParseDType(*e.DType)
	if err != nil {
		return Info{}, err
	}
	if n := len(*e.Shape); n > dimensionsMax {
		return Info{}, fmt.Errorf("shape of %d dimensions, more than %d", n, dimensionsMax)
	}
	shape := make([]int, len(*e.Shape))
	for i, n := range *e.Shape {
		if n > math.MaxInt {
			return Info{}, fmt.Errorf("dimension %d is %d", i, n)
		}
		shape[i] = int(n)
	}
	size, ok := byteSize(dtype, shape)
	if !ok {
		return Info{}, fmt.Errorf("shape %v of %s has no valid size", shape, dtype)
	}
	begin, end := e.Offsets[0], e.Offsets[1]
	if begin > end || end > math.MaxInt64 {
		return Info{}, fmt.Errorf("data_offsets [%d,%d] are no range", begin, end)
	}
	if end-begin != uint64(size) {
		return Info{}, fmt.Errorf("shape %v of %s takes %d bytes, data_offsets [%d,%d] hold %d",
			shape, dtype, size, begin, end, end-begin)
	}
	return Info{DType: dtype, Shape: shape, Offset: int64(begin), Bytes: size}, nil
}

// checkLayout demands that the tensors cover the data without holes or overlaps.
func (f *File) checkLayout(dataBytes int64) error {
	order := slices.Clone(f.names)
	slices.SortFunc(order, func(a, b string) int {
		x, y := f.tensors[a], f.tensors[b]
		return cmp.Or(cmp.Compare(x.Offset, y.Offset), cmp.Compare(x.Bytes, y.Bytes), cmp.Compare(a, b))
	})
	next, previous := int64(0), "the header"
	for _, name := range order {
		info := f.tensors[name]
		switch {
		case info.Offset < next:
			return fmt.Errorf("tensor %q starts at %d, inside %q, which ends at %d",
				name, info.Offset, previous, next)
		case info.Offset > next:
			return fmt.Errorf("tensor %q starts at %d; the %d bytes after %s belong to no tensor",
				name, info.Offset, info.Offset-next, previous)
		}
		next, previous = info.Offset+info.Bytes, name
		if next > dataBytes {
			return fmt.Errorf("tensor %q ends at %d, past the %d bytes of data; the file is cut short",
				name, next, dataBytes)
		}
	}
	if next != dataBytes {
		return fmt.Errorf("%d bytes after %s belong to no tensor", dataBytes-next, previous)
	}
	return nil
}

// Close releases the file.
func (f *File) Close() error { return f.close() }

// Names implements [Source].
func (f *File) Names() []string { return slices.Clone(f.names) }

// Metadata returns the header's free text pairs, nil if it has none.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Info implements [Source].
func (f *File) Info(name string) (Info, bool) {
	info, ok := f.tensors[name]
	return info, ok
}

// Bytes implements [Source].
func (f *File) Bytes(name string) ([]byte, error) {
	info, ok := f.tensors[name]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", f.path, name)
	}
	data, err := f.tensorBytes(name, info)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.path, name, err)
	}
	return data, nil
}

func (f *File) tensorBytes(name string, info Info) ([]byte, error) {
	if s, ok := f.strided[name]; ok {
		return f.gather(info, s)
	}
	data := make([]byte, info.Bytes)
	return data, f.readAt(data, info.Offset)
}

// readBytesMax is how much of a tensor is read at once for conversion: it stays in the
// second-level cache between the read and the conversion.
const readBytesMax = 1 << 18

// Float32 implements [Source].
func (f *File) Float32(name string, dst []float32) ([]float32, error) {
	info, ok := f.tensors[name]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", f.path, name)
	}
	if !info.DType.Convertible() {
		return nil, fmt.Errorf("%s: tensor %q: cannot read %s values as float32", f.path, name, info.DType)
	}
	n := info.Elements()
	dst = slices.Grow(dst[:0], n)[:n]
	if _, ok := f.strided[name]; ok {
		data, err := f.Bytes(name)
		if err == nil {
			decode(info.DType, data, dst)
		}
		return dst, err
	}
	width := info.DType.Bits() / 8
	buf := make([]byte, min(readBytesMax, n*width))
	for done := 0; done < n; {
		count := min(len(buf)/width, n-done)
		part := buf[:count*width]
		if err := f.readAt(part, info.Offset+int64(done*width)); err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", f.path, name, err)
		}
		decode(info.DType, part, dst[done:done+count])
		done += count
	}
	return dst, nil
}

// readAt fills p; the end of the file right after p is no error.
func (f *File) readAt(p []byte, offset int64) error {
	if n, err := f.r.ReadAt(p, offset); n < len(p) {
		return fmt.Errorf("read %d bytes at %d: %w", len(p), offset, err)
	}
	return nil
}
