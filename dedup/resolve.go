package dedup

import (
	"cmp"
	"fmt"
	"slices"
)

// Candidate is a document that may have near-duplicates.
type Candidate struct {
	Doc   int      // the caller's number for it, each used once
	Rank  int      // place in keep order: lower is visited first, equal ranks by Doc
	Fixed bool     // kept already, in an earlier run: visited before all others, never removed
	Keys  []uint64 // its band keys, each once
}

// Removal says which document goes, and which kept one is its reason.
type Removal struct {
	Removed, Match int     // numbers of documents
	Jaccard        float64 // of their distinct shingles
}

// SizeCount says how many clusters have a size.
type SizeCount struct {
	Size, Clusters int
}

// Resolution is what [Resolve] decided, with the figures of an audit. A cluster is a
// kept candidate with the documents that name it, so that the sizes add up to the
// number of candidates.
type Resolution struct {
	Removals      []Removal   // ascending by Removed
	Clusters      []SizeCount // ascending by size
	PairsCompared int         // pairs of a document and a kept one with a common band key
	PairsBelow    int         // of these, pairs whose similarity is below verify
	BucketMax     int         // most candidates with one band key
}

// Resolve applies the rule of the package comment to candidates in any order. Of
// several kept documents that a document matches, it names the one with the highest
// Jaccard similarity; the first in keep order wins a tie.
//
// The function shingles returns the set of a document as [Distinct] leaves it. It is
// called at most once per document, only for those that share a band key with another,
// in keep order; what it returns must not change until Resolve is done. Beside these
// sets Resolve takes the memory that [NearIndex] states for the kept documents, and 26
// to 52 bytes per different band key.
//
// Documents without a common band key have no influence on each other: candidates may
// be cut into connected groups (see [Components]) and each group resolved by itself. A
// group of more than 2^31-1 band keys in all is an error.
func Resolve(candidates []Candidate, verify float64, shingles func(doc int) []uint64) (Resolution, error) {
	index, err := NewNearIndex(verify)
	if err != nil {
		return Resolution{}, err
	}
	if err := checkKeys(candidates); err != nil {
		return Resolution{}, err
	}
	order, err := keepOrder(candidates)
	if err != nil {
		return Resolution{}, err
	}
	r := resolver{finder: index.Finder(), index: index, shingles: shingles}
	r.countBuckets(candidates)
	for _, i := range order {
		if err := r.visit(&candidates[i]); err != nil {
			return Resolution{}, err
		}
	}
	return r.resolution(), nil
}

func checkKeys(candidates []Candidate) error {
	keys := 0
	for i := range candidates {
		keys += len(candidates[i].Keys)
	}
	if keys > postingsMax {
		return fmt.Errorf("near duplicates: %d band keys in one group, at most %d; use fewer bands",
			keys, postingsMax)
	}
	return nil
}

// keepOrder returns the positions of the candidates in keep order.
func keepOrder(candidates []Candidate) ([]int, error) {
	order := make([]int, len(candidates))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(candidates[i].Doc, candidates[j].Doc) })
	for k := 1; k < len(order); k++ {
		if doc := candidates[order[k]].Doc; doc == candidates[order[k-1]].Doc {
			return nil, fmt.Errorf("near duplicates: document %d is a candidate twice", doc)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &candidates[i], &candidates[j]
		if a.Fixed != b.Fixed {
			return boolInt(b.Fixed) - boolInt(a.Fixed)
		}
		return cmp.Compare(a.Rank, b.Rank)
	})
	return order, nil
}

// resolver is the state of one Resolve.
type resolver struct {
	index    *NearIndex
	finder   *Finder
	shingles func(doc int) []uint64

	buckets  table    // of a band key: the number of its candidates
	common   []uint64 // keys of the visited document that another has too
	kept     []int    // by number in the index: the document
	named    []int    // by number in the index: how many were removed for it
	alone    int      // kept documents that are not in the index
	removals []Removal

	bucketMax int
}

func (r *resolver) countBuckets(candidates []Candidate) {
	for i := range candidates {
		for _, key := range candidates[i].Keys {
			count := r.buckets.at(key)
			*count++
			r.bucketMax = max(r.bucketMax, int(*count))
		}
	}
}

// visit keeps or removes the next document in keep order.
func (r *resolver) visit(c *Candidate) error {
	r.common = r.common[:0]
	for _, key := range c.Keys {
		if r.buckets.get(key) > 1 {
			r.common = append(r.common, key)
		}
	}
	if len(r.common) == 0 {
		r.alone++
		return nil
	}
	set := r.shingles(c.Doc)
	if !isDistinct(set) {
		return fmt.Errorf("near duplicates: shingles of document %d are not sorted and distinct", c.Doc)
	}
	if !c.Fixed {
		if m, ok := r.finder.Find(r.common, set); ok {
			r.named[m.Ref]++
			r.removals = append(r.removals, Removal{c.Doc, r.kept[m.Ref], m.Jaccard})
			return nil
		}
	}
	r.index.Add(r.common, set)
	r.kept, r.named = append(r.kept, c.Doc), append(r.named, 0)
	return nil
}

func isDistinct(set []uint64) bool {
	for i := 1; i < len(set); i++ {
		if set[i-1] >= set[i] {
			return false
		}
	}
	return true
}

func (r *resolver) resolution() Resolution {
	slices.SortFunc(r.removals, func(a, b Removal) int { return cmp.Compare(a.Removed, b.Removed) })
	sizes := make([]int, r.alone, r.alone+len(r.named))
	for i := range sizes {
		sizes[i] = 1
	}
	for _, n := range r.named {
		sizes = append(sizes, 1+n)
	}
	return Resolution{
		Removals:      r.removals,
		Clusters:      histogram(sizes),
		PairsCompared: r.finder.PairsCompared,
		PairsBelow:    r.finder.PairsBelow,
		BucketMax:     r.bucketMax,
	}
}

// histogram counts equal sizes; it sorts its argument.
func histogram(sizes []int) []SizeCount {
	slices.Sort(sizes)
	var out []SizeCount
	for _, size := range sizes {
		if n := len(out); n > 0 && out[n-1].Size == size {
			out[n-1].Clusters++
			continue
		}
		out = append(out, SizeCount{size, 1})
	}
	return out
}
