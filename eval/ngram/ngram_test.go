package ngram

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// parse reads a corpus: documents between "|", sentences between ".", words between
// spaces. A document has at least one sentence; other empty sentences are left out.
func parse(text string) (documents [][][]string) {
	for _, doc := range strings.Split(text, "|") {
		var sentences [][]string
		for _, s := range strings.Split(doc, ".") {
			if words := strings.Fields(s); len(words) > 0 {
				sentences = append(sentences, words)
			}
		}
		if sentences == nil {
			sentences = [][]string{nil}
		}
		documents = append(documents, sentences)
	}
	return documents
}

// hash is an order-preserving number for short words, so that tests see orders.
func hash(word string) uint64 {
	var h uint64
	for i := range 8 {
		h <<= 8
		if i < len(word) {
			h |= uint64(word[i])
		}
	}
	return h
}

// hashes turns sentences into a document with breaks between them.
func hashes(sentences [][]string) []uint64 {
	var out []uint64
	for i, s := range sentences {
		if i > 0 {
			out = append(out, Break)
		}
		for _, w := range s {
			out = append(out, hash(w))
		}
	}
	return out
}

func trained(t testing.TB, cfg Config, documents [][][]string) *Model {
	t.Helper()
	trainer, err := NewTrainer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range documents {
		trainer.Add(hashes(doc))
	}
	m, err := trainer.Train()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// prob is p(w|h) of the model; "<s>" may begin h.
func (m *Model) prob(h []string, w string) float64 {
	place := func(w string) uint32 {
		switch w {
		case "<unk>":
			return m.special(numberUnk)
		case "</s>":
			return m.special(numberEnd)
		}
		return m.word(hash(w))
	}
	var c context
	for _, x := range h {
		if x == "<s>" {
			c = m.begin()
		} else {
			m.step(&c, place(x))
		}
	}
	logProb, _ := m.step(&c, place(w))
	return math.Exp(logProb)
}

func close(a, b, relative float64) bool {
	return math.Abs(a-b) <= relative*math.Max(math.Abs(a), math.Abs(b))
}

// TestKnownDiscounts checks an order-1 model by hand: counts a..d 1, e and </s> 2, f 3
// and g 4 give t = 4, 2, 1, 1, so Y = 4/8, D1 = 1 - 2*0.5*2/4 = 0.5, D2 = 2 - 3*0.5*1/2
// = 1.25, D3 = 3 - 4*0.5*1/1 = 1. The sum is 4+2+2+3+4 = 15, gamma (4*0.5+2*1.25+2*1)/15
// = 6.5/15, and V has 7 words, <unk> and </s>.
func TestKnownDiscounts(t *testing.T) {
	m := trained(t, Config{Order: 1}, parse("a b c d e e f f | f g g g g"))
	s := m.Stats()[0]
	if s.NGrams != 9 || s.CountsOfCounts != [4]int{4, 2, 1, 1} || s.Discounts != [3]float64{0.5, 1.25, 1} || s.Fallback {
		t.Fatalf("%+v", s)
	}
	rest := 6.5 / 15 / 9
	for w, want := range map[string]float64{"a": 0.5/15 + rest, "e": 0.75/15 + rest, "</s>": 0.75/15 + rest,
		"f": 2.0/15 + rest, "g": 3.0/15 + rest, "never": rest} {
		if got := m.prob(nil, w); !close(got, want, 1e-14) {
			t.Errorf("p(%s) = %v, want %v", w, got, want)
		}
	}
	logProb, tokens := m.Score([]uint64{hash("a"), hash("never")})
	want := math.Log(0.5/15+rest) + math.Log(rest) + math.Log(0.75/15+rest)
	if tokens != 3 || !close(logProb, want, 1e-14) || !close(Perplexity(logProb, tokens), math.Exp(-want/3), 1e-14) {
		t.Errorf("score %v of %d tokens, want %v of 3", logProb, tokens, want)
	}
}

// TestKnownBigrams checks an order-2 model by hand. The sentences "a b" (twice) and
// "b b": bigrams <s>a 2, <s>b 1, ab 2, bb 1, b</s> 3, so t = 2, 2, 1, 0, Y = 2/6,
// D1 = 1 - 2/3*2/2 = 1/3, D2 = 2 - 3/3*1/2 = 3/2, D3 = 3 - 0 = 3. Different words
// before: a 1 (<s>), b 3 (<s>, a, b), </s> 1; sum 5, and as none has 2 the discounts
// are the fallback 0.5, 1, 1.5. |V| = 4.
//
//	g = (2*0.5 + 1.5)/5 = 0.5
//	p(a) = 0.5/5 + g/4, p(b) = 1.5/5 + g/4, p(</s>) = 0.5/5 + g/4, p(<unk>) = g/4
//	after <s>: sum 3, gamma (3/2 + 1/3)/3 = 11/18
//	after a:   sum 2, gamma (3/2)/2 = 3/4
//	after b:   sum 4, gamma (1/3 + 3)/4 = 5/6
func TestKnownBigrams(t *testing.T) {
	m := trained(t, Config{Order: 2}, parse("a b . a b | b b"))
	pa, pb, pe, pu := 0.1+0.125, 0.3+0.125, 0.1+0.125, 0.125
	for _, tc := range []struct {
		h, w string
		want float64
	}{
		{"", "a", pa}, {"", "b", pb}, {"", "</s>", pe}, {"", "<unk>", pu}, {"", "z", pu},
		{"<s>", "a", 0.5/3 + 11*pa/18}, {"<s>", "b", 2.0/9 + 11*pb/18}, {"<s>", "</s>", 11 * pe / 18},
		{"a", "b", 0.5/2 + 3*pb/4}, {"a", "a", 3 * pa / 4}, {"b", "b", 1.0/6 + 5*pb/6}, {"b", "</s>", 5 * pe / 6},
		{"z", "a", pa}, {"</s>", "a", pa},
	} {
		if got := m.prob(strings.Fields(tc.h), tc.w); !close(got, tc.want, 1e-14) {
			t.Errorf("p(%s|%s) = %v, want %v", tc.w, tc.h, got, tc.want)
		}
	}
	got := m.AppendTokens(nil, hashes(parse("a z.b")[0]))
	want := []Token{{math.Log(0.5/3 + 11*pa/18), 2, false, false}, {math.Log(3 * pu / 4), 1, true, false},
		{math.Log(pe), 1, false, true}, {math.Log(2.0/9 + 11*pb/18), 2, false, false}, {math.Log(5 * pe / 6), 2, false, true}}
	for i := range want {
		if i >= len(got) || !close(got[i].LogProbNats, want[i].LogProbNats, 1e-14) {
			t.Fatalf("tokens %+v, want %+v", got, want)
		}
		want[i].LogProbNats = got[i].LogProbNats
	}
	if !slices.Equal(got, want) {
		t.Errorf("tokens %+v, want %+v", got, want)
	}
}

// compare checks that the model and its twin agree on every probability in every
// context that is a window of the given sentences, and that all sum to 1.
func compare(t *testing.T, m *Model, tw *twin, probe [][][]string) {
	t.Helper()
	for _, sentences := range probe {
		for _, sentence := range sentences {
			words := tw.padded(sentence)
			for i := range words {
				for n := 0; n < m.Order() && n <= i; n++ {
					compareContext(t, m, tw, words[i-n:i])
				}
			}
		}
		got, tokens := m.Score(hashes(sentences))
		want, wantTokens := tw.score(sentences)
		if tokens != wantTokens || !close(got, want, 1e-12) {
			t.Fatalf("score of %q: %v of %d, want %v of %d", sentences, got, tokens, want, wantTokens)
		}
		sum := 0.0
		list := m.AppendTokens(nil, hashes(sentences))
		for _, tok := range list {
			sum += tok.LogProbNats
		}
		if sum != got || len(list) != tokens {
			t.Fatalf("tokens of %q sum to %v of %d, want %v of %d", sentences, sum, len(list), got, tokens)
		}
	}
}

func compareContext(t *testing.T, m *Model, tw *twin, h []string) {
	t.Helper()
	sum := 0.0
	for w := range tw.vocabulary {
		got, want := m.prob(h, w), tw.prob(h, w)
		if !close(got, want, 1e-12) || got <= 0 {
			t.Fatalf("p(%s|%q) = %v, want %v", w, h, got, want)
		}
		sum += got
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Fatalf("after %q probabilities sum to %v", h, sum)
	}
}

// TestTwinExhaustive trains on every corpus of up to five symbols of two words, a
// sentence break and a document break, and compares every order with the twin.
func TestTwinExhaustive(t *testing.T) {
	symbols := []string{" a ", " b ", ".", "|"}
	probe := parse("a b a . b b | | c a a")
	count := 0
	for length := range 6 {
		for code := range 1 << (2 * length) {
			var text strings.Builder
			for i := range length {
				text.WriteString(symbols[code>>(2*i)&3])
			}
			documents := parse(text.String())
			order, minCount := 1+count%OrderMax, 1+count/OrderMax%2
			m := trained(t, Config{Order: order, MinCount: minCount}, documents)
			compare(t, m, newTwin(order, minCount, documents), probe[count%len(probe):])
			count++
		}
	}
}

// randomText is words of a skewed distribution with breaks.
func randomText(r *rand.Rand, words int) string {
	var b strings.Builder
	for range words {
		switch r.IntN(12) {
		case 0:
			b.WriteString(" . ")
		case 1:
			b.WriteString(" | ")
		default:
			fmt.Fprintf(&b, " %c", 'a'+int(12*math.Pow(r.Float64(), 2)))
		}
	}
	return b.String()
}

// TestTwinRandom compares larger corpora, which have discounts of their own.
func TestTwinRandom(t *testing.T) {
	own := 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		documents := parse(randomText(r, 150))
		order, minCount := 1+int(seed)%OrderMax, 1+int(seed)%3
		m := trained(t, Config{Order: order, MinCount: minCount}, documents)
		compare(t, m, newTwin(order, minCount, documents), parse(randomText(r, 12)+" zz"))
		for _, s := range m.Stats() {
			if !s.Fallback {
				own++
			}
		}
	}
	if own < 12 {
		t.Errorf("only %d orders had discounts of their own", own)
	}
}

// FuzzTwin compares a model trained on one half of a text with its twin on the other.
func FuzzTwin(f *testing.F) {
	f.Add("a b c . a b | c c a . b", uint8(3), uint8(1))
	f.Add("a a a a b b b c c d e f g | a a | ", uint8(1), uint8(2))
	f.Add("", uint8(5), uint8(1))
	f.Fuzz(func(t *testing.T, text string, order, minCount uint8) {
		var clean strings.Builder
		for _, b := range []byte(text[:min(len(text), 80)]) {
			clean.WriteString([]string{" a", " b", " c", " d", " e", " f", ".", "|"}[b%8])
		}
		train, probe := clean.String()[:clean.Len()*2/3], clean.String()[clean.Len()*2/3:]
		n, least := 1+int(order)%OrderMax, 1+int(minCount)%3
		documents := parse(train)
		m := trained(t, Config{Order: n, MinCount: least}, documents)
		compare(t, m, newTwin(n, least, documents), parse(probe))
	})
}

func file(t testing.TB, m *Model) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// TestOrderOfDocuments checks that neither the order of documents nor the fold they
// are counted in changes a byte.
func TestOrderOfDocuments(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	documents := parse(randomText(r, 2000))
	cfg := Config{Order: 4, MinCount: 2, VocabularyMax: 9}
	want := file(t, trained(t, cfg, documents))
	for range 5 {
		r.Shuffle(len(documents), func(i, j int) { documents[i], documents[j] = documents[j], documents[i] })
		if !bytes.Equal(file(t, trained(t, cfg, documents)), want) {
			t.Fatal("another order of documents gives another model")
		}
		c, err := NewCrossFold(cfg, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i, doc := range documents {
			c.Add(i%3, hashes(doc))
		}
		m, err := c.TrainAll()
		if err != nil || !bytes.Equal(file(t, m), want) {
			t.Fatalf("folds give another model: %v", err)
		}
	}
}

func TestVocabulary(t *testing.T) {
	documents := parse("b b b a a c c d")
	names := func(words []uint64) string {
		var out []string
		for _, w := range words {
			out = append(out, string(rune(w>>56)))
		}
		return strings.Join(out, "")
	}
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "abcd"},
		{Config{MinCount: 2}, "abc"},
		{Config{MinCount: 9}, ""},
		{Config{VocabularyMax: 2}, "ab"},
		{Config{VocabularyMax: 1}, "b"},
		{Config{MinCount: 2, VocabularyMax: 9}, "abc"},
		{Config{Vocabulary: []uint64{hash("z"), hash("d"), Break, hash("d")}, MinCount: 5}, "dz"},
		{Config{Vocabulary: []uint64{}}, ""},
	} {
		trainer, err := NewTrainer(tc.cfg)
		if err != nil {
			t.Fatal(err)
		}
		trainer.Add(hashes(documents[0]))
		m, err := trainer.Train()
		if err != nil {
			t.Fatal(err)
		}
		if got := names(m.Vocabulary()); got != tc.want || names(trainer.Vocabulary()) != tc.want {
			t.Errorf("%+v keeps %q, want %q", tc.cfg, got, tc.want)
		}
		if m.Order() != 3 || m.Documents() != 1 || m.Tokens() != 9 || trainer.Tokens() != 9 {
			t.Errorf("%+v: order %d, %d documents, %d tokens", tc.cfg, m.Order(), m.Documents(), m.Tokens())
		}
		if given := tc.cfg.Vocabulary != nil; given != (m.MinCount() == 0) {
			t.Errorf("%+v: min_count %d", tc.cfg, m.MinCount())
		}
	}
}

func TestWrongConfig(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{Order: 6}, "ngram order 6: must be 1 to 5"},
		{Config{Order: -1}, "ngram order -1: must be 1 to 5"},
		{Config{MinCount: -1}, "ngram min_count -1: must be at least 1"},
		{Config{VocabularyMax: -1}, "ngram vocabulary_max -1: must be at least 0"},
	} {
		if _, err := NewTrainer(tc.cfg); err == nil || err.Error() != tc.want {
			t.Errorf("%+v: %v, want %s", tc.cfg, err, tc.want)
		}
		if _, err := NewCrossFold(tc.cfg, 2); err == nil || err.Error() != tc.want {
			t.Errorf("folds, %+v: %v, want %s", tc.cfg, err, tc.want)
		}
	}
	if _, err := NewCrossFold(Config{}, 1); err == nil {
		t.Error("one fold is no error")
	}
	trainer, err := NewTrainer(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Train(); err == nil || err.Error() != "ngram: no documents to train on" {
		t.Errorf("nothing to train on: %v", err)
	}
}

// TestBreaks checks what counts as a sentence.
func TestBreaks(t *testing.T) {
	a, b := hash("a"), hash("b")
	m := trained(t, Config{}, parse("a b . a | b a b"))
	base, tokens := m.Score([]uint64{a, Break, b})
	if tokens != 4 {
		t.Fatalf("%d tokens, want 4", tokens)
	}
	for _, words := range [][]uint64{{a, Break, b, Break}, {Break, a, Break, Break, b}, {Break, Break, a, Break, b, Break, Break}} {
		if got, n := m.Score(words); got != base || n != tokens {
			t.Errorf("%v scores %v of %d, want %v of %d", words, got, n, base, tokens)
		}
	}
	one, _ := m.Score([]uint64{a})
	two, _ := m.Score([]uint64{b})
	if !close(one+two, base, 1e-14) {
		t.Errorf("sentences score %v + %v, together %v", one, two, base)
	}
	empty, n := m.Score(nil)
	if breaks, k := m.Score([]uint64{Break, Break}); n != 1 || k != 1 || breaks != empty || !close(math.Exp(empty), m.prob([]string{"<s>"}, "</s>"), 1e-14) {
		t.Errorf("nothing scores %v of %d, breaks %v of %d", empty, n, breaks, k)
	}
}

func TestScoreDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	m := trained(t, Config{Order: 5}, parse(randomText(r, 1000)))
	s := MooreLewis{m, m}
	words := hashes(parse(randomText(r, 100))[0])
	if n := testing.AllocsPerRun(10, func() { m.Score(words); s.Score(words) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSumsToOne enumerates the vocabulary in contexts of a larger model, seen and not.
func TestSumsToOne(t *testing.T) {
	for order := 1; order <= OrderMax; order++ {
		m := trainOn(t, Config{Order: order, MinCount: 1 + order%2}, zipf(1, 300))
		places := []uint32{m.special(numberUnk), m.special(numberEnd)}
		for _, h := range m.Vocabulary() {
			places = append(places, m.word(h))
		}
		for i, doc := range slices.Concat(zipf(1, 4), zipf(2, 4)) {
			c := m.begin()
			for _, h := range doc[:10*i] {
				m.step(&c, m.word(h))
			}
			sum := 0.0
			for _, place := range places {
				next := c
				logProb, _ := m.step(&next, place)
				sum += math.Exp(logProb)
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("order %d, document %d: %d words sum to 1%+g", order, i, len(places), sum-1)
			}
		}
	}
}
