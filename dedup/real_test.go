package dedup

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// realTexts returns one field of each line of a JSONL file of public data, or skips.
func realTexts(t testing.TB, file, field string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("../../shared/data", file))
	if err != nil {
		t.Skipf("real data is not here: %v", err)
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var record map[string]any
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatal(err)
		}
		text, ok := record[field].(string)
		if !ok {
			t.Fatalf("%s has no field %q of text", file, field)
		}
		out = append(out, text)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// edited returns a text of which some words are replaced.
func edited(r *rand.Rand, text string, words int) string {
	w := strings.Fields(text)
	for range words {
		w[r.IntN(len(w))] = "edited"
	}
	return strings.Join(w, " ")
}

// TestRealNear plants edited copies among grade-school problems and compares Resolve
// with the rule, word for word, over all pairs that share a band.
func TestRealNear(t *testing.T) {
	texts := realTexts(t, "gsm8k/train.jsonl", "question")[:3000]
	r := rand.New(rand.NewPCG(25, 26))
	for i := range 600 {
		texts = append(texts, edited(r, texts[i], i%5))
	}
	h := mustHasher(t, Params{Bands: 20, Rows: 5, Shingle: 3}, Kernels()[0])
	c := corpus{sets: map[int][]uint64{}}
	for doc, text := range texts {
		set := shingleSet(text, 3)
		keys := h.BandKeys(nil, h.Signature(nil, set))
		c.candidates = append(c.candidates, Candidate{Doc: doc, Rank: -len(text), Keys: keys})
		c.sets[doc] = set
	}
	got := resolve(t, c.candidates, .7, 0, c.sets)
	if want := slowResolve(c.candidates, .7, 0, c.sets); !reflect.DeepEqual(got, want) {
		t.Fatal("Resolve and the rule disagree")
	}
	t.Logf("%d documents, %d pairs compared, %d below, %d removed, clusters %v",
		len(texts), got.PairsCompared, got.PairsBelow, len(got.Removals), got.Clusters)
	gone := map[int]bool{}
	for _, x := range got.Removals {
		gone[x.Removed] = true
		if j := slowJaccard(wordRuns(texts[x.Removed], 3), wordRuns(texts[x.Match], 3)); j != x.Jaccard {
			t.Errorf("documents %d and %d: %v, on the words themselves %v", x.Removed, x.Match, x.Jaccard, j)
		}
	}
	for i := 0; i < 600; i += 5 { // copies without an edit
		if !gone[i] && !gone[3000+i] {
			t.Errorf("document %d and its copy were both kept", i)
		}
	}
}

// TestRealOverlap plants a quotation of a test problem into an encyclopedia section.
func TestRealOverlap(t *testing.T) {
	references := realTexts(t, "gsm8k/test.jsonl", "question")
	sections := realTexts(t, "wikitext2/sections.jsonl", "text")
	x := mustOverlapIndex(t, 13, references...)
	clean := 0
	for _, text := range sections[:500] {
		if _, hit := x.Check(hashWords(text)); !hit {
			clean++
		}
	}
	if clean < 499 {
		t.Errorf("only %d of 500 sections share no 13 words with a problem", clean)
	}
	quoted := slices.IndexFunc(references, func(text string) bool { return len(strings.Fields(text)) == 40 })
	before := strings.Fields(sections[0])
	words := slices.Concat(before, strings.Fields(references[quoted])[10:30], strings.Fields(sections[1]))
	got, hit := x.Check(hashWords(strings.Join(words, " ")))
	want := Overlap{Ref: quoted, Position: len(before), Runs: 20 - 13 + 1, RunsAll: len(words) - 12}
	if !hit || got != want {
		t.Errorf("quotation found as %+v %v, want %+v", got, hit, want)
	}
}
