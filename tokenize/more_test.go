package tokenize

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The files testdata/more_*.json were made by testdata/make_more.py with Hugging Face
// tokenizers 0.23.3.

type moreAnswer struct {
	Text                    string
	Plain, Special, Wrapped []int32
	Decoded                 string
	Offsets                 []int // start and end of each token
}

func moreAnswers(t testing.TB) map[string][]moreAnswer {
	answers := map[string][]moreAnswer{}
	readJSON(t, "testdata/more_answers.json", &answers)
	if len(answers) != 13 {
		t.Fatalf("%d tokenizers, want 13", len(answers))
	}
	return answers
}

func TestAnswersOfHuggingFace(t *testing.T) {
	for name, rows := range moreAnswers(t) {
		tok := loadTest(t, "more_"+name+".json")
		prefix, suffix := tok.Wrap()
		for _, row := range rows {
			wrapped := append(tok.EncodeSpecial(slices.Clone(prefix), row.Text), suffix...)
			ids, offsets := tok.EncodeOffsets(row.Text, true)
			plain, _ := tok.EncodeOffsets(row.Text, false)
			for _, c := range []struct {
				how       string
				got, want []int32
			}{
				{"plain", tok.Encode(nil, row.Text), row.Plain},
				{"plain again", tok.EncodeBytes(nil, []byte(row.Text)), row.Plain},
				{"special", tok.EncodeSpecial(nil, row.Text), row.Special},
				{"wrapped", wrapped, row.Wrapped},
				{"special, with offsets,", ids, row.Special},
				{"plain, with offsets,", plain, row.Plain},
			} {
				if !slices.Equal(c.got, c.want) {
					t.Errorf("%s: %s ids of %q are %v, want %v", name, c.how, row.Text, c.got, c.want)
				}
			}
			var flat []int
			for _, o := range offsets {
				flat = append(flat, o.Start, o.End)
			}
			if !slices.Equal(flat, row.Offsets) {
				t.Errorf("%s: offsets of %q are %v, want %v", name, row.Text, flat, row.Offsets)
			}
			if got := string(tok.Decode(row.Special)); got != row.Decoded {
				t.Errorf("%s: %q decodes to %q, want %q", name, row.Text, got, row.Decoded)
			}
			if err := tok.RoundTrip(row.Text); err != nil {
				t.Errorf("%s: %q: %v", name, row.Text, err)
			}
		}
	}
}

// TestMoreKinds says which of them are the simple family, and that the others come out of
// WriteJSON as they are.
func TestMoreKinds(t *testing.T) {
	patterns := map[string]Pattern{
		"o200k": PatternO200K, "tekken": PatternTekken, "deepseek_v3": PatternDeepSeekV3, "letters": "", "llama": "",
	}
	hashes := map[string]string{}
	for name := range moreAnswers(t) {
		tok := loadTest(t, "more_"+name+".json")
		if want, listed := patterns[name]; listed && (tok.Pattern() != want || tok.faithful() != (want != "")) {
			t.Errorf("%s: pattern %q, want %q", name, tok.Pattern(), want)
		}
		if other, taken := hashes[tok.Hash()]; taken {
			t.Errorf("%s and %s have the hash %s", name, other, tok.Hash())
		}
		hashes[tok.Hash()] = name
		var out bytes.Buffer
		if err := tok.WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile("testdata/more_" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if !tok.faithful() && !bytes.Equal(out.Bytes(), file) {
			t.Errorf("%s: WriteJSON wrote another file", name)
		}
		if back, err := Parse(out.Bytes()); err != nil || back.Hash() != tok.Hash() {
			t.Errorf("%s: written and read again: %v, or another hash", name, err)
		}
	}
}

// TestHashOfMore changes one thing after another: each is another tokenizer, but for what
// decides no ids.
func TestHashOfMore(t *testing.T) {
	base := mustParse(t, edited(t, "normalizer", obj{"type": "Lowercase"}))
	same := mustParse(t, edited(t, "normalizer", obj{"type": "Lowercase"}))
	if base.Hash() != same.Hash() {
		t.Error("reading twice gives two hashes")
	}
	seen := map[string]int{base.Hash(): -1}
	for i, c := range []struct {
		path string
		to   any
	}{
		{"normalizer", obj{"type": "NFKC"}},
		{"normalizer", obj{"type": "Sequence", "normalizers": arr{obj{"type": "Lowercase"}, obj{"type": "NFC"}}}},
		{"pre_tokenizer", obj{"type": "Digits", "individual_digits": true}},
		{"pre_tokenizer", nil},
		{"model/unk_token", "the"},
		{"model/end_of_word_suffix", "e"},
		{"model/byte_fallback", true},
		{"added_tokens/0/lstrip", true},
		{"added_tokens/0/rstrip", true},
		{"added_tokens/0/single_word", true},
	} {
		hash := mustParse(t, edited(t, c.path, c.to)).Hash()
		if other, taken := seen[hash]; taken {
			t.Errorf("%s = %v has the hash of %d", c.path, c.to, other)
		}
		seen[hash] = i
	}
}

// TestHashesStay pins hashes: token shards and data keys hold them.
func TestHashesStay(t *testing.T) {
	for name, want := range map[string]string{
		"hf_gpt2":      "3f8e1e60ef7ada31f8a682d227438d54f7e7d85f6e9ebfde80fc3ad387ba59ab",
		"hf_qwen2":     "a390e26d7f985133105ebb1aa0dbe996636e5382cafa7ca9f89a58a659697ac2",
		"more_o200k":   "f61dfea02c49b1750006fbbfc93cd6af10f8fbb3db3817e4fc4b0c639f6afcf4",
		"more_llama":   "81c9194ce498b681aefa92c77cb1263618b39d291c23dd917181470638d75e7b",
		"more_unigram": "c180cae1d45bbe5d746b4dc30a57c866496cc433c0018b48ba080f7e11ff8fc7",
	} {
		if got := loadTest(t, name+".json").Hash(); got != want {
			t.Errorf("%s has the hash %s, want %s", name, got, want)
		}
	}
}

func mustParse(t *testing.T, data []byte) *Tokenizer {
	t.Helper()
	tok, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestCutsAreSafe compares SentencePiece-style BPE of parts with that of the whole.
func TestCutsAreSafe(t *testing.T) {
	var texts []string
	readJSON(t, "testdata/hf_corpus.json", &texts)
	for _, name := range []string{"more_llama.json", "more_gemma.json"} {
		tok := loadTest(t, name)
		model := tok.slow().model.(*charBPE)
		whole := *model
		whole.joints = nil
		for _, text := range texts {
			text = "▁" + text
			if got, want := model.tokens(nil, text), whole.tokens(nil, text); !slices.Equal(got, want) {
				t.Fatalf("%s: %q: %v, want %v", name, text, got, want)
			}
		}
		if i := model.piece("a▁b", 0); i != 1 {
			t.Errorf("%s: %q is cut at %d, want 1", name, "a▁b", i)
		}
	}
}

// TestUnknownBytes has a vocabulary that lacks letters: what it cannot spell goes, as in the
// library.
func TestUnknownBytes(t *testing.T) {
	tok := mustParse(t, edited(t, "model/vocab/Ā", nil))
	want := tok.Encode(tok.Encode(nil, "a"), "b")
	if got := tok.Encode(nil, "a\x00b"); !slices.Equal(got, want) || len(got) != 2 {
		t.Errorf("a NUL without an entry gave %v, want %v", got, want)
	}
}

// TestLongTexts has nothing to cut at, or marks and spaces without end: quadratic work would
// take minutes.
func TestLongTexts(t *testing.T) {
	for name := range moreAnswers(t) {
		tok := loadTest(t, "more_"+name+".json")
		for _, unit := range []string{"a", "A", "中", "\u0301", " ", "\n", "😀", "the ", "\x00", "é", "1", "▁"} {
			text := strings.Repeat(unit, 1<<15/len(unit))
			got, offsets := tok.EncodeOffsets(text, false)
			if want := tok.Encode(nil, text); !slices.Equal(got, want) || len(offsets) != len(want) {
				t.Errorf("%s: %q repeated: %d ids with offsets, %d without", name, unit, len(got), len(want))
			}
		}
	}
}

// TestConcurrentUseOfMore shares one tokenizer of each kind among goroutines.
func TestConcurrentUseOfMore(t *testing.T) {
	var wg sync.WaitGroup
	for name, rows := range moreAnswers(t) {
		tok := loadTest(t, "more_"+name+".json")
		for range 3 {
			wg.Go(func() {
				for _, row := range rows {
					if ids, _ := tok.EncodeOffsets(row.Text, true); !slices.Equal(ids, row.Special) {
						t.Errorf("%s: %q with offsets gave other ids", name, row.Text)
					}
					if !slices.Equal(tok.EncodeSpecial(nil, row.Text), row.Special) || string(tok.Decode(row.Special)) != row.Decoded {
						t.Errorf("%s: %q gave other ids, or decodes otherwise", name, row.Text)
					}
				}
			})
		}
	}
	wg.Wait()
}
