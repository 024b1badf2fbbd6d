package words

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// cut returns the pieces of text.
func cut(text string, spans []Span) []string {
	out := []string{}
	for _, s := range spans {
		out = append(out, s.Of(text))
	}
	return out
}

func TestDefinitions(t *testing.T) {
	lines := func(s string) []Span { return AppendLines(nil, s) }
	paragraphs := func(s string) []Span { return AppendParagraphs(nil, s) }
	space := func(s string) []Span { return AppendSpace(nil, s) }
	shingle := func(s string) []Span { return AppendWords(nil, s) }
	uax := func(c Class) func(string) []Span {
		return func(s string) []Span { return AppendUAX29(nil, s, c) }
	}
	for _, tc := range []struct {
		name string
		f    func(string) []Span
		in   string
		want []string
	}{
		{"space", space, "", nil},
		{"space", space, " \t\n\v\f\r\x1c\x1d\x1e\x1f\u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000", nil},
		{"space", space, "can't  stop,\n\u00a0€5 ", []string{"can't", "stop,", "€5"}},
		{"space", space, "a\u200bb c\xffd\xe2\x80", []string{"a\u200bb", "c\xffd\xe2\x80"}},
		{"lines", lines, "", nil},
		{"lines", lines, "\n a \r\n\n \t\u00a0\nb", []string{" a \r", "b"}},
		{"lines", lines, "a\n", []string{"a"}},
		{"paragraphs", paragraphs, "\n\n\na\n\n\n\nb\nc \n \nd\n\n \n\ne", []string{"a", "b\nc \n \nd", "e"}},
		{"shingle", shingle, "", nil},
		{"shingle", shingle, "Don't STOP naïve-ly", []string{"Don", "t", "STOP", "naïve", "ly"}},
		{"shingle", shingle, "東京 2020年", []string{"東", "京", "2020", "年"}},
		{"shingle", shingle, "हिन्दी में", []string{"हिन्दी", "में"}},
		{"shingle", shingle, "한국어 문장", []string{"한국어", "문장"}},
		{"shingle", shingle, "می‌خواهم", []string{"می‌خواهم"}},
		{"shingle", shingle, "データab、か゚x", []string{"デ", "ー", "タ", "ab", "か゚", "x"}},
		{"shingle", shingle, "ภาษา๒๐", []string{"ภ", "า", "ษ", "า", "๒๐"}},
		{"shingle", shingle, "\u0301x\u200d \u200c", []string{"x\u200d"}},
		{"shingle", shingle, "a\xffb ½²Ⅷ", []string{"a", "b", "½²Ⅷ"}},
		{"uax29 any", uax(Any), "can't stop, €5... 😀👍🏽", []string{
			"can't", "stop", ",", "€", "5", ".", ".", ".", "😀", "👍🏽"}},
		{"uax29 word", uax(Word), "can't stop, €5 _ _a_ 3.14,2", []string{"can't", "stop", "5", "_a_", "3.14,2"}},
		{"uax29 symbol", uax(Symbol), "1 + 1 = €2 <b>", []string{"+", "=", "€", "<", ">"}},
		{"uax29 word", uax(Word), "中文 тест", []string{"中", "文", "тест"}},
	} {
		if got := cut(tc.in, tc.f(tc.in)); !slices.Equal(got, append([]string{}, tc.want...)) {
			t.Errorf("%s %q: got %q, want %q", tc.name, tc.in, got, tc.want)
		}
	}
}

func TestTrim(t *testing.T) {
	for in, want := range map[string]string{"": "", " \u00a0\u3000": "", "\x1fa b\u2028": "a b", "\xff ": "\xff"} {
		if got := Trim(in, Span{0, int32(len(in))}).Of(in); got != want {
			t.Errorf("Trim %q: got %q, want %q", in, got, want)
		}
	}
}

// TestHashKnown pins the hash function: stored indexes hold its values.
func TestHashKnown(t *testing.T) {
	for in, want := range map[string]uint64{
		"": 0xe28f2b2061a2b984, "a": 0x6c98ecda3da28c5, "the": 0x9a809bfb6d332017, "eight888": 0xc73ff3b6252e7341, "ninechars": 0x7196db360b233d51, "pneumonoultramicroscopic": 0x2421327a965ce1af,
	} {
		if got := Hash(in); got != slowHash(in) || got != want {
			t.Errorf("Hash(%q) = %#x, twin %#x, want %#x", in, got, slowHash(in), want)
		}
	}
	if got, want := AppendHashes(nil, "THE Eight888"), []uint64{Hash("the"), Hash("eight888")}; !slices.Equal(got, want) {
		t.Errorf("hashes of lower case: got %x, want %x", got, want)
	}
}

// checkTwins compares each fast scan with its plain twin on text.
func checkTwins(t *testing.T, text string) {
	t.Helper()
	spans, hashes := AppendHashed(nil, nil, text)
	wantSpans, wantHashes := slowHashed(text)
	if !slices.Equal(spans, wantSpans) || !slices.Equal(hashes, wantHashes) {
		t.Fatalf("shingle words of %q:\ngot  %q %x\nwant %q %x", text, cut(text, spans), hashes,
			cut(text, wantSpans), wantHashes)
	}
	plain := found{wantSpans: true, wantHashes: true}
	plain.scanBy(text, kernelPlain)
	if !slices.Equal(plain.spans, spans) || !slices.Equal(plain.hashes, hashes) {
		t.Fatalf("shingle words of %q differ between kernels", text)
	}
	if got := AppendWords(nil, []byte(text)); !slices.Equal(got, spans) {
		t.Fatalf("AppendWords(%q) differs from AppendHashed", text)
	}
	if got := AppendHashes(nil, []byte(text)); !slices.Equal(got, hashes) {
		t.Fatalf("AppendHashes(%q) differs from AppendHashed", text)
	}
	if got, want := AppendSpace(nil, text), slowSpace(text); !slices.Equal(got, want) {
		t.Fatalf("space words of %q: got %q, want %q", text, cut(text, got), cut(text, want))
	}
	plain = found{wantSpans: true}
	plain.scanSpace(text, kernelPlain)
	if !slices.Equal(plain.spans, slowSpace(text)) {
		t.Fatalf("space words of %q differ between kernels", text)
	}
	if !slices.Equal(scanUAX29(nil, text, kernelPlain), slowUAX29(text, Word)) {
		t.Fatalf("UAX 29 words of %q differ between kernels", text)
	}
	for want := Word; want <= Any; want++ {
		got, slow := AppendUAX29(nil, text, want), slowUAX29(text, want)
		if !slices.Equal(got, slow) || CountUAX29(text, want) != len(slow) {
			t.Fatalf("UAX 29 words of %q, classes %d: got %q, want %q", text, want, cut(text, got), cut(text, slow))
		}
	}
	checkLines(t, text)
}

// checkLines compares lines and paragraphs with what the strings package says.
func checkLines(t *testing.T, text string) {
	t.Helper()
	var lines, paragraphs []string
	for _, l := range strings.Split(text, "\n") {
		if strings.TrimFunc(l, IsSpace) != "" {
			lines = append(lines, l)
		}
	}
	for _, p := range strings.Split(text, "\n\n") {
		if p = strings.TrimFunc(p, IsSpace); p != "" {
			paragraphs = append(paragraphs, p)
		}
	}
	if got := cut(text, AppendLines(nil, text)); !slices.Equal(got, append([]string{}, lines...)) {
		t.Fatalf("lines of %q: got %q, want %q", text, got, lines)
	}
	if got := cut(text, AppendParagraphs(nil, text)); !slices.Equal(got, append([]string{}, paragraphs...)) {
		t.Fatalf("paragraphs of %q: got %q, want %q", text, got, paragraphs)
	}
}

// TestTwinsExhaustive runs over every text of up to five characters of an alphabet with one
// character of each kind that a rule tells apart.
func TestTwinsExhaustive(t *testing.T) {
	alphabet := []string{"a", "Z", "7", "_", " ", "\n", ".", ",", "+", "é", "\u0301", "中", "\u3000", "\xff"}
	var walk func(prefix string, left int)
	walk = func(prefix string, left int) {
		checkTwins(t, prefix)
		if left == 0 {
			return
		}
		for _, c := range alphabet {
			walk(prefix+c, left-1)
		}
	}
	walk("", 4)
}

// TestTwinsRandom runs over long texts, so that words lie across blocks and chunks.
func TestTwinsRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "Word", "internationalization", "0123456789abcdef", " ", "  ", ", ", "\n", "\n\n", ":",
		"é", "naïve", "中文", "ー", "हिन्दी", "\u200d", "😀", "\xff", "\xe2\x80", "İ", "K", "𐐀", "’s", "\u00a0", "\u3000", "\u2028", "\"", "__"}
	for round := range 300 {
		var b strings.Builder
		ascii := rng.IntN(100)
		for range rng.IntN(1500) {
			p := pieces[rng.IntN(len(pieces))]
			if round%2 == 0 && rng.IntN(100) >= ascii {
				p = pieces[rng.IntN(10)]
			}
			b.WriteString(p)
		}
		checkTwins(t, b.String())
	}
}

// TestEveryRune checks the tables against the definitions, for every code point.
func TestEveryRune(t *testing.T) {
	table := basicPlane()
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		text := string(r)
		c := characterAt(table, text, 0)
		if c.role != roleOf(r) || c.size != len(text) {
			t.Fatalf("%U: role %d size %d, want %d %d", r, c.role, c.size, roleOf(r), len(text))
		}
		if _, h := AppendHashed(nil, nil, text); len(h) > 0 && h[0] != Hash(strings.ToLower(text)) {
			t.Fatalf("%U: hash %#x is not that of %q", r, h[0], strings.ToLower(text))
		}
		if IsSpace(r) != (len(AppendSpace(nil, text)) == 0) {
			t.Fatalf("%U: AppendSpace and IsSpace disagree", r)
		}
	}
}

// TestHashSpread checks that words differing in one place only do not collide, and that
// each of the 64 bits is set in about half of the hashes.
func TestHashSpread(t *testing.T) {
	const n = 1 << 17
	seen := make(map[uint64]string, 2*n)
	var ones [64]int
	for i := range n {
		for _, w := range []string{fmt.Sprintf("w%d", i), fmt.Sprintf("%08x%08x", i, i*7)} {
			h := Hash(w)
			if other, ok := seen[h]; ok {
				t.Fatalf("%q and %q collide", w, other)
			}
			seen[h] = w
			for b := range ones {
				ones[b] += int(h >> b & 1)
			}
		}
	}
	for b, k := range ones {
		if k < n-4096 || k > n+4096 { // 16 standard deviations: 2n coins
			t.Errorf("bit %d is set in %d of %d hashes", b, k, 2*n)
		}
	}
}

// TestNoAllocations checks that scans into slices with room allocate nothing.
func TestNoAllocations(t *testing.T) {
	text := strings.Repeat("It is a truth, universally acknowledged — “naïve” 中文 3.14\n\n", 100)
	spans, hashes := make([]Span, 0, 1<<14), make([]uint64, 0, 1<<14)
	AppendHashes(hashes, text) // builds the table
	for name, f := range map[string]func(){
		"hashed": func() { AppendHashed(spans, hashes, text) }, "space": func() { AppendSpace(spans, text) },
		"lines": func() { AppendLines(spans, text) }, "paragraphs": func() { AppendParagraphs(spans, text) },
		"uax29": func() { AppendUAX29(spans, text, Any) },
	} {
		if n := testing.AllocsPerRun(5, f); n > 1 { // the library's iterator may be one
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzTwins(f *testing.F) {
	for _, s := range []string{"", "a.b 1,2 x:y can't", "naïve 中文ー", "\xff\xfe\x00", "می‌خواهم", "\r\n \n\n", "👩‍👩‍👧🇩🇪🇫", "שלום\"ה", " \u200dℹ", "a.\u0301b _é a_.1'2",
		strings.Repeat("x", 130) + "é" + strings.Repeat("y ", 70)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { checkTwins(t, text) })
}

// realText is the largest of the real files at hand, or a made-up text.
func realText(b *testing.B) string {
	data, err := os.ReadFile("../../../shared/data/wikitext2/sections.jsonl")
	if err != nil {
		return strings.Repeat("It is a truth universally acknowledged, that 3.14 is not pi.\n", 1<<14)
	}
	return string(data[:min(len(data), 4<<20)])
}

func BenchmarkScans(b *testing.B) {
	ascii := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return r
		}
		return -1
	}, realText(b))
	mixed := realText(b)
	cyrillic := strings.Repeat("Все счастливые семьи похожи друг на друга, каждая несчастлива по-своему. ", 1<<13)
	chinese := strings.Repeat("道可道，非常道。名可名，非常名。", 1<<14)
	for _, in := range []struct{ name, text string }{
		{"ascii", ascii}, {"mixed", mixed}, {"cyrillic", cyrillic}, {"chinese", chinese},
	} {
		var spans []Span
		var hashes []uint64
		run := func(name string, f func()) {
			b.Run(name+"/"+in.name, func(b *testing.B) {
				b.SetBytes(int64(len(in.text)))
				for b.Loop() {
					f()
				}
			})
		}
		run("hashes", func() { hashes = AppendHashes(hashes[:0], in.text) })
		run("hashed", func() { spans, hashes = AppendHashed(spans[:0], hashes[:0], in.text) })
		run("words", func() { spans = AppendWords(spans[:0], in.text) })
		run("space", func() { spans = AppendSpace(spans[:0], in.text) })
		run("uax29", func() { spans = AppendUAX29(spans[:0], in.text, Any) })
		run("uax29 words", func() { spans = AppendUAX29(spans[:0], in.text, Word) })
		run("lines", func() { spans = AppendLines(spans[:0], in.text) })
	}
}
