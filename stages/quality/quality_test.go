package quality

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unicode"
)

// measure returns one measurement of text.
func measure(t *testing.T, name, text string) float64 {
	t.Helper()
	m, ok := findMeasurement(name)
	if !ok {
		t.Fatalf("no measurement %s", name)
	}
	var s Scratch
	s.Reset(text)
	return m.Value(&s)
}

// TestKnownFractions has the exact fractions that DCLM's own tests state for these texts
// and the worked examples of the package comment's choices.
func TestKnownFractions(t *testing.T) {
	block := "abc bcd cde def efg fgh ghi hij ijk jkl klm lmn mno nop "
	doc := block
	for i := range 60 { // 60 words, 257 characters, no two alike
		w := string([]byte{'q', byte('a' + i%26), byte('a' + i/26), 'z'})
		if i < 17 {
			w += "x"
		}
		doc += w + " "
	}
	doc += block
	for _, tc := range []struct {
		measure, text string
		want          float64
	}{
		{"duplicate_line_fraction", "Hello\nHello\n\n\n\n\nHello", 1},
		{"duplicate_line_char_fraction", "Hello\nHello\n\n\n\n\nHello", 1},
		{"duplicate_line_fraction", "Hello, World.\nHello, World.\n\nHello", 2. / 3},
		{"duplicate_line_char_fraction", "Hello, World.\nHello, World.\n\nHello", 26. / 31},
		{"duplicate_paragraph_fraction", "Hello, World.\n\nHello, World.\n\nHello, World.\nHello", 2. / 3},
		{"duplicate_paragraph_char_fraction", "Hello, World.\n\nHello, World.\n\nHello, World.\nHello", 26. / 45},
		{"duplicate_line_fraction", "Hello, World.", 0},
		{"top_2_gram_char_fraction", "hello", 0},
		{"duplicate_5_gram_char_fraction", "hello", 0},
		{"top_3_gram_char_fraction", "hello world hello world hello world", 1},
		{"top_2_gram_char_fraction", "hello      world hello apple.... world hello\n world hello", 30. / 40},
		{"top_3_gram_char_fraction", "hello      world hello apple.... world hello\n world hello", 30. / 40},
		{"top_4_gram_char_fraction", "hello      world hello apple.... world hello\n world hello", 0},
		{"top_2_gram_char_fraction", "a b a b a b ab cd ab cd ab cd abc def abc def", 12. / 30},
		{"top_2_gram_char_fraction", "a b a b a b abc def abc def ab cd ab cd ab cd", 12. / 30},
		{"duplicate_5_gram_char_fraction",
			"hello world hello\n world hello. apple world hello world hello world hello world", 60. / 65},
		{"word_count", doc, 88},
		{"duplicate_5_gram_char_fraction", doc, 84. / 341}, // 0.246
		{"duplicate_10_gram_char_fraction", doc, 84. / 341},
		{"top_4_gram_char_fraction", "This is a test.", 0},
		{"word_count", "Mr. Smith bought 2.5 kilograms of fruit.", 7},
		{"word_count", "Hello world! That should be easy, right? I think so...yeah...", 11},
		{"characters", "naïve\xff中", 7},
		{"mean_word_length", "Loquaciousness verylongwords", 13.5},
		{"hash_word_ratio", "#hashtags and ellipses #both count", 2. / 5},
		{"ellipsis_word_ratio", "both... count…", 2. / 2},
		{"ellipsis_word_ratio", "both . . . count", 1. / 5},
		{"bullet_line_ratio", " ● a\n• b\n* c\n- d\n– e\n\n", 4. / 5},
		{"ellipsis_line_ratio", "a... \nb…\nc. . .\nd..\n", 3. / 4},
		{"alpha_word_ratio", "This contains <1,000 w0rd5 but >1. ½ é 中", 6. / 9},
		{"stop_words", "Then Tom and Sally withheld bees", 1},
		{"stop_words", "The best of the best", 2},
		{"stop_words", "the be to of and that have with", 8},
		{"line_punct_ratio", "a.\nb!\nc?\nd。\ne।\nf\u17d4\ng\"\nh”\ni:\nj. ", 6. / 10},
		{"short_line_ratio", strings.Repeat("é", 30) + "\n" + strings.Repeat("é", 31) + "\n\n", 1. / 2},
		{"char_dup_ratio", "abc\nabc\nabc \n\nde", 3. / 12},
		{"list_ratio", "one, two\nthree.\n", 2. / 5},
		{"list_ratio", "\x01\n\n", 2},
	} {
		if got := measure(t, tc.measure, tc.text); got != tc.want {
			t.Errorf("%s of %q: got %v, want %v", tc.measure, tc.text, got, tc.want)
		}
	}
}

// TestTerminalPunctuation checks that the set is the one it is said to be: 159 characters.
func TestTerminalPunctuation(t *testing.T) {
	n := 0
	for r := range rune(unicode.MaxRune + 1) {
		if endsTerminal("x" + string(r)) {
			n++
		}
	}
	if n != 159 {
		t.Errorf("%d characters of Unicode %s are terminal punctuation, want 159", n, unicode.Version)
	}
}

// TestStopWords checks each stop word in each case, at the start of a text and inside, and
// that what only begins or ends like one is none.
func TestStopWords(t *testing.T) {
	for _, w := range stopWords {
		for _, form := range []string{w, strings.ToUpper(w), strings.ToUpper(w[:1]) + w[1:]} {
			for before, want := range map[string]float64{"": 1, "some more words ": 1, "x": 0, "some words x": 0, "é": 0} {
				if got := measure(t, "stop_words", before+form); got != want {
					t.Errorf("stop words in %q: got %v", before+form, got)
				}
			}
			if got := measure(t, "stop_words", "some words "+form+"x \x14he wit\x08 t\xe8e"); got != 0 {
				t.Errorf("%sx: %v stop words", form, got)
			}
		}
	}
}

// TestLetterIn checks every byte at every place of a key.
func TestLetterIn(t *testing.T) {
	for c := range uint64(256) {
		for place := range 8 {
			for _, others := range []uint64{0, 0x2e2e2e2e2e2e2e2e, 0xffffffffffffffff, 0x7b7b7b7b7b7b7b7b, 0x6060606060606060} {
				key := others&^(0xff<<(8*place)) | c<<(8*place)
				if want := c >= 'a' && c <= 'z'; letterIn(key) != want {
					t.Fatalf("letterIn(%#x) = %v", key, !want)
				}
			}
		}
	}
}

// checkTwins compares every measurement of text with its plain twin, on a used scratch.
func checkTwins(t *testing.T, s *Scratch, text string) {
	t.Helper()
	s.Reset(text)
	want := slowMeasures(text)
	for _, m := range measurements {
		w, ok := want[m.Name]
		if got := m.Value(s); got != w || !ok {
			t.Fatalf("%s of %q: got %v, want %v", m.Name, text, got, w)
		}
	}
	for variant, got := range map[c4Variant]*c4Result{c4TFDS: s.c4TFDS(), c4Datatrove: s.c4Datatrove()} {
		lines, _, _ := slowC4(text, variant)
		if want := strings.Join(lines, "\n"); string(got.text) != want {
			t.Fatalf("C4 leaves %q of %q, want %q", got.text, text, want)
		}
	}
	if got, want := s.dclmLines().text, slowDCLM(text); got != want {
		t.Fatalf("DCLM leaves %q of %q, want %q", got, text, want)
	}
}

func TestTwinsExhaustive(t *testing.T) {
	var s Scratch
	alphabet := []string{"a", "b", " ", "\n", "_", ".", "#", "é", "\xff", "to "}
	var walk func(prefix string, left int)
	walk = func(prefix string, left int) {
		checkTwins(t, &s, prefix)
		if left == 0 {
			return
		}
		for _, c := range alphabet {
			walk(prefix+c, left-1)
		}
	}
	walk("", 4)
}

// TestTwinsWords covers the n-grams: every text of up to 12 words of two kinds, and long
// random ones with planted repetition.
func TestTwinsWords(t *testing.T) {
	var s Scratch
	for n := range 13 {
		for bits := range 1 << n {
			var b strings.Builder
			for i := range n {
				b.WriteString([]string{"a ", "bcd "}[bits>>i&1])
			}
			checkTwins(t, &s, b.String())
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		var b strings.Builder
		kinds := 1 + rng.IntN(60)
		for range rng.IntN(400) {
			b.WriteString(strings.Repeat(string(rune('a'+rng.IntN(kinds))), 1+rng.IntN(3)))
			b.WriteString([]string{" ", " ", " ", "\n", ". ", "\n\n", "… ", "...\n- "}[rng.IntN(8)])
		}
		checkTwins(t, &s, b.String())
	}
}

// realLines returns the text field of the first n rows of a real file.
func realLines(t testing.TB, path, field string, n int) (out []string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("real text is absent: %v", err)
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		var row map[string]any
		if json.Unmarshal([]byte(line), &row) == nil && len(out) < n {
			out = append(out, row[field].(string))
		}
	}
	return out
}

const (
	wikitext = "../../../shared/data/wikitext2/sections.jsonl"
	gsm8k    = "../../../shared/data/gsm8k/train.jsonl"
)

func TestTwinsRealText(t *testing.T) {
	var s Scratch
	for _, text := range append(realLines(t, wikitext, "text", 150), realLines(t, gsm8k, "question", 150)...) {
		checkTwins(t, &s, text)
	}
}

// TestPresets checks each preset's verdicts, in order, on texts made to fail one rule.
func TestPresets(t *testing.T) {
	varied, oneLine := realProse, strings.ReplaceAll(realProse, "\n", " ")
	for _, tc := range []struct{ preset, text, reason string }{
		{"gopher-paper", "", "word_count_min"},
		{"gopher-paper", "\xff\xfe", "word_count_min"},
		{"gopher-paper", strings.Repeat("word ", 100_001), "word_count_max"},
		{"gopher-paper", strings.Repeat("an ", 60), "mean_word_length_min"},
		{"gopher-paper", strings.Repeat("incomprehensible ", 60), "mean_word_length_max"},
		{"gopher-paper", strings.Repeat("#word and ", 60), "hash_word_ratio_max"},
		{"gopher-paper", strings.Repeat("word... and ", 60), "ellipsis_word_ratio_max"},
		{"gopher-paper", strings.Repeat("- the longword and\n", 60), "bullet_line_ratio_max"},
		{"gopher-paper", strings.Repeat("word and so it goes on and on and on...\n", 30), "ellipsis_line_ratio_max"},
		{"gopher-paper", strings.Repeat("1234 word ", 60), "alpha_word_ratio_min"},
		{"gopher-paper", strings.Repeat("some word ", 60), "stop_words_min"},
		{"gopher-paper", strings.Repeat("from there to and fro\n", 60), "duplicate_line_fraction_max"},
		{"gopher-paper", oneLine + " " + oneLine, "duplicate_5_gram_char_fraction_max"},
		{"gopher-paper", varied, ""},
		{"fineweb", "", "empty"},
		{"fineweb", " \n\u3000\n", "empty"},
		{"fineweb", varied, ""},
		{"fineweb", strings.ReplaceAll(varied, ".", ","), "line_punct_ratio"},
		{"fineweb", "Short.\nLines.\nOnly.", "short_line_ratio"},
		{"fineweb", varied + "\n" + varied, "char_dup_ratio"},
		{"fineweb", varied + strings.Repeat("\n", 200), "list_ratio"},
		{"connito", "", "empty"},
		{"connito", strings.Repeat("中", 199), "characters_min"},
		{"connito", strings.Repeat("中", 200), ""},
	} {
		rules, err := Preset(tc.preset)
		if err != nil {
			t.Fatal(err)
		}
		if v := rules.Judge(tc.text, nil); v.Reason != tc.reason || v.Keep != (tc.reason == "") {
			t.Errorf("%s of %.40q: got %+v, want %q", tc.preset, tc.text, v, tc.reason)
		}
	}
}

// realProse passes gopher-paper and fineweb.
const realProse = `It was the practice of the harbour master to walk along the quay at dawn, before any of
the boats had put out, and to note the height of the water in a small green book that he kept.
Nobody had asked him to do so; his father, who held the post earlier, wrote such figures too.
When engineers came from the capital with instruments and long rods, they laughed at first, but
found that no other record of the tides went back beyond nineteen years, and so they copied it
page by page, with his leave, into ledgers of their own.`

func TestWith(t *testing.T) {
	rules, err := Preset("connito")
	if err != nil {
		t.Fatal(err)
	}
	short, err := rules.With(map[string]float64{"characters_min": 3})
	if err != nil {
		t.Fatal(err)
	}
	if !short.Judge("abc", nil).Keep || rules.Judge("abc", nil).Keep {
		t.Error("an override must change the copy and only the copy")
	}
	want := Verdict{Reason: "characters_min", Measure: "characters", Value: 2, Limit: 3}
	if v := short.Judge("é中", nil); v != want {
		t.Errorf("got %+v, want %+v", v, want)
	}
	if d := short.Describe()[1]; !strings.HasPrefix(d.Source, "set by hand") || d.String() != "characters_min: characters at least 3" {
		t.Errorf("description of an overridden rule: %+v", d)
	}
	nan := short.Describe()[0].Limit
	nan = (nan - nan) / (nan - nan)
	for _, bad := range []map[string]float64{{"word_count_min": 1}, {"characters_min": nan}} {
		if _, err := rules.With(bad); err == nil {
			t.Errorf("With(%v): no error", bad)
		}
	}
	if _, err := Preset("gopher"); err == nil || !strings.Contains(err.Error(), "gopher-paper, fineweb, gopher-datatrove, ") {
		t.Errorf("unknown preset: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Rule{"a", "characters", AtLeast, 1, ""}
	for _, bad := range [][]Rule{
		{good, good}, {{"", "characters", AtLeast, 1, ""}}, {{"a", "chars", AtLeast, 1, ""}}, {{"a", "characters", "<", 1, ""}},
	} {
		if _, err := New("mine", bad); err == nil {
			t.Errorf("New(%v): no error", bad)
		}
	}
	if r, err := New("mine", []Rule{good}); err != nil || r.Name() != "mine" {
		t.Errorf("New: %v", err)
	}
}

func TestPrefix(t *testing.T) {
	long := strings.Repeat("é", 199) + "\xff"
	for _, tc := range []struct {
		text, want string
		characters int
	}{
		{"", "", 200}, {strings.Repeat("é", 199), strings.Repeat("é", 199), 200}, {long, long, 200}, {long + "more", long, 200},
		{"a\xe6\xbc", "a\xe6", 2}, {"漢字", "漢", 1}, {"漢字", "", 0},
	} {
		if got := Prefix(tc.text, tc.characters); got != tc.want {
			t.Errorf("Prefix(%.10q…, %d): got %.10q…", tc.text, tc.characters, got)
		}
	}
}

// TestLongTexts checks that texts that are bad for tables and scans take linear time: the
// test would not end otherwise.
func TestLongTexts(t *testing.T) {
	var s Scratch
	for name, text := range map[string]string{
		"one word": strings.Repeat(".", 1<<20), "one letter": strings.Repeat("x ", 1<<20),
		"newlines": strings.Repeat("\n", 4<<20), "spaces": strings.Repeat(" \u3000", 1<<19),
		"marks": "a" + strings.Repeat("\u0301", 1<<19), "not UTF-8": strings.Repeat("\xff", 1<<19),
		"dots": strings.Repeat(".", 1<<20),
	} {
		for _, p := range Presets() {
			rules, err := Preset(p)
			if err != nil {
				t.Fatal(err)
			}
			if v := rules.Judge(text, &s); v.Keep && p == "gopher-paper" {
				t.Errorf("%s keeps a text of %s", p, name)
			}
		}
		for _, m := range measurements {
			if v := m.Value(&s); v-v != 0 {
				t.Errorf("%s of %s is %v", m.Name, name, v)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	var s Scratch
	rules, err := Preset("gopher-paper")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { rules.Judge(realProse, &s) }); n != 0 {
		t.Errorf("%v allocations per document", n)
	}
}

func FuzzTwins(f *testing.F) {
	for _, s := range []string{"", realProse, "- a...\n- a...\n\n\na b a b a b a b a b",
		"3k likes.\n\n\nLOUD a.\nRead more\u2026!?\n a items in cart b[1].\nsign-in x y z.\nfoo use cookies x.", "\xff\u17d4 中文 中文\n中文 中文"} {
		f.Add(s)
	}
	var s Scratch
	f.Fuzz(func(t *testing.T, text string) { checkTwins(t, &s, text) })
}

func BenchmarkJudge(b *testing.B) {
	texts := realLines(b, wikitext, "text", 5000)
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	for _, p := range Presets() {
		rules, err := Preset(p)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(p, func(b *testing.B) {
			var s Scratch
			b.SetBytes(int64(size))
			for b.Loop() {
				for _, t := range texts {
					rules.Judge(t, &s)
				}
			}
		})
	}
	b.Run("everything", func(b *testing.B) {
		var s Scratch
		b.SetBytes(int64(size))
		for b.Loop() {
			for _, t := range texts {
				s.Reset(t)
				for _, m := range measurements {
					m.Value(&s)
				}
			}
		}
	})
}
