package stages_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize/words"
)

// nearDoc is a document of a test corpus, and what the rule needs to know of it.
type nearDoc struct {
	source, file, text string
	score              float64 // below 0: the record has none
	date               string
	set, keys          []uint64
}

// nearCorpus draws documents that are edits of each other, over several files of two sources.
func nearCorpus(t *testing.T, seed uint64, n int) []nearDoc {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	h, err := dedup.NewHasher(dedup.Params{Bands: 14, Rows: 8, Shingle: 5,
		Seed: pipeline.HashID(7, "minhash/permutations", "", "", 0)}, dedup.Kernels()[0])
	if err != nil {
		t.Fatal(err)
	}
	docs := make([]nearDoc, n)
	for i := range docs {
		text := strings.Fields(sentence(rng, 20+rng.IntN(60)))
		if i > 0 && rng.IntN(3) > 0 {
			text = strings.Fields(docs[rng.IntN(i)].text)
			for range rng.IntN(3) {
				text[rng.IntN(len(text))] = fmt.Sprint("edit", rng.IntN(9))
			}
			text = append(text, strings.Fields(sentence(rng, 1+rng.IntN(3)))...)
		}
		d := nearDoc{source: fmt.Sprint("s", i*2/n), file: fmt.Sprint("f", i%3), text: strings.Join(text, " "),
			score: float64(rng.IntN(8) - 1), date: fmt.Sprintf("2025-01-%02dT00:00:00Z", 1+rng.IntN(28))}
		d.set = dedup.Shingles(nil, words.AppendHashes(nil, d.text), 5)
		d.keys = h.BandKeys(nil, h.Signature(nil, d.set))
		d.set = dedup.Distinct(d.set)
		docs[i] = d
	}
	slices.SortStableFunc(docs, func(a, b nearDoc) int {
		return cmp.Or(strings.Compare(a.source, b.source), strings.Compare(a.file, b.file))
	})
	return docs
}

// writeNear writes the corpus as a plan reads it.
func writeNear(t *testing.T, dir string, docs []nearDoc) {
	t.Helper()
	files := map[string]string{}
	for _, d := range docs {
		line := fmt.Sprintf(`{"text":%s,"date":%q`, store.AppendQuote(nil, d.text), d.date)
		if d.score >= 0 {
			line += fmt.Sprintf(`,"score":%g`, d.score)
		}
		files[filepath.Join(dir, d.source, d.file+".jsonl")] += line + "}\n"
	}
	for name, text := range files {
		write(t, name, text)
	}
}

// slowNear is the rule of minhash with nothing but loops: the texts that stay.
func slowNear(docs []nearDoc, verify float64, prefer func(a, b nearDoc) int) []string {
	var kept []nearDoc
	for _, d := range slices.SortedStableFunc(slices.Values(docs), prefer) {
		near := func(k nearDoc) bool {
			shares := slices.ContainsFunc(d.keys, func(key uint64) bool { return slices.Contains(k.keys, key) })
			return shares && dedup.Jaccard(d.set, k.set) >= verify
		}
		if !slices.ContainsFunc(kept, near) {
			kept = append(kept, d)
		}
	}
	return sortedTexts(kept)
}

func sortedTexts(docs []nearDoc) []string {
	texts := make([]string, len(docs))
	for i, d := range docs {
		texts[i] = d.text
	}
	slices.Sort(texts)
	return texts
}

const nearPlan = `
name: p
seed: 7
input: [{path: s0, source: s0}, {path: s1, source: s1}]
stages:
  - minhash: {verify: 0.7, keep: %s}
  - export: {format: jsonl}
`

// TestMinHashIsTheRule compares the stage with the rule as it is written, for each policy.
func TestMinHashIsTheRule(t *testing.T) {
	prefer := map[string]func(a, b nearDoc) int{
		"first":                func(a, b nearDoc) int { return 0 },
		"longest":              func(a, b nearDoc) int { return len(b.text) - len(a.text) },
		"{score: score}":       func(a, b nearDoc) int { return cmp.Compare(b.score, a.score) },
		"{newest: date}":       func(a, b nearDoc) int { return strings.Compare(b.date, a.date) },
		"{priority: [s1, s0]}": func(a, b nearDoc) int { return strings.Compare(b.source, a.source) },
	}
	docs := nearCorpus(t, 1, 900)
	without := int64(0)
	for _, d := range docs {
		if d.score < 0 {
			without++
		}
	}
	dir := t.TempDir()
	writeNear(t, dir, docs)
	var all [][]string
	for _, keep := range slices.Sorted(maps.Keys(prefer)) {
		opt := options(dir)
		res := run(t, dir, fmt.Sprintf(nearPlan, keep), opt)
		want := slowNear(docs, 0.7, prefer[keep])
		got := textsOf(t, exportedLines(t, opt))
		if !slices.Equal(got, want) {
			t.Errorf("keep %s: %d documents, by the rule %d", keep, len(got), len(want))
		}
		l := ledger(t, res, "minhash")
		if l.Dropped["near_duplicate"] < 300 {
			t.Errorf("keep %s: only %d near copies", keep, l.Dropped["near_duplicate"])
		}
		if n := l.Edits["no_keep_value"]; (keep == "{score: score}") != (n > 0) || n > without {
			t.Errorf("keep %s: %d documents without value, want up to %d by score", keep, n, without)
		}
		all = append(all, got)
	}
	for i := range all {
		for j := range i {
			if slices.Equal(all[i], all[j]) {
				t.Error("two policies keep the same: the corpus tests little")
			}
		}
	}
}

// TestBucketCap gives one band more documents that stay than bucket_documents_max.
func TestBucketCap(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	template := sentence(rng, 120)
	var texts []string
	for range 60 {
		texts = append(texts, template+" "+sentence(rng, 60)) // similarity about one half
	}
	texts = append(texts, texts[0], texts[59])
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts...)
	plan := `
name: p
input: [{path: data, source: s}]
stages:
  - minhash: {verify: 0.9, bands: 14, rows: 1, bucket_documents_max: %d}
  - export: {format: jsonl}
`
	opt := options(dir)
	res := run(t, dir, fmt.Sprintf(plan, 1000), opt)
	if l := ledger(t, res, "minhash"); l.Kept != 60 {
		t.Errorf("%d documents stay, want 60", l.Kept)
	}
	res = run(t, dir, fmt.Sprintf(plan, 5), opt)
	l, s := ledger(t, res, "minhash"), must(res.Stage("minhash"))
	if l.Kept < 60 || l.Kept > 61 {
		t.Errorf("with a cap %d documents stay, want 60 and perhaps the last copy", l.Kept)
	}
	if !slices.ContainsFunc(s.Notes, func(n string) bool { return strings.Contains(n, "reached bucket_documents_max 5;") }) {
		t.Errorf("the report does not speak of full bands: %q", s.Notes)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestKeepForms names a policy that goes by a value, and leaves the value out.
func TestKeepForms(t *testing.T) {
	for word, form := range map[string]string{"score": "{score: COLUMN}", "newest": "{newest: COLUMN}",
		"priority": "{priority: [SOURCE, SOURCE]}"} {
		for _, stage := range []string{"exact_dedup", "minhash"} {
			mistake(t, "name: p\ninput: [{path: data}]\nstages:\n  - "+stage+": {keep: "+word+"}\n  - export: {}\n",
				"stages[0]."+stage+".keep: "+word+" goes by a value, and none is named", "\n  write "+form)
		}
	}
	mistake(t, "name: p\ninput: [{path: data}]\nstages: [{minhash: {keep: longst}}, {export: {}}]\n", `did you mean "longest"?`)
}
