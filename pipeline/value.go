package pipeline

import (
	"errors"
	"fmt"
	"math"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"bzdata/pipeline/store"
)

// Bytes is a size: a plain number of bytes, or one with a unit, such as 512MiB or 1.5GB.
type Bytes int64

// byteUnits are the units of [Bytes], the longer of two with a common end first. B is
// decimal (SI), iB binary (IEC 80000-13).
var byteUnits = [...]struct {
	name string
	size int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText reads a size; it must be a whole number of bytes that is not negative.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, size := strings.TrimSpace(string(text)), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	if n, ok := parseInteger(number); ok && n >= 0 && n <= math.MaxInt64/size {
		*b = Bytes(n * size)
		return nil
	}
	x, ok := parseFloat(number)
	x *= float64(size)
	if !ok || x < 0 || x >= 1<<53 || x != math.Trunc(x) {
		return errors.New("want a size such as 512MiB, 64MB or a number of bytes")
	}
	*b = Bytes(x)
	return nil
}

// MarshalText writes the size in the largest binary unit that divides it.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String is the size in the largest binary unit that divides it.
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if u := byteUnits[i]; b != 0 && int64(b)%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(b)/u.size, u.name)
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Duration is a span of time, such as 90s, 10m, 1h30m or 7d.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, unless it is negative, and whole days.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if days, isDays := strings.CutSuffix(string(text), "d"); isDays {
		var n uint64 // of 16 bits, so that no number of days is more than a Duration holds
		n, err = strconv.ParseUint(days, 10, 16)
		v = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || v < 0 {
		return errors.New("want a duration such as 90s, 10m, 1h30m or 7d")
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the duration as [Duration.String] does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the duration without units that are zero: 10m, not 10m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Path names a file, folder or glob. It is relative to the plan's folder: see [Plan.Path].
type Path string

// UnmarshalText accepts every text but the empty one.
func (p *Path) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("want a path, got an empty text")
	}
	if store.IsRemote(string(text)) {
		if _, err := store.ParseLocation(string(text)); err != nil {
			return err
		}
	}
	*p = Path(text)
	return nil
}

// Paths is a list of [Path]; a plan may give one alone, without the list.
type Paths []string

func (ps *Paths) decodePlan(d *decoder, n *store.YAMLNode, at string, f field) {
	var list []Path
	f.typ = reflect.TypeFor[[]Path]()
	if n.Kind == store.YAMLScalar {
		list = make([]Path, 1)
		d.value(n, at, f.element(), reflect.ValueOf(&list[0]).Elem())
	} else {
		d.list(n, at, f, reflect.ValueOf(&list).Elem())
	}
	*ps = make(Paths, len(list))
	for i, p := range list {
		(*ps)[i] = string(p)
	}
}

// Texts is a list of texts; a plan may give one alone, without the list.
type Texts []string

func (ts *Texts) decodePlan(d *decoder, n *store.YAMLNode, at string, f field) {
	list := []string(*ts)
	f.typ = reflect.TypeFor[[]string]()
	if n.Kind == store.YAMLScalar {
		list = make([]string, 1)
		d.value(n, at, f.element(), reflect.ValueOf(&list[0]).Elem())
	} else {
		d.list(n, at, f, reflect.ValueOf(&list).Elem())
	}
	*ts = list
}

// fixedName is the name of the last element of a path that holds no glob or variable:
// the folder that a glob starts from, or the file itself without its extensions.
func fixedName(p string) string {
	fixed, whole := p, !strings.HasSuffix(p, "/")
	if i := strings.IndexAny(p, "*?[{$"); i >= 0 {
		fixed, whole = p[:max(strings.LastIndexByte(p[:i], '/'), 0)], false
	}
	name := path.Base(path.Clean("/" + fixed))
	if strings.HasPrefix(p, "hf://") {
		name, _, _ = strings.Cut(name, "@")
	}
	if whole {
		name, _, _ = strings.Cut(name, ".")
	}
	return strings.Trim(name, "/.")
}

// templatePart is a piece of a template: literal text, then a field's value unless
// field is empty.
type templatePart struct{ literal, field string }

// parseTemplate cuts a text at its placeholders {{field}}; it must have one.
func parseTemplate(s string) (parts []templatePart, err error) {
	for {
		literal, after, found := strings.Cut(s, "{{")
		if strings.Contains(literal, "}}") {
			return nil, errors.New("}} closes nothing; write {{field}}")
		}
		if !found {
			break
		}
		name, rest, closed := strings.Cut(after, "}}")
		name = strings.TrimSpace(name)
		switch {
		case !closed:
			return nil, errors.New("{{ is never closed; write {{field}}")
		case name == "":
			return nil, errors.New("{{}} names no field; write {{field}}")
		case strings.ContainsAny(name, "{}\n"):
			return nil, fmt.Errorf("%s is no field name; write {{field}}", quoteShort(name))
		}
		parts, s = append(parts, templatePart{literal, name}), rest
	}
	if len(parts) == 0 {
		return nil, errors.New("without a field every document is the same; write {{field}}")
	}
	if s != "" {
		parts = append(parts, templatePart{literal: s})
	}
	return parts, nil
}

// isNull reports whether a scalar is no value, as YAML 1.2 has it.
func isNull(n *store.YAMLNode) bool {
	if n.Kind != store.YAMLScalar || n.Quoted {
		return false
	}
	switch n.Text {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// parseBool reads a boolean of YAML 1.2.
func parseBool(s string) (value, ok bool) {
	switch s {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return false, false
}

// plainNumber checks the spelling that YAML 1.2 and Go share, with _ between digits, and
// returns it without _. A leading zero is refused: YAML 1.1 read it as octal.
func plainNumber(s string) (string, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || digits[0] == '_' || strings.HasSuffix(s, "_") {
		return "", false
	}
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return "", false
	}
	return strings.ReplaceAll(s, "_", ""), !strings.Contains(s, "__")
}

// parseInteger reads a whole number: decimal, 0x…, 0o…, 0b…, or a float such as 1e6
// that is whole and below 2^53.
func parseInteger(s string) (int64, bool) {
	plain, ok := plainNumber(s)
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(plain, 0, 64); err == nil {
		return n, true
	}
	x, ok := parseFloat(plain)
	if !ok || math.Abs(x) >= 1<<53 || x != math.Trunc(x) {
		return 0, false
	}
	return int64(x), true
}

// parseUnsigned is parseInteger for the upper half of uint64, too.
func parseUnsigned(s string) (uint64, bool) {
	if plain, ok := plainNumber(s); ok {
		if n, err := strconv.ParseUint(plain, 0, 64); err == nil {
			return n, true
		}
	}
	n, ok := parseInteger(s)
	return uint64(n), ok && n >= 0
}

// parseFloat reads a finite decimal number.
func parseFloat(s string) (float64, bool) {
	plain, ok := plainNumber(s)
	if !ok || strings.Trim(plain, "0123456789+-.eE") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(plain, 64)
	return x, err == nil
}

// number is the value of a number, size or duration, for comparing it with bounds.
func number(v reflect.Value) (float64, bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

// parseBound reads a bound in the spelling of values of type t.
func parseBound(t reflect.Type, s string) (float64, bool) {
	v := reflect.New(t)
	if u, ok := v.Interface().(interface{ UnmarshalText([]byte) error }); ok {
		if u.UnmarshalText([]byte(s)) != nil {
			return 0, false
		}
		return number(v.Elem())
	}
	if _, ok := number(v.Elem()); !ok {
		return 0, false
	}
	return parseFloat(s)
}
