package words

import (
	"unicode"
	"unicode/utf8"

	uax29 "github.com/clipperhouse/uax29/v2/words"
)

// Class tells the segments of Unicode Standard Annex 29 apart. Classes are bits, to be
// combined when several are wanted.
type Class uint8

// The classes of segments. White space and control characters have none.
const (
	Word   Class = 1 << iota // has a letter or a number (Unicode categories L, N)
	Symbol                   // no Word, but has a symbol (category S): "€", "+", an emoji
	Punct                    // anything else that is visible
	Any    = Word | Symbol | Punct
)

// AppendUAX29 appends text's word segments of the wanted classes by the default rules of
// Unicode Standard Annex 29 section 4. Segments hold no white space: "can't stop, €5" is
// "can't", "stop", ",", "€" and "5".
func AppendUAX29[T Text](dst []Span, text T, want Class) []Span {
	if want == Word {
		return scanUAX29(dst, view(text), bestKernel())
	}
	s := segmenter{text: view(text)}
	for s.next() {
		if s.class&want != 0 {
			dst = append(dst, Span{int32(s.start), int32(s.end)})
		}
	}
	return dst
}

// CountUAX29 returns how many spans [AppendUAX29] would append.
func CountUAX29[T Text](text T, want Class) int {
	n := 0
	s := segmenter{text: view(text)}
	for s.next() {
		if s.class&want != 0 {
			n++
		}
	}
	return n
}

// segmenter walks over the segments of a text. Of ASCII it takes care itself; a segment
// that ends next to a byte beyond ASCII, or whose end depends on one, it leaves to the
// library, starting at the segment's start. That is sound because no rule of the annex
// looks back over a boundary.
type segmenter struct {
	text       string
	start, end int
	class      Class
	library    *uax29.Iterator[string] // nil until it is needed
}

// Kinds of ASCII bytes in the word rules of the annex; the bits of a middle byte say which
// neighbours it joins.
const (
	kindLetter = 1 << iota
	kindDigit
	kindUnderscore // ExtendNumLet: goes with letters and digits on either side
	joinsLetters   // : . '
	joinsDigits    // , ; . '
	kindSymbol
	kindSilent // white space and controls: no segment of ours
)

// asciiKind classes each ASCII byte; 0 is punctuation that joins nothing.
var asciiKind = func() (kind [utf8.RuneSelf]uint8) {
	for c := range rune(utf8.RuneSelf) {
		switch {
		case unicode.IsLetter(c):
			kind[c] = kindLetter
		case unicode.IsDigit(c):
			kind[c] = kindDigit
		case unicode.IsSymbol(c):
			kind[c] = kindSymbol
		case IsSpace(c) || unicode.IsControl(c):
			kind[c] = kindSilent
		}
	}
	kind['_'] = kindUnderscore
	kind[':'], kind[','], kind[';'] = joinsLetters, joinsDigits, joinsDigits
	kind['.'], kind['\''] = joinsLetters|joinsDigits, joinsLetters|joinsDigits
	return kind
}()

// next moves to the next segment that has a class and reports whether there is one.
func (s *segmenter) next() bool {
	for s.end < len(s.text) {
		s.start, s.class = s.end, 0
		if c := s.text[s.start]; c >= utf8.RuneSelf || !s.nextASCII(asciiKind[c]) {
			s.nextLibrary()
		}
		if s.class != 0 {
			return true
		}
	}
	return false
}

// nextASCII finds the end and class of the segment at s.start, whose first byte is of the
// given kind, and reports whether the bytes around it allowed that.
func (s *segmenter) nextASCII(kind uint8) bool {
	end := s.start + 1
	if kind&(kindLetter|kindDigit|kindUnderscore) != 0 {
		return s.nextRun()
	}
	if end < len(s.text) && s.text[end] >= utf8.RuneSelf {
		return false
	}
	switch s.end = end; kind {
	case kindSymbol:
		s.class = Symbol
	case kindSilent:
	default:
		s.class = Punct
	}
	return true
}

// nextRun is nextASCII for a segment that starts with a letter, a digit or "_".
func (s *segmenter) nextRun() bool {
	const run = kindLetter | kindDigit | kindUnderscore
	var seen uint8
	for i := s.start; ; {
		var last uint8
		for ; i < len(s.text); i++ {
			c := s.text[i]
			if c >= utf8.RuneSelf {
				return false
			}
			k := asciiKind[c]
			if k&run == 0 {
				break
			}
			seen, last = seen|k, k
		}
		s.end = i
		if i+1 >= len(s.text) || asciiKind[s.text[i]]&(joinsLetters|joinsDigits) == 0 {
			break
		}
		after := s.text[i+1]
		if after >= utf8.RuneSelf {
			return false
		}
		// joinsLetters and joinsDigits are kindLetter and kindDigit three bits up.
		if last&asciiKind[after]&(asciiKind[s.text[i]]>>3) == 0 {
			break
		}
		i++
	}
	s.class = Punct
	if seen&(kindLetter|kindDigit) != 0 {
		s.class = Word
	}
	return true
}

// nextLibrary finds the end and class of the segment at s.start by the library.
func (s *segmenter) nextLibrary() {
	if s.library == nil {
		s.library = uax29.FromString("")
	}
	s.library.SetText(s.text[s.start:])
	s.library.Next()
	s.end = s.start + max(1, s.library.End())
	s.class = classOf(s.text[s.start:s.end])
}

// classOf returns the class of one segment, 0 for white space and controls. A mark after
// white space belongs to its segment and is left out with it.
func classOf(segment string) (class Class) {
	for i, r := range segment {
		switch {
		case i == 0 && IsSpace(r):
			return 0
		case unicode.IsLetter(r) || unicode.IsNumber(r):
			return Word
		case unicode.IsSymbol(r):
			class = Symbol
		case class == 0 && !unicode.IsControl(r):
			class = Punct
		}
	}
	return class
}
