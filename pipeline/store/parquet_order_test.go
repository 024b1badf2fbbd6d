package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// FuzzParquetRoundTrip writes any record into a file with a column of every type, and wants it back.
func FuzzParquetRoundTrip(f *testing.F) {
	for _, line := range exactLines {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"tags":["\u00e9", null],"when":"2024-02-29T23:59:59.5Z","ids":[1],"marks":[1.5, 2.0],"flags":[true]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var rec Record
		if bytes.IndexByte(line, '\n') >= 0 || Scan(line, &rec) != nil {
			t.Skip()
		}
		checkBack(t, toParquet(t, wideSchema, []string{string(line), `{"ok":true}`, string(line)}),
			[]string{string(line), `{"ok":true}`, string(line)})
	})
}

// TestOrderIsKept shuffles the fields of records, spelled in all ways.
func TestOrderIsKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	texts := []string{`"plain"`, `"\u00e9 <"`, `"\u003c"`, `null`, `7`, `"\/"`}
	var lines []string
	for range 500 {
		fields := []string{`"text":` + texts[rng.IntN(len(texts))], fmt.Sprint(`"n":`, rng.IntN(9)), `"ok":true`,
			`"score":` + []string{"1", "1.5"}[rng.IntN(2)], `"messages":[{"role": "a", "content": "b"}]`, `"x":{"\t":1 }`, `"y":2`}
		rng.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		line := "{"
		for i, f := range fields[:rng.IntN(len(fields)+1)] {
			if i > 0 {
				line += ","
			}
			line += f
		}
		lines = append(lines, line+"}")
	}
	checkBack(t, toParquet(t, sampleSchema, lines), lines)
}

// TestExtraOfOthers reads extra columns in which the whitespace is not ours.
func TestExtraOfOthers(t *testing.T) {
	for text, want := range map[string]string{
		"{\t \"x\":1}":                  `[{1 0 {0 false}}]`,
		"{\"x\":1,\t\n\"y\":2\t  }":     `[{0 1 {0 true}} {2 2 {0 false}}]`,
		"{ \"x\" : 1, \t\"y\":2\t }":    `[]`,
		"{\"x\":1\t\n\n\n\n\n\n\n}":     `[]`,
		"{\"x\": 1,\t\"y\":2}":          `[]`,
		"{\t\t\t}":                      `[{0 0 {0 false}} {0 0 {0 false}} {0 0 {0 false}}]`,
		"{\"x\":1,\"y\":2, \t \"z\":3}": `[]`,
	} {
		var rec Record
		if err := Scan([]byte(text), &rec); err != nil {
			t.Fatal(text, err)
		}
		told := readPlaced(nil, []byte(text), rec.Fields)
		if got := fmt.Sprint(told); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
		there := func(i int) bool { return i != 1 }
		seen := map[int]bool{}
		for _, p := range placedOf(nil, told, there, 3) {
			if seen[p.column] || p.column > 2 || p.column == 1 {
				t.Errorf("%q: column %d is placed", text, p.column)
			}
			seen[p.column] = true
		}
		if len(seen) != 2 {
			t.Errorf("%q: columns %v are placed", text, seen)
		}
	}
}

// TestSpelledLikeGo compares the spelling of encoding/json with encoding/json, and both
// others with what they read as.
func TestSpelledLikeGo(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	alphabet := []rune("ab<>&\"\\/\b\f\n\r\t\x00\x1f\x7f é\u2028\u2029\ufffd😀中")
	for range 5000 {
		var text []byte
		for range rng.IntN(8) {
			text = utf8.AppendRune(text, alphabet[rng.IntN(len(alphabet))])
		}
		want, err := json.Marshal(string(text))
		if got := appendSpelled(nil, text, spelling{escapes: escapesHTML}); err != nil || string(got) != string(want) {
			t.Fatalf("%q: %s, want %s", text, got, want)
		}
		for e := range escapesEnd {
			got := appendSpelled([]byte("x"), text, spelling{escapes: e})
			back, err := Unquote(nil, got[1:])
			if err != nil || string(back) != string(text) {
				t.Fatalf("%q is spelled %s, %v", text, got, err)
			}
			for _, c := range got {
				if e == escapesASCII && (c < 0x20 || c >= 0x7f) {
					t.Fatalf("%q is spelled %s", text, got)
				}
			}
		}
	}
}
