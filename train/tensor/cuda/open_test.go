package cuda

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"bzdata/train/tensor"
)

// folder makes a folder with links to some of the fake libraries.
func folder(t *testing.T, libraries ...string) string {
	t.Helper()
	needsFake(t)
	dir := t.TempDir()
	for _, name := range libraries {
		if err := os.Symlink(filepath.Join(fakes, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// emptyLibrary adds a library without functions to a folder.
func emptyLibrary(t *testing.T, dir, name string) string {
	t.Helper()
	text := filepath.Join(t.TempDir(), "empty.cc")
	if err := os.WriteFile(text, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("g++", "-shared", "-o", filepath.Join(dir, name), text).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// wantNoDevice opens a device, which must fail in one line with the texts.
func wantNoDevice(t *testing.T, o Options, texts ...string) {
	t.Helper()
	d, err := New(o)
	if err == nil {
		d.Close()
		t.Fatalf("a device was opened; want an error with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nlacks %q", err, text)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
}

// TestLibrariesMissing takes one library after the other away.
func TestLibrariesMissing(t *testing.T) {
	const driver, compiler, blas = "libcuda.so.1", "libnvrtc.so.12", "libcublasLt.so.12"
	none := folder(t)
	wantNoDevice(t, Options{Folders: []string{none}}, "libcuda.so.1 was not found; looked in "+none, "Install the NVIDIA driver")
	wantNoDevice(t, Options{Folders: []string{folder(t, driver)}}, "libnvrtc.so.12 was not found", "pip install nvidia-cuda-nvrtc-cu12")
	wantNoDevice(t, Options{Folders: []string{folder(t, driver, compiler)}}, "libcublasLt.so.12 was not found", "nvidia-cublas-cu12",
		PathVariable)
	apart := []string{folder(t, driver), none, folder(t, blas), filepath.Dir(folder(t, compiler)) + "/*"}
	d, err := New(Options{Folders: apart})
	if err != nil {
		t.Fatalf("each in a folder of its own: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestLibrariesUnusable puts files there that are not what their names say.
func TestLibrariesUnusable(t *testing.T) {
	dir := folder(t)
	if err := os.WriteFile(filepath.Join(dir, "libcuda.so.1"), []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantNoDevice(t, Options{Folders: []string{dir}}, "libcuda.so.1 cannot be used", dir)
	wantNoDevice(t, Options{Folders: []string{emptyLibrary(t, folder(t), "libcuda.so.1")}},
		"libcuda.so.1 has no cuCtxSetCurrent, cuDeviceGet, cuDeviceGetAttribute and ", "install a current one")
	wantNoDevice(t, Options{Folders: []string{emptyLibrary(t, folder(t, "libcuda.so.1"), "libnvrtc.so.12")}},
		"libnvrtc.so.12 has no nvrtcCompileProgram")
	wantNoDevice(t, Options{Folders: []string{"lib"}}, `folder "lib" of BZDATA_CUDA_PATH is not absolute`)

	// A file that cannot be used does not hide one in a later folder.
	d, err := New(Options{Folders: []string{dir, fakes}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestVersions holds the driver's version against those of the libraries.
func TestVersions(t *testing.T) {
	fakeSet(t, "driver", 11080, 12090)
	wantNoDevice(t, Options{}, "is for CUDA 11.8", "update the NVIDIA driver to 525 or newer")
	fakeSet(t, "driver", 12040, 12090)
	newer := emptyLibrary(t, folder(t, "libcuda.so.1"), "libnvrtc.so.13")
	wantNoDevice(t, Options{Folders: []string{newer}}, "libnvrtc.so.13 is for a newer driver than the one that is installed")
	fakeSet(t, "driver", 13010, 12090)
	d, err := New(Options{Folders: []string{fakes}})
	if err != nil {
		t.Fatalf("a driver of CUDA 13 with libraries of CUDA 12: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestCards opens what is no card for the kernels.
func TestCards(t *testing.T) {
	needsFake(t)
	wantNoDevice(t, Options{Ordinal: 1}, "there is no card 1: the driver shows 1, counted from 0")
	fakeSet(t, "arch", 75, 90)
	wantNoDevice(t, Options{}, "compute capability 7.5", "need 8.0")
	fakeSet(t, "arch", 130, 90)
	wantNoDevice(t, Options{}, "cannot compile for compute capability 13.0", "install a newer one")
	fakeSet(t, "arch", 90, 90)
	fakeSet(t, "devices", 0, 1)
	wantNoDevice(t, Options{}, "CUDA_ERROR_NO_DEVICE", "see nvidia-smi")
}

// TestArchitecture checks which code a card gets: the newest of its major version that is not above it.
func TestArchitecture(t *testing.T) {
	c := &compiler{archs: []int{75, 80, 86, 90, 100, 103}}
	for _, test := range []struct {
		major, minor int
		want         string
	}{{8, 0, "sm_80"}, {8, 7, "sm_86"}, {8, 9, "sm_86"}, {9, 0, "sm_90"}, {10, 1, "sm_100"}, {10, 3, "sm_103"}, {12, 0, ""}} {
		got, err := c.archFor(&Card{Major: test.major, Minor: test.minor})
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%d.%d: %q, %v; want %q", test.major, test.minor, got, err, test.want)
		}
	}
}

// TestFolders checks what the environment adds.
func TestFolders(t *testing.T) {
	t.Setenv(PathVariable, "/a:/b/c:")
	t.Setenv("VIRTUAL_ENV", "/venv")
	t.Setenv("CONDA_PREFIX", "/conda")
	t.Setenv("HOME", "/home/someone")
	all := strings.Join(Folders(), " ")
	if want := "/a /a/lib64 /a/lib /b/c /b/c/lib64 /b/c/lib /usr/local/cuda*/lib64 "; !strings.HasPrefix(all, want) {
		t.Errorf("%s\ndoes not begin with\n%s", all, want)
	}
	for _, want := range []string{
		" /venv/lib/python3*/site-packages/nvidia/*/lib ", " /home/someone/.local/lib/python3*/site-packages/nvidia/*/lib ",
		" /conda/lib/python3*/site-packages/nvidia/*/lib ", " /conda/lib ", " /usr/lib/wsl/lib ", " /usr/lib/python3/dist-packages/nvidia/*/lib ",
	} {
		if !strings.Contains(all+" ", want) {
			t.Errorf("%s\nlacks %s", all, want)
		}
	}
}

// withKernels opens the fake card with kernel files of a test.
func withKernels(t *testing.T, files map[string]string) *Device {
	t.Helper()
	fsys := fstest.MapFS{"kernels/prelude.cuh": {Data: []byte("// nothing\n")}}
	for name, text := range files {
		fsys["kernels/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	c, err := readCatalog(fsys)
	if err != nil {
		t.Fatal(err)
	}
	d, err := open(Options{Precision: tensor.Single, Cache: t.TempDir()}, c)
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
