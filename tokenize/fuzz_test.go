package tokenize

import (
	"slices"
	"strings"
	"testing"
)

// FuzzEncode compares with the twin and decodes back.
func FuzzEncode(f *testing.F) {
	for _, text := range []string{
		"", "It's 1234 o'clock\r\n\n  and\tnaïve ", "'ſ 'LL<tool>s<s>", "\xff\xfe 中文\u0301", "aaaaaaaaaaaaaaaaaaaaaaaa",
	} {
		f.Add(text)
	}
	gpt2, qwen := loadTest(f, "hf_gpt2.json"), loadTest(f, "hf_qwen2.json")
	cl := qwen.spec
	cl.pattern, cl.ignoreMerges = PatternCL100K, true
	llama, err := newTokenizer(cl)
	if err != nil {
		f.Fatal(err)
	}
	var others []*Tokenizer
	for name := range moreAnswers(f) {
		others = append(others, loadTest(f, "more_"+name+".json"))
		others[len(others)-1].EncodeOffsets("a é", true)
	}
	for _, p := range Patterns() {
		sameSplit(f, p, "a é") // makes the tables, which no single input should wait for
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range []*Tokenizer{gpt2, qwen, llama} {
			sameAsTextbook(t, tok, text)
			if err := tok.RoundTrip(text); err != nil {
				t.Fatal(err)
			}
		}
		for _, tok := range others {
			sameWithOffsets(t, tok, text)
		}
		for _, p := range Patterns() {
			want, err := TextbookSplit(p, text)
			var got []string
			if err2 := p.Split(text, func(s string) bool { got = append(got, s); return true }); err2 != nil {
				t.Fatal(err2)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: %q, want %q (%v)", p, got, want, err)
			}
		}
	})
}

// sameWithOffsets compares the ids of the two ways, and checks that offsets are in order and
// inside the text.
func sameWithOffsets(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	for _, special := range []bool{false, true} {
		want := tok.encode(nil, text, special)
		got, offsets := tok.EncodeOffsets(text, special)
		if !slices.Equal(got, want) || len(offsets) != len(got) {
			t.Fatalf("%q (special %v): with offsets %v, want %v", text, special, got, want)
		}
		for _, o := range offsets {
			if o.Start < 0 || o.End < o.Start || o.End > len(text) {
				t.Fatalf("%q: offsets %v", text, offsets)
			}
		}
	}
}

// FuzzTrain compares the incremental trainer with the one that counts again.
func FuzzTrain(f *testing.F) {
	f.Add("aaaa aaa ababab\nabab", uint8(20), uint8(0))
	f.Add("the then there these\nother others", uint8(9), uint8(2))
	f.Add("<s><s><s> s>s>", uint8(30), uint8(1))
	f.Fuzz(func(t *testing.T, text string, merges, least uint8) {
		if len(text) > 400 {
			t.Skip()
		}
		docs := slices.Values(strings.Split(text, "\n"))
		o := TrainOptions{
			VocabSize: 257 + int(merges), Special: []string{"<s>"}, CountMin: int64(least), Pattern: PatternCL100K,
		}
		fast, err := Train(docs, o)
		if err != nil {
			t.Fatal(err)
		}
		slow, err := TextbookTrain(docs, o)
		if err != nil {
			t.Fatal(err)
		}
		if fast.Hash() != slow.Hash() {
			t.Fatalf("merges %v, want %v", fast.spec.merges, slow.spec.merges)
		}
	})
}

// FuzzWindows compares words of bits with [splitter.next], at every place in a block.
func FuzzWindows(f *testing.F) {
	for _, text := range []string{
		"It's 1234 o'clock'sll\r\n\n  and\tnaïve ", "!\n/x //\n/ 'ſa  \n \n\n  ", "aB中Cd é\u0301A \xff\xfe\u00a0\u3000 12345678", "'LLrE's't",
	} {
		f.Add(text, uint8(0), uint8(0), uint8(0))
		f.Add(text, uint8(61), uint8(70), uint8(3))
	}
	w := new(window)
	for _, p := range Patterns() {
		sameWindows(f, p, w, "a é")
	}
	f.Fuzz(func(t *testing.T, text string, before, after, times uint8) {
		text = strings.Repeat("b", int(before)) + strings.Repeat(text, 1+int(times)) + strings.Repeat("- ", int(after))
		for _, p := range Patterns() {
			sameWindows(t, p, w, text)
		}
	})
}
