package ngram

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"bzdata/tokenize/words"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, tc := range []struct {
		sorted []float64
		q      float64
		want   float64
	}{
		{[]float64{1, 2, 3, 4}, 0, 1}, {[]float64{1, 2, 3, 4}, 0.25, 1}, {[]float64{1, 2, 3, 4}, 0.2500001, 2},
		{[]float64{1, 2, 3, 4}, 0.5, 2}, {[]float64{1, 2, 3, 4}, 1, 4}, {[]float64{1, 2, 3, 4}, 2, 4},
		{[]float64{1, 2, 3, 4}, -1, 1}, {[]float64{1, 2, 3}, 0.5, 2}, {[]float64{7}, 0.3, 7},
		{nil, 0.5, math.NaN()}, {[]float64{1}, math.NaN(), math.NaN()},
	} {
		if got := Quantile(tc.sorted, tc.q); got != tc.want && !(math.IsNaN(got) && math.IsNaN(tc.want)) {
			t.Errorf("Quantile(%v, %v) = %v, want %v", tc.sorted, tc.q, got, tc.want)
		}
	}
	// Fractions as they are written, whose products with 100 are rounded (0.07, 0.29, 0.57).
	for k := 1; k <= 100; k++ {
		if got := Quantile(hundred, float64(k)/100); got != float64(k) {
			t.Errorf("Quantile(1..100, %v) = %v", float64(k)/100, got)
		}
	}
}

// TestQuantileDefinition compares with the definition, tried value by value.
func TestQuantileDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		sorted := make([]float64, 1+r.IntN(50))
		for i := range sorted {
			sorted[i] = float64(i)
		}
		q := r.Float64()
		if r.IntN(2) == 0 {
			q = float64(r.IntN(len(sorted)+1)) / float64(len(sorted))
		}
		want := 1
		for float64(want)/float64(len(sorted)) < q {
			want++
		}
		if got := Quantile(sorted, q); got != sorted[want-1] {
			t.Fatalf("Quantile of %d values at %v is number %v, want %d", len(sorted), q, got, want-1)
		}
	}
}

// TestCrossFold checks that a fold's model is the one trained on the other folds.
func TestCrossFold(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	documents := parse(randomText(r, 1500))
	cfg := Config{Order: 3, MinCount: 2}
	c, err := NewCrossFold(cfg, 4)
	if err != nil {
		t.Fatal(err)
	}
	parts := make([][][][]string, c.Folds()) // the documents that a fold's model may see
	seen := map[int]bool{}
	for _, doc := range documents {
		fold := c.Fold(words.Hash(fmt.Sprint(doc)))
		seen[fold] = true
		c.Add(fold, hashes(doc))
		for i := range parts {
			if i != fold {
				parts[i] = append(parts[i], doc)
			}
		}
	}
	if len(seen) != 4 {
		t.Fatalf("documents fall into folds %v", seen)
	}
	for _, workers := range []int{0, 1, 3} {
		models, err := c.TrainFolds(workers)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range models {
			if !bytes.Equal(file(t, m), file(t, trained(t, cfg, parts[i]))) {
				t.Errorf("%d workers: the model without fold %d is another", workers, i)
			}
		}
	}
	all := trained(t, cfg, documents)
	if !slices.Equal(c.Vocabulary(), all.Vocabulary()) {
		t.Error("the vocabulary of all folds is another")
	}
	lone, err := NewCrossFold(cfg, 2)
	if err != nil {
		t.Fatal(err)
	}
	lone.Add(1, []uint64{1})
	if _, err := lone.TrainFolds(2); err == nil || err.Error() != "without fold 1 of 2: ngram: no documents to train on" {
		t.Errorf("one fold has all documents: %v", err)
	}
}

// TestMooreLewisKnown checks the difference by hand: of order 1 over the vocabulary
// {a, b}, "a" and "b" are four of five tokens each, and counts of 4 and 1 have the
// fallback's discounts 1.5 and 0.5: p(a) = 2.5/5 + 2/5/4 = 0.6 against 2/5/4 = 0.1.
func TestMooreLewisKnown(t *testing.T) {
	cfg := Config{Order: 1, Vocabulary: []uint64{hash("a"), hash("b")}}
	s := MooreLewis{trained(t, cfg, parse("a a a a")), trained(t, cfg, parse("b b b b"))}
	if !SameVocabulary(s.InDomain, s.General) {
		t.Fatal("the vocabularies differ")
	}
	want := -math.Log(0.6/0.1) / 2 // "a" and </s>, which both give the same
	if got := s.Score([]uint64{hash("a")}); !close(got, want, 1e-12) {
		t.Errorf("a scores %v, want %v", got, want)
	}
	if got := s.Score([]uint64{hash("b")}); !close(got, -want, 1e-12) {
		t.Errorf("b scores %v, want %v", got, -want)
	}
	if got := s.Score(nil); got != 0 {
		t.Errorf("nothing scores %v", got)
	}
}

// readTexts returns the word hashes of up to max rows of a JSONL file, given the fields
// that make up the text.
func readTexts(t *testing.T, name string, max int, fields ...string) [][]uint64 {
	t.Helper()
	f, err := os.Open("../../../shared/data/" + name)
	if os.IsNotExist(err) {
		t.Skipf("%s is not here", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out [][]uint64
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() && len(out) < max {
		var row map[string]any
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, field := range fields {
			fmt.Fprintln(&text, row[field])
		}
		out = append(out, words.AppendHashes(nil, text.String()))
	}
	return out
}

// TestMooreLewisOnText separates school mathematics from an encyclopedia, both unseen.
func TestMooreLewisOnText(t *testing.T) {
	math1 := readTexts(t, "gsm8k/train.jsonl", 1500, "question", "answer")
	math2 := readTexts(t, "gsm8k/test.jsonl", 300, "question", "answer")
	wiki := readTexts(t, "wikitext2/sections.jsonl", math.MaxInt, "text")
	half := len(wiki) / 2
	in := trainOn(t, Config{MinCount: 2}, math1)
	general := trainOn(t, Config{Vocabulary: in.Vocabulary()}, append(slices.Clone(wiki[:half]), math1[:100]...))
	s := MooreLewis{in, general}
	var scores []float64
	for _, doc := range math2 {
		scores = append(scores, s.Score(doc))
	}
	slices.Sort(scores)
	threshold := Quantile(scores, 0.97)
	wrong := 0
	for _, doc := range wiki[half:] {
		if s.Score(doc) <= threshold {
			wrong++
		}
	}
	t.Logf("threshold %.3f nats; %d of %d encyclopedia sections pass", threshold, wrong, len(wiki)-half)
	if threshold >= 0 || wrong*100 > len(wiki)-half {
		t.Errorf("threshold %.3f lets %d of %d through", threshold, wrong, len(wiki)-half)
	}
	logProb, tokens := general.Score(slices.Concat(wiki[half:]...))
	if ppl := Perplexity(logProb, tokens); ppl < 20 || ppl > 2000 {
		t.Errorf("perplexity of the unseen half is %v", ppl)
	}
}
