package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// oracleFields splits an object with jsontext; ok is false if jsontext refuses it.
func oracleFields(line []byte) (fields []RawField, ok bool) {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if tok, err := d.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, false
	}
	for d.PeekKind() != '}' {
		key, err := d.ReadValue()
		if err != nil {
			return nil, false
		}
		key = key.Clone()
		value, err := d.ReadValue()
		if err != nil {
			return nil, false
		}
		fields = append(fields, RawField{key, value.Clone()})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, false
	}
	_, err := d.ReadToken()
	return fields, err == io.EOF
}

func sameFields(a, b []RawField) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i].Key, b[i].Key) || !bytes.Equal(a[i].Value, b[i].Value) {
			return false
		}
	}
	return true
}

// checkScan compares Scan with jsontext, and with encoding/json where that is as strict.
func checkScan(t *testing.T, line []byte) {
	t.Helper()
	var rec Record
	err := Scan(line, &rec)
	slow := Record{plain: true}
	if slowErr := Scan(line, &slow); !reflect.DeepEqual(err, slowErr) || !reflect.DeepEqual(rec.Fields, slow.Fields) {
		t.Fatalf("%.200q: with marks %v %q, without %v %q", line, err, rec.Fields, slowErr, slow.Fields)
	}
	want, ok := oracleFields(line)
	if ok != (err == nil) {
		t.Fatalf("%.200q: Scan says %v, jsontext accepts: %v", line, err, ok)
	}
	var syntax *SyntaxError
	if err != nil && (!errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > int64(len(line))) {
		t.Fatalf("%.200q: bad error %v", line, err)
	}
	if ok && !sameFields(rec.Fields, want) {
		t.Fatalf("%.200q: fields %q, want %q", line, rec.Fields, want)
	}
	if ok && !json.Valid(line) {
		t.Fatalf("%.200q: encoding/json refuses what Scan accepts", line)
	}
}

func hostileLines() []string {
	deep := func(n int, open, mid, shut string) string {
		return strings.Repeat(open, n) + mid + strings.Repeat(shut, n)
	}
	many := func(n int, last string) string {
		var b strings.Builder
		b.WriteString("{")
		for i := range n {
			fmt.Fprintf(&b, `"k%d":%d,`, i, i)
		}
		return b.String() + last + "}"
	}
	return []string{
		``, ` `, `{`, `{}`, ` {} `, "{}\r", `{}x`, `{}{}`, `[]`, `1`, `"a"`, `null`, `{"a"}`, `{"a":}`, `{"a":1,}`,
		`{,}`, `{"a":1 "b":2}`, `{"a" 1}`, `{a:1}`, `{'a':1}`, `{"a":1}}`, `{"a":[1,2}`, `{"a":{"b":1]}`, `{"a":[}`,
		`{"a":[1,]}`, `{"a":[,1]}`, `{"a":{"b":1,}}`, `{"a":{,}}`, `{"a":{"b"}}`, `{"a":[1 2]}`, `{"a":[[],{},[{}]]}`,
		`{"a":NaN}`, `{"a":Infinity}`, `{"a":-Infinity}`, `{"a":+1}`, `{"a":01}`, `{"a":-01}`, `{"a":-}`, `{"a":1.}`,
		`{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":1E-5}`, `{"a":-0.0e00}`, `{"a":1e999}`, `{"a":0x1}`, `{"a":1_0}`,
		`{"a":[01]}`, `{"a":[NaN]}`, `{"a":[tru]}`, `{"a":{"b":nul}}`, `{"a":truex}`, `{"a":[truefalse]}`, `{"a":TRUE}`,
		`{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12G4"}`, `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud83d\ude00"}`,
		`{"a":"\ud83d\u0041"}`, `{"a":"\ud83dx"}`, `{"a":"\uD83D\uDE00"}`, `{"a":"\ud83d\ud83d"}`, `{"a":"\/\b\f\n\r\t\"\\"}`,
		`{"a":"\`, `{"a":"\"`, `{"a":"\u`, `{"a":"x`, `{"a":"\U0041"}`,
		"{\"a\":\"\x00\"}", "{\"a\":\"\x1f\"}", "{\"a\":\"\x7f\"}", "{\"a\":\"\t\"}", "{\"a\":[\"\n\"]}", "{\"a\n\":1}",
		"{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xf4\x90\x80\x80\"}",
		"{\"a\":[\"\xe2\x82\"]}", "{\"\xff\":1}", "{\"a\":\"é€😀\"}", "\ufeff{}", "{\"a\":\"\ufeff\"}", "{\"a\":1}\x00",
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1,"\u0062":2}]}`, `{"":1,"":2}`,
		`{"a":{"a":{"a":1}}}`, `{"a":[{"a":1},{"a":2}],"b":{"a":1}}`, `{"é":1,"\u00e9":2}`, `{"\n":1,"\u000a":2}`,
		many(50, `"z":1`), many(50, `"k7":1`), many(50, `"k\u0037":1`), many(11, `"k3":1`), many(12, `"k3":1`), many(13, `"k3":1`),
		`{"a":` + many(40, `"k39":0`) + `}`, `{"a":` + many(40, `"x":0`) + `,"b":{"k1":2}}`,
		`{"a":` + deep(9_998, "[", "1", "]") + `}`, `{"a":` + deep(9_999, "[", "", "]") + `}`,
		`{"a":` + deep(10_000, "[", "", "]") + `}`, `{"a":` + deep(10_000, "[", "1", "]") + `}`,
		`{"a":` + deep(9_999, `{"b":`, "1", "}") + `}`, `{"a":` + deep(10_000, `{"b":`, "1", "}") + `}`,
		`{"a":` + strings.Repeat("[", 100_000),
	}
}

func TestScanHostile(t *testing.T) {
	for _, line := range hostileLines() {
		checkScan(t, []byte(line))
	}
}

// TestScanMutations checks every truncation, and every byte replaced by every byte
// that JSON gives a meaning, of a record that holds every construct.
func TestScanMutations(t *testing.T) {
	base := []byte(` {"id": -1.5e+3, "t\u00e9":"aé\n\ud83d\ude00\"z","m":[{"r":null,"c":[]},{}, true,false] ,"x":{"y":{"z":0}}} `)
	checkScan(t, base)
	for i := range base {
		checkScan(t, base[:i])
		for _, c := range []byte("{}[],:\"\\ \n\r\tutfnrbe/+-.0159aAdDcCxE\x00\x1f\x7f\x80\xc3\xff") {
			line := bytes.Clone(base)
			line[i] = c
			checkScan(t, line)
		}
	}
}

func TestScanErrorsPointAtTheByte(t *testing.T) {
	for _, c := range []struct {
		line, want string
	}{
		{`{"a":1,"b":tru}`, "expected a value at byte 11"},
		{`{"a":01}`, "number with a leading zero at byte 6"},
		{`{"a":"x`, "record ends too early at byte 7"},
		{`{"a":1,"b":2,"a":3}`, "the same name twice in one object at byte 13"},
		{"{\"a\":\"bc\xff\"}", "invalid UTF-8 at byte 8"},
		{`{"a":"b\q"}`, "bad escape in a string at byte 7"},
		{"{\"a\":\"b\x01\"}", "control character in a string at byte 7"},
		{`[{"a":1}]`, "record is an array, not an object: write one object a line at byte 0"},
		{`{"a":1} x`, "text after the end of the record at byte 8"},
	} {
		err := Scan([]byte(c.line), new(Record))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.line, err, c.want)
		}
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	line := []byte(`{"id":"7","t\u0065xt":"some é text that is longer than a few words","meta":{"a":[1,2,{"b":null}]}}`)
	var rec Record
	if n := testing.AllocsPerRun(100, func() {
		if Scan(line, &rec) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func TestScanRealData(t *testing.T) {
	for _, name := range []string{"gsm8k/test.jsonl", "wikitext2/sections.jsonl", "esft/law-train.jsonl"} {
		data, err := os.ReadFile("../../../shared/data/" + name)
		if err != nil {
			t.Skipf("the shared data is not here: %v", err)
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if len(line) > 0 && i < 2000 {
				checkScan(t, line)
			}
		}
	}
}

func TestPlainRunEqualsItsTwin(t *testing.T) {
	check := func(b []byte) {
		for i := range min(len(b)+1, 3) {
			end, high := plainRun(b, i)
			slowEnd, slowHigh := plainRunSlow(b, i)
			if end != slowEnd || (slowHigh != 0 && high == 0) || (high != 0 && bytes.IndexFunc(b[i:], isNotASCII) < 0) {
				t.Fatalf("%q from %d: %d %x, want %d %x", b, i, end, high, slowEnd, slowHigh)
			}
		}
	}
	for n := range 70 { // every byte at every place of a run of every length
		for at := range n {
			b := bytes.Repeat([]byte{'a'}, n)
			for c := range 256 {
				b[at] = byte(c)
				check(b)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []byte("\x00\x1f\x20\x21\x22\x23\x5b\x5c\x5d\x7f\x80\xa2\xdc\xff")
	for range 200_000 { // neighbours of the hits, in every order
		b := make([]byte, 1+rng.IntN(40))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		check(b)
	}
}

func TestUnescapeEqualsItsTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	pieces := []string{"a", "héllo", `\n`, `\"`, `\\`, `\u00e9`, `\ud83d\ude00`, strings.Repeat("x", 31), strings.Repeat("y", 32), strings.Repeat("z", 500)}
	for range 3000 {
		var s []byte
		for range rng.IntN(60) {
			s = append(s, pieces[rng.IntN(len(pieces))]...)
		}
		want := appendUnescapedSlow([]byte("dst"), s)
		dst := append(make([]byte, 0, rng.IntN(9000)+3), "dst"...)
		if got := appendUnescaped(dst, s); !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", s, got, want)
		}
		raw := slices.Concat([]byte{'"'}, s, []byte{'"'})
		if got, err := Unquote([]byte("dst"), raw); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, %v", s, got, err)
		}
		checkUnquote(t, raw)
		checkScan(t, slices.Concat([]byte(`{"k":`), raw, []byte(`}`)))
	}
}

// TestValidUTF8EqualsItsTwin puts sequences of the bytes around which UTF-8 has its rules at
// every place about the end of a block.
func TestValidUTF8EqualsItsTwin(t *testing.T) {
	edges := []byte("a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff")
	b := bytes.Repeat([]byte{'a'}, 100)
	check := func() {
		for _, n := range []int{len(b), 64, 65, 33, 32} {
			if got := validUTF8(b[:n]); got != utf8.Valid(b[:n]) {
				t.Fatalf("%q: %v", b[:n], got)
			}
		}
	}
	for _, at := range []int{0, 28, 29, 30, 31, 32, 60, 63} {
		for _, c0 := range edges {
			for _, c1 := range edges {
				for _, c2 := range edges {
					for _, c3 := range []byte{'a', 0x80, 0xbf, 0xc2, 0xf0} {
						copy(b[at:], []byte{c0, c1, c2, c3})
						check()
					}
				}
			}
		}
		copy(b[at:], "aaaa")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20_000 { // valid text, most of it with one byte changed
		var text []byte
		for len(text) < 100 {
			text = utf8.AppendRune(text, []rune{'a', 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff}[rng.IntN(8)])
		}
		copy(b, text)
		check()
		b[rng.IntN(len(b))] = edges[rng.IntN(len(edges))]
		check()
	}
}

func isNotASCII(r rune) bool { return r >= 0x80 }

func TestDuplicateSearchTwins(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		names := make([]jsonName, rng.IntN(30))
		for i := range names {
			names[i] = jsonName{[]byte(fmt.Sprint(rng.IntN(200))), 10 * i}
		}
		want := duplicatePairwise(names)
		if got := duplicateSorted(names); got != want {
			t.Fatalf("sorted search finds %d, pairwise %d", got, want)
		}
	}
}

func checkUnquote(t *testing.T, raw []byte) {
	t.Helper()
	got, err := Unquote([]byte("p"), raw)
	want, wantErr := jsontext.AppendUnquote(nil, raw)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: %v, jsontext says %v", raw, err, wantErr)
	}
	if err == nil && (string(got) != "p"+string(want) || string(AppendText([]byte("p"), raw)) != string(got)) {
		t.Fatalf("%q: %q, want %q", raw, got, want)
	}
	if err != nil && string(got) != "p" {
		t.Fatalf("%q: dst changed to %q", raw, got)
	}
}

func checkQuote(t *testing.T, s string) {
	t.Helper()
	got := AppendQuote(nil, s)
	want, err := jsontext.AppendQuote(nil, s)
	if !bytes.Equal(got, want) || !bytes.Equal(got, AppendQuote(nil, []byte(s))) {
		t.Fatalf("%q: %q, jsontext says %q", s, got, want)
	}
	back, backErr := Unquote(nil, got)
	if backErr != nil || (err == nil && string(back) != s) {
		t.Fatalf("%q comes back as %q, %v", s, back, backErr)
	}
}

func TestQuote(t *testing.T) {
	for c := range 256 {
		checkQuote(t, "a"+string([]byte{byte(c)})+"b")
		checkQuote(t, string([]byte{0xe2, byte(c), 0x82, 0xac}))
	}
	for r := rune(0); r < 0x3000; r++ {
		checkQuote(t, "x"+string(r))
	}
	for u := range 0x10000 {
		checkUnquote(t, fmt.Appendf(nil, `"a\u%04x"`, u))
		if u&0xff == 0 || u > 0xd700 && u < 0xe100 {
			checkUnquote(t, fmt.Appendf(nil, `"\u%04X\u%04x"`, u, 0xdc00+u&0x3ff))
			checkUnquote(t, fmt.Appendf(nil, `"\ud83d\u%04x!"`, u))
		}
	}
	for _, raw := range []string{``, `"`, `""`, `a`, `"a`, `"a"b`, `"a\"`, `"a\q"`, ` "a"`, "\"\xff\"", `"a" `} {
		checkUnquote(t, []byte(raw))
	}
}

func FuzzScan(f *testing.F) {
	for _, line := range hostileLines() {
		if len(line) < 5000 {
			f.Add([]byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		checkScan(t, line)
		checkUnquote(t, line)
		checkQuote(t, string(line))
	})
}

func BenchmarkScan(b *testing.B) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, and so on. ", 20)
	line := fmt.Appendf(nil, `{"id":"doc-000017","text":%s,"meta":{"url":"https://example.org/a","n":[1,2,3],"ok":true}}`, AppendQuote(nil, text))
	var rec Record
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if err := Scan(line, &rec); err != nil {
			b.Fatal(err)
		}
	}
}
