package sample

import (
	"embed"
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// text holds the grammar: lists of words and of sentences.
//
//go:embed text/*.txt
var text embed.FS

// A grammar makes text. It is a set of named lists, whose members are patterns:
//
//	[x|y|z]  one of several patterns, each as likely
//	@name    a random member of a list
//	@name^   the same, with a capital
//	@name*   half the time, a member; else nothing, and no space before it
//	{x} {^x} a value of the scene, as it is or with a capital
//	{#x}     a number of the scene
//	%2-98%   a random number, both ends included
//	a~       an article: it becomes "an" before a vowel
//	_        a space, in a word
//
// It does not change once it is made, and may be shared.
type grammar struct {
	lists [][]pattern
	names map[string]int
	slots map[string]int
}

type pattern []piece

type piece struct {
	kind  pieceKind
	upper bool
	maybe bool
	text  string
	alts  []pattern
	at    int // list or slot
	low   int // of a random number
	span  int // how many numbers there are
}

type pieceKind uint8

const (
	literal pieceKind = iota
	choice
	listed
	slotted
	numbered // a number of the scene
	random   // a random number
	article
)

// scene holds the values that a pattern's braces stand for, by slot.
type scene struct {
	text    [][]byte
	numbers []int
}

// rng draws small integers from a generator that is seeded for one document.
type rng struct{ rand.PCG }

// newRNG returns the generator of one document of a stream.
func newRNG(seed uint64, stream uint32, index int64) *rng {
	r := &rng{}
	r.Seed(scramble(seed^uint64(stream)<<32), scramble(uint64(index)+uint64(stream)))
	return r
}

// scramble is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below returns a number from 0 to n-1. Its bias is n/2^64.
func (r *rng) below(n int) int {
	high, _ := bits.Mul64(r.Uint64(), uint64(n))
	return int(high)
}

// between returns a number from low to high, both included.
func (r *rng) between(low, high int) int { return low + r.below(high-low+1) }

// newGrammar reads the embedded text. Slots are the names that braces may hold.
func newGrammar(slots []string) (*grammar, error) {
	raw := map[string][]string{}
	files, err := text.ReadDir("text")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		data, err := text.ReadFile("text/" + f.Name())
		if err != nil {
			return nil, err
		}
		if f.Name() == "words.txt" {
			readWords(raw, string(data))
		} else {
			readSections(raw, string(data))
		}
	}
	derive(raw)
	return compile(raw, slots)
}

// readWords reads lines of the form "name: word word".
func readWords(raw map[string][]string, data string) {
	for line := range strings.Lines(data) {
		if name, words, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			for _, w := range strings.Fields(words) {
				raw[name] = append(raw[name], strings.ReplaceAll(w, "_", " "))
			}
		}
	}
}

// readSections reads "[name]" and the patterns below it, one a line.
func readSections(raw map[string][]string, data string) {
	name := ""
	for line := range strings.Lines(data) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") && !strings.ContainsAny(line, " |"):
			name = line[1 : len(line)-1]
		case line != "" && !strings.HasPrefix(line, "#"):
			raw[name] = append(raw[name], line)
		}
	}
}

// derive makes names of persons and places from their parts, and plurals.
func derive(raw map[string][]string) {
	join := func(parts ...[]string) []string {
		out := []string{""}
		for _, list := range parts {
			var next []string
			for _, head := range out {
				for _, tail := range list {
					next = append(next, head+tail)
				}
			}
			out = next
		}
		return out
	}
	raw["first_f"] = join(raw["onset"], raw["middle"], raw["ending_f"])
	raw["first_m"] = join(raw["onset"], raw["middle"], raw["ending_m"])
	raw["family"] = join(raw["family_head"], raw["family_tail"])
	raw["place_name"] = join(raw["place_head"], raw["place_tail"])
	for _, name := range []string{"thing", "holder", "animal", "job", "weekday"} {
		for _, noun := range raw[name] {
			raw[name+"s"] = append(raw[name+"s"], plural(noun))
		}
	}
}

// plural returns the plural of the lists' regular nouns.
func plural(noun string) string {
	last := noun[len(noun)-1]
	switch {
	case last == 'y' && !vowel(noun[len(noun)-2]):
		return noun[:len(noun)-1] + "ies"
	case strings.IndexByte("sxz", last) >= 0, strings.HasSuffix(noun, "ch"), strings.HasSuffix(noun, "sh"):
		return noun + "es"
	}
	return noun + "s"
}

func vowel(c byte) bool { return strings.IndexByte("aeiouAEIOU", c) >= 0 }

// compiler turns patterns into pieces.
type compiler struct {
	g   *grammar
	src string // what is left of the pattern
	all string // the whole pattern, for messages
}

func compile(raw map[string][]string, slots []string) (*grammar, error) {
	names := slices.Sorted(maps.Keys(raw))
	g := &grammar{names: ranks(names), slots: ranks(slots)}
	c := &compiler{g: g}
	for _, name := range names {
		var list []pattern
		for _, src := range raw[name] {
			c.src, c.all = src, src
			p, err := c.pattern(false)
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		g.lists = append(g.lists, list)
	}
	return g, nil
}

func ranks(names []string) map[string]int {
	out := map[string]int{}
	for i, name := range names {
		out[name] = i
	}
	return out
}

// pattern compiles up to the end or, nested, to the "|" or "]" that ends it.
func (c *compiler) pattern(nested bool) (pattern, error) {
	var out pattern
	for c.src != "" && !(nested && (c.src[0] == '|' || c.src[0] == ']')) {
		p, err := c.piece()
		if err != nil {
			return nil, fmt.Errorf("grammar: %w in %q", err, c.all)
		}
		if n := len(out) - 1; p.kind == literal && n >= 0 && out[n].kind == literal {
			out[n].text += p.text
		} else {
			out = append(out, p)
		}
	}
	return out, nil
}

func (c *compiler) piece() (piece, error) {
	switch {
	case c.src[0] == '[':
		return c.choice()
	case c.src[0] == '{':
		return c.slot()
	case c.src[0] == '@':
		return c.list()
	case c.src[0] == '%' && len(c.src) > 1 && '0' <= c.src[1] && c.src[1] <= '9':
		return c.number()
	case c.src[0] == '~':
		c.src = c.src[1:]
		return piece{kind: article}, nil
	}
	p := piece{text: c.src[:1]}
	c.src = c.src[1:]
	return p, nil
}

func (c *compiler) choice() (piece, error) {
	p := piece{kind: choice}
	for {
		c.src = c.src[1:] // "[" or "|"
		alt, err := c.pattern(true)
		if err != nil {
			return p, err
		}
		if c.src == "" {
			return p, fmt.Errorf("[ is not closed")
		}
		p.alts = append(p.alts, alt)
		if c.src[0] == ']' {
			c.src = c.src[1:]
			return p, nil
		}
	}
}

func (c *compiler) slot() (piece, error) {
	name, rest, ok := strings.Cut(c.src[1:], "}")
	c.src = rest
	p := piece{kind: slotted}
	if strings.HasPrefix(name, "#") {
		p.kind, name = numbered, name[1:]
	}
	name, p.upper = strings.CutPrefix(name, "^")
	at, known := c.g.slots[name]
	if !ok || !known {
		return p, fmt.Errorf("no slot %q", name)
	}
	p.at = at
	return p, nil
}

func (c *compiler) list() (piece, error) {
	n := 1
	for n < len(c.src) && (c.src[n] >= 'a' && c.src[n] <= 'z' || c.src[n] == '_') {
		n++
	}
	name := c.src[1:n]
	c.src = c.src[n:]
	p := piece{kind: listed}
	c.src, p.upper = strings.CutPrefix(c.src, "^")
	c.src, p.maybe = strings.CutPrefix(c.src, "*")
	at, known := c.g.names[name]
	if !known {
		return p, fmt.Errorf("no list %q", name)
	}
	p.at = at
	return p, nil
}

func (c *compiler) number() (piece, error) {
	spec, rest, _ := strings.Cut(c.src[1:], "%")
	c.src = rest
	low, high, ok := strings.Cut(spec, "-")
	from, err1 := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	if !ok || err1 != nil || err2 != nil || to < from {
		return piece{}, fmt.Errorf("no range %q", spec)
	}
	return piece{kind: random, low: from, span: to - from + 1}, nil
}

// list returns the members of a list.
func (g *grammar) list(name string) []pattern { return g.lists[g.names[name]] }

// one appends a random member of a list to dst.
func (g *grammar) one(dst []byte, list []pattern, r *rng, s *scene) []byte {
	return g.render(dst, list[r.below(len(list))], r, s)
}

// render appends text of a pattern to dst.
func (g *grammar) render(dst []byte, p pattern, r *rng, s *scene) []byte {
	open := -1 // where an article waits for its noun
	for i := range p {
		q := &p[i]
		from := len(dst)
		switch q.kind {
		case literal:
			dst = append(dst, q.text...)
		case choice:
			dst = g.render(dst, q.alts[r.below(len(q.alts))], r, s)
		case listed:
			if q.maybe && r.below(2) == 0 {
				if from > 0 && dst[from-1] == ' ' {
					dst = dst[:from-1]
				}
				continue
			}
			dst = g.one(dst, g.lists[q.at], r, s)
		case slotted:
			dst = append(dst, s.text[q.at]...)
		case numbered:
			dst = strconv.AppendInt(dst, int64(s.numbers[q.at]), 10)
		case random:
			dst = strconv.AppendInt(dst, int64(q.low+r.below(q.span)), 10)
		case article:
			open = from
		}
		if q.upper && from < len(dst) && dst[from] >= 'a' && dst[from] <= 'z' {
			dst[from] -= 'a' - 'A'
		}
		if open >= 0 && len(dst) > open+1 {
			if vowel(dst[open+1]) {
				dst = slices.Insert(dst, open, 'n')
			}
			open = -1
		}
	}
	return dst
}
