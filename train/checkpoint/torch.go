package checkpoint

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
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
// the name of what it needs. Tensors must be contiguous; they may share storage.
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
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: not a file of torch.save since version 1.6: %w", name, err)
	}
	f := &File{path: name, r: r, close: func() error { return nil }, tensors: map[string]Info{}}
	if err := f.parseTorch(archive, size); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func (f *File) parseTorch(archive *zip.Reader, size int64) error {
	records := map[string]*zip.File{}
	root := ""
	for _, record := range archive.File {
		if records[record.Name] != nil {
			return fmt.Errorf("two records are called %q", record.Name)
		}
		records[record.Name] = record
		if path.Base(record.Name) == "data.pkl" {
			root = path.Dir(record.Name)
		}
	}
	pickle, ok := records[root+"/data.pkl"]
	if !ok {
		return errors.New("no data.pkl; is this a file of torch.save?")
	}
	data, err := f.readRecord(pickle, size)
	if err != nil {
		return err
	}
	if order, ok := records[root+"/byteorder"]; ok {
		text, err := f.readRecord(order, size)
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
	for _, name := range dict.keys {
		info, err := tensorInfo(name, dict.values[name], root, records, size)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		f.tensors[name] = info
	}
	f.names = slices.Sorted(slices.Values(dict.keys))
	return nil
}

func (d *pickleDict) get(key string) (v any, ok bool) {
	if d == nil {
		return nil, false
	}
	v, ok = d.values[key]
	return v, ok
}

// place returns where a record's bytes are. Records of torch.save are never compressed.
func place(record *zip.File, size int64) (offset, length int64, err error) {
	offset, err = record.DataOffset()
	if err != nil {
		return 0, 0, fmt.Errorf("record %s: %w", record.Name, err)
	}
	length = int64(record.UncompressedSize64)
	if record.Method != zip.Store || record.CompressedSize64 != record.UncompressedSize64 {
		return 0, 0, fmt.Errorf("record %s is compressed", record.Name)
	}
	if length < 0 || offset > size || length > size-offset {
		return 0, 0, fmt.Errorf("record %s does not fit in %d bytes", record.Name, size)
	}
	return offset, length, nil
}

func (f *File) readRecord(record *zip.File, size int64) ([]byte, error) {
	offset, length, err := place(record, size)
	if err != nil {
		return nil, err
	}
	if length > HeaderBytesMax {
		return nil, fmt.Errorf("record %s of %d bytes exceeds %d", record.Name, length, HeaderBytesMax)
	}
	data := make([]byte, length)
	return data, f.readAt(data, offset)
}

func tensorInfo(name string, v any, root string, records map[string]*zip.File, size int64) (Info, error) {
	t, ok := v.(pickleTensor)
	if !ok || !utf8.ValidString(name) {
		return Info{}, errors.New("it is no tensor, or its name is not UTF-8")
	}
	bytes, ok := byteSize(t.storage.dtype, t.shape)
	if !ok {
		return Info{}, fmt.Errorf("shape %v has no valid size", t.shape)
	}
	if !contiguous(t.shape, t.stride) {
		return Info{}, fmt.Errorf("shape %v with strides %v is not contiguous", t.shape, t.stride)
	}
	record, ok := records[root+"/data/"+t.storage.key]
	if !ok {
		return Info{}, fmt.Errorf("its storage %q is not in the file", t.storage.key)
	}
	at, length, err := place(record, size)
	if err != nil {
		return Info{}, err
	}
	width := int64(t.storage.dtype.Bits() / 8)
	if length/width != t.storage.elements || t.offset > t.storage.elements ||
		bytes/width > t.storage.elements-t.offset {
		return Info{}, fmt.Errorf("%d values from %d do not fit in a storage of %d bytes",
			bytes/width, t.offset, length)
	}
	return Info{DType: t.storage.dtype, Shape: t.shape, Offset: at + t.offset*width, Bytes: bytes}, nil
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

// torchAlignment is the alignment of records that torch.save keeps, so that a reader may
// map tensors into memory.
const torchAlignment = 64

// recordBytesMax is what a record's header can state.
const recordBytesMax = 1<<32 - 1

var storageNames = map[DType]string{F32: "FloatStorage", F16: "HalfStorage", BF16: "BFloat16Storage"}

// WriteTorch writes the tensors, of type F32, F16 or BF16, as torch.save writes
// {"model_state_dict": {name: tensor, …}}: a file that torch.load reads with
// weights_only=True. The bytes depend only on the set of tensors.
func WriteTorch(w io.Writer, tensors []Tensor) error {
	order := slices.Clone(tensors)
	slices.SortFunc(order, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	if err := checkNames(order); err != nil {
		return err
	}
	pickle, err := appendStateDict(nil, order)
	if err != nil {
		return err
	}
	count := &countWriter{w: w}
	archive := zip.NewWriter(count)
	if err := writeRecord(archive, count, "archive/data.pkl", pickle); err != nil {
		return err
	}
	for i, t := range order {
		data, err := t.values()
		if err != nil {
			return err
		}
		if err := writeRecord(archive, count, "archive/data/"+strconv.Itoa(i), data); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	if err := writeRecord(archive, count, "archive/version", []byte("3\n")); err != nil {
		return err
	}
	return archive.Close()
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// writeRecord stores data at the next multiple of torchAlignment, padding the header with
// an extra field "FB" as torch does.
func writeRecord(archive *zip.Writer, count *countWriter, name string, data []byte) error {
	if len(data) > recordBytesMax {
		return fmt.Errorf("%d bytes in one tensor exceed %d", len(data), int64(recordBytesMax))
	}
	if err := archive.Flush(); err != nil {
		return err
	}
	const localHeader, extraHeader = 30, 4
	start := count.n + localHeader + int64(len(name)) + extraHeader
	padding := int((torchAlignment - start%torchAlignment) % torchAlignment)
	extra := append([]byte("FB"), byte(padding), 0)
	size := uint64(len(data))
	record, err := archive.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data),
		CompressedSize64: size, UncompressedSize64: size,
		Extra: append(extra, make([]byte, padding)...),
	})
	if err != nil {
		return err
	}
	_, err = record.Write(data)
	return err
}

// appendStateDict appends a pickle of protocol 2 with the opcodes that torch.load's
// restricted reader knows.
func appendStateDict(out []byte, tensors []Tensor) ([]byte, error) {
	out = append(out, 0x80, 2, '}') // PROTO 2, EMPTY_DICT
	out = append(appendText(out, stateDictKey), '}', '(')
	for i, t := range tensors {
		storage, ok := storageNames[t.DType]
		if !ok {
			return nil, fmt.Errorf("tensor %q: cannot store %s in a .pt file; F32, F16 and BF16 can be",
				t.Name, t.DType)
		}
		if _, ok := byteSize(t.DType, t.Shape); !ok {
			return nil, fmt.Errorf("tensor %q: shape %v has no valid size", t.Name, t.Shape)
		}
		out = appendText(out, t.Name)
		out = append(out, "ctorch._utils\n_rebuild_tensor_v2\n(("...)
		out = appendText(out, "storage")
		out = append(out, "ctorch\n"+storage+"\n"...)
		out = appendText(appendText(out, strconv.Itoa(i)), "cpu")
		out = append(appendInt(out, elements(t.Shape)), 't', 'Q')
		out = appendInt(out, 0)
		out = appendShape(appendShape(out, t.Shape), strides(t.Shape))
		out = append(out, 0x89)                                 // requires_grad False
		out = append(out, "ccollections\nOrderedDict\n)RtR"...) // no hooks; rebuild
	}
	return append(out, 'u', 's', '.'), nil
}

func strides(shape []int) []int {
	out := make([]int, len(shape))
	next := 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = next
		next *= max(shape[i], 1)
	}
	return out
}

func appendShape(out []byte, shape []int) []byte {
	out = append(out, '(')
	for _, n := range shape {
		out = appendInt(out, n)
	}
	return append(out, 't')
}

func appendText(out []byte, s string) []byte {
	out = binary.LittleEndian.AppendUint32(append(out, 'X'), uint32(len(s)))
	return append(out, s...)
}

func appendInt(out []byte, n int) []byte {
	if n == int(int32(n)) {
		return binary.LittleEndian.AppendUint32(append(out, 'J'), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(out, 0x8a, 8), uint64(n))
}
