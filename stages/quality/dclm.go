package quality

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// dclmState is what DCLM's line modifiers make of a text.
type dclmState struct {
	lines   []string
	text    string
	before  int // words in the text
	after   int // words in what is left
	edits   [editKinds]int
	changed bool
}

// dclmWordCount returns the number of words that DCLM counts by default: fastText's tokens,
// cut at ASCII white space, that begin with a letter or a number
// (mlfoundations/dclm, baselines/mappers/core_utils.py, split_words).
func dclmWordCount(text string) (n int) {
	inside := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == ' ' || c >= '\t' && c <= '\r' || c == 0 {
			inside = false
			continue
		}
		if !inside && isAlnumAt(text[i:]) {
			n++
		}
		inside = true
	}
	return n
}

// isAlnumAt reports whether s starts with what Python's isalnum accepts.
func isAlnumAt(s string) bool {
	c := s[0]
	if c < utf8.RuneSelf {
		return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
	}
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r) || unicode.IsNumber(r)
}

// dclm returns what the line modifiers of dclm_baseline_refinedweb.yaml make of the text, in
// their order.
func (s *Scratch) dclmLines() *dclmState {
	d := &s.dclm
	if !s.first(groupDCLM) {
		return d
	}
	d.edits, d.changed = [editKinds]int{}, false
	d.split(s.text)
	d.filter(editUppercase, func(line string) bool { return shareOf(line, isUpper) <= 0.5 })
	d.strip()
	d.filter(editNumeric, func(line string) bool { return shareOf(line, isPythonDigit) <= 0.999999 })
	d.strip()
	d.filter(editCounter, func(line string) bool { return !isCounter(line) })
	d.strip()
	d.filter(editFewWords, func(line string) bool { return line == "" || hasWords(line, 2) })
	d.phrase(func(line string) string { return removeFold(line, "items in cart") })
	d.phrase(func(line string) string { return cutEnd(line, "read more") })
	d.phrase(func(line string) string { return cutStart(line, "sign-in") })
	d.text = s.text
	if d.changed {
		d.text = strings.Join(d.lines, "\n")
	}
	d.before, d.after = dclmWordCount(s.text), dclmWordCount(d.text)
	return d
}

// removed returns the share of the words that are no more.
func (d *dclmState) removed() float64 { return ratio(d.before-d.after, d.before) }

// edited returns the text that is left and counts the edits.
func (d *dclmState) edited(s *Scratch) string {
	for kind, n := range d.edits {
		s.edits[kind] += n
	}
	return d.text
}

// split cuts text at "\n" and leaves one of several blank lines (newline_removal_modifier).
func (d *dclmState) split(text string) {
	d.lines = d.lines[:0]
	for line := range strings.SplitSeq(text, "\n") {
		n := len(d.lines)
		if line == "" && n > 1 && d.lines[n-1] == "" {
			d.changed = true
			continue
		}
		d.lines = append(d.lines, line)
	}
}

// filter leaves the lines that keep wants.
func (d *dclmState) filter(kind editKind, keep func(string) bool) {
	kept := d.lines[:0]
	for _, line := range d.lines {
		if keep(line) {
			kept = append(kept, line)
		}
	}
	d.edits[kind] += len(d.lines) - len(kept)
	d.changed = d.changed || len(kept) < len(d.lines)
	d.lines = kept
}

// strip removes white space at both ends of the joined lines.
func (d *dclmState) strip() {
	for len(d.lines) > 0 {
		line := strings.TrimLeftFunc(d.lines[0], words.IsSpace)
		d.changed = d.changed || line != d.lines[0] || line == ""
		if d.lines[0] = line; line != "" {
			break
		}
		d.lines = d.lines[1:]
	}
	for n := len(d.lines) - 1; n >= 0; n-- {
		line := strings.TrimRightFunc(d.lines[n], words.IsSpace)
		d.changed = d.changed || line != d.lines[n] || line == ""
		if d.lines[n] = line; line != "" {
			break
		}
		d.lines = d.lines[:n]
	}
}

// phrase removes a phrase from lines of at most ten words, and lines that are blank then
// (substring_line_modifier with remove_substring_only).
func (d *dclmState) phrase(remove func(string) string) {
	kept := d.lines[:0]
	for _, line := range d.lines {
		if hasWords(line, 11) {
			kept = append(kept, line)
			continue
		}
		rest := remove(line)
		if rest != line {
			d.edits[editPhrase]++
			d.changed = true
		}
		if line == "" || strings.TrimFunc(rest, words.IsSpace) != "" {
			kept = append(kept, rest)
		} else {
			d.changed = true
		}
	}
	d.lines = kept
	d.strip()
}

// shareOf returns the share of a line's characters of a kind.
func shareOf(line string, is func(rune) bool) float64 {
	n, count := 0, 0
	for _, r := range line {
		n++
		if is(r) {
			count++
		}
	}
	return ratio(count, n)
}

// isUpper is Python's isupper for one character.
func isUpper(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'A' && r <= 'Z'
	}
	return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r)
}

// isPythonDigit is Python's isdigit for one character: decimal digits and those of Unicode's
// Numeric_Type Digit, such as superscripts and digits in circles.
func isPythonDigit(r rune) bool {
	if r < 0xb2 {
		return r >= '0' && r <= '9'
	}
	return unicode.IsDigit(r) || unicode.Is(otherDigits, r)
}

var otherDigits = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0xb2, 0xb3, 1}, {0xb9, 0xb9, 1}, {0x1369, 0x1371, 1}, {0x19da, 0x19da, 1}, {0x2070, 0x2070, 1}, {0x2074, 0x2079, 1},
		{0x2080, 0x2089, 1}, {0x2460, 0x2468, 1}, {0x2474, 0x247c, 1}, {0x2488, 0x2490, 1}, {0x24ea, 0x24ea, 1},
		{0x24f5, 0x24fd, 1}, {0x24ff, 0x24ff, 1}, {0x2776, 0x277e, 1}, {0x2780, 0x2788, 1}, {0x278a, 0x2792, 1},
	},
	R32: []unicode.Range32{
		{0x10a40, 0x10a43, 1}, {0x10e60, 0x10e68, 1}, {0x11052, 0x1105a, 1}, {0x1f100, 0x1f10a, 1},
	},
	LatinOffset: 2,
}

// hasWords reports whether a line has at least so many words between white space.
func hasWords(line string, least int) bool {
	count, inside := 0, false
	for _, r := range line {
		space := words.IsSpace(r)
		if !space && !inside {
			if count++; count >= least {
				return true
			}
		}
		inside = !space
	}
	return false
}

// counters are what a line may count, in DCLM's counter_line_modifier.
var counters = [...]string{
	"likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads", "views",
	"followers",
}

// isCounter reports whether a line is a counter, such as "3 likes": nothing but a number,
// perhaps with k, m or b, and one of those words, in any case, between what is no word.
func isCounter(line string) bool {
	line = strings.TrimLeftFunc(line, notPythonWord)
	rest := strings.TrimLeftFunc(line, func(r rune) bool { return r == ',' || r == '.' || unicode.IsDigit(r) })
	first, _ := utf8.DecodeRuneInString(line)
	if rest == line || rest == "" || !unicode.IsDigit(first) {
		return false
	}
	if c := rest[0] | 0x20; c == 'k' || c == 'm' || c == 'b' {
		rest = rest[1:]
	}
	noun := strings.TrimLeftFunc(rest, words.IsSpace)
	if noun == rest {
		return false
	}
	noun = strings.TrimRightFunc(noun, notPythonWord)
	for _, c := range counters {
		if strings.EqualFold(noun, c) {
			return true
		}
	}
	return false
}

// notPythonWord reports whether \W of Python's re matches r.
func notPythonWord(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// indexFold returns where the phrase, of lower-case ASCII, is in s in any case, -1 if nowhere.
func indexFold(s, phrase string) int {
	for i := 0; i+len(phrase) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(phrase)], phrase) {
			return i
		}
	}
	return -1
}

// removeFold removes every occurrence of a phrase and one space before each.
func removeFold(s, phrase string) string {
	var out strings.Builder
	for {
		at := indexFold(s, phrase)
		if at < 0 {
			break
		}
		out.WriteString(trimOneRight(s[:at]))
		s = s[at+len(phrase):]
	}
	return out.String() + s
}

// cutEnd removes "read more" and three characters of any kind at the end, and one space
// before. The source means three dots, which its pattern does not say.
func cutEnd(s, phrase string) string {
	rest := s
	for range 3 {
		_, n := utf8.DecodeLastRuneInString(rest)
		rest = rest[:len(rest)-n]
	}
	at := len(rest) - len(phrase)
	if at < 0 || utf8.RuneCountInString(s[len(rest):]) < 3 || !strings.EqualFold(rest[at:], phrase) {
		return s
	}
	return trimOneRight(rest[:at])
}

// cutStart removes a phrase at the start and one space behind it.
func cutStart(s, phrase string) string {
	if len(s) < len(phrase) || !strings.EqualFold(s[:len(phrase)], phrase) {
		return s
	}
	s = s[len(phrase):]
	if r, n := utf8.DecodeRuneInString(s); n > 0 && words.IsSpace(r) {
		return s[n:]
	}
	return s
}

func trimOneRight(s string) string {
	if r, n := utf8.DecodeLastRuneInString(s); n > 0 && words.IsSpace(r) {
		return s[:len(s)-n]
	}
	return s
}
