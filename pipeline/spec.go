package pipeline

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Spec declares a kind of stage whose configuration is a struct of type C.
//
// That struct is the only description of the configuration: decoding, checks with line
// numbers, defaults, JSON Schema ([Registry.Schema]), reference ([Kind.WriteReference])
// and the canonical form in stage keys ([Canonical]) all come from it. Its fields are
//
//	bool, string, integers and floats      lists []T, maps map[string]T, structs,
//	[Bytes], [Duration], [Path], [Paths]   pointers *T (nil: not set),
//	any other encoding.TextUnmarshaler     embedded structs (their keys are the outer's)
//
// and carry these tags:
//
//	yaml:"bands"            the key (every field must have one)
//	doc:"…"                 what it means (every field must have one)
//	min:"1" max:"256"       inclusive bounds of numbers, sizes and durations, and of
//	                        those in lists and maps
//	enum:"a|b"              the legal texts, also of those in lists
//	required:"true"         must be set unless it has a default; a list must have an entry
//	unless:"tokens"         required only if this other key is not set
//	alias:"text_column"     another name of the key
//	network:"learning_rate" the name under which a network profile gives a default
//
// A default that is the zero value may lie outside the bounds: it stands for "not set".
// A type with a method Check([*Fields]) has rules between its fields; a type with a method
// SetDefaults() fills elements of lists and maps before they are decoded. Both have
// pointer receivers.
type Spec[C any] struct {
	Name    string // the key in a plan, lower snake case
	Summary string // one sentence
	Doc     string // Markdown
	Example string // YAML of this stage alone, as it stands behind "- " in a plan
	Version int    // raised when the same configuration means different output
	Takes   []Data // what earlier stages, or the input, must have made
	Makes   []Data // what later stages may take
	Default C      // the configuration of an empty mapping
	New     func(C) (Program, error)
}

// Kind is a [Spec] with its type parameter erased.
type Kind struct {
	Name, Summary, Doc, Example string
	Version                     int
	Takes, Makes                []Data

	config reflect.Type
	def    reflect.Value
	build  func(config any) (Program, error)
}

// Kind erases s's type parameter. It panics if s is incomplete or a tag of C is wrong:
// that is a mistake in the program, not in its input.
func (s Spec[C]) Kind() Kind {
	k := Kind{
		Name: s.Name, Summary: s.Summary, Doc: s.Doc, Example: s.Example,
		Version: s.Version, Takes: s.Takes, Makes: s.Makes,
		config: reflect.TypeFor[C](),
		def:    reflect.ValueOf(&s.Default).Elem(),
		build:  func(config any) (Program, error) { return s.New(config.(C)) },
	}
	if !isKey(s.Name) || reservedKey(s.Name) || s.New == nil || k.config.Kind() != reflect.Struct {
		panic(fmt.Sprintf("pipeline: stage %q: needs a lower snake case name that no part of a plan has,"+
			" a New function and a struct", s.Name))
	}
	mustDescribe("stage "+s.Name, k.config, nil)
	mustDefault("stage "+s.Name, k.def)
	return k
}

// Default is the configuration of an empty mapping, of the Spec's type.
func (k Kind) Default() any { return clone(k.def).Interface() }

// Registry is the set of kinds that a plan may name. It does not change.
type Registry struct{ kinds map[string]Kind }

// NewRegistry returns a registry of kinds. It panics if two share a name.
func NewRegistry(kinds ...Kind) *Registry {
	r := &Registry{kinds: make(map[string]Kind, len(kinds))}
	for _, k := range kinds {
		if _, dup := r.kinds[k.Name]; dup {
			panic(fmt.Sprintf("pipeline: two kinds of stage are named %q", k.Name))
		}
		r.kinds[k.Name] = k
	}
	return r
}

// Kinds returns the kinds in alphabetical order.
func (r *Registry) Kinds() []Kind {
	return slices.SortedFunc(maps.Values(r.kinds), func(a, b Kind) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// Names returns the names of the kinds in alphabetical order.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.kinds)) }

// Lookup returns the kind of that name.
func (r *Registry) Lookup(name string) (Kind, bool) {
	k, ok := r.kinds[name]
	return k, ok
}

// makers lists the kinds that make data, in alphabetical order.
func (r *Registry) makers(data Data) []string {
	var names []string
	for _, k := range r.Kinds() {
		if slices.Contains(k.Makes, data) {
			names = append(names, k.Name)
		}
	}
	return names
}

// isKey reports whether s is a lower snake case name.
func isKey(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != ""
}
