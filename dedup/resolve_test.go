package dedup

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// corpus is candidates with their sets.
type corpus struct {
	candidates []Candidate
	sets       map[int][]uint64
}

// randomCorpus draws documents with small sets from few shingles and few band keys, so
// that all kinds of matches and ties occur.
func randomCorpus(draw func(n int) int) corpus {
	c := corpus{sets: map[int][]uint64{}}
	letters, keys := 2+draw(7), 1+draw(6)
	for doc := range draw(14) {
		var set, own []uint64
		for range draw(7) {
			set = append(set, mix(uint64(draw(letters))))
		}
		for range draw(4) {
			own = append(own, uint64(draw(keys)))
		}
		x := Candidate{Doc: 3*doc + 1, Rank: draw(5), Fixed: draw(6) == 0, Keys: Distinct(own)}
		c.candidates = append(c.candidates, x)
		c.sets[x.Doc] = Distinct(set)
	}
	return c
}

// checkResolve compares a Resolver with its twin, the corpus whole and cut into groups.
func checkResolve(t *testing.T, c corpus, verify float64, bucketMax int) Resolution {
	t.Helper()
	got := resolve(t, c.candidates, verify, bucketMax, c.sets)
	if want := slowResolve(c.candidates, verify, bucketMax, c.sets); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("verify %v, at most %d, candidates %+v, sets %v:\n got %+v\nwant %+v",
			verify, bucketMax, c.candidates, c.sets, got, want)
	}
	checkGroups(t, c, verify, bucketMax, got)
	return got
}

// checkGroups resolves each connected group by itself and compares the sum.
func checkGroups(t *testing.T, c corpus, verify float64, bucketMax int, want Resolution) {
	t.Helper()
	first := map[uint64]int{}
	groups := NewComponents(len(c.candidates))
	for i, x := range c.candidates {
		for _, key := range x.Keys {
			if j, ok := first[key]; ok {
				groups.Union(i, j)
			}
			first[key] = i
		}
	}
	var removals []Removal
	compared := 0
	for _, members := range groups.Groups(2) {
		var part []Candidate
		for _, i := range members {
			part = append(part, c.candidates[i])
		}
		r := resolve(t, part, verify, bucketMax, c.sets)
		removals = append(removals, r.Removals...)
		compared += r.PairsCompared
	}
	slices.SortFunc(removals, func(a, b Removal) int { return a.Removed - b.Removed })
	if !slices.Equal(removals, want.Removals) || compared != want.PairsCompared {
		t.Fatalf("by groups: %v, %d pairs; as a whole: %v, %d", removals, compared, want.Removals, want.PairsCompared)
	}
}

func TestResolveRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	removed := 0
	for i := range 4000 {
		c := randomCorpus(r.IntN)
		verify := []float64{0, .2, .5, 2. / 3, .8, 1}[i%6]
		removed += len(checkResolve(t, c, verify, i%4).Removals)
	}
	if removed < 1000 {
		t.Errorf("only %d removals: the corpora test little", removed)
	}
}

func FuzzResolve(f *testing.F) {
	f.Add([]byte("some bytes to draw a corpus from"), .5, uint8(0))
	f.Add([]byte{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}, 1., uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, verify float64, bucketMax uint8) {
		if !(verify >= 0 && verify <= 1) {
			verify = .5
		}
		draw := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := int(data[0])
			data = data[1:]
			return b % n
		}
		checkResolve(t, randomCorpus(draw), verify, int(bucketMax%5))
	})
}

// TestResolveNoChain is the case that transitive closure gets wrong: b resembles a, c
// resembles b, but c does not resemble a and stays.
func TestResolveNoChain(t *testing.T) {
	c := corpus{sets: map[int][]uint64{
		0: {1, 2, 3, 4}, 1: {2, 3, 4, 5}, 2: {3, 4, 5, 6},
	}}
	for doc := range 3 {
		c.candidates = append(c.candidates, Candidate{Doc: doc, Rank: doc, Keys: []uint64{1}})
	}
	got := checkResolve(t, c, .6, 0)
	if want := []Removal{{1, 0, .6}}; !slices.Equal(got.Removals, want) {
		t.Errorf("removals %v, want %v", got.Removals, want)
	}
	// With b first, both others go.
	c.candidates[1].Rank = -1
	got = checkResolve(t, c, .6, 0)
	if want := []Removal{{0, 1, .6}, {2, 1, .6}}; !slices.Equal(got.Removals, want) {
		t.Errorf("removals %v, want %v", got.Removals, want)
	}
}

// TestResolveMatch checks which of several matches is named.
func TestResolveMatch(t *testing.T) {
	c := corpus{
		sets: map[int][]uint64{
			7: {1, 2, 3, 4, 5, 6, 20}, 8: {1, 2, 3, 4, 5, 6, 10}, 9: {1, 2, 3, 4, 10, 11, 12}, 1: {1, 2, 3, 4, 5, 6},
		},
		candidates: []Candidate{
			{Doc: 9, Rank: 1, Keys: []uint64{1}},
			{Doc: 8, Rank: 3, Keys: []uint64{1, 2}},
			{Doc: 7, Rank: 2, Keys: []uint64{2, 3}},
			{Doc: 1, Rank: 4, Keys: []uint64{1, 3}},
		},
	}
	got := checkResolve(t, c, .8, 0) // 8 resembles 7 by 6/8 only and stays; 1 resembles both by 6/7
	if want := []Removal{{1, 7, 6. / 7}}; !slices.Equal(got.Removals, want) {
		t.Errorf("removals %v, want %v", got.Removals, want)
	}
	if got.PairsCompared != 5 || got.PairsBelow != 3 {
		t.Errorf("%d pairs, %d below, want 5 and 3", got.PairsCompared, got.PairsBelow)
	}
	c.candidates[2].Keys = []uint64{2} // 1 no longer shares a band with 7
	got = checkResolve(t, c, .8, 0)
	if want := []Removal{{1, 8, 6. / 7}}; !slices.Equal(got.Removals, want) {
		t.Errorf("removals %v, want %v", got.Removals, want)
	}
}

// TestResolveFixed checks that documents of an earlier run are never removed and win
// whatever the rank says.
func TestResolveFixed(t *testing.T) {
	set := []uint64{1, 2, 3}
	c := corpus{sets: map[int][]uint64{0: set, 1: set, 2: set}}
	c.candidates = []Candidate{
		{Doc: 0, Rank: 0, Keys: []uint64{5}},
		{Doc: 1, Rank: 9, Keys: []uint64{5}, Fixed: true},
		{Doc: 2, Rank: 8, Keys: []uint64{5}, Fixed: true},
	}
	got := checkResolve(t, c, .8, 0)
	if want := []Removal{{0, 2, 1}}; !slices.Equal(got.Removals, want) {
		t.Errorf("removals %v, want %v", got.Removals, want)
	}
}

func TestResolveErrors(t *testing.T) {
	for _, verify := range []float64{-.1, 1.1, math.NaN()} {
		if _, err := NewResolver(verify, 0); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("verify is %v", verify)) {
			t.Errorf("verify %v: %v", verify, err)
		}
	}
	r, err := NewResolver(.5, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Visit([]uint64{1}, []uint64{2, 1}); err == nil || !strings.Contains(err.Error(), "not sorted and distinct") {
		t.Errorf("unsorted shingles: %v", err)
	}
	wrong := func() ([]uint64, error) { return nil, errors.New("no such file") }
	if err := r.Earlier(1, 1, wrong); err == nil || err.Error() != "no such file" {
		t.Errorf("shingles that cannot be read: %v", err)
	}
}

// TestResolverLetsGo checks that a large group does not make the small ones after it slow:
// its memory is given back.
func TestResolverLetsGo(t *testing.T) {
	r, err := NewResolver(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(1000) {
		if _, err := r.Visit([]uint64{2 * i, 2*i + 1}, []uint64{i}); err != nil {
			t.Fatal(err)
		}
	}
	full := r.MemoryBytes()
	r.Begin()
	if left := r.MemoryBytes(); left > full/4 {
		t.Errorf("%d bytes of %d are held after a group", left, full)
	}
	if o, err := r.Visit([]uint64{2, 3}, []uint64{1}); err != nil || o.Removed {
		t.Errorf("a document of the group before is remembered: %+v %v", o, err)
	}
}

// TestFinders asks an index from several goroutines.
func TestFinders(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	x, err := NewNearIndex(.5)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		x.Add([]uint64{uint64(r.IntN(20)), 100 + uint64(r.IntN(20))}, Distinct(randomSet(r, 40)))
	}
	results := make(chan string)
	ask := func() {
		f := x.Finder()
		text := ""
		for ref, set := range x.sets {
			m, ok := f.Find([]uint64{uint64(ref % 20)}, set)
			text += fmt.Sprint(m, ok, " ")
		}
		results <- fmt.Sprint(text, f.PairsCompared, f.PairsBelow)
	}
	for range 4 {
		go ask()
	}
	first := <-results
	for range 3 {
		if other := <-results; other != first {
			t.Fatalf("two finders differ:\n%s\n%s", first, other)
		}
	}
}

// TestNearMemory holds the index to the memory that its comment states.
func TestNearMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(27, 28))
	x, err := NewNearIndex(.8)
	if err != nil {
		t.Fatal(err)
	}
	const documents, shingles, keys = 1000, 300, 14
	for range documents {
		x.Add(randomSet(r, keys), Distinct(randomSet(r, shingles)))
	}
	least := documents * (40 + keys*(12+26) + shingles*8 + shingles/8)
	most := documents * (40 + keys*(12+52) + shingles*8 + shingles/4)
	got := x.MemoryBytes()
	if got < least || got > most*5/4 { // appended slices have up to a quarter to spare
		t.Errorf("%d bytes, stated are %d to %d", got, least, most)
	}
}

// TestFinderTurns wraps the number of the question around.
func TestFinderTurns(t *testing.T) {
	x, err := NewNearIndex(.5)
	if err != nil {
		t.Fatal(err)
	}
	x.Add([]uint64{1}, []uint64{1, 2})
	f := x.Finder()
	f.turn = math.MaxUint32 - 2
	for i := range 5 {
		if m, ok := f.Find([]uint64{1}, []uint64{1, 2}); !ok || m != (Match{0, 1}) {
			t.Fatalf("question %d: %v %v", i, m, ok)
		}
	}
}

// templateCorpus is a bucket of documents from one template: all share a band and 60 %
// of their shingles with all others, so that none may be removed at .8.
func templateCorpus(n int) corpus {
	r := rand.New(rand.NewPCG(21, 22))
	template := randomSet(r, 200)
	c := corpus{sets: map[int][]uint64{}}
	for doc := range n {
		c.candidates = append(c.candidates, Candidate{Doc: doc, Rank: r.IntN(n), Keys: []uint64{1, 2, uint64(3 + doc%7)}})
		c.sets[doc] = Distinct(append(slices.Clone(template), randomSet(r, 138)...))
	}
	return c
}

func TestResolveTemplate(t *testing.T) {
	const n = 2000
	c := templateCorpus(n)
	got := resolve(t, c.candidates, .8, 0, c.sets)
	if len(got.Removals) != 0 || got.PairsCompared != n*(n-1)/2 || got.PairsBelow != got.PairsCompared {
		t.Errorf("%d removals, %d pairs, %d below", len(got.Removals), got.PairsCompared, got.PairsBelow)
	}
	got = resolve(t, c.candidates, .8, 10, c.sets)
	if len(got.Removals) != 0 || got.PairsCompared > 90*n {
		t.Errorf("with a limit %d removals, %d pairs", len(got.Removals), got.PairsCompared)
	}
}

func BenchmarkResolveTemplate(b *testing.B) {
	c := templateCorpus(3000)
	pairs := 0
	for b.Loop() {
		pairs += resolve(b, c.candidates, .8, 0, c.sets).PairsCompared
	}
	b.ReportMetric(float64(pairs)/b.Elapsed().Seconds(), "pairs/s")
}

// BenchmarkResolveCopies is a bucket of copies of one document.
func BenchmarkResolveCopies(b *testing.B) {
	set := Distinct(randomSet(rand.New(rand.NewPCG(1, 2)), 338))
	var candidates []Candidate
	sets := map[int][]uint64{}
	for doc := range 100000 {
		sets[doc] = set
		candidates = append(candidates, Candidate{Doc: doc, Rank: doc, Keys: []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}})
	}
	for b.Loop() {
		resolve(b, candidates, .8, 0, sets)
	}
	b.ReportMetric(float64(b.N)*float64(len(candidates))/b.Elapsed().Seconds(), "docs/s")
}
