package dedup

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// SpanOptions say what the spans of a text are and when two are equal.
type SpanOptions struct {
	// Unit is what a span is made of: line, paragraph or sentences.
	Unit string
	// Sentences is the length of a span of sentences.
	Sentences int
	// Compare says when spans are equal: as they stand but for white space at the ends of
	// their units (text), also in lower case (lower), or by their words alone (words).
	Compare string
	// WordsMin is how many words a span must have; shorter ones are never removed.
	WordsMin int
}

// Validate returns an error if the options make no spans.
func (o SpanOptions) Validate() error {
	switch {
	case o.Unit != "line" && o.Unit != "paragraph" && o.Unit != "sentences":
		return fmt.Errorf("unit %q is none of line, paragraph, sentences", o.Unit)
	case o.Compare != "text" && o.Compare != "lower" && o.Compare != "words":
		return fmt.Errorf("compare %q is none of text, lower, words", o.Compare)
	case o.Unit == "sentences" && o.Sentences < 1:
		return fmt.Errorf("%d sentences are no span", o.Sentences)
	}
	return nil
}

// SpanKey is the 128-bit XXH3 hash of a span as it is compared. Among n spans two different
// ones share a key with probability about n*n/2^129: 1.5e-15 at 10^12 spans, some 40 TB of
// lines. XXH3 is no defence against texts made to collide.
type SpanKey [16]byte

// unit is a line, paragraph or sentence of one of the texts; what lies between units is
// white space.
type unit struct {
	text       int
	start, end int32
}

// Spans finds the repeatable spans of one document at a time, and removes some of them. Time
// and memory are linear in the text. It is used by one goroutine.
type Spans struct {
	opts SpanOptions
	// Keys are the spans of the document, in order.
	Keys []SpanKey

	texts   []string
	units   []unit
	first   []int // unit that each span starts with
	removed []bool
	seen    map[SpanKey]bool
	hashes  []byte // of units, 16 bytes each
	words   []int  // of units
	bounds  []words.Span
	buf     []byte
}

// NewSpans returns a finder of spans.
func NewSpans(opts SpanOptions) (*Spans, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Unit != "sentences" {
		opts.Sentences = 1
	}
	return &Spans{opts: opts, seen: map[SpanKey]bool{}}, nil
}

// Cut finds the spans of a document made of texts; none reaches from one text into the
// next. Keys is valid until the next call.
func (s *Spans) Cut(texts ...string) {
	s.texts = append(s.texts[:0], texts...)
	s.units, s.Keys, s.first = s.units[:0], s.Keys[:0], s.first[:0]
	for i, text := range texts {
		from := len(s.units)
		s.cutUnits(i, text)
		s.cutSpans(from)
	}
}

func (s *Spans) cutUnits(i int, text string) {
	switch s.opts.Unit {
	case "line":
		s.bounds = words.AppendLines(s.bounds[:0], text)
	case "paragraph":
		s.bounds = words.AppendParagraphs(s.bounds[:0], text)
	default:
		s.bounds = appendSentences(s.bounds[:0], text)
	}
	for _, b := range s.bounds {
		s.units = append(s.units, unit{i, b.Start, b.End})
	}
}

// cutSpans adds the spans of the units from the given one on. The key of several units is
// the hash of their hashes, so that long spans cost no more than short ones.
func (s *Spans) cutSpans(from int) {
	s.hashes, s.words = s.hashes[:0], s.words[:0]
	n := s.opts.Sentences
	if len(s.units)-from < n {
		return
	}
	inSpan := 0
	for i, u := range s.units[from:] {
		body := words.Span{Start: u.start, End: u.end}
		body = words.Trim(s.texts[u.text], body)
		s.bounds = words.AppendWords(s.bounds[:0], body.Of(s.texts[u.text]))
		hash := Hash128(s.comparable(body.Of(s.texts[u.text])))
		s.hashes, s.words = append(s.hashes, hash[:]...), append(s.words, len(s.bounds))
		inSpan += len(s.bounds)
		if i >= n {
			inSpan -= s.words[i-n]
		}
		if i < n-1 || inSpan < s.opts.WordsMin {
			continue
		}
		if n > 1 {
			hash = Hash128(s.hashes[16*(i+1-n):])
		}
		s.Keys, s.first = append(s.Keys, hash), append(s.first, from+i+1-n)
	}
}

// comparable returns what of a unit is compared, valid until the next call. s.bounds holds
// its words; a unit without any is compared as it stands.
func (s *Spans) comparable(body string) []byte {
	s.buf = s.buf[:0]
	switch {
	case s.opts.Compare == "lower":
		s.buf = appendLower(s.buf, body)
	case s.opts.Compare == "words" && len(s.bounds) > 0:
		for _, w := range s.bounds {
			s.buf = append(appendLower(s.buf, w.Of(body)), ' ')
		}
	default:
		s.buf = append(s.buf, body...)
	}
	return s.buf
}

func appendLower(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst, i = append(dst, c), i+1
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if size == 1 {
			dst = append(dst, c) // no UTF-8: only itself is equal to it
		} else {
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
		}
		i += size
	}
	return dst
}

// seenKept is the size up to which the set of keys is emptied for the next document; a larger
// one is made anew, since emptying takes time for all that it ever held.
const seenKept = 1 << 12

func (s *Spans) forget() {
	if len(s.seen) > seenKept {
		s.seen = map[SpanKey]bool{}
	}
	clear(s.seen)
}

// Distinct calls visit with each key once, at its first span.
func (s *Spans) Distinct(visit func(span int, key SpanKey)) {
	s.forget()
	for i, k := range s.Keys {
		if !s.seen[k] {
			s.seen[k] = true
			visit(i, k)
		}
	}
}

// SpanRemoval counts what [Spans.Remove] took away.
type SpanRemoval struct{ Spans, Units, Bytes int }

// Remove returns the document's texts without its repeated spans: those whose key a former
// span of the document has, and all spans that share the key of one of elsewhere, which are
// first spans of their keys in ascending order. A unit goes if a span that goes covers it. Of
// the stretches of white space around units that go, the one with the most line ends stays,
// with the indentation of what follows; at an end of the text none does. The result is valid
// until the next call of Cut.
func (s *Spans) Remove(elsewhere []int) ([]string, SpanRemoval) {
	s.forget()
	s.removed = append(s.removed[:0], make([]bool, len(s.units))...)
	var r SpanRemoval
	until := 0
	for i, k := range s.Keys {
		if !s.seen[k] {
			s.seen[k] = true
			if len(elsewhere) == 0 || elsewhere[0] != i {
				continue
			}
			elsewhere = elsewhere[1:]
		}
		r.Spans++
		for until = max(until, s.first[i]); until < s.first[i]+s.opts.Sentences; until++ {
			s.removed[until] = true
			r.Units++
		}
	}
	if r.Units == 0 {
		return s.texts, r
	}
	for at, u := 0, 0; at < len(s.texts); at++ {
		to := u
		for to < len(s.units) && s.units[to].text == at {
			to++
		}
		before := len(s.texts[at])
		s.texts[at] = s.assemble(s.texts[at], u, to)
		r.Bytes += before - len(s.texts[at])
		u = to
	}
	return s.texts, r
}

// assemble writes one text anew, whose units are given.
func (s *Spans) assemble(text string, from, to int) string {
	var b strings.Builder
	end, gap, cut := int32(0), "", false // of the units before: their end, white space, whether the last goes
	for i := from; i < to; i++ {
		u := s.units[i]
		own := text[end:u.start]
		if cut {
			own = joinGaps(gap, own)
		}
		end, gap, cut = u.end, own, s.removed[i]
		if cut {
			continue
		}
		if b.Len() > 0 || i == from {
			b.WriteString(gap)
		}
		b.WriteString(text[u.start:u.end])
	}
	if !cut {
		b.WriteString(text[end:])
	}
	return b.String()
}

// joinGaps returns what stays of the white space before and after units that go.
func joinGaps(before, after string) string {
	lines, more := strings.Count(before, "\n"), strings.Count(after, "\n")
	switch {
	case lines < more || lines == more && (lines > 0 || len(before) <= len(after)):
		return after
	case more > 0:
		return before[:strings.LastIndexByte(before, '\n')+1] + after[strings.LastIndexByte(after, '\n')+1:]
	}
	return before
}

// appendSentences appends the sentences of text, trimmed, blank ones left out. A sentence
// ends at a line end, and behind a run of terminators and closing quotes and brackets if it
// holds one of 。！？｡, or else if white space and then no lower-case letter follows. These are
// the main rules of Unicode Standard Annex 29 section 5, kept to those that need no look back,
// so that time is linear in any text. Abbreviations are not known: "Mr. Smith" is two.
func appendSentences(dst []words.Span, text string) []words.Span {
	c := sentenceCutter{dst: dst, text: text, space: -1}
	for i, size := 0, 0; i < len(text); i += size {
		r := rune(text[i])
		if size = 1; r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		c.rune(i, i+size, r)
	}
	c.cut(len(text))
	return c.dst
}

// sentenceCutter is the state of appendSentences.
type sentenceCutter struct {
	dst         []words.Span
	text        string
	from        int  // of the sentence
	ended, wide bool // behind terminators and closers; one of them is wide
	space       int  // where white space behind those began, or -1
}

func (c *sentenceCutter) cut(to int) {
	if s := words.Trim(c.text, words.Span{Start: int32(c.from), End: int32(to)}); s.Len() > 0 {
		c.dst = append(c.dst, s)
	}
	c.from, c.ended, c.wide, c.space = to, false, false, -1
}

// rune takes the character r at [i, end).
func (c *sentenceCutter) rune(i, end int, r rune) {
	switch {
	case r == '\n':
		c.cut(end)
		return
	case words.IsSpace(r):
		if c.ended && c.space < 0 {
			c.space = i
		}
		return
	case c.space >= 0 && (c.wide || !unicode.IsLower(r)):
		c.cut(c.space)
	case c.space >= 0:
		c.ended, c.space = false, -1
	}
	switch {
	case isTerminator(r):
		c.ended, c.wide = true, c.wide || isWideTerminator(r)
	case isCloser(r) && c.ended:
	case c.wide:
		c.cut(i)
	default:
		c.ended = false
	}
}

func isTerminator(r rune) bool {
	switch r {
	case '.', '!', '?', '…', '؟', '।':
		return true
	}
	return isWideTerminator(r)
}

// isWideTerminator reports whether r ends a sentence whatever follows: marks of scripts
// written without spaces.
func isWideTerminator(r rune) bool { return r == '。' || r == '！' || r == '？' || r == '｡' }

func isCloser(r rune) bool {
	switch r {
	case '"', '\'', ')', ']', '}', '”', '’', '»', '」', '』', '）':
		return true
	}
	return false
}
