package dedup

import (
	"fmt"
	"math"
)

// postingsMax is the most band keys of an index, repetitions counted.
const postingsMax = math.MaxInt32

// NearIndex holds documents by band key and finds the one that a document resembles
// most. Besides the shingles themselves it takes, per document, 40 bytes, 12 per band
// key, 26 to 52 per band key that no other has, and an eighth to a quarter of a byte per
// shingle; half as much again for a moment while it grows. It holds at most 2^31-1 band
// keys, those that documents share counted each time.
type NearIndex struct {
	verify   float64
	latest   table // of a band key: its latest posting, counted from 1
	postings []posting
	sets     [][]uint64
	sketches []uint64 // of all sets, one after the other
	starts   []int    // of each set's sketch; one more at the end
	orders   []uint64 // of each set: of several equal matches the lowest is named
}

// posting is an entry in the list of documents with one band key.
type posting struct {
	ref      int32
	previous int32 // counted from 1; 0 ends the list
	place    int32 // in the list of its key, counted from 1
}

// Match is a document of an index and its similarity to the one asked about.
type Match struct {
	Ref     int
	Jaccard float64
}

// NewNearIndex returns an empty index in which a document matches another if they share
// a band key and their Jaccard similarity is at least verify.
func NewNearIndex(verify float64) (*NearIndex, error) {
	if !(verify >= 0 && verify <= 1) {
		return nil, fmt.Errorf("near duplicates: verify is %v, must be between 0 and 1", verify)
	}
	return &NearIndex{verify: verify, starts: []int{0}}, nil
}

// Add indexes a document by its band keys and returns its number, counted from 0. The
// shingles must be as [Distinct] leaves them; the index keeps the slice.
func (x *NearIndex) Add(keys, shingles []uint64) int {
	if len(keys) > postingsMax-len(x.postings) {
		panic("dedup: a near index holds at most 2^31-1 band keys")
	}
	ref := x.put(uint64(len(x.sets)), shingles)
	for _, key := range keys {
		x.post(key, ref)
	}
	return int(ref)
}

// put adds a document without band keys.
func (x *NearIndex) put(order uint64, shingles []uint64) int32 {
	x.sets = append(x.sets, shingles)
	x.sketches = appendSketch(x.sketches, shingles)
	x.starts = append(x.starts, len(x.sketches))
	x.orders = append(x.orders, order)
	return int32(len(x.sets) - 1)
}

// post gives a document a band key.
func (x *NearIndex) post(key uint64, ref int32) {
	latest := x.latest.at(key)
	x.postings = append(x.postings, posting{ref, *latest, x.placeAfter(*latest)})
	*latest = int32(len(x.postings))
}

func (x *NearIndex) placeAfter(latest int32) int32 {
	if latest == 0 {
		return 1
	}
	return x.postings[latest-1].place + 1
}

// bucket is the number of documents with a band key.
func (x *NearIndex) bucket(key uint64) int { return int(x.placeAfter(x.latest.get(key))) - 1 }

// keepSlotsMax bounds the table that is cleared for use by a next group of documents. A
// larger one is let go: clearing it would cost more than the small groups that follow.
const keepSlotsMax = 1 << 10

// reset forgets all documents.
func (x *NearIndex) reset() {
	if len(x.latest.keys) > keepSlotsMax {
		*x = NearIndex{verify: x.verify, starts: []int{0}}
		return
	}
	x.latest.clear()
	clear(x.sets)
	x.postings, x.sets, x.sketches = x.postings[:0], x.sets[:0], x.sketches[:0]
	x.starts, x.orders = x.starts[:1], x.orders[:0]
}

// Len returns the number of documents added.
func (x *NearIndex) Len() int { return len(x.sets) }

// MemoryBytes returns the memory in use, the shingles of the documents included.
func (x *NearIndex) MemoryBytes() int {
	n := x.latest.bytes() + 12*cap(x.postings) + 8*(3*cap(x.sets)+cap(x.sketches)+cap(x.starts)+cap(x.orders))
	for _, set := range x.sets {
		n += 8 * len(set)
	}
	return n
}

func (x *NearIndex) sketch(ref int32) []uint64 {
	return x.sketches[x.starts[ref]:x.starts[ref+1]]
}

// Finder asks a [NearIndex] and counts. Several finders may work at once as long as
// nothing is added to the index.
type Finder struct {
	PairsCompared int // pairs that share a band key
	PairsBelow    int // of these, pairs whose similarity is below verify

	index  *NearIndex
	seen   []uint32 // by document: the last question that met it
	turn   uint32   // number of the question
	sketch []uint64 // of the document asked about
}

// Finder returns a new finder.
func (x *NearIndex) Finder() *Finder { return &Finder{index: x} }

// Find returns the document of the index that shares a band key with the one given and
// has the highest Jaccard similarity to it, if that reaches verify; the lowest number
// wins a tie.
func (f *Finder) Find(keys, shingles []uint64) (best Match, ok bool) {
	x := f.index
	f.nextTurn()
	for _, key := range keys {
		for p := x.latest.get(key); p != 0; p = x.postings[p-1].previous {
			ref := x.postings[p-1].ref
			if f.seen[ref] == f.turn {
				continue
			}
			f.seen[ref] = f.turn
			f.PairsCompared++
			jaccard, near := f.compare(ref, shingles)
			if !near {
				f.PairsBelow++
				continue
			}
			m := Match{int(ref), jaccard}
			if !ok || m.Jaccard > best.Jaccard || m.Jaccard == best.Jaccard && x.orders[ref] < x.orders[best.Ref] {
				best, ok = m, true
			}
		}
	}
	return best, ok
}

// nextTurn forgets the documents met by the question before.
func (f *Finder) nextTurn() {
	f.turn++
	if f.turn == 0 {
		clear(f.seen)
		f.turn = 1
	}
	for len(f.seen) < f.index.Len() {
		f.seen = append(f.seen, 0)
	}
	f.sketch = f.sketch[:0]
}

// compare returns the similarity of a document to an indexed one and whether it reaches
// verify; the similarity is computed only if it may. Sizes and sketches settle most
// unlike pairs for a few nanoseconds, which is what makes a large bucket of documents
// from one template affordable.
func (f *Finder) compare(ref int32, shingles []uint64) (float64, bool) {
	x := f.index
	set := x.sets[ref]
	total := len(set) + len(shingles)
	least := leastShared(x.verify, total)
	if min(len(set), len(shingles)) < least {
		return 0, false
	}
	if len(f.sketch) == 0 {
		f.sketch = appendSketch(f.sketch, shingles)
	}
	if mostShared(f.sketch, x.sketch(ref), total) < least {
		return 0, false
	}
	shared, ok := countShared(set, shingles, least)
	return similarity(shared, total), ok
}
