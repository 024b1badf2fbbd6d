package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// putFile writes a file into a fresh directory and returns its path.
func putFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// compress is data under a compression.
func compress(t testing.TB, data []byte, c Compression, effort Effort) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewCompressor(&b, c, effort)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gotRow is a copy of a row that outlives the next one.
type gotRow struct {
	Number int64
	Raw    string
	Fields string
	Bad    string
}

func readRows(fsys FS, name string, opts RowOptions) ([]gotRow, *Rows, error) {
	rows, err := OpenRows(fsys, name, opts)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var got []gotRow
	var row Row
	for {
		if err := rows.Next(&row); err != nil {
			if again := rows.Next(&row); again != err {
				return got, rows, fmt.Errorf("the error is not final: %v, then %v", err, again)
			}
			if err == io.EOF {
				err = nil
			}
			return got, rows, err
		}
		g := gotRow{Number: row.Number, Raw: string(row.Raw), Fields: string(AppendFields(nil, row.Fields))}
		if row.Bad != nil {
			g.Bad = row.Bad.Error()
		}
		got = append(got, g)
	}
}

const sampleLines = "\ufeff{\"a\": 1, \"b\\n\":\"x\"}\r\n" +
	"\n \t\r\n" +
	"  {\"a\":2} \n" +
	"{\"a\":\n" +
	"not json\n" +
	"{\"a\":NaN}\n" +
	"{\"a\":\"a line that is over the limit of this test\"}\n" +
	"{}\n" +
	"{\"cut\":\"sh"

func sampleRows() []gotRow {
	return []gotRow{
		{0, `{"a": 1, "b\n":"x"}`, `{"a":1,"b\n":"x"}`, ""},
		{3, `{"a":2}`, `{"a":2}`, ""},
		{4, `{"a":`, "{}", "record ends too early at byte 5"},
		{5, "not json", "{}", "record is not an object at byte 0"},
		{6, `{"a":NaN}`, "{}", "expected a value at byte 5"},
		{7, `{"a":"a line that is over the limit of this test"}`, "{}", "record of 50 bytes is over the limit of 40 at byte 40"},
		{8, `{}`, `{}`, ""},
		{9, `{"cut":"sh`, "{}", "record ends too early at byte 10"},
	}
}

func TestRowsJSONL(t *testing.T) {
	for _, name := range []string{"x.jsonl", "x.ndjson", "x.JSON", "x.jsonl.gz", "x.json.zst", "x.ndjson.GZ"} {
		for _, effort := range []Effort{EffortDefault, EffortFastest} {
			data := compress(t, []byte(sampleLines), CompressionOf(name), effort)
			if again := compress(t, []byte(sampleLines), CompressionOf(name), effort); !bytes.Equal(data, again) {
				t.Fatalf("%s: compressing twice gives different bytes", name)
			}
			got, rows, err := readRows(OS(), putFile(t, name, data), RowOptions{RecordBytesMax: 40, Hash: true})
			if err != nil {
				t.Fatal(err)
			}
			if want := sampleRows(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
			}
			if rows.Bytes() != int64(len(data)) || rows.SHA256() != sha256.Sum256(data) {
				t.Errorf("%s: %d bytes with hash %x", name, rows.Bytes(), rows.SHA256())
			}
		}
	}
}

func TestRowsReuseNoMemoryOfEarlierRows(t *testing.T) {
	lines := `{"a":1,"b":2,"c":3}` + "\n" + `{"\u0061":1,"b":2}` + "\n" + `{"b":1,"a\tb":2}` + "\n"
	got, _, err := readRows(OS(), putFile(t, "x.jsonl", []byte(lines)), RowOptions{})
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	rows, err := OpenRows(OS(), putFile(t, "x.jsonl", []byte(lines)), RowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var row Row
	var keys []string
	for rows.Next(&row) == nil {
		for _, f := range row.Fields {
			keys = append(keys, f.Key)
		}
	}
	if want := "a b c a b b a\tb"; strings.Join(keys, " ") != want {
		t.Errorf("keys %q, want %q", keys, want)
	}
}

func TestDamagedCompression(t *testing.T) {
	text := []byte(strings.Repeat(`{"text":"some words to compress, again and again"}`+"\n", 2000))
	for _, name := range []string{"x.jsonl.gz", "x.jsonl.zst"} {
		whole := compress(t, text, CompressionOf(name), EffortDefault)
		flipped := bytes.Clone(whole)
		flipped[len(flipped)/2] ^= 0x40
		for want, data := range map[string][]byte{
			"cut short":      whole[:len(whole)-5],
			"is cut short":   {},
			"not compressed": []byte(`{"a":"not compressed"}` + "\n"),
			"foreign bytes":  append(bytes.Clone(whole), "hello, trailing text"...),
			"the file is":    flipped,
		} {
			path := putFile(t, name, data)
			_, _, err := readRows(OS(), path, RowOptions{})
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: %v", name, want, err)
			}
		}
		twice := append(bytes.Clone(whole), whole...)
		got, _, err := readRows(OS(), putFile(t, name, twice), RowOptions{})
		if err != nil || len(got) != 4000 {
			t.Errorf("%s of two members: %d rows, %v", name, len(got), err)
		}
		var empty bytes.Buffer
		empty.Write(compress(t, nil, CompressionOf(name), EffortDefault))
		if got, _, err := readRows(OS(), putFile(t, name, empty.Bytes()), RowOptions{}); err != nil || len(got) != 0 {
			t.Errorf("%s of nothing: %v, %v", name, got, err)
		}
	}
}

// failingFS opens files whose reads fail after some bytes.
type failingFS struct {
	FS
	after int64
}

type failingFile struct {
	ReadFile
	left int64
}

var errDisk = errors.New("the disk is gone")

func (f failingFS) Open(name string) (ReadFile, error) {
	file, err := f.FS.Open(name)
	return &failingFile{file, f.after}, err
}

func (f *failingFile) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, errDisk
	}
	n, err := f.ReadFile.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

func (f *failingFile) ReadAt(p []byte, off int64) (int, error) {
	if f.left -= int64(len(p)); f.left < 0 {
		return 0, errDisk
	}
	return f.ReadFile.ReadAt(p, off)
}

func TestFailingReads(t *testing.T) {
	text := []byte(strings.Repeat(`{"text":"abc"}`+"\n", 100))
	for _, name := range []string{"x.jsonl", "x.jsonl.gz", "x.jsonl.zst"} {
		path := putFile(t, name, compress(t, text, CompressionOf(name), EffortDefault))
		_, _, err := readRows(failingFS{OS(), 20}, path, RowOptions{})
		if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := putFile(t, "x.parquet", sampleParquet(t))
	_, _, err := readRows(failingFS{OS(), 700}, path, RowOptions{})
	if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), path) {
		t.Errorf("parquet: %v", err)
	}
	if _, err := OpenRows(OS(), "no/such/file.jsonl", RowOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]Format{
		"a.jsonl": {JSONL, Plain}, "a/b.ndjson": {JSONL, Plain}, "a.json.gz": {JSONL, Gzip},
		"A.JSONL.ZST": {JSONL, Zstd}, "x.y.parquet": {Parquet, Plain},
	} {
		if got, err := FormatOf(name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"a", "a.txt", "a.gz", "a.parquet.gz", "jsonl", "a.csv.zst", "a.jsonl.gz.zst"} {
		if got, err := FormatOf(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// readLines gathers a LineReader's lines, with copies of their bytes.
func readLines(r io.Reader, recordBytesMax int64) ([]Line, error) {
	return linesOf(NewLineReader(r, recordBytesMax))
}

func linesOf(l *LineReader) ([]Line, error) {
	var lines []Line
	var line Line
	for {
		if err := l.Next(&line); err == io.EOF {
			return lines, nil
		} else if err != nil {
			return lines, err
		}
		line.Bytes = bytes.Clone(line.Bytes)
		lines = append(lines, line)
	}
}

func checkLines(t *testing.T, text []byte, recordBytesMax int64) {
	t.Helper()
	want := splitLinesSlow(text, recordBytesMax)
	for _, r := range []io.Reader{
		bytes.NewReader(text), iotest.OneByteReader(bytes.NewReader(text)),
		iotest.DataErrReader(bytes.NewReader(text)), iotest.HalfReader(bytes.NewReader(text)),
	} {
		got, err := readLines(r, recordBytesMax)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%.100q with limit %d: %d lines, want %d", text, recordBytesMax, len(got), len(want))
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%.100q with limit %d: line %+v, want %+v", text, recordBytesMax, got[i], want[i])
			}
		}
	}
}

func TestLineReaderEqualsItsTwin(t *testing.T) {
	alphabet := []string{"\n", "\r", " ", "a", "bc", "\r\n", "\ufeff", "{}"}
	var every func(prefix string, depth int)
	every = func(prefix string, depth int) { // every text of up to three pieces
		checkLines(t, []byte(prefix), 2)
		if depth > 0 {
			for _, s := range alphabet {
				every(prefix+s, depth-1)
			}
		}
	}
	every("", 3)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var text []byte
		for range 4 + rng.IntN(6) {
			text = append(text, alphabet[rng.IntN(len(alphabet))]...)
		}
		checkLines(t, text, rng.Int64N(4)+1)
	}
	for range 60 { // long lines around the buffer's, the limit's and the kept part's size
		var text []byte
		for range rng.IntN(4) {
			n := []int{10, tooLongKept, readBufferBytes, 2 * readBufferBytes}[rng.IntN(4)] + rng.IntN(5) - 2
			text = append(append(text, bytes.Repeat([]byte("x"), n)...), []string{"\n", "\r\n", "\n\n", ""}[rng.IntN(4)]...)
		}
		want := splitLinesSlow(text, int64(readBufferBytes))
		got, err := readLines(bytes.NewReader(text), int64(readBufferBytes))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d bytes: %d lines, want %d, %v", len(text), len(got), len(want), err)
		}
	}
}

// endless is a line without end.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	for i := range p[:n] {
		p[i] = 'x'
	}
	e.left -= n
	return int(n), nil
}

func TestLineReaderHoldsNoMoreThanTheLimit(t *testing.T) {
	const limit = 1 << 20
	l := NewLineReader(io.MultiReader(&endless{300 << 20}, strings.NewReader("\n{}\n")), limit)
	var line Line
	if err := l.Next(&line); err != nil || !line.TooLong || line.Length != 300<<20 || len(line.Bytes) != tooLongKept {
		t.Fatalf("%v: %d bytes, %d kept", err, line.Length, len(line.Bytes))
	}
	if cap(l.buf) > limit+readBufferBytes {
		t.Errorf("buffer of %d bytes", cap(l.buf))
	}
	if err := l.Next(&line); err != nil || string(line.Bytes) != "{}" || line.Number != 1 || line.Offset != 300<<20+1 {
		t.Errorf("after it: %+v, %v", line, err)
	}
}

func FuzzLineReader(f *testing.F) {
	f.Add([]byte(sampleLines), int64(40))
	f.Add([]byte("\ufeff\r\n\r\r\n \n\x00"), int64(1))
	f.Fuzz(func(t *testing.T, text []byte, limit int64) {
		checkLines(t, text, 1+limit&0xffff)
	})
}

func TestJSONLWriter(t *testing.T) {
	var b bytes.Buffer
	w := NewJSONLWriter(&b)
	err := errors.Join(
		w.Write([]Field{{Key: "a\n", Value: []byte("1")}, {Key: "b", Value: []byte(`"x"`), RawKey: []byte(`"\u0062"`)}}),
		w.Write(nil), w.WriteRaw([]byte(`{"c": 3}`)), w.Close())
	if want := `{"a\n":1,"\u0062":"x"}` + "\n{}\n" + `{"c": 3}` + "\n"; err != nil || b.String() != want {
		t.Errorf("%q, %v", b.String(), err)
	}
	if w.Write([]Field{{Key: "a", Value: []byte("[1,\n2]")}}) == nil || w.WriteRaw([]byte("{\n}")) == nil {
		t.Error("a line break inside a record is accepted")
	}
	broken := NewJSONLWriter(failingWriter{})
	if err := errors.Join(broken.Write(nil), broken.Close()); !errors.Is(err, errDisk) {
		t.Errorf("a failing disk: %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errDisk }

func TestReadRows(t *testing.T) {
	path := putFile(t, "x.jsonl", []byte("{\"a\":1}\n{\"a\":2}\n"))
	n := 0
	err := ReadRows(OS(), path, RowOptions{}, func(row *Row) error {
		n++
		if row.Number == 1 {
			return errDisk
		}
		return nil
	})
	if n != 2 || !errors.Is(err, errDisk) || !strings.Contains(err.Error(), path+" row 1") {
		t.Errorf("%d rows, %v", n, err)
	}
}

func BenchmarkRowsJSONL(b *testing.B) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, and so on. ", 20)
	line := fmt.Sprintf(`{"id":"doc-000017","text":%s,"meta":{"url":"https://example.org/a"}}`+"\n", AppendQuote(nil, text))
	path := putFile(b, "x.jsonl", []byte(strings.Repeat(line, 50_000)))
	b.SetBytes(int64(len(line)) * 50_000)
	for b.Loop() {
		if err := ReadRows(OS(), path, RowOptions{}, func(*Row) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
