package store

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// checkRange compares one range of a text with the slow twin, and its survey with a
// plain count.
func checkRange(t *testing.T, text []byte, from, to, recordBytesMax int64) []Line {
	t.Helper()
	fsys := memFS{OS(), text}
	part := LineRange{From: from, To: to}
	if from > 0 {
		before, err := SurveyLines(fsys, "x.jsonl", LineRange{To: from}, recordBytesMax, -1)
		if err != nil || !before.Whole {
			t.Fatalf("%q before %d: %+v, %v", text, from, before, err)
		}
		part.FirstLine = before.Ends + 1
	}
	want := splitRangeSlow(text, part, recordBytesMax)
	got, err := linesOf(NewLineRangeReader(bytes.NewReader(text[from:]), part, recordBytesMax))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q from %d to %d, limit %d:\n%+v, %v\nwant\n%+v", text, from, to, recordBytesMax, got, err, want)
	}
	checkSurvey(t, text, part, recordBytesMax, int64(len(want)))
	return got
}

func checkSurvey(t *testing.T, text []byte, part LineRange, recordBytesMax, records int64) {
	t.Helper()
	mine := text[part.From:part.To]
	for _, max := range []int64{-1, records, records + 1} {
		s, err := SurveyLines(memFS{OS(), text}, "x.jsonl", part, recordBytesMax, max)
		if err != nil || max > records && !s.Whole {
			t.Fatalf("%q %+v, at most %d records: %+v, %v", text, part, max, s, err)
		}
		if max >= 0 && s.Records != records {
			t.Fatalf("%q %+v: %d records, want %d", text, part, s.Records, records)
		}
		if s.Whole && (s.Ends != int64(bytes.Count(mine, []byte("\n"))) || s.SHA256 != sha256.Sum256(mine)) {
			t.Fatalf("%q %+v: survey is %+v", text, part, s)
		}
	}
}

// checkCuts checks that the ranges between cuts have each line of the text once. The first
// range is not empty: the line at 0 belongs to each that starts there.
func checkCuts(t *testing.T, text []byte, cuts []int64, recordBytesMax int64) {
	t.Helper()
	var got []Line
	from := int64(0)
	for _, to := range append(cuts, int64(len(text))) {
		got = append(got, checkRange(t, text, from, to, recordBytesMax)...)
		from = to
	}
	if want := splitLinesSlow(text, recordBytesMax); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q cut at %d:\n%+v, want\n%+v", text, cuts, got, want)
	}
}

// TestLineRanges cuts every text of a few bytes at every pair of positions: line ends of
// both kinds, empty lines, space, a byte order mark, lines over the limit, no last line end.
func TestLineRanges(t *testing.T) {
	var texts func(prefix []byte, n int)
	texts = func(prefix []byte, n int) {
		checkCuts(t, prefix, nil, 2)
		for a := int64(1); a <= int64(len(prefix)); a++ {
			for b := a; b <= int64(len(prefix)); b++ {
				checkCuts(t, prefix, []int64{a, b}, 2)
			}
		}
		if n == 0 {
			return
		}
		for _, c := range []string{"\n", "\r", "a", " "} {
			texts(append(bytes.Clone(prefix), c...), n-1)
		}
	}
	texts(nil, 4)
	texts([]byte("\ufeff"), 3)
	texts([]byte("abc\r\nab\r\n"), 2)
}

// TestLineRangesLarge cuts texts whose lines are longer than a buffer.
func TestLineRangesLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var text []byte
	for range 40 {
		text = append(text, bytes.Repeat([]byte("x"), rng.IntN(1<<rng.IntN(20)))...)
		text = append(text, "\r\n"[rng.IntN(2):]...)
	}
	for range 10 {
		var cuts []int64
		for at := int64(0); ; cuts = append(cuts, at) {
			if at += 1 + rng.Int64N(400_000); at >= int64(len(text)) {
				break
			}
		}
		checkCuts(t, text, cuts, 100_000)
	}
}

func TestLineRangeReadError(t *testing.T) {
	for _, text := range []string{"", "a", "a\nb"} {
		r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(errDisk))
		l := NewLineRangeReader(r, LineRange{From: 1, To: 9}, 4)
		if _, err := linesOf(l); err != errDisk {
			t.Errorf("%q: %v, want the disk's error", text, err)
		}
	}
}

func TestRowsOfRange(t *testing.T) {
	data := []byte("{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}")
	for cut := range int64(len(data)) {
		var got []gotRow
		first := int64(bytes.Count(data[:cut], []byte("\n"))) + 1
		for _, part := range []LineRange{{To: cut}, {From: cut, To: int64(len(data)), FirstLine: first}} {
			if cut == 0 && part.To == 0 {
				continue
			}
			if part.From == 0 {
				part.FirstLine = 0
			}
			rows, _, err := readRows(memFS{OS(), data}, "x.jsonl", RowOptions{Lines: &part, Hash: true})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rows...)
		}
		if len(got) != 3 || got[0].Number != 0 || got[1].Number != 2 || got[2].Number != 3 || got[2].Raw != `{"a":3}` {
			t.Errorf("cut at %d: %+v", cut, got)
		}
	}
	if _, err := OpenRows(OS(), "x.jsonl.gz", RowOptions{Lines: &LineRange{To: 1}}); err == nil {
		t.Error("a range of a compressed file is no mistake")
	}
}

func FuzzLineRanges(f *testing.F) {
	f.Add([]byte("\ufeff{\"a\":1}\r\n\n {\"b\":2}\n"), uint16(4), uint16(12))
	f.Add([]byte("a\nb\nc"), uint16(1), uint16(2))
	f.Add([]byte("\r\n\r\n\n \t\nabcdefghijklmnop\n"), uint16(2), uint16(15))
	f.Fuzz(func(t *testing.T, text []byte, a, b uint16) {
		if len(text) == 0 {
			return
		}
		first := 1 + int64(a)%int64(len(text))
		second := first + int64(b)%(int64(len(text)+1)-first)
		checkCuts(t, text, []int64{first, second}, 8)
	})
}
