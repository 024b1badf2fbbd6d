package checkpoint

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
)

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
		out = appendShape(appendShape(out, t.Shape), rowStrides(t.Shape))
		out = append(out, 0x89)                                 // requires_grad False
		out = append(out, "ccollections\nOrderedDict\n)RtR"...) // no hooks; rebuild
	}
	return append(out, 'u', 's', '.'), nil
}

func rowStrides(shape []int) []int {
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
