package tokenize

import (
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalForm brings text to a Unicode normal form as Hugging Face tokenizers does, which
// knows Unicode 9.0: characters that came later neither decompose nor take part in
// canonical ordering. There is no limit on the marks in a row.
type normalForm struct{ compatible, composed bool }

var formNFC = normalForm{composed: true}

// normalForms are the four by name.
var normalForms = map[string]normalForm{
	"NFC": formNFC, "NFD": {}, "NFKC": {compatible: true, composed: true}, "NFKD": {compatible: true},
}

// formTable says of each character of the Basic Multilingual Plane whether a form must look
// at it: whether it decomposes, is ordered, or composes with the one before it.
type formTable [1 << 16]bool

var formTables = [4]func() *formTable{
	sync.OnceValue(func() *formTable { return newFormTable(normalForm{}) }),
	sync.OnceValue(func() *formTable { return newFormTable(normalForm{composed: true}) }),
	sync.OnceValue(func() *formTable { return newFormTable(normalForm{compatible: true}) }),
	sync.OnceValue(func() *formTable { return newFormTable(normalForm{true, true}) }),
}

func newFormTable(f normalForm) *formTable {
	t := new(formTable)
	for r := range rune(len(t)) {
		t[r] = f.computeBusy(r)
	}
	return t
}

func (f normalForm) table() *formTable {
	i := 0
	if f.composed {
		i = 1
	}
	if f.compatible {
		i += 2
	}
	return formTables[i]()
}

func later(r rune) bool { return unicode.Is(laterOrder, r) || unicode.Is(laterForms, r) }

func properties(r rune) norm.Properties {
	var buf [utf8.UTFMax]byte
	return norm.NFKD.Properties(buf[:utf8.EncodeRune(buf[:], r)])
}

// order returns the canonical combining class.
func order(r rune) uint8 {
	if r < 0x300 || unicode.Is(laterOrder, r) {
		return 0
	}
	return properties(r).CCC()
}

// computeBusy tells whether the form changes r, or may change it for what stands before it.
func (f normalForm) computeBusy(r rune) bool {
	if r < 0x80 || later(r) || !utf8.ValidRune(r) {
		return false
	}
	if order(r) != 0 {
		return true
	}
	if f.composed {
		if _, second := compositions().seconds[r]; second || hangulV <= r && r < hangulT+hangulTs {
			return true
		}
	}
	parts := f.decompose(nil, r)
	if f.composed {
		parts = compose(parts)
	}
	return len(parts) != 1 || parts[0].r != r
}

// Hangul syllables are arithmetic (Unicode Standard, section 3.12).
const (
	hangulS, hangulL, hangulV, hangulT = 0xAC00, 0x1100, 0x1161, 0x11A7
	hangulLs, hangulVs, hangulTs       = 19, 21, 28
	hangulNs                           = hangulLs * hangulVs * hangulTs
)

// decompose appends what r decomposes to.
func (f normalForm) decompose(dst []change, r rune) []change {
	if s := r - hangulS; 0 <= s && s < hangulNs {
		dst = append(dst, change{hangulL + s/(hangulVs*hangulTs), 0}, change{hangulV + s/hangulTs%hangulVs, 1})
		if t := s % hangulTs; t > 0 {
			dst = append(dst, change{hangulT + t, 1})
		}
		return dst
	}
	var parts []byte
	var buf [utf8.UTFMax]byte
	if n := utf8.EncodeRune(buf[:], r); r < 0x80 || later(r) {
		parts = nil
	} else if f.compatible {
		parts = norm.NFKD.Properties(buf[:n]).Decomposition()
	} else {
		parts = norm.NFD.Properties(buf[:n]).Decomposition()
	}
	if len(parts) == 0 {
		return append(dst, change{r, 0})
	}
	for by := 0; len(parts) > 0; by = 1 {
		p, n := utf8.DecodeRune(parts)
		dst, parts = append(dst, change{p, by}), parts[n:]
	}
	return dst
}

// compositionTable holds the pairs that compose, and what can be second in one.
type compositionTable struct {
	pairs   map[[2]rune]rune
	seconds map[rune]bool
}

var compositions = sync.OnceValue(func() *compositionTable {
	t := &compositionTable{map[[2]rune]rune{}, map[rune]bool{}}
	for r := rune(0xA0); r < 0x30000; r++ {
		parts := norm.NFD.Properties([]byte(string(r))).Decomposition()
		if len(parts) == 0 || later(r) || norm.NFC.String(string(r)) != string(r) {
			continue
		}
		second, n := utf8.DecodeLastRune(parts)
		first, m := utf8.DecodeRuneInString(norm.NFC.String(string(parts[:len(parts)-n])))
		if m > 0 {
			t.pairs[[2]rune{first, second}] = r
			t.seconds[second] = true
		}
	}
	return t
})

// composePair returns what a followed by b composes to.
func composePair(a, b rune) (rune, bool) {
	if l, v := a-hangulL, b-hangulV; 0 <= l && l < hangulLs && 0 <= v && v < hangulVs {
		return hangulS + (l*hangulVs+v)*hangulTs, true
	}
	if s, t := a-hangulS, b-hangulT; 0 <= s && s < hangulNs && s%hangulTs == 0 && 0 < t && t < hangulTs {
		return a + t, true
	}
	r, ok := compositions().pairs[[2]rune{a, b}]
	return r, ok
}

// compose composes what is decomposed and in order (Unicode Standard, D117). One that
// swallows others stands for all of them.
func compose(parts []change) []change {
	out := parts[:0]
	starter, last := -1, uint8(0) // last is the class of the character before, if it was kept
	for _, p := range parts {
		class := order(p.r)
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || last < class) {
			if r, ok := composePair(out[starter].r, p.r); ok {
				out[starter] = change{r, out[starter].by + p.by - 1}
				continue
			}
		}
		if class == 0 {
			starter = len(out)
		}
		last = class
		out = append(out, p)
	}
	return out
}

// changes returns what text becomes.
func (f normalForm) changes(text string) []change {
	var out []change
	pending := 0 // where the characters begin that are not in order yet
	for _, r := range text {
		at := len(out)
		out = f.decompose(out, r)
		for k := at; k < len(out); k++ {
			if order(out[k].r) == 0 {
				sortMarks(out[pending:k])
				pending = k + 1
			}
		}
	}
	sortMarks(out[pending:])
	if f.composed {
		out = compose(out)
	}
	return out
}

func sortMarks(marks []change) {
	if len(marks) > 1 {
		slices.SortStableFunc(marks, func(a, b change) int { return int(order(a.r)) - int(order(b.r)) })
	}
}

func (f normalForm) busy(t *formTable, r rune) bool {
	if r < 1<<16 {
		return t[r]
	}
	return f.computeBusy(r)
}

// normalize rewrites the parts that change, each from the character before it on.
func (f normalForm) normalize(s stretch) stretch {
	table := f.table()
	var w *rewriter
	done, before := 0, 0 // what is written, and where the last character begins
	for i := 0; i < len(s.text); {
		r, n := utf8.DecodeRuneInString(s.text[i:])
		if r < 0x80 || !f.busy(table, r) {
			before, i = i, i+n
			if r == utf8.RuneError && n == 1 {
				before = i // a byte that is not UTF-8 stays as it is
			}
			continue
		}
		end := i
		for end < len(s.text) && f.busy(table, r) {
			end += n
			r, n = utf8.DecodeRuneInString(s.text[end:])
		}
		if w == nil {
			w = rewrite(s)
		}
		from := max(before, done)
		w.keep(done, from)
		w.transform(from, end, f.changes(s.text[from:end]))
		done, before, i = end, end, end
	}
	if w == nil {
		return s
	}
	w.keep(done, len(s.text))
	return w.done()
}

// string is normalize of a text alone.
func (f normalForm) string(text string) string { return f.normalize(stretch{text: text}).text }
