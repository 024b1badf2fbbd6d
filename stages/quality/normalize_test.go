package quality

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestNormalize(t *testing.T) {
	all := NormalizeAll()
	without := func(f func(*NormalizeOptions)) NormalizeOptions {
		o := all
		f(&o)
		return o
	}
	for _, tc := range []struct {
		in, want string
		opts     NormalizeOptions
		edits    Edits
	}{
		{"", "", all, Edits{}},
		{"Plain text,\n\tindented.\n\nEnd", "Plain text,\n\tindented.\n\nEnd", all, Edits{}},
		{"naïve 中文 می‌خواهم 👩‍🚀", "naïve 中文 می‌خواهم 👩‍🚀", all, Edits{}},
		{"a\r\nb\rc\u2028d\u2029e\u0085f\vg\fh", "a\nb\nc\nd\ne\nf\ng\nh", all, Edits{LineEndings: 7}},
		{"a\r\nb", "a\r\nb", without(func(o *NormalizeOptions) { o.LineEndings = false }), Edits{}},
		{"\r\n\r\na", "a", all, Edits{LineEndings: 2, Trimmed: 2}},
		{"a\x00b\x7fc\u009fd\te", "abcd\te", all, Edits{Controls: 3}},
		{"a\x00", "a\x00", without(func(o *NormalizeOptions) { o.Controls = false }), Edits{}},
		{"\ufeffa\u200bb\u00adc\u202ed\u2066e\u061cf\u2060", "abcdef", all, Edits{ZeroWidth: 7}},
		{"a\u200db é\u200c \u212a\u200d", "ab é K", all, Edits{ZeroWidth: 3, Composed: 1}},
		{"ی\u200c\u200cخ क्\u200dष ❤\ufe0f\u200d\U0001f525", "ی\u200cخ क्\u200dष ❤\ufe0f\u200d\U0001f525", all, Edits{ZeroWidth: 1}},
		{"a\u00a0b\u3000c\u2009 d", "a b c  d", all, Edits{Spaces: 3}},
		{"a \t\nb\u00a0\n", "a\nb", all, Edits{Spaces: 1, TrailingSpaces: 3, Trimmed: 1}},
		{"a \nb", "a \nb", without(func(o *NormalizeOptions) { o.TrailingSpaces = false }), Edits{}},
		{"a\n \n\n\n\nb", "a\n\nb", all, Edits{TrailingSpaces: 1, BlankLines: 3}},
		{" \n\t a \n b\n\n\n", "a\n b", all, Edits{TrailingSpaces: 1, BlankLines: 1, Trimmed: 6}},
		{" a\n\n\n", " a\n\n\n", without(func(o *NormalizeOptions) { o.Trim, o.BlankLines = false, false }), Edits{}},
		{"e\u0301 A\u030a \u212b \u1100\u1161 q\u0323\u0307 q\u0307\u0323", "é Å Å 가 q\u0323\u0307 q\u0323\u0307", all, Edits{Composed: 5}},
		{"e\u200b\u0301", "é", all, Edits{ZeroWidth: 1, Composed: 1}},
		{"e\u0301", "e\u0301", without(func(o *NormalizeOptions) { o.NFC = false }), Edits{}},
		{"a\xff\xe2\x80b", "a\ufffd\ufffd\ufffdb", NormalizeOptions{}, Edits{InvalidBytes: 3}},
		{" \x00\u200b\r\n\n\n\u00a0e\u0301 ", " \x00\u200b\r\n\n\n\u00a0e\u0301 ", NormalizeOptions{}, Edits{}},
		{" \u00a0\u200b\n ", "", all, Edits{Spaces: 1, ZeroWidth: 1, Trimmed: 4}},
	} {
		got, edits := Normalize(nil, []byte(tc.in), tc.opts)
		if string(got) != tc.want || edits != tc.edits {
			t.Errorf("%q: got %q %+v, want %q %+v", tc.in, got, edits, tc.want, tc.edits)
		}
	}
}

// TestNormalizeKeepsInput checks who owns what: text comes back as it is if clean, and is
// never written to.
func TestNormalizeKeepsInput(t *testing.T) {
	for _, clean := range []string{"clean ASCII\n\ntext", "naïve 中文"} {
		text := []byte(clean)
		if got, _ := Normalize(make([]byte, 99), text, NormalizeAll()); &got[0] != &text[0] || len(got) != len(text) {
			t.Errorf("%q was copied", clean)
		}
		if n := testing.AllocsPerRun(5, func() { Normalize(nil, text, NormalizeAll()) }); n != 0 {
			t.Errorf("%q: %v allocations", clean, n)
		}
	}
	text, dst := []byte("a \n\u00a0b"), make([]byte, 0, 64)
	got, _ := Normalize(dst, text, NormalizeAll())
	if string(text) != "a \n\u00a0b" || string(got) != "a\n b" || &got[0] != &dst[:1][0] {
		t.Errorf("text is %q, result %q", text, got)
	}
}

// checkNormalize checks text under one set of options: twin, counts and idempotence.
func checkNormalize(t *testing.T, text string, o NormalizeOptions) {
	t.Helper()
	got, edits := Normalize(nil, []byte(text), o)
	if want := slowNormalize(text, o); string(got) != want {
		t.Fatalf("%q, %+v: got %q, want %q", text, o, got, want)
	}
	if edits.Changed() != (string(got) != text) || !utf8.Valid(got) {
		t.Fatalf("%q, %+v: got %q with %+v", text, o, got, edits)
	}
	if again, more := Normalize(nil, got, o); !bytes.Equal(again, got) || more.Changed() {
		t.Fatalf("%q, %+v: not idempotent: %q, then %q %+v", text, o, got, again, more)
	}
}

// optionsOf returns the options whose bits are set.
func optionsOf(bits uint8) NormalizeOptions {
	on := func(i int) bool { return bits>>i&1 == 1 }
	return NormalizeOptions{on(0), on(1), on(2), on(3), on(4), on(5), on(6), on(7)}
}

func TestNormalizeExhaustive(t *testing.T) {
	alphabet := []string{"a", " ", "\n", "\r", "\x00", "\u00a0", "\u200b", "\u200d", "\u0301", "\u05b0", "ب", "\u212a", "\xff"}
	var walk func(prefix string, left int)
	walk = func(prefix string, left int) {
		checkNormalize(t, prefix, NormalizeAll())
		if left <= 1 {
			checkNormalize(t, prefix, optionsOf(uint8(rand.New(rand.NewPCG(uint64(len(prefix)), uint64(prefix[0]))).Uint32())))
		}
		if left == 0 {
			return
		}
		for _, c := range alphabet {
			walk(prefix+c, left-1)
		}
	}
	for _, c := range alphabet {
		walk(c, 3)
	}
	for bits := range 256 {
		for _, text := range []string{" \n\n\n\ta\r\n \x00\u200b\u200d\u00a0e\u0301 \n\n\n\n", "x\u2028\u0085 \t\n\v\f\r\r\n\xff\u3000", "ब\u200d\u200d \u200c"} {
			checkNormalize(t, text, optionsOf(uint8(bits)))
		}
	}
}

// TestNormalizeStable checks the facts about NFC that idempotence rests on, for each
// character: it brings back nothing that the other edits remove, and a joiner's base keeps
// its answer.
func TestNormalizeStable(t *testing.T) {
	lastBase := func(s string) (base rune) {
		for _, r := range s {
			if !unicode.Is(unicode.M, r) {
				base = r
			}
		}
		return base
	}
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		mark := unicode.Is(unicode.M, r)
		for _, form := range []string{norm.NFC.String(string(r)), norm.NFD.String(string(r))} {
			for _, c := range form {
				if actionOf(c) != actionOf(r) || unicode.IsSpace(c) != unicode.IsSpace(r) || mark && !unicode.Is(unicode.M, c) {
					t.Errorf("%U becomes %q", r, form)
				}
			}
		}
		if composed := lastBase(norm.NFC.String(string(r))); !mark && joinable(r) && !joinable(composed) {
			t.Errorf("%U takes a joiner, but composed %U does not", r, composed)
		}
		if parts := lastBase(norm.NFD.String(string(r))); !mark && joinable(parts) && !joinable(r) {
			t.Errorf("%U takes no joiner, but its part %U does", r, parts)
		}
		if r < 0x3400 || r > 0xf8ff && r < 0x20000 {
			checkNormalize(t, string(r), NormalizeAll())
		}
	}
}

func TestNormalizeRealText(t *testing.T) {
	for _, text := range realLines(t, wikitext, "text", 400) {
		checkNormalize(t, text, NormalizeAll())
		checkNormalize(t, norm.NFD.String(text), NormalizeAll())
	}
}

// TestNormalizeLong checks that long runs take linear time.
func TestNormalizeLong(t *testing.T) {
	const n = 1 << 17
	for _, piece := range []string{" ", "\n", " \n", "\u00a0", "\u0301", "\u200d", "\u0301\u200d", "ب\u200d", "\xff", "\r", "\u1161", "\u0345\u0301"} {
		for _, text := range []string{strings.Repeat(piece, n), "a" + strings.Repeat(piece, n) + "b"} {
			got, _ := Normalize(nil, []byte(text), NormalizeAll())
			if again, _ := Normalize(nil, got, NormalizeAll()); !bytes.Equal(got, again) {
				t.Errorf("a run of %q: not idempotent", piece)
			}
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"", " a\r\n\n\n\n b \u200d", "e\u0301\u200be\u0301", "ब\u200d\u0301\u200d", "\xff\ufeff", "q" + strings.Repeat("\u0301\u0323", 40)} {
		f.Add(s, uint8(255))
	}
	f.Fuzz(func(t *testing.T, text string, bits uint8) { checkNormalize(t, text, optionsOf(bits)) })
}

func BenchmarkNormalize(b *testing.B) {
	texts := realLines(b, wikitext, "text", 5000)
	clean := strings.Repeat("It is a truth universally acknowledged, that 3.14 is not pi.\n", 1<<14) + "."
	mixed := strings.Join(texts, "\n")
	for _, in := range []struct{ name, text string }{
		{"ascii", clean}, {"dirty ascii", clean + " "}, {"mixed", mixed}, {"dirty mixed", mixed + " "},
		{"nfd", norm.NFD.String(strings.Repeat("Où est la bibliothèque ? Déjà vu, garçon. ", 1<<12))},
	} {
		b.Run(in.name, func(b *testing.B) {
			b.SetBytes(int64(len(in.text)))
			text, dst := []byte(in.text), make([]byte, 0, len(in.text)+64)
			for b.Loop() {
				Normalize(dst, text, NormalizeAll())
			}
		})
	}
}
