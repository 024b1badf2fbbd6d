package words

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// spacyVector is what datatrove's English tokenizer says of a text.
type spacyVector struct {
	Text      string   `json:"text"`
	Words     []string `json:"words"`
	Sentences int      `json:"sentences"`
}

func spacyVectors(t testing.TB) (out []spacyVector) {
	name := "testdata/spacy_en.jsonl"
	if other := os.Getenv("SPACY_VECTORS"); other != "" {
		name = other // made by testdata/spacy_en.py from texts of one's own
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var v spacyVector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	if err := f.Close(); err != nil || len(out) == 0 {
		t.Fatalf("%d vectors: %v", len(out), err)
	}
	return out
}

func texts(spans []Span, text string) (out []string) {
	for _, span := range spans {
		out = append(out, span.Of(text))
	}
	return out
}

// TestSpacyVectors compares words and sentences with what spaCy made of the same texts.
func TestSpacyVectors(t *testing.T) {
	var s Spacy
	failed := 0
	for _, v := range spacyVectors(t) {
		got, sentences := texts(s.Words(v.Text), v.Text), s.Sentences(v.Text)
		if slices.Equal(got, v.Words) && sentences == v.Sentences {
			continue
		}
		at := 0
		for at < min(len(got), len(v.Words)) && got[at] == v.Words[at] {
			at++
		}
		from := max(0, at-2)
		t.Errorf("%.60q: %d sentences, want %d; words from %d on: %q, want %q", v.Text, sentences, v.Sentences, from,
			got[min(from, len(got)):min(from+6, len(got))], v.Words[min(from, len(v.Words)):min(from+6, len(v.Words))])
		if failed++; failed > 20 {
			t.FailNow()
		}
	}
}

// checkSpacy compares with the plain twin and checks that the tokens are all that is visible.
func checkSpacy(t *testing.T, s *Spacy, text string) {
	t.Helper()
	got := s.Words(text)
	if want := slowSpacyWords(text); !slices.Equal(got, want) {
		t.Fatalf("%q: got %q, want %q", text, texts(got, text), texts(want, text))
	}
	if joined := strings.Join(texts(got, text), ""); joined != strings.Join(strings.FieldsFunc(text, IsSpace), "") {
		t.Fatalf("%q: the tokens are %q", text, joined)
	}
}

func TestSpacyExhaustive(t *testing.T) {
	var s Spacy
	alphabet := []string{"a", "I", "'", "s", ".", "-", "5", "m", " ", "(", ":", "…", "é", "\xff", "n't"}
	var walk func(prefix string, left int)
	walk = func(prefix string, left int) {
		checkSpacy(t, &s, prefix)
		if left == 0 {
			return
		}
		for _, c := range alphabet {
			walk(prefix+c, left-1)
		}
	}
	walk("", 4)
}

// TestSpacyTables checks that every special case comes out as itself, alone and in brackets.
func TestSpacyTables(t *testing.T) {
	var s Spacy
	tables := spacyEnglish()
	if len(tables.rules) != 1343 || len(tables.units) != 103 {
		t.Errorf("%d special cases, %d units", len(tables.rules), len(tables.units))
	}
	for unit := range tables.units {
		if len(unit) > unitBytesMax {
			t.Errorf("the unit %s is too long", unit)
		}
	}
	for word, rule := range tables.rules {
		if got := s.Words(word); len(got) != len(rule) {
			t.Errorf("%s: %q", word, texts(got, word))
		}
	}
}

// TestSpacyLong has texts that take the square of their length in careless code: the test
// would not end.
func TestSpacyLong(t *testing.T) {
	var s Spacy
	for _, unit := range []string{"(", ".", "…", "'s", "a.", "a@", "-", "a-", ":-", ") ", "5", "a", "\xff", "'", "://", "1.", "x:) "} {
		text := strings.Repeat(unit, 1<<20)
		if got := s.Words(text); len(got) == 0 {
			t.Errorf("%q, repeated, has no words", unit)
		}
		if s.Sentences(text) < 1 {
			t.Errorf("%q, repeated, has no sentence", unit)
		}
	}
}

func FuzzSpacy(f *testing.F) {
	for _, v := range spacyVectors(f)[:40] {
		f.Add(v.Text)
	}
	var s Spacy
	f.Fuzz(func(t *testing.T, text string) { checkSpacy(t, &s, text) })
}

func BenchmarkSpacy(b *testing.B) {
	text := strings.Repeat("It wasn't the boats, they said, but the harbour (and its master) who'd kept 3.5 tons of them. ", 1000)
	var s Spacy
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Words(text)
	}
}
