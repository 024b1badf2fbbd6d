package tokenize

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"bzdata/pipeline/store"
)

// The files testdata/hf_*.json were written by Hugging Face tokenizers 0.23.3: two
// vocabularies that its BpeTrainer learnt from hf_corpus.json, and ids of tricky texts.

type goldenRow struct {
	Text                    string
	Plain, Special, Wrapped []int32
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func loadTest(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Load(store.OS(), "testdata/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestIDsOfHuggingFace(t *testing.T) {
	golden := map[string][]goldenRow{}
	readJSON(t, "testdata/hf_ids.json", &golden)
	for name, rows := range golden {
		tok := loadTest(t, "hf_"+name+".json")
		for _, row := range rows {
			prefix, suffix := tok.Wrap()
			wrapped := append(tok.EncodeSpecial(slices.Clone(prefix), row.Text), suffix...)
			for _, c := range []struct {
				how       string
				got, want []int32
			}{
				{"plain", tok.Encode(nil, row.Text), row.Plain},
				{"bytes", tok.EncodeBytes(nil, []byte(row.Text)), row.Plain},
				{"special", tok.EncodeSpecial(nil, row.Text), row.Special},
				{"wrapped", wrapped, row.Wrapped},
			} {
				if !slices.Equal(c.got, c.want) {
					t.Errorf("%s: %s ids of %q are %v, want %v", name, c.how, row.Text, c.got, c.want)
				}
			}
			if err := tok.RoundTrip(row.Text); err != nil {
				t.Errorf("%s: %q: %v", name, row.Text, err)
			}
		}
	}
}

func TestRoles(t *testing.T) {
	gpt2, qwen := loadTest(t, "hf_gpt2.json"), loadTest(t, "hf_qwen2.json")
	role := func(id int32, ok bool) int32 {
		if !ok {
			return -1
		}
		return id
	}
	for _, c := range []struct {
		what      string
		got, want int32
	}{
		{"gpt2 eos", role(gpt2.EOS()), 0}, {"gpt2 pad", role(gpt2.Pad()), 1}, {"gpt2 bos", role(gpt2.BOS()), -1},
		{"qwen bos", role(qwen.BOS()), 492}, {"qwen eos", role(qwen.EOS()), 493}, {"qwen pad", role(qwen.Pad()), 494},
		{"gpt2 size", int32(gpt2.VocabSize()), 600}, {"qwen size", int32(qwen.VocabSize()), 499},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.what, c.got, c.want)
		}
	}
	other, err := qwen.WithRoles(Roles{EOS: "<|im_start|>"})
	if err != nil || role(other.EOS()) != 495 || role(other.Pad()) != -1 || other.Hash() != qwen.Hash() {
		t.Errorf("WithRoles: %v, eos %d, pad %d", err, role(other.EOS()), role(other.Pad()))
	}
	if _, err := qwen.WithRoles(Roles{EOS: "nope"}); err == nil {
		t.Error("WithRoles took a token that is not there")
	}
	if !qwen.IsSpecial(492) || qwen.IsSpecial(496) || qwen.IsSpecial(5) || qwen.Has(499) || qwen.Has(-1) {
		t.Error("IsSpecial or Has is wrong")
	}
	if got := string(qwen.Decode([]int32{492, 496, 9999})); got != "<s><tool>\uFFFD" {
		t.Errorf("Decode gave %q", got)
	}
}

func TestConfigBeside(t *testing.T) {
	for _, c := range []struct {
		config         string
		bos, eos       string
		prefix, suffix []int32
		fails          string
	}{
		{`{}`, "<s>", "</s>", []int32{492}, []int32{493}, ""},
		{`{"bos_token":null,"eos_token":{"content":"<|im_start|>","lstrip":false}}`, "", "<|im_start|>", []int32{492}, []int32{493}, ""},
		{`{"tokenizer_class":"LlamaTokenizerFast"}`, "<s>", "</s>", []int32{492}, nil, ""},
		{`{"tokenizer_class":"LlamaTokenizer","add_bos_token":false,"add_eos_token":true}`, "<s>", "</s>", nil, []int32{493}, ""},
		{`{"eos_token":"gone"}`, "", "", nil, nil, `eos token "gone" is not in the vocabulary`},
		{`{"eos_token":7}`, "", "", nil, nil, `eos_token is a number, want a string`},
		{`{"tokenizer_class":"LlamaTokenizer","add_bos_token":1}`, "", "", nil, nil, `add_bos_token is a number, want a boolean`},
		{`[]`, "", "", nil, nil, `the document is an array, want an object`},
	} {
		dir := t.TempDir()
		data, err := os.ReadFile("testdata/hf_qwen2.json")
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir+"/tokenizer.json", data)
		write(t, dir+"/tokenizer_config.json", []byte(c.config))
		tok, err := Load(store.OS(), dir)
		if c.fails != "" {
			if err == nil || !strings.HasSuffix(err.Error(), c.fails) {
				t.Errorf("%s: error %v, want %q", c.config, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		prefix, suffix := tok.Wrap()
		if tok.content(tok.bos) != c.bos || tok.content(tok.eos) != c.eos ||
			!slices.Equal(prefix, c.prefix) || !slices.Equal(suffix, c.suffix) {
			t.Errorf("%s: bos %q, eos %q, template %v %v", c.config, tok.content(tok.bos), tok.content(tok.eos), prefix, suffix)
		}
	}
	if _, err := Load(store.OS(), t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without tokenizer.json gave %v", err)
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestEncodeExhaustive compares with the twin on every string of up to five runes over
// an alphabet that touches each alternative of each pattern.
func TestEncodeExhaustive(t *testing.T) {
	alphabet := []string{"a", "s", " ", "\n", "\t", "'", "1", "!", "é"}
	gpt2, qwen := loadTest(t, "hf_gpt2.json"), loadTest(t, "hf_qwen2.json")
	count := 0
	var visit func(text string, left int)
	visit = func(text string, left int) {
		for _, p := range []Pattern{PatternGPT2, PatternCL100K, PatternQwen2} {
			want, err := TextbookSplit(p, text)
			var got []string
			err2 := p.Split(text, func(piece string) bool { got = append(got, piece); return true })
			if err != nil || err2 != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: %q is cut into %q, want %q (%v, %v)", p, text, got, want, err, err2)
			}
		}
		if count++; count%7 == 0 {
			sameAsTextbook(t, gpt2, text)
			sameAsTextbook(t, qwen, text)
		}
		if left == 0 {
			return
		}
		for _, r := range alphabet {
			visit(text+r, left-1)
		}
	}
	depth := 5
	if testing.Short() {
		depth = 3
	}
	visit("", depth)
	if want := map[int]int{5: 66430, 3: 820}[depth]; count != want {
		t.Fatalf("visited %d strings, want %d", count, want)
	}
}

func sameAsTextbook(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	for _, special := range []bool{false, true} {
		got := tok.encode(nil, text, special)
		want, err := tok.TextbookEncode(text, special)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s: %q (special %v) gave %v, want %v (%v)", tok.Pattern(), text, special, got, want, err)
		}
	}
}

// TestMergePaths compares the scan, the heap and the definition on the same pieces.
func TestMergePaths(t *testing.T) {
	tok := loadTest(t, "hf_gpt2.json")
	ranks := map[[2]int32]int{}
	for i, m := range tok.spec.merges {
		ranks[[2]int32{m.left, m.right}] = i
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		piece := make([]byte, 1+r.IntN(shortPieceBytes))
		for i := range piece {
			piece[i] = "aehinorst "[r.IntN(10)]
		}
		want := tok.textbookMerge(string(piece), ranks)
		short, long := tok.mergeShort(nil, string(piece)), tok.mergeLong(nil, string(piece))
		if !slices.Equal(short, want) || !slices.Equal(long, want) {
			t.Fatalf("%q: scan %v, heap %v, want %v", piece, short, long, want)
		}
	}
}

// TestMergeRanksOutOfOrder has a merge that must be done before the one that makes its
// parts possible elsewhere: ranks need not grow with length.
func TestMergeRanksOutOfOrder(t *testing.T) {
	s := byteSpec()
	for _, c := range []string{"ab", "aba", "bb", "abab"} {
		s.vocab = append(s.vocab, vocabEntry{c, int32(len(s.vocab))})
	}
	id := func(c string) int32 {
		return s.vocab[slices.IndexFunc(s.vocab, func(v vocabEntry) bool { return v.content == c })].id
	}
	for _, m := range [][3]string{{"ab", "a", "aba"}, {"a", "b", "ab"}, {"b", "b", "bb"}, {"ab", "ab", "abab"}} {
		s.merges = append(s.merges, mergeEntry{id(m[0]), id(m[1]), id(m[2])})
	}
	tok, err := newTokenizer(s)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 12 {
		for bitset := range 1 << n {
			text := make([]byte, n)
			for i := range text {
				text[i] = "ab"[bitset>>i&1]
			}
			long := strings.Repeat(string(text), 1+2*shortPieceBytes/(n+1))
			sameAsTextbook(t, tok, string(text))
			if bitset%64 == 0 {
				sameAsTextbook(t, tok, long)
			}
		}
	}
}

// byteSpec is a vocabulary of the 256 bytes alone.
func byteSpec() spec {
	s := spec{pattern: PatternGPT2}
	for b, r := range byteRunes {
		s.vocab = append(s.vocab, vocabEntry{string(r), int32(b)})
	}
	return s
}

func TestIgnoreMerges(t *testing.T) {
	s := byteSpec()
	s.vocab = append(s.vocab, vocabEntry{"abc", 256})
	plain, err := newTokenizer(s)
	if err != nil {
		t.Fatal(err)
	}
	s.ignoreMerges = true
	whole, err := newTokenizer(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := plain.Encode(nil, "abc"); !slices.Equal(got, []int32{'a', 'b', 'c'}) {
		t.Errorf("without ignore_merges abc is %v", got)
	}
	if got := whole.Encode(nil, "abc abc"); !slices.Equal(got, []int32{256, ' ', 'a', 'b', 'c'}) {
		t.Errorf("with ignore_merges abc is %v", got)
	}
	sameAsTextbook(t, whole, "abc abc xabc")
}

func TestBytesThatAreNotUTF8(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"hf_gpt2.json", "hf_qwen2.json"} {
		tok := loadTest(t, name)
		for range 500 {
			text := make([]byte, r.IntN(40))
			for i := range text {
				text[i] = byte(r.IntN(256))
			}
			if err := tok.RoundTrip(string(text)); err != nil {
				t.Fatalf("%s: %q: %v", name, text, err)
			}
			sameAsTextbook(t, tok, string(text))
		}
	}
}

// TestLongPieces encodes a megabyte without a cut: a quadratic merge would need hours.
func TestLongPieces(t *testing.T) {
	tok := loadTest(t, "hf_gpt2.json")
	for _, unit := range []string{"a", "the", "中", "!", " ", "\n", "x1"} {
		text := strings.Repeat(unit, 1<<20/len(unit))
		if err := tok.RoundTrip(text); err != nil {
			t.Errorf("%q repeated: %v", unit, err)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := loadTest(t, "hf_qwen2.json")
	var texts []string
	readJSON(t, "testdata/hf_corpus.json", &texts)
	fresh := loadTest(t, "hf_qwen2.json")
	var want [][]int32
	for _, text := range texts {
		want = append(want, fresh.Encode(nil, text))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for k := range texts {
				i := (k*7 + w*31) % len(texts)
				if got := tok.Encode(nil, texts[i]); !slices.Equal(got, want[i]) {
					t.Errorf("worker %d: text %d gave other ids", w, i)
				}
			}
		})
	}
	wg.Wait()
}

func TestWriteJSON(t *testing.T) {
	for _, name := range []string{"hf_gpt2.json", "hf_qwen2.json"} {
		tok := loadTest(t, name)
		var out bytes.Buffer
		if err := tok.WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		p1, s1 := tok.Wrap()
		p2, s2 := back.Wrap()
		if back.Hash() != tok.Hash() || !slices.Equal(p1, p2) || !slices.Equal(s1, s2) {
			t.Errorf("%s: hash %s became %s, template %v %v became %v %v", name, tok.Hash(), back.Hash(), p1, s1, p2, s2)
		}
		var again bytes.Buffer
		if err := back.WriteJSON(&again); err != nil || again.String() != out.String() {
			t.Errorf("%s: writing again gave other bytes (%v)", name, err)
		}
	}
	full := errors.New("disk full")
	if err := loadTest(t, "hf_gpt2.json").WriteJSON(failing{full}); !errors.Is(err, full) {
		t.Errorf("a failing writer gave %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestHashTellsTokenizersApart(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*spec){
		"same":    func(*spec) {},
		"pattern": func(s *spec) { s.pattern = PatternCL100K },
		"nfc":     func(s *spec) { s.nfc = true },
		"ignore":  func(s *spec) { s.ignoreMerges = true },
		"vocab":   func(s *spec) { s.vocab = append(s.vocab, vocabEntry{"zz", 256}) },
		"merge": func(s *spec) {
			s.vocab = append(s.vocab, vocabEntry{"zz", 256})
			s.merges = []mergeEntry{{'z', 'z', 256}}
		},
		"added":   func(s *spec) { s.added = []Added{{ID: 256, Content: "zz"}} },
		"special": func(s *spec) { s.added = []Added{{ID: 256, Content: "zz", Special: true}} },
	} {
		s := byteSpec()
		change(&s)
		tok, err := newTokenizer(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, ok := seen[tok.Hash()]; ok || len(tok.Hash()) != 64 {
			t.Errorf("%s and %s have the hash %s", name, other, tok.Hash())
		}
		seen[tok.Hash()] = name
	}
}
