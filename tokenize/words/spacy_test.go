package words

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
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
