package tokenize

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// windowEnds returns where the pieces of text end that encodePieces cuts.
func windowEnds(p *splitter, w *window, text string) (out []int) {
	w.begin()
	for i := 0; i < len(text); {
		n := w.cut(p, text, i)
		for at := range min(n, windowBytes) + 1 {
			if w.ends[at/64]>>(at%64)&1 != 0 && n <= windowBytes {
				out = append(out, i+at)
			}
		}
		if i += n; n > windowBytes {
			out = append(out, i)
		}
	}
	return out
}

// sameWindows compares with [splitter.next].
func sameWindows(t testing.TB, p Pattern, w *window, text string) {
	t.Helper()
	s, err := newSplitter(p)
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for i := 0; i < len(text); {
		i = s.next(text, i)
		want = append(want, i)
	}
	if got := windowEnds(s, w, text); !slices.Equal(got, want) {
		k := 0
		for k < len(got) && k < len(want) && got[k] == want[k] {
			k++
		}
		t.Fatalf("%s: %q (%d bytes): pieces end at\n%v, want\n%v\nfrom the %dth on", p, text, len(text), got, want, k)
	}
}

// TestWindowsExhaustive puts all short strings over alphabets of each class across the edge of a block, at the end of the
// text and inside it.
func TestWindowsExhaustive(t *testing.T) {
	w, before, after := new(window), strings.Repeat("b ", 31), strings.Repeat("- ", 40)
	for _, alphabet := range []string{"aB's 1\n/!", "as é中\u0301\u2014\u00a0\n'", "sſ'LVeE 9x", "a \t\r\n!/"} {
		runes, depth := []rune(alphabet), 4
		if testing.Short() {
			depth = 2
		}
		var visit func(text string, left int)
		visit = func(text string, left int) {
			for _, p := range Patterns() {
				if rulesOf(p) == nil {
					continue
				}
				sameWindows(t, p, w, before+text)
				sameWindows(t, p, w, before+text+after)
			}
			for _, r := range runes {
				if left > 0 {
					visit(text+string(r), left-1)
				}
			}
		}
		visit("", depth)
	}
}

// TestWindowsRandom draws texts of several blocks and windows, of few and of many kinds of characters.
func TestWindowsRandom(t *testing.T) {
	w, r := new(window), rand.New(rand.NewPCG(11, 12))
	pool := []rune("abAB'sStTlLreVE 12\n\r/!.,-_中文ｱえ가\u0301\u0345ǅʰª①Ⅷ\u00a0\u3000😀\x00\u200d\ufffdéÉжЖ\u2014")
	for range 8000 {
		var b strings.Builder
		some := make([]rune, 1+r.IntN(12))
		for i := range some {
			some[i] = pool[r.IntN(len(pool))]
		}
		odd := r.IntN(3) == 0
		for n := r.IntN(300) << (r.IntN(2) * r.IntN(5)); n > 0; n-- {
			switch c := some[r.IntN(len(some))]; {
			case odd && r.IntN(40) == 0:
				b.WriteByte(byte(r.IntN(256)))
			case odd && r.IntN(40) == 0:
				b.WriteRune(rune(r.IntN(unicode.MaxRune + 1)))
			default:
				b.WriteString(strings.Repeat(string(c), 1+r.IntN(2)*r.IntN(1<<r.IntN(8))))
			}
		}
		sameWindows(t, Patterns()[r.IntN(len(Patterns()))], w, b.String())
	}
}

// slowBlock says of 64 bytes what they are, byte by byte.
func slowBlock(text string) (b block) {
	mark := func(into *uint64, i int, is bool) {
		if is {
			*into |= 1 << i
		}
	}
	for i, c := range []byte(text) {
		mark(&b.letter, i, 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
		mark(&b.upper, i, 'A' <= c && c <= 'Z')
		mark(&b.number, i, '0' <= c && c <= '9')
		mark(&b.space, i, strings.IndexByte("\t\n\v\f\r ", c) >= 0)
		mark(&b.newline, i, c == '\r' || c == '\n')
		mark(&b.blank, i, c == ' ')
		mark(&b.quote, i, c == '\'')
		mark(&b.slash, i, c == '/')
		mark(&b.wide, i, c >= 0x80)
		mark(&b.follow, i, 0x80 <= c && c < 0xC0)
		mark(&b.cyrillic, i, c == 0xD0 || c == 0xD1)
	}
	return b
}

// TestClassify compares both kernels with the plain statement for every byte at every place, amid every other.
func TestClassify(t *testing.T) {
	fast, plain := make([]block, 2), make([]block, 2)
	check := func(text string) {
		classify(text, fast[:len(text)/64])
		classifyPlain(text, plain[:len(text)/64])
		for k := range len(text) / 64 {
			if want := slowBlock(text[64*k : 64*k+64]); fast[k] != want || plain[k] != want {
				t.Fatalf("%q: %+v and %+v, want %+v", text[64*k:64*k+64], fast[k], plain[k], want)
			}
		}
	}
	for a := range 256 {
		for b := range 256 {
			check(strings.Repeat(string([]byte{byte(a), byte(b)}), 32))
		}
		for i := range 128 {
			text := []byte(strings.Repeat("\x00", 128))
			text[i] = byte(a)
			check(string(text))
		}
	}
}

// slowBlocks says of text what each 64 bytes are, character by character.
func slowBlocks(r *cutRules, text string) []block {
	out := make([]block, (len(text)+63)/64)
	for k := range out {
		out[k] = slowBlock(text[64*k : min(64*k+64, len(text))])
	}
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRuneInString(text[i:])
		class := r.beyond(c)
		for j := i; j < i+n && text[i] >= utf8.RuneSelf; j++ {
			b, bit := &out[j/64], uint64(1)<<(j%64)
			for flag, into := range map[scanClass]*uint64{
				scanLetter: &b.letter, scanUpper: &b.upper, scanBoth: &b.both, scanMark: &b.mark, scanHard: &b.hard,
			} {
				if class&flag != 0 {
					*into |= bit
				}
			}
			if j > i {
				b.inner |= bit
			}
		}
		i += n
	}
	return out
}

// TestWiden puts characters beyond ASCII, and bytes that are none, at the beginning, across the edge and at the end
// of blocks: all of two bytes, many of three and of four, and each two bytes before some others.
func TestWiden(t *testing.T) {
	var odd []string
	for c := rune(0x80); c <= unicode.MaxRune; c++ {
		if c >= 0x800 {
			c += 12
		}
		if c >= 0x11000 {
			c += 3000
		}
		odd = append(odd, string(c))
	}
	for a := 0x80; a < 256; a++ {
		for b := range 256 {
			odd = append(odd, string([]byte{byte(a), byte(b), "a\x80\xBF\xC3"[b%4]}))
		}
	}
	w := new(window)
	for _, r := range []*cutRules{rulesOf(PatternCL100K), rulesOf(PatternO200K)} {
		for k, s := range odd {
			text := s + strings.Repeat("a ", 29) + strings.Repeat("B", 2+k%4) + s + s + "é" + s
			w.bytes, w.spill = len(text), spill{}
			want := slowBlocks(r, text)
			w.classify(r, text, 0, len(want))
			if got := w.blocks[:len(want)]; !slices.Equal(got, want) {
				t.Fatalf("%q: %+v, want %+v", text, got, want)
			}
		}
	}
}

// TestPiecesRemembered encodes a text of more pieces than are remembered, twice, and compares with encoding each by
// itself.
func TestPiecesRemembered(t *testing.T) {
	tok, err := Encoding("cl100k_base")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(13, 14))
	var words []string
	for range 4 * recentSets {
		letters := strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(3)*r.IntN(12))
		signs := strings.Repeat(string("=-#*"[r.IntN(4)]), 12+r.IntN(6))
		words = append(words, fmt.Sprintf(" %s%c%d%s%c", letters, 'a'+r.IntN(26), r.IntN(1000), signs, '!'+r.IntN(12)))
	}
	var text strings.Builder
	for range 2 * len(words) {
		text.WriteString(words[r.IntN(1+r.IntN(len(words)))])
	}
	var want []int32
	for _, piece := range splitOf(t, PatternCL100K, text.String()) {
		want = tok.encodePiece(want, piece)
	}
	for range 2 {
		if got := tok.Encode(nil, text.String()); !slices.Equal(got, want) {
			t.Fatal("ids differ from those of the pieces by themselves")
		}
	}
}
