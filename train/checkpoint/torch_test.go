package checkpoint

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

// TestOpenTorch reads files written by torch.save of PyTorch 1.13.
func TestOpenTorch(t *testing.T) {
	f, err := OpenAny(store.OS(), "testdata/torch.pt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]struct {
		dtype  DType
		shape  []int
		values []float32
	}{
		"b.weight": {F16, []int{2, 2}, []float32{1, -2, .5, 65504}},
		"a.bias":   {F32, []int{2}, []float32{3.25, -1}},
		"c":        {BF16, []int{3}, []float32{1, 2, -3}},
		"rows":     {F32, []int{2, 3}, []float32{3, 4, 5, 6, 7, 8}},
		"whole":    {F32, []int{4, 3}, []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		"scalar":   {F32, nil, []float32{-7}},
		"empty":    {F32, []int{0, 3}, nil},
		"param":    {F32, []int{1, 2}, []float32{1, 1}},
	}
	if names := f.Names(); len(names) != len(want)+1 || !slices.IsSorted(names) {
		t.Errorf("names %v", names)
	}
	for name, w := range want {
		info, _ := f.Info(name)
		got, err := f.Float32(name, nil)
		if err != nil || info.DType != w.dtype || !slices.Equal(info.Shape, w.shape) || !slices.Equal(got, w.values) {
			t.Errorf("%s: %v %v, %v", name, info, got, err)
		}
	}
	if data, err := f.Bytes("step"); err != nil || !bytes.Equal(data, []byte{42, 0, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("step: %v, %v", data, err)
	}
	linear, err := OpenTorch(store.OS(), "testdata/linear.pt")
	if err != nil {
		t.Fatal(err)
	}
	defer linear.Close()
	if !slices.Equal(linear.Names(), []string{"bias", "weight"}) {
		t.Errorf("bare dictionary: %v", linear.Names())
	}
	transposed, err := OpenTorch(store.OS(), "testdata/transposed.pt")
	if err != nil {
		t.Fatal(err)
	}
	defer transposed.Close()
	if got, err := transposed.Float32("w", nil); err != nil || len(got) != 12 || !slices.Equal(got[:5], []float32{0, 3, 6, 9, 1}) {
		t.Errorf("a transposed matrix: %v, %v", got, err)
	}
	_, err = OpenTorch(store.OS(), "testdata/module.pt")
	mustSay(t, err, "torch.nn.modules.linear.Linear is no plain tensor")
	_, err = OpenTorch(store.OS(), "testdata/reference.safetensors")
	mustSay(t, err, "not a file of torch.save")
	_, err = OpenAny(store.OS(), "weights.txt")
	mustSay(t, err, "neither .safetensors nor .pt")
}

func torchTensors(t *testing.T) []Tensor {
	t.Helper()
	out := nativeExperts(t, F16)
	for _, c := range []struct {
		name   string
		dtype  DType
		shape  []int
		values []float32
	}{{"a é", F32, []int{2, 1, 2}, []float32{1, 2, 3, 4}}, {"b", BF16, nil, []float32{-3}}, {"c", F32, []int{0, 2}, nil}} {
		tensor, err := NewTensor(c.name, c.dtype, c.shape, c.values)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tensor)
	}
	return out
}

func TestWriteTorch(t *testing.T) {
	tensors := torchTensors(t)
	var first, second bytes.Buffer
	if err := WriteTorch(&first, tensors); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(tensors)
	if err := WriteTorch(&second, tensors); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the order of the tensors changes the bytes, %v", err)
	}
	f, err := ParseTorch(bytes.NewReader(first.Bytes()), int64(first.Len()), "w.pt")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Names()) != len(tensors) {
		t.Errorf("names %v", f.Names())
	}
	for _, want := range tensors {
		info, _ := f.Info(want.Name)
		got, err := f.Bytes(want.Name)
		if err != nil || info.DType != want.DType || !slices.Equal(info.Shape, want.Shape) || !bytes.Equal(got, want.Data) {
			t.Errorf("%s: %v, %v", want.Name, info, err)
		}
		if info.Offset%torchAlignment != 0 {
			t.Errorf("%s at %d is not aligned", want.Name, info.Offset)
		}
	}
	read, err := Tensors(f)
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := Hash(tensors)
	b, err2 := Hash(read)
	if err1 != nil || err2 != nil || a != b {
		t.Errorf("hashes %s and %s, %v %v", a, b, err1, err2)
	}
	mustSay(t, WriteTorch(&first, []Tensor{{Name: "x", DType: I64}}), `tensor "x": cannot store I64`)
	mustSay(t, WriteTorch(&first, []Tensor{{Name: "x", DType: F32}, {Name: "x", DType: F32}}), "two tensors")
}

const torchScript = `
import sys
try:
    import torch
except ImportError:
    sys.exit(77)
state = torch.load(sys.argv[1], weights_only=True)["model_state_dict"]
for name, t in sorted(state.items()):
    print(name, str(t.dtype), list(t.shape), t.flatten().tolist())
`

// runTorch runs the script on a file with the first Python that has PyTorch.
func runTorch(t *testing.T, path string) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		out, err := exec.Command(python, "-c", torchScript, path).CombinedOutput()
		var exit *exec.ExitError
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) ||
			errors.As(err, &exit) && exit.ExitCode() == 77 {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", python, err, out)
		}
		return string(out)
	}
	t.Skip("SKIPPED, NOT CHECKED: no Python with PyTorch")
	return ""
}

// TestTorchLoads lets PyTorch itself read what WriteTorch writes.
func TestTorchLoads(t *testing.T) {
	if testing.Short() {
		t.Skip("PyTorch takes seconds to start")
	}
	path := filepath.Join(t.TempDir(), "w.pt")
	tensors := torchTensors(t)
	var out bytes.Buffer
	if err := WriteTorch(&out, tensors); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	got := runTorch(t, path)
	slices.SortFunc(tensors, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	var want strings.Builder
	for _, x := range tensors {
		values, err := ToFloat32(x.DType, x.Data)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, v := range values {
			texts = append(texts, fmt.Sprintf("%.1f", v))
		}
		dtype := map[DType]string{F32: "float32", F16: "float16", BF16: "bfloat16"}[x.DType]
		shape := strings.ReplaceAll(fmt.Sprint(x.Shape), " ", ", ")
		fmt.Fprintf(&want, "%s torch.%s %s [%s]\n", x.Name, dtype, shape, strings.Join(texts, ", "))
	}
	if got != want.String() {
		t.Errorf("PyTorch reads\n%s\nwant\n%s", got, want.String())
	}
}

func TestUnpickleRefuses(t *testing.T) {
	for _, c := range [][2]string{
		{"", "cut short"},
		{".", "stack"},
		{"cos\nsystem\n.", "os.system is no plain tensor"},
		{"ctorch\nload\n.", "torch.load is no plain tensor"},
		{"c__builtin__\nOrderedDict\n.", "__builtin__.OrderedDict is no plain tensor"},
		{"\x8c\x02os\x8c\x06system\x93.", "os.system is no plain tensor"},
		{"ctorch._utils\n_rebuild_tensor_v2\n)R.", "unexpected arguments"},
		{"}NN", "cut short"},
		{"i", "plain tensors do not need it"},
		{"(t(", "cut short"},
		{"t", "stack"},
		{"h\x05", "memo 5 is empty"},
		{"X\xff\xff\xff\xff", "cut short"},
		{"\x8a\x09123456789", "too long"},
		{"NQ", "no storage"},
		{"]Kas", "stack"},
		{"NNb", "only dictionaries"},
	} {
		_, err := unpickle([]byte(c[0]))
		mustSay(t, err, c[1])
	}
}

func TestUnpickleNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"K\xff.": 255, "M\x00\x80.": 32768, "J\xff\xff\xff\xff.": -1, "\x8a\x00.": 0, "\x8a\x01\xff.": -1,
		"\x8a\x02\xff\x00.": 255, "\x8a\x05\x00\x00\x00\x00\x01.": 1 << 32,
	} {
		if got, err := unpickle([]byte(text)); err != nil || got != any(want) {
			t.Errorf("%q: %v, %v; want %d", text, got, err, want)
		}
	}
	for _, n := range []int{0, -1, 1 << 31, -(1 << 31), 1 << 40} {
		if got, err := unpickle(append(appendInt(nil, n), '.')); err != nil || got != any(int64(n)) {
			t.Errorf("%d came back as %v, %v", n, got, err)
		}
	}
}

// FuzzParseTorch checks that no input crashes the reader and that every tensor of an
// accepted file can be read.
func FuzzParseTorch(f *testing.F) {
	names, err := filepath.Glob("testdata/*.pt")
	if err != nil || len(names) < 10 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var file *File
		var err error
		if n := allocated(func() { file, err = ParseTorch(bytes.NewReader(data), int64(len(data)), "w") }); n > 2*allocationsMax(len(data)) {
			t.Fatalf("%d bytes allocated for a file of %d", n, len(data))
		}
		if err != nil {
			return
		}
		for _, name := range file.Names() {
			info, _ := file.Info(name)
			if data, err := file.Bytes(name); err != nil || int64(len(data)) != info.Bytes {
				t.Fatal(len(data), info, err)
			}
		}
	})
}

// FuzzUnpickle checks that no pickle crashes the reader.
func FuzzUnpickle(f *testing.F) {
	tensor, err := NewTensor("w", F32, []int{1, 2}, []float32{1, 2})
	if err != nil {
		f.Fatal(err)
	}
	seed, err := appendStateDict(nil, []Tensor{tensor})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\x00\x00\x00aK\x01u}X\x01\x00\x00\x00bNsb."))
	for _, name := range []string{"peer_views.pt", "peer_dtypes.pt", "refused_optimizer.pt", "refused_sparse.pt"} {
		archive, err := zip.OpenReader("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		pickle, err := fs.ReadFile(archive, strings.TrimSuffix(name, ".pt")+"/data.pkl")
		if err := errors.Join(err, archive.Close()); err != nil {
			f.Fatal(err)
		}
		f.Add(pickle)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		var err error
		if n := allocated(func() { v, err = unpickle(data) }); n > 2*allocationsMax(len(data)) {
			t.Fatalf("%d bytes allocated for a pickle of %d", n, len(data))
		}
		if dict, ok := v.(*pickleDict); err == nil && ok {
			if !slices.Equal(slices.Sorted(slices.Values(dict.keys)), slices.Sorted(maps.Keys(dict.values))) {
				t.Fatal("keys and values differ")
			}
		}
	})
}
