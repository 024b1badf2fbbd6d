package cuda

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strings"
)

//go:embed kernels/*.cu kernels/*.cuh
var kernelFiles embed.FS

// kind is the type of a kernel's parameter.
type kind uint8

const (
	pointer kind = iota
	int32Kind
	uint32Kind
	int64Kind
	uint64Kind
	float32Kind
	float64Kind
)

var kindNames = [...]string{"a pointer", "int", "unsigned", "long long", "unsigned long long", "float", "double"}

func (k kind) String() string { return kindNames[k] }

// source is one file of kernels: a module of the card.
type source struct {
	name string // of the file
	text string // without the prelude
}

// kernel is an entry point.
type kernel struct {
	source int // index of its file
	params []kind
}

// catalog is what the kernel files hold.
type catalog struct {
	prelude string
	sources []source
	kernels map[string]kernel
}

// readCatalog reads the kernel files of a folder.
func readCatalog(files fs.FS) (*catalog, error) {
	prelude, err := readPrelude(files)
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "kernels/*.cu")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	c := &catalog{prelude: prelude, kernels: map[string]kernel{}}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		if err := c.add(path.Base(name), string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

// readPrelude returns what comes before each file: prelude.cuh, then the others that are named .cuh.
func readPrelude(files fs.FS) (string, error) {
	names, err := fs.Glob(files, "kernels/*.cuh")
	if err != nil {
		return "", err
	}
	sort.Slice(names, func(i, j int) bool {
		if first := path.Base(names[i]) == "prelude.cuh"; first || path.Base(names[j]) == "prelude.cuh" {
			return first
		}
		return names[i] < names[j]
	})
	var text strings.Builder
	for _, name := range names {
		part, err := fs.ReadFile(files, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "#line 1 %q\n%s\n", path.Base(name), part)
	}
	return text.String(), nil
}

// entryPoint finds a kernel in a file: its name and its parameters.
var entryPoint = regexp.MustCompile(`extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(([^)]*)\)`)

func (c *catalog) add(name, text string) error {
	c.sources = append(c.sources, source{name: name, text: text})
	for _, m := range entryPoint.FindAllStringSubmatch(text, -1) {
		if _, twice := c.kernels[m[1]]; twice {
			return fmt.Errorf("kernel %s is there twice", m[1])
		}
		params, err := parseParams(m[2])
		if err != nil {
			return fmt.Errorf("kernel %s: %w", m[1], err)
		}
		c.kernels[m[1]] = kernel{source: len(c.sources) - 1, params: params}
	}
	return nil
}

var valueKinds = map[string]kind{
	"int": int32Kind, "unsigned": uint32Kind, "unsigned int": uint32Kind, "long long": int64Kind,
	"unsigned long long": uint64Kind, "float": float32Kind, "double": float64Kind,
}

// parseParams takes a parameter list apart, such as "const float* x, int n".
func parseParams(list string) ([]kind, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	var kinds []kind
	for _, param := range strings.Split(list, ",") {
		if strings.Contains(param, "*") {
			kinds = append(kinds, pointer)
			continue
		}
		words := strings.Fields(strings.ReplaceAll(" "+param+" ", " const ", " "))
		if len(words) < 2 {
			return nil, fmt.Errorf("parameter %q: want a type and a name", strings.TrimSpace(param))
		}
		k, ok := valueKinds[strings.Join(words[:len(words)-1], " ")]
		if !ok {
			return nil, fmt.Errorf("parameter %q: want a pointer, int, unsigned, long long, unsigned long long, "+
				"float or double", strings.TrimSpace(param))
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}
