package tokenize

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"bzdata/pipeline/cputime"
)

func splitOf(t testing.TB, p Pattern, text string) (out []string) {
	t.Helper()
	if err := p.Split(text, func(piece string) bool { out = append(out, piece); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

func sameSplit(t testing.TB, p Pattern, text string) {
	t.Helper()
	want, err := TextbookSplit(p, text)
	if got := splitOf(t, p, text); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%s: %q is cut into %q, want %q (%v)", p, text, got, want, err)
	}
}

// TestSplitExhaustive compares with the regular expressions on all short strings over
// alphabets that touch each alternative.
func TestSplitExhaustive(t *testing.T) {
	for _, c := range []struct {
		patterns []Pattern
		alphabet string
	}{
		{[]Pattern{PatternO200K, PatternTekken}, "aA中\u0301's1 \n/!"},
		{[]Pattern{PatternDeepSeekV3}, "aé中・\u0301 \n1!\x00"},
		{[]Pattern{PatternDeepSeekV2}, "aéẽ \u3000\u2003\n1-。\u0301"},
	} {
		alphabet, depth := []rune(c.alphabet), 5
		if testing.Short() {
			depth = 3
		}
		var visit func(text string, left int)
		visit = func(text string, left int) {
			for _, p := range c.patterns {
				sameSplit(t, p, text)
			}
			for _, r := range alphabet {
				if left > 0 {
					visit(text+string(r), left-1)
				}
			}
		}
		visit("", depth)
	}
}

// TestSplitRandom draws code points of all classes, and bytes that are not UTF-8.
func TestSplitRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	common := []rune("abAB'sStTlLreVE 12\n\r/!.,-_中文ｱえ가\u0301\u0345ǅʰª①Ⅷ\u00a0\u3000😀\x00\u200d\ufffd")
	for range 20000 {
		var b strings.Builder
		for range r.IntN(20) {
			switch r.IntN(8) {
			case 0:
				b.WriteRune(rune(r.IntN(unicode.MaxRune + 1)))
			case 1:
				b.WriteByte(byte(r.IntN(256)))
			default:
				b.WriteRune(common[r.IntN(len(common))])
			}
		}
		for _, p := range Patterns() {
			sameSplit(t, p, b.String())
		}
	}
}

// TestSplitLinear cuts a long text that has no place to cut, or every place, in a time that is not far from that of English words:
// one that grew with the square of the length would be thousands of times theirs.
func TestSplitLinear(t *testing.T) {
	const bytes, timesMax = 1 << 18, 200
	took := func(p Pattern, unit string) (cut, windows time.Duration) {
		text, start := strings.Repeat(unit, bytes/len(unit)), cputime.Used()
		if got := len(strings.Join(splitOf(t, p, text), "")); got != len(text) {
			t.Errorf("%s: %q: %d bytes of %d", p, unit, got, len(text))
		}
		middle := cputime.Used()
		sameWindows(t, p, new(window), text)
		return middle - start, cputime.Used() - middle
	}
	worst := 0.0
	for _, p := range Patterns() {
		wordsCut, wordsWindows := took(p, "The quick brown fox jumps over the lazy dog, and 13 others don't.\n")
		for _, unit := range []string{"a", "A", "中", "\u0301", " ", "\n", "!", "1", "😀", "\x00", "aA", "中A", "\u0301A", "カ・", " a", "\x00 ",
			"\n ", "a's", "é中A"} {
			cut, windows := took(p, unit)
			times := max(float64(cut)/float64(wordsCut), float64(windows)/float64(wordsWindows))
			if worst = max(worst, times); times > timesMax {
				t.Errorf("%s: %q took %v, and by words of bits %v: %.0f times what words take", p, unit, cut, windows, times)
			}
		}
	}
	t.Logf("at most %.1f times what words take", worst)
}

// goRegexes holds the first three patterns with their classes spelled out, since Go's \s is
// ASCII only and its \p{L} older, and up to their lookahead, which Go does not have.
func goRegexes() map[Pattern]*regexp.Regexp {
	const space = `\t\n\v\f\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}`
	letter, number := `\p{L}`+ranges(laterLetters), `\p{N}`+ranges(laterNumbers)
	spell := strings.NewReplacer(
		`[^\s\p{L}\p{N}]`, `[^`+space+letter+number+`]`,
		`[^\r\n\p{L}\p{N}]`, `[^\r\n`+letter+number+`]`,
		`\s`, `[`+space+`]`, `\p{L}`, `[`+letter+`]`, `\p{N}`, `[`+number+`]`)
	out := map[Pattern]*regexp.Regexp{}
	for _, p := range []Pattern{PatternGPT2, PatternCL100K, PatternQwen2} {
		head, _ := strings.CutSuffix(p.Regexes()[0], `|\s+(?!\S)|\s+`)
		out[p] = regexp.MustCompile(`^(?:(` + spell.Replace(head) + `)|[` + space + `]+)`)
	}
	return out
}

// ranges writes a table as the inside of a character class.
func ranges(table *unicode.RangeTable) string {
	var b strings.Builder
	for _, r := range table.R16 {
		fmt.Fprintf(&b, `\x{%X}-\x{%X}`, r.Lo, r.Hi)
	}
	for _, r := range table.R32 {
		fmt.Fprintf(&b, `\x{%X}-\x{%X}`, r.Lo, r.Hi)
	}
	return b.String()
}

// TestSplitByGo compares with Go's engine: what only the last two alternatives
// \s+(?!\S)|\s+ match is a run of spaces: all of it at the end of the text, else all but
// its last rune, else its only rune.
func TestSplitByGo(t *testing.T) {
	known := goRegexes()
	r := rand.New(rand.NewPCG(9, 10))
	for range 5000 {
		var runes []rune
		for range r.IntN(16) {
			runes = append(runes, []rune("as T'12 \t\n\r.-é中\u0301\U00010d40\u1c89")[r.IntN(18)])
		}
		for p, re := range known {
			var want []string
			for text := string(runes); text != ""; {
				m := re.FindStringSubmatchIndex(text)
				end := m[1]
				_, last := utf8.DecodeLastRuneInString(text[:end])
				if m[2] < 0 && end < len(text) && last < end {
					end -= last
				}
				want, text = append(want, text[:end]), text[end:]
			}
			if got := splitOf(t, p, string(runes)); !slices.Equal(got, want) {
				t.Fatalf("%s: %q is cut into %q, want %q", p, string(runes), got, want)
			}
		}
	}
}
