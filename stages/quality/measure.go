package quality

import (
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
		st.characters += utf8.RuneCountInString(w)
		if hasLetter(w) {
			st.alpha++
		}
		stop |= stopBit(w)
	}
	for ; stop != 0; stop &= stop - 1 {
		st.stop++
	}
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

// stopBit returns the bit of the stop word that w is in lower case, 0 if it is none.
func stopBit(w string) uint8 {
	if len(w) < 2 || len(w) > 4 {
		return 0
	}
	for i, stop := range stopWords {
		if len(stop) == len(w) && w[0]|0x20 == stop[0] && strings.EqualFold(w, stop) {
			return 1 << i
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
