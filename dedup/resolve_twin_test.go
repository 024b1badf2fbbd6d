package dedup

import (
	"cmp"
	"slices"
	"testing"
)

// Candidate is a document that may have near copies.
type Candidate struct {
	Doc   int      // its number, each used once
	Rank  int      // place in keep order: lower is visited first, equal ranks by Doc
	Fixed bool     // kept already, in an earlier run
	Keys  []uint64 // its band keys, each once
}

// Removal says which document goes, and which kept one is its reason.
type Removal struct {
	Removed, Match int
	Jaccard        float64
}

// Resolution is what was decided about a corpus.
type Resolution struct {
	Removals                  []Removal   // ascending by Removed
	Clusters                  []SizeCount // of this run's documents that share a key
	PairsCompared, PairsBelow int
}

func before(a, b Candidate) int {
	return cmp.Or(boolInt(b.Fixed)-boolInt(a.Fixed), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Doc, b.Doc))
}

// resolve takes a whole corpus through a Resolver as one group. Documents of earlier runs are
// told just before the first document that shares the key, as the stage does.
func resolve(t testing.TB, candidates []Candidate, verify float64, bucketMax int, sets map[int][]uint64) Resolution {
	t.Helper()
	r, err := NewResolver(verify, bucketMax)
	if err != nil {
		t.Fatal(err)
	}
	r.Begin()
	order := slices.SortedFunc(slices.Values(candidates), before)
	var fixed, docs []Candidate
	told := map[uint64]bool{}
	var out Resolution
	for _, c := range order {
		if c.Fixed {
			fixed = append(fixed, c)
			continue
		}
		docs = append(docs, c)
		for _, key := range c.Keys {
			for i, f := range fixed {
				if told[key] || !slices.Contains(f.Keys, key) {
					continue
				}
				if err := r.Earlier(key, uint64(i), func() ([]uint64, error) { return sets[f.Doc], nil }); err != nil {
					t.Fatal(err)
				}
			}
			told[key] = true
		}
		o, err := r.Visit(c.Keys, sets[c.Doc])
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case o.Removed && o.Match < 0:
			out.Removals = append(out.Removals, Removal{c.Doc, fixed[o.Earlier].Doc, o.Jaccard})
		case o.Removed:
			out.Removals = append(out.Removals, Removal{c.Doc, docs[o.Match].Doc, o.Jaccard})
		}
	}
	slices.SortFunc(out.Removals, func(a, b Removal) int { return a.Removed - b.Removed })
	out.PairsCompared, out.PairsBelow = r.PairsCompared()
	var sizes []int
	r.Sizes(func(_, size int) { sizes = append(sizes, size) })
	out.Clusters = histogram(sizes)
	return out
}

// slowResolve is the rule as it is written, with nothing but loops.
func slowResolve(candidates []Candidate, verify float64, bucketMax int, sets map[int][]uint64) Resolution {
	var out Resolution
	var kept []Candidate
	buckets, size := map[uint64][]int{}, map[int]int{} // the documents of a bucket that are compared
	for _, c := range slices.SortedFunc(slices.Values(candidates), before) {
		removal, found := Removal{Removed: c.Doc, Jaccard: -1}, false
		for _, k := range kept {
			common := slices.ContainsFunc(c.Keys, func(key uint64) bool { return slices.Contains(buckets[key], k.Doc) })
			if c.Fixed || !common {
				continue
			}
			out.PairsCompared++
			switch j := Jaccard(sets[c.Doc], sets[k.Doc]); {
			case j < verify:
				out.PairsBelow++
			case j > removal.Jaccard:
				removal.Match, removal.Jaccard, found = k.Doc, j, true
			}
		}
		if found {
			out.Removals = append(out.Removals, removal)
			if size[removal.Match] > 0 {
				size[removal.Match]++
			}
			continue
		}
		kept = append(kept, c)
		if !c.Fixed {
			size[c.Doc] = 1
		}
		for _, key := range c.Keys {
			if bucketMax == 0 || len(buckets[key]) < bucketMax {
				buckets[key] = append(buckets[key], c.Doc)
			}
		}
	}
	slices.SortFunc(out.Removals, func(a, b Removal) int { return a.Removed - b.Removed })
	var sizes []int
	for _, n := range size {
		sizes = append(sizes, n)
	}
	out.Clusters = histogram(sizes)
	return out
}
