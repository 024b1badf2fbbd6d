package cuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"bzdata/pipeline/store"
)

// CacheFolder is where compiled kernels are kept: bzdata/cuda in the user's cache folder. It may be deleted at any time.
func CacheFolder() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("the cache of kernels: %w", err)
	}
	return filepath.Join(dir, "bzdata", "cuda"), nil
}

// modules are the kernel files on the card.
type modules struct {
	catalog   *catalog
	driver    *driver
	compiler  *compiler
	arch      string
	cache     string    // "" if there is none
	sharedMax uint32    // of a block, on the card
	handles   []uintptr // by file, 0 until it is loaded
	functions map[string]*loaded
}

// loaded is a kernel on the card.
type loaded struct {
	addr      uintptr
	static    uint32 // bytes of shared memory that it always has
	sharedMax uint32 // bytes of dynamic shared memory that a launch may have now
}

func newModules(d *Device, c *catalog, cache string) (modules, error) {
	arch, err := d.compiler.archFor(&d.card)
	if err != nil {
		return modules{}, err
	}
	if cache == "" {
		// Without a folder kernels are compiled each time, which costs seconds and nothing else.
		cache, _ = CacheFolder()
	}
	return modules{catalog: c, driver: d.driver, compiler: d.compiler, arch: arch, cache: cache, sharedMax: d.card.sharedMax,
		handles: make([]uintptr, len(c.sources)), functions: map[string]*loaded{}}, nil
}

// Built says how a kernel file was made ready.
type Built struct {
	File    string  `json:"file"`
	Cached  bool    `json:"cached"` // whether it was in the cache
	Seconds float64 `json:"seconds"`
	Bytes   int     `json:"bytes"`
	// NotKept says why the code is not in the cache now.
	NotKept string `json:"not_kept,omitempty"`
}

// text is what the compiler gets for a file. Its messages name the file's own lines.
func (m *modules) text(s source) string {
	return m.catalog.prelude + "#line 1 \"" + s.name + "\"\n" + s.text
}

// name is the file's name in the cache: a hash of all that decides the code.
func (m *modules) name(text string) string {
	h := sha256.New()
	fmt.Fprintf(h, "nvrtc %s\n%q\n%s", m.compiler.version, options(m.arch), text)
	return hex.EncodeToString(h.Sum(nil)[:20]) + ".cubin"
}

// build returns a file's code, from the cache or compiled.
func (m *modules) build(s source) ([]byte, Built, error) {
	began := time.Now()
	text := m.text(s)
	b := Built{File: s.name}
	path := filepath.Join(m.cache, m.name(text))
	code := m.cached(path)
	b.Cached = code != nil
	if code == nil {
		var err error
		if code, err = m.compiler.compileText(s.name, text, options(m.arch)); err != nil {
			return nil, b, err
		}
		if err := m.keep(path, code); err != nil {
			b.NotKept = err.Error()
		}
	}
	b.Seconds, b.Bytes = time.Since(began).Seconds(), len(code)
	return code, b, nil
}

// cacheMagic begins a file of the cache; then come the code's SHA-256 and the code.
const cacheMagic = "bzdata cubin 1\n"

// cached returns the code in a file of the cache, or nil if it is not there or damaged.
func (m *modules) cached(path string) []byte {
	if m.cache == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	rest, ok := bytes.CutPrefix(data, []byte(cacheMagic))
	if !ok || len(rest) <= sha256.Size {
		return nil
	}
	sum, code := rest[:sha256.Size], rest[sha256.Size:]
	if got := sha256.Sum256(code); !bytes.Equal(got[:], sum) {
		return nil
	}
	return code
}

func (m *modules) keep(path string, code []byte) error {
	if m.cache == "" {
		return errors.New("there is no cache folder: HOME and XDG_CACHE_HOME are not set")
	}
	if err := os.MkdirAll(m.cache, 0o755); err != nil {
		return err
	}
	sum := sha256.Sum256(code)
	return store.WriteBytes(store.OS(), path, append(append([]byte(cacheMagic), sum[:]...), code...))
}

// function returns a kernel, after loading its file if need be.
func (m *modules) function(name string, k kernel) (*loaded, error) {
	if f := m.functions[name]; f != nil {
		return f, nil
	}
	if m.handles[k.source] == 0 {
		code, _, err := m.build(m.catalog.sources[k.source])
		if err != nil {
			return nil, err
		}
		if err := m.load(k.source, code); err != nil {
			return nil, err
		}
	}
	v, f := m.driver, &loaded{}
	code := v.moduleFunction.call(uintptr(unsafe.Pointer(&f.addr)), m.handles[k.source],
		uintptr(unsafe.Pointer(cString(name))))
	if err := v.check(v.moduleFunction, code); err != nil {
		return nil, err
	}
	const sharedSizeBytes = 1
	code = v.functionGet.call(uintptr(unsafe.Pointer(&f.static)), sharedSizeBytes, f.addr)
	if err := v.check(v.functionGet, code); err != nil {
		return nil, err
	}
	f.sharedMax = sharedUnasked - min(f.static, sharedUnasked)
	m.functions[name] = f
	return f, nil
}

// sharedUnasked is how much shared memory a block may have on any card without being asked for.
const sharedUnasked = 48 << 10

func (m *modules) load(source int, code []byte) error {
	v := m.driver
	result := v.moduleLoad.call(uintptr(unsafe.Pointer(&m.handles[source])), uintptr(unsafe.Pointer(&code[0])))
	if err := v.check(v.moduleLoad, result); err != nil {
		return fmt.Errorf("%s for %s: %w", m.catalog.sources[source].name, m.arch, err)
	}
	return nil
}

// allowShared asks for more dynamic shared memory of a kernel's blocks.
func (m *modules) allowShared(f *loaded, bytes uint32) error {
	if f.static+bytes > m.sharedMax {
		return fmt.Errorf("a block needs %d bytes of shared memory; the card has %d", f.static+bytes, m.sharedMax)
	}
	const maxDynamicSharedBytes = 8
	v := m.driver
	if err := v.check(v.functionSet, v.functionSet.call(f.addr, maxDynamicSharedBytes, uintptr(bytes))); err != nil {
		return err
	}
	f.sharedMax = bytes
	return nil
}

func (m *modules) unload() error {
	for i, handle := range m.handles {
		if handle == 0 {
			continue
		}
		if err := m.driver.check(m.driver.moduleUnload, m.driver.moduleUnload.call(handle)); err != nil {
			return err
		}
		m.handles[i] = 0
	}
	m.functions = map[string]*loaded{}
	return nil
}

// Warm compiles all kernel files that are not in the cache, several at a time, and loads all. It says how
// each was made ready, in the order of their names.
func (d *Device) Warm() ([]Built, error) {
	n := len(d.modules.catalog.sources)
	codes, built, errs := make([][]byte, n), make([]Built, n), make([]error, n)
	var group sync.WaitGroup
	for i, s := range d.modules.catalog.sources {
		group.Go(func() { codes[i], built[i], errs[i] = d.modules.build(s) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if !d.enter() {
		return nil, d.Err()
	}
	defer d.leave()
	for i, code := range codes {
		if d.modules.handles[i] != 0 {
			continue
		}
		if err := d.modules.load(i, code); err != nil {
			d.fail(err)
			return nil, d.err
		}
	}
	return built, nil
}
