package match

import (
	"slices"
	"sort"
	"unicode"
	"unicode/utf8"
)

// span is a range of code points, both ends included.
type span struct{ lo, hi rune }

// set is a set of code points as spans that are in order and do not touch.
type set []span

func newSet(spans []span) set {
	slices.SortFunc(spans, func(a, b span) int { return int(a.lo - b.lo) })
	var out set
	for _, s := range spans {
		if n := len(out); n > 0 && s.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, s.hi)
		} else {
			out = append(out, s)
		}
	}
	return out
}

func fromTable(t *unicode.RangeTable) set {
	var spans []span
	add := func(lo, hi, stride rune) {
		if stride == 1 {
			spans = append(spans, span{lo, hi})
			return
		}
		for r := lo; r <= hi; r += stride {
			spans = append(spans, span{r, r})
		}
	}
	for _, r := range t.R16 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	return newSet(spans)
}

func (s set) union(o set) set { return newSet(append(slices.Clone(s), o...)) }

// complement returns what is not in s.
func (s set) complement() set {
	var out set
	next := rune(0)
	for _, r := range s {
		if r.lo > next {
			out = append(out, span{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, span{next, unicode.MaxRune})
	}
	return out
}

func (s set) minus(o set) set { return s.complement().union(o).complement() }

func (s set) has(r rune) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].hi >= r })
	return i < len(s) && s[i].lo <= r
}

// Class is a set of code points made for fast tests. A byte that is not UTF-8 counts as
// U+FFFD.
type Class struct {
	low   [2]uint64     // by ASCII code point
	plane *[1024]uint64 // by code point of the Basic Multilingual Plane
	high  set
}

func newClass(s set) *Class {
	c := &Class{plane: new([1024]uint64)}
	for _, r := range s {
		for x := r.lo; x <= min(r.hi, 0xFFFF); x++ {
			c.plane[x>>6] |= 1 << (x & 63)
		}
		if r.hi > 0xFFFF {
			c.high = append(c.high, span{max(r.lo, 0x10000), r.hi})
		}
	}
	copy(c.low[:], c.plane[:])
	return c
}

// Has tells whether r is in the class.
func (c *Class) Has(r rune) bool {
	if uint32(r) < 1<<16 {
		return c.plane[r>>6]>>(r&63)&1 != 0
	}
	return c.high.has(r)
}

// At returns the length in bytes of the character at text[i], i < len(text), or 0 if it
// is not in the class.
func (c *Class) At(text string, i int) int {
	if b := text[i]; b < utf8.RuneSelf {
		return int(c.low[b>>6] >> (b & 63) & 1)
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	if c.Has(r) {
		return n
	}
	return 0
}

// Run returns the end of the characters of the class that begin at text[i].
func (c *Class) Run(text string, i int) int {
	for i < len(text) {
		n := c.At(text, i)
		if n == 0 {
			break
		}
		i += n
	}
	return i
}

// ParseClass returns the class that a one-character expression stands for, such as
// [\p{L}\p{M}] or \s.
func ParseClass(expression string) (*Class, error) {
	n, err := parse(expression)
	if err != nil {
		return nil, err
	}
	if n.kind != kindClass {
		return nil, &Error{expression, "more than one character"}
	}
	return newClass(n.set), nil
}

// ClassOf returns the class of the code points for which has answers true.
func ClassOf(has func(r rune) bool) *Class {
	var spans []span
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if has(r) {
			spans = append(spans, span{r, r})
		}
	}
	return newClass(newSet(spans))
}
