package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

var update = flag.Bool("update", false, "write the expected rows of testdata anew")

// TestParquetTypes compares a file of every type that pyarrow writes with its rows as
// they were checked by eye.
func TestParquetTypes(t *testing.T) {
	got, _, err := readRows(OS(), "testdata/types.parquet", RowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, row := range got {
		if row.Bad != "" || !json.Valid([]byte(row.Raw)) || row.Raw != row.Fields {
			t.Errorf("row %d: %s, %s", row.Number, row.Raw, row.Bad)
		}
		text.WriteString(row.Raw + "\n")
	}
	if *update {
		if err := os.WriteFile("testdata/types.jsonl", []byte(text.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/types.jsonl")
	if err != nil || text.String() != string(want) {
		t.Errorf("%v, rows\n%swant\n%s", err, text.String(), want)
	}
}

// TestParquetEncodings compares files that hold one table under each page version,
// compression and encoding. The plainest of them is checked against the formulas of
// testdata/make.py.
func TestParquetEncodings(t *testing.T) {
	var want []gotRow
	for _, name := range []string{"v1-none", "v1-rle-gzip", "v2-zstd", "v2-lz4", "v2-snappy", "v1-brotli"} {
		got, _, err := readRows(OS(), "testdata/"+name+".parquet", RowOptions{})
		if err != nil || len(got) != 400 {
			t.Fatalf("%s: %d rows, %v", name, len(got), err)
		}
		if want == nil {
			want = got
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s row %d: %s, want %s", name, i, got[i].Raw, want[i].Raw)
			}
		}
	}
	for i, row := range want {
		var r struct {
			ID         int
			Flag, Must *bool
			Text       *string
			P          float64
		}
		if err := json.Unmarshal([]byte(row.Raw), &r); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("tëxt %d ", i)
		ok := r.ID == i && *r.Must == (i%64 < 40) && r.P == float64(i)/7 && (r.Text == nil) == (i%17 == 0)
		ok = ok && (r.Text == nil || strings.ReplaceAll(*r.Text, text, "") == "")
		if !ok || i%90 >= 45 && (r.Flag == nil || *r.Flag != (i < 200)) {
			t.Errorf("row %d: %s", i, row.Raw)
		}
	}
}

// TestParquetOfDuckDB reads files of DuckDB, which fills packed runs of levels up to 256 values.
func TestParquetOfDuckDB(t *testing.T) {
	for _, name := range []string{"testdata/duckdb-v1.parquet", "testdata/duckdb-v2.parquet"} {
		got, _, err := readRows(OS(), name, RowOptions{})
		if err != nil || len(got) != 311 {
			t.Fatalf("%s: %d rows, %v", name, len(got), err)
		}
		for i, row := range got {
			orNull := func(there bool, text string) string {
				if !there {
					return "null"
				}
				return text
			}
			want := fmt.Sprintf(`{"text":"text %d","n":%s,"b":%s,"c":"c%d","l":%s}`, i, orNull(i%3 != 0, fmt.Sprint(i)),
				orNull(i%5 != 0, fmt.Sprint(i%2 == 0)), i%4, orNull(i%4 != 0, fmt.Sprintf("[%d,null,%d]", i, i+1)))
			if row.Raw != want || row.Bad != "" {
				t.Fatalf("%s row %d: %s %s, want %s", name, i, row.Raw, row.Bad, want)
			}
		}
	}
}

type foreignRow struct {
	ID     int32              `parquet:"id"`
	Name   *string            `parquet:"name,optional,dict"`
	Tags   []string           `parquet:"tags,list"`
	Bare   []int64            `parquet:"bare"`
	Nested []foreignItem      `parquet:"nested"`
	Map    map[string]float64 `parquet:"map"`
	When   time.Time          `parquet:"when,timestamp(microsecond)"`
	UUID   [16]byte           `parquet:"uuid,uuid"`
	Blob   []byte             `parquet:"blob"`
}

type foreignItem struct {
	Role  string  `parquet:"role" json:"role"`
	Inner []int32 `parquet:"inner,list" json:"inner"`
}

func (r foreignRow) json() string {
	list := func(v any) string {
		if reflect.ValueOf(v).Len() == 0 {
			return "[]"
		}
		b, _ := json.Marshal(v)
		return string(b)
	}
	name, nested, m := "null", []string{}, "{}"
	if r.Name != nil {
		name = string(AppendQuote(nil, *r.Name))
	}
	for _, n := range r.Nested {
		nested = append(nested, fmt.Sprintf(`{"role":%s,"inner":%s}`, AppendQuote(nil, n.Role), list(n.Inner)))
	}
	for k, v := range r.Map {
		m = fmt.Sprintf(`{%s:%s}`, AppendQuote(nil, k), appendFloat(nil, v, 64))
	}
	u := r.UUID
	return fmt.Sprintf(`{"id":%d,"name":%s,"tags":%s,"bare":%s,"nested":[%s],"map":%s,"when":"%s","uuid":"%x-%x-%x-%x-%x","blob":%s}`,
		r.ID, name, list(r.Tags), list(r.Bare), strings.Join(nested, ","), m, r.When.UTC().Format("2006-01-02T15:04:05.000000Z"),
		u[:4], u[4:6], u[6:8], u[8:10], u[10:], quotedBase64(r.Blob))
}

func quotedBase64(b []byte) string {
	if len(b) == 0 {
		return `""`
	}
	text, _ := json.Marshal(b)
	return string(text)
}

func randomForeignRow(rng *rand.Rand) foreignRow {
	word := func() string { return strings.Repeat("wörd ", rng.IntN(4)) }
	r := foreignRow{ID: int32(rng.Uint32()), When: time.UnixMicro(rng.Int64N(4e15) - 2e15)}
	if rng.IntN(3) > 0 {
		name := word()
		r.Name = &name
	}
	for range rng.IntN(4) {
		r.Tags = append(r.Tags, word())
		r.Bare = append(r.Bare, int64(rng.Uint64()))
		item := foreignItem{Role: word()}
		for range rng.IntN(3) {
			item.Inner = append(item.Inner, int32(rng.IntN(9)))
		}
		r.Nested = append(r.Nested, item)
	}
	if rng.IntN(2) > 0 {
		r.Map = map[string]float64{word(): rng.NormFloat64()}
	}
	for i := range r.UUID {
		r.UUID[i] = byte(rng.Uint32())
	}
	r.Blob = []byte(word())
	return r
}

// foreignParquet is a file of many pages and row groups in the layouts of parquet-go.
func foreignParquet(t testing.TB, rows []foreignRow, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	options = append(options, parquet.PageBufferSize(2000), parquet.MaxRowsPerRowGroup(170))
	w := parquet.NewGenericWriter[foreignRow](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestParquetForeignRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	rows := make([]foreignRow, 500)
	for i := range rows {
		rows[i] = randomForeignRow(rng)
	}
	for name, options := range map[string][]parquet.WriterOption{
		"snappy":    {parquet.Compression(&parquet.Snappy)},
		"zstd v1":   {parquet.Compression(&parquet.Zstd), parquet.DataPageVersion(1)},
		"lz4":       {parquet.Compression(&parquet.Lz4Raw)},
		"gzip v1":   {parquet.Compression(&parquet.Gzip), parquet.DataPageVersion(1)},
		"plain":     {},
		"delta":     {parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaByteArray), parquet.DefaultEncodingFor(parquet.Int64, &parquet.DeltaBinaryPacked)},
		"delta len": {parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaLengthByteArray)},
	} {
		got, _, err := readRows(OS(), putFile(t, "x.parquet", foreignParquet(t, rows, options...)), RowOptions{})
		if err != nil || len(got) != len(rows) {
			t.Fatalf("%s: %d rows, %v", name, len(got), err)
		}
		for i := range rows {
			if got[i].Raw != rows[i].json() || got[i].Fields != got[i].Raw || got[i].Bad != "" {
				t.Fatalf("%s row %d:\n%s %s, want\n%s", name, i, got[i].Raw, got[i].Bad, rows[i].json())
			}
		}
	}
}

func TestParquetBadText(t *testing.T) {
	type row struct {
		Text string `parquet:"text"`
		Blob []byte `parquet:"blob"`
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []row{{"fine", []byte("ok")}, {"b\xffd", []byte("b\xfe")}, {strings.Repeat("x", 100), nil}}); err != nil {
		t.Fatal(err)
	}
	path := putFile(t, "x.parquet", b.Bytes())
	got, _, err := readRows(OS(), path, RowOptions{RecordBytesMax: 60})
	want := []gotRow{
		{0, `{"text":"fine","blob":"b2s="}`, `{"text":"fine","blob":"b2s="}`, ""},
		{1, "{\"text\":\"b\xffd\",\"blob\":\"Yv4=\"}", "{}", "column text: invalid UTF-8 in a string at byte 1"},
		{2, `{"text":"` + strings.Repeat("x", 51), "{}", "record is over the limit of 60 bytes at byte 60"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	got, _, err = readRows(OS(), path, RowOptions{BinaryAsText: true})
	if err != nil || got[0].Raw != `{"text":"fine","blob":"ok"}` || got[2].Bad != "" {
		t.Errorf("as text: %+v, %v", got, err)
	}
}

// TestParquetDamage checks that truncations, flipped bits and changed bytes give an
// error or rows, and never a panic.
func TestParquetDamage(t *testing.T) {
	data := sampleParquet(t)
	for n := 0; n < len(data); n += 11 {
		checkDamaged(t, data[:n])
	}
	for i := 0; i < len(data); i += 3 {
		flipped := bytes.Clone(data)
		flipped[i] ^= 1 << (i % 8)
		checkDamaged(t, flipped)
	}
	for _, name := range []string{"v1-none", "v1-rle-gzip", "v2-zstd", "v2-lz4", "v2-snappy"} {
		data := readTestdata(t, name+".parquet")
		rng := rand.New(rand.NewPCG(13, 14))
		for range 60 {
			mutant := bytes.Clone(data)
			for range 1 + rng.IntN(3) {
				mutant[rng.IntN(len(mutant))] = byte(rng.Uint32())
			}
			checkDamaged(t, mutant)
		}
	}
}

func TestParquetUnsupported(t *testing.T) {
	plain := readTestdata(t, "v1-none.parquet")
	encrypted := append(bytes.Clone(plain[:len(plain)-4]), "PARE"...)
	legacy := bytes.Clone(readTestdata(t, "v2-lz4.parquet"))
	var footer format.FileMetaData
	raw, err := readFooter(bytes.NewReader(legacy), int64(len(legacy)))
	if err == nil {
		err = thrift.Unmarshal(new(thrift.CompactProtocol), raw, &footer)
	}
	footer.RowGroups[0].Columns[0].MetaData.Codec = format.LZO
	raw, markErr := thrift.Marshal(new(thrift.CompactProtocol), &footer)
	if errors.Join(err, markErr) != nil {
		t.Fatal(err, markErr)
	}
	legacy = append(legacy, raw...)
	legacy = append(binary.LittleEndian.AppendUint32(legacy, uint32(len(raw))), "PAR1"...)
	for want, data := range map[string][]byte{
		"encryption is not supported: write":      encrypted,
		"LZO compression is not supported: write": legacy,
		"of 3 bytes, too short":                   plain[:3],
		"does not start with PAR1":                append([]byte("{}"), plain...),
		"cut short":                               plain[:len(plain)/2],
	} {
		_, _, err := readRows(memFS{OS(), data}, "x.parquet", RowOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "read x.parquet: ") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// memFile is an open file in memory.
type memFile struct{ *bytes.Reader }

func (memFile) Close() error { return nil }

// memFS opens the same bytes under every name.
type memFS struct {
	FS
	data []byte
}

func (m memFS) Open(string) (ReadFile, error) { return memFile{bytes.NewReader(m.data)}, nil }

// checkDamaged reads a file that may be damaged: a decoder's panic would pass
// through, were it not turned into an error; errors must name the file; and memory is
// bounded by the file's size and the worst expansion of one page or two.
func checkDamaged(t *testing.T, data []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, _, err := readRows(memFS{OS(), data}, "x.parquet", RowOptions{})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20+uint64(len(data))<<10 {
		t.Fatalf("reading %d bytes allocates %d: %v", len(data), n, err)
	}
	if err != nil && !strings.Contains(err.Error(), "read x.parquet: ") {
		t.Fatalf("error without the file: %v", err)
	}
	for _, row := range got {
		if row.Bad == "" && Scan([]byte(row.Raw), new(Record)) != nil {
			t.Fatalf("row %d is no JSON: %.200s", row.Number, row.Raw)
		}
	}
}

func FuzzParquet(f *testing.F) {
	f.Add(sampleParquet(f))
	for _, name := range []string{"types", "v1-none", "v1-rle-gzip", "v2-zstd", "v2-lz4", "v2-snappy", "v1-brotli"} {
		f.Add(readTestdata(f, name+".parquet"))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkDamaged(t, data) })
}

func BenchmarkRowsParquet(b *testing.B) {
	var lines []string
	size := 0
	for i := range 20_000 {
		text := strings.Repeat("The quick brown fox jumps over the lazy dog, and so on. ", i%40)
		lines = append(lines, fmt.Sprintf(`{"text":"%d %s","meta":{"url":"https://example.org/%d"}}`, i, text, i))
		size += len(lines[i])
	}
	path := putFile(b, "x.parquet", toParquet(b, sampleSchema, lines))
	b.SetBytes(int64(size))
	for b.Loop() {
		if err := ReadRows(OS(), path, RowOptions{}, func(*Row) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParquetWriter(b *testing.B) {
	var rows [][]Field
	size := 0
	for i := range 5000 {
		text := strings.Repeat("The quick brown fox jumps over the lazy dog, and so on. ", i%40)
		fields := []Field{
			{Key: "text", Value: AppendQuote(nil, fmt.Sprint(i, text))},
			{Key: "meta", Value: fmt.Appendf(nil, `{"url":"https://example.org/%d"}`, i)},
		}
		rows = append(rows, fields)
		size += len(AppendFields(nil, fields))
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		w, err := NewParquetWriter(io.Discard, sampleSchema)
		for i := 0; i < len(rows) && err == nil; i++ {
			err = w.Write(rows[i])
		}
		if err != nil || w.Close() != nil {
			b.Fatal(err)
		}
	}
}
