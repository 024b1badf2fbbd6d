package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

var sampleSchema = []Column{
	{Name: "text", Type: TypeString},
	{Name: "messages", Type: TypeMessages},
	{Name: "n", Type: TypeInt64},
	{Name: "score", Type: TypeDouble},
	{Name: "ok", Type: TypeBool},
	{Name: "extra", Type: TypeExtra},
}

// exactLines come back from Parquet byte for byte.
var exactLines = []string{
	`{"text":"plain","n":7,"score":1.5,"ok":true}`,
	`{}`,
	`{"text":"","messages":[],"n":-9223372036854775808,"score":-0.0,"ok":false}`,
	`{"text":"line\nbreak \"é\" 😀 \u0000","messages":[{"role":"user","content":"a"},{"role":"assistant","content":""}]}`,
	`{"text":null,"messages":null,"n":null,"score":null,"ok":null,"x":null}`,
	`{"text":5,"messages":"no list","n":1.0,"score":"NaN","ok":0,"z":[1, 2 ,{"k" : "\u00e9\/"}]}`,
	`{"text":["a"],"n":9223372036854775808,"score":1e999,"ok":"true"}`,
	`{"n":-0,"score":1,"é":1,"\u00e9x":2,"":3,"extra":{"a":1},"bzdata.columns":0}`,
	`{"messages":[{"role":"user","content":"a","name":"b"}],"score":1E5}`,
	`{"messages":[{"role":"user","content":null}],"score":0.1}`,
	`{"messages":[{"role":"tool"}],"score":123456789012345678901234567890}`,
	`{"messages":[{"content":"x","role":"y","tool_calls":[{"id":1}]}, 3]}`,
	`{"score":1e-7,"b":1,"a":2,"c":{"deep":[[[]]]}}`,
}

// toParquet writes JSONL lines as Parquet.
func toParquet(t testing.TB, schema []Column, lines []string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewParquetWriter(&b, schema)
	if err != nil {
		t.Fatal(err)
	}
	var rec Record
	var keys keyTable
	for _, line := range lines {
		if err := Scan([]byte(line), &rec); err != nil {
			t.Fatal(line, err)
		}
		if err := w.Write(keys.fields(nil, rec.Fields)); err != nil {
			t.Fatal(line, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sampleParquet(t testing.TB) []byte { return toParquet(t, sampleSchema, exactLines) }

// checkBack checks that a file's records are lines, byte for byte.
func checkBack(t *testing.T, data []byte, lines []string) {
	t.Helper()
	got, rows, err := readRows(OS(), putFile(t, "x.parquet", data), RowOptions{Hash: true})
	if err != nil || len(got) != len(lines) {
		t.Fatalf("%d rows of %d, %v", len(got), len(lines), err)
	}
	var rec Record
	var keys keyTable
	for i, line := range lines {
		if err := Scan([]byte(line), &rec); err != nil {
			t.Fatal(err)
		}
		fields := string(AppendFields(nil, keys.fields(nil, rec.Fields)))
		if got[i].Bad != "" || got[i].Raw != fields || got[i].Fields != fields || got[i].Number != int64(i) {
			t.Errorf("row %d:\n%s\n%s %s, want\n%s", i, got[i].Raw, got[i].Fields, got[i].Bad, fields)
		}
	}
	if rows.Bytes() != int64(len(data)) || rows.SHA256() != sha256.Sum256(data) {
		t.Errorf("%d bytes with hash %x", rows.Bytes(), rows.SHA256())
	}
}

func TestParquetRoundTripIsExact(t *testing.T) {
	data := sampleParquet(t)
	checkBack(t, data, exactLines)
	if !bytes.Equal(data, sampleParquet(t)) {
		t.Error("writing twice gives different bytes")
	}
}

// TestParquetRestoresSpelling writes records as other programs spell them.
func TestParquetRestoresSpelling(t *testing.T) {
	lines := []string{
		`{"a":1,"text":"\u0041\/","score":2.50,"messages":[ {"content":"c", "role":"r"} ]}`,
		`{"id":"x","text":"\u00e9\ud83d\ude00\u007f\n\"","meta":{"a":  "\u00e9" },"n":5}`,
		`{"ok":true,"z":1E400,"score":-0.0,"y":-0,"n":12345678901234567890,"x":1e400}`,
		`{"messages":[{"role": "user", "content": "\u00e9"}, {"role": "b", "content": "<"}],"text":"a\u003cb\u2028c"}`,
		`{"messages":[{"role":"u","content":"\u003cb\u003e"}],"x":[]}`,
		`{"x":"\u00E9","text":"\u00E9 upper","n":-0,"t\u0065xt2":1}`,
		`{"\u0074ext":"the name is spelled in a strange way","n":1}`,
		`{"ok":false,"n":3,"text":"é"}`,
		`{"tags":["\u00e9", null, "b"],"when":"2024-02-29T23:59:59.5Z","ids":[1,-2],"marks":[1.5, 2.0],"flags":[]}`,
		`{"flags":[true,null,false],"when":"2024-02-29T23:59:59+02:00","tags":[],"ids":[1.0],"marks":[1,2]}`,
		`{"when":"2024-02-30T00:00:00Z","tags":"a","ids":[[1]],"marks":["1"],"flags":[1]}`,
		`{"when":1700000000,"tags":[null],"ids":[null,9223372036854775807],"flags":null}`,
	}
	checkBack(t, toParquet(t, wideSchema, lines), lines)
}

// wideSchema has a column of every type.
var wideSchema = append(slices.Clone(sampleSchema), Column{Name: "when", Type: TypeTimestamp},
	Column{Name: "tags", Type: TypeStringList}, Column{Name: "ids", Type: TypeInt64List},
	Column{Name: "marks", Type: TypeDoubleList}, Column{Name: "flags", Type: TypeBoolList})

// TestParquetRoundTripRandom writes enough random records to fill several pages.
func TestParquetRoundTripRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var lines []string
	for range 3000 {
		var fields []Field
		add := func(key, value string) {
			fields = append(fields, Field{Key: key, Value: []byte(value)})
		}
		text := func() string { return string(AppendQuote(nil, strings.Repeat("wörd \n", rng.IntN(200)))) }
		if rng.IntN(5) > 0 {
			add("text", text())
		}
		if rng.IntN(3) > 0 {
			var m []string
			for range rng.IntN(4) {
				m = append(m, fmt.Sprintf(`{"role":%s,"content":%s}`, text(), text()))
			}
			add("messages", "["+strings.Join(m, ",")+"]")
		}
		if rng.IntN(3) > 0 {
			add("n", fmt.Sprint(int64(rng.Uint64())))
		}
		if rng.IntN(3) > 0 {
			add("score", fmt.Sprint(rng.NormFloat64()))
		}
		for i := range rng.IntN(4) {
			add(fmt.Sprint("k", i, rng.IntN(3)), []string{"1", `"x"`, "[1, 2]", "null", `{"a" :1}`}[rng.IntN(5)])
		}
		lines = append(lines, string(AppendFields(nil, fields)))
	}
	checkBack(t, toParquet(t, sampleSchema, lines), lines)
}

func TestParquetWriterRefuses(t *testing.T) {
	for _, schema := range [][]Column{
		nil, {{Name: ""}}, {{Name: "a"}, {Name: "a"}}, {{Name: "\xff"}}, {{Name: "a", Type: 99}},
		{{Name: "a", Type: TypeExtra}, {Name: "b", Type: TypeExtra}}, {{Name: "a", Type: TypeExtra, Required: true}},
	} {
		if _, err := NewParquetWriter(&bytes.Buffer{}, schema); err == nil {
			t.Errorf("schema %v is accepted", schema)
		}
	}
	for _, c := range []struct {
		column Column
		fields []Field
		want   string
	}{
		{Column{"a", TypeString, true}, nil, "required column a"},
		{Column{"a", TypeString, false}, []Field{{Key: "b", Value: []byte("1")}}, "field b has no column"},
		{Column{"a", TypeString, false}, []Field{{Key: "a", Value: []byte("1")}}, "does not fit its string column"},
		{Column{"a", TypeInt64, false}, []Field{{Key: "a", Value: []byte("1.0")}}, "does not fit its int64 column"},
		{Column{"a", TypeMessages, false}, []Field{{Key: "a", Value: []byte(`[{"role":"u","content":"c","x":1}]`)}}, "fit"},
		{Column{"a", TypeString, false}, []Field{{Key: "a", Value: []byte(`"1"`)}, {Key: "a", Value: []byte(`"2"`)}}, "twice"},
	} {
		w, err := NewParquetWriter(&bytes.Buffer{}, []Column{c.column})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(c.fields); err == nil || !strings.Contains(err.Error(), c.want) || w.Close() != err {
			t.Errorf("%v: %v, want %s", c, err, c.want)
		}
	}
}

func TestParquetWithoutExtra(t *testing.T) {
	schema := []Column{{Name: "reason", Type: TypeString, Required: true}, {Name: "value", Type: TypeDouble}, {Name: "m", Type: TypeMessages, Required: true}}
	lines := []string{`{"reason":"short","value":3,"m":[]}`, `{"reason":"","value":null,"m":[{"role":"a","content":"b"}]}`}
	got, _, err := readRows(OS(), putFile(t, "x.parquet", toParquet(t, schema, lines)), RowOptions{})
	want := []string{`{"reason":"short","value":3.0,"m":[]}`, `{"reason":"","m":[{"role":"a","content":"b"}]}`}
	if err != nil || len(got) != 2 || got[0].Raw != want[0] || got[1].Raw != want[1] {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestParquetLayout checks what readers of other languages see: column names, types
// and order, pages of about 1 MiB, and zstd throughout.
func TestParquetLayout(t *testing.T) {
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf(`{"text":"%d %s","x":1}`, i, strings.Repeat("text ", 400)))
	}
	data := toParquet(t, sampleSchema, lines)
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	want := `message record {
	optional binary text (STRING);
	optional group messages (LIST) {
		repeated group list {
			optional group element {
				optional binary role (STRING);
				optional binary content (STRING);
			}
		}
	}
	optional int64 n (INT(64,true));
	optional double score;
	optional boolean ok;
	optional binary extra (STRING);
}`
	if got := f.Schema().String(); strings.Replace(got, " (INT(64,true))", "", 1) != strings.Replace(want, " (INT(64,true))", "", 1) {
		t.Errorf("schema\n%s", got)
	}
	for _, c := range f.Metadata().RowGroups[0].Columns {
		if c.MetaData.Codec.String() != "ZSTD" || len(c.MetaData.Statistics.MaxValue) > 0 {
			t.Errorf("%v: %v, statistics %q", c.MetaData.PathInSchema, c.MetaData.Codec, c.MetaData.Statistics.MaxValue)
		}
	}
	pages := f.RowGroups()[0].ColumnChunks()[0].Pages()
	defer pages.Close()
	n := 0
	for {
		page, err := pages.ReadPage()
		if err != nil {
			break
		}
		if n++; page.Size() > parquetPageBytes+1<<18 {
			t.Errorf("page of %d bytes", page.Size())
		}
		parquet.Release(page)
	}
	if n < 5 {
		t.Errorf("%d pages for 6 MB", n)
	}
}

func TestParquetRowGroupsAreBounded(t *testing.T) {
	big := fmt.Sprintf(`{"text":"%s"}`, strings.Repeat("a", 8<<20))
	var lines []string
	for range 40 {
		lines = append(lines, big)
	}
	data := toParquet(t, sampleSchema, lines)
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var rows []int64
	for _, g := range f.RowGroups() {
		rows = append(rows, g.NumRows())
	}
	if fmt.Sprint(rows) != "[16 16 8]" {
		t.Errorf("row groups of %v rows", rows)
	}
}

func TestParquetRealData(t *testing.T) {
	text, err := os.ReadFile("../../../shared/data/gsm8k/test.jsonl")
	if err != nil {
		t.Skipf("the shared data is not here: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	schema := []Column{{Name: "question", Type: TypeString}, {Name: "extra", Type: TypeExtra}}
	got, _, err := readRows(OS(), putFile(t, "x.parquet", toParquet(t, schema, lines)), RowOptions{})
	if err != nil || len(got) != len(lines) {
		t.Fatalf("%d rows of %d, %v", len(got), len(lines), err)
	}
	for i := range lines {
		var a, b map[string]string
		if json.Unmarshal([]byte(lines[i]), &a) != nil || json.Unmarshal([]byte(got[i].Raw), &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("row %d: %s, want %s", i, got[i].Raw, lines[i])
		}
	}
}

func TestAppendFloat(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 1: "1.0", -2.5: "-2.5", 1e21: "1e+21", 1e20: "100000000000000000000.0", 1e-6: "0.000001", 1e-7: "1e-07",
		math.MaxFloat64: "1.7976931348623157e+308", math.Inf(1): `"Infinity"`, math.Inf(-1): `"-Infinity"`, 0.1: "0.1",
	} {
		if got := string(appendFloat(nil, f, 64)); got != want || !json.Valid([]byte(got)) {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(9, 10))
	for range 100_000 {
		f := math.Float64frombits(rng.Uint64())
		var back float64
		if text := appendFloat(nil, f, 64); f == f && !math.IsInf(f, 0) && (json.Unmarshal(text, &back) != nil || back != f) {
			t.Fatalf("%v becomes %s", f, text)
		}
	}
}
