package tokenize

import (
	"sync"
	"unicode/utf8"

	"bzdata/tokenize/match"
)

// Character classes of o200k and its kin. Letters without case and marks count as upper and
// as lower case; a mark is no letter.
const (
	caseUpper   = 1
	caseLower   = 2
	caseBoth    = 4
	caseMark    = 8
	caseNumber  = 16
	caseSpace   = 32
	caseNewline = 64

	asUpper    = caseUpper | caseBoth | caseMark
	asLower    = caseLower | caseBoth | caseMark
	caseLetter = caseUpper | caseLower | caseBoth
)

// classTable holds the class of each character of the Basic Multilingual Plane, and how to
// tell it of the others.
type classTable struct {
	plane  [1 << 16]uint8
	others []classRule
}

type classRule struct {
	class *match.Class
	bits  uint8
}

// newClassTable makes a table of expressions for one character; where several fit, all
// their bits are set.
func newClassTable(rules map[string]uint8) *classTable {
	t := new(classTable)
	for expression, bits := range rules {
		class, err := match.ParseClass(expression)
		if err != nil {
			panic(err) // the expressions are constants
		}
		t.add(class, bits)
	}
	return t
}

// add sets more bits for the characters of a class.
func (t *classTable) add(class *match.Class, bits uint8) {
	t.others = append(t.others, classRule{class, bits})
	for r := range rune(len(t.plane)) {
		if class.Has(r) {
			t.plane[r] |= bits
		}
	}
}

func (t *classTable) compute(r rune) (bits uint8) {
	for _, rule := range t.others {
		if rule.class.Has(r) {
			bits |= rule.bits
		}
	}
	return bits
}

// at returns the class and length of the character at s[i]; a byte that is not UTF-8 counts
// as U+FFFD.
func (t *classTable) at(s string, i int) (uint8, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return t.plane[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if r < 1<<16 {
		return t.plane[r], n
	}
	return t.compute(r), n
}

// run returns the end of the characters from s[i] on that have one of bits.
func (t *classTable) run(s string, i int, bits uint8) int {
	for i < len(s) {
		c, n := t.at(s, i)
		if c&bits == 0 {
			break
		}
		i += n
	}
	return i
}

var caseTable = sync.OnceValue(func() *classTable {
	return newClassTable(map[string]uint8{
		`[\p{Lu}\p{Lt}]`: caseUpper, `\p{Ll}`: caseLower, `[\p{Lm}\p{Lo}]`: caseBoth, `\p{M}`: caseMark,
		`\p{N}`: caseNumber, `\s`: caseSpace, `[\r\n]`: caseNewline,
	})
})

// caseSplitter is o200k, which cuts words where case changes, and tekken, which differs in
// contractions and numbers.
type caseSplitter struct {
	table        *classTable
	digitsMax    int
	contractions bool
}

func (p *caseSplitter) next(s string, i int) int {
	c, n := p.table.at(s, i)
	switch {
	case c&caseLetter != 0:
		return p.word(s, i)
	case c&caseNumber != 0:
		return p.digits(s, i+n)
	}
	var after uint8
	if i+n < len(s) {
		after, _ = p.table.at(s, i+n)
	}
	if c&caseNewline == 0 && (after&(caseLetter|caseMark) != 0 || c&caseMark != 0) {
		if end := p.prefixed(s, i, i+n, c, after); end > 0 {
			return end
		}
	}
	if c&caseSpace == 0 {
		return p.breaks(s, p.symbols(s, i))
	}
	if s[i] == ' ' && i+n < len(s) && after&(caseSpace|caseLetter|caseNumber) == 0 {
		return p.breaks(s, p.symbols(s, i+n))
	}
	return p.spaces(s, i)
}

// prefixed returns the end of a word that begins at s[j], with the character c before it,
// or of one that begins with c, if that is a mark; 0 for none.
func (p *caseSplitter) prefixed(s string, i, j int, c, after uint8) int {
	if after&(caseLetter|caseMark) != 0 {
		end, run := p.lowered(s, j)
		switch {
		case end > 0:
			return p.contraction(s, end)
		case c&caseMark != 0:
			// The mark alone is lower case; what follows is all upper.
			return p.contraction(s, j)
		}
		return p.contraction(s, run)
	}
	if c&caseMark != 0 {
		return p.contraction(s, j)
	}
	return 0
}

// word returns the end of a word that begins with the letter at s[i].
func (p *caseSplitter) word(s string, i int) int {
	end, run := p.lowered(s, i)
	if end == 0 {
		end = run
	}
	return p.contraction(s, end)
}

// lowered returns the end of upper case, if any, and lower case after it, or 0: the run of
// upper case gives back what is needed for one lower case. It also returns the end of that run.
func (p *caseSplitter) lowered(s string, i int) (end, run int) {
	for run = i; run < len(s); {
		c, n := p.table.at(s, run)
		if c&asUpper == 0 {
			if c&caseLower != 0 {
				return p.table.run(s, run+n, asLower), run
			}
			break
		}
		run += n
		if c&asLower != 0 {
			end = run
		}
	}
	return end, run
}

func (p *caseSplitter) contraction(s string, i int) int {
	if p.contractions && i < len(s) && s[i] == '\'' {
		if n := contraction(s[i+1:], true); n > 0 {
			return i + 1 + n
		}
	}
	return i
}

func (p *caseSplitter) digits(s string, i int) int {
	for k := 1; k < p.digitsMax && i < len(s); k++ {
		c, n := p.table.at(s, i)
		if c&caseNumber == 0 {
			break
		}
		i += n
	}
	return i
}

// symbols returns the end of the run of what is no space, letter or number.
func (p *caseSplitter) symbols(s string, i int) int {
	for i < len(s) {
		c, n := p.table.at(s, i)
		if c&(caseSpace|caseLetter|caseNumber) != 0 {
			break
		}
		i += n
	}
	return i
}

func (p *caseSplitter) breaks(s string, i int) int {
	for i < len(s) && (s[i] == '\n' || s[i] == '\r' || s[i] == '/') {
		i++
	}
	return i
}

// spaces returns the end of the piece that begins with the space at s[i].
func (p *caseSplitter) spaces(s string, i int) int {
	end, last, afterBreak := i, i, 0
	for end < len(s) {
		c, n := p.table.at(s, end)
		if c&caseSpace == 0 {
			break
		}
		last = end
		if end += n; c&caseNewline != 0 {
			afterBreak = end
		}
	}
	if afterBreak > 0 {
		return afterBreak
	}
	return lookahead(s, i, end, last)
}
