package tokenize

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func containsText(err error, want string) bool { return strings.Contains(err.Error(), want) }

// TestPrepareChat masks all but some parts of a text; a token that reaches into one is of it.
func TestPrepareChat(t *testing.T) {
	tok := loadTest(t, "hf_qwen2.json") // normalises
	text := "<s>The river e\u0301 counts stones.</s> b\u0301 ok"
	at := strings.Index(text, " counts")
	end := strings.Index(text, "</s>") + len("</s>")
	o := PackOptions{Packing: PackTruncatePad, SequenceLength: 99, AddSpecial: true}
	d, err := o.PrepareChat(tok, DocumentInfo{}, text, []Span{{at, end}})
	if err != nil {
		t.Fatal(err)
	}
	if want := tok.EncodeSpecial(nil, text); !slices.Equal(d.Tokens, want) || d.Tokens[0] != 492 || int(d.TextBytes) != len(text) {
		t.Fatalf("tokens %v, want %v", d.Tokens, want)
	}
	var learnt []int32
	for i, id := range d.Tokens {
		if !d.Masked[i] {
			learnt = append(learnt, id)
		}
	}
	if got := string(tok.Decode(learnt)); got != " counts stones.</s>" {
		t.Errorf("learnt %q", got)
	}
	if all, err := o.PrepareChat(tok, DocumentInfo{}, text, nil); err != nil || all.Masked != nil {
		t.Errorf("all: %v %v", all.Masked, err)
	}
	if none, err := o.PrepareChat(tok, DocumentInfo{}, text, []Span{}); err != nil || slices.Contains(none.Masked, false) {
		t.Errorf("none: %v %v", none.Masked, err)
	}
	o.SequenceLength = 4
	if cut, err := o.PrepareChat(tok, DocumentInfo{}, text, []Span{{at, end}}); err != nil || len(cut.Tokens) != 4 || len(cut.Masked) != 4 ||
		int(cut.DocumentInfo.Tokens) != len(d.Tokens) {
		t.Errorf("cut: %+v %v", cut, err)
	}
	if _, err := o.PrepareChat(tok, DocumentInfo{}, text, []Span{{5, 9}, {8, 12}}); err == nil {
		t.Error("spans that overlap were taken")
	}
	// A part that begins inside of a special token.
	o.SequenceLength = 99
	inside, err := o.PrepareChat(tok, DocumentInfo{}, "The</s>river stones", []Span{{5, 7}, {9, 9}})
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range inside.Tokens {
		if inside.Masked[i] != (id != 493) {
			t.Errorf("inside a token: %v of %v", inside.Masked, inside.Tokens)
		}
	}
	// A combining mark behind the part that it belongs to: no token begins there.
	if _, err := o.PrepareChat(tok, DocumentInfo{}, "e\u0301", []Span{{1, 3}}); !errors.Is(err, errTraced) {
		t.Errorf("a part that begins within a character: %v", err)
	}
}

// TestPrepareESFT follows get_formatted_input_and_target.
func TestPrepareESFT(t *testing.T) {
	tok := loadTest(t, "hf_qwen2.json")
	o := PackOptions{Packing: PackESFT, SequenceLength: 99}
	messages := []Message{{Role: "user", Content: " The river?\n"}, {Role: "assistant", Content: "stones \x1c"}, {Role: "user", Content: "Why"}, {Role: "assistant", Content: ""}}
	d, err := o.PrepareESFT(tok, DocumentInfo{}, messages, true)
	if err != nil {
		t.Fatal(err)
	}
	var want []int32
	var masked []bool
	add := func(mask bool, ids ...int32) {
		for _, id := range ids {
			want, masked = append(want, id), append(masked, mask)
		}
	}
	add(false, 492)
	add(true, tok.Encode(nil, "User: The river?\n\nAssistant:")...)
	add(false, append(tok.Encode(nil, " stones"), 493)...)
	add(true, tok.Encode(nil, "User: Why\n\nAssistant:")...)
	add(false, append(tok.Encode(nil, " "), 493)...)
	if !slices.Equal(d.Tokens, want) || fmt.Sprint(d.Masked) != fmt.Sprint(masked) || int(d.DocumentInfo.Tokens) != len(want) {
		t.Errorf("got %v %v\nwant %v %v", d.Tokens, d.Masked, want, masked)
	}
	if all, err := o.PrepareESFT(tok, DocumentInfo{}, messages, false); err != nil || slices.Contains(all.Masked, true) {
		t.Errorf("all: %v %v", all.Masked, err)
	}
	messages[1].Masked = true
	part, err := o.PrepareESFT(tok, DocumentInfo{}, messages, false)
	if from := len(tok.Encode(nil, "User: The river?\n\nAssistant:")) + 1; err != nil || part.Masked[from-1] || !part.Masked[from] {
		t.Errorf("a masked answer: %v, %v", part.Masked, err)
	}
	if none, err := o.PrepareESFT(tok, DocumentInfo{}, nil, true); err != nil || len(none.Tokens) != 0 {
		t.Errorf("no message: %v %v", none.Tokens, err)
	}
	if _, err := o.PrepareESFT(tok, DocumentInfo{}, []Message{{Role: "system", Content: "x"}}, true); err == nil || !containsText(err, `no turn for "system"`) {
		t.Errorf("a system message: %v", err)
	}
	if _, err := o.PrepareESFT(loadTest(t, "hf_gpt2.json"), DocumentInfo{}, messages, true); err == nil || !containsText(err, "needs a BOS") {
		t.Errorf("no BOS: %v", err)
	}
}

// TestMaskedByTheTokenizersNormalForm has characters in the answer that compose since Unicode 13 only: the tokenizer's
// normal form, which is older, keeps them apart, and the mask must go by the same.
func TestMaskedByTheTokenizersNormalForm(t *testing.T) {
	tok := loadTest(t, "hf_qwen2.json")
	text := "ask \U00011935\U00011930 answer \U00011935\U00011930."
	o := PackOptions{Packing: PackTruncatePad, SequenceLength: 64}.WithTokenizer(tok)
	answer := strings.Index(text, " answer")
	d, err := o.PrepareTargets(tok, DocumentInfo{}, text, []Span{{answer, len(text)}})
	if err != nil {
		t.Fatal(err)
	}
	learnt := ""
	for i, id := range d.Tokens {
		if !d.Masked[i] {
			learnt += string(tok.AppendToken(nil, id))
		}
	}
	if learnt != text[answer:] {
		t.Errorf("learnt is %q, want %q", learnt, text[answer:])
	}
}
