package network

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"bzdata/eval"
)

// lossesOf are one document for each mean loss, of 10 tokens in a sequence of its own, in sources by turns.
func lossesOf(means []float64, sources ...string) *eval.Losses {
	l := &eval.Losses{Sources: sources}
	for i, m := range means {
		source := uint32(0)
		if len(sources) > 0 {
			source = uint32(i % len(sources))
		}
		l.Sequences = append(l.Sequences, eval.SequenceLoss{Nats: 10 * m, Tokens: 10})
		l.Documents = append(l.Documents, eval.DocumentLoss{Ordinal: uint64(i), Source: source, Nats: 10 * m, Tokens: 10})
	}
	return l
}

func TestJudge(t *testing.T) {
	base, better := make([]float64, 60), make([]float64, 60)
	for i := range base {
		base[i], better[i] = 3, 2.5
	}
	better[59] = 100 // beyond what any loop looks at
	for _, c := range []struct {
		profile string
		want    Judgement
	}{
		{"connito", Judgement{Baseline: 3, Loss: 2.5, Delta: 0.5, Score: math.Pow(0.5, 1.2), Batches: 51}},
		{"docs", Judgement{Baseline: 3, Loss: 2.5, Delta: 0.5, Score: 0.5, Batches: 50}},
		{"sn9", Judgement{Baseline: 3, Loss: 2.5, Delta: 0.5, Score: 2.5, Batches: 50}},
	} {
		p := load(t, c.profile)
		got, err := p.Judge(lossesOf(base), lossesOf(better))
		c.want.Profile = p.Name
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.profile, got, err)
		}
	}
	// Batches of two sequences: 30 batches, divided by 29.
	got, err := load(t, "blockzero").Judge(lossesOf(base), lossesOf(base))
	if want := 3 * 30.0 / 29; err != nil || math.Abs(got.Score-want) > 1e-12 || got.Batches != 30 {
		t.Errorf("%+v, %v", got, err)
	}
	better[0] = math.NaN()
	got, err = load(t, "connito").Judge(lossesOf(base), lossesOf(better))
	if err != nil || got.NaN != 1 || got.Loss != 2.5 {
		t.Errorf("with a NaN: %+v, %v", got, err)
	}
	if _, err := load(t, "docs").Judge(lossesOf(base), lossesOf(better)); err == nil {
		t.Error("a loss that is NaN has a score")
	}
}

func TestJudgeWeighs(t *testing.T) {
	base, candidate := []float64{4, 2, 4, 2}, []float64{3, 2.5, 3, 2.5}
	p := load(t, "sn9")
	got, err := p.Judge(lossesOf(base, "fineweb", "STACKV2_DEDUP"), lossesOf(candidate, "fineweb", "STACKV2_DEDUP"))
	want := (0.30*3 + 0.35*2.5) / 0.65
	if err != nil || math.Abs(got.Loss-want) > 1e-12 || math.Abs(got.Baseline-(0.30*4+0.35*2)/0.65) > 1e-12 {
		t.Errorf("%+v, %v; want %v", got, err, want)
	}
	if got.Batches != 4 {
		t.Errorf("%d batches", got.Batches)
	}
	many, better := slices.Repeat(base, 50), slices.Repeat(candidate, 50) // 100 of each data set
	if got, err = p.Judge(lossesOf(many, "FINEWEB", "PES2OX"), lossesOf(better, "FINEWEB", "PES2OX")); err != nil || got.Batches != 200 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = p.Judge(lossesOf(base, "x", "y"), lossesOf(candidate, "x", "y")); err != nil || got.Loss != 2.75 {
		t.Errorf("without a known source: %+v, %v", got, err)
	}
}

func TestDraw(t *testing.T) {
	base, better := make([]float64, 400), make([]float64, 400)
	for i := range base {
		base[i] = 3 + 0.1*math.Sin(float64(i))
		better[i] = base[i] - 0.2 + 0.4*math.Sin(7*float64(i))
	}
	p := load(t, "connito")
	got, err := p.Draw(lossesOf(base), lossesOf(better), 5, 40)
	if err != nil || got.Batches != 51 || got.OfAll != 400 || got.Improved != 40 || len(got.Seeds) != 40 || got.Seeds[39] != 44 {
		t.Fatalf("%+v, %v", got, err)
	}
	whole := math.Pow(0.2, 1.2)
	if !(got.Min < got.Mean && got.Mean < got.Max && got.Std > 0 && math.Abs(got.Mean-whole) < 4*got.Std/math.Sqrt(40)) {
		t.Errorf("%+v, of all %v", got, whole)
	}
	if again, _ := p.Draw(lossesOf(base), lossesOf(better), 5, 40); !reflect.DeepEqual(got, again) {
		t.Error("the same seeds give other draws")
	}
	if few, err := p.Draw(lossesOf(base[:50]), lossesOf(better[:50]), 5, 3); err != nil || few != nil {
		t.Errorf("all batches in each draw: %+v, %v", few, err)
	}
	if of, err := load(t, "sn9").Draw(lossesOf(base, "FINEWEB"), lossesOf(better, "FINEWEB"), 5, 3); err != nil || of != nil {
		t.Errorf("of weighted data sets: %+v, %v", of, err)
	}
}

func TestSimulate(t *testing.T) {
	rivals, err := ParseRivals([]byte(`[{"name": "a", "score": 0.5}, {"score": 0.3, "block": 7}, {"name": "c", "score": 0.1}]`))
	if err != nil || len(rivals) != 3 || rivals[1].Name != "rival 2" || rivals[1].Block != 7 {
		t.Fatalf("%+v, %v", rivals, err)
	}
	for _, c := range []struct {
		profile string
		score   float64
		want    string
	}{
		{"connito", 0.6, "2.25 points of a round, rank 1 of 4"},
		{"connito", 0.4, "1.5 points of a round, rank 2 of 4"},
		{"connito", 0.05, "nothing: rank 4 of 4"},
		{"connito", 0.3, "nothing: exactly the score of rival 2"},
		{"connito", 0, "nothing: rank 4 of 4"},
		{"docs", 0.1, "0.1 share of the weights, rank 3 of 4"},
		{"blockzero", 0.2, "1 place among the merged, rank 1 of 4"},
		{"blockzero", 0.05, "nothing: rank 4 of 4"},
	} {
		if got := load(t, c.profile).Simulate(c.score, 0, rivals).String(); got != c.want {
			t.Errorf("%s %v: %q, want %q", c.profile, c.score, got, c.want)
		}
	}
	// A later model must be better by epsilon: 0.5 % at first.
	sn9 := load(t, "sn9")
	one := []Rival{{"a", 2.5, 1000}}
	if got := sn9.Simulate(2.49, 1001, one); got.Rank != 2 {
		t.Errorf("within epsilon: %+v", got)
	}
	if got := sn9.Simulate(2.48, 0, one); got.Rank != 1 || got.Reward < 0.99 {
		t.Errorf("beyond epsilon: %+v", got)
	}
	plain, err := ParseRivals([]byte(`[0.5, 0.3]`))
	if err != nil || len(plain) != 2 || plain[1].Score != 0.3 {
		t.Errorf("%+v, %v", plain, err)
	}
	for _, bad := range []string{`{}`, `[{"name":"a"}]`, `[{"scor":1}]`, `["a"]`, ``} {
		if _, err := ParseRivals([]byte(bad)); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
}

// FuzzParseRivals checks that whatever is read can be simulated.
func FuzzParseRivals(f *testing.F) {
	f.Add([]byte(`[0.5, 1e308, -1]`))
	f.Add([]byte(`[{"name":"a","score":0.1,"block":9223372036854775807}]`))
	p, err := Load("connito")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rivals, err := ParseRivals(data)
		if err != nil {
			return
		}
		if got := p.Simulate(0.25, 0, rivals); got.Rank < 1 || got.Rank > got.Of {
			t.Errorf("%+v", got)
		}
	})
}
