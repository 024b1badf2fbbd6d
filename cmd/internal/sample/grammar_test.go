package sample

import (
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	raw := map[string][]string{"fruit": {"apple"}, "tool": {"hammer"}, "either": {"@fruit", "@tool"}}
	for _, c := range []struct{ pattern, want string }{
		{"a~ @fruit and a~ @tool.", "an apple and a hammer."},
		{"A~ [apple] falls", "An apple falls"},
		{"@fruit^ {^x}{x} {#n}%", "Apple Bobbob 7%"},
		{"%5-5% of [[|]x] @fruit's", "5 of x apple's"},
	} {
		raw["it"] = []string{c.pattern}
		g, err := compile(raw, []string{"x", "n"})
		if err != nil {
			t.Fatal(err)
		}
		s := &scene{text: [][]byte{[]byte("bob"), nil}, numbers: []int{0, 7}}
		if got := string(g.one(nil, g.list("it"), newRNG(1, 2, 3), s)); got != c.want {
			t.Errorf("%q gives %q, want %q", c.pattern, got, c.want)
		}
	}
}

// TestChoices checks that every member and alternative is drawn, about as often.
func TestChoices(t *testing.T) {
	g, err := compile(map[string][]string{"x": {"a", "b"}, "it": {"@x @x* [1|2|3] %8-9%"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	const n = 36_000
	for i := range int64(n) {
		counts[string(g.one(nil, g.list("it"), newRNG(5, 0, i), &scene{}))]++
	}
	for text, count := range counts {
		want := n / 24 / 2
		if len(strings.Fields(text)) == 3 { // the second word was left out
			want *= 2
		}
		if count < want*8/10 || count > want*12/10 {
			t.Errorf("%q is drawn %d times, want about %d", text, count, want)
		}
	}
	if len(counts) != 12+24 {
		t.Errorf("%d different texts, want 36", len(counts))
	}
}

func TestPatternErrors(t *testing.T) {
	for _, pattern := range []string{"[a|b", "@nothing", "{nothing}", "%5-3%", "%5-x%", "{x"} {
		if _, err := compile(map[string][]string{"it": {pattern}}, []string{"x"}); err == nil {
			t.Errorf("%q is accepted", pattern)
		} else if !strings.Contains(err.Error(), pattern) {
			t.Errorf("%q: the error does not show it: %v", pattern, err)
		}
	}
}

func TestPlural(t *testing.T) {
	for noun, want := range map[string]string{"box": "boxes", "daisy": "daisies", "key": "keys", "brush": "brushes",
		"patch": "patches", "compass": "compasses", "lamp": "lamps"} {
		if got := plural(noun); got != want {
			t.Errorf("plural of %s is %s, want %s", noun, got, want)
		}
	}
}
