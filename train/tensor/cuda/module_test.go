package cuda

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"bzdata/train/tensor"
)

// openFew opens the fake card with few kernels and a cache.
func openFew(cache string) (*Device, error) {
	convert, err := kernelFiles.ReadFile("kernels/convert.cu")
	if err != nil {
		return nil, err
	}
	prelude, err := kernelFiles.ReadFile("kernels/prelude.cuh")
	if err != nil {
		return nil, err
	}
	c, err := readCatalog(fstest.MapFS{
		"kernels/prelude.cuh": {Data: prelude}, "kernels/convert.cu": {Data: convert}, "kernels/e.cu": {Data: []byte(everything)},
	})
	if err != nil {
		return nil, err
	}
	return open(Options{Precision: tensor.Single, Cache: cache}, c)
}

// warmIn makes them ready, and uses one.
func warmIn(t *testing.T, cache string) []Built {
	t.Helper()
	d, err := openFew(cache)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	built, err := d.Warm()
	if err != nil {
		t.Fatal(err)
	}
	x, _ := put(t, d, tensor.F32, []float32{1, 2, 3})
	y := d.Alloc(tensor.BF16, 3)
	d.Copy(y, x) // by a kernel
	if got := get(t, d, y); got[2] != 3 {
		t.Errorf("the kernel made %v", got)
	}
	return built
}

// wantCached checks which files came from the cache.
func wantCached(t *testing.T, what string, built []Built, cached func(file string) bool) {
	t.Helper()
	for _, b := range built {
		if b.Cached != cached(b.File) || b.NotKept != "" || b.Bytes == 0 {
			t.Errorf("%s: %+v; want cached %v", what, b, cached(b.File))
		}
	}
}

func all(string) bool  { return true }
func none(string) bool { return false }

// TestCache compiles once, again what is damaged, and anew for another card.
func TestCache(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "not", "there")
	wantCached(t, "first", warmIn(t, cache), none)
	wantCached(t, "second", warmIn(t, cache), all)
	files, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, damage := range []func(data []byte) []byte{
		func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		func(data []byte) []byte { return data[:len(data)-1] },
		func(data []byte) []byte { return data[:20] },
		func([]byte) []byte { return nil },
	} {
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		wantCached(t, "damaged", warmIn(t, cache), none)
		wantCached(t, "mended", warmIn(t, cache), all)
	}
	fakeSet(t, "arch", 80, 90)
	wantCached(t, "another architecture", warmIn(t, cache), none)
}

// TestCacheName checks what a change of decides the name.
func TestCacheName(t *testing.T) {
	m := modules{compiler: &compiler{version: 12090}, arch: "sm_90", catalog: &catalog{prelude: "p"}}
	names := map[string]bool{m.name(m.text(source{"a.cu", "text"})): true}
	change := func(what string) {
		name := m.name(m.text(source{"a.cu", "text"}))
		if names[name] {
			t.Errorf("the name stays the same with another %s", what)
		}
		names[name] = true
	}
	m.compiler = &compiler{version: 12080}
	change("compiler")
	m.arch = "sm_80"
	change("architecture")
	m.catalog = &catalog{prelude: "q"}
	change("prelude")
	if names[m.name(m.text(source{"a.cu", "other text"}))] {
		t.Error("the name stays the same with another text")
	}
}

// TestCacheUnwritable goes on without a cache.
func TestCacheUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, b := range warmIn(t, filepath.Join(file, "cache")) {
		if b.Cached || b.NotKept == "" {
			t.Errorf("%+v", b)
		}
	}
}

// TestCacheShared warms from several devices at once.
func TestCacheShared(t *testing.T) {
	cache := t.TempDir()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			d, err := openFew(cache)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := d.Warm(); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	wantCached(t, "afterwards", warmIn(t, cache), all)
}

// TestWarmFails passes the compiler's words on.
func TestWarmFails(t *testing.T) {
	d := withKernels(t, map[string]string{"b.cu": "extern \"C\" __global__ void broken(float* x) { x[0] = y; }\n"})
	if _, err := d.Warm(); err == nil {
		t.Fatal("a file that does not compile was made ready")
	}
	if err := d.Err(); err != nil {
		t.Errorf("what Warm returns is no fault of the device: %v", err)
	}
}
