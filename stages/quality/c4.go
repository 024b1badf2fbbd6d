package quality

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// c4Variant is a reading of C4's rules for lines (Raffel et al. 2020, section 2.2).
type c4Variant struct {
	wordsMin       int    // words that a line must have
	wordsAfter     bool   // counted after citations have been removed
	endMarks       string // one of which a line must end with
	spacySentences bool   // sentences are spaCy's, else those of UAX 29
}

var (
	// c4TFDS is clean_page of tensorflow_datasets/text/c4_utils.py, which made C4.
	c4TFDS = c4Variant{wordsMin: 5, wordsAfter: true, endMarks: `.?!"`}
	// c4Datatrove is C4QualityFilter of datatrove 0.10.0 with its defaults.
	c4Datatrove = c4Variant{wordsMin: 3, endMarks: `.?!"'`, spacySentences: true}
)

// c4WordCharactersMax is the length of the longest word that a line may have.
const c4WordCharactersMax = 1000

// c4Policies are what lines of legal notices are known by.
var c4Policies = [...]string{
	"terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
}

// c4Result is what a variant makes of a text. The text is looked at up to the first line for
// which the whole page goes.
type c4Result struct {
	text       []byte // the lines that are left, between "\n"
	sentences  int    // in them
	loremIpsum bool
	brace      bool
	edits      [editKinds]int
}

// c4State is the memory of the variants.
type c4State struct {
	tfds, datatrove c4Result
	tokenizer       words.Spacy
	line, lower     []byte
	spans           []words.Span
}

func (s *Scratch) c4TFDS() *c4Result {
	if s.first(groupC4TFDS) {
		s.c4.run(&s.c4.tfds, s.text, &c4TFDS)
	}
	return &s.c4.tfds
}

func (s *Scratch) c4Datatrove() *c4Result {
	if s.first(groupC4Datatrove) {
		s.c4.run(&s.c4.datatrove, s.text, &c4Datatrove)
	}
	return &s.c4.datatrove
}

// flag is 1 for true, so that a rule can forbid it.
func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// edited returns the text that is left, white space trimmed, and counts the edits.
func (r *c4Result) edited(s *Scratch) string {
	for kind, n := range r.edits {
		s.edits[kind] += n
	}
	return strings.TrimFunc(string(r.text), words.IsSpace)
}

// run fills r.
func (c *c4State) run(r *c4Result, text string, v *c4Variant) {
	*r = c4Result{text: r.text[:0]}
	eachPythonLine(text, func(span words.Span) {
		if r.loremIpsum || r.brace {
			return
		}
		span = words.Trim(text, span)
		line, ok := c.keeps(r, span.Of(text), v)
		if !ok {
			return
		}
		if r.sentences > 0 { // every line has one
			r.text = append(r.text, '\n')
		}
		r.text = append(r.text, line...)
		r.sentences += c.sentences(line, v)
	})
}

// keeps returns a trimmed line without citations, and whether it stays.
func (c *c4State) keeps(r *c4Result, line string, v *c4Variant) (string, bool) {
	c.spans = words.AppendSpace(c.spans[:0], line)
	count := len(c.spans)
	for _, w := range c.spans {
		if w.Len() > c4WordCharactersMax && utf8.RuneCountInString(w.Of(line)) > c4WordCharactersMax {
			r.edits[editLongWord]++
			return "", false
		}
	}
	short := c.withoutCitations(r, line)
	if v.wordsAfter && len(short) != len(line) {
		c.spans = words.AppendSpace(c.spans[:0], short)
		count = len(c.spans)
	}
	line = short
	switch {
	case line == "" || strings.IndexByte(v.endMarks, line[len(line)-1]) < 0 || strings.HasSuffix(line, "..."):
		r.edits[editNoEndMark]++
		return "", false
	case count < v.wordsMin:
		r.edits[editFewWords]++
		return "", false
	}
	return line, c.keepsPhrases(r, line)
}

// keepsPhrases looks for what a line, or a page, is dropped for.
func (c *c4State) keepsPhrases(r *c4Result, line string) bool {
	c.lower = appendLower(c.lower[:0], line)
	lower := string(c.lower)
	switch {
	case strings.Contains(lower, "lorem ipsum"):
		r.loremIpsum = true
		return false
	case strings.Contains(lower, "javascript"):
		r.edits[editJavascript]++
		return false
	case strings.Contains(line, "{"):
		r.brace = true
		return false
	}
	for _, policy := range c4Policies {
		if strings.Contains(lower, policy) {
			r.edits[editPolicy]++
			return false
		}
	}
	return true
}

// appendLower appends s with ASCII letters in lower case. The Kelvin sign is the one other
// character whose lower case, in Python, is an ASCII letter.
func appendLower(dst []byte, s string) []byte {
	const kelvin = "\u212a"
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c|0x20)
		case c == kelvin[0] && strings.HasPrefix(s[i:], kelvin):
			dst = append(dst, 'k')
			i += len(kelvin) - 1
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// withoutCitations returns a line without what Python's \[\d*\]|\[edit\]|\[citation needed\]
// matches. It is valid until the next call.
func (c *c4State) withoutCitations(r *c4Result, line string) string {
	if strings.IndexByte(line, '[') < 0 {
		return line
	}
	c.line = c.line[:0]
	for len(line) > 0 {
		at := strings.IndexByte(line, '[')
		if at < 0 {
			at = len(line)
		}
		c.line = append(c.line, line[:at]...)
		line = line[at:]
		n := citationLength(line)
		if n > 0 {
			r.edits[editCitation]++
		} else if line != "" {
			c.line, n = append(c.line, '['), 1
		}
		line = line[n:]
	}
	return string(c.line)
}

// citationLength returns the length of the citation that s starts with, 0 if there is none.
func citationLength(s string) int {
	for _, whole := range [...]string{"[edit]", "[citation needed]"} {
		if strings.HasPrefix(s, whole) {
			return len(whole)
		}
	}
	for i, r := range s {
		switch {
		case i == 0 && r == '[', i > 0 && unicode.IsDigit(r):
		case i > 0 && r == ']':
			return i + 1
		default:
			return 0
		}
	}
	return 0
}

// sentences counts the sentences of a line that stays.
func (c *c4State) sentences(line string, v *c4Variant) int {
	if v.spacySentences {
		return c.tokenizer.Sentences(line)
	}
	return words.CountSentences(line)
}
