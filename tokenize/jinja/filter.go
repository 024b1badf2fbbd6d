package jinja

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// filterNamed returns a filter, or nil if there is none of that name. The filter map, which
// looks others up, is in neither table.
func filterNamed(name string) func(s *state, v any, a args) any {
	if name == "map" {
		return mapFilter
	}
	if f := textFilters[name]; f != nil {
		return f
	}
	return listFilters[name]
}

func (e filterExpr) eval(s *state) any { return s.filter(e.call, e.of.eval(s)) }

func (s *state) filter(f filterCall, v any) any {
	a := s.args(f.args)
	s.step(0)
	s.line = f.line
	return filterNamed(f.name)(s, v, a)
}

// onText is a filter without arguments over str(v).
func onText(name string, f func(string) string) func(s *state, v any, a args) any {
	return func(s *state, v any, a args) any {
		s.take(name, a, 0)
		return s.made(f(s.text(v)))
	}
}

var textFilters = map[string]func(s *state, v any, a args) any{
	"upper":      onText("upper", upper),
	"lower":      onText("lower", lower),
	"capitalize": onText("capitalize", capitalize),
	"title":      onText("title", titleWords),
	"string":     onText("string", func(v string) string { return v }),
	"safe": func(s *state, v any, a args) any {
		s.take("safe", a, 0)
		return markup(s.text(v))
	},
	"trim": func(s *state, v any, a args) any {
		chars := s.take("trim", a, 0, "chars")[0]
		return s.made(s.strip(s.text(v), chars, true, true))
	},
	"replace": func(s *state, v any, a args) any {
		in := s.take("replace", a, 2, "old", "new", "count")
		return s.replace(s.text(v), s.text(in[0]), s.text(in[1]), in[2])
	},
	"indent": indent,
	"tojson": tojson,
	"abs": func(s *state, v any, a args) any {
		s.take("abs", a, 0)
		if i, f, isFloat, ok := number(v); ok && isFloat {
			return math.Abs(f)
		} else if ok && i >= 0 {
			return i
		} else if ok {
			return s.integers("-", 0, i)
		}
		s.fail("abs of a %s is not supported", typeName(v))
		return nil
	},
	"int":   toInt,
	"float": toFloat,
	"default": func(s *state, v any, a args) any {
		return s.defaulted(v, s.take("default", a, 0, "default_value", "boolean"))
	},
	"d": func(s *state, v any, a args) any {
		return s.defaulted(v, s.take("d", a, 0, "default_value", "boolean"))
	},
}

func (s *state) defaulted(v any, in []any) any {
	_, isUndefined := v.(undefined)
	if !isUndefined && !(in[1] != nil && truth(in[1]) && !truth(v)) {
		return v
	}
	if in[0] == nil {
		return ""
	}
	return in[0]
}

// lower and upper are Python's, in which a letter may become several.
func lower(v string) string { return cases.Lower(language.Und).String(v) }
func upper(v string) string { return cases.Upper(language.Und).String(v) }

func capitalize(v string) string {
	_, n := utf8.DecodeRuneInString(v)
	return cases.Title(language.Und).String(v[:n]) + lower(v[n:])
}

// titleWords is the filter title: words end at white space, - and opening brackets.
func titleWords(v string) string {
	var b strings.Builder
	first := true
	for _, r := range v {
		ends := isSpace(r) || strings.ContainsRune("-({[<", r)
		if first && !ends {
			b.WriteString(upper(string(r)))
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
		first = ends
	}
	return b.String()
}

func indent(s *state, v any, a args) any {
	in := s.take("indent", a, 0, "width", "first", "blank")
	width := "    "
	switch w := in[0].(type) {
	case nil:
	case string:
		width = w
	default:
		width = s.repeat(" ", s.integer(w, "indent")).(string)
	}
	lines := splitLines(s.str(v, "indent")+"\n", false)
	total := len(lines) * len(width)
	s.limit(total, 0)
	for i, line := range lines {
		skipped := i == 0 && !(in[1] != nil && truth(in[1])) || i > 0 && line == "" && !(in[2] != nil && truth(in[2]))
		if !skipped {
			lines[i] = width + line
		}
	}
	return s.made(strings.Join(lines, "\n"))
}

func toInt(s *state, v any, a args) any {
	in := s.take("int", a, 0, "default")
	s.mustBeDefined(v)
	fallback := any(int64(0))
	if in[0] != nil {
		fallback = in[0]
	}
	if i, f, isFloat, ok := number(v); ok && isFloat {
		if !(math.Abs(f) < 1<<62) {
			s.fail("int of %s is beyond 64 bits", floatText(f))
		}
		return int64(f)
	} else if ok {
		return i
	}
	text, ok := v.(string)
	if !ok {
		return fallback
	}
	text = strings.TrimFunc(text, isSpace)
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(f) < 1<<62 {
		return int64(f)
	}
	return fallback
}

func toFloat(s *state, v any, a args) any {
	in := s.take("float", a, 0, "default")
	s.mustBeDefined(v)
	if _, f, _, ok := number(v); ok {
		return f
	}
	if text, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(text, isSpace), 64); err == nil {
			return f
		}
	}
	if in[0] != nil {
		return in[0]
	}
	return 0.0
}

var listFilters = map[string]func(s *state, v any, a args) any{
	"length": length, "count": length,
	"first": func(s *state, v any, a args) any {
		s.take("first", a, 0)
		return s.endItem(v, true)
	},
	"last": func(s *state, v any, a args) any {
		s.take("last", a, 0)
		return s.endItem(v, false)
	},
	"list": func(s *state, v any, a args) any {
		s.take("list", a, 0)
		return s.list(slices.Clone(s.items(v)))
	},
	"reverse": func(s *state, v any, a args) any {
		s.take("reverse", a, 0)
		items := slices.Clone(s.items(v))
		slices.Reverse(items)
		if _, ok := v.(string); ok {
			return s.joined(items, "")
		}
		return s.list(items)
	},
	"join": func(s *state, v any, a args) any {
		in := s.take("join", a, 0, "d", "attribute")
		items := s.items(v)
		if in[1] != nil {
			items = s.each(items, s.attribute(in[1]))
		}
		separator := ""
		if in[0] != nil {
			separator = s.text(in[0])
		}
		return s.joined(items, separator)
	},
	"items": func(s *state, v any, a args) any {
		s.take("items", a, 0)
		if _, ok := v.(undefined); ok {
			return s.list(nil)
		}
		m, ok := v.(*Map)
		if !ok {
			s.fail("items of a %s is not supported", typeName(v))
		}
		return s.pairs(m)
	},
	"dictsort": func(s *state, v any, a args) any {
		s.take("dictsort", a, 0)
		m, ok := v.(*Map)
		if !ok {
			s.fail("dictsort of a %s is not supported", typeName(v))
		}
		out := s.pairs(m)
		slices.SortStableFunc(out.Items, func(x, y any) int {
			return cmp.Compare(lower(x.(*List).Items[0].(string)), lower(y.(*List).Items[0].(string)))
		})
		return out
	},
	"sort": sortFilter,
	"sum": func(s *state, v any, a args) any {
		s.take("sum", a, 0)
		var sum any = int64(0)
		for _, x := range s.items(v) {
			sum = binaryExpr{s.line, "+", constExpr{sum}, constExpr{x}}.eval(s)
		}
		return sum
	},
	"min": func(s *state, v any, a args) any { return s.extreme("min", v, a, "<") },
	"max": func(s *state, v any, a args) any { return s.extreme("max", v, a, ">") },
	"unique": func(s *state, v any, a args) any {
		s.take("unique", a, 0)
		var out []any
		for _, x := range s.items(v) {
			if !slices.ContainsFunc(out, func(y any) bool { return s.equal(s.folded(x), s.folded(y)) }) {
				out = append(out, x)
			}
		}
		return s.list(out)
	},
	"select": func(s *state, v any, a args) any {
		return s.chosen("select", v, a, nil, true)
	},
	"reject": func(s *state, v any, a args) any {
		return s.chosen("reject", v, a, nil, false)
	},
	"selectattr": func(s *state, v any, a args) any { return s.chosenBy("selectattr", v, a, true) },
	"rejectattr": func(s *state, v any, a args) any { return s.chosenBy("rejectattr", v, a, false) },
}

func length(s *state, v any, a args) any {
	s.take("length", a, 0)
	switch v := v.(type) {
	case string:
		s.step(len(v) / 64)
		return int64(utf8.RuneCountInString(v))
	case *List:
		return int64(len(v.Items))
	case *Map:
		return int64(v.Len())
	case undefined:
		return int64(0)
	}
	s.fail("length of a %s is not supported", typeName(v))
	return nil
}

func (s *state) endItem(v any, first bool) any {
	items := s.items(v)
	switch {
	case len(items) == 0:
		return undefined{"the item of an empty list"}
	case first:
		return items[0]
	}
	return items[len(items)-1]
}

// extreme is the first of the items than which no other is less, or greater.
func (s *state) extreme(what string, v any, a args, op string) any {
	s.take(what, a, 0)
	var best any = undefined{"the item of an empty list"}
	for i, x := range s.items(v) {
		if i == 0 || s.compare(op, s.folded(x), s.folded(best)) {
			best = x
		}
	}
	return best
}

// folded is a value as filters compare it that do not mind the case of letters.
func (s *state) folded(v any) any {
	if text, ok := v.(string); ok {
		return lower(text)
	}
	return v
}

func (s *state) joined(items []any, separator string) string {
	parts := make([]string, len(items))
	total := 0
	for i, x := range items {
		parts[i] = s.text(x)
		total += len(parts[i]) + len(separator)
		s.limit(total, 0)
	}
	return s.made(strings.Join(parts, separator))
}

// pairs is the list of a mapping's (key, value).
func (s *state) pairs(m *Map) *List {
	out := make([]any, m.Len())
	for i, key := range m.keys {
		out[i] = &List{[]any{key, m.values[key]}, true}
	}
	return s.list(out)
}

// attribute returns a function that looks an attribute such as function.name up.
func (s *state) attribute(name any) func(v any) any {
	path := strings.Split(s.text(name), ".")
	return func(v any) any {
		for _, part := range path {
			var index any = part
			if i, err := strconv.ParseInt(part, 10, 64); err == nil {
				index = i
			}
			v = s.item(v, index)
		}
		return v
	}
}

// itemsIfAny are the items of v, or none if it is none, false or 0.
func (s *state) itemsIfAny(v any) []any {
	if !truth(v) {
		return nil
	}
	return s.items(v)
}

func (s *state) each(items []any, f func(v any) any) []any {
	out := make([]any, len(items))
	for i, x := range items {
		s.step(0)
		out[i] = f(x)
	}
	return out
}

func mapFilter(s *state, v any, a args) any {
	if attr, ok := a.named["attribute"]; ok {
		in := s.take("map", a, 0, "attribute", "default")
		get := s.attribute(attr)
		return s.list(s.each(s.itemsIfAny(v), func(x any) any {
			got := get(x)
			if _, missing := got.(undefined); missing && in[1] != nil {
				return in[1]
			}
			return got
		}))
	}
	if len(a.args) == 0 {
		s.fail("map wants attribute=…, or the name of a filter")
	}
	name := s.str(a.args[0], "map")
	f := filterNamed(name)
	if f == nil {
		s.fail("filter %q is not supported", name)
	}
	rest := args{a.args[1:], a.named, a.names}
	return s.list(s.each(s.itemsIfAny(v), func(x any) any { return f(s, x, rest) }))
}

// chosen are the items for which a test holds, or with want false does not. get, if not nil,
// is applied to what is tested.
func (s *state) chosen(what string, v any, a args, get func(any) any, want bool) any {
	if len(a.named) > 0 {
		s.fail("%s with a named argument is not supported", what)
	}
	holds := truth
	if len(a.args) > 0 {
		name := s.str(a.args[0], what)
		t, ok := tests[name]
		if !ok {
			s.fail("test %q is not supported", name)
		}
		if len(a.args)-1 != t.args {
			s.fail("test %q has %d arguments, want %d", name, len(a.args)-1, t.args)
		}
		holds = func(v any) bool { return t.check(s, v, a.args[1:]) }
	}
	var out []any
	for _, x := range s.itemsIfAny(v) {
		s.step(0)
		tested := x
		if get != nil {
			tested = get(x)
		}
		if holds(tested) == want {
			out = append(out, x)
		}
	}
	return s.list(out)
}

func (s *state) chosenBy(what string, v any, a args, want bool) any {
	if len(a.args) == 0 {
		s.fail("%s lacks the name of an attribute", what)
	}
	return s.chosen(what, v, args{a.args[1:], a.named, a.names}, s.attribute(a.args[0]), want)
}

func sortFilter(s *state, v any, a args) any {
	in := s.take("sort", a, 0, "reverse", "case_sensitive", "attribute")
	items := slices.Clone(s.items(v))
	key := func(x any) any { return x }
	if in[2] != nil {
		key = s.attribute(in[2])
	}
	fold := func(x any) any {
		if in[1] != nil && truth(in[1]) {
			return key(x)
		}
		return s.folded(key(x))
	}
	reverse := in[0] != nil && truth(in[0])
	slices.SortStableFunc(items, func(x, y any) int {
		s.step(0)
		x, y = fold(x), fold(y)
		if reverse {
			x, y = y, x
		}
		switch {
		case s.less(x, y, "<"):
			return -1
		case s.less(y, x, "<"):
			return 1
		}
		return 0
	})
	return s.list(items)
}
