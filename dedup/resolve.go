package dedup

import (
	"errors"
	"fmt"
	"slices"
)

// Resolver applies the rule of the package comment to documents that come in keep order.
// Documents without a common band key have no influence on each other, so a corpus may be
// cut into connected groups (see [Components]): what a Resolver holds are the kept documents
// of one group.
//
// With a limit, only the first bucketMax kept documents of a band key, in keep order, are
// compared with those that come after them. So a bucket of n documents costs n*bucketMax
// comparisons at most; a copy of one of those first is found in any case, and a document that
// resembles a later one only is not found through this bucket. Nothing is removed for it that
// the rule would keep.
type Resolver struct {
	bucketMax int
	index     *NearIndex
	finder    *Finder
	earlier   map[uint64]int32 // documents of earlier runs, by order: their number in the index
	visited   []int            // by number in the index: the number of the document in its group
	named     []int            // by document of the group: how many were removed for it; -1: removed

	full, leftOut int
}

// earlierTop keeps the orders of documents of earlier runs below those of this run.
const earlierTop = 1 << 63

// Outcome is what [Resolver.Visit] decided about a document.
type Outcome struct {
	Removed bool
	// Match is the number of the kept document that it resembles most, as visited in its
	// group; of equal ones the first in keep order. It is -1 for one of an earlier run.
	Match int
	// Earlier is the order of the match if it is of an earlier run.
	Earlier uint64
	Jaccard float64
}

// NewResolver returns a resolver without documents. A bucketMax of 0 is no limit.
func NewResolver(verify float64, bucketMax int) (*Resolver, error) {
	index, err := NewNearIndex(verify)
	if err != nil {
		return nil, err
	}
	if bucketMax == 0 {
		bucketMax = postingsMax
	}
	return &Resolver{bucketMax: bucketMax, index: index, finder: index.Finder(), earlier: map[uint64]int32{}}, nil
}

// Begin forgets the documents of the group before.
func (r *Resolver) Begin() {
	r.index.reset()
	clear(r.earlier)
	r.visited, r.named = r.visited[:0], r.named[:0]
}

// Earlier says that a document kept in an earlier run has a band key. It wins over all that
// are visited later, and is never removed. Its order, below 2^63, names it and says which of
// several equal matches comes first. The function shingles is called once in a group for each.
func (r *Resolver) Earlier(key, order uint64, shingles func() ([]uint64, error)) error {
	ref, known := r.earlier[order]
	if !known {
		set, err := shingles()
		if err != nil {
			return err
		}
		if !isDistinct(set) {
			return errors.New("near duplicates: shingles of an earlier document are not sorted and distinct")
		}
		ref = r.index.put(order, set)
		r.visited, r.earlier[order] = append(r.visited, -1), ref
	}
	if r.index.bucket(key) < r.bucketMax {
		r.index.post(key, ref)
	}
	return nil
}

// Visit keeps or removes the next document in keep order, which has the number 0 after Begin.
// Its keys are those that it shares with another document, each once; its shingles, which are
// copied if need be, must be as [Distinct] leaves them.
func (r *Resolver) Visit(keys, shingles []uint64) (Outcome, error) {
	if !isDistinct(shingles) {
		return Outcome{}, errors.New("near duplicates: shingles of a document are not sorted and distinct")
	}
	if m, ok := r.finder.Find(keys, shingles); ok {
		r.named = append(r.named, -1)
		out := Outcome{Removed: true, Match: r.visited[m.Ref], Earlier: r.index.orders[m.Ref], Jaccard: m.Jaccard}
		if out.Match >= 0 {
			r.named[out.Match]++
		}
		return out, nil
	}
	return Outcome{}, r.Keep(keys, shingles)
}

// Keep keeps the next document in keep order, whatever it resembles.
func (r *Resolver) Keep(keys, shingles []uint64) error {
	r.named = append(r.named, 0)
	return r.keep(len(r.named)-1, keys, shingles)
}

// keep indexes a kept document under the keys whose buckets are not full.
func (r *Resolver) keep(number int, keys, shingles []uint64) error {
	if len(keys) > postingsMax-len(r.index.postings) {
		return fmt.Errorf("near duplicates: more than %d band keys in one group; use fewer bands", postingsMax)
	}
	ref, full := int32(-1), false
	for _, key := range keys {
		if r.index.bucket(key) >= r.bucketMax {
			full = true
			continue
		}
		if ref < 0 {
			ref = r.index.put(earlierTop+uint64(number), slices.Clone(shingles))
			r.visited = append(r.visited, number)
		}
		r.index.post(key, ref)
		r.full += boolInt(r.index.bucket(key) == r.bucketMax)
	}
	r.leftOut += boolInt(full)
	return nil
}

// Sizes calls visit with each kept document of the group, by number, and the size of its
// cluster: itself and the documents that were removed for it.
func (r *Resolver) Sizes(visit func(number, size int)) {
	for number, n := range r.named {
		if n >= 0 {
			visit(number, 1+n)
		}
	}
}

// Capped is how many buckets are full so far, by the documents of this run, and how many of
// these were left out of a bucket because it was.
func (r *Resolver) Capped() (buckets, leftOut int) { return r.full, r.leftOut }

// PairsCompared is how many pairs of a document and a kept one shared a band key so far, and
// how many of these were below verify.
func (r *Resolver) PairsCompared() (pairs, below int) {
	return r.finder.PairsCompared, r.finder.PairsBelow
}

// MemoryBytes is what the documents of the group take.
func (r *Resolver) MemoryBytes() int {
	return r.index.MemoryBytes() + 8*(cap(r.visited)+cap(r.named)) + 48*len(r.earlier)
}

func isDistinct(set []uint64) bool {
	for i := 1; i < len(set); i++ {
		if set[i-1] >= set[i] {
			return false
		}
	}
	return true
}

// SizeCount says how many clusters have a size.
type SizeCount struct {
	Size, Clusters int
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
