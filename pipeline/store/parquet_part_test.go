package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

func randomForeignRows(n int) []foreignRow {
	rng := rand.New(rand.NewPCG(21, 22))
	rows := make([]foreignRow, n)
	for i := range rows {
		rows[i] = randomForeignRow(rng)
	}
	return rows
}

func TestParquetGroups(t *testing.T) {
	data := foreignParquet(t, randomForeignRows(500))
	groups, err := ParquetGroups(memFS{OS(), data}, "x.parquet")
	if err != nil || len(groups) != 3 {
		t.Fatalf("%v, %v", groups, err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{170, 170, 160} {
		if groups[i].Rows != want || groups[i].Bytes != file.Metadata().RowGroups[i].TotalByteSize || groups[i].Bytes == 0 {
			t.Errorf("group %d: %+v", i, groups[i])
		}
	}
	if _, err := ParquetGroups(memFS{OS(), data[:len(data)-9]}, "x.parquet"); err == nil || !strings.Contains(err.Error(), "x.parquet") {
		t.Errorf("cut short: %v", err)
	}
	if _, err := ParquetGroups(OS(), t.TempDir()+"/none.parquet"); err == nil {
		t.Error("a file that is not there has row groups")
	}
}

// TestParquetRowGroups checks that every cut of a file into ranges of row groups gives
// the rows of the whole, with their numbers.
func TestParquetRowGroups(t *testing.T) {
	fsys := memFS{OS(), foreignParquet(t, randomForeignRows(500))}
	whole, _, err := readRows(fsys, "x.parquet", RowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from <= 3; from++ {
		for to := from; to <= 3; to++ {
			if to == 0 {
				continue // zero stands for all
			}
			got, rows, err := readRows(fsys, "x.parquet", RowOptions{RowGroups: [2]int{from, to}})
			if err != nil || rows.SHA256() != [32]byte{} || rows.Bytes() != 0 {
				t.Fatalf("%d to %d: %v", from, to, err)
			}
			groups, err := ParquetGroups(fsys, "x.parquet")
			if err != nil {
				t.Fatal(err)
			}
			at, n := int64(0), int64(0)
			for i, g := range groups[:to] {
				if i < from {
					at += g.Rows
				} else {
					n += g.Rows
				}
			}
			if int64(len(got)) != n {
				t.Fatalf("%d to %d: %d rows, want %d", from, to, len(got), n)
			}
			for i, row := range got {
				if row != whole[at+int64(i)] || row.Number != at+int64(i) {
					t.Fatalf("%d to %d: row %d differs", from, to, i)
				}
			}
		}
	}
}

func TestParquetColumns(t *testing.T) {
	rows := randomForeignRows(500)
	fsys := memFS{OS(), foreignParquet(t, rows)}
	whole, _, err := readRows(fsys, "x.parquet", RowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"id", "name", "tags", "bare", "nested", "map", "when", "uuid", "blob"}
	for bits := 1; bits < 1<<len(names); bits += 7 {
		var keep []string
		for i := len(names) - 1; i >= 0; i-- {
			if bits>>i&1 != 0 {
				keep = append(keep, names[i], names[i]) // neither order nor repeats matter
			}
		}
		got, _, err := readRows(fsys, "x.parquet", RowOptions{Columns: keep})
		if err != nil || len(got) != len(whole) {
			t.Fatalf("%v: %d rows, %v", keep, len(got), err)
		}
		for i := range got {
			if want := onlyFields(t, whole[i].Raw, keep); got[i].Raw != want || got[i].Fields != want {
				t.Fatalf("%v row %d: %s, want %s", keep, i, got[i].Raw, want)
			}
		}
	}
}

// onlyFields returns a record without the fields that are not to be kept.
func onlyFields(t *testing.T, raw string, keep []string) string {
	t.Helper()
	var rec Record
	if err := Scan([]byte(raw), &rec); err != nil {
		t.Fatal(err)
	}
	var out []Field
	for _, f := range new(keyTable).fields(nil, rec.Fields) {
		if strings.Contains(" "+strings.Join(keep, " ")+" ", " "+f.Key+" ") {
			out = append(out, f)
		}
	}
	return string(AppendFields(nil, out))
}

// touchFS is a file in memory that counts how often each of its bytes is read.
type touchFS struct {
	FS
	data  []byte
	reads []int
}

type touchFile struct {
	*bytes.Reader
	fs *touchFS
}

func (f touchFile) Close() error { return nil }

func (f touchFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.Reader.ReadAt(p, at)
	for i := range n {
		f.fs.reads[at+int64(i)]++
	}
	return n, err
}

func (f *touchFS) Open(string) (ReadFile, error) { return touchFile{bytes.NewReader(f.data), f}, nil }

// TestParquetColumnsAreAllThatIsRead checks that no byte of another column or row group
// is read, by reading a file in which they are all damaged.
func TestParquetColumnsAreAllThatIsRead(t *testing.T) {
	data := foreignParquet(t, randomForeignRows(500))
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	opts := RowOptions{Columns: []string{"nested", "id"}, RowGroups: [2]int{1, 2}}
	want, _, err := readRows(memFS{OS(), data}, "x.parquet", opts)
	if err != nil || len(want) != 170 {
		t.Fatalf("%d rows, %v", len(want), err)
	}
	fsys := &touchFS{OS(), data, make([]int, len(data))}
	if got, _, err := readRows(fsys, "x.parquet", opts); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	for g, group := range file.Metadata().RowGroups {
		for c := range group.Columns {
			m := &group.Columns[c].MetaData
			asked := g == 1 && (m.PathInSchema[0] == "nested" || m.PathInSchema[0] == "id")
			for at := chunkStart(m); at < chunkStart(m)+m.TotalCompressedSize; at++ {
				if (fsys.reads[at] > 0) != asked {
					t.Fatalf("group %d, column %v: byte %d is read %d times", g, m.PathInSchema, at, fsys.reads[at])
				}
			}
		}
	}
}

func TestParquetColumnsOfOwnFiles(t *testing.T) {
	fsys := memFS{OS(), sampleParquet(t)}
	for _, keep := range [][]string{{"text"}, {"n", "extra"}, {"extra"}, {"messages", "text"}} {
		got, _, err := readRows(fsys, "x.parquet", RowOptions{Columns: keep})
		if err != nil || len(got) != len(exactLines) {
			t.Fatalf("%v: %d rows, %v", keep, len(got), err)
		}
	}
	got, _, err := readRows(fsys, "x.parquet", RowOptions{Columns: []string{"text"}})
	if err != nil || got[0].Raw != `{"text":"plain"}` || got[1].Raw != `{}` || got[4].Raw != `{}` {
		t.Errorf("text only: %+v, %v", got, err)
	}
	got, _, err = readRows(fsys, "x.parquet", RowOptions{Columns: []string{"n", "extra"}})
	if err != nil || got[0].Raw != `{"n":7}` || !strings.Contains(got[7].Raw, `"\u00e9x":2`) {
		t.Errorf("n and extra: %+v, %v", got, err)
	}
}

func TestPartsThatAreNotThere(t *testing.T) {
	fsys := memFS{OS(), foreignParquet(t, randomForeignRows(5))}
	for want, opts := range map[string]RowOptions{
		`x.parquet: there is no column "text"; the file has "id", "name", "tags", "bare", "nested", "map", "when", "uuid", "blob"`: {Columns: []string{"id", "text"}},
		`x.parquet: there is no column "nested.role"; the file has`:                                                                {Columns: []string{"nested.role"}},
		`x.parquet: row groups 0 to 2 of a file that has 1`:                                                                        {RowGroups: [2]int{0, 2}},
		`x.parquet: row groups 1 to 0 of a file that has 1`:                                                                        {RowGroups: [2]int{1, 0}},
		`x.parquet: row groups -1 to 1 of a file that has 1`:                                                                       {RowGroups: [2]int{-1, 1}},
	} {
		_, _, err := readRows(fsys, "x.parquet", opts)
		var part *PartError
		if !errors.As(err, &part) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestJSONLColumns(t *testing.T) {
	lines := "{\"b\":1,\"text\":\"x\",\"\\u0061\":[2]}\n{\"text\":null}\n{\"a\":3,\"c\":4}\n{bad\n{\"text\":\"y\",\"b\":1,\"a\":5}\n"
	got, _, err := readRows(OS(), putFile(t, "x.jsonl", []byte(lines)), RowOptions{Columns: []string{"text", "a"}})
	want := []string{`{"text":"x","\u0061":[2]}`, `{"text":null}`, `{"a":3}`, `{}`, `{"text":"y","a":5}`}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range want {
		if got[i].Fields != want[i] || got[i].Number != int64(i) || (got[i].Bad != "") != (i == 3) {
			t.Errorf("row %d: %s %s, want %s", i, got[i].Fields, got[i].Bad, want[i])
		}
	}
}
