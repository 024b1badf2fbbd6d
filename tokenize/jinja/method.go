package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// method returns the method of a value, or nil if it has none of that name.
func (s *state) method(of any, name string) any {
	switch v := of.(type) {
	case string:
		if f := textMethods[name]; f != nil {
			return &function{name, func(s *state, a args) any { return f(s, v, a) }}
		}
		if slices.Contains(otherTextMethods, name) {
			s.fail("method %s of a string is not supported", name)
		}
	case *Map:
		if f := mapMethods[name]; f != nil {
			return &function{name, func(s *state, a args) any { return f(s, v, a) }}
		}
		if slices.Contains(otherMapMethods, name) {
			s.fail("method %s of a mapping is not supported", name)
		}
	case *List:
		if f := listMethods[name]; f != nil {
			return &function{name, func(s *state, a args) any { return f(s, v, a) }}
		}
		if slices.Contains(otherListMethods, name) {
			s.fail("method %s of a list is not supported", name)
		}
	}
	return nil
}

// Methods of Python that are none here, so that a template which calls one hears of it.
var (
	otherTextMethods = []string{"casefold", "center", "encode", "expandtabs", "format", "format_map", "index", "isalnum",
		"isascii", "isdecimal", "isidentifier", "isnumeric", "isprintable", "istitle", "ljust", "maketrans", "rindex", "rjust",
		"swapcase", "translate", "zfill"}
	otherMapMethods  = []string{"clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update"}
	otherListMethods = []string{"append", "clear", "copy", "extend", "insert", "pop", "remove", "reverse", "sort"}
)

func onString(name string, f func(string) any) func(s *state, v string, a args) any {
	return func(s *state, v string, a args) any {
		s.take(name, a, 0)
		s.step(len(v) / 64)
		return f(v)
	}
}

func stripper(name string, left, right bool) func(s *state, v string, a args) any {
	return func(s *state, v string, a args) any {
		return s.made(s.strip(v, s.take(name, a, 0, "chars")[0], left, right))
	}
}

func affix(name string, has func(s, affix string) bool) func(s *state, v string, a args) any {
	return func(s *state, v string, a args) any {
		in := s.take(name, a, 1, "prefix")
		if list, ok := in[0].(*List); ok && list.Tuple {
			return slices.ContainsFunc(list.Items, func(x any) bool { return has(v, s.str(x, name)) })
		}
		return has(v, s.str(in[0], name))
	}
}

// every reports whether v has a character, and all are as f says.
func every(name string, f func(r rune) bool) func(s *state, v string, a args) any {
	return onString(name, func(v string) any {
		return v != "" && strings.IndexFunc(v, func(r rune) bool { return !f(r) }) < 0
	})
}

var textMethods = map[string]func(s *state, v string, a args) any{
	"upper":      onString("upper", func(v string) any { return upper(v) }),
	"lower":      onString("lower", func(v string) any { return lower(v) }),
	"capitalize": onString("capitalize", func(v string) any { return capitalize(v) }),
	"title":      onString("title", func(v string) any { return title(v) }),
	"isspace":    every("isspace", isSpace),
	"isalpha":    every("isalpha", unicode.IsLetter),
	"isdigit":    every("isdigit", unicode.IsDigit),
	"isupper": func(s *state, v string, a args) any {
		s.take("isupper", a, 0)
		return s.isCase(v, upper)
	},
	"islower": func(s *state, v string, a args) any {
		s.take("islower", a, 0)
		return s.isCase(v, lower)
	},
	"strip":      stripper("strip", true, true),
	"lstrip":     stripper("lstrip", true, false),
	"rstrip":     stripper("rstrip", false, true),
	"startswith": affix("startswith", strings.HasPrefix),
	"endswith":   affix("endswith", strings.HasSuffix),
	"removeprefix": func(s *state, v string, a args) any {
		return strings.TrimPrefix(v, s.str(s.take("removeprefix", a, 1, "prefix")[0], "removeprefix"))
	},
	"removesuffix": func(s *state, v string, a args) any {
		return strings.TrimSuffix(v, s.str(s.take("removesuffix", a, 1, "suffix")[0], "removesuffix"))
	},
	"replace": func(s *state, v string, a args) any {
		in := s.take("replace", a, 2, "old", "new", "count")
		return s.replace(v, s.str(in[0], "replace"), s.str(in[1], "replace"), in[2])
	},
	"split":  func(s *state, v string, a args) any { return s.split("split", v, a, true) },
	"rsplit": func(s *state, v string, a args) any { return s.split("rsplit", v, a, false) },
	"splitlines": func(s *state, v string, a args) any {
		keep := s.take("splitlines", a, 0, "keepends")[0]
		s.step(len(v))
		return s.texts(splitLines(v, keep != nil && truth(keep)))
	},
	"partition": func(s *state, v string, a args) any {
		separator := s.separator(s.take("partition", a, 1, "sep")[0], "partition")
		before, after, found := strings.Cut(v, separator)
		if !found {
			separator = ""
		}
		return &List{[]any{before, separator, after}, true}
	},
	"rpartition": func(s *state, v string, a args) any {
		separator := s.separator(s.take("rpartition", a, 1, "sep")[0], "rpartition")
		i := strings.LastIndex(v, separator)
		if i < 0 {
			return &List{[]any{"", "", v}, true}
		}
		return &List{[]any{v[:i], separator, v[i+len(separator):]}, true}
	},
	"join": func(s *state, v string, a args) any {
		items := s.items(s.take("join", a, 1, "iterable")[0])
		for _, x := range items {
			s.str(x, "join")
		}
		return s.joined(items, v)
	},
	"find": func(s *state, v string, a args) any {
		return runeIndex(v, strings.Index(v, s.str(s.take("find", a, 1, "sub")[0], "find")))
	},
	"rfind": func(s *state, v string, a args) any {
		return runeIndex(v, strings.LastIndex(v, s.str(s.take("rfind", a, 1, "sub")[0], "rfind")))
	},
	"count": func(s *state, v string, a args) any {
		s.step(len(v) / 64)
		return int64(strings.Count(v, s.str(s.take("count", a, 1, "sub")[0], "count")))
	},
}

var mapMethods = map[string]func(s *state, v *Map, a args) any{
	"items": func(s *state, v *Map, a args) any {
		s.take("items", a, 0)
		return s.pairs(v)
	},
	"keys": func(s *state, v *Map, a args) any {
		s.take("keys", a, 0)
		return s.list(s.items(v))
	},
	"values": func(s *state, v *Map, a args) any {
		s.take("values", a, 0)
		return s.list(s.each(s.items(v), func(key any) any { return v.values[key.(string)] }))
	},
	"get": func(s *state, v *Map, a args) any {
		in := s.take("get", a, 1, "key", "default")
		if key, ok := in[0].(string); ok {
			if x, ok := v.Get(key); ok {
				return x
			}
		}
		return in[1]
	},
}

var listMethods = map[string]func(s *state, v *List, a args) any{
	"count": func(s *state, v *List, a args) any {
		want := s.take("count", a, 1, "value")[0]
		n := int64(0)
		for _, x := range v.Items {
			if s.equal(x, want) {
				n++
			}
		}
		return n
	},
	"index": func(s *state, v *List, a args) any {
		want := s.take("index", a, 1, "value")[0]
		i := slices.IndexFunc(v.Items, func(x any) bool { return s.equal(x, want) })
		if i < 0 {
			s.fail("index of what is not in the list")
		}
		return int64(i)
	},
}

// strip cuts characters off the ends: white space if chars is nil.
func (s *state) strip(v string, chars any, left, right bool) string {
	s.step(len(v) / 64)
	is := isSpace
	if chars != nil {
		set := s.str(chars, "strip")
		s.step(len(set) / 64)
		is = func(r rune) bool { return strings.ContainsRune(set, r) }
	}
	if left {
		v = strings.TrimLeftFunc(v, is)
	}
	if right {
		v = strings.TrimRightFunc(v, is)
	}
	return v
}

func (s *state) replace(v, old, with string, count any) string {
	n := -1
	if count != nil {
		n = int(max(-1, s.integer(count, "replace")))
	}
	found := int64(strings.Count(v, old))
	if n >= 0 {
		found = min(found, int64(n))
	}
	s.step(len(v) / 64)
	if grown := int64(len(with)) * found; grown > int64(s.limits.TextBytes) {
		s.limit(s.limits.TextBytes+1, 0)
	}
	return s.made(strings.Replace(v, old, with, n))
}

func (s *state) separator(v any, what string) string {
	out := s.str(v, what)
	if out == "" {
		s.fail("%s by an empty string", what)
	}
	return out
}

func (s *state) texts(parts []string) *List {
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return s.list(out)
}

// split cuts v at a separator, or at white space, at most so often, from the left or the right.
func (s *state) split(what, v string, a args, left bool) any {
	in := s.take(what, a, 0, "sep", "maxsplit")
	most := int64(-1)
	if in[1] != nil {
		most = s.integer(in[1], what)
	}
	s.step(len(v) / 16)
	if in[0] == nil {
		return s.texts(splitSpace(v, most, left))
	}
	separator := s.separator(in[0], what)
	if strings.Count(v, separator) > itemsMax {
		s.fail("a list becomes longer than %d items", itemsMax)
	}
	if most < 0 {
		return s.texts(strings.Split(v, separator))
	}
	if left {
		return s.texts(strings.SplitN(v, separator, int(min(most, itemsMax))+1))
	}
	var parts []string
	for ; most > 0; most-- {
		i := strings.LastIndex(v, separator)
		if i < 0 {
			break
		}
		parts = append(parts, v[i+len(separator):])
		v = v[:i]
	}
	parts = append(parts, v)
	slices.Reverse(parts)
	return s.texts(parts)
}

// splitSpace is str.split() or str.rsplit() without a separator.
func splitSpace(v string, most int64, left bool) (parts []string) {
	if most < 0 {
		return strings.FieldsFunc(v, isSpace)
	}
	trim, cut := strings.TrimLeftFunc, firstWord
	if !left {
		trim, cut = strings.TrimRightFunc, lastWord
	}
	for v = trim(v, isSpace); v != "" && most > 0; v = trim(v, isSpace) {
		var word string
		word, v = cut(v)
		parts = append(parts, word)
		most--
	}
	if v != "" {
		parts = append(parts, v)
	}
	if !left {
		slices.Reverse(parts)
	}
	return parts
}

func firstWord(v string) (word, rest string) {
	if n := strings.IndexFunc(v, isSpace); n >= 0 {
		return v[:n], v[n:]
	}
	return v, ""
}

func lastWord(v string) (word, rest string) {
	n := strings.LastIndexFunc(v, isSpace)
	if n < 0 {
		return v, ""
	}
	_, size := utf8.DecodeRuneInString(v[n:])
	return v[n+size:], v[:n+size]
}

// splitLines is str.splitlines.
func splitLines(v string, keepEnds bool) (lines []string) {
	for start := 0; start < len(v); {
		end := strings.IndexAny(v[start:], "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if end < 0 {
			return append(lines, v[start:])
		}
		end += start
		_, size := utf8.DecodeRuneInString(v[end:])
		next := end + size
		if strings.HasPrefix(v[end:], "\r\n") {
			next = end + 2
		}
		if keepEnds {
			end = next
		}
		lines = append(lines, v[start:end])
		start = next
	}
	return lines
}

// runeIndex counts the characters before byte i.
func runeIndex(v string, i int) any {
	if i < 0 {
		return int64(-1)
	}
	return int64(utf8.RuneCountInString(v[:i]))
}

// title is str.title: a letter behind a character that is none is written large.
func title(v string) string {
	var b strings.Builder
	inWord := false
	for _, r := range v {
		if inWord {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteString(capitalize(string(r)))
		}
		inWord = unicode.IsLetter(r)
	}
	return b.String()
}
