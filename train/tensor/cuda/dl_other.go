//go:build !linux || !(amd64 || arm64) || nocuda

package cuda

import "errors"

// unsupported says why this build cannot load libraries at all.
const unsupported = "this build of bzdata has no GPU device: that needs Linux on amd64 or arm64, and a build " +
	"without the tag nocuda"

func openLibrary(string) (uintptr, error) { return 0, errors.New(unsupported) }

func symbol(uintptr, string) uintptr { return 0 }

func callC(uintptr, ...uintptr) int32 {
	panic("cuda: a library was called that cannot have been loaded")
}
