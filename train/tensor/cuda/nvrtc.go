package cuda

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"unsafe"
)

// compiler is libnvrtc.
type compiler struct {
	path    string
	version version
	archs   []int // architectures it compiles for, such as 90, ascending

	nvrtcVersion, archCount, archList function
	create, compile, destroy          function
	logSize, log, cubinSize, cubin    function
}

// findCompiler loads libnvrtc, of a version that the driver can load kernels of.
func findCompiler(folders []string, driver version) (*compiler, error) {
	var c *compiler
	s := searchFor(folders, "libnvrtc", driver, func(path string) (err error) {
		c, err = openCompiler(path)
		return err
	})
	if err := s.run(); err != nil {
		return nil, err
	}
	return c, nil
}

func openCompiler(path string) (*compiler, error) {
	openBuiltins(filepath.Dir(path))
	library, err := openLibrary(path)
	if err != nil {
		return nil, err
	}
	c := &compiler{path: path}
	err = bind(library, path, map[string]*function{
		"nvrtcVersion": &c.nvrtcVersion, "nvrtcGetNumSupportedArchs": &c.archCount, "nvrtcGetSupportedArchs": &c.archList,
		"nvrtcCreateProgram": &c.create, "nvrtcCompileProgram": &c.compile, "nvrtcDestroyProgram": &c.destroy,
		"nvrtcGetProgramLogSize": &c.logSize, "nvrtcGetProgramLog": &c.log,
		"nvrtcGetCUBINSize": &c.cubinSize, "nvrtcGetCUBIN": &c.cubin,
	})
	if err != nil {
		return nil, err
	}
	return c, c.describe()
}

// openBuiltins loads what libnvrtc opens by its bare name while it compiles, which the loader finds only if it is loaded
// already or stands in a folder that the system or libnvrtc's own file names. What cannot be loaded here shows when a
// kernel is compiled.
func openBuiltins(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "libnvrtc-builtins.so.*"))
	if err != nil {
		return
	}
	for _, file := range files {
		openLibrary(file)
	}
}

func (c *compiler) check(f function, code int32) error {
	if code == 0 {
		return nil
	}

	return fmt.Errorf("%s of %s: %s (%d)", f.name, c.path, compilerResult(code), code)
}

// doesNotCompile is the result for a mistake in the text.
const doesNotCompile = 6

// compilerResult names a result of libnvrtc.
func compilerResult(code int32) string {
	names := []string{"success", "out of memory", "the program could not be made", "invalid input", "invalid program",
		"invalid option", "the text does not compile", "libnvrtc-builtins was not found beside it or does not fit it"}
	if int(code) < len(names) {
		return names[code]
	}
	return "an internal error"
}

func (c *compiler) describe() error {
	var major, minor, n int32
	code := c.nvrtcVersion.call(uintptr(unsafe.Pointer(&major)), uintptr(unsafe.Pointer(&minor)))
	if err := c.check(c.nvrtcVersion, code); err != nil {
		return err
	}
	c.version = version(1000*major + 10*minor)
	if err := c.check(c.archCount, c.archCount.call(uintptr(unsafe.Pointer(&n)))); err != nil {
		return err
	}
	archs := make([]int32, max(n, 1))
	if err := c.check(c.archList, c.archList.call(uintptr(unsafe.Pointer(&archs[0])))); err != nil {
		return err
	}
	for _, a := range archs[:n] {
		c.archs = append(c.archs, int(a))
	}
	slices.Sort(c.archs)
	return nil
}

// archFor is the newest architecture, at most the card's and of its major version, that the compiler knows:
// its code runs on the card.
func (c *compiler) archFor(card *Card) (string, error) {
	for _, a := range slices.Backward(c.archs) {
		if a/10 == card.Major && a%10 <= card.Minor {
			return fmt.Sprintf("sm_%d", a), nil
		}
	}
	return "", fmt.Errorf("%s (CUDA %s) cannot compile for compute capability %s: install a newer one "+
		"(pip install --upgrade nvidia-cuda-nvrtc-cu12)", c.path, c.version, card.Capability())
}

// options are those of a compilation.
func options(arch string) []string {
	return []string{"--std=c++17", "--gpu-architecture=" + arch, "-default-device"}
}

// compileText compiles a program of a file's name and returns the card's code.
func (c *compiler) compileText(name, text string, options []string) ([]byte, error) {
	code, _, err := c.compileLogged(name, text, options)
	return code, err
}

// compileLogged is compileText, and returns what the compiler says, too.
func (c *compiler) compileLogged(name, text string, options []string) (_ []byte, log string, err error) {
	var program uintptr
	code := c.create.call(uintptr(unsafe.Pointer(&program)), uintptr(unsafe.Pointer(cString(text))),
		uintptr(unsafe.Pointer(cString(name))), 0, 0, 0)
	if err := c.check(c.create, code); err != nil {
		return nil, "", err
	}
	defer c.destroy.call(uintptr(unsafe.Pointer(&program)))
	args := make([]*byte, len(options))
	for i, o := range options {
		args[i] = cString(o)
	}
	code = c.compile.call(program, uintptr(len(args)), uintptr(unsafe.Pointer(&args[0])))
	runtime.KeepAlive(args)
	log = c.logOf(program)
	if code == doesNotCompile {
		return nil, log, fmt.Errorf("%s does not compile with %s (CUDA %s): %s", name, c.path, c.version, firstLines(log, 6))
	}
	if err := c.check(c.compile, code); err != nil {
		return nil, log, fmt.Errorf("%s: %w: %s", name, err, firstLines(log, 6))
	}
	compiled, err := c.take(program)
	return compiled, log, err
}

// take copies the compiled code.
func (c *compiler) take(program uintptr) ([]byte, error) {
	var size uint64
	if err := c.check(c.cubinSize, c.cubinSize.call(program, uintptr(unsafe.Pointer(&size)))); err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, fmt.Errorf("%s returned no code", c.path)
	}
	code := make([]byte, size)
	return code, c.check(c.cubin, c.cubin.call(program, uintptr(unsafe.Pointer(&code[0]))))
}

// logOf is what the compiler says about a program.
func (c *compiler) logOf(program uintptr) string {
	var size uint64
	if c.logSize.call(program, uintptr(unsafe.Pointer(&size))) != 0 || size == 0 {
		return "no log"
	}
	log := make([]byte, size)
	if c.log.call(program, uintptr(unsafe.Pointer(&log[0]))) != 0 {
		return "no log"
	}
	return string(log)
}
