package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda/cudatest"
)

// realCard, if set, lets the tests run on the machine's own card; those of faults, which only the fake card has, are skipped.
const realCard = "BZDATA_TEST_CARD"

// fakes is the folder of the libraries that stand in for a card's, or "" on a real card; see the folder fake.
var fakes string

func TestMain(m *testing.M) {
	os.Exit(withFakes(m.Run))
}

// withFakes builds the libraries, points [PathVariable] at them, and runs.
func withFakes(run func() int) int {
	if unsupported != "" {
		fmt.Println("no tests: " + unsupported)
		return 0
	}
	if os.Getenv(realCard) != "" {
		return run()
	}
	dir, err := cudatest.Build("fake")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fakes = dir
	os.Setenv(PathVariable, dir)
	os.Setenv("XDG_CACHE_HOME", cudatest.Kernels(dir))
	return run()
}

// needsFake skips a test on a real card.
func needsFake(t testing.TB) {
	t.Helper()
	if fakes == "" {
		t.Skip("only the fake card does this")
	}
}

// fakeSet changes a setting of the fake card until the test ends; see fake/cuda.cc. In which order work is done, and when, a
// real card decides for itself.
func fakeSet(t testing.TB, name string, value, usual int) {
	t.Helper()
	if fakes == "" && (name == "order" || name == "async") {
		return
	}
	set := fakeFunction(t, "libcuda.so.1", "fakeSet")
	call := func(value int) {
		if code := set.call(uintptr(unsafe.Pointer(cString(name))), uintptr(value)); code != 0 {
			t.Fatalf("the fake card has no setting %s", name)
		}
	}
	call(value)
	t.Cleanup(func() { call(usual) })
}

// fakeCount reads a counter of the fake card.
func fakeCount(t testing.TB, name string) int {
	t.Helper()
	return int(fakeFunction(t, "libcuda.so.1", "fakeCount").call(uintptr(unsafe.Pointer(cString(name)))))
}

func fakeFunction(t testing.TB, library, name string) function {
	t.Helper()
	needsFake(t)
	path := filepath.Join(fakes, library)
	handle, err := openLibrary(path)
	if err != nil {
		t.Fatal(err)
	}
	addr := symbol(handle, name)
	if addr == 0 {
		t.Fatalf("%s has no %s", path, name)
	}
	return function{name, addr}
}

// newFake opens the fake card. When the test ends, the device must have no fault that the test did not take.
func newFake(t testing.TB, typ tensor.Type) *Device {
	t.Helper()
	return newFakeOf(t, Options{Precision: precisionOf(typ)})
}

func precisionOf(typ tensor.Type) tensor.Precision {
	if typ == tensor.F32 {
		return tensor.Single
	}
	return tensor.Half
}

func newFakeOf(t testing.TB, o Options) *Device {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return d
}

// put copies values to the card, in a type, and returns them as they are there.
func put(t testing.TB, d *Device, typ tensor.Type, values []float32) (tensor.Array, []float32) {
	t.Helper()
	a := d.Alloc(typ, len(values))
	d.Upload(a, values)
	return a, get(t, d, a)
}

// get copies values from the card.
func get(t testing.TB, d *Device, a tensor.Array) []float32 {
	t.Helper()
	out := make([]float32, a.N)
	d.Download(out, a)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// fakeMessage is what the fake card's last fault was.
func fakeMessage(t testing.TB) string {
	t.Helper()
	buffer := make([]byte, 512)
	fakeFunction(t, "libcuda.so.1", "fakeMessage").call(uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
	return string(buffer[:slices.Index(buffer, 0)])
}
