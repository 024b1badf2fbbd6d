package tokenize

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// show writes sequences as text: * marks a target, then segments document@start:end+from.
func show(s *Sequence) string {
	var b strings.Builder
	for i, id := range s.Tokens {
		mark := ""
		if s.Target[i] {
			mark = "*"
		}
		fmt.Fprintf(&b, "%d%s ", id, mark)
	}
	for _, g := range s.Segments {
		fmt.Fprintf(&b, "|%d@%d:%d+%d", g.Document.Ordinal, g.Start, g.End, g.From)
	}
	return b.String()
}

// documents returns documents of the given lengths; document d has tokens 10d+1, 10d+2, …
func documents(lengths ...int) (out []Document) {
	for d, n := range lengths {
		doc := Document{DocumentInfo: DocumentInfo{Ordinal: uint64(d), Tokens: uint32(n)}}
		for i := range n {
			doc.Tokens = append(doc.Tokens, int32(10*d+i+1))
		}
		out = append(out, doc)
	}
	return out
}

func pack(t *testing.T, o PackOptions, docs []Document) ([]string, PackStats) {
	t.Helper()
	var out []string
	p, err := NewPacker(o, func(s *Sequence) error { out = append(out, show(s)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		if err := p.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := p.Close()
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, o, stats)
	return out, stats
}

func balanced(t *testing.T, o PackOptions, s PackStats) {
	t.Helper()
	if s.DocumentTokens+s.SeparatorTokens != s.PlacedTokens+s.TruncatedTokens+s.HeadTokens+s.DroppedTokens ||
		s.Sequences*int64(o.SequenceLength) != s.PlacedTokens+s.PaddingTokens {
		t.Errorf("counts do not balance: %+v", s)
	}
}

func TestPacking(t *testing.T) {
	cut, windowed := documents(4, 0, 7), documents(7, 2)
	windowed[0].Start = 2
	cut[2].Start, cut[2].Masked = 2, []bool{false, false, false, true, false, false, false}
	for _, c := range []struct {
		name string
		o    PackOptions
		docs []Document
		want []string
		s    PackStats
	}{
		{
			"alone", PackOptions{Packing: PackTruncatePad, SequenceLength: 4, EOS: 8, Pad: 9}, documents(2, 5, 0, 1, 4),
			[]string{"1 2* 9 9 |0@0:2+0", "11 12* 13* 14* |1@0:4+0", "41 42* 43* 44* |4@0:4+0"},
			PackStats{Documents: 5, Empty: 1, WithoutTarget: 1, Truncated: 1, Sequences: 3, DocumentTokens: 12,
				PlacedTokens: 10, TruncatedTokens: 1, DroppedTokens: 1, PaddingTokens: 2, TargetTokens: 7},
		},
		{
			"window and mask", PackOptions{Packing: PackTruncatePad, SequenceLength: 4, EOS: 8, Pad: 9}, cut[1:],
			[]string{"23 24 25* 26* |2@0:4+2"},
			PackStats{Documents: 2, Empty: 1, Truncated: 1, Sequences: 1, DocumentTokens: 7, PlacedTokens: 4,
				TruncatedTokens: 3, TargetTokens: 2},
		},
		{
			"pad id as a token", PackOptions{Packing: PackTruncatePad, SequenceLength: 4, EOS: 3, Pad: -1, MaskPadID: true}, documents(3),
			[]string{"1 2* 3 3 |0@0:3+0"},
			PackStats{Documents: 1, Sequences: 1, DocumentTokens: 3, PlacedTokens: 3, PaddingTokens: 1, TargetTokens: 1},
		},
		{
			"joined", PackOptions{Packing: PackEOSConcat, SequenceLength: 4, EOS: 8, Pad: 9}, documents(2, 6, 0, 1),
			[]string{"1 2* 8* 11* |0@0:3+0|1@3:4+0", "12 13* 14* 15* |1@0:4+1", "16 8* 31* 8* |1@0:2+5|3@2:4+0"},
			PackStats{Documents: 4, Empty: 1, Split: 1, Sequences: 3, DocumentTokens: 9, SeparatorTokens: 3,
				PlacedTokens: 12, TargetTokens: 9},
		},
		{
			"joined, rest padded", PackOptions{Packing: PackEOSConcat, SequenceLength: 4, EOS: 8, Pad: 9}, documents(5),
			[]string{"1 2* 3* 4* |0@0:4+0", "5 8* 9 9 |0@0:2+4"},
			PackStats{Documents: 1, Split: 1, Sequences: 2, DocumentTokens: 5, SeparatorTokens: 1, PlacedTokens: 6,
				PaddingTokens: 2, TargetTokens: 4},
		},
		{
			"joined, rest without a target", PackOptions{Packing: PackEOSConcat, SequenceLength: 4, EOS: 8, Pad: 9}, documents(4),
			[]string{"1 2* 3* 4* |0@0:4+0"},
			PackStats{Documents: 1, WithoutTarget: 1, Split: 1, Sequences: 1, DocumentTokens: 4, SeparatorTokens: 1,
				PlacedTokens: 4, DroppedTokens: 1, TargetTokens: 3},
		},
		{
			"joined, a window of each", PackOptions{Packing: PackEOSConcat, SequenceLength: 4, Window: WindowHash, EOS: 8, Pad: 9},
			windowed, []string{"3 4* 5* 6* |0@0:4+2", "8 11* 12* 8* |0@0:1+6|1@1:4+0"},
			PackStats{Documents: 2, Truncated: 1, Split: 1, Sequences: 2, DocumentTokens: 9, SeparatorTokens: 2, PlacedTokens: 8,
				TruncatedTokens: 3, TargetTokens: 6},
		},
	} {
		got, stats := pack(t, c.o, c.docs)
		if !slices.Equal(got, c.want) || stats != c.s {
			t.Errorf("%s:\n got %q %+v\nwant %q %+v", c.name, got, stats, c.want, c.s)
		}
	}
}

// TestPackingLosesNothing puts the tokens of each document together again.
func TestPackingLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		lengths := make([]int, r.IntN(30))
		for i := range lengths {
			lengths[i] = r.IntN(12)
		}
		docs := documents(lengths...)
		o := PackOptions{Packing: PackEOSConcat, SequenceLength: 2 + r.IntN(9), EOS: 1 << 20, Pad: 1<<20 + 1}
		rebuilt := make([][]int32, len(docs))
		p, err := NewPacker(o, func(s *Sequence) error {
			for _, g := range s.Segments {
				d := g.Document.Ordinal
				if len(rebuilt[d]) != g.From {
					return fmt.Errorf("document %d goes on at %d, not %d", d, len(rebuilt[d]), g.From)
				}
				rebuilt[d] = append(rebuilt[d], s.Tokens[g.Start:g.End]...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			if err := p.Add(d); err != nil {
				t.Fatal(err)
			}
		}
		stats, err := p.Close()
		if err != nil {
			t.Fatal(err)
		}
		balanced(t, o, stats)
		missing := 0
		for i, d := range docs {
			want := d.Tokens
			if len(want) > 0 {
				want = append(slices.Clip(want), o.EOS)
			}
			if missing += len(want) - len(rebuilt[i]); !slices.Equal(rebuilt[i], want[:len(rebuilt[i])]) {
				t.Fatalf("document %d became %v, want %v", i, rebuilt[i], want)
			}
		}
		if int64(missing) != stats.DroppedTokens || missing > 1 {
			t.Fatalf("%d tokens are missing, counted %d", missing, stats.DroppedTokens)
		}
	}
}

func TestPackErrors(t *testing.T) {
	good := PackOptions{Packing: PackEOSConcat, SequenceLength: 4, EOS: 1}
	for want, o := range map[string]PackOptions{
		`unknown packing ""`:        {SequenceLength: 4},
		`unknown window "tail"`:     {Packing: PackTruncatePad, SequenceLength: 4, Window: "tail"},
		`sequence length 1`:         {Packing: PackTruncatePad, SequenceLength: 1},
		`needs an EOS token`:        {Packing: PackEOSConcat, SequenceLength: 4, EOS: -1},
		`document tokens max is -1`: {Packing: PackEOSConcat, SequenceLength: 4, DocumentTokensMax: -1},
	} {
		if _, err := NewPacker(o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	full := errors.New("disk full")
	p, err := NewPacker(good, func(*Sequence) error { return full })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(documents(9)[0]); !errors.Is(err, full) {
		t.Errorf("a failing sink gave %v", err)
	}
	for _, spoil := range []func(*Document){
		func(d *Document) { d.Masked = []bool{true} },
		func(d *Document) { d.Start = 4 },
		func(d *Document) { d.Start = -1 },
		func(d *Document) { d.DocumentInfo.Tokens = 2 },
	} {
		d := documents(3)[0]
		spoil(&d)
		if err := p.Add(d); err == nil {
			t.Errorf("%+v was packed", d)
		}
	}
}

func TestPrepare(t *testing.T) {
	tok := loadTest(t, "hf_qwen2.json") // wraps in <s> 492 and </s> 493, pads with 494
	text := "The river counts 12 stones."
	body := tok.Encode(nil, text)
	whole := append(append([]int32{492}, body...), 493)
	n := len(whole)
	for _, c := range []struct {
		name  string
		o     PackOptions
		want  []int32
		start int
	}{
		{"plain", PackOptions{Packing: PackTruncatePad, SequenceLength: 99}, body, 0},
		{"wrapped", PackOptions{Packing: PackTruncatePad, SequenceLength: 99, AddSpecial: true}, whole, 0},
		{"cut", PackOptions{Packing: PackTruncatePad, SequenceLength: 5, AddSpecial: true},
			append(slices.Clone(whole[:4]), 493), 0},
		{"joined", PackOptions{Packing: PackEOSConcat, SequenceLength: 5, EOS: 493, AddSpecial: true}, whole, 0},
		{"joined, limited", PackOptions{Packing: PackEOSConcat, SequenceLength: 5, EOS: 493, DocumentTokensMax: 7}, body[:7], 0},
		{"window", PackOptions{Packing: PackTruncatePad, SequenceLength: 5, AddSpecial: true, Window: WindowHash},
			whole, TokenWindow(text, n, 5)},
	} {
		d, err := c.o.Prepare(tok, DocumentInfo{Ordinal: 3}, text)
		full := n
		if !c.o.AddSpecial {
			full = len(body)
		}
		if err != nil || !slices.Equal(d.Tokens, c.want) || d.Start != c.start ||
			int(d.DocumentInfo.Tokens) != full || int(d.TextBytes) != len(text) {
			t.Errorf("%s: %v from %d of %d (%v), want %v from %d", c.name, d.Tokens, d.Start, d.DocumentInfo.Tokens, err, c.want, c.start)
		}
	}
	tight := PackOptions{Packing: PackTruncatePad, SequenceLength: 2, AddSpecial: true}
	if d, err := tight.Prepare(tok, DocumentInfo{}, text); err != nil || !slices.Equal(d.Tokens, []int32{492, 493}) {
		t.Errorf("two tokens: %v %v", d.Tokens, err)
	}
	if _, err := (PackOptions{Packing: PackEOSConcat, SequenceLength: 5, DocumentTokensMax: 1, AddSpecial: true}).Prepare(tok, DocumentInfo{}, text); err == nil {
		t.Error("a limit below the template's tokens was taken")
	}
	o := PackOptions{Packing: PackTruncatePad, SequenceLength: 9}.WithTokenizer(tok)
	if o.EOS != 493 || o.Pad != 494 {
		t.Errorf("WithTokenizer gave %+v", o)
	}
}

// TestTokenWindow holds the value that Connito's h256_int gives.
func TestTokenWindow(t *testing.T) {
	if got := TokenWindow("hello world", 150, 50); got != 44 {
		t.Errorf("start is %d, want 44 (h256_int mod 101)", got)
	}
	if got := TokenWindow("hello world", 50, 50) + TokenWindow("hello world", 1, 50); got != 0 {
		t.Errorf("a document that fits starts at %d", got)
	}
	long := strings.Repeat("é", 100)
	if got := WindowText(long, 2); got != strings.Repeat("é", 80) {
		t.Errorf("capped to %d bytes, want 160", len(got))
	}
	if WindowText(long, 3) != long || WindowText("", 2) != "" {
		t.Error("a text that is short enough was cut")
	}
	if TokenWindow(long, 1000, 2) != TokenWindow(long+"tail", 1000, 2) {
		t.Error("text behind the cap changes the window")
	}
}

func TestChatTemplate(t *testing.T) {
	chatml := ChatTemplate{
		Turns: map[string]string{"": "<|im_start|>{{role}}\n{{content}}<|im_end|>\n"}, End: "<|im_start|>assistant\n",
	}
	messages := []Message{{Role: "user", Content: "{{role}}?"}, {Role: "assistant", Content: "yes"}}
	got, err := chatml.Render(messages)
	want := "<|im_start|>user\n{{role}}?<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>assistant\n"
	if err != nil || got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	esft := ChatTemplate{Begin: "^", Turns: map[string]string{"user": "User: {{content}}\n\nAssistant:", "assistant": " {{content}}"}}
	if got, err := esft.Render(messages[1:]); err != nil || got != "^ yes" {
		t.Errorf("got %q (%v)", got, err)
	}
	if _, err := esft.Render([]Message{{Role: "user", Content: "a"}, {Role: "tool", Content: "b"}}); err == nil ||
		err.Error() != `messages[1].role: the chat template has no turn for "tool"` {
		t.Errorf("an unknown role gave %v", err)
	}
}
