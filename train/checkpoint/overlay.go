package checkpoint

import (
	"fmt"
	"maps"
	"slices"
)

// FromTensors presents tensors as a [Source]. Names must differ.
func FromTensors(tensors []Tensor) (Source, error) {
	if err := checkNames(tensors); err != nil {
		return nil, err
	}
	s := tensorSource{}
	for _, t := range tensors {
		size, ok := byteSize(t.DType, t.Shape)
		if !ok {
			return nil, fmt.Errorf("tensor %q: shape %v of %s has no valid size", t.Name, t.Shape, t.DType)
		}
		s[t.Name] = sized{t, size}
	}
	return s, nil
}

type sized struct {
	Tensor
	bytes int64
}

type tensorSource map[string]sized

func (s tensorSource) Names() []string { return slices.Sorted(maps.Keys(s)) }

func (s tensorSource) Info(name string) (Info, bool) {
	t, ok := s[name]
	return Info{DType: t.DType, Shape: t.Shape, Bytes: t.bytes}, ok
}

func (s tensorSource) Bytes(name string) ([]byte, error) {
	t, ok := s[name]
	if !ok {
		return nil, fmt.Errorf("no tensor %q", name)
	}
	return t.values()
}

func (s tensorSource) Float32(name string, dst []float32) ([]float32, error) {
	data, err := s.Bytes(name)
	if err != nil {
		return nil, err
	}
	t := s[name]
	if !t.DType.Convertible() {
		return nil, fmt.Errorf("tensor %q: cannot read %s values as float32", name, t.DType)
	}
	n := elements(t.Shape)
	dst = slices.Grow(dst[:0], n)[:n]
	decode(t.DType, data, dst)
	return dst, nil
}

// FromProfile presents the tensors of a network's group file under their native names.
func FromProfile(src Source, naming Naming, group Assignment) (Source, error) {
	tensors, err := Tensors(src)
	if err != nil {
		return nil, err
	}
	native, err := naming.FromProfile(group, tensors)
	if err != nil {
		return nil, err
	}
	return FromTensors(native)
}

// Tensors lists all tensors of a source, to be read when used.
func Tensors(src Source) ([]Tensor, error) {
	var out []Tensor
	for _, name := range src.Names() {
		t, err := FromSource(src, name)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Overlay presents base with the tensors of over in place of its own, as a network
// assembles a model from its base and group files; of several, the last that holds a
// tensor counts. Tensors that only over holds are added. Types may differ, shapes may not.
func Overlay(base Source, over ...Source) (Source, error) {
	o := overlay{}
	for _, src := range append([]Source{base}, over...) {
		for _, name := range src.Names() {
			if under, ok := o[name]; ok {
				a, _ := under.Info(name)
				if b, _ := src.Info(name); !slices.Equal(a.Shape, b.Shape) {
					return nil, fmt.Errorf("tensor %q has shape %v in the overlay, %v in the base",
						name, b.Shape, a.Shape)
				}
			}
			o[name] = src
		}
	}
	return o, nil
}

// overlay maps each tensor to the source that counts.
type overlay map[string]Source

func (o overlay) Names() []string { return slices.Sorted(maps.Keys(o)) }

func (o overlay) Info(name string) (Info, bool) {
	if src, ok := o[name]; ok {
		return src.Info(name)
	}
	return Info{}, false
}

func (o overlay) Bytes(name string) ([]byte, error) {
	if src, ok := o[name]; ok {
		return src.Bytes(name)
	}
	return nil, fmt.Errorf("no tensor %q", name)
}

func (o overlay) Float32(name string, dst []float32) ([]float32, error) {
	if src, ok := o[name]; ok {
		return src.Float32(name, dst)
	}
	return nil, fmt.Errorf("no tensor %q", name)
}
