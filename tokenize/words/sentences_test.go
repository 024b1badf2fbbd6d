package words

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/clipperhouse/uax29/v2/sentences"
)

// countPlainly is [CountSentences] by the rules alone.
func countPlainly(text string) int {
	n := 0
	for it := sentences.FromString(text); it.Next(); {
		if strings.TrimFunc(it.Value(), IsSpace) != "" {
			n++
		}
	}
	return n
}

func TestCountSentences(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, " \n ": 0, " One. Two?  Three\n\nFour.": 4, "Mr. Smith went.": 2, "It is 3.14 so. yes": 1, "他来了。好。": 2,
	} {
		if got := CountSentences(text); got != want {
			t.Errorf("%q: %d sentences, want %d", text, got, want)
		}
	}
}

// TestSentencesBesideGaps compares with the rules alone on texts of short and of long gaps.
func TestSentencesBesideGaps(t *testing.T) {
	pieces := []string{"a", "B", "1", ".", "?", "!", " ", "(", ")", "\"", ",", "\n", "é", "。", "«", "\u0301", "\u00a0"}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		var b strings.Builder
		for range 1 + rng.IntN(12) {
			b.WriteString(strings.Repeat(pieces[rng.IntN(len(pieces))], 1+rng.IntN(3)*rng.IntN(2)*50))
		}
		if got, want := CountSentences(b.String()), countPlainly(b.String()); got != want {
			t.Fatalf("%q: %d sentences, want %d", b.String(), got, want)
		}
	}
}

// TestSentencesInLinearTime has gaps that would take hours by the rules alone.
func TestSentencesInLinearTime(t *testing.T) {
	for _, gap := range []string{" ", "(", "\"", "( ", "1 ", "«", "\u0301", "。"} {
		text := "One two. " + strings.Repeat(gap, 4<<20/len(gap)) + "Three four."
		if n := CountSentences(text); n < 1 {
			t.Errorf("%d sentences beside %q", n, gap)
		}
	}
}
