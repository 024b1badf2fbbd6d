package ngram

import (
	"math"
	"strings"
)

// twin is the model of the package comment written down as it stands there: maps of
// strings, every sum taken anew, nothing precomputed but the counts.
type twin struct {
	order      int
	vocabulary map[string]bool            // V: with <unk> and </s>, without <s>
	occurs     map[string]int             // how often an n-gram of the full order, or begun by <s>, occurs
	before     map[string]map[string]bool // the words that occur before an n-gram
	grams      []map[string]bool          // by length
}

func join(words ...string) string { return strings.Join(words, " ") }

// newTwin trains on documents of sentences of words.
func newTwin(order, minCount int, documents [][][]string) *twin {
	t := &twin{order, map[string]bool{"<unk>": true, "</s>": true}, map[string]int{}, map[string]map[string]bool{}, nil}
	counts := map[string]int{}
	for _, sentences := range documents {
		for _, sentence := range sentences {
			for _, w := range sentence {
				if counts[w]++; counts[w] == minCount {
					t.vocabulary[w] = true
				}
			}
		}
	}
	for range order + 1 {
		t.grams = append(t.grams, map[string]bool{})
	}
	for _, sentences := range documents {
		for _, sentence := range sentences {
			t.count(sentence)
		}
	}
	return t
}

// padded is a sentence between <s> and </s>, unknown words replaced.
func (t *twin) padded(sentence []string) []string {
	out := []string{"<s>"}
	for _, w := range sentence {
		if !t.vocabulary[w] {
			w = "<unk>"
		}
		out = append(out, w)
	}
	return append(out, "</s>")
}

func (t *twin) count(sentence []string) {
	words := t.padded(sentence)
	for i := range words {
		for n := 1; n <= t.order && i+n <= len(words); n++ {
			g := join(words[i : i+n]...)
			if i == 0 && n == 1 {
				continue // <s> is not predicted
			}
			t.grams[n][g] = true
			if i == 0 || n == t.order {
				t.occurs[g]++
				continue
			}
			if t.before[g] == nil {
				t.before[g] = map[string]bool{}
			}
			t.before[g][words[i-1]] = true
		}
	}
}

// adjusted is a(g).
func (t *twin) adjusted(g string) int {
	if strings.Count(g, " ")+1 == t.order || strings.HasPrefix(g, "<s>") {
		return t.occurs[g]
	}
	return len(t.before[g])
}

// discount is D_n(count).
func (t *twin) discount(n, count int) float64 {
	if count == 0 {
		return 0
	}
	var tk [5]float64
	for g := range t.grams[n] {
		if a := t.adjusted(g); a <= 4 {
			tk[a]++
		}
	}
	d := [4]float64{}
	for k := 1; k <= 3; k++ {
		y := tk[1] / (tk[1] + 2*tk[2])
		d[k] = float64(k) - float64(k+1)*y*tk[k+1]/tk[k]
		if math.IsNaN(d[k]) || tk[k] == 0 || d[k] <= 0 || d[k] > float64(k) {
			d = [4]float64{0, 0.5, 1, 1.5}
			break
		}
	}
	return d[min(count, 3)]
}

// prob is p(w|h).
func (t *twin) prob(h []string, w string) float64 {
	n := len(h) + 1
	sum, gamma := 0.0, 0.0
	for x := range t.vocabulary {
		a := t.adjusted(join(append(h[:len(h):len(h)], x)...))
		sum += float64(a)
		gamma += t.discount(n, a)
	}
	lower := func() float64 {
		if n == 1 {
			return 1 / float64(len(t.vocabulary))
		}
		return t.prob(h[1:], w)
	}
	if sum == 0 {
		return lower()
	}
	a := t.adjusted(join(append(h[:len(h):len(h)], w)...))
	return max(float64(a)-t.discount(n, a), 0)/sum + gamma/sum*lower()
}

// score returns the log probability and the tokens of a document.
func (t *twin) score(sentences [][]string) (logProb float64, tokens int) {
	for _, sentence := range sentences {
		words := t.padded(sentence)
		for i := 1; i < len(words); i++ {
			logProb += math.Log(t.prob(words[max(0, i-t.order+1):i], words[i]))
			tokens++
		}
	}
	return logProb, tokens
}
