package match

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func all(t testing.TB, m *Matcher, text string) (out [][]int) {
	t.Helper()
	m.All(text, func(start, end int) bool { out = append(out, []int{start, end}); return true })
	return out
}

// randomExpression makes an expression that Go's engine and this one read alike: no
// look-ahead, no possessive repeat, no empty match.
func randomExpression(r *rand.Rand, depth int) string {
	atoms := []string{"a", "b", "c", "[ab]", "[^a]", "é", ".", `\n`, "(?:ab)"}
	var b strings.Builder
	for range 1 + r.IntN(3) {
		if depth > 0 && r.IntN(3) == 0 {
			fmt.Fprintf(&b, "(?:%s|%s)", randomExpression(r, depth-1), randomExpression(r, depth-1))
		} else {
			b.WriteString(atoms[r.IntN(len(atoms))])
		}
		b.WriteString([]string{"", "", "", "*", "+", "?", "{1,2}", "{2}", "{2,}", "*?", "+?", "??"}[r.IntN(12)])
	}
	return b.String()
}

// TestAgainstGo compares with Go's engine, also with failures remembered from the first
// step on.
func TestAgainstGo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	compared := 0
	for range 4000 {
		expression := randomExpression(r, 2)
		peer, err := regexp.Compile(expression)
		if err != nil {
			continue
		}
		n, err := parse(expression)
		if err != nil || n.nullable() {
			continue // Go and Ruby disagree on empty matches, and on what may be repeated
		}
		m, err := Compile(expression)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			text := make([]rune, r.IntN(14))
			for i := range text {
				text[i] = []rune("aabbcé\n")[r.IntN(7)]
			}
			want := peer.FindAllStringIndex(string(text), -1)
			for _, eager := range []bool{false, true} {
				got := collect(m, string(text), eager)
				if !slices.EqualFunc(got, want, slices.Equal) {
					t.Fatalf("%q over %q (eager %v): %v, want %v", expression, string(text), eager, got, want)
				}
			}
			compared++
		}
	}
	if compared < 20000 {
		t.Errorf("only %d texts were compared", compared)
	}
}

// collect is All, with failures remembered at once if eager.
func collect(m *Matcher, text string, eager bool) (out [][]int) {
	s := m.search(text)
	defer s.release()
	if eager {
		s.budget = 0
	}
	for from := 0; ; {
		start, end, ok := s.next(from)
		if !ok {
			return out
		}
		out = append(out, []int{start, end})
		from = end
	}
}

// TestRuby checks what only Oniguruma's syntax has; the answers are Hugging Face
// tokenizers 0.23.3's.
func TestRuby(t *testing.T) {
	for _, c := range []struct {
		expression, text string
		want             [][]int
	}{
		{`\s+(?!\S)|\s+`, "a  b ", [][]int{{1, 2}, {2, 3}, {4, 5}}},
		{`$`, "a\nb", [][]int{{1, 1}, {3, 3}}},
		{`^`, "a\nb\n", [][]int{{0, 0}, {2, 2}}},
		{``, "ab", [][]int{{0, 0}, {1, 1}, {2, 2}}},
		{`a*`, "baac", [][]int{{0, 0}, {1, 3}, {4, 4}}},
		{`a++a|b`, "aaab", [][]int{{3, 4}}},
		{`[0-9]{1,3}+`, "1234567", [][]int{{0, 7}}},
		{`(?i:'s|'k)`, "'S'ſ'K'\u212A", [][]int{{0, 2}, {2, 5}, {5, 7}, {7, 11}}},
		{`a(?=b)|b(?=(?:a|$))`, "abab", [][]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}}},
		{`[^\S\n]+|\p{^L}`, "a \t\n1", [][]int{{1, 3}, {3, 4}, {4, 5}}},
		{`\Aa|a\z`, "aaa", [][]int{{0, 1}, {2, 3}}},
		{`[\x41-\x{43}\u0044]+\e?`, "xABCD\x1b", [][]int{{1, 6}}},
		{`a{,2}b`, "aaab", [][]int{{1, 4}}},
		{`.`, "\xffa\n", [][]int{{0, 1}, {1, 2}}},
	} {
		m, err := Compile(c.expression)
		if err != nil {
			t.Errorf("%q: %v", c.expression, err)
			continue
		}
		if got := all(t, m, c.text); !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%q over %q: %v, want %v", c.expression, c.text, got, c.want)
		}
	}
	if got := all(t, Literal("a.b"), "a.b axb a.b"); len(got) != 2 || got[1][0] != 8 {
		t.Errorf("literal: %v", got)
	}
}

func TestRefused(t *testing.T) {
	for expression, want := range map[string]string{
		`(?<=a)b`: `the group (?<=`, `(?>a)`: `the group (?>`, `(?<n>a)`: `the group (?<n`, `\bword`: `\b`, `(a)\1`: `\1`,
		`[a[b]]`: `[ inside a class`, `[a&&b]`: `&& inside a class`, `\p{Script=Han}`: `\p{Script=Han}`, `[[:alpha:]]`: `[ inside`,
		`(?:a*)*`: `a repeat of what can be empty`, `(?:ab)++`: `a possessive repeat`, `a{2}?`: `{n}?`, `a{2000}`: `the repeat count {2000}`,
		`(?i:straße)`: `one ligature`, `(?i:é)`: `(?i:…) over`, `a)`: `an unpaired )`, `(a`: `an unpaired (`, `[a`: `an unpaired [`,
		`[]a]`: `an empty class`, `*a`: `nothing to repeat`, `a{x}`: `the repeat count {x}`, `\`: `\ at the end`, `\xE9`: `\xE9`,
		`[z-a]`: `a range`, `[\s-a]`: `a range that begins`, `\X`: `\X`, strings.Repeat("(?:", 200): `nesting deeper`, "\xff": `U+FFFD`,
		`((((a{999}){999}){999}){999})`: `a program of so many steps`,
	} {
		if _, err := Compile(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q gave %v, want %q", expression, err, want)
		}
	}
}

// TestLinear counts the steps on texts that make a plain backtracker take quadratic or
// exponential time.
func TestLinear(t *testing.T) {
	const size = 1 << 15
	for _, expression := range []string{
		`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
			`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
			`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
		`\s+$`, `(?:a+ )*x`, `(?:a++ )*x`, `(?:a|aa)+$x`, `(?:a+a+)+b`, `(?=a*b)a`, `a(?!a*b)`, `(?:\w+\s?)*!`, `(?:a*)b|(?:A+B)+`, `a+?b`,
		`a{1,30}b`,
	} {
		m, err := Compile(expression)
		if err != nil {
			t.Fatal(err)
		}
		for _, unit := range []string{"a", "A", " ", "\n", "\u0301", "😀", "1", "a ", "aA", "中"} {
			for _, tail := range []string{"", "x", "b"} {
				s := m.search(strings.Repeat(unit, size/len(unit)) + tail)
				for from := 0; from <= len(s.text); {
					_, end, ok := s.next(from)
					if !ok {
						break
					}
					from = max(end, from+1)
				}
				if most := 200 * size; s.steps > most {
					t.Errorf("%q over %q…: %d steps", expression, unit, s.steps)
				}
				s.release()
			}
		}
	}
}

// FuzzCompile reads anything, and finds the same whether failures are remembered late or
// from the first step on.
func FuzzCompile(f *testing.F) {
	for _, expression := range []string{`(?i:'s|[^\r\n\p{L}]?\p{L}+)|\s+(?!\S)`, `(?:a|ab)+?$|^b{1,3}+`, `[^\]a-c\\]++(?=.|\z)`, `\x{41}|\u0042{,2}c*+`} {
		f.Add(expression, "ab 'S\naabb]é")
	}
	f.Fuzz(func(t *testing.T, expression, text string) {
		if len(expression) > 200 || len(text) > 24 { // not remembering takes exponential time
			t.Skip()
		}
		m, err := Compile(expression)
		if err != nil {
			return
		}
		var found [2][][]int
		for i, budget := range []int{1 << 60, 0} {
			s := m.search(text)
			s.budget = budget
			for from := 0; from <= len(text); {
				start, end, ok := s.next(from)
				if !ok {
					break
				}
				found[i] = append(found[i], []int{start, end})
				from = max(end, s.after(start))
			}
			s.release()
			if i == 0 && len(found[0]) > len(text)+1 {
				t.Fatalf("%d matches", len(found[0]))
			}
		}
		if !slices.EqualFunc(found[0], found[1], slices.Equal) {
			t.Fatalf("%q over %q: %v, and %v with failures remembered", expression, text, found[0], found[1])
		}
	})
}
