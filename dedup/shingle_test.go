package dedup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// slowShingles is the twin of Shingles: each run by itself, from the definition.
func slowShingles(words []uint64, n int) []uint64 {
	if len(words) < n {
		n = len(words)
	}
	var out []uint64
	for from := 0; n > 0 && from+n <= len(words); from++ {
		sum, power := uint64(0), uint64(1)
		for j := n - 1; j >= 0; j-- {
			sum += words[from+j] * power
			power *= polynomialBase
		}
		out = append(out, mix(sum+uint64(n)*lengthStep))
	}
	return out
}

// sequences calls visit with every sequence over 0..letters-1 of up to length letters.
func sequences(letters, length int, visit func([]uint64)) {
	var extend func([]uint64)
	extend = func(s []uint64) {
		visit(s)
		for letter := 0; len(s) < length && letter < letters; letter++ {
			extend(append(s, uint64(letter)))
		}
	}
	extend(make([]uint64, 0, length))
}

func TestShinglesExhaustive(t *testing.T) {
	meaning := map[uint64]string{} // of a hash: the run of words
	for n := 1; n <= 4; n++ {
		sequences(3, 7, func(words []uint64) {
			got := Shingles(nil, words, n)
			if want := slowShingles(words, n); !slices.Equal(got, want) {
				t.Fatalf("Shingles(%v, %d) = %x, want %x", words, n, got, want)
			}
			for i, h := range got {
				run := fmt.Sprint(words[i:min(i+n, len(words))])
				if was, ok := meaning[h]; ok && was != run {
					t.Fatalf("%s and %s have the same hash", was, run)
				}
				meaning[h] = run
			}
		})
	}
}

func TestShinglesAppend(t *testing.T) {
	words := []uint64{5, 6, 7}
	got := Shingles([]uint64{1}, words, 2)
	if want := append([]uint64{1}, slowShingles(words, 2)...); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := Shingles([]uint64{1}, nil, 2); !slices.Equal(got, []uint64{1}) {
		t.Errorf("no words: got %x, want what was there", got)
	}
}

func TestShinglesOfNothing(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("runs of 0 words do not panic")
		}
	}()
	Shingles(nil, []uint64{1}, 0)
}

func FuzzShingles(f *testing.F) {
	f.Add([]byte("a rose is a rose"), 5)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		n = 1 + (n&0x7fffffff)%20
		words := make([]uint64, len(text))
		for i, b := range text {
			words[i] = mix(uint64(b))
		}
		got, want := Shingles(nil, words, n), slowShingles(words, n)
		if !slices.Equal(got, want) {
			t.Fatalf("Shingles(%v, %d) = %x, want %x", words, n, got, want)
		}
		set := map[uint64]bool{}
		for _, h := range want {
			set[h] = true
		}
		if got = Distinct(got); len(got) != len(set) || !isDistinct(got) {
			t.Fatalf("Distinct has %d of %d hashes, in order: %v", len(got), len(set), isDistinct(got))
		}
	})
}

func randomSet(r *rand.Rand, n int) []uint64 {
	set := make([]uint64, n)
	for i := range set {
		set[i] = r.Uint64()
	}
	return set
}

func BenchmarkShingles(b *testing.B) {
	words := randomSet(rand.New(rand.NewPCG(1, 2)), benchWords)
	var dst []uint64
	for b.Loop() {
		dst = Shingles(dst[:0], words, 5)
	}
	perDocument(b)
}

func BenchmarkDistinct(b *testing.B) {
	shingles := randomSet(rand.New(rand.NewPCG(1, 2)), benchWords-4)
	scratch := make([]uint64, len(shingles))
	for b.Loop() {
		copy(scratch, shingles)
		Distinct(scratch)
	}
	perDocument(b)
}

// A benchmark document is a typical web page: 342 words, hence 338 shingles of 5 words,
// and 6.5 bytes of text per word.
const (
	benchWords     = 342
	benchTextBytes = benchWords * 13 / 2
)

// perDocument reports the speed of one document per iteration.
func perDocument(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
	b.SetBytes(benchTextBytes)
}

// TestSortHashes compares with the twin: random numbers, numbers of one first byte, repetitions.
func TestSortHashes(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, n := range []int{0, 1, 2, 150, hashesMax - 1, hashesMax, hashesMax + 1} {
		for _, shift := range []int{0, 8, 60} {
			v := make([]uint64, n)
			for i := range v {
				v[i] = rng.Uint64() >> shift
			}
			want := slices.Sorted(slices.Values(v))
			if sortHashes(v); !slices.Equal(v, want) {
				t.Errorf("%d numbers of %d bits are out of order", n, 64-shift)
			}
		}
	}
}
