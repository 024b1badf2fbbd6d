package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

// rawFile puts a header and data bytes together without any check.
func rawFile(header string, data int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, data)...)
}

func TestParseRefuses(t *testing.T) {
	one := func(s string) string { return `{"a":` + s + `}` }
	ok := `{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	for _, c := range []struct {
		name, header string
		data         int
		want         string
	}{
		{"no object", `[]`, 0, "does not start with {"},
		{"leading space", " {}     ", 0, "does not start with {"},
		{"broken JSON", `{"a":`, 0, "header: "},
		{"two values", `{} {}`, 0, "header: "},
		{"duplicate tensor", `{"a":` + ok + `,"a":` + ok + `}`, 8, "duplicate"},
		{"duplicate member", one(`{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}`), 8, "duplicate"},
		{"no dtype", one(`{"shape":[2],"data_offsets":[0,8]}`), 8, `tensor "a": needs dtype`},
		{"null shape", one(`{"dtype":"F32","shape":null,"data_offsets":[0,8]}`), 8, `tensor "a": needs dtype`},
		{"one offset", one(`{"dtype":"F32","shape":[2],"data_offsets":[0]}`), 8, `tensor "a": `},
		{"unknown dtype", one(`{"dtype":"f32","shape":[2],"data_offsets":[0,8]}`), 8, `tensor "a": unknown dtype "f32"`},
		{"negative dimension", one(`{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}`), 8, `tensor "a": `},
		{"fraction", one(`{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}`), 8, `tensor "a": `},
		{"product overflows", one(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}`), 0, "no valid size"},
		{"dimension overflows", one(`{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0]}`), 0, "dimension 0"},
		{"half a byte", one(`{"dtype":"F4","shape":[3],"data_offsets":[0,1]}`), 1, "no valid size"},
		{"backward offsets", one(`{"dtype":"F32","shape":[2],"data_offsets":[8,0]}`), 8, "no range"},
		{"wrong size", one(`{"dtype":"F32","shape":[2],"data_offsets":[0,7]}`), 7, "takes 8 bytes"},
		{"past the end", one(ok), 7, "past the 7 bytes"},
		{"trailing bytes", one(ok), 9, `1 bytes after a belong to no tensor`},
		{"data without tensors", `{}`, 3, "belong to no tensor"},
		{"hole", `{"a":` + ok + `,"b":{"dtype":"U8","shape":[1],"data_offsets":[9,10]}}`, 10, `tensor "b" starts at 9; the 1 bytes`},
		{"hole at the start", one(`{"dtype":"U8","shape":[1],"data_offsets":[1,2]}`), 2, "after the header belong"},
		{"overlap", `{"a":` + ok + `,"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, 8, `tensor "b" starts at 4, inside "a"`},
		{"metadata not text", `{"__metadata__":{"a":1}}`, 0, metadataKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := rawFile(c.header, c.data)
			_, err := Parse(bytes.NewReader(data), int64(len(data)), "w.safetensors")
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "w.safetensors: ") {
				t.Errorf("error %q, want the file and %q", err, c.want)
			}
		})
	}
}

func TestParseHeaderLength(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "too few"},
		{"seven bytes", make([]byte, 7), "too few"},
		{"over the limit", binary.LittleEndian.AppendUint64(nil, HeaderBytesMax+1), "exceeds"},
		{"top bit set", binary.LittleEndian.AppendUint64(nil, 1<<63), "exceeds"},
		{"cut short", append(binary.LittleEndian.AppendUint64(nil, 10), "{}"...), "cut short"},
		{"no header", make([]byte, 8), "does not start with {"},
	} {
		_, err := Parse(bytes.NewReader(c.data), int64(len(c.data)), "w")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	header := `{"__metadata__":{"format":"pt"},` +
		`"z":{"dtype":"F32","shape":[],"data_offsets":[0,4]},` +
		`"empty":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]},` +
		`"a":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8],"extra":null}}   `
	data := rawFile(header, 8)
	f, err := Parse(bytes.NewReader(data), int64(len(data)), "w")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Names(); !slices.Equal(got, []string{"a", "empty", "z"}) {
		t.Errorf("names %v", got)
	}
	want := Info{DType: BF16, Shape: []int{1, 2}, Offset: int64(8 + len(header) + 4), Bytes: 4}
	if got, ok := f.Info("a"); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("Info(a) = %v %t, want %v", got, ok, want)
	}
	if got := f.Metadata(); !maps.Equal(got, map[string]string{"format": "pt"}) {
		t.Errorf("metadata %v", got)
	}
	if v, err := f.Float32("empty", nil); err != nil || len(v) != 0 {
		t.Errorf("empty tensor: %v, %v", v, err)
	}
}

func sampleTensors(t *testing.T) []Tensor {
	t.Helper()
	make1 := func(name string, d DType, shape []int, values ...float32) Tensor {
		tensor, err := NewTensor(name, d, shape, values)
		if err != nil {
			t.Fatal(err)
		}
		return tensor
	}
	return []Tensor{
		{Name: "mask", DType: U8, Shape: []int{3}, Data: []byte{1, 0, 2}},
		make1("b.weight", F16, []int{2, 2}, 1, -2, 0.5, 65504),
		make1("a \"quoted\" é\n", F32, []int{1}, 3.25),
		make1("c", BF16, []int{3}, 1, 2, -3),
		make1("a.scalar", F32, nil, -7),
		{Name: "step", DType: I64, Shape: []int{1}, Read: func() ([]byte, error) {
			return binary.LittleEndian.AppendUint64(nil, 42), nil
		}},
	}
}

func writeBytes(t *testing.T, tensors []Tensor, metadata map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriteRead(t *testing.T) {
	tensors := sampleTensors(t)
	meta := map[string]string{"z": "1", "a": "two"}
	data := writeBytes(t, tensors, meta)
	slices.Reverse(tensors)
	if again := writeBytes(t, tensors, meta); !bytes.Equal(data, again) {
		t.Error("the order of the tensors changes the bytes")
	}
	f, err := Parse(bytes.NewReader(data), int64(len(data)), "w")
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(f.Metadata(), meta) || len(f.Names()) != len(tensors) {
		t.Errorf("got %v %v", f.Metadata(), f.Names())
	}
	for _, want := range tensors {
		info, _ := f.Info(want.Name)
		if info.Offset%int64(want.DType.Bits()/8) != 0 {
			t.Errorf("%s at %d is not aligned", want.Name, info.Offset)
		}
		got, err := f.Bytes(want.Name)
		values, _ := want.values()
		if err != nil || !bytes.Equal(got, values) || info.DType != want.DType || !slices.Equal(info.Shape, want.Shape) {
			t.Errorf("%s: %v %v %v", want.Name, info, got, err)
		}
	}
	got, err := f.Float32("b.weight", make([]float32, 0, 9))
	if err != nil || !slices.Equal(got, []float32{1, -2, 0.5, 65504}) {
		t.Errorf("Float32 = %v, %v", got, err)
	}
	for name, want := range map[string]string{"step": "cannot read I64", "nope": `no tensor "nope"`} {
		if _, err := f.Float32(name, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Float32(%s): %v, want %q", name, err, want)
		}
	}
}

// TestFloat32Large crosses the size read at once.
func TestFloat32Large(t *testing.T) {
	for _, d := range []DType{F32, F16, BF16} {
		n := readBytesMax/2*3 + 5
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i % 251)
		}
		tensor, err := NewTensor("w", d, []int{n}, values)
		if err != nil {
			t.Fatal(err)
		}
		data := writeBytes(t, []Tensor{tensor}, nil)
		f, err := Parse(bytes.NewReader(data), int64(len(data)), "w")
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Float32("w", nil)
		if err != nil || !slices.Equal(got, values) {
			t.Errorf("%s: values differ, %v", d, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	bad := errors.New("disk on fire")
	for _, c := range []struct {
		tensors []Tensor
		want    string
	}{
		{[]Tensor{{Name: "a"}, {Name: "a"}}, `two tensors are called "a"`},
		{[]Tensor{{Name: "__metadata__"}}, "cannot be called"},
		{[]Tensor{{Name: "\xff"}}, "not UTF-8"},
		{[]Tensor{{Name: "a", DType: F32, Shape: []int{2}, Data: make([]byte, 7)}}, `tensor "a": 7 bytes`},
		{[]Tensor{{Name: "a", DType: F32, Shape: []int{-1}}}, "no valid size"},
		{[]Tensor{{Name: "a", DType: U8, Shape: []int{1}, Read: func() ([]byte, error) { return nil, bad }}}, "disk on fire"},
	} {
		err := Write(&bytes.Buffer{}, c.tensors, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if _, err := NewTensor("w", F16, []int{1}, []float32{65520}); err == nil ||
		!strings.Contains(err.Error(), `tensor "w": value 65520 at index 0 overflows F16`) {
		t.Errorf("overflow: %v", err)
	}
}

func TestOpenDir(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, err := OpenDir(store.OS(), dir)
	mustSay(t, err, "neither model.safetensors nor model.safetensors.index.json")
	index := func(m map[string]string) {
		data, _ := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": m})
		put(IndexFile, data)
	}
	tensors := sampleTensors(t)
	put("m-1.safetensors", writeBytes(t, tensors[:3], nil))
	index(map[string]string{"mask": "m-1.safetensors", "c": "m-2.safetensors"})
	_, err = OpenDir(store.OS(), dir)
	mustSay(t, err, `shard m-2.safetensors with "c" and 0 more`)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing shard: %v is not ErrNotExist", err)
	}
	put("m-2.safetensors", writeBytes(t, tensors[4:], nil))
	_, err = OpenDir(store.OS(), dir)
	mustSay(t, err, `tensor "c" is not in shard m-2.safetensors`)
	put("m-2.safetensors", writeBytes(t, tensors[3:], nil))
	d, err := OpenDir(store.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if !slices.Equal(d.Names(), []string{"c", "mask"}) || len(d.Files()) != 2 {
		t.Errorf("names %v, files %v", d.Names(), d.Files())
	}
	if v, err := d.Float32("c", nil); err != nil || !slices.Equal(v, []float32{1, 2, -3}) {
		t.Errorf("c = %v, %v", v, err)
	}
	if _, err := d.Bytes("step"); err == nil {
		t.Error("a tensor that the index does not list is visible")
	}
	for _, evil := range []string{"../m-1.safetensors", "/etc/passwd", "..", ""} {
		index(map[string]string{"mask": evil})
		_, err = OpenDir(store.OS(), dir)
		mustSay(t, err, "no file name")
	}
	put(SingleFile, writeBytes(t, tensors[:1], nil))
	single, err := OpenDir(store.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer single.Close()
	if !slices.Equal(single.Names(), []string{"mask"}) {
		t.Errorf("single file: %v", single.Names())
	}
}

func mustSay(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// FuzzParse checks that no input crashes the parser, that every tensor of an accepted
// file can be read, and that writing what was read gives a file with the same tensors.
func FuzzParse(f *testing.F) {
	f.Add(rawFile(`{}`, 0))
	f.Add(rawFile(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Add(rawFile(`{"__metadata__":{"a":"b"},"a":{"dtype":"F16","shape":[0],"data_offsets":[0,0]},`+
		`"b":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}}  `, 4))
	f.Add(rawFile(`{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}`, 3))
	reference, err := os.ReadFile("testdata/reference.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	f.Fuzz(func(t *testing.T, data []byte) {
		var file *File
		var err error
		if n := allocated(func() { file, err = Parse(bytes.NewReader(data), int64(len(data)), "w") }); n > 2*allocationsMax(len(data)) {
			t.Fatalf("%d bytes allocated for a file of %d", n, len(data))
		}
		if err != nil {
			return
		}
		var tensors []Tensor
		for _, name := range file.Names() {
			tensor, err := FromSource(file, name)
			if err != nil {
				t.Fatal(err)
			}
			if info, _ := file.Info(name); info.DType.Convertible() {
				if v, err := file.Float32(name, nil); err != nil || len(v) != info.Elements() {
					t.Fatalf("Float32(%q): %d values, %v", name, len(v), err)
				}
			}
			tensors = append(tensors, tensor)
		}
		var out bytes.Buffer
		if err := Write(&out, tensors, file.Metadata()); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(bytes.NewReader(out.Bytes()), int64(out.Len()), "again")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range file.Names() {
			a, _ := file.Bytes(name)
			b, err := again.Bytes(name)
			if err != nil || !bytes.Equal(a, b) {
				t.Fatalf("%q changed: %v", name, err)
			}
		}
		if !maps.Equal(file.Metadata(), again.Metadata()) {
			t.Fatal(fmt.Sprint("metadata changed: ", again.Metadata()))
		}
	})
}

// TestReference compares with a file written by the reference implementation, version
// 0.8.0 for Python, from the same tensors.
func TestReference(t *testing.T) {
	want, err := os.ReadFile("testdata/reference.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	got := writeBytes(t, sampleTensors(t), map[string]string{"format": "pt"})
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
