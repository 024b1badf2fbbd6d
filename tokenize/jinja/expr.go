package jinja

import (
	"math"
	"strings"
	"unicode/utf8"
)

// args are the values of a call's arguments.
type args struct {
	args  []any
	named map[string]any
	names []string // of the named ones, in order
}

func (s *state) args(a callArgs) (out args) {
	for _, e := range a.args {
		out.args = append(out.args, e.eval(s))
	}
	for i, name := range a.names {
		if out.named == nil {
			out.named = map[string]any{}
		}
		if _, twice := out.named[name]; twice {
			s.fail("argument %s is given twice", name)
		}
		out.named[name], out.names = a.values[i].eval(s), append(out.names, name)
	}
	return out
}

// take returns the values of parameters given by place or name, nil for those left out, and
// fails if the call has others or lacks one of the first required ones.
func (s *state) take(what string, a args, required int, names ...string) []any {
	if len(a.args) > len(names) {
		s.fail("%s has %d arguments, want %d at most", what, len(a.args), len(names))
	}
	out := make([]any, len(names))
	copy(out, a.args)
	used := 0
	for i, name := range names {
		v, ok := a.named[name]
		switch {
		case ok && i < len(a.args):
			s.fail("%s: argument %s is given twice", what, name)
		case ok:
			out[i] = v
			used++
		case i < required && i >= len(a.args):
			s.fail("%s lacks its argument %s", what, name)
		}
	}
	if used < len(a.named) {
		s.fail("%s has a named argument that is not supported", what)
	}
	return out
}

func (e constExpr) eval(*state) any { return e.value }

func (e nameExpr) eval(s *state) any {
	s.step(0)
	s.line = e.line
	if v, ok := s.vars.find(e.name); ok {
		return v
	}
	if f := globals[e.name]; f != nil {
		return &function{e.name, f}
	}
	return undefined{e.name}
}

// globals are the functions that a template may call.
var globals = map[string]func(s *state, a args) any{
	"namespace": func(s *state, a args) any {
		n := &namespace{map[string]any{}}
		for _, v := range a.args {
			m, ok := v.(*Map)
			if !ok || len(a.args) > 1 {
				s.fail("namespace wants named arguments, or one mapping")
			}
			for key, v := range m.values {
				n.vars[key] = v
			}
		}
		for key, v := range a.named {
			n.vars[key] = v
		}
		return n
	},
	"dict": func(s *state, a args) any {
		if len(a.args) > 0 {
			s.fail("dict with unnamed arguments is not supported")
		}
		m := &Map{}
		for _, key := range a.names {
			m.Set(key, a.named[key])
		}
		return m
	},
	"range": func(s *state, a args) any {
		if len(a.args) == 0 || len(a.args) > 3 || len(a.named) > 0 {
			s.fail("range wants one to three numbers")
		}
		var n [3]int64
		for i, v := range a.args {
			n[i] = s.integer(v, "range")
		}
		switch len(a.args) {
		case 1:
			return s.span(0, n[0], 1)
		case 2:
			return s.span(n[0], n[1], 1)
		}
		return s.span(n[0], n[1], n[2])
	},
	"raise_exception": func(s *state, a args) any {
		s.fail("the template refuses the conversation: %s", s.text(s.take("raise_exception", a, 1, "message")[0]))
		return nil
	},
}

// span is the list of the numbers of a range.
func (s *state) span(from, to, step int64) any {
	if step == 0 {
		s.fail("range with step 0")
	}
	var out []any
	for v := from; step > 0 && v < to || step < 0 && v > to; v += step {
		if len(out) == rangeMax {
			s.fail("range has more than %d numbers", rangeMax)
		}
		out = append(out, v)
		if step > 0 && v > math.MaxInt64-step || step < 0 && v < math.MinInt64-step {
			break
		}
	}
	return s.list(out)
}

func (s *state) integer(v any, what string) int64 {
	i, _, isFloat, ok := number(v)
	if !ok || isFloat {
		s.mustBeDefined(v)
		s.fail("%s wants a whole number, not %s", what, typeName(v))
	}
	return i
}

// str returns a string argument.
func (s *state) str(v any, what string) string {
	out, ok := v.(string)
	if !ok {
		s.mustBeDefined(v)
		s.fail("%s wants a string, not %s", what, typeName(v))
	}
	return out
}

func (s *state) mustBeDefined(v any) {
	if u, ok := v.(undefined); ok {
		s.fail("%s is undefined", u.what)
	}
}

func (e listExpr) eval(s *state) any {
	items := make([]any, len(e.items))
	for i, x := range e.items {
		items[i] = x.eval(s)
	}
	s.line = e.line
	out := s.list(items)
	out.Tuple = e.tuple
	return out
}

func (e dictExpr) eval(s *state) any {
	m := &Map{}
	for i := range e.keys {
		key := e.keys[i].eval(s)
		s.line = e.line
		m.Set(s.str(key, "a key of a mapping"), e.values[i].eval(s))
	}
	return m
}

func (e attrExpr) eval(s *state) any {
	of := e.of.eval(s)
	s.step(0)
	s.line = e.line
	switch v := of.(type) {
	case undefined:
		s.fail("%s is undefined, and has no attribute %s", v.what, e.name)
	case *loopState:
		return v.attr(s, e.name)
	case *namespace:
		if x, ok := v.vars[e.name]; ok {
			return x
		}
		return undefined{"attribute " + e.name + " of the namespace"}
	case *Map:
		if m := s.method(v, e.name); m != nil {
			return m
		}
		if x, ok := v.Get(e.name); ok {
			return x
		}
		return undefined{e.name}
	case *function:
		s.fail("attribute %s of a function is not supported", e.name)
	}
	if m := s.method(of, e.name); m != nil {
		return m
	}
	return undefined{"attribute " + e.name + " of a " + typeName(of)}
}

func (e itemExpr) eval(s *state) any {
	of := e.of.eval(s)
	index := e.index.eval(s)
	s.step(0)
	s.line = e.line
	return s.item(of, index)
}

// item is of[index]: what is not there is undefined, as Jinja2 has it.
func (s *state) item(of, index any) any {
	s.mustBeDefined(of)
	key, isText := index.(string)
	i, _, isFloat, isNumber := number(index)
	switch v := of.(type) {
	case *Map:
		if x, ok := v.Get(key); ok && isText {
			return x
		}
	case *List:
		if isNumber && !isFloat {
			if i < 0 {
				i += int64(len(v.Items))
			}
			if i >= 0 && i < int64(len(v.Items)) {
				return v.Items[i]
			}
		}
	case string:
		if isNumber && !isFloat {
			return s.character(v, i)
		}
	}
	if isText {
		return attrExpr{s.line, constExpr{of}, key}.eval(s)
	}
	return undefined{"the item of a " + typeName(of)}
}

func (s *state) character(v string, i int64) any {
	s.step(len(v) / 64)
	n := int64(utf8.RuneCountInString(v))
	if i < 0 {
		i += n
	}
	if i < 0 || i >= n {
		return undefined{"the character of a string"}
	}
	for ; i > 0; i-- {
		_, size := utf8.DecodeRuneInString(v)
		v = v[size:]
	}
	_, size := utf8.DecodeRuneInString(v)
	return v[:size]
}

func (e sliceExpr) eval(s *state) any {
	of := e.of.eval(s)
	var bounds [3]any
	for i, x := range []expr{e.start, e.end, e.step} {
		if x == nil {
			continue
		}
		s.line = e.line
		if v := x.eval(s); v != nil {
			bounds[i] = s.integer(v, "a slice")
		}
	}
	s.line = e.line
	s.mustBeDefined(of)
	switch v := of.(type) {
	case *List:
		out := s.list(s.slice(v.Items, bounds))
		out.Tuple = v.Tuple
		return out
	case string:
		var b strings.Builder
		for _, c := range s.slice(s.items(v), bounds) {
			b.WriteString(c.(string))
		}
		return s.made(b.String())
	}
	s.fail("the slice of a %s is not supported", typeName(of))
	return nil
}

// slice is Python's items[start:end:step], nil being a bound left out.
func (s *state) slice(items []any, bounds [3]any) (out []any) {
	n, step := int64(len(items)), int64(1)
	if bounds[2] != nil {
		step = bounds[2].(int64)
	}
	if step == 0 {
		s.fail("a slice with step 0")
	}
	low, high := int64(0), n
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(v any, missing int64) int64 {
		if v == nil {
			return missing
		}
		i := v.(int64)
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	from, to := bound(bounds[0], low), bound(bounds[1], high)
	if step < 0 {
		from, to = bound(bounds[0], high), bound(bounds[1], low)
	}
	step = min(max(step, -n-1), n+1)
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, items[i])
	}
	s.step(len(out))
	return out
}

func (e callExpr) eval(s *state) any {
	fn := e.fn.eval(s)
	a := s.args(e.args)
	s.step(0)
	s.line = e.line
	if name, ok := e.fn.(nameExpr); ok && name.name == "strftime_now" {
		s.fail("strftime_now is not supported: the date of the run would be part of the data")
	}
	f, ok := fn.(*function)
	if !ok {
		s.mustBeDefined(fn)
		s.fail("a %s cannot be called", typeName(fn))
	}
	return f.call(s, a)
}

func (e condExpr) eval(s *state) any {
	switch {
	case truth(e.test.eval(s)):
		return e.then.eval(s)
	case e.not != nil:
		return e.not.eval(s)
	}
	return undefined{"an inline if without else"}
}

func (e notExpr) eval(s *state) any { return !truth(e.of.eval(s)) }

func (e andExpr) eval(s *state) any {
	if v := e.left.eval(s); !truth(v) {
		return v
	}
	return e.right.eval(s)
}

func (e orExpr) eval(s *state) any {
	if v := e.left.eval(s); truth(v) {
		return v
	}
	return e.right.eval(s)
}

func (e compareExpr) eval(s *state) any {
	left := e.first.eval(s)
	for i, op := range e.ops {
		right := e.rest[i].eval(s)
		s.line = e.line
		if !s.compare(op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (s *state) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return s.equal(a, b)
	case "!=":
		return !s.equal(a, b)
	case "<":
		return s.less(a, b, op)
	case ">":
		return s.less(b, a, op)
	case "<=":
		return s.less(a, b, op) || s.equal(a, b)
	case ">=":
		return s.less(b, a, op) || s.equal(a, b)
	case "in":
		return s.contains(b, a)
	}
	return !s.contains(b, a)
}

// contains reports whether v is in a collection.
func (s *state) contains(in, v any) bool {
	switch in := in.(type) {
	case string:
		s.step(len(in) / 64)
		return strings.Contains(in, s.str(v, "in a string"))
	case *List:
		for _, x := range in.Items {
			if s.equal(x, v) {
				return true
			}
		}
		return false
	case *Map:
		key, ok := v.(string)
		_, has := in.values[key]
		return ok && has
	case undefined:
		return false
	}
	s.fail("in a %s is not supported", typeName(in))
	return false
}
