package tokenize

import (
	"strings"
	"unicode/utf8"

	"bzdata/tokenize/match"
)

// preTokenizer is one pre-tokenizer of a tokenizer.json, made ready. split calls yield with
// the parts of s in order, changed if need be; none is empty.
type preTokenizer interface {
	split(s stretch, yield func(stretch))
}

// behavior says what becomes of what a Split matches.
type behavior uint8

const (
	removed behavior = iota
	isolated
	mergedWithPrevious
	mergedWithNext
	contiguous
)

var behaviors = map[string]behavior{
	"Removed": removed, "Isolated": isolated, "MergedWithPrevious": mergedWithPrevious,
	"MergedWithNext": mergedWithNext, "Contiguous": contiguous,
}

// part is a stretch of a text that is a match or lies between matches.
type part struct {
	start, end int
	match      bool
}

// cutter is Split, and all that cuts by what matches: find calls yield for each match.
type cutter struct {
	find     func(text string, yield func(start, end int) bool)
	behavior behavior
	invert   bool
}

func (c cutter) split(s stretch, yield func(stretch)) {
	parts := c.parts(s.text)
	switch c.behavior {
	case contiguous, mergedWithPrevious:
		parts = joinParts(parts, c.behavior)
	case mergedWithNext:
		parts = joinNext(parts)
	}
	for _, p := range parts {
		if p.start < p.end && !(c.behavior == removed && p.match) {
			yield(s.cut(p.start, p.end))
		}
	}
}

// parts covers the text.
func (c cutter) parts(text string) []part {
	var out []part
	done := 0
	c.find(text, func(start, end int) bool {
		if done != start {
			out = append(out, part{done, start, c.invert})
		}
		out = append(out, part{start, end, !c.invert})
		done = end
		return true
	})
	if done != len(text) {
		out = append(out, part{done, len(text), c.invert})
	}
	return out
}

// joinParts joins what is alike and adjacent, or matches to what comes before them.
func joinParts(parts []part, b behavior) []part {
	var out []part
	before := false
	for _, p := range parts {
		join := p.match && !before
		if b == contiguous {
			join = p.match == before
		}
		before = p.match
		if n := len(out); join && n > 0 {
			out[n-1].end = p.end
		} else {
			out = append(out, p)
		}
	}
	return out
}

// joinNext joins matches to what comes after them.
func joinNext(parts []part) []part {
	at, after := len(parts), false
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		if p.match && !after && at < len(parts) {
			parts[at].start = p.start
		} else {
			at--
			parts[at] = p
		}
		after = p.match
	}
	return parts[at:]
}

// byClass finds the single characters of a class.
func byClass(c *match.Class) func(string, func(int, int) bool) {
	return func(text string, yield func(start, end int) bool) {
		for i := 0; i < len(text); {
			n := c.At(text, i)
			if n == 0 {
				_, n = utf8.DecodeRuneInString(text[i:])
			} else if !yield(i, i+n) {
				return
			}
			i += n
		}
	}
}

// wordsAndRest finds the pieces of Whitespace: runs of word characters, and of what is
// neither that nor a space.
func wordsAndRest(text string, yield func(start, end int) bool) {
	word, space := wordClass(), spaceClass()
	for i := 0; i < len(text); {
		end := word.Run(text, i)
		for end < len(text) && (end == i || word.At(text, i) == 0) && word.At(text, end) == 0 && space.At(text, end) == 0 {
			_, n := utf8.DecodeRuneInString(text[end:])
			end += n
		}
		if end == i {
			_, n := utf8.DecodeRuneInString(text[i:])
			i += n
			continue
		}
		if !yield(i, end) {
			return
		}
		i = end
	}
}

// metaspace is Metaspace: spaces become a mark, one may be put in front, and each mark
// begins a part if cut is set.
type metaspace struct {
	mark   string
	scheme string // always, first or never
	cut    bool
}

func (m metaspace) split(s stretch, yield func(stretch)) {
	begins := s.shift == 0
	s = replace{text: " ", content: m.mark}.normalize(s)
	if !strings.HasPrefix(s.text, m.mark) && (m.scheme == "always" || m.scheme == "first" && begins) {
		s = prepend{m.mark}.normalize(s)
	}
	if !m.cut {
		yield(s)
		return
	}
	cutter{replace{text: m.mark}.matches, mergedWithNext, false}.split(s, yield)
}

// byteLevel is ByteLevel.
type byteLevel struct {
	prefix bool // a space is put in front of what has none
	cut    *cutter
}

func (b byteLevel) split(s stretch, yield func(stretch)) {
	if b.prefix && !strings.HasPrefix(s.text, " ") {
		s = prepend{" "}.normalize(s)
	}
	letters := func(s stretch) { yield(byteLetters{}.normalize(s)) }
	if b.cut == nil {
		letters(s)
		return
	}
	b.cut.split(s, letters)
}

// fixedLength is FixedLength: parts of so many characters.
type fixedLength int

func (length fixedLength) split(s stretch, yield func(stretch)) {
	start, count := 0, 0
	for i := range s.text {
		if count == int(length) {
			yield(s.cut(start, i))
			start, count = i, 0
		}
		count++
	}
	yield(s.cut(start, len(s.text)))
}

// preTokenizers are the steps of a Sequence.
type preTokenizers []preTokenizer

func (list preTokenizers) split(s stretch, yield func(stretch)) {
	if len(list) == 0 {
		yield(s)
		return
	}
	list[0].split(s, func(s stretch) { list[1:].split(s, yield) })
}
