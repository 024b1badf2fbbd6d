package tokenize

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/match"
)

// The file testdata/unicode_answers.json was made by testdata/make_unicode.py with Hugging
// Face tokenizers 0.23.3.

func bytesSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func eachCodePoint(visit func(r rune)) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) {
			visit(r)
		}
	}
}

// classSum digests the members as the script does.
func classSum(c *match.Class) string {
	var all []byte
	first, last := rune(-1), rune(-1)
	flush := func() {
		if first >= 0 {
			all = fmt.Appendf(all, "%d-%d,", first, last)
		}
	}
	eachCodePoint(func(r rune) {
		if !c.Has(r) {
			return
		}
		if first < 0 || r != last+1 {
			flush()
			first = r
		}
		last = r
	})
	flush()
	return bytesSum(all)
}

// TestEveryCodePoint compares classes and maps with the library's.
func TestEveryCodePoint(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	answers := map[string]string{}
	readJSON(t, "testdata/unicode_answers.json", &answers)
	components := map[string]*match.Class{
		"Digits": digitClass(), "Punctuation": punctuationClass(), "WhitespaceSplit": spaceClass(), "Whitespace": wordClass(),
	}
	maps := map[string]normalizer{
		"Lowercase": lowercase{}, "Nmt": nmt(), "StripAccents": stripAccents(), "Strip": strip{true, true},
		"NFC": normalForms["NFC"], "NFD": normalForms["NFD"], "NFKC": normalForms["NFKC"], "NFKD": normalForms["NFKD"],
	}
	for key, want := range answers {
		got := ""
		if name, isMap := strings.CutPrefix(key, "map "); isMap {
			var all []byte
			eachCodePoint(func(r rune) {
				all = append(strconv.AppendInt(all, int64(r), 10), ':')
				all = append(append(all, maps[name].normalize(stretch{text: string(r)}).text...), '\n')
			})
			got = bytesSum(all)
		} else if key == "orders" {
			var all []byte
			eachCodePoint(func(r rune) { all = append(all, normalForms["NFD"].string("\u0345"+string(r))...) })
			got = bytesSum(all)
		} else if class := components[key]; class != nil {
			got = classSum(class)
		} else if class, err := match.ParseClass(key); err != nil {
			t.Error(err)
		} else {
			got = classSum(class)
		}
		if got != want {
			t.Errorf("%s differs from the library's", key)
		}
	}
	if len(answers) < 60 {
		t.Errorf("only %d answers", len(answers))
	}
}

// TestNormalFormParts compares rewriting the parts that change with rewriting all, with and
// without places.
func TestNormalFormParts(t *testing.T) {
	pool := []rune("ab é한中ﬁ\u0301\u0323\u0345\u093c\u0958\u1100\u1161\u11a8\u1e9b\u0344\u0f73\u2126\u1abf\u0bc6\u0bbe😀\U0001d15e")
	text := make([]rune, 5)
	for i := range 1 << 14 {
		for k, at := 0, i*7919; k < len(text); k++ {
			text[k], at = pool[at%len(pool)], at/len(pool)
		}
		for name, form := range normalForms {
			var want []rune
			for _, c := range form.changes(string(text)) {
				want = append(want, c.r)
			}
			got := form.normalize(whole(string(text), 0, true))
			if got.text != string(want) || form.string(string(text)) != string(want) || len(got.from) != len(got.text) {
				t.Fatalf("%s of %q is %q, want %q", name, string(text), got.text, string(want))
			}
		}
	}
	long := strings.Repeat("a"+strings.Repeat("\u0301", 100)+"\xff", 3)
	if got := formNFC.string(long); got != strings.Repeat("á"+strings.Repeat("\u0301", 99)+"\xff", 3) {
		t.Errorf("many marks and bytes that are not UTF-8 became %q", got)
	}
}
