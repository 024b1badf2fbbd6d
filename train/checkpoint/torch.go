package checkpoint

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"bzdata/pipeline/store"
)

// stateDictKey wraps the tensors in the networks' files.
const stateDictKey = "model_state_dict"

// OpenAny opens a file of weights by its name: .safetensors, or PyTorch's .pt, .pth, .bin
// and .ckpt.
func OpenAny(fsys store.FS, name string) (*File, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".safetensors":
		return Open(fsys, name)
	case ".pt", ".pth", ".bin", ".ckpt":
		return OpenTorch(fsys, name)
	}
	return nil, fmt.Errorf("%s: neither .safetensors nor .pt", name)
}

// OpenTorch opens a file written by torch.save, version 1.6 or newer, that holds a
// dictionary of tensors, by itself or under "model_state_dict". The pickle inside is read
// without running it; one that needs anything but tensors and dictionaries is refused with
// the name of what it needs. Tensors may share storage and be views of it, transposed or cut
// out; those that repeat values, as torch's expand makes them, are refused.
func OpenTorch(fsys store.FS, name string) (*File, error) {
	r, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	f, err := ParseTorch(r, r.Size(), name)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	f.close = r.Close
	return f, nil
}

// ParseTorch is [OpenTorch] of an open file of the given size in bytes. The name is for
// messages only, and closing the result does not close r.
func ParseTorch(r io.ReaderAt, size int64, name string) (*File, error) {
	if isLegacy(r) {
		return nil, fmt.Errorf("%s: written in the format of torch before version 1.6; load it and torch.save it again", name)
	}
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: not a file of torch.save since version 1.6: %w", name, err)
	}
	f := &File{path: name, r: r, close: func() error { return nil }, strided: map[string]strides{}}
	if err := f.parseTorch(archive, size); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// legacyMagic begins files of the former format: a pickle of the number 0x1950a86a20f9469cfc6c.
const legacyMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

func isLegacy(r io.ReaderAt) bool {
	head := make([]byte, len(legacyMagic))
	n, _ := r.ReadAt(head, 0)
	return string(head[:n]) == legacyMagic
}

func (f *File) parseTorch(archive *zip.Reader, size int64) error {
	records, err := findRecords(archive, size)
	if err != nil {
		return err
	}
	data, err := f.readRecord(records.pickle)
	if err != nil {
		return err
	}
	if order, ok := records.byName[records.root+"/byteorder"]; ok {
		text, err := f.readRecord(order)
		if err != nil || string(text) != "little" {
			return errors.Join(errors.New("byteorder is not little"), err)
		}
	}
	v, err := unpickle(data)
	if err != nil {
		return err
	}
	dict, ok := v.(*pickleDict)
	if inner, wrapped := dict.get(stateDictKey); ok && wrapped {
		dict, ok = inner.(*pickleDict)
	}
	if !ok || dict == nil || dict.other {
		return errors.New("it holds no dictionary of tensors")
	}
	f.tensors = make(map[string]Info, len(dict.keys))
	for _, name := range dict.keys {
		if err := f.addTensor(name, dict.values[name], records); err != nil {
			return fmt.Errorf("tensor %.100q: %w", name, err)
		}
	}
	f.names = dict.keys
	slices.Sort(f.names)
	return nil
}

func (d *pickleDict) get(key string) (v any, ok bool) {
	if d == nil {
		return nil, false
	}
	v, ok = d.values[key]
	return v, ok
}

// record is where a part of the archive is.
type record struct {
	name           string
	offset, length int64 // bytes
}

// torchRecords are the records of an archive.
type torchRecords struct {
	byName map[string]record
	root   string // the folder of data.pkl
	pickle record
}

// findRecords lists the records. No two may have one name or the same bytes.
func findRecords(archive *zip.Reader, size int64) (torchRecords, error) {
	out := torchRecords{byName: make(map[string]record, len(archive.File))}
	order := make([]record, 0, len(archive.File))
	for _, file := range archive.File {
		r, err := place(file, size)
		if err != nil {
			return out, fmt.Errorf("record %.100q: %w", file.Name, err)
		}
		if _, twice := out.byName[r.name]; twice {
			return out, fmt.Errorf("two records are called %q", r.name)
		}
		out.byName[r.name], order = r, append(order, r)
		if path.Base(r.name) != "data.pkl" {
			continue
		}
		if out.pickle.name != "" {
			return out, fmt.Errorf("records %q and %q may both be the pickle", out.pickle.name, r.name)
		}
		out.root, out.pickle = path.Dir(r.name), r
	}
	slices.SortFunc(order, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.length, b.length))
	})
	for i := 1; i < len(order); i++ {
		if a, b := order[i-1], order[i]; b.offset < a.offset+a.length {
			return out, fmt.Errorf("records %q and %q overlap at byte %d", a.name, b.name, b.offset)
		}
	}
	if out.pickle.name == "" {
		return out, errors.New("no data.pkl; is this a file of torch.save?")
	}
	return out, nil
}

// place returns where a record's bytes are. Records of torch.save are never compressed.
func place(file *zip.File, size int64) (record, error) {
	if !fs.ValidPath(file.Name) || strings.Contains(file.Name, `\`) || len(file.Name) > nameBytesMax {
		return record{}, errors.New("the name is no plain path")
	}
	offset, err := file.DataOffset()
	if err != nil {
		return record{}, err
	}
	length := int64(file.UncompressedSize64)
	if file.Method != zip.Store || file.CompressedSize64 != file.UncompressedSize64 {
		return record{}, errors.New("it is compressed, which torch.save does not do")
	}
	if length < 0 || offset < 0 || offset > size || length > size-offset {
		return record{}, fmt.Errorf("its %d bytes from %d do not fit in a file of %d", file.UncompressedSize64, offset, size)
	}
	return record{file.Name, offset, length}, nil
}

func (f *File) readRecord(r record) ([]byte, error) {
	if r.length > HeaderBytesMax {
		return nil, fmt.Errorf("record %q of %d bytes exceeds %d", r.name, r.length, HeaderBytesMax)
	}
	data := make([]byte, r.length)
	return data, f.readAt(data, r.offset)
}

// addTensor checks that a value of the pickle is a tensor in a record, and lists it.
func (f *File) addTensor(name string, v any, records torchRecords) error {
	t, ok := v.(pickleTensor)
	switch {
	case !ok:
		return errors.New("it is no tensor")
	case !utf8.ValidString(name):
		return errors.New("its name is not UTF-8")
	case len(name) > nameBytesMax:
		return fmt.Errorf("its name has %d bytes, more than %d", len(name), nameBytesMax)
	}
	dtype := t.storage.dtype
	size, ok := byteSize(dtype, t.shape)
	if !ok {
		return fmt.Errorf("shape %v has no valid size", t.shape)
	}
	r, ok := records.byName[records.root+"/data/"+t.storage.key]
	if !ok {
		return fmt.Errorf("its storage %q is not in the file", t.storage.key)
	}
	width := int64(dtype.Bits() / 8)
	if t.storage.elements > r.length/width || r.length != t.storage.elements*width {
		return fmt.Errorf("its storage of %d values of %s has %d bytes", t.storage.elements, dtype, r.length)
	}
	span, ok := t.span()
	if span == 0 {
		t.offset = 0 // an empty view may begin behind the storage's end
	}
	if !ok || t.offset > t.storage.elements || span > t.storage.elements-t.offset {
		return fmt.Errorf("shape %v with strides %v from value %d on reaches beyond a storage of %d values",
			t.shape, t.stride, t.offset, t.storage.elements)
	}
	if size/width > span {
		return fmt.Errorf("shape %v with strides %v repeats values; save its clone()", t.shape, t.stride)
	}
	f.tensors[name] = Info{DType: dtype, Shape: t.shape, Offset: r.offset + t.offset*width, Bytes: size}
	if !contiguous(t.shape, t.stride) {
		f.strided[name] = strides{t.stride, span}
	}
	return nil
}

// span is the number of values of the storage from the tensor's first to its last; ok is false
// if that is beyond any storage.
func (t pickleTensor) span() (n int64, ok bool) {
	n = 1
	if slices.Contains(t.shape, 0) {
		return 0, true
	}
	for i, size := range t.shape {
		steps, stride := int64(size)-1, int64(t.stride[i])
		if steps > 0 && stride > (1<<62-n)/steps {
			return 0, false
		}
		n += steps * stride
	}
	return n, true
}

// strides say how a tensor lies in its storage.
type strides struct {
	stride []int // values between neighbours, by dimension
	span   int64 // values from the first to the last
}

// sparseRatio is how many times the bytes of its values a tensor may span to be read in one piece.
const sparseRatio = 16

// gather reads the values of a tensor in row-major order: from a copy of what they span, or, where
// that is much more than they are, one by one.
func (f *File) gather(info Info, s strides) ([]byte, error) {
	width := info.DType.Bits() / 8
	bytes := s.span * int64(width)
	if bytes > sparseRatio*info.Bytes {
		return walk(info, s, func(value []byte, at int) error {
			return f.readAt(value, info.Offset+int64(at)*int64(width))
		})
	}
	storage := make([]byte, bytes)
	if err := f.readAt(storage, info.Offset); err != nil {
		return nil, err
	}
	return walk(info, s, func(value []byte, at int) error {
		copy(value, storage[at*width:])
		return nil
	})
}

// walk fills in a tensor's values in row-major order; at is where in the storage one is.
func walk(info Info, s strides, read func(value []byte, at int) error) ([]byte, error) {
	width := info.DType.Bits() / 8
	out := make([]byte, info.Bytes)
	at := make([]int, len(info.Shape))
	from := 0
	for i := 0; i < len(out); i += width {
		if err := read(out[i:i+width], from); err != nil {
			return nil, err
		}
		for d := len(at) - 1; d >= 0; d-- { // count up, the last dimension first
			at[d]++
			from += s.stride[d]
			if at[d] < info.Shape[d] {
				break
			}
			from -= at[d] * s.stride[d]
			at[d] = 0
		}
	}
	return out, nil
}

// contiguous reports whether the strides, in elements, are those of rows without gaps;
// the stride of a dimension of size 1 does not matter.
func contiguous(shape, stride []int) bool {
	want := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] == 0 {
			return true
		}
		if shape[i] != 1 && stride[i] != want {
			return false
		}
		want *= shape[i]
	}
	return true
}
