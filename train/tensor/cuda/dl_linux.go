//go:build linux && (amd64 || arm64) && !nocuda

package cuda

import (
	"github.com/ebitengine/purego"
)

// unsupported says why this build cannot load libraries at all; it is empty if it can.
const unsupported = ""

// openLibrary loads a shared library by its absolute path. Its symbols stay its own, since libraries of NVIDIA have code
// in common in different versions. A library that another one asks for by name is found once it is loaded, all the same.
func openLibrary(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

// symbol returns the address of a function of a library, or 0 if it has none of that name.
func symbol(library uintptr, name string) uintptr {
	addr, err := purego.Dlsym(library, name)
	if err != nil {
		return 0
	}
	return addr
}

// callC calls a C function of integers and pointers and returns its int.
//
//go:uintptrescapes
func callC(fn uintptr, args ...uintptr) int32 {
	r, _, _ := purego.SyscallN(fn, args...)
	return int32(r)
}
