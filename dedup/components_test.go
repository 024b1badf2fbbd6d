package dedup

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// slowGroups finds the groups by spreading the lowest number along all pairs until
// nothing changes.
func slowGroups(n int, pairs [][2]int, sizeMin int) [][]int {
	lowest := make([]int, n)
	for i := range lowest {
		lowest[i] = i
	}
	for changed := true; changed; {
		changed = false
		for _, p := range pairs {
			low := min(lowest[p[0]], lowest[p[1]])
			changed = changed || lowest[p[0]] != low || lowest[p[1]] != low
			lowest[p[0]], lowest[p[1]] = low, low
		}
	}
	var out [][]int
	for root := range n {
		var group []int
		for i, low := range lowest {
			if low == root {
				group = append(group, i)
			}
		}
		if len(group) >= max(sizeMin, 1) {
			out = append(out, group)
		}
	}
	return out
}

func TestComponents(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 300 {
		n := 1 + r.IntN(30)
		var pairs [][2]int
		for range r.IntN(30) {
			pairs = append(pairs, [2]int{r.IntN(n), r.IntN(n)})
		}
		forward, backward := NewComponents(n), NewComponents(n)
		for i, p := range pairs {
			forward.Union(p[0], p[1])
			q := pairs[len(pairs)-1-i]
			backward.Union(q[1], q[0])
		}
		for sizeMin := range 4 {
			want := slowGroups(n, pairs, sizeMin)
			for _, c := range []*Components{forward, backward} {
				if got := c.Groups(sizeMin); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d documents, pairs %v, at least %d: %v, want %v", n, pairs, sizeMin, got, want)
				}
			}
		}
		documents := 0
		for _, s := range forward.Histogram() {
			documents += s.Size * s.Clusters
		}
		if documents != n {
			t.Fatalf("histogram of %d documents has %d", n, documents)
		}
	}
}
