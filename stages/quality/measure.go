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
	words      []words.Span
	grams      gramStats
	datatrove  datatroveStats
	spacyGrams gramStats
	joined     joinedGrams
	c4         c4State
	dclm       dclmState
	madladSums madladStats
	codeSums   codeStats

	spans []words.Span
	table interner
	edits [editKinds]int
}

// Reset makes text the one to measure. The scratch refers to it until the next Reset.
func (s *Scratch) Reset(text string) { s.text, s.known = text, 0 }

// groups is a set of quantities that are computed together.
type groups uint32

const (
	groupCharacters groups = 1 << iota
	groupSpaceWords
	groupLines
	groupParagraphs
	groupWords
	groupGrams
	groupSpacy
	groupSpacyWords
	groupSpacyGrams
	groupJoined
	groupPythonLines
	groupPythonLineRepeats
	groupPythonParagraphRepeats
	groupC4TFDS
	groupC4Datatrove
	groupDCLM
	groupMadlad
	groupCode
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
	stopCount  int // stop words
	hashes     int // "#" in the text
	ellipses   int // "...", ". . ." and "…" in the text
}

func (s *Scratch) space() *spaceStats {
	if !s.first(groupSpaceWords) {
		return &s.spaceWords
	}
	s.spans = words.AppendSpace(s.spans[:0], s.text)
	st := spaceStats{words: len(s.spans), characters: s.characterCount(), hashes: strings.Count(s.text, "#")}
	var stop uint16
	gap := 0 // where the white space before the next word starts
	for _, span := range s.spans {
		st.characters -= gapCharacters(s.text[gap:span.Start])
		gap = int(span.End)
		key, whole := lowerKey(s.text, span)
		if letterIn(key) || !whole && hasLetter(span.Of(s.text)) {
			st.alpha++
		}
		slot := stopSlot(key)
		if with := stop | 1<<slot; stopTable[slot] == key {
			stop = with
			st.stopCount++
		}
	}
	st.characters -= gapCharacters(s.text[gap:])
	st.stop = bits.OnesCount16(stop)
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

// stopTable has the key (see lowerKey) of each stop word in its slot, 0 elsewhere.
var stopTable = func() (t [16]uint64) {
	for _, w := range stopWords {
		key, _ := lowerKey(w, words.Span{End: int32(len(w))})
		t[stopSlot(key)] = key
	}
	return t
}()

// stopSlot hashes a key to a slot of stopTable. The factor was found by trial: it gives each
// stop word a slot of its own.
func stopSlot(key uint64) uint64 { return key * 0xa11d459a2f978d87 >> 60 }

// lowerKey returns the last eight bytes of a word, or all of a shorter one, with bit 5 of each
// set, as a little-endian number. Two words of ASCII letters have the same key if they are the
// same but for case; no other character becomes a letter. whole reports whether the key is of
// all of the word and the word is ASCII.
func lowerKey(text string, span words.Span) (key uint64, whole bool) {
	const bit5, high = 0x2020202020202020, 0x8080808080808080
	n, end := span.Len(), int(span.End)
	if end < 8 {
		for i, c := range []byte(text[span.Start:end]) {
			key |= uint64(c|0x20) << (8 * i)
		}
	} else {
		last := text[end-8 : end]
		key = uint64(last[0]) | uint64(last[1])<<8 | uint64(last[2])<<16 | uint64(last[3])<<24 |
			uint64(last[4])<<32 | uint64(last[5])<<40 | uint64(last[6])<<48 | uint64(last[7])<<56
		key = (key | bit5) >> (max(0, 64-8*n) & 63)
	}
	return key, n <= 8 && key&high == 0
}

// letterIn reports whether a key has an ASCII letter. No carry leaves a byte: the sums are
// of seven bits each.
func letterIn(key uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	low := key &^ high
	return (low+(0x80-'a')*ones)&^(low+(0x7f-'z')*ones)&^key&high != 0
}

// gapCharacters returns the length of a stretch of white space in code points.
func gapCharacters(gap string) int {
	if len(gap) <= 1 {
		return len(gap)
	}
	return utf8.RuneCountInString(gap)
}
