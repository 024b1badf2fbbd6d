package jinja

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits bound what rendering may use.
type Limits struct {
	// TextBytes bounds the text, and every string on the way; 16 MiB if 0.
	TextBytes int
	// Steps bounds the work: about the nodes evaluated, plus the items of lists and the bytes of
	// strings made, in units of 16; 20 million if 0, about a second. It bounds the memory, too.
	Steps int
}

// Limits that are used if none are given.
const (
	defaultTextBytes = 16 << 20
	defaultSteps     = 20_000_000
	itemsMax         = 1 << 20 // of a list
	rangeMax         = 100_000 // as the sandbox of Jinja2 has it
)

// Span is a part of the text, in bytes.
type Span struct{ Start, End int }

// ItemSpan is what the body of a loop wrote for one item. Only loops that write the text
// itself count, not those inside of a macro or a block that is captured.
type ItemSpan struct {
	Span
	Item any
}

// Output is a rendered template.
type Output struct {
	Text string
	// Generations are the texts of generation blocks.
	Generations []Span
	// Items are the parts that loops over mappings wrote, in the order in which they ended.
	Items []ItemSpan
}

// Render writes the template with the given variables. Strings, numbers, lists and maps in
// them are not changed. Errors are *[Error].
func (t *Template) Render(vars map[string]any, limits Limits) (out Output, err error) {
	s := &state{name: t.name, limits: limits, vars: &scope{vars: maps.Clone(vars)}}
	if s.limits.TextBytes == 0 {
		s.limits.TextBytes = defaultTextBytes
	}
	if s.limits.Steps == 0 {
		s.limits.Steps = defaultSteps
	}
	if s.vars.vars == nil {
		s.vars.vars = map[string]any{}
	}
	defer func() {
		if e := caught(recover()); e != nil {
			out, err = Output{}, e
		}
	}()
	s.run(t.body)
	s.out.Text = s.text0.String()
	return s.out, nil
}

type jump byte

const (
	jumpNone jump = iota
	jumpBreak
	jumpContinue
)

// scope holds variables; names that it lacks are those of its parent.
type scope struct {
	vars   map[string]any
	parent *scope
}

func (c *scope) find(name string) (any, bool) {
	for ; c != nil; c = c.parent {
		if v, ok := c.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// state is one rendering. Its methods panic with *Error.
type state struct {
	name   string
	line   int
	limits Limits
	steps  int
	depth  int
	vars   *scope
	jump   jump

	text0   strings.Builder  // the text
	capture *strings.Builder // what is written instead, inside of a macro or a captured block
	out     Output
}

func (s *state) fail(format string, args ...any) {
	panic(&Error{s.name, max(1, s.line), fmt.Sprintf(format, args...)})
}

// step counts work.
func (s *state) step(n int) {
	if s.steps += 1 + n; s.steps > s.limits.Steps {
		s.fail("rendering takes more than %d steps", s.limits.Steps)
	}
}

// limit bounds the bytes of a string and the depth of a value.
func (s *state) limit(n, depth int) {
	if n > s.limits.TextBytes {
		s.fail("a text becomes longer than %d bytes", s.limits.TextBytes)
	}
	if depth > depthMax {
		s.fail("a value is nested deeper than %d levels", depthMax)
	}
}

// made counts a string that was made, and returns it.
func (s *state) made(v string) string {
	s.limit(len(v), 0)
	s.step(len(v) / 16)
	return v
}

// list counts a list that was made, and returns it.
func (s *state) list(items []any) *List {
	if len(items) > itemsMax {
		s.fail("a list becomes longer than %d items", itemsMax)
	}
	s.step(len(items))
	return &List{Items: items}
}

func (s *state) write(v string) {
	b := s.capture
	if b == nil {
		b = &s.text0
	}
	s.limit(b.Len()+len(v), 0)
	s.step(len(v) / 16)
	b.WriteString(v)
}

func (s *state) run(nodes []node) {
	for _, n := range nodes {
		if s.jump != jumpNone {
			return
		}
		s.step(0)
		n.exec(s)
	}
}

// within runs nodes with variables of their own.
func (s *state) within(vars map[string]any, nodes []node) {
	outer := s.vars
	s.vars = &scope{vars, outer}
	s.run(nodes)
	s.vars = outer
}

// captured returns what nodes write.
func (s *state) captured(vars map[string]any, nodes []node) string {
	var b strings.Builder
	outer := s.capture
	s.capture = &b
	s.within(vars, nodes)
	s.capture = outer
	return b.String()
}

func (n textNode) exec(s *state) { s.write(n.text) }

func (n outputNode) exec(s *state) {
	s.line = n.line
	s.write(s.text(n.value.eval(s)))
}

func (n ifNode) exec(s *state) {
	s.line = n.line
	if truth(n.test.eval(s)) {
		s.run(n.then)
	} else {
		s.run(n.not)
	}
}

func (n jumpNode) exec(s *state) { s.jump = n.jump }

func (n forNode) exec(s *state) {
	s.line = n.line
	items := s.items(n.over.eval(s))
	if n.filter != nil {
		items = s.kept(n, items)
	}
	loop := &loopState{items: items}
	for i, item := range items {
		loop.at = i
		s.step(0)
		vars := map[string]any{"loop": loop}
		s.line = n.line
		s.unpack(n.target, item, vars)
		start := s.text0.Len()
		s.within(vars, n.body)
		if _, isMap := item.(*Map); isMap && s.capture == nil && s.text0.Len() > start {
			s.out.Items = append(s.out.Items, ItemSpan{Span{start, s.text0.Len()}, item})
		}
		stop := s.jump == jumpBreak
		s.jump = jumpNone
		if stop {
			return
		}
	}
	if len(items) == 0 {
		s.within(map[string]any{}, n.none)
	}
}

// kept are the items for which the loop's condition holds.
func (s *state) kept(n forNode, items []any) (out []any) {
	outer := s.vars
	for _, item := range items {
		s.step(0)
		vars := map[string]any{}
		s.unpack(n.target, item, vars)
		s.vars = &scope{vars, outer}
		if truth(n.filter.eval(s)) {
			out = append(out, item)
		}
	}
	s.vars = outer
	return out
}

// unpack assigns a value to the names of a target.
func (s *state) unpack(t target, v any, vars map[string]any) {
	if !t.tuple {
		vars[t.names[0]] = v
		return
	}
	items := s.items(v)
	if len(items) != len(t.names) {
		s.fail("%d values for the %d names %s", len(items), len(t.names), strings.Join(t.names, ", "))
	}
	for i, name := range t.names {
		vars[name] = items[i]
	}
}

func (n setNode) exec(s *state) {
	s.line = n.line
	v := n.value.eval(s)
	if n.target.attr == "" {
		s.unpack(n.target, v, s.vars.vars)
		return
	}
	of, _ := s.vars.find(n.target.names[0])
	ns, ok := of.(*namespace)
	if !ok {
		s.fail("set of an attribute of %s, which is no namespace", n.target.names[0])
	}
	ns.vars[n.target.attr] = v
}

func (n setBlockNode) exec(s *state) {
	s.line = n.line
	var v any = s.captured(map[string]any{}, n.body)
	for _, f := range n.filters {
		v = s.filter(f, v)
	}
	s.vars.vars[n.name] = v
}

func (n generationNode) exec(s *state) {
	start := s.text0.Len()
	s.within(map[string]any{}, n.body)
	if s.capture == nil {
		s.out.Generations = append(s.out.Generations, Span{start, s.text0.Len()})
	}
}

func (n macroNode) exec(s *state) {
	home := s.vars
	call := func(s *state, a args) any {
		if s.depth++; s.depth > depthMax {
			s.fail("macros call each other deeper than %d levels", depthMax)
		}
		outer := s.vars
		vars := s.bind(n, a, home)
		s.vars = home
		text := s.captured(vars, n.body)
		s.vars = outer
		s.depth--
		return text
	}
	s.vars.vars[n.name] = &function{n.name, call}
}

// bind gives the parameters of a macro their values.
func (s *state) bind(n macroNode, a args, home *scope) map[string]any {
	vars := map[string]any{}
	if len(a.args) > len(n.params) {
		s.fail("macro %s has %d arguments, want %d at most", n.name, len(a.args), len(n.params))
	}
	for name := range a.named {
		if i := slices.Index(n.params, name); i < len(a.args) {
			s.fail("macro %s takes no argument %s here", n.name, name)
		}
	}
	inner := &scope{vars, home}
	for i, name := range n.params {
		v, given := a.named[name]
		switch first := len(n.params) - len(n.defaults); {
		case i < len(a.args):
			v = a.args[i]
		case given:
		case i >= first:
			outer := s.vars
			s.vars = inner
			v = n.defaults[i-first].eval(s)
			s.vars = outer
		default:
			v = undefined{name}
		}
		vars[name] = v
	}
	return vars
}

// loopState is the variable loop.
type loopState struct {
	items []any
	at    int
}

func (l *loopState) attr(s *state, name string) any {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.at + 1)
	case "index0":
		return int64(l.at)
	case "revindex":
		return int64(n - l.at)
	case "revindex0":
		return int64(n - l.at - 1)
	case "first":
		return l.at == 0
	case "last":
		return l.at == n-1
	case "length":
		return int64(n)
	case "previtem":
		if l.at > 0 {
			return l.items[l.at-1]
		}
		return undefined{"there is no previous item"}
	case "nextitem":
		if l.at+1 < n {
			return l.items[l.at+1]
		}
		return undefined{"there is no next item"}
	case "cycle":
		return &function{"loop.cycle", func(s *state, a args) any {
			if len(a.args) == 0 || len(a.named) > 0 {
				s.fail("loop.cycle wants arguments without names")
			}
			return a.args[l.at%len(a.args)]
		}}
	}
	s.fail("loop.%s is not supported", name)
	return nil
}
