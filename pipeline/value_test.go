package pipeline

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		text string
		want Bytes // -1: an error
		show string
	}{
		{"0", 0, "0"}, {"512MiB", 512 << 20, "512MiB"}, {"64MB", 64e6, "62500KiB"}, {"1000", 1000, "1000"},
		{"1 GiB", 1 << 30, "1GiB"}, {"1.5GiB", 3 << 29, "1536MiB"}, {"2TB", 2e12, "1953125000KiB"},
		{"3TiB", 3 << 40, "3TiB"}, {"7kB", 7000, "7000"}, {"7KB", 7000, "7000"}, {"12B", 12, "12"}, {"1e3", 1000, "1000"},
		{"1_000", 1000, "1000"}, {"8388607TiB", 8388607 << 40, "8388607TiB"}, {"0x10", 16, "16"},
		{"", -1, ""}, {"MiB", -1, ""}, {"-1", -1, ""}, {"-1MiB", -1, ""}, {"1.5", -1, ""}, {"8388608TiB", -1, ""},
		{"1MIB", -1, ""}, {"1mib", -1, ""}, {"1 M", -1, ""}, {"1e400", -1, ""}, {"NaN", -1, ""}, {"Inf", -1, ""}, {"0.1KiB", -1, ""},
		{"1e300TiB", -1, ""},
	} {
		var b Bytes
		err := b.UnmarshalText([]byte(c.text))
		switch {
		case (err != nil) != (c.want < 0):
			t.Errorf("%q: error %v", c.text, err)
		case err == nil && (b != c.want || b.String() != c.show):
			t.Errorf("%q = %d (%s), want %d (%s)", c.text, int64(b), b, int64(c.want), c.show)
		}
	}
	for n := int64(1); n > 0; n *= 3 {
		var back Bytes
		if err := back.UnmarshalText([]byte(Bytes(n).String())); err != nil || back != Bytes(n) {
			t.Errorf("%d is shown as %s, which reads as %d (%v)", n, Bytes(n), int64(back), err)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]string{
		"10m": "10m", "90s": "1m30s", "1h": "1h", "1h30m": "1h30m", "0s": "0s", "24h": "24h", "1500ms": "1.5s",
		"1h0m5s": "1h0m5s", "10": "", "-1s": "", "": "", "soon": "", "1d": "24h", "30d": "720h",
		"d": "", "-1d": "", "1.5d": "", "1d2h": "", "1 d": "", "99999d": "",
	} {
		var d, back Duration
		err := d.UnmarshalText([]byte(text))
		if (err != nil) != (want == "") || err == nil && d.String() != want {
			t.Errorf("%q = %s, %v; want %s", text, d, err, want)
		}
		if err := back.UnmarshalText([]byte(d.String())); err != nil || back != d {
			t.Errorf("%s reads as %s (%v)", d, time.Duration(back), err)
		}
	}
}

func TestTemplateParts(t *testing.T) {
	for text, want := range map[string]string{
		"{{a}}":               "[{ a}]",
		"{{question}}\n{{b}}": "[{ question} {\n b}]",
		"Q: {{ q }} end":      "[{Q:  q} { end }]",
		"{ {{a.b}} }":         "[{{  a.b} { } }]",
		"{{a}}{{a}}":          "[{ a} { a}]",
	} {
		parts, err := parseTemplate(text)
		if got := fmt.Sprint(parts); err != nil || got != want {
			t.Errorf("%q = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a", "{{", "}}", "{{}}", "{{ }}", "{{a", "a}}", "{{a}}}}", "{{{a}}", "{{a\nb}}", "{{a{{b}}"} {
		if parts, err := parseTemplate(text); err == nil {
			t.Errorf("%q = %v, want an error", text, parts)
		}
	}
}

// TestNumbers compares the spellings with what YAML 1.2 (core schema) has, and with
// strconv where it is stricter.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "+7": 7, "42": 42, "-42": -42, "0x1F": 31, "0o17": 15, "0b101": 5, "1_000_000": 1e6,
		"1e6": 1e6, "1.5e1": 15, "2.0": 2, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if got, ok := parseInteger(text); !ok || got != want {
			t.Errorf("parseInteger(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-", "+", "010", "-010", "00", "1__0", "_1", "1_", "0x", "1.5", "1e-3", "abc", "1 ",
		"9223372036854775808", "1e30", "--1", "+-1", "0o8", "١"} {
		if got, ok := parseInteger(text); ok {
			t.Errorf("parseInteger(%q) = %d, want none", text, got)
		}
	}
	if got, ok := parseUnsigned("18446744073709551615"); !ok || got != math.MaxUint64 {
		t.Errorf("parseUnsigned of the largest = %d, %v", got, ok)
	}
	for _, text := range []string{"-1", "18446744073709551616", "-1e3", "0.5"} {
		if got, ok := parseUnsigned(text); ok {
			t.Errorf("parseUnsigned(%q) = %d, want none", text, got)
		}
	}
	for _, text := range []string{"0", "-1.5", "3e-5", "+2.5E+10", ".5", "1.", "123456789.125", "-0.0"} {
		want, err := strconv.ParseFloat(text, 64)
		if got, ok := parseFloat(text); !ok || err != nil || got != want {
			t.Errorf("parseFloat(%q) = %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{".inf", "Inf", "NaN", ".nan", "1e400", "0x1p4", "1e", "e5", ".", "01.5"} {
		if got, ok := parseFloat(text); ok {
			t.Errorf("parseFloat(%q) = %v, want none", text, got)
		}
	}
}

func TestFixedName(t *testing.T) {
	for path, want := range map[string]string{
		"data/gsm8k/*.jsonl": "gsm8k", "data/openr1/${date}/*.parquet": "openr1", "books.jsonl.gz": "books",
		"data/books": "books", "data/books/": "books", "data/v1.2/": "v1.2", "data/v1.2/*": "v1.2", "*.jsonl": "", "a*/b": "",
		"/abs/x-*.jsonl": "abs", "s3://bucket/raw/*": "raw", "${root}/x": "", "data/{a,b}/c": "data", "": "", "./": "", "data/?": "data",
	} {
		if got := fixedName(path); got != want {
			t.Errorf("fixedName(%q) = %q, want %q", path, got, want)
		}
	}
}

// distance is the definition of optimal string alignment, by recursion.
func distance(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	cost := 1
	if a[0] == b[0] {
		cost = 0
	}
	best := min(distance(a[1:], b)+1, distance(a, b[1:])+1, distance(a[1:], b[1:])+cost)
	if len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] {
		best = min(best, distance(a[2:], b[2:])+1)
	}
	return best
}

// TestEditDistance compares with the definition over all pairs of short words.
func TestEditDistance(t *testing.T) {
	words := []string{""}
	for i := 0; len(words) < 121; i++ { // all words of a, b and c up to four letters
		for _, c := range []string{"a", "b", "c"} {
			words = append(words, words[i]+c)
		}
	}
	for _, a := range words {
		for _, b := range words {
			if got, want := editDistance([]rune(a), []rune(b)), distance(a, b); got != want {
				t.Fatalf("distance of %q and %q = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestSuggest(t *testing.T) {
	keys := []string{"bands", "rows", "verify", "index", "keep_reference"}
	for word, want := range map[string]string{
		"bnds": "bands", "band": "bands", "badns": "bands", "Bands": "bands", "row": "rows", "verifiy": "verify",
		"keep_refrence": "keep_reference", "keepreference": "keep_reference", "idx": "index", "dir": "", "x": "", "": "", "bands": "", "seventeen": "",
		strings.Repeat("bands", 20): "",
	} {
		if want != "" {
			want = fmt.Sprintf("did you mean %q?", want)
		}
		if got := Suggest(word, keys); got != want {
			t.Errorf("Suggest(%q) = %s, want %s", word, got, want)
		}
	}
}

func TestSplitKey(t *testing.T) {
	for key, want := range map[string]string{
		"seed": "[seed]", "minhash.bands": "[minhash bands]", "input[0].path": "[input [0] path]", "a[1][2].b[3]": "[a [1] [2] b [3]]",
	} {
		if got, ok := splitKey(key); !ok || fmt.Sprint(got) != want {
			t.Errorf("splitKey(%q) = %v, %v; want %s", key, got, ok, want)
		}
	}
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "[0]", "a[]", "a[x]", "a[-1]", "a[1", "a[1]b", "a[9999999999]"} {
		if got, ok := splitKey(key); ok {
			t.Errorf("splitKey(%q) = %v, want none", key, got)
		}
	}
}
