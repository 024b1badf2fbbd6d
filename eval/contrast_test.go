package eval

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestStudentQuantile compares with printed tables (Abramowitz and Stegun, table 26.10) and, for
// two degrees of freedom, with the closed form.
func TestStudentQuantile(t *testing.T) {
	for _, c := range []struct{ p, freedom, want float64 }{
		{0.975, 1, 12.706205}, {0.975, 2, 4.302653}, {0.975, 5, 2.570582}, {0.975, 30, 2.042272},
		{0.995, 3, 5.840909}, {0.95, 10, 1.812461}, {0.975, 1e7, 1.959964},
	} {
		if got := studentQuantile(c.p, c.freedom); math.Abs(got-c.want) > 2e-6 {
			t.Errorf("quantile %v of %v degrees is %.7f, want %.6f", c.p, c.freedom, got, c.want)
		}
	}
	for p := 0.5; p < 0.999; p += 0.013 {
		want := (2*p - 1) / math.Sqrt(2*p*(1-p))
		if got := studentQuantile(p, 2); math.Abs(got-want) > 1e-9*(1+want) {
			t.Errorf("quantile %v of 2 degrees is %v, want %v", p, got, want)
		}
	}
}

// judged draws losses of n documents: the update's differs from the base's by shift on average, with
// noise of each document and one draw for all.
func judged(rng *rand.Rand, docs []JudgedDocument, shift, noise float64) Judged {
	j := Judged{DataKey: "k"}
	for _, d := range docs {
		d.Update = d.Base + float64(d.Tokens)*(shift+noise*rng.NormFloat64())
		j.Documents = append(j.Documents, d)
	}
	return j
}

func exam(rng *rand.Rand, n int) []JudgedDocument {
	var docs []JudgedDocument
	for i := range n {
		tokens := 20 + rng.IntN(100)
		docs = append(docs, JudgedDocument{Ordinal: uint64(i), Tokens: tokens, Base: 2 * float64(tokens)})
	}
	return docs
}

// TestContrastSeeds simulates two ways of training that are equal but for noise of the seeds. The
// pooled interval must hold 0 as often as it promises; one that resamples documents alone does not.
func TestContrastSeeds(t *testing.T) {
	const experiments, seedNoise = 300, 0.02
	held, alone := 0, 0
	for i := range experiments {
		rng := rand.New(rand.NewPCG(3, uint64(i)))
		docs := exam(rng, 120)
		var first, second []Judged
		for range 4 {
			first = append(first, judged(rng, docs, -0.1+seedNoise*rng.NormFloat64(), 0.05))
			second = append(second, judged(rng, docs, -0.1+seedNoise*rng.NormFloat64(), 0.05))
		}
		opts := CompareOptions{Seed: uint64(i), Resamples: 199}
		c, err := ContrastOf(first, second, opts)
		if err != nil {
			t.Fatal(err)
		}
		if c.Interval.Low <= 0 && 0 <= c.Interval.High {
			held++
		}
		one, err := ContrastOf(first[:1], second[:1], opts)
		if err != nil {
			t.Fatal(err)
		}
		if one.Interval.Low <= 0 && 0 <= one.Interval.High {
			alone++
		}
	}
	t.Logf("pooled over 4 seeds the interval holds the truth %d of %d times, over documents alone %d", held, experiments, alone)
	if held < experiments*92/100 {
		t.Errorf("the pooled 95 %% interval holds the truth in %d of %d experiments", held, experiments)
	}
	if alone >= experiments/2 {
		t.Errorf("documents alone hold the truth %d of %d times: the simulation has no noise of seeds", alone, experiments)
	}
}

// TestContrastWords goes through what is said of a difference.
func TestContrastWords(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	docs := exam(rng, 200)
	better, worse := judged(rng, docs, -0.2, 0.01), judged(rng, docs, -0.1, 0.01)
	bad := judged(rng, docs, -0.1, 0.01)
	bad.Documents[7].Update = math.Inf(1)
	for _, c := range []struct {
		first, second Judged
		minimum       float64
		want          string
	}{
		{better, worse, 100, Earned}, {worse, better, 100, Cost}, {better, better, 100, NotShown},
		{better, worse, 1000, TooFew}, {better, bad, 100, NotFinite},
	} {
		got, err := ContrastOf([]Judged{c.first}, []Judged{c.second}, CompareOptions{DocumentsMin: c.minimum})
		if err != nil {
			t.Fatal(err)
		}
		if got.Word() != c.want {
			t.Errorf("%+v is %q, want %q", got, got.Word(), c.want)
		}
	}
}

// TestSameExam finds a document that differs in anything.
func TestSameExam(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	a := judged(rng, exam(rng, 20), 0, 0.1)
	change := map[string]func(j *Judged){
		"key":     func(j *Judged) { j.DataKey = "other" },
		"number":  func(j *Judged) { j.Documents = j.Documents[1:] },
		"ordinal": func(j *Judged) { j.Documents[3].Ordinal++ },
		"source":  func(j *Judged) { j.Documents[3].Source++ },
		"tokens":  func(j *Judged) { j.Documents[3].Tokens++ },
		"base":    func(j *Judged) { j.Documents[3].Base = math.Nextafter(j.Documents[3].Base, 9) },
	}
	if err := SameExam(a, a); err != nil {
		t.Error(err)
	}
	for name, do := range change {
		b := Judged{DataKey: a.DataKey, Documents: append([]JudgedDocument{}, a.Documents...)}
		do(&b)
		if SameExam(a, b) == nil {
			t.Errorf("a difference in %s was not found", name)
		}
	}
}

// TestJudgedRoundTrip writes and reads losses, also those that are no finite numbers.
func TestJudgedRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	a := judged(rng, exam(rng, 5), -0.3, 0.1)
	var b bytes.Buffer
	if err := a.Write(&b); err != nil {
		t.Fatal(err)
	}
	var got Judged
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("read %+v, %v; wrote %+v", got, err, a)
	}
	b.Reset()
	a.Documents[2].Update = math.NaN()
	if err := a.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || !math.IsNaN(got.Documents[2].Update) {
		t.Errorf("read %+v, %v", got, err)
	}
}

// TestContrastWeighs gives sources their parts in the mean, in the difference as in that of each seed.
func TestContrastWeighs(t *testing.T) {
	judged := func(a, b float64) Judged {
		j := Judged{SourceWeights: []float64{0.9, 0.1}}
		for i := range 40 {
			d := JudgedDocument{Ordinal: uint64(i), Tokens: 10, Update: 10 * (a + 0.01*float64(i%3))}
			if i%4 > 0 {
				d.Source, d.Update = 1, 10*(b+0.01*float64(i%5))
			}
			j.Documents = append(j.Documents, d)
		}
		return j
	}
	c, err := ContrastOf([]Judged{judged(2, 3), judged(2, 3)}, []Judged{judged(1.5, 3.2), judged(1.4, 3.1)}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{0.9*-0.5 + 0.1*0.2, 0.9*-0.6 + 0.1*0.1}
	if math.Abs(c.Seeds[0]-want[0]) > 1e-9 || math.Abs(c.Seeds[1]-want[1]) > 1e-9 ||
		math.Abs(c.Difference.Difference-(want[0]+want[1])/2) > 1e-9 {
		t.Errorf("%v and %v, want %v", c.Difference.Difference, c.Seeds, want)
	}
}
