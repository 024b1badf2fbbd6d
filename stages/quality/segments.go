package quality

import (
	"strings"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// segmentStats are sums over the lines or paragraphs of a text, white space trimmed and
// blank ones left out, as in DCLM's split_paragraphs.
type segmentStats struct {
	count           int
	characters      int
	duplicates      int // segments that occur more than once, every copy counted
	duplicateLength int // their characters
}

// lineStats add what FineWeb's rules need, which look at lines untrimmed.
type lineStats struct {
	segmentStats
	bullets  int // trimmed lines that start with ● • * -
	ellipses int // trimmed lines that end with ... or . . . or …

	punct        int // lines that end in terminal punctuation
	short        int // lines of at most shortLineMax characters
	repeatLength int // characters of second and later copies of a line
	newlines     int
}

// shortLineMax is the length up to which FineWeb calls a line short, in characters
// (datatrove 0.10.0, fineweb_quality_filter.py, short_line_length).
const shortLineMax = 30

// lineStats returns the sums over the text's lines.
func (s *Scratch) line() *lineStats {
	if !s.first(groupLines) {
		return &s.lines
	}
	s.spans = words.AppendLines(s.spans[:0], s.text)
	st := lineStats{newlines: strings.Count(s.text, "\n")}
	s.table.reset(len(s.spans))
	for i, span := range s.spans {
		line := span.Of(s.text)
		if endsTerminal(line) {
			st.punct++
		}
		if len(line) <= utf8.UTFMax*shortLineMax && s.length(line) <= shortLineMax {
			st.short++
		}
		if _, seen := s.table.add(s.text, span); seen {
			st.repeatLength += s.length(line)
		}
		s.spans[i] = words.Trim(s.text, span)
		trimmed := s.spans[i].Of(s.text)
		if startsBullet(trimmed) {
			st.bullets++
		}
		if endsEllipsis(trimmed) {
			st.ellipses++
		}
	}
	st.segmentStats = s.segments()
	s.lines = st
	return &s.lines
}

// paragraph returns the sums over the text's paragraphs.
func (s *Scratch) paragraph() *segmentStats {
	if s.first(groupParagraphs) {
		s.spans = words.AppendParagraphs(s.spans[:0], s.text)
		s.paragraphs = s.segments()
	}
	return &s.paragraphs
}

// segments returns the sums over s.spans.
func (s *Scratch) segments() segmentStats {
	st := segmentStats{count: len(s.spans)}
	s.table.reset(len(s.spans))
	for _, span := range s.spans {
		s.table.add(s.text, span)
	}
	for _, e := range s.table.entries {
		n, count := s.length(e.span.Of(s.text)), int(e.count)
		st.characters += n * count
		if count > 1 {
			st.duplicates += count
			st.duplicateLength += n * count
		}
	}
	return st
}

// repeatedLineFraction returns FineWeb's char_dup_ratio.
func (s *Scratch) repeatedLineFraction() float64 {
	st := s.line()
	return ratio(st.repeatLength, s.characterCount()-st.newlines)
}

// startsBullet reports whether a line starts with one of DCLM's bullets.
func startsBullet(line string) bool {
	return strings.HasPrefix(line, "-") || strings.HasPrefix(line, "*") ||
		strings.HasPrefix(line, "•") || strings.HasPrefix(line, "●")
}

// endsEllipsis reports whether a line ends with an ellipsis.
func endsEllipsis(line string) bool {
	for _, mark := range ellipses {
		if strings.HasSuffix(line, mark) {
			return true
		}
	}
	return false
}

// endsTerminal reports whether a line's last character is terminal punctuation to FineWeb:
// the 159 characters that are Sentence_Terminal in Unicode 15.0 or one of five Khmer signs
// (datatrove 0.10.0, utils/text.py, TERMINAL_PUNCTUATION). Quotation marks are not.
func endsTerminal(line string) bool {
	r, _ := utf8.DecodeLastRuneInString(line)
	return isTerminal(r)
}
