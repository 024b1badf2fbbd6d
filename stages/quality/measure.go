package quality

import (
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// Measurement is one named number about a document.
type Measurement struct {
	Name string // as in a plan and a drop log
	Doc  string // what it is, one line
	of   func(*Scratch) float64
}

// Value returns the measurement of the text last given to s.Reset.
func (m Measurement) Value(s *Scratch) float64 { return m.of(s) }

// Measurements returns every measurement, in the order of the documentation.
func Measurements() []Measurement { return append([]Measurement(nil), measurements...) }

// findMeasurement returns the measurement of that name.
func findMeasurement(name string) (Measurement, bool) {
	for _, m := range measurements {
		if m.Name == name {
			return m, true
		}
	}
	return Measurement{}, false
}

// Scratch holds one text and what has been measured of it so far. The zero value is ready
// for use; one that is used again needs no new memory unless a text is longer. It is not
// for concurrent use.
type Scratch struct {
	text  string
	known groups

	characters int
	spaceWords spaceStats
	lines      lineStats
	paragraphs segmentStats
	tokens     int
	words      []words.Span
	grams      gramStats

	spans []words.Span
	table interner
}

// Reset makes text the one to measure. The scratch refers to it until the next Reset.
func (s *Scratch) Reset(text string) { s.text, s.known = text, 0 }

// groups is a set of quantities that are computed together.
type groups uint8

const (
	groupCharacters groups = 1 << iota
	groupSpaceWords
	groupLines
	groupParagraphs
	groupTokens
	groupWords
	groupGrams
)

// first reports whether g has not been asked for since Reset, and notes that it has been.
func (s *Scratch) first(g groups) bool {
	first := s.known&g == 0
	s.known |= g
	return first
}

// ratio returns a/b, 0 if b is 0.
func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// characterCount returns the length of the text in code points.
func (s *Scratch) characterCount() int {
	if s.first(groupCharacters) {
		s.characters = utf8.RuneCountInString(s.text)
	}
	return s.characters
}

// length returns the length of a piece of the text in code points.
func (s *Scratch) length(piece string) int {
	if s.characterCount() == len(s.text) {
		return len(piece)
	}
	return utf8.RuneCountInString(piece)
}

// wordSpans returns the words that word_count counts and n-grams are made of: UAX 29 words
// that begin with a letter or a number, as in DCLM's split_words(ignore_punctuation).
func (s *Scratch) wordSpans() []words.Span {
	if !s.first(groupWords) {
		return s.words
	}
	s.words = words.AppendUAX29(s.words[:0], s.text, words.Word)
	kept := s.words[:0]
	for _, span := range s.words {
		if beginsAlnum(span.Of(s.text)) {
			kept = append(kept, span)
		}
	}
	s.words = kept
	return kept
}

func beginsAlnum(w string) bool {
	c := w[0]
	if c >= utf8.RuneSelf {
		r, _ := utf8.DecodeRuneInString(w)
		return unicode.IsLetter(r) || unicode.IsNumber(r)
	}
	return c != '_' // the one ASCII word character that is neither
}

// spaceStats are sums over the words between white space.
type spaceStats struct {
	words      int
	characters int
	alpha      int // words with at least one letter
	stop       int // distinct stop words
	hashes     int // "#" in the text
	ellipses   int // "...", ". . ." and "…" in the text
}

func (s *Scratch) space() *spaceStats {
	if !s.first(groupSpaceWords) {
		return &s.spaceWords
	}
	s.spans = words.AppendSpace(s.spans[:0], s.text)
	st := spaceStats{words: len(s.spans), hashes: strings.Count(s.text, "#")}
	var stop uint8
	for _, span := range s.spans {
		w := span.Of(s.text)
		st.characters += s.length(w)
		if hasLetter(w) {
			st.alpha++
		}
		stop |= stopBit(w)
	}
	st.stop = bits.OnesCount8(stop)
	for _, mark := range ellipses {
		st.ellipses += strings.Count(s.text, mark)
	}
	s.spaceWords = st
	return &s.spaceWords
}

// ellipses are what DCLM counts as one.
var ellipses = [...]string{"...", ". . .", "…"}

// hasLetter reports whether w has a letter (Unicode category L, as in Python's isalpha).
func hasLetter(w string) bool {
	for i, c := range []byte(w) {
		if c >= utf8.RuneSelf {
			return strings.ContainsFunc(w[i:], unicode.IsLetter)
		}
		if c |= 0x20; c >= 'a' && c <= 'z' {
			return true
		}
	}
	return false
}

// stopWords are the eight of Rae et al. 2021, A1.1.
var stopWords = [8]string{"the", "be", "to", "of", "and", "that", "have", "with"}

// stopBit returns the bit of the stop word that w is in lower case, 0 if it is none. Setting
// bit 5 of a byte makes a lower-case letter of the two cases of that letter only.
func stopBit(w string) uint8 {
	switch len(w) {
	case 2:
		switch uint32(w[0]|0x20)<<8 | uint32(w[1]|0x20) {
		case 'b'<<8 | 'e':
			return 1 << 1
		case 't'<<8 | 'o':
			return 1 << 2
		case 'o'<<8 | 'f':
			return 1 << 3
		}
	case 3:
		switch uint32(w[0]|0x20)<<16 | uint32(w[1]|0x20)<<8 | uint32(w[2]|0x20) {
		case 't'<<16 | 'h'<<8 | 'e':
			return 1 << 0
		case 'a'<<16 | 'n'<<8 | 'd':
			return 1 << 4
		}
	case 4:
		switch uint32(w[0]|0x20)<<24 | uint32(w[1]|0x20)<<16 | uint32(w[2]|0x20)<<8 | uint32(w[3]|0x20) {
		case 't'<<24 | 'h'<<16 | 'a'<<8 | 't':
			return 1 << 5
		case 'h'<<24 | 'a'<<16 | 'v'<<8 | 'e':
			return 1 << 6
		case 'w'<<24 | 'i'<<16 | 't'<<8 | 'h':
			return 1 << 7
		}
	}
	return 0
}

// tokenCount returns the number of visible UAX 29 segments.
func (s *Scratch) tokenCount() int {
	if s.first(groupTokens) {
		s.tokens = words.CountUAX29(s.text, words.Any)
	}
	return s.tokens
}
