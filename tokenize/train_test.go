package tokenize

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestTrainAsHuggingFace learns from the corpus that the golden vocabularies come from.
func TestTrainAsHuggingFace(t *testing.T) {
	var docs []string
	readJSON(t, "testdata/hf_corpus.json", &docs)
	want := loadTest(t, "hf_gpt2.json")
	got, err := Train(slices.Values(docs), TrainOptions{
		VocabSize: 600, Special: []string{"<|endoftext|>", "<|pad|>"}, Pattern: PatternGPT2,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash() != want.Hash() {
		t.Errorf("merges differ: %d, want %d", len(got.spec.merges), len(want.spec.merges))
	}
	qwen := loadTest(t, "hf_qwen2.json")
	got, err = Train(slices.Values(docs), TrainOptions{VocabSize: 520, Pattern: PatternQwen2})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.spec.merges, qwen.spec.merges) || !slices.Equal(got.spec.vocab, qwen.spec.vocab) {
		t.Error("with the pattern of Qwen2, merges differ")
	}
}

func TestTrainAsTextbook(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 300 {
		var docs []string
		for range 1 + r.IntN(6) {
			var b strings.Builder
			for range r.IntN(40) {
				b.WriteByte("aab bc\n"[r.IntN(7)])
			}
			docs = append(docs, b.String())
		}
		o := TrainOptions{
			VocabSize: 258 + r.IntN(40), Special: []string{"ab", "<e>"}, CountMin: int64(n % 4),
			Pattern: Patterns()[n%3],
		}
		fast, err := Train(slices.Values(docs), o)
		if err != nil {
			t.Fatal(err)
		}
		slow, err := TextbookTrain(slices.Values(docs), o)
		if err != nil {
			t.Fatal(err)
		}
		if fast.Hash() != slow.Hash() {
			t.Fatalf("%q: merges %v, want %v", docs, fast.spec.merges, slow.spec.merges)
		}
		slices.Reverse(docs)
		if again, err := Train(slices.Values(docs), o); err != nil || again.Hash() != fast.Hash() {
			t.Fatalf("%q: the order of the documents matters (%v)", docs, err)
		}
		for _, m := range fast.spec.merges {
			if m.id == 0 {
				t.Fatalf("%q: a merge makes the special token ab", docs)
			}
		}
	}
}

func TestTrainStopsWhenNothingIsLeft(t *testing.T) {
	tok, err := Train(slices.Values([]string{"abab", "abab"}), TrainOptions{VocabSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 258 || len(tok.Encode(nil, "abab")) != 1 {
		t.Errorf("%d tokens, abab is %v", tok.VocabSize(), tok.Encode(nil, "abab"))
	}
}

func TestTrainErrors(t *testing.T) {
	for _, c := range []struct {
		o    TrainOptions
		want string
	}{
		{TrainOptions{VocabSize: 256, Special: []string{"<s>"}}, "too small"},
		{TrainOptions{VocabSize: 300, Special: []string{"<s>", "<s>"}}, "given twice"},
		{TrainOptions{VocabSize: 300, Special: []string{""}}, "is empty"},
		{TrainOptions{VocabSize: 300, Special: []string{"a"}}, "one byte of the vocabulary"},
		{TrainOptions{VocabSize: 300, Pattern: "words"}, `unknown pattern "words"`},
	} {
		if _, err := Train(slices.Values([]string{"x"}), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

// realTexts returns texts of shared real data, or skips the test.
func realTexts(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, name := range []string{"gsm8k/train.jsonl", "wikitext2/sections.jsonl", "esft/law-train.jsonl"} {
		data, err := os.ReadFile("../../shared/data/" + name)
		if err != nil {
			t.Skipf("shared test data is not here: %v", err)
		}
		for line := range strings.Lines(string(data)) {
			var row struct {
				Question, Answer, Text string
				Messages               []Message
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			text := row.Text + row.Question + row.Answer
			for _, m := range row.Messages {
				text += m.Content + "\n"
			}
			out = append(out, text)
		}
	}
	return out
}

func TestRealTexts(t *testing.T) {
	texts := realTexts(t)
	tok, err := Train(slices.Values(texts), TrainOptions{VocabSize: 4000, Special: []string{"<|endoftext|>"}})
	if err != nil {
		t.Fatal(err)
	}
	size, tokens := 0, 0
	for i, text := range texts {
		if err := tok.RoundTrip(text); err != nil {
			t.Fatalf("text %d: %v", i, err)
		}
		if i%400 == 0 {
			sameAsTextbook(t, tok, text)
		}
		size += len(text)
		tokens += len(tok.Encode(nil, text))
	}
	if perToken := float64(size) / float64(tokens); perToken < 2.5 || perToken > 5 {
		t.Errorf("%.2f bytes for each token", perToken)
	}
}

func BenchmarkEncode(b *testing.B) {
	texts := realTexts(b)
	tok, err := Train(slices.Values(texts), TrainOptions{VocabSize: 16000})
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	for _, text := range texts {
		size += len(text)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var ids []int32
	for b.Loop() {
		for _, text := range texts {
			ids = tok.Encode(ids[:0], text)
		}
	}
}
