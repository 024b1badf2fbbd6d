package routing

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

func mustSay(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func accumulator(t *testing.T, experts, k int) *Accumulator {
	t.Helper()
	a, err := NewAccumulator(experts, k)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// slowRound4 rounds by the definition, in exact fractions.
func slowRound4(x float64) float64 {
	scaled := new(big.Rat).Mul(new(big.Rat).SetFloat64(x), big.NewRat(10000, 1))
	quotient, rest := new(big.Int).QuoRem(scaled.Num(), scaled.Denom(), new(big.Int))
	rest.Abs(rest)
	half := rest.Lsh(rest, 1).Cmp(scaled.Denom())
	if half > 0 || half == 0 && quotient.Bit(0) == 1 {
		quotient.Add(quotient, big.NewInt(int64(scaled.Sign())))
	}
	v, _ := new(big.Rat).SetFrac(quotient, big.NewInt(10000)).Float64()
	return v
}

func TestRound4(t *testing.T) {
	// Computed with Python 3's round(x, 4).
	for _, c := range [][2]float64{
		{5e-05, 0.0001}, {0.00015, 0.0001}, {0.00025, 0.0003}, {0.00035, 0.0003}, {1.00005, 1.0001},
		{0.12345, 0.1235}, {0.03125, 0.0312}, {0.28125, 0.2812}, {7.500000000000001e-05, 0.0001},
		{0.3333333333333333, 0.3333}, {0.99995, 1}, {0.99994999, 0.9999}, {1e-09, 0},
		{123456.78905, 123456.7891}, {6.103515625e-05, 0.0001},
	} {
		if got := Round4(c[0]); got != c[1] {
			t.Errorf("Round4(%g) = %g, want %g", c[0], got, c[1])
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		x := rng.Float64()
		switch rng.IntN(3) {
		case 0: // halfway in decimal, near it in binary
			x = float64(2*rng.IntN(10000)+1) / 20000
		case 1: // exact ties: odd multiples of 2^-5 end in …5 at the fifth decimal
			x = float64(rng.IntN(1<<12)) / 32
		}
		if rng.IntN(2) == 0 {
			x = -x
		}
		if got, want := Round4(x), slowRound4(x); got != want {
			t.Fatalf("Round4(%.20g) = %g, want %g", x, got, want)
		}
	}
	if !math.IsNaN(Round4(math.NaN())) || Round4(math.Inf(-1)) != math.Inf(-1) {
		t.Error("NaN or infinity changed")
	}
}

func TestScores(t *testing.T) {
	a := accumulator(t, 4, 2)
	// Layer 3: experts 0+1, 0+2, 2+0.
	if err := a.Add(3, []int32{0, 1, 0, 2, 2, 0}, []float32{0.5, 0.25, 0.5, 0.125, 0.25, 0.25}); err != nil {
		t.Fatal(err)
	}
	s := a.Scores()
	if want := (Table{3: {0.5, 0.1667, 0.3333, 0}}); !reflect.DeepEqual(s.Token, want) {
		t.Errorf("token scores %v, want %v", s.Token, want)
	}
	if want := (Table{3: {0.4167, 0.0833, 0.125, 0}}); !reflect.DeepEqual(s.Gate, want) {
		t.Errorf("gate scores %v, want %v", s.Gate, want)
	}
	if a.Tokens(3) != 3 || a.Tokens(1) != 0 || !slices.Equal(a.Counts(3), []int64{3, 1, 2, 0}) || a.Counts(1) != nil {
		t.Errorf("%d tokens, counts %v", a.Tokens(3), a.Counts(3))
	}
	if got, err := s.Of("gate"); err != nil || !reflect.DeepEqual(got, s.Gate) {
		t.Errorf("Of(gate) = %v, %v", got, err)
	}
	_, err := s.Of("mean")
	mustSay(t, err, `"mean"`)
}

func TestAddRefuses(t *testing.T) {
	a := accumulator(t, 4, 2)
	nan := float32(math.NaN())
	for _, c := range []struct {
		experts []int32
		weights []float32
		want    string
	}{
		{[]int32{0, 1}, []float32{1}, "layer 7: 2 experts, but 1 weights"},
		{[]int32{0}, []float32{1}, "no whole number of tokens"},
		{[]int32{0, 1, 2, 4}, []float32{1, 1, 1, 1}, "token 1: expert 4 of 4"},
		{[]int32{0, 1, -1, 2}, []float32{1, 1, 1, 1}, "token 1: expert -1"},
		{[]int32{0, 1, 2, 2}, []float32{1, 1, 1, 1}, "token 1: expert 2 is chosen twice"},
		{[]int32{0, 1}, []float32{1, nan}, "token 0: weight NaN"},
		{[]int32{0, 1}, []float32{-1, 1}, "token 0: weight -1"},
	} {
		mustSay(t, a.Add(7, c.experts, c.weights), c.want)
	}
	if a.Tokens(7) != 0 || len(a.Scores().Token) != 0 {
		t.Error("a refused record was added")
	}
	for _, c := range [][2]int{{4, 0}, {2, 3}} {
		if _, err := NewAccumulator(c[0], c[1]); err == nil {
			t.Errorf("%d of %d accepted", c[1], c[0])
		}
	}
	mustSay(t, a.Merge(accumulator(t, 4, 1)), "cannot be added")
}

// TestMerge checks that neither the order of records nor their division among
// accumulators changes a bit.
func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	const experts, k, tokens = 16, 3, 2000
	type record struct {
		layer   int
		experts []int32
		weights []float32
	}
	var records []record
	for range tokens {
		r := record{layer: rng.IntN(3)}
		for _, e := range rng.Perm(experts)[:k] {
			r.experts = append(r.experts, int32(e))
			r.weights = append(r.weights, rng.Float32()*float32(math.Exp2(-float64(rng.IntN(30)))))
		}
		records = append(records, r)
	}
	whole := accumulator(t, experts, k)
	for _, r := range records {
		if err := whole.Add(r.layer, r.experts, r.weights); err != nil {
			t.Fatal(err)
		}
	}
	rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	merged := accumulator(t, experts, k)
	for part := range slices.Chunk(records, 313) {
		one := accumulator(t, experts, k)
		for _, r := range part {
			if err := one.Add(r.layer, r.experts, r.weights); err != nil {
				t.Fatal(err)
			}
		}
		if err := merged.Merge(one); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(whole, merged) {
		t.Error("the sums depend on the order of the records")
	}
}

func TestChoose(t *testing.T) {
	scores := Table{1: {0.1, 0.3, 0.1, 0.4, 0.1}, 2: {0, 0, 0, 0, 1}}
	for _, c := range []struct {
		rule Rule
		want map[int][]int
	}{
		{Rule{P: 0.2}, map[int][]int{1: {3}, 2: {4}}},
		{Rule{P: 0.4}, map[int][]int{1: {3}, 2: {4}}}, // reached exactly: stop
		{Rule{P: 0.5}, map[int][]int{1: {3, 1}, 2: {4}}},
		{Rule{P: 0.75}, map[int][]int{1: {3, 1, 0}, 2: {4}}}, // ties: lower id first
		{Rule{P: 1}, map[int][]int{1: {3, 1, 0, 2, 4}, 2: {4}}},
		{Rule{TopN: 3}, map[int][]int{1: {3, 1, 0}, 2: {4, 0, 1}}},
		{Rule{TopN: 9}, map[int][]int{1: {3, 1, 0, 2, 4}, 2: {4, 0, 1, 2, 3}}},
		{Rule{MinShare: 0.25}, map[int][]int{1: {3, 1}, 2: {4}}},
		{Rule{MinShare: 0.25, Floor: 3}, map[int][]int{1: {3, 1, 0}, 2: {4, 0, 1}}},
		{Rule{MinShare: 0.5}, map[int][]int{1: {}, 2: {4}}},
	} {
		got, err := c.rule.Choose(scores)
		if err != nil || !reflect.DeepEqual(got.Experts, c.want) {
			t.Errorf("%+v: %v, %v; want %v", c.rule, got, err, c.want)
		}
	}
	for _, bad := range []Rule{{}, {P: 0.2, TopN: 1}, {P: 1.1}, {P: -1}, {P: math.NaN()}, {MinShare: 2}, {TopN: -1},
		{P: 0.2, Floor: 1}, {MinShare: 0.1, Floor: -1}} {
		if _, err := bad.Choose(scores); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
	for _, bad := range []float64{math.NaN(), -0.1} {
		_, err := Rule{P: 0.2}.Choose(Table{1: {bad}})
		mustSay(t, err, "layer 1: score")
	}
}

func TestConfig(t *testing.T) {
	c := &Config{Experts: map[int][]int{2: {5, 1}, 10: {7}}, SharedExperts: true}
	want := `{"experts": {"10": [7], "2": [5, 1]}, "shared_experts": true, "non_expert_modules": false}`
	if got := string(c.Encode()); got != want {
		t.Errorf("encoded %s", got)
	}
	if got := c.Assignment(5); !reflect.DeepEqual(got, checkpoint.Assignment{2: {{My: 5, Org: 5}, {My: 6, Org: 1}}, 10: {{My: 5, Org: 7}}}) {
		t.Errorf("running ids from 5: %v", got)
	}
	own := c.Assignment(-1)
	if !reflect.DeepEqual(own, checkpoint.Assignment{2: {{My: 5, Org: 5}, {My: 1, Org: 1}}, 10: {{My: 7, Org: 7}}}) {
		t.Errorf("own ids: %v", own)
	}
	if err := own.Validate([]int{2, 10}, 8); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`[]`, `{"experts":{"x":[1]}}`, `{"experts":{"01":[1]}}`, `{"experts":{"1":[1,1]}}`, `{"experts":{"1":[-1]}}`} {
		if _, err := ParseConfig([]byte(bad)); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
}

func TestBalance(t *testing.T) {
	a := accumulator(t, 4, 1)
	if err := a.Add(1, []int32{0, 1, 2, 3}, make([]float32, 4)); err != nil {
		t.Fatal(err)
	}
	if err := a.Add(0, []int32{2, 2, 2, 0}, make([]float32, 4)); err != nil {
		t.Fatal(err)
	}
	got := a.Balance()
	skew := -0.75*math.Log(0.75) - 0.25*math.Log(0.25)
	want := []Balance{
		{0, 4, skew, skew / math.Log(4), 2, 0.5, 3, math.Sqrt(6.0 / 4)},
		{1, 4, math.Log(4), 1, 4, 1, 1, 0},
	}
	for i, w := range want {
		g := reflect.ValueOf(got[i])
		for f := range g.NumField() {
			a, b := g.Field(f), reflect.ValueOf(w).Field(f)
			if a.CanFloat() && math.Abs(a.Float()-b.Float()) > 1e-15 || a.CanInt() && a.Int() != b.Int() {
				t.Errorf("layer %d: %s = %v, want %v", i, g.Type().Field(f).Name, a, b)
			}
		}
	}
	if b := balance([]int64{5}); b.EvennessRatio != 1 || b.EntropyNats != 0 {
		t.Errorf("one expert: %+v", b)
	}
}

func TestReadRecordsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"0\t1\t\t0.5\n":                      "line 1: 2 experts, but 1 weights",
		"0\t1\t\t0.5\t0.2\n\n0\t1\n":         "line 3: no two tabs",
		"0\tx\t\t0.5\t0.2\n":                 `line 1: expert "x"`,
		"0\t1\t\t0.5\tx\n":                   `line 1: weight "x"`,
		"0\t9\t\t0.5\t0.1\n":                 "line 1: layer 1: token 0: expert 9 of 4",
		"0\t1\t2\t\t0.5\t0.1\t0.1\n":         "no whole number of tokens",
		"0\t1\t\t0.5\t0.1\n0\t1\t\t1\tNaN\n": "line 2: layer 1: token 0: weight NaN",
	} {
		mustSay(t, accumulator(t, 4, 2).ReadRecords(1, strings.NewReader(text)), want)
	}
}

func TestReadRecordDir(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, err := accumulator(t, 4, 2).ReadRecordDir(store.OS(), dir)
	mustSay(t, err, "no expert_weights_LAYER.txt")
	put("expert_weights_2.txt", "0\t1\t\t0.5\t0.25\n3\t1\t0\t2\t\t1\t0\t0\t0\r\n")
	put("expert_weights_11.txt", "0\t1\t\t0.5\t0.25\t\n")
	put("summary.json", "{}")
	put("weights_2.txt", "nonsense")
	a := accumulator(t, 4, 2)
	layers, err := a.ReadRecordDir(store.OS(), dir)
	if err != nil || !slices.Equal(layers, []int{2, 11}) || a.Tokens(2) != 3 || a.Tokens(11) != 1 {
		t.Errorf("layers %v, tokens %d %d, %v", layers, a.Tokens(2), a.Tokens(11), err)
	}
	put("expert_weights_3.txt", "x\n")
	_, err = a.ReadRecordDir(store.OS(), dir)
	mustSay(t, err, "expert_weights_3.txt: line 1: ")
	put("expert_weights_03.txt", "")
	_, err = a.ReadRecordDir(store.OS(), dir)
	mustSay(t, err, `"03" is no layer`)
}

func TestParseScores(t *testing.T) {
	s := Scores{Token: Table{2: {0, 1}, 10: {0.5, 0.0001}}, Gate: Table{2: {0.25, 0}, 10: {0.1, 2}}}
	want := `{"token_scores": {"10": {"0": 0.5, "1": 0.0001}, "2": {"0": 0.0, "1": 1.0}}, ` +
		`"gate_scores": {"10": {"0": 0.1, "1": 2.0}, "2": {"0": 0.25, "1": 0.0}}}`
	if got := string(s.Encode()); got != want {
		t.Errorf("encoded %s", got)
	}
	back, err := ParseScores([]byte(want))
	if err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("read back %v, %v", back, err)
	}
	for _, bad := range []string{
		`[]`, `{"token_scores":{"a":{}}}`, `{"token_scores":{"1":{"1":0.5}}}`, `{"token_scores":{"1":{"00":0.5}}}`,
		`{"token_scores":{"1":{"0":1}}}`, `{"token_scores":{"1":{"0":1}},"gate_scores":{"1":{}}}`,
	} {
		if _, err := ParseScores([]byte(bad)); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
}

// FuzzRecords checks that no text crashes the reader and that what it accepts counts.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("0\t1\t\t0.5\t0.25\n3\t1\t0\t2\t\t1\t0\t0\t0\n"))
	f.Add([]byte("\t\t\n\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := NewAccumulator(4, 2)
		if err != nil {
			t.Fatal(err)
		}
		if a.ReadRecords(1, bytes.NewReader(data)) != nil {
			return
		}
		total := int64(0)
		for _, c := range a.Counts(1) {
			total += c
		}
		if total != 2*a.Tokens(1) {
			t.Fatalf("%d choices of %d tokens", total, a.Tokens(1))
		}
	})
}

// FuzzScores checks that what is read can be written and read again.
func FuzzScores(f *testing.F) {
	f.Add([]byte(`{"token_scores": {"1": {"0": 0.5}}, "gate_scores": {"1": {"0": 1e-7}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseScores(data)
		if err != nil {
			return
		}
		again, err := ParseScores(s.Encode())
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%s became %s, %v", s.Encode(), again.Encode(), err)
		}
	})
}

// FuzzConfig checks that what is read can be written and read again.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"experts": {"1": [8, 26], "10": [33]}, "shared_experts": false, "non_expert_modules": false}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		again, err := ParseConfig(c.Encode())
		if err != nil || !bytes.Equal(c.Encode(), again.Encode()) {
			t.Fatalf("%s became %s, %v", c.Encode(), again.Encode(), err)
		}
	})
}
