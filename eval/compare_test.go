package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// population draws documents whose difference of losses is known on average.
type population struct {
	name   string
	spread float64 // of the logarithm of lengths
	tail   float64 // 1: a few documents get much worse; -1: much better; 0: normal
	n      int     // documents of one experiment, 100 effective ones
}

func populations() []population {
	return []population{
		{"equal lengths", 0, 0, 100}, {"lengths", 1, 0, 210}, {"some worse", 1, 1, 210}, {"some better", 1, -1, 210},
	}
}

func (p population) draw(rng *rand.Rand) pairedDocument {
	z := rng.NormFloat64()
	n := math.Ceil(min(1024, 120*math.Exp(p.spread*z)))
	noise := rng.NormFloat64()
	if p.tail != 0 {
		noise = p.tail * (rng.ExpFloat64() - 1)
	}
	x := n*(-0.03+0.01*z+0.04*noise) + math.Sqrt(n)*0.3*rng.NormFloat64()
	return pairedDocument{0, 2.4 * n, 2.4*n + x, n}
}

// truth is E[x]/E[n].
func (p population) truth() float64 {
	rng := rand.New(rand.NewPCG(99, 99))
	x, n := 0.0, 0.0
	for range 1_000_000 {
		d := p.draw(rng)
		x, n = x+d.candidate-d.base, n+d.tokens
	}
	return x / n
}

// percentileInterval is the simpler method that the package does not use.
func percentileInterval(docs []pairedDocument, resamples int, seed uint64) Interval {
	rng := rand.NewPCG(seed, 5)
	var theta []float64
	for range resamples {
		x, n := 0.0, 0.0
		for range docs {
			i, _ := bits.Mul64(rng.Uint64(), uint64(len(docs)))
			x, n = x+docs[i].candidate-docs[i].base, n+docs[i].tokens
		}
		theta = append(theta, x/n)
	}
	slices.Sort(theta)
	tail := (resamples + 1) / 40
	return Interval{theta[tail-1], theta[resamples-tail]}
}

// TestCoverage simulates experiments and counts how often the interval holds the truth. The figures
// are those of the package comment; one standard error of a share is 0.7 %.
func TestCoverage(t *testing.T) {
	const experiments, resamples = 1000, 199
	for _, p := range populations() {
		truth := p.truth()
		held, tooGood, simplyTooGood, effective := 0, 0, 0, 0.0
		for i := range experiments {
			rng := rand.New(rand.NewPCG(17, uint64(i)))
			var docs []pairedDocument
			for range p.n {
				docs = append(docs, p.draw(rng))
			}
			opts := CompareOptions{Seed: uint64(i), Resamples: resamples, Confidence: 0.95}
			d := difference(docs, opts, 0)
			effective += d.EffectiveDocuments / experiments
			if d.Interval.Low <= truth && truth <= d.Interval.High {
				held++
			}
			if d.Interval.High < truth {
				tooGood++
			}
			if percentileInterval(docs, resamples, uint64(i)).High < truth {
				simplyTooGood++
			}
		}
		t.Logf("%s: %.0f effective documents, covers %d of %d, ends below the truth %d times (percentile %d)",
			p.name, effective, held, experiments, tooGood, simplyTooGood)
		if held < 930 || held > 970 {
			t.Errorf("%s: the 95 %% interval holds the truth in %d of %d experiments", p.name, held, experiments)
		}
		if tooGood > 45 {
			t.Errorf("%s: the interval ends below the truth in %d of %d experiments", p.name, tooGood, experiments)
		}
		if effective < 0.95*documentsMin || effective > 1.1*documentsMin {
			t.Errorf("%s: %.1f effective documents; the claim is about %d", p.name, effective, documentsMin)
		}
		if p.tail > 0 && simplyTooGood <= tooGood {
			t.Errorf("%s: the percentile interval does as well: %d against %d", p.name, simplyTooGood, tooGood)
		}
	}
}

func drawn(n int, sources uint32, seed uint64) []pairedDocument {
	rng := rand.New(rand.NewPCG(seed, 1))
	var docs []pairedDocument
	for i := range n {
		d := populations()[1].draw(rng)
		d.source = uint32(i) % sources
		docs = append(docs, d)
	}
	return docs
}

// TestStandardError checks the linearised error against textbook formulas.
func TestStandardError(t *testing.T) {
	for _, sources := range []uint32{1, 3} {
		docs := drawn(50, sources, 3)
		theta, total := 0.0, 0.0
		for _, d := range docs {
			theta, total = theta+d.candidate-d.base, total+d.tokens
		}
		theta /= total
		variance := 0.0
		for source := range sources {
			var e []float64
			mean := 0.0
			for _, d := range docs {
				if d.source == source {
					e = append(e, d.candidate-d.base-theta*d.tokens)
					mean += e[len(e)-1]
				}
			}
			k := float64(len(e))
			squares := 0.0
			for _, x := range e {
				squares += (x - mean/k) * (x - mean/k)
			}
			variance += k * squares / (k - 1)
		}
		want := math.Sqrt(variance) / total
		s := newSample(docs, true)
		if math.Abs(s.theta-theta) > 1e-12 || math.Abs(s.standardError-want) > 1e-9*want {
			t.Errorf("%d strata: θ %v ± %v, want %v ± %v", sources, s.theta, s.standardError, theta, want)
		}
		if len(s.strata) != int(sources) {
			t.Errorf("%d strata, want %d", len(s.strata), sources)
		}
	}
}

// TestResample checks t* against a plain computation from the drawn documents themselves.
func TestResample(t *testing.T) {
	docs := drawn(40, 1, 8)
	s := newSample(docs, false)
	for i := range uint64(200) {
		got := s.resample(rand.NewPCG(i, 2), make([]sums, 1))
		rng := rand.NewPCG(i, 2)
		var again []pairedDocument
		for range docs {
			k, _ := bits.Mul64(rng.Uint64(), 40)
			again = append(again, docs[k])
		}
		plain := newSample(again, false)
		want := (plain.theta - s.theta) / plain.standardError
		if math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("resample %d: t* = %v, plainly %v", i, got, want)
		}
	}
}

// TestInterval checks the interval against the normal one, which many even documents approach.
func TestInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var docs []pairedDocument
	for range 2000 {
		docs = append(docs, pairedDocument{0, 200, 200 + rng.NormFloat64(), 100})
	}
	for confidence, z := range map[float64]float64{0.9: 1.6449, 0.95: 1.96, 0.99: 2.5758} {
		opts := CompareOptions{Confidence: confidence, Resamples: 9999, Workers: 2}
		d := difference(docs, opts, 0)
		for _, end := range []float64{(d.Difference - d.Interval.Low) / z, (d.Interval.High - d.Difference) / z} {
			if math.Abs(end/d.StandardError-1) > 0.06 {
				t.Errorf("confidence %v: half-width %v, want about %v", confidence, end, d.StandardError)
			}
		}
	}
	if i := difference(docs[:1], CompareOptions{Confidence: 0.95, Resamples: 99}, 0).Interval; i != unbounded() {
		t.Errorf("one document gives %v", i)
	}
	even := []pairedDocument{{0, 10, 9, 10}, {0, 20, 18, 20}, {0, 30, 27, 30}}
	d := difference(even, CompareOptions{Confidence: 0.95, Resamples: 99}, 0)
	if math.Abs(d.Interval.Low+0.1) > 1e-9 || math.Abs(d.Interval.High+0.1) > 1e-9 {
		t.Errorf("documents that say the same give %v", d.Interval)
	}
}

// fakeLosses are losses of documents of one sequence each, with a difference added for each token.
func fakeLosses(n int, delta, noise float64) *Losses {
	l := &Losses{Sources: []string{"a", "b"}, DataHash: 7}
	rng := rand.New(rand.NewPCG(6, 6))
	for i := range n {
		tokens := 50 + rng.IntN(100)
		nats := float64(tokens)*(2+rng.Float64()+delta) + noise*float64(tokens)*rng.NormFloat64()
		l.Sequences = append(l.Sequences, SequenceLoss{nats, tokens})
		l.Documents = append(l.Documents, DocumentLoss{uint64(i), uint32(i % 2), nats, tokens, 400})
	}
	return l
}

func mustCompare(t testing.TB, base, candidate *Losses, opts CompareOptions) Comparison {
	t.Helper()
	c, err := Compare(base, candidate, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompare(t *testing.T) {
	base, better := fakeLosses(300, 0, 0), fakeLosses(300, -0.1, 0.02)
	opts := CompareOptions{Seed: 3, Resamples: 999}
	c := mustCompare(t, base, better, opts)
	if c.Base != base.Mean() || math.Abs(c.Candidate-better.Mean()) > 1e-12 || c.Documents != 300 ||
		math.Abs(c.Difference.Difference-(c.Candidate-c.Base)) > 1e-12 || c.Tokens != base.Tokens() {
		t.Errorf("%+v", c)
	}
	if !(c.Interval.Low < -0.1 && -0.1 < c.Interval.High && c.Interval.High < -0.09) {
		t.Errorf("interval %v", c.Interval)
	}
	bits, ok := base.BitsPerByte()
	if !ok || c.BaseBitsPerByte != bits || math.Abs(bits-base.Nats()/math.Log(2)/(300*400)) > 1e-12 {
		t.Errorf("%v bits per byte", c.BaseBitsPerByte)
	}
	if len(c.Sources) != 2 || c.Sources[0].Source != "a" || c.Sources[1].Documents != 150 || !c.Sources[0].Enough {
		t.Errorf("sources %+v", c.Sources)
	}
	for _, workers := range []int{2, 3, 16} {
		opts.Workers = workers
		if other := mustCompare(t, base, better, opts); !reflect.DeepEqual(other, c) {
			t.Errorf("%d workers give another comparison", workers)
		}
	}
	opts.Seed++
	if other := mustCompare(t, base, better, opts); other.Interval == c.Interval {
		t.Error("the seed changes nothing")
	}
	// Swapping the models mirrors the estimate.
	if back := mustCompare(t, better, base, opts); back.Difference.Difference != -c.Difference.Difference {
		t.Errorf("swapped: %v, not %v", back.Difference.Difference, -c.Difference.Difference)
	}
	opts.Stratify = true
	if s := mustCompare(t, base, better, opts); s.Difference.Difference != c.Difference.Difference ||
		!(s.Interval.High < -0.09) {
		t.Errorf("stratified: %v", s)
	}
}

func TestCompareErrors(t *testing.T) {
	base := fakeLosses(20, 0, 0)
	for name, edit := range map[string]func(*Losses){
		"hash":       func(l *Losses) { l.DataHash++ },
		"length":     func(l *Losses) { l.Sequences = l.Sequences[1:] },
		"documents":  func(l *Losses) { l.Documents = l.Documents[1:] },
		"targets":    func(l *Losses) { l.Sequences[3].Tokens++ },
		"document 5": func(l *Losses) { l.Documents[5].Ordinal = 99 },
	} {
		other := fakeLosses(20, 0, 0)
		edit(other)
		if _, err := Compare(base, other, CompareOptions{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, opts := range []CompareOptions{
		{Confidence: 1}, {Confidence: 0.2}, {Confidence: math.NaN()}, {Resamples: 10}, {Resamples: 99, Confidence: 0.99},
		{DocumentsMin: -1},
	} {
		if _, err := Compare(base, base, opts); err == nil {
			t.Errorf("%+v: no error", opts)
		}
	}
}

func TestGroups(t *testing.T) {
	sizes := func(counts ...int) (out []int) {
		var docs []pairedDocument
		for source, n := range counts {
			for range n {
				docs = append(docs, pairedDocument{source: uint32(source)})
			}
		}
		for _, g := range groups(docs, true) {
			out = append(out, len(g))
		}
		return out
	}
	for _, tt := range []struct{ counts, want []int }{
		{[]int{20}, []int{20}}, {[]int{3}, []int{3}}, {[]int{3, 20, 2}, []int{25}},
		{[]int{3, 20, 5}, []int{20, 8}}, {[]int{8, 9, 1}, []int{8, 10}}, {[]int{4, 3}, []int{7}},
	} {
		if got := sizes(tt.counts...); !slices.Equal(got, tt.want) {
			t.Errorf("sources of %v documents give strata of %v, want %v", tt.counts, got, tt.want)
		}
	}
}

func TestGate(t *testing.T) {
	at := func(low, high float64) Comparison {
		c := Comparison{Confidence: 0.95, DocumentsMin: 100}
		c.EffectiveDocuments, c.Interval = 101, Interval{low, high}
		return c
	}
	edit := func(f func(*Comparison)) Comparison {
		c := at(-0.3, -0.2)
		f(&c)
		return c
	}
	tests := []struct {
		name     string
		c        Comparison
		minDelta float64
		want     Outcome
		word     string
	}{
		{"clear", at(-0.3, -0.2), 0.1, Improves, "ends at −0.2"},
		{"at min_delta", at(-0.3, -0.1), 0.1, Undecided, "reaches beyond"},
		{"just past", at(-0.3, math.Nextafter(-0.1, -1)), 0.1, Improves, ""},
		{"zero", at(-0.3, 0), 0, Undecided, ""},
		{"across", at(-0.3, 0.1), 0, Undecided, "hold more documents out"},
		{"too small", at(-0.05, -0.02), 0.1, Undecided, "no more than 0.1"},
		{"worse", at(0.01, 0.02), 0.1, Worse, "rises"},
		{"touches zero", at(0, 0.02), 0, Undecided, ""},
		{"unbounded", at(math.Inf(-1), math.Inf(1)), 0, Undecided, ""},
		{"few documents", edit(func(c *Comparison) { c.EffectiveDocuments = 99.9 }), 0, Undecided, "99.9 effective"},
		{"copy", edit(func(c *Comparison) { c.EqualWeights = true }), 0, Refused, "base's own"},
		{"same losses", edit(func(c *Comparison) { c.EqualLosses = true }), 0, Refused, "nothing that is scored"},
		{"non-finite", edit(func(c *Comparison) { c.NonFinite = 2 }), 0, Refused, "2 sequences"},
		{"nan", at(math.NaN(), -0.2), 0, Refused, "finite"},
		{"negative min_delta", at(-0.3, -0.2), -1, Refused, "min_delta"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Gate(tt.c, tt.minDelta)
			if v.Outcome != tt.want || !strings.Contains(v.Reason, tt.word) {
				t.Errorf("%v, want %s with %q", v, tt.want, tt.word)
			}
		})
	}
	base := fakeLosses(200, 0, 0)
	if v := Gate(mustCompare(t, base, base, CompareOptions{Resamples: 99}), 0); v.Outcome != Refused {
		t.Errorf("the base against itself: %v", v)
	}
	broken := fakeLosses(200, -1, 0)
	broken.Sequences[4].Nats, broken.Documents[4].Nats = math.NaN(), math.NaN()
	c := mustCompare(t, base, broken, CompareOptions{Resamples: 99})
	if v := Gate(c, 0); v.Outcome != Refused || c.NonFinite != 1 {
		t.Errorf("NaN: %v", v)
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
}

func TestIntervalJSON(t *testing.T) {
	for want, i := range map[string]Interval{
		"[-0.5,0.25]": {-0.5, 0.25}, "[null,null]": unbounded(), "[null,1]": {math.Inf(-1), 1},
	} {
		data, err := json.Marshal(i)
		var back Interval
		if err != nil || string(data) != want || json.Unmarshal(data, &back) != nil || back != i {
			t.Errorf("%v is %s, and back %v: %v", i, data, back, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"x":1}`), &Interval{}); err == nil {
		t.Error("no error for an object")
	}
}

func TestBatchLosses(t *testing.T) {
	l := &Losses{Sequences: []SequenceLoss{{6, 2}, {8, 2}, {5, 1}, {0, 0}, {0, 0}}}
	for size, want := range map[int][]float64{
		1: {3, 4, 5, math.NaN(), math.NaN()}, 2: {3.5, 5, math.NaN()}, 3: {19. / 5, math.NaN()}, 9: {19. / 5},
	} {
		got := BatchLosses(l, size)
		if !slices.EqualFunc(got, want, func(a, b float64) bool { return a == b || a != a && b != b }) {
			t.Errorf("batches of %d: %v, want %v", size, got, want)
		}
	}
}

func ExampleComparison_String() {
	c := Comparison{Difference: Difference{
		Base: 2.41131, Candidate: 2.38009, Difference: -0.03122, Interval: Interval{-0.03549, -0.02688},
	}}
	fmt.Println(c)
	// Output: held-out 2.4113 → 2.3801, −0.0312 [−0.0355, −0.0269]
}

// TestCompareWeighs gives sources their parts in the mean loss, whatever their numbers of tokens.
func TestCompareWeighs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	base, candidate := &Losses{Sources: []string{"a", "b", "none"}}, &Losses{Sources: []string{"a", "b", "none"}}
	means := [2][2]float64{}
	for i := range 400 {
		source, tokens := uint32(0), 10
		if i%4 == 0 {
			source, tokens = 1, 30
		}
		was := float64(tokens) * (2 + float64(source) + rng.Float64())
		is := was - float64(tokens)*(0.1+0.3*float64(source)+0.1*rng.Float64())
		for k, l := range []*Losses{base, candidate} {
			nats := []float64{was, is}[k]
			l.Sequences = append(l.Sequences, SequenceLoss{nats, tokens})
			l.Documents = append(l.Documents, DocumentLoss{Ordinal: uint64(i), Source: source, Nats: nats, Tokens: tokens})
			means[k][source] += nats / 3000
		}
	}
	c, err := Compare(base, candidate, CompareOptions{Stratify: true, SourceWeights: []float64{0.6, 0.2, 0.2}})
	if err != nil {
		t.Fatal(err)
	}
	want := 0.75*(means[1][0]-means[0][0]) + 0.25*(means[1][1]-means[0][1])
	if math.Abs(c.Difference.Difference-want) > 1e-9 || c.Tokens != 6000 || c.Documents != 400 {
		t.Errorf("%+v, want a difference of %v", c.Difference, want)
	}
	if math.Abs(c.Base-0.75*means[0][0]-0.25*means[0][1]) > 1e-9 || !(c.Interval.Low < want && want < c.Interval.High) {
		t.Errorf("%+v", c.Difference)
	}
	if got := c.Sources[1].Difference.Difference; math.Abs(got-means[1][1]+means[0][1]) > 1e-9 || c.Sources[1].Tokens != 3000 {
		t.Errorf("source b: %+v", c.Sources[1])
	}
	plain, err := Compare(base, candidate, CompareOptions{Stratify: true})
	if err != nil || plain.Difference.Difference == c.Difference.Difference {
		t.Errorf("without weights: %+v, %v", plain.Difference, err)
	}
	if _, err := Compare(base, candidate, CompareOptions{SourceWeights: []float64{1}}); err == nil {
		t.Error("a source without a weight is weighed")
	}
}
