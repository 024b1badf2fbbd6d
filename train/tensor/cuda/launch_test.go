package cuda

import (
	"strings"
	"testing"
	"testing/fstest"

	"bzdata/train/tensor"
)

// everything is a kernel with each kind of parameter.
const everything = `extern "C" __global__ void everything(double* out, const int* __restrict__ ints, int a, unsigned b, long long c,
                                      unsigned long long d, float e, double f) {
    out[blockIdx.y * gridDim.x + blockIdx.x] = (double)ints[0] + a + b + c + d + e + f;
}
`

// TestLaunch hands each kind of argument over.
func TestLaunch(t *testing.T) {
	d := withKernels(t, map[string]string{"e.cu": everything})
	var ints tensor.Ints
	var out tensor.Doubles
	d.GrowInts(&ints, 1)
	d.UploadInts(ints, []int32{-5})
	d.GrowDoubles(&out, 6)
	d.launch("everything", plane(3, 2, 1), out, ints, int32(-70000), uint32(1<<31), int64(-1<<40), uint64(1<<50),
		float32(0.25), 0.125)
	got := make([]float64, 6)
	d.DownloadDoubles(got, out)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	const want = -5 - 70000 + 1<<31 - 1<<40 + 1<<50 + 0.25 + 0.125
	for i, v := range got {
		if v != want {
			t.Errorf("block %d wrote %v, not %v", i, v, want)
		}
	}
}

// TestLaunchNothing checks that an empty grid launches nothing.
func TestLaunchNothing(t *testing.T) {
	d := withKernels(t, map[string]string{"e.cu": everything})
	before := fakeCount(t, "launches")
	d.launch("everything", plane(0, 2, 1))
	d.launch("everything", plane(2, 0, 1))
	if err := d.Sync(); err != nil || fakeCount(t, "launches") != before {
		t.Fatal("an empty grid was launched", err)
	}
}

// TestLaunchMistakes checks that wrong calls are messages.
func TestLaunchMistakes(t *testing.T) {
	d := withKernels(t, map[string]string{
		"e.cu": everything,
		"s.cu": "extern \"C\" __global__ void shared(float* x) { if (threadIdx.x == 0) x[0] = 1; }\n",
		"b.cu": "\n\nextern \"C\" __global__ void broken(float* x) { x[0] = y; }\n",
	})
	x := d.Alloc(tensor.F32, 4)
	place := "b.cu:3" // as g++ writes it
	if fakes == "" {
		place = "b.cu(3)"
	}
	for _, test := range []struct {
		kernel string
		on     dims
		args   []any
		want   string
	}{
		{"nothing", line(1, 1), nil, "kernel nothing: no kernel file has one of this name"},
		{"shared", line(1, 1), nil, "kernel shared: it has 1 parameters, not 0"},
		{"shared", line(1, 1), []any{int32(1)}, "kernel shared: parameter 1 is a pointer, not int32"},
		{"shared", line(1, 1), []any{1}, "kernel shared: parameter 1: a int cannot be an argument"},
		{"shared", dims{grid: [3]uint32{1, 1, 1}, shared: 300 << 10}, []any{x}, "a block needs 307200 bytes of shared memory"},
		{"shared", line(1, 2048), []any{x}, "kernel shared: cuLaunchKernel: CUDA_ERROR_INVALID_VALUE"},
		{"broken", line(1, 1), []any{x}, "kernel broken: b.cu does not compile"},
		{"broken", line(1, 1), []any{x}, place},
	} {
		d.launch(test.kernel, test.on, test.args...)
		wantFault(t, d, test.want)
	}
	d.launch("shared", dims{grid: [3]uint32{1, 1, 1}, shared: 100 << 10}, x)
	if got := get(t, d, x); got[0] != 1 {
		t.Error("a launch with much shared memory did nothing")
	}
}

// TestCatalog checks what is refused in kernel files.
func TestCatalog(t *testing.T) {
	const head = `extern "C" __global__ void `
	for text, want := range map[string]string{
		head + "a(int x) {}\n" + head + "a() {}": "kernels/x.cu: kernel a is there twice",
		head + "a(size_t n) {}":                  `kernels/x.cu: kernel a: parameter "size_t n": want a pointer, int,`,
		head + "a(int) {}":                       `parameter "int": want a type and a name`,
	} {
		_, err := readCatalog(fstest.MapFS{
			"kernels/prelude.cuh": {}, "kernels/x.cu": {Data: []byte(text)},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngave %v, not %q", text, err, want)
		}
	}
	c, err := readCatalog(kernelFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.sources {
		if n := strings.Count(s.text, `extern "C"`); n == 0 {
			t.Errorf("%s has no kernel", s.name)
		}
	}
}
