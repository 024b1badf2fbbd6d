package cuda

import (
	"fmt"
	"sort"
	"strings"
	"unsafe"
)

// function is a C function of a loaded library.
type function struct {
	name string
	addr uintptr
}

// call returns the function's result, an int or an enumeration. Pointers to Go memory are converted to uintptr in the
// call's own argument list, so that the memory stays where it is.
//
//go:uintptrescapes
func (f function) call(args ...uintptr) int32 { return callC(f.addr, args...) }

// bind looks functions up by name.
func bind(library uintptr, path string, wanted map[string]*function) error {
	var missing []string
	for name, f := range wanted {
		addr := symbol(library, name)
		if addr == 0 {
			missing = append(missing, name)
			continue
		}
		*f = function{name, addr}
	}
	if len(missing) > 0 {
		return &missingError{path: path, names: missing}
	}
	return nil
}

// missingError says that a library lacks functions.
type missingError struct {
	path  string
	names []string
}

func (e *missingError) Error() string {
	names := append([]string(nil), e.names...)
	sort.Strings(names)
	more := ""
	if n := len(names) - 3; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s has no %s%s: it is too old, or not the library that its name says; install a current one",
		e.path, strings.Join(names[:min(3, len(names))], ", "), more)
}

// goString reads a C string of static storage.
func goString(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// cString is a string that ends with a zero byte.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }
