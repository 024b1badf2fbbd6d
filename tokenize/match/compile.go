package match

import "strings"

type op uint8

const (
	opClass op = iota // one character of class
	opLoop            // min to max characters of class
	opSplit           // next first, then other
	opJump            // to next
	opLook            // the program from next must accept here, or must not; then other
	opLineStart
	opLineEnd
	opTextStart
	opTextEnd
	opAccept
)

// instruction is one step of a program; the next one follows it but where next says.
type instruction struct {
	op          op
	class       *Class
	min, max    int // max −1 for no bound
	possessive  bool
	negative    bool
	next, other int
	memo        int // number among those that remember failures, of opLoop, opSplit, opLook
}

// instructionsMax bounds a program: repeats are written out.
const instructionsMax = 20000

// Matcher is a compiled expression. It is immutable and safe for concurrent use.
type Matcher struct {
	expression string
	program    []instruction
	memos      int
	first      *Class // what a match can begin with; nil for anything
	classes    map[string]*Class
}

// Compile reads an expression. A construct outside the supported part is an [*Error].
func Compile(expression string) (*Matcher, error) {
	n, err := parse(expression)
	if err != nil {
		return nil, err
	}
	m := &Matcher{expression: expression, classes: map[string]*Class{}}
	if err := m.emit(n); err != nil {
		return nil, err
	}
	m.add(instruction{op: opAccept})
	if s, ok := n.first(); ok {
		m.first = m.class(s)
	}
	m.classes = nil
	return m, nil
}

// Literal returns the matcher of a text as it stands. An empty one matches everywhere.
func Literal(text string) *Matcher {
	m := &Matcher{expression: text, classes: map[string]*Class{}}
	for _, r := range text {
		m.add(instruction{op: opClass, class: m.class(set{{r, r}})})
	}
	m.add(instruction{op: opAccept})
	if text != "" {
		m.first = m.program[0].class
	}
	return m
}

// String returns the expression.
func (m *Matcher) String() string { return m.expression }

// class makes a class, once for equal sets.
func (m *Matcher) class(s set) *Class {
	var key strings.Builder
	for _, r := range s {
		key.WriteRune(r.lo)
		key.WriteRune(r.hi)
	}
	c, ok := m.classes[key.String()]
	if !ok {
		c = newClass(s)
		m.classes[key.String()] = c
	}
	return c
}

func (m *Matcher) add(in instruction) int {
	switch in.op {
	case opLoop, opSplit, opLook:
		in.memo = m.memos
		m.memos++
	}
	m.program = append(m.program, in)
	return len(m.program) - 1
}

func (m *Matcher) emit(n *node) error {
	if len(m.program) > instructionsMax {
		return &Error{m.expression, "a program of so many steps"}
	}
	simple := map[kind]op{
		kindLineStart: opLineStart, kindLineEnd: opLineEnd, kindTextStart: opTextStart, kindTextEnd: opTextEnd,
	}
	switch n.kind {
	case kindEmpty:
	case kindClass:
		m.add(instruction{op: opClass, class: m.class(n.set)})
	case kindConcat:
		for _, s := range n.subs {
			if err := m.emit(s); err != nil {
				return err
			}
		}
	case kindAlternate:
		return m.emitAlternate(n.subs)
	case kindRepeat:
		return m.emitRepeat(n)
	case kindLook:
		at := m.add(instruction{op: opLook, negative: n.negative})
		if err := m.emit(n.subs[0]); err != nil {
			return err
		}
		m.add(instruction{op: opAccept})
		m.program[at].next, m.program[at].other = at+1, len(m.program)
	default:
		m.add(instruction{op: simple[n.kind]})
	}
	return nil
}

func (m *Matcher) emitAlternate(subs []*node) error {
	var ends []int
	for i, s := range subs {
		split := -1
		if i < len(subs)-1 {
			split = m.add(instruction{op: opSplit})
			m.program[split].next = split + 1
		}
		if err := m.emit(s); err != nil {
			return err
		}
		if split >= 0 {
			ends = append(ends, m.add(instruction{op: opJump}))
			m.program[split].other = len(m.program)
		}
	}
	for _, at := range ends {
		m.program[at].next = len(m.program)
	}
	return nil
}

func (m *Matcher) emitRepeat(n *node) error {
	sub := n.subs[0]
	if sub.kind == kindClass && n.mode != lazy {
		m.add(instruction{op: opLoop, class: m.class(sub.set), min: n.min, max: n.max, possessive: n.mode == possessive})
		return nil
	}
	for range n.min {
		if err := m.emit(sub); err != nil {
			return err
		}
	}
	var splits []int
	for i := n.min; i < n.max || n.max < 0; i++ {
		splits = append(splits, m.add(instruction{op: opSplit}))
		if err := m.emit(sub); err != nil {
			return err
		}
		if n.max < 0 {
			m.add(instruction{op: opJump, next: splits[0]})
			break
		}
	}
	for _, at := range splits {
		in := &m.program[at]
		in.next, in.other = at+1, len(m.program)
		if n.mode == lazy {
			in.next, in.other = in.other, in.next
		}
	}
	return nil
}

// first returns what a match of n can begin with; false if it can be empty or begin
// with an assertion.
func (n *node) first() (set, bool) {
	switch n.kind {
	case kindClass:
		return n.set, true
	case kindConcat:
		var out set
		for _, s := range n.subs {
			f, ok := s.first()
			if !ok && (s.kind != kindRepeat || s.min > 0) {
				return nil, false
			}
			if !ok {
				if f, ok = s.subs[0].first(); !ok {
					return nil, false
				}
				out = out.union(f)
				continue
			}
			return out.union(f), true
		}
		return nil, false
	case kindAlternate:
		var out set
		for _, s := range n.subs {
			f, ok := s.first()
			if !ok {
				return nil, false
			}
			out = out.union(f)
		}
		return out, true
	case kindRepeat:
		if n.min > 0 {
			return n.subs[0].first()
		}
	}
	return nil, false
}
