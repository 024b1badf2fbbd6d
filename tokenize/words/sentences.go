package words

import (
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/sentences"
)

// CountSentences counts the sentences of text by the default rules of Unicode Standard
// Annex 29 section 5, blank ones left out. Those rules know no abbreviations: "Mr. Smith" is
// two sentences. Rule SB8 looks from each character behind a full stop to the next letter, so
// that a long run without one takes quadratic time: of runs of over 64 characters without
// letter, sentence end or line end, the 32 at each end are looked at.
func CountSentences[T Text](text T) int {
	n := 0
	for it := sentences.FromString(withoutGaps(view(text))); it.Next(); {
		if !blank(it.Value()) {
			n++
		}
	}
	return n
}

// gapEnd is how many characters of each end of a longer gap are kept.
const gapEnd = 32

// withoutGaps returns s with the middle of each long gap left out.
func withoutGaps(s string) string {
	var out []byte
	done := 0 // what of s is in out, or left out
	var g gap
	end := func() {
		if g.runes > 2*gapEnd {
			tail := g.last[g.runes%gapEnd]
			out = append(out, s[done:g.head]...)
			if from, to := max(g.before, g.head), min(g.after, tail); from < to {
				out = append(out, s[from:to]...)
			}
			done = tail
		}
		g = gap{}
	}
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		if r, size = utf8.DecodeRuneInString(s[i:]); inGap(r) {
			g.add(r, i, size)
		} else {
			end()
		}
	}
	end()
	if out == nil {
		return s
	}
	return string(append(out, s[done:]...))
}

// gap is a run of characters without letters and ends.
type gap struct {
	runes int
	head  int         // the end of its first characters
	last  [gapEnd]int // where its last characters start, in turn
	// A sentence that ended before the gap takes what closes it and then spaces along (rules
	// SB9 to SB11), and the next begins behind: at the later of two characters at before:after.
	before, after  int
	spaces, behind bool
}

func (g *gap) add(r rune, at, size int) {
	g.last[g.runes%gapEnd] = at
	if g.runes++; g.runes == gapEnd {
		g.head = at + size
	}
	if g.behind || unicode.In(r, unicode.M, unicode.Cf) {
		return
	}
	space := unicode.IsSpace(r)
	if space || !g.spaces && (r == '"' || r == '\'' || unicode.In(r, unicode.Ps, unicode.Pe, unicode.Pi, unicode.Pf)) {
		g.spaces, g.before = space, at
		return
	}
	g.behind, g.after = true, at+size
}

// inGap reports whether a character neither ends a sentence or line nor decides, as letters
// do, whether a full stop before it does.
func inGap(r rune) bool {
	if r < utf8.RuneSelf {
		return !('a' <= r|0x20 && r|0x20 <= 'z') && r != '.' && r != '!' && r != '?' && r != '\n' && r != '\r'
	}
	switch r {
	case '\u0085', '\u2028', '\u2029':
		return false
	}
	return !unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.Sentence_Terminal)
}
