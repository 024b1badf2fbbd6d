package checkpoint

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"bzdata/pipeline/store"
)

// peerTensor is a tensor as PyTorch reads it, see testdata/peer.py.
type peerTensor struct {
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Hex   string `json:"hex"`
}

// TestPeerFiles reads what PyTorch has written, bit for bit: shared storages, transposed and cut-out views,
// scalars, empty tensors and all types.
func TestPeerFiles(t *testing.T) {
	text, err := os.ReadFile("testdata/peer.json")
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]map[string]peerTensor
	if err := json.Unmarshal(text, &files); err != nil {
		t.Fatal(err)
	}
	count := 0
	for name, tensors := range files {
		f, err := OpenTorch(store.OS(), filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if len(f.Names()) != len(tensors) {
			t.Errorf("%s: %d tensors, want %d", name, len(f.Names()), len(tensors))
		}
		for key, want := range tensors {
			count++
			comparePeer(t, f, name+" "+key, key, want)
		}
	}
	if count != 49 {
		t.Errorf("%d tensors were compared", count)
	}
}

func comparePeer(t *testing.T, f *File, what, key string, want peerTensor) {
	t.Helper()
	info, _ := f.Info(key)
	data, err := f.Bytes(key)
	if err != nil || info.DType.String() != want.DType || !slices.Equal(info.Shape, want.Shape) || hex.EncodeToString(data) != want.Hex {
		t.Errorf("%s: %v %x, %v; want %+v", what, info, data, err, want)
		return
	}
	if !info.DType.Convertible() {
		return
	}
	values, err := f.Float32(key, make([]float32, 3))
	if err != nil {
		t.Fatal(err)
	}
	again, err := ToFloat32(info.DType, data)
	if err != nil || !slices.EqualFunc(values, again, equalBits) {
		t.Errorf("%s: %v as values, %v", what, values, err)
	}
}

// TestPeerRefused opens files of PyTorch that hold something else than plain tensors.
func TestPeerRefused(t *testing.T) {
	want := map[string]string{
		"expanded":    `tensor "w": shape [4 3] with strides [0 1] repeats values`,
		"optimizer":   `it is no tensor`,
		"float8":      "torch._utils._rebuild_tensor_v3 is no plain tensor",
		"uint16":      "torch._utils._rebuild_tensor_v3 is no plain tensor",
		"negated":     "unexpected arguments of _rebuild_tensor_v2",
		"sparse":      "torch._utils._rebuild_sparse_tensor is no plain tensor",
		"number":      `tensor "step": it is no tensor`,
		"list":        "no dictionary of tensors",
		"integer_key": "no dictionary of tensors",
		"nested":      `tensor "w": it is no tensor`,
		"size":        "torch.Size is no plain tensor",
		"device":      "torch.device is no plain tensor",
		"module":      "torch.nn.modules.linear.Linear is no plain tensor",
		"legacy":      "the format of torch before version 1.6",
	}
	names, err := filepath.Glob("testdata/refused_*.pt")
	if err != nil || len(names) != len(want) {
		t.Fatalf("%d files, want %d, %v", len(names), len(want), err)
	}
	for _, name := range names {
		key := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "refused_"), ".pt")
		_, err := OpenTorch(store.OS(), name)
		mustSay(t, err, name+": ")
		mustSay(t, err, want[key])
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: several lines: %v", name, err)
		}
	}
}

// slowGather computes a tensor's bytes value by value from their indices.
func slowGather(storage []byte, width, offset int, shape, stride []int) []byte {
	n := elements(shape)
	var out []byte
	for i := range n {
		at, rest := offset, i
		for d := len(shape) - 1; d >= 0; d-- {
			at += rest % shape[d] * stride[d]
			rest /= shape[d]
		}
		out = append(out, storage[at*width:(at+1)*width]...)
	}
	return out
}

// TestGather compares the gathering of strided tensors with the plain one, for every small shape.
func TestGather(t *testing.T) {
	storage := make([]byte, 2*200)
	for i := range storage {
		storage[i] = byte(i * 7)
	}
	f := &File{r: bytes.NewReader(storage)}
	count := 0
	for code := range 4 * 4 * 4 * 5 * 5 * 5 {
		shape := []int{1 + code%4, 1 + code/4%4, 1 + code/16%4}
		stride := []int{code / 64 % 5, code / 320 % 5 * 3, code / 1600 % 5 * 9}
		x := pickleTensor{shape: shape, stride: stride}
		span, ok := x.span()
		if !ok || span+5 > 200 {
			continue
		}
		count++
		got, err := f.gather(Info{DType: F16, Shape: shape, Offset: 10, Bytes: int64(2 * elements(shape))}, strides{stride, span})
		if want := slowGather(storage, 2, 5, shape, stride); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("shape %v, strides %v: %x, want %x, %v", shape, stride, got, want, err)
		}
	}
	// Few values far apart.
	far := Info{DType: F16, Shape: []int{3}, Offset: 4, Bytes: 6}
	got, err := f.gather(far, strides{[]int{90}, 181})
	if want := slowGather(storage, 2, 2, far.Shape, []int{90}); err != nil || !bytes.Equal(got, want) {
		t.Errorf("three values far apart: %x, want %x, %v", got, want, err)
	}
	if count < 7000 {
		t.Errorf("only %d were compared", count)
	}
}
