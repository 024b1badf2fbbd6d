package tokenize

import (
	"bytes"
	"strings"
	"testing"
)

func auditShard(t *testing.T, tok *Tokenizer, o PackOptions, texts []string) AuditReport {
	t.Helper()
	m, err := tok.ShardMeta(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Sources = []string{"s"}
	w, err := NewShardWriter(m)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPacker(o, w.Add)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		d, err := o.Prepare(tok, DocumentInfo{Ordinal: uint64(i)}, text)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	r, err := Audit(tok, open(t, out.Bytes()), func(d DocumentInfo) (string, bool) { return texts[d.Ordinal], d.Ordinal != 1 })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAudit(t *testing.T) {
	gpt2, qwen := loadTest(t, "hf_gpt2.json"), loadTest(t, "hf_qwen2.json")
	texts := []string{"The river counts stones.", "b\u0301é ok", "Each\xff train", strings.Repeat("window ", 40)}
	joined := PackOptions{Packing: PackEOSConcat, SequenceLength: 16}.WithTokenizer(gpt2)
	r := auditShard(t, gpt2, joined, texts)
	if r.Documents != 4 || r.Whole != 4 || r.Starts != 4 || r.Ends != 4 || r.EndsWithEOS != 4 || r.EOSTargets < 3 ||
		r.Compared != 3 || r.Different != 0 || r.BrokenUTF8 != 1 || r.SpecialInside != 0 || len(r.Problems()) != 0 {
		t.Errorf("eos-concat: %+v %q", r, r.Problems())
	}
	alone := PackOptions{Packing: PackTruncatePad, SequenceLength: 32, AddSpecial: true}.WithTokenizer(qwen)
	r = auditShard(t, qwen, alone, texts)
	if r.Starts != 4 || r.StartsWithBOS != 4 || r.Ends != 3 || r.EndsWithEOS != 3 || r.EOSTargets != 3 || r.Whole != 3 ||
		r.Compared != 2 || r.Different != 0 || len(r.Problems()) != 0 {
		t.Errorf("truncate-pad: %+v %q", r, r.Problems())
	}
	alone.Pad, alone.MaskPadID = alone.EOS, true
	r = auditShard(t, qwen, alone, texts)
	if p := r.Problems(); len(p) != 1 || !strings.Contains(p[0], "EOS is never a target") {
		t.Errorf("padding with EOS: %q", p)
	}
	r = auditShard(t, gpt2, joined, []string{"a", "x", "y <|endoftext|> z"})
	if r.SpecialInside != 0 {
		t.Errorf("a special token spelled out became one: %+v", r)
	}
	joined.FindSpecial = true
	if r = auditShard(t, gpt2, joined, []string{"a", "x", "y <|endoftext|> z"}); r.SpecialInside != 1 {
		t.Errorf("special tokens inside: %+v", r)
	}
}

func TestAuditFindsOtherText(t *testing.T) {
	tok := loadTest(t, "hf_gpt2.json")
	o := PackOptions{Packing: PackTruncatePad, SequenceLength: 8}.WithTokenizer(tok)
	m, err := tok.ShardMeta(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Sources = []string{"s"}
	w, err := NewShardWriter(m)
	if err != nil {
		t.Fatal(err)
	}
	doc := DocumentInfo{Ordinal: 4, ID: "d", Tokens: 2}
	err = w.Add(&Sequence{
		Tokens: []int32{70, 71, 0, 0, 0, 0, 0, 0}, Target: make([]bool, 8), Segments: []Segment{{doc, 0, 2, 0}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	s := open(t, out.Bytes())
	r, err := Audit(tok, s, func(DocumentInfo) (string, bool) { return "another", true })
	want := "1 of 1 documents do not decode to their text, first document 4 d"
	if p := r.Problems(); err != nil || len(p) != 2 || p[0] != "no token is a target" || p[1] != want {
		t.Errorf("%+v %q %v", r, r.Problems(), err)
	}
	if _, err := Audit(loadTest(t, "hf_qwen2.json"), s, nil); err == nil || !strings.Contains(err.Error(), "was made with tokenizer") {
		t.Errorf("another tokenizer gave %v", err)
	}
}

// TestSpells compares prepared documents with their texts, cut or whole, wrapped or not.
func TestSpells(t *testing.T) {
	text := "The river e\u0301 counts <|endoftext|> stones."
	for _, name := range []string{"hf_qwen2.json", "hf_gpt2.json"} {
		tok := loadTest(t, name)
		for _, o := range []PackOptions{
			{Packing: PackTruncatePad, SequenceLength: 99}, {Packing: PackTruncatePad, SequenceLength: 5},
			{Packing: PackTruncatePad, SequenceLength: 99, AddSpecial: true}, {Packing: PackTruncatePad, SequenceLength: 6, AddSpecial: true},
			{Packing: PackTruncatePad, SequenceLength: 2, Window: WindowHash}, {Packing: PackESFT, SequenceLength: 9},
		} {
			d, err := o.Prepare(tok, DocumentInfo{}, text)
			if err != nil {
				t.Fatal(err)
			}
			cut := len(d.Tokens) < int(d.DocumentInfo.Tokens)
			if !tok.Spells(d, text) || tok.Spells(d, "X"+text) || tok.Spells(d, "The cat") {
				t.Errorf("%s %+v: %v does not spell its text, or spells others", name, o, d.Tokens)
			}
			d.TextBytes++
			if cut != tok.Spells(d, text+"X") {
				t.Errorf("%s %+v: a text that goes on is %v", name, o, !cut)
			}
		}
	}
}
