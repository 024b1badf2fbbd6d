package dedup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// slowCheck is the twin of OverlapIndex.Check, on the words themselves.
func slowCheck(references []string, n int, document string) (Overlap, bool) {
	words := strings.Fields(document)
	out := Overlap{RunsAll: max(0, len(words)-n+1)}
	counts, firsts := make([]int, len(references)), make([]int, len(references))
	for i := 0; i+n <= len(words); i++ {
		for ref, text := range references {
			if hasRun(strings.Fields(text), words[i:i+n]) {
				out.Runs++
				if counts[ref] == 0 {
					firsts[ref] = i
				}
				counts[ref]++
				break
			}
		}
	}
	for ref, text := range references {
		if len(words) > 0 && slices.Equal(strings.Fields(text), words) {
			out.Ref, out.Equal = ref, true
			return out, true
		}
	}
	for ref := range references {
		if counts[ref] > counts[out.Ref] {
			out.Ref = ref
		}
	}
	if out.Runs > 0 {
		out.Position = firsts[out.Ref]
	}
	return out, out.Runs > 0
}

func hasRun(words, run []string) bool {
	for i := 0; i+len(run) <= len(words); i++ {
		if slices.Equal(words[i:i+len(run)], run) {
			return true
		}
	}
	return false
}

func mustOverlapIndex(t testing.TB, n int, references ...string) *OverlapIndex {
	t.Helper()
	x, err := NewOverlapIndex(n)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range references {
		if ref := x.Add(hashWords(text)); ref != i {
			t.Fatalf("reference %d got number %d", i, ref)
		}
	}
	return x
}

func checkOverlap(t *testing.T, references []string, n int, documents []string) {
	t.Helper()
	x := mustOverlapIndex(t, n, references...)
	for _, document := range documents {
		got, hit := x.Check(hashWords(document))
		want, wantHit := slowCheck(references, n, document)
		if got != want || hit != wantHit {
			t.Fatalf("runs of %d of %q in %q: %+v %v, want %+v %v", n, document, references, got, hit, want, wantHit)
		}
	}
}

func TestOverlapExhaustive(t *testing.T) {
	var texts []string
	sequences(2, 5, func(s []uint64) { texts = append(texts, strings.Trim(fmt.Sprint(s), "[]")) })
	for n := 1; n <= 4; n++ {
		for i, a := range texts {
			checkOverlap(t, []string{a, texts[(7*i+3)%len(texts)]}, n, texts)
		}
	}
}

func TestOverlapKnown(t *testing.T) {
	references := []string{
		"a b c d e",   // 0
		"x y",         // 1, shorter than a run
		"b c d q r s", // 2
		"",            // 3
		"a b c d e",   // 4, equal to 0
		"x y",         // 5
	}
	x := mustOverlapIndex(t, 3, references...)
	for _, c := range []struct {
		document string
		want     Overlap
		hit      bool
	}{
		{"a b c d e", Overlap{0, true, 0, 3, 3}, true},
		{"x y", Overlap{1, true, 0, 0, 0}, true},
		{"x y z", Overlap{RunsAll: 1}, false}, // a short reference is found whole only
		{"x", Overlap{}, false},
		{"", Overlap{}, false},
		{"k b c d k", Overlap{0, false, 1, 1, 3}, true}, // of references 0, 2 and 4
		{"k a b c d q r s", Overlap{2, false, 3, 5, 6}, true},
		{"c d q r s a b c", Overlap{2, false, 0, 4, 6}, true},
		{"e d c b a", Overlap{RunsAll: 3}, false},
	} {
		got, hit := x.Check(hashWords(c.document))
		if got != c.want || hit != c.hit {
			t.Errorf("%q: %+v %v, want %+v %v", c.document, got, hit, c.want, c.hit)
		}
	}
	if x.Len() != 6 || x.Runs() != 6 || x.MemoryBytes() < 26*(6+2) {
		t.Errorf("%d references, %d runs, %d bytes", x.Len(), x.Runs(), x.MemoryBytes())
	}
	if _, err := NewOverlapIndex(0); err == nil || !strings.Contains(err.Error(), "runs of 0 words") {
		t.Errorf("error %v", err)
	}
}

// FuzzOverlap reads texts of one-letter words: lines of references, and the last line
// the document.
func FuzzOverlap(f *testing.F) {
	f.Add("abcab\nbca\n\nab\nabcabca", 3)
	f.Add("aaaa\naaaaa", 2)
	f.Fuzz(func(t *testing.T, text string, n int) {
		if len(text) > 300 {
			return
		}
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			lines[i] = strings.Join(strings.Split(line, ""), " ")
		}
		last := len(lines) - 1
		checkOverlap(t, lines[:last], 1+(n&0xffff)%6, lines[last:])
	})
}

// BenchmarkOverlap asks for documents that share nothing with the references, which is
// the usual case, at two sizes of the index.
func BenchmarkOverlap(b *testing.B) {
	for _, references := range []int{200, 20000} {
		b.Run(fmt.Sprintf("%dreferences", references), func(b *testing.B) {
			r := rand.New(rand.NewPCG(23, 24))
			x := mustOverlapIndex(b, 13)
			for range references {
				x.Add(randomSet(r, benchWords))
			}
			documents := make([][]uint64, 500)
			for i := range documents {
				documents[i] = randomSet(r, benchWords)
			}
			i := 0
			for b.Loop() {
				if _, hit := x.Check(documents[i%len(documents)]); hit {
					b.Fatal("random documents overlap")
				}
				i++
			}
			b.ReportMetric(float64(x.MemoryBytes())/float64(x.Runs()), "bytes/run")
			perDocument(b)
		})
	}
}
