package dedup

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// dedupSpans removes the repeated spans of a corpus of documents of one text each.
func dedupSpans(t testing.TB, docs []string, o SpanOptions) []string {
	s, err := NewSpans(o)
	if err != nil {
		t.Fatal(err)
	}
	owner := map[SpanKey]int{}
	lost := make([][]int, len(docs))
	for d, text := range docs {
		s.Cut(text)
		s.Distinct(func(span int, key SpanKey) {
			if _, there := owner[key]; there {
				lost[d] = append(lost[d], span)
				return
			}
			owner[key] = d
		})
	}
	out := make([]string, len(docs))
	for d, text := range docs {
		s.Cut(text)
		texts, r := s.Remove(lost[d])
		out[d] = texts[0]
		if (r.Units > 0) != (r.Spans > 0) || r.Units == 0 && out[d] != text || r.Bytes != len(text)-len(out[d]) {
			t.Fatalf("%q became %q, and the removal is %+v", text, out[d], r)
		}
	}
	return out
}

var spanOptions = []SpanOptions{
	{Unit: "line", Compare: "text"}, {Unit: "line", Compare: "lower", WordsMin: 1}, {Unit: "paragraph", Compare: "words"},
	{Unit: "sentences", Sentences: 1, Compare: "lower"}, {Unit: "sentences", Sentences: 2, Compare: "text", WordsMin: 2},
	{Unit: "sentences", Sentences: 3, Compare: "words"},
}

// sameSpans compares the fast and the slow removal, and checks that the first copy of every
// unit is still there.
func sameSpans(t testing.TB, docs []string, o SpanOptions) {
	t.Helper()
	fast, slow := dedupSpans(t, docs, o), slowSpans(docs, o)
	if !slices.Equal(fast, slow) {
		t.Fatalf("%+v: %q became\nfast %q\nslow %q", o, docs, fast, slow)
	}
	if o.Compare == "words" {
		return
	}
	all := slowComparable(strings.Join(fast, "\n"), o.Compare)
	for _, d := range docs {
		_, bodies := slowUnits(d, o.Unit)
		for _, b := range bodies {
			if !strings.Contains(all, slowComparable(b, o.Compare)) {
				t.Fatalf("%+v: %q became %q: no copy of %q is left", o, docs, fast, b)
			}
		}
	}
}

// eachText calls visit with every text of at most n pieces of an alphabet.
func eachText(alphabet []string, n int, visit func(string)) {
	visit("")
	if n == 0 {
		return
	}
	for _, a := range alphabet {
		eachText(alphabet, n-1, func(rest string) { visit(a + rest) })
	}
}

func TestSpansExhaustive(t *testing.T) {
	alphabets := map[string][]string{"line": {"a", "B", "\n", " "}, "paragraph": {"a", "b\n", "\n", " "},
		"sentences": {"A.", "b", ". ", "\n", "。"}}
	for _, o := range spanOptions {
		eachText(alphabets[o.Unit], 5, func(text string) {
			sameSpans(t, []string{text + text, text + "\n" + text + " A. A. A."}, o)
		})
		var short []string
		eachText(alphabets[o.Unit], 2, func(text string) { short = append(short, text) })
		for _, a := range short {
			for _, b := range short {
				sameSpans(t, []string{a, b, a + b}, o)
			}
		}
	}
}

func TestSpansByHand(t *testing.T) {
	three := SpanOptions{Unit: "sentences", Sentences: 3, Compare: "lower"}
	lines := SpanOptions{Unit: "line", Compare: "text", WordsMin: 2}
	for _, c := range []struct {
		o          SpanOptions
		docs, want []string
	}{
		{lines, []string{"one line\nother line\none line\nx\nx", " one line \nnew line\n"},
			[]string{"one line\nother line\nx\nx", "new line\n"}},
		{lines, []string{"head line\n\n    code a\n    code b", "head line\n\n    code a\n        code c\n"},
			[]string{"head line\n\n    code a\n    code b", "        code c\n"}},
		{lines, []string{"a b\n\nc d\ne f", "x y\n\nc d\nz z"}, []string{"a b\n\nc d\ne f", "x y\n\nz z"}},
		{three, []string{"Buy now. Sign up! Log in. Real text.", "Other text. BUY now. Sign UP! Log in. More."},
			[]string{"Buy now. Sign up! Log in. Real text.", "Other text. More."}},
		{three, []string{"A. A. A. A. A."}, []string{"A."}},
		{three, []string{"A. B.", "A. B."}, []string{"A. B.", "A. B."}},
		{SpanOptions{Unit: "paragraph", Compare: "words"}, []string{"P, one.\n\nP two.\n\np one!\n\nEnd."}, []string{"P, one.\n\nP two.\n\nEnd."}},
	} {
		if got := dedupSpans(t, c.docs, c.o); !slices.Equal(got, c.want) {
			t.Errorf("%q became %q, want %q", c.docs, got, c.want)
		}
	}
}

// TestSpansStayInTheirText checks that no span reaches from one message into the next.
func TestSpansStayInTheirText(t *testing.T) {
	s, err := NewSpans(SpanOptions{Unit: "sentences", Sentences: 2, Compare: "text"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Cut("A. B.", "C.", "A. B."); len(s.Keys) != 2 || s.Keys[0] != s.Keys[1] {
		t.Errorf("%d spans", len(s.Keys))
	}
	if texts, r := s.Remove(nil); !slices.Equal(texts, []string{"A. B.", "C.", ""}) || r != (SpanRemoval{1, 2, 5}) {
		t.Errorf("%q, %+v", texts, r)
	}
}

func TestSentences(t *testing.T) {
	for text, want := range map[string][]string{
		`He said "Stop!" And left. e.g. this one (see there.) Next? 3.14 is pi… Yes`: {`He said "Stop!"`, "And left. e.g. this one (see there.)",
			"Next?", "3.14 is pi…", "Yes"},
		"これは文です。「次！」と言う。\nEnd": {"これは文です。", "「次！」", "と言う。", "End"},
		" \n . \n": {"."},
	} {
		var got []string
		for _, s := range appendSentences(nil, text) {
			got = append(got, s.Of(text))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q was cut into %q, want %q", text, got, want)
		}
	}
}

// TestSpansAreLinear cuts texts that take a rule with look back quadratic time: at 1 MB that
// would be half an hour.
func TestSpansAreLinear(t *testing.T) {
	for _, piece := range []string{" ", "(", ".", ". ", ".)", "\n", "\n\n", "a.", "\u0300", ".\u3000", "A. "} {
		text := "x." + strings.Repeat(piece, 1<<20/len(piece))
		for _, o := range spanOptions {
			docs := dedupSpans(t, []string{text}, o)
			if len(docs[0]) > len(text) {
				t.Errorf("%+v: %q grew", o, piece)
			}
		}
	}
}

func FuzzSpans(f *testing.F) {
	f.Add("a b\n\nc. D. e\x1ea b\nc. D. E! “f.” G")
	f.Add("\xff\n\xfe\x1e\xff\n\u2028\u0085 。」")
	f.Fuzz(func(t *testing.T, text string) {
		docs := strings.Split(text, "\x00")
		for _, o := range spanOptions {
			sameSpans(t, docs, o)
		}
	})
}

func BenchmarkSpans(b *testing.B) {
	text := ""
	for i := range 20_000 {
		text += fmt.Sprintf("This is sentence number %d of a text that goes on. ", i)
		if i%5 == 4 {
			text += "\n"
		}
	}
	for _, o := range []SpanOptions{{Unit: "line", Compare: "text", WordsMin: 5}, {Unit: "sentences", Sentences: 3, Compare: "lower"}} {
		b.Run(o.Unit, func(b *testing.B) {
			s, err := NewSpans(o)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s.Cut(text)
				s.Distinct(func(int, SpanKey) {})
			}
		})
	}
}
