package store

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestOutcomes states what becomes of every kind of line: where two libraries may differ, it
// is what github.com/go-json-experiment/json does by default.
func TestOutcomes(t *testing.T) {
	deep := `{"a":[{"b":` // and the rest of a line, so that rules hold at depth
	for _, c := range []struct{ what, line, want string }{
		{"a record", `{"a":1}`, ""},
		{"space around it", " \t{\"a\":1} \t", ""},
		{"CRLF", "{\"a\":1}\r", ""},
		{"a byte order mark at the start of the file", "\ufeff{\"a\":1}", ""},
		{"two of them", "\ufeff\ufeff{\"a\":1}", "record is not an object at byte 0"},
		{"one in a text", "{\"a\":\"\ufeff\"}", ""},
		{"the same name twice", `{"a":1,"b":2,"a":3}`, "the same name twice in one object at byte 13"},
		{"and differently written", `{"a":1,"\u0061":3}`, "the same name twice in one object at byte 7"},
		{"and at depth", deep + `1,"b":2}]}`, "the same name twice in one object at byte 13"},
		{"names that differ in case", `{"a":1,"A":2}`, ""},
		{"a bad escape", `{"a":"\x41"}`, "bad escape in a string at byte 6"},
		{"a bad escape at depth", deep + `"\'"}]}`, "bad escape in a string at byte 12"},
		{"a lone high surrogate", `{"a":"\ud83d"}`, "bad escape in a string at byte 6"},
		{"a lone low surrogate", deep + `"\udc00"}]}`, "bad escape in a string at byte 12"},
		{"a pair of surrogates", `{"a":"\ud83d\ude00"}`, ""},
		{"a control character", "{\"a\":\"\t\"}", "control character in a string at byte 6"},
		{"a NUL at depth", deep + "\"\x00\"}]}", "control character in a string at byte 12"},
		{"a DEL", "{\"a\":\"\x7f\"}", ""},
		{"invalid UTF-8", "{\"a\":\"b\xff\"}", "invalid UTF-8 at byte 7"},
		{"an encoded surrogate at depth", deep + "\"\xed\xa0\x80\"}]}", "invalid UTF-8 at byte 12"},
		{"invalid UTF-8 in a name", "{\"\xc3\":1}", "invalid UTF-8 at byte 2"},
		{"NaN", `{"a":NaN}`, "expected a value at byte 5"},
		{"NaN at depth", deep + `NaN}]}`, "expected a value at byte 11"},
		{"infinity", `{"a":-Infinity}`, "expected a digit at byte 6"},
		{"a leading zero", deep + `01}]}`, "number with a leading zero at byte 12"},
		{"a bare point", `{"a":1.}`, "expected a digit after the decimal point at byte 7"},
		{"a bare exponent", deep + `1e+}]}`, "expected a digit in the exponent at byte 14"},
		{"a plus sign", `{"a":+1}`, "expected a value at byte 5"},
		{"a number beyond float64", `{"a":1e999}`, ""},
		{"text behind the record", `{"a":1} x`, "text after the end of the record at byte 8"},
		{"two records on a line", `{"a":1}{"a":2}`, "text after the end of the record at byte 7"},
		{"half a record", `{"a":"b`, "record ends too early at byte 7"},
		{"an array", `[1]`, "record is an array, not an object: write one object a line at byte 0"},
		{"a comma too many", `{"a":1,}`, "expected a name in double quotes at byte 7"},
		{"nesting beyond the limit", `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
			"nested deeper than 10,000 at byte 10004"},
		{"a record over the limit", `{"a":"` + strings.Repeat("b", 30_000) + `"}`,
			"record of 30008 bytes is over the limit of 30000 at byte 30000"},
	} {
		got, _, err := readRows(memFS{OS(), []byte(c.line + "\n")}, "x.jsonl", RowOptions{RecordBytesMax: 30_000})
		if err != nil || len(got) != 1 || got[0].Bad != c.want {
			t.Errorf("%s: %v, %.200v; want %q", c.what, err, got, c.want)
		}
		if len(c.line) < 30_000 && !strings.HasPrefix(c.line, "\ufeff") {
			checkScan(t, []byte(c.line))
		}
	}
}

// TestAheadReader reads ahead from streams that give bytes in every way, and closes some
// before their end.
func TestAheadReader(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 3*aheadBuffers*aheadBufferBytes/16+1)
	for _, r := range []io.Reader{
		bytes.NewReader(text), iotest.HalfReader(bytes.NewReader(text)), iotest.DataErrReader(bytes.NewReader(text)),
	} {
		a := newAheadReader(r)
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(text), err)
		}
		if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d, %v", n, err)
		}
		a.Close()
	}
	failing := newAheadReader(io.MultiReader(bytes.NewReader(text), iotest.ErrReader(errDisk)))
	if got, err := io.ReadAll(failing); err != errDisk || !bytes.Equal(got, text) {
		t.Errorf("%d bytes of %d, %v; want the disk's error behind them", len(got), len(text), err)
	}
	failing.Close()
	for _, n := range []int{0, 1, aheadBufferBytes + 1} {
		a := newAheadReader(bytes.NewReader(text))
		if _, err := io.ReadFull(a, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		a.Close()
	}
}
