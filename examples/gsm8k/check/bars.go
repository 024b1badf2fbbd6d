package main

import (
	"fmt"
	"math"
	"slices"

	"bzdata/dedup"
)

// report prints bars and counts those that are missed.
type report struct{ missed int }

func (r *report) bar(ok bool, format string, args ...any) {
	mark := "ok    "
	if !ok {
		mark = "MISSED"
		r.missed++
	}
	fmt.Printf("%s %s\n", mark, fmt.Sprintf(format, args...))
}

// copies checks that of every text one document at most passes exact_dedup, and that no
// leak reaches the export.
func (r *report) copies(docs []*doc) {
	left := map[string]int{}
	copies, twice, leaks, leaked := 0, 0, 0, 0
	for _, d := range docs {
		if d.kind == "exact_copy" {
			copies++
		}
		if d.kind == "leak" {
			leaks++
			if d.stage == "" {
				leaked++
			}
		}
		if d.reached("minhash") {
			if left[d.text]++; left[d.text] == 2 {
				twice++
			}
		}
	}
	r.bar(twice == 0, "exact copies: %d planted, %d texts left twice", copies, twice)
	r.bar(leaked == 0, "leaks: %d planted, %d reach the export", leaks, leaked)
}

// pair is a near copy and the document left of its original's text.
type pair struct {
	a, b    *doc
	jaccard float64
}

func (p pair) candidate() bool {
	return slices.ContainsFunc(p.a.keys, func(k uint64) bool { return slices.Contains(p.b.keys, k) })
}

func (p pair) resolved() bool { return p.a.stage == "minhash" || p.b.stage == "minhash" }

// plantedPairs are the near copies that reach minhash together with their original's text.
func plantedPairs(docs []*doc) []pair {
	texts := map[int]string{}
	for _, d := range docs {
		if d.kind == "clean" {
			texts[d.number] = d.text
		}
	}
	left := map[string]*doc{}
	for _, d := range docs {
		if d.reached("minhash") {
			left[d.text] = d
		}
	}
	var pairs []pair
	for _, d := range docs {
		if d.kind != "near_copy" || !d.reached("minhash") {
			continue
		}
		if o := left[texts[d.of]]; o != nil && o != d {
			pairs = append(pairs, pair{d, o, dedup.Jaccard(d.shingle, o.shingle)})
		}
	}
	return pairs
}

// binWidth is the width of the bins in which recall is compared to theory.
const binWidth = 0.05

func (r *report) nearCopies(docs []*doc) {
	pairs := plantedPairs(docs)
	high, highResolved, mustResolve, unresolved := 0, 0, 0, 0
	bins := map[int][]pair{}
	for _, p := range pairs {
		bins[int(p.jaccard/binWidth)] = append(bins[int(p.jaccard/binWidth)], p)
		if p.jaccard >= 0.85 {
			high++
			if p.resolved() {
				highResolved++
			}
		}
		if p.candidate() && p.jaccard >= verify {
			mustResolve++
			if !p.resolved() {
				unresolved++
			}
		}
	}
	r.bar(high >= 300, "near copies that reach minhash: %d, of them %d at Jaccard 0.85 or more (want 300)", len(pairs), high)
	for b := range 20 {
		r.recall(float64(b)*binWidth, bins[b])
	}
	r.bar(unresolved == 0, "candidates at %g or more: %d, %d unresolved", verify, mustResolve, unresolved)
	r.bar(float64(highResolved) >= 0.95*float64(high), "at 0.85 or more: %d of %d resolved (%.1f %%, want 95)",
		highResolved, high, 100*float64(highResolved)/float64(high))
}

// recall compares one bin's share of candidates with what theory expects of its pairs.
func (r *report) recall(low float64, pairs []pair) {
	if len(pairs) == 0 {
		return
	}
	found, expected := 0, 0.0
	chance := []float64{1} // of each number of candidates
	for _, p := range pairs {
		if p.candidate() {
			found++
		}
		q := 1 - math.Pow(1-math.Pow(p.jaccard, rows), bands)
		expected += q
		chance = append(chance, 0)
		for k := len(chance) - 1; k >= 0; k-- {
			chance[k] *= 1 - q
			if k > 0 {
				chance[k] += chance[k-1] * q
			}
		}
	}
	n := float64(len(pairs))
	tail := min(sum(chance[:found+1]), sum(chance[found:]))
	within := math.Abs(float64(found)-expected)/n <= 0.02 || tail >= tailMin
	r.bar(within, "  Jaccard %.2f–%.2f: %4d pairs, %.3f candidates, theory %.3f (tail %.2g)", low, low+binWidth, len(pairs),
		float64(found)/n, expected/n, tail)
}

// tailMin is how unlikely a bin's count may be under theory, on its side: 5 % shared among
// the two sides of the some 50 bins of three seeds.
const tailMin = 0.05 / 100

func sum(vs []float64) float64 {
	s := 0.0
	for _, v := range vs {
		s += v
	}
	return s
}

// removals checks every document that minhash dropped against the one that it names.
func (r *report) removals(docs []*doc) {
	byName := map[string]*doc{}
	for _, d := range docs {
		byName[d.name()] = d
	}
	below, natural, dropped := 0, 0, 0
	for _, d := range docs {
		if d.stage != "minhash" {
			continue
		}
		dropped++
		m := byName[d.matched]
		if m == nil || dedup.Jaccard(d.shingle, m.shingle) < verify {
			below++
			continue
		}
		if family(d) != family(m) {
			natural++
		}
	}
	r.bar(below == 0, "minhash dropped %d documents, %d of them below %g with the one named; "+
		"%d are near copies that GSM8K itself holds", dropped, below, verify, natural)
}

// family is the clean row that a document is, or was made of.
func family(d *doc) int {
	if d.kind == "clean" {
		return d.number
	}
	if d.kind == "near_copy" || d.kind == "exact_copy" {
		return d.of
	}
	return -1 - d.row
}

// domain checks what was removed as off-domain, and how much clean text is left.
func (r *report) domain(docs []*doc) {
	reached, removed := map[string]int{}, map[string]int{}
	clean, exported := 0, 0
	left := map[string]bool{}
	for _, d := range docs {
		if d.stage == "" {
			left[d.text] = true
		}
		if d.reached("domain") {
			reached[d.kind]++
			if d.stage == "domain" {
				removed[d.kind]++
			}
		}
	}
	for _, d := range docs {
		if d.kind == "clean" {
			clean++
			if left[d.text] {
				exported++
			}
		}
	}
	for _, kind := range []string{"wikitext", "numbers", "law"} {
		share := float64(removed[kind]) / float64(reached[kind])
		r.bar(share >= 0.9, "domain: %-8s %4d reach it, %.1f %% removed (want 90)", kind, reached[kind], 100*share)
	}
	lost := float64(removed["clean"]) / float64(reached["clean"])
	r.bar(lost <= 0.05, "domain: clean GSM8K %d reach it, %.1f %% removed (at most 5)", reached["clean"], 100*lost)
	r.bar(float64(exported) >= 0.9*float64(clean), "clean GSM8K: %d texts, %.1f %% reach the export (want 90)", clean,
		100*float64(exported)/float64(clean))
}
