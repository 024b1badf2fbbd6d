package quality

import (
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// datatroveStats are what datatrove 0.10.0's GopherQualityFilter and GopherRepetitionFilter
// measure. Their words are spaCy's English tokens, see [words.Spacy].
type datatroveStats struct {
	tokenizer words.Spacy
	tokens    []words.Span

	words      int // tokens with a character that is not in PUNCTUATION_SET
	characters int // of those
	alpha      int // tokens with a letter
	stop       int // distinct stop words, in lower case only

	lines, bullets, ellipses int // of str.splitlines()

	lineRepeats, paragraphRepeats repeatStats
}

// repeatStats are sums over the pieces of a text, in which second and later copies count as
// duplicate (datatrove's find_duplicates).
type repeatStats struct {
	count           int
	duplicates      int
	duplicateLength int // in characters
}

// fraction returns the share of the pieces that are second or later copies.
func (r *repeatStats) fraction() float64 { return ratio(r.duplicates, r.count) }

// charFraction returns their characters per character of the text.
func (r *repeatStats) charFraction(s *Scratch) float64 {
	return ratio(r.duplicateLength, s.characterCount())
}

// datatroveEllipsisRatio returns the number of "..." and "…" per token.
func (s *Scratch) datatroveEllipsisRatio() float64 {
	return ratio(strings.Count(s.text, "...")+strings.Count(s.text, "…"), len(s.datatroveTokens()))
}

// datatroveTokens returns spaCy's tokens.
func (s *Scratch) datatroveTokens() []words.Span {
	if s.first(groupSpacy) {
		s.datatrove.tokens = s.datatrove.tokenizer.Words(s.text)
	}
	return s.datatrove.tokens
}

// datatroveWords returns the sums over the tokens.
func (s *Scratch) datatroveWords() *datatroveStats {
	d := &s.datatrove
	if !s.first(groupSpacyWords) {
		return d
	}
	d.words, d.characters, d.alpha, d.stop = 0, 0, 0, 0
	stop := uint8(0)
	for _, span := range s.datatroveTokens() {
		token := span.Of(s.text)
		if c := token[0] | 0x20; c >= 'a' && c <= 'z' { // as most do
			d.words, d.characters, d.alpha = d.words+1, d.characters+s.length(token), d.alpha+1
			if len(token) <= 4 {
				stop |= stopBit(token)
			}
			continue
		}
		if !allPunctuation(token) {
			d.words, d.characters = d.words+1, d.characters+s.length(token)
		}
		if hasLetter(token) {
			d.alpha++
		}
	}
	d.stop = bits.OnesCount8(stop)
	return d
}

// stopBit returns a bit of its own for each of the stop words, 0 for all else.
func stopBit(token string) uint8 {
	for i, w := range stopWords {
		if token == w {
			return 1 << i
		}
	}
	return 0
}

// punctuation is datatrove 0.10.0's PUNCTUATION without the control characters and without
// what endsTerminal knows (utils/text.py). The full-width digit one is in it there, too.
const punctuation = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"

var asciiPunctuation = func() (t [utf8.RuneSelf]bool) {
	for c := range t {
		t[c] = c < ' ' && c != '\t' && c != '\n' || c == 0x7f || strings.IndexByte(punctuation, byte(c)) >= 0
	}
	t['\t'] = false // range(0, 9) and range(11, 32) leave out 9 and 10
	return t
}()

// allPunctuation reports whether every character of a token is in datatrove's
// PUNCTUATION_SET.
func allPunctuation(token string) bool {
	for _, r := range token {
		if r < utf8.RuneSelf {
			if !asciiPunctuation[r] {
				return false
			}
		} else if r >= 160 && !isTerminal(r) && !strings.ContainsRune(punctuation, r) {
			return false
		}
	}
	return true
}

// datatroveLines returns the sums over the lines of str.splitlines().
func (s *Scratch) datatroveLines() *datatroveStats {
	d := &s.datatrove
	if !s.first(groupPythonLines) {
		return d
	}
	d.lines, d.bullets, d.ellipses = 0, 0, 0
	eachPythonLine(s.text, func(line words.Span) {
		d.lines++
		trimmed := words.Trim(s.text, line).Of(s.text)
		if strings.HasPrefix(trimmed, "•") || strings.HasPrefix(trimmed, "-") {
			d.bullets++
		}
		if strings.HasSuffix(trimmed, "...") || strings.HasSuffix(trimmed, "…") {
			d.ellipses++
		}
	})
	return d
}

// eachPythonLine visits the lines that Python's str.splitlines finds, without their ends.
func eachPythonLine(text string, visit func(line words.Span)) {
	from := 0
	for i := 0; i < len(text); {
		n := 0
		if startsLineEnd[text[i]] {
			n = pythonLineEnd(text, i)
		}
		if n == 0 {
			i++
			continue
		}
		visit(words.Span{Start: int32(from), End: int32(i)})
		i += n
		from = i
	}
	if from < len(text) {
		visit(words.Span{Start: int32(from), End: int32(len(text))})
	}
}

// startsLineEnd marks the bytes with which line ends start.
var startsLineEnd = [256]bool{
	'\n': true, '\v': true, '\f': true, '\r': true, 0x1c: true, 0x1d: true, 0x1e: true, 0xc2: true, 0xe2: true,
}

// pythonLineEnd returns the length of the line end at text[i], 0 if there is none: LF, CR,
// CRLF, VT, FF, the separators U+001C to U+001E, NEL, U+2028 and U+2029.
func pythonLineEnd(text string, i int) int {
	c := text[i]
	switch rest := text[i:]; {
	case c == '\r' && len(rest) > 1 && rest[1] == '\n':
		return 2
	case c >= '\n' && c <= '\r', c >= 0x1c && c <= 0x1e:
		return 1
	case strings.HasPrefix(rest, "\u0085"):
		return 2
	case strings.HasPrefix(rest, "\u2028"), strings.HasPrefix(rest, "\u2029"):
		return 3
	}
	return 0
}

// datatroveRepeatedLines returns the sums over the pieces between runs of "\n", of which the
// first and the last may be empty.
func (s *Scratch) datatroveRepeatedLines() *repeatStats {
	st := &s.datatrove.lineRepeats
	if s.first(groupPythonLineRepeats) {
		*st = s.repeats(words.Span{End: s.textEnd()}, 1)
	}
	return st
}

// datatroveRepeatedParagraphs returns the sums over the pieces of the trimmed text between
// runs of two or more "\n".
func (s *Scratch) datatroveRepeatedParagraphs() *repeatStats {
	st := &s.datatrove.paragraphRepeats
	if s.first(groupPythonParagraphRepeats) {
		*st = s.repeats(words.Trim(s.text, words.Span{End: s.textEnd()}), 2)
	}
	return st
}

// textEnd is the end of the text for spans.
func (s *Scratch) textEnd() int32 { return int32(min(len(s.text), words.TextBytesMax)) }

// repeats cuts a piece of the text at runs of at least so many "\n" and sums up the parts.
func (s *Scratch) repeats(whole words.Span, newlines int) (st repeatStats) {
	text, from := whole.Of(s.text), 0
	s.table.reset(strings.Count(text, "\n") + 1)
	for at := 0; ; {
		next := strings.IndexByte(text[at:], '\n')
		end, run := len(text), 0
		if next >= 0 {
			end = at + next
			run = len(text[end:]) - len(strings.TrimLeft(text[end:], "\n"))
			if at = end + run; run < newlines {
				continue
			}
		}
		part := words.Span{Start: whole.Start + int32(from), End: whole.Start + int32(end)}
		st.count++
		if _, seen := s.table.add(s.text, part); seen {
			st.duplicates++
			st.duplicateLength += s.length(part.Of(s.text))
		}
		if from = at; next < 0 {
			return st
		}
	}
}

// isTerminal reports whether r is one of the 159 characters of datatrove's
// TERMINAL_PUNCTUATION: see endsTerminal.
func isTerminal(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '.' || r == '!' || r == '?'
	}
	switch r {
	case '\u17d4', '\u17d5', '\u17d6', '\u17d9', '\u17da':
		return true
	}
	return unicode.Is(unicode.STerm, r)
}
