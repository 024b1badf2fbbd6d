package pipeline

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestHashID compares with the hash of the five as people would print them.
func TestHashID(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	name := func() string { return strings.Repeat("name/é\x00", rng.IntN(4)) }
	for range 1000 {
		seed, purpose, source, path, record := rng.Uint64()>>rng.IntN(64), name(), name(), name(), rng.Uint64()>>rng.IntN(64)
		h := fnv.New64a()
		fmt.Fprintf(h, "%d\x00%s\x00%s\x00%s\x00%d", seed, purpose, source, path, record)
		if want := mix(h.Sum64()); HashID(seed, purpose, source, path, record) != want {
			t.Fatalf("%d %q %q %q %d: not %x", seed, purpose, source, path, record, want)
		}
	}
}
