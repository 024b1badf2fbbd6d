package dedup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

// hashWords hashes the words of a text, as a caller would.
func hashWords(text string) []uint64 {
	var out []uint64
	for _, w := range strings.Fields(text) {
		out = append(out, xxh3.HashString(w))
	}
	return out
}

// wordRuns is the set of runs of n words of a text, as text, and a single run of all
// words if there are fewer than n.
func wordRuns(text string, n int) map[string]bool {
	words := strings.Fields(text)
	runs := map[string]bool{}
	if k := len(words); k > 0 && k < n {
		runs[fmt.Sprint("short ", words)] = true
	}
	for i := 0; i+n <= len(words); i++ {
		runs[fmt.Sprint(words[i:i+n])] = true
	}
	return runs
}

// slowJaccard is the similarity of sets of strings, by definition.
func slowJaccard(a, b map[string]bool) float64 {
	union := map[string]bool{}
	shared := 0
	for s := range a {
		union[s] = true
		if b[s] {
			shared++
		}
	}
	for s := range b {
		union[s] = true
	}
	if len(union) == 0 {
		return 0
	}
	return float64(shared) / float64(len(union))
}

func shingleSet(text string, n int) []uint64 {
	return Distinct(Shingles(nil, hashWords(text), n))
}

func TestJaccardExhaustive(t *testing.T) {
	var texts []string
	sequences(2, 5, func(s []uint64) { texts = append(texts, strings.Trim(fmt.Sprint(s), "[]")) })
	for n := 1; n <= 3; n++ {
		for _, a := range texts {
			for _, b := range texts {
				got, want := Jaccard(shingleSet(a, n), shingleSet(b, n)), slowJaccard(wordRuns(a, n), wordRuns(b, n))
				if got != want {
					t.Fatalf("%d words, %q and %q: %v, want %v", n, a, b, got, want)
				}
			}
		}
	}
}

func TestJaccardKnown(t *testing.T) {
	for _, c := range []struct {
		a, b string
		n    int
		want float64
	}{
		{"the quick brown fox", "the quick brown dog", 1, 3. / 5},
		{"the quick brown fox", "the quick brown dog", 2, 2. / 4},
		{"a a a a a a", "a a", 2, 1}, // the set has no counts
		{"one two", "one two", 5, 1}, // short documents are compared
		{"one two", "one two three", 5, 0},
		{"", "", 5, 0},
		{"", "x", 5, 0},
	} {
		if got := Jaccard(shingleSet(c.a, c.n), shingleSet(c.b, c.n)); got != c.want {
			t.Errorf("%d words, %q and %q: %v, want %v", c.n, c.a, c.b, got, c.want)
		}
	}
}

// TestLeastShared checks the bound against the definition for all sums of sizes.
func TestLeastShared(t *testing.T) {
	for _, verify := range []float64{0, 1e-9, .1, .3, .5, 2. / 3, .7, .75, .8, .9, .99, 1} {
		for total := 1; total <= 300; total++ {
			n := leastShared(verify, total)
			if n > 0 && similarity(n-1, total) >= verify {
				t.Fatalf("verify %v, total %d: %d shared is not the least", verify, total, n)
			}
			if 2*n <= total && similarity(n, total) < verify {
				t.Fatalf("verify %v, total %d: %d shared is too few", verify, total, n)
			}
		}
	}
}

func FuzzBounds(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{2, 3, 4}, .5)
	f.Add([]byte{}, []byte{0}, 0.)
	f.Fuzz(func(t *testing.T, x, y []byte, verify float64) {
		if !(verify >= 0 && verify <= 1) {
			verify = .8
		}
		a, b := byteSet(x), byteSet(y)
		checkBounds(t, a, b, verify)
		// Many elements in few remainders fill single bits of a sketch.
		for i := range a {
			a[i] *= 1 << 10
		}
		checkBounds(t, a, b, verify)
	})
}

func byteSet(data []byte) []uint64 {
	var set []uint64
	for i, b := range data {
		set = append(set, uint64(b)+256*uint64(i%3))
	}
	return Distinct(set)
}

// checkBounds compares what settles a pair early with the definition.
func checkBounds(t *testing.T, a, b []uint64, verify float64) {
	t.Helper()
	shared := 0
	for _, h := range a {
		if slices.Contains(b, h) {
			shared++
		}
	}
	total := len(a) + len(b)
	if most := mostShared(appendSketch(nil, a), appendSketch(nil, b), total); most < shared {
		t.Fatalf("sketches bound %d shared elements by %d", shared, most)
	}
	least := leastShared(verify, total)
	got, ok := countShared(a, b, least)
	if near := similarity(shared, total) >= verify; ok != near || ok && got != shared {
		t.Fatalf("verify %v: %d shared of %d found as %d, %v", verify, shared, total, got, ok)
	}
}

func TestBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300, 2000} {
		for _, share := range []float64{0, .1, .5, .8, .95, 1} {
			a, b := pairOfSets(r, n, int(share*float64(n)))
			a, b = Distinct(slices.Clone(a)), Distinct(slices.Clone(b))
			for _, verify := range []float64{0, .3, .8, 1} {
				checkBounds(t, a, b, verify)
				checkBounds(t, a, b[:len(b)/3], verify)
			}
		}
	}
}

// TestSketchSettles checks that the sketch settles pairs well below verify, at any size:
// that is its only purpose.
func TestSketchSettles(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, n := range []int{64, 100, 129, 338, 1000, 10000} {
		settled := 0
		for range 100 {
			a, b := pairOfSets(r, n, n*6/10) // Jaccard .43
			if mostShared(appendSketch(nil, a), appendSketch(nil, b), 2*n) < leastShared(.8, 2*n) {
				settled++
			}
		}
		if settled < 95 {
			t.Errorf("%d shingles: only %d of 100 unlike pairs are settled by sketch", n, settled)
		}
	}
}

func TestSketchWords(t *testing.T) {
	for elements, want := range map[int]int{0: 1, 1: 1, 64: 1, 65: 2, 128: 2, 129: 4, 338: 8, 512: 8, 513: 16} {
		if got := sketchWords(elements); got != want {
			t.Errorf("%d elements: %d words, want %d", elements, got, want)
		}
	}
}

func BenchmarkJaccard(b *testing.B) {
	r := rand.New(rand.NewPCG(13, 14))
	x, y := pairOfSets(r, benchWords-4, 300)
	x, y = Distinct(slices.Clone(x)), Distinct(slices.Clone(y))
	for b.Loop() {
		if math.IsNaN(Jaccard(x, y)) {
			b.Fatal("not a number")
		}
	}
}
