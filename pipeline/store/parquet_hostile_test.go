package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// refooted replaces a file's footer by what edit makes of it.
func refooted(t testing.TB, data []byte, edit func(*format.FileMetaData)) []byte {
	t.Helper()
	raw, err := readFooter(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var meta format.FileMetaData
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), raw, &meta); err != nil {
		t.Fatal(err)
	}
	edit(&meta)
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	if err != nil {
		t.Fatal(err)
	}
	return withFooter(data[:len(data)-8-len(raw)], footer)
}

func withFooter(body, footer []byte) []byte {
	out := append(bytes.Clone(body), footer...)
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(footer))), "PAR1"...)
}

// rehead replaces the header of a page, the first of a column or the one after it, and
// moves the footer's idea of what follows.
func rehead(t testing.TB, data []byte, column, page int, edit func(*format.PageHeader)) []byte {
	t.Helper()
	var out []byte
	grown := int64(0)
	whole := refooted(t, data, func(meta *format.FileMetaData) {
		m := &meta.RowGroups[0].Columns[column].MetaData
		at := chunkStart(m)
		for ; ; page-- {
			h, err := parsePageHeader(data[at:])
			if err != nil {
				t.Fatal(err)
			}
			if page > 0 {
				at += int64(h.length) + h.compressed
				continue
			}
			var header format.PageHeader
			if err := thrift.Unmarshal(new(thrift.CompactProtocol), data[at:at+int64(h.length)], &header); err != nil {
				t.Fatal(err)
			}
			edit(&header)
			raw, err := thrift.Marshal(new(thrift.CompactProtocol), &header)
			if err != nil {
				t.Fatal(err)
			}
			out = append(append(bytes.Clone(data[:at]), raw...), data[at+int64(h.length):]...)
			grown = int64(len(raw) - h.length)
			break
		}
		m.TotalCompressedSize += grown
		for g := range meta.RowGroups {
			for c := range meta.RowGroups[g].Columns {
				m := &meta.RowGroups[g].Columns[c].MetaData
				for _, offset := range []*int64{&m.DataPageOffset, &m.DictionaryPageOffset} {
					if *offset > at {
						*offset += grown
					}
				}
			}
		}
	})
	footer := int(binary.LittleEndian.Uint32(whole[len(whole)-8:]))
	old := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	return withFooter(out[:len(out)-8-old], whole[len(whole)-8-footer:len(whole)-8])
}

// readBounded reads a file and fails the test if that allocates more than a fixed amount
// and some times the file.
func readBounded(t *testing.T, what string, data []byte, limit uint64) ([]gotRow, error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, _, err := readRows(memFS{OS(), data}, "x.parquet", RowOptions{})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > limit {
		t.Errorf("%s: reading %d bytes allocates %d: %v", what, len(data), n, err)
	}
	return got, err
}

type hostileRow struct {
	Text string  `parquet:"text,dict"`
	N    int64   `parquet:"n,plain"`
	Tags []int32 `parquet:"tags,list"`
}

func hostileFile(t testing.TB) []byte {
	t.Helper()
	rows := make([]hostileRow, 300)
	for i := range rows {
		rows[i] = hostileRow{fmt.Sprint("text ", i%7), int64(i), []int32{1, int32(i)}}
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, rows, parquet.Compression(&parquet.Zstd)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestParquetDeclaresTooMuch edits footers and page headers so that they declare far more
// than is there. Each is an error that names file, row group and column, at a small price.
func TestParquetDeclaresTooMuch(t *testing.T) {
	data := hostileFile(t)
	if got, err := readBounded(t, "as it is", data, 32<<20); err != nil || len(got) != 300 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	const huge = 1<<31 - 1
	column := func(c int, edit func(m *format.ColumnMetaData)) []byte {
		return refooted(t, data, func(meta *format.FileMetaData) { edit(&meta.RowGroups[0].Columns[c].MetaData) })
	}
	for what, c := range map[string]struct {
		data []byte
		want string
	}{
		"dictionary of 2 GiB": {rehead(t, data, 0, 0, func(h *format.PageHeader) { h.UncompressedPageSize = huge }),
			`row group 0, column "text": page at byte`},
		"dictionary of 2 G values": {rehead(t, data, 0, 0, func(h *format.PageHeader) { h.DictionaryPageHeader.V.NumValues = huge }),
			`row group 0, column "text": page at byte`},
		"page of 2 G values": {rehead(t, data, 1, 0, func(h *format.PageHeader) { h.DataPageHeaderV2.V.NumValues = huge }),
			`row group 0, column "n": page at byte`},
		"page of 2 GiB": {rehead(t, data, 1, 0, func(h *format.PageHeader) { h.UncompressedPageSize = huge }),
			`row group 0, column "n": page at byte`},
		"page that takes 2 GiB": {rehead(t, data, 0, 1, func(h *format.PageHeader) { h.CompressedPageSize = huge }),
			`row group 0, column "text": page at byte`},
		"levels of 2 GiB": {rehead(t, data, 2, 0, func(h *format.PageHeader) { h.DataPageHeaderV2.V.RepetitionLevelsByteLength = huge }),
			`row group 0, column "tags.list.element": page at byte`},
		"negative sizes": {rehead(t, data, 1, 0, func(h *format.PageHeader) { h.UncompressedPageSize = -1 }), `column "n": page at byte`},
		"chunk of 2^60 values": {column(1, func(m *format.ColumnMetaData) { m.NumValues = 1 << 60 }),
			`row group 0, column "n": pages hold 300 values`},
		"chunk of fewer values": {column(0, func(m *format.ColumnMetaData) { m.NumValues = 7 }), `column "text": page at byte`},
		"chunk of 2^60 bytes":   {column(0, func(m *format.ColumnMetaData) { m.TotalUncompressedSize = 1 << 60 }), "row group 0, column 0"},
		"chunk beyond the end":  {column(0, func(m *format.ColumnMetaData) { m.TotalCompressedSize = 1 << 40 }), "row group 0, column 0"},
		"2^60 rows": {refooted(t, data, func(meta *format.FileMetaData) { meta.RowGroups[0].NumRows = 1 << 60 }),
			"row group 0 has"},
		"more rows than values": {refooted(t, data, func(meta *format.FileMetaData) {
			meta.RowGroups[0].NumRows, meta.NumRows = 1<<30, 1<<30
		}), "row 300"},
		"wrong type": {refooted(t, data, func(meta *format.FileMetaData) { meta.Schema[2].Type.V = format.ByteArray }), `column "n"`},
	} {
		_, err := readBounded(t, what, c.data, 64<<20)
		if err == nil || !strings.HasPrefix(err.Error(), "read x.parquet: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

// TestParquetFootersThatGrow has footers of few bytes that stand for many structures.
func TestParquetFootersThatGrow(t *testing.T) {
	data := hostileFile(t)
	deep := func(n int) []byte {
		return refooted(t, data, func(meta *format.FileMetaData) {
			root := meta.Schema[0]
			root.NumChildren.V = 1
			schema := []format.SchemaElement{root}
			for range n {
				group := meta.Schema[3]
				group.NumChildren = thrift.New(int32(1))
				schema = append(schema, group)
			}
			meta.Schema = append(schema, meta.Schema[2])
			meta.RowGroups[0].Columns = meta.RowGroups[0].Columns[:1]
		})
	}
	wide := refooted(t, data, func(meta *format.FileMetaData) {
		n := parquetLeavesMax + 1
		leaf := meta.Schema[2]
		meta.Schema = meta.Schema[:1]
		meta.Schema[0].NumChildren.V = int32(n)
		for i := range n {
			leaf.Name = fmt.Sprint(i)
			meta.Schema = append(meta.Schema, leaf)
		}
		meta.RowGroups = nil
	})
	// A list of a million column chunks of a byte each, in a row group of the footer.
	chunks := append([]byte{0x15, 2, 0x19, 0x2c, 0x48, 1, 'r', 0x15, 2, 0, 0x15, 2, 0x48, 1, 'x', 0, 0x16, 0, 0x19, 0x1c, 0x19, 0xfc},
		binary.AppendUvarint(nil, 1<<20)...)
	chunks = append(chunks, make([]byte, 1<<20)...)
	chunks = append(chunks, 0x16, 0, 0x16, 0, 0, 0)
	for what, c := range map[string]struct {
		data []byte
		want string
	}{
		"nested 99 deep":   {deep(99), ""},
		"nested 5000 deep": {deep(5000), "nests deeper than 100"},
		"wide":             {wide, "more than 32768 columns"},
		"tiny chunks":      {withFooter([]byte("PAR1"), chunks), "no Thrift"},
		"long footer":      {append(binary.LittleEndian.AppendUint32([]byte("PAR1xxxx"), 1<<32-1), "PAR1"...), "over the limit"},
	} {
		_, err := readBounded(t, what, c.data, 128<<20)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

func TestParquetInt96(t *testing.T) {
	var b bytes.Buffer
	type row struct {
		T deprecated.Int96 `parquet:"t"`
	}
	// 2024-01-01 is Julian day 2460311; and one nanosecond before 1970.
	rows := []row{{deprecated.Int96{5, 0, 2460311}}, {deprecated.Int96{0x914effff, 0x4e94, 2440587}}}
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	got, _, err := readRows(memFS{OS(), b.Bytes()}, "x.parquet", RowOptions{})
	if err != nil || len(got) != 2 || got[0].Raw != `{"t":"2024-01-01T00:00:00.000000005"}` ||
		got[1].Raw != `{"t":"1969-12-31T23:59:59.999999999"}` {
		t.Errorf("%+v, %v", got, err)
	}
}

// mutate changes a few bytes of a file, in its footer or in the header of a page.
func mutate(t testing.TB, data []byte, footer bool, seed uint64) []byte {
	t.Helper()
	out := bytes.Clone(data)
	rng := rand.New(rand.NewPCG(seed, 5))
	raw, err := readFooter(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	from, n := len(data)-8-len(raw), len(raw)
	if !footer {
		var meta format.FileMetaData
		if err := thrift.Unmarshal(new(thrift.CompactProtocol), raw, &meta); err != nil {
			t.Fatal(err)
		}
		group := &meta.RowGroups[rng.IntN(len(meta.RowGroups))]
		m := &group.Columns[rng.IntN(len(group.Columns))].MetaData
		from, n = int(chunkStart(m)), 40
	}
	for range 1 + rng.IntN(3) {
		at := from + rng.IntN(min(n, len(out)-from))
		if rng.IntN(2) == 0 {
			out[at] ^= 1 << rng.IntN(8)
		} else {
			out[at] = byte(rng.Uint32())
		}
	}
	return out
}

// FuzzParquetParts mutates whole files where it matters most: in footers and headers of pages.
func FuzzParquetParts(f *testing.F) {
	files := [][]byte{sampleParquet(f), hostileFile(f)}
	for _, name := range []string{"types", "v1-none", "v1-rle-gzip", "v2-zstd", "v2-lz4", "v2-snappy", "v1-brotli"} {
		files = append(files, readTestdata(f, name+".parquet"))
	}
	for i := range files {
		f.Add(uint8(i), true, uint64(i))
		f.Add(uint8(i), false, uint64(i))
	}
	f.Fuzz(func(t *testing.T, file uint8, footer bool, seed uint64) {
		checkDamaged(t, mutate(t, files[int(file)%len(files)], footer, seed))
	})
}

// TestParquetMutants is the fuzz target on many seeds.
func TestParquetMutants(t *testing.T) {
	for _, name := range []string{"types", "v1-rle-gzip", "v2-snappy"} {
		data := readTestdata(t, name+".parquet")
		for seed := range uint64(150) {
			checkDamaged(t, mutate(t, data, seed%2 == 0, seed))
		}
	}
}

// TestPanicNamesItsPlace lets the decoder panic, as the library does on damage that nobody
// has thought of.
func TestPanicNamesItsPlace(t *testing.T) {
	rows, err := OpenRows(memFS{OS(), hostileFile(t)}, "x.parquet", RowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	p := rows.source.(*parquetRows)
	p.columns[1].leaf = func(*rowEncoder, []byte, parquet.Value) []byte { panic(errors.New("no")) }
	want := `read x.parquet: the file is damaged or no Parquet (row 0, column "n": decoder failed: no): fetch it again`
	if err := rows.Next(new(Row)); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// repeatedText is a file of one row whose list has the same long text n times, of which the
// dictionary has one.
func repeatedText(t testing.TB, text string, n int) []byte {
	t.Helper()
	type row struct {
		Tags []string          `parquet:"tags,list,dict"`
		Map  map[string]string `parquet:"map" parquet-value:",dict"`
		Text string            `parquet:"text,dict"`
	}
	tags := make([]string, n)
	for i := range tags {
		tags[i] = text
	}
	var b bytes.Buffer
	rows := []row{{Tags: tags, Text: "a"}, {Text: "b"}, {Map: map[string]string{text: text, "k": text}, Text: "c"}, {Text: text}}
	if err := parquet.Write(&b, rows, parquet.Compression(&parquet.Zstd)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestParquetRowsThatGrow reads rows that a dictionary makes far longer than their file: those over the limit are
// malformed, and cost about as much as the limit.
func TestParquetRowsThatGrow(t *testing.T) {
	data := repeatedText(t, strings.Repeat("long ", 20_000), 4000) // 400 MB as JSON
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, _, err := readRows(memFS{OS(), data}, "x.parquet", RowOptions{RecordBytesMax: 150_000})
	runtime.ReadMemStats(&after)
	if err != nil || len(got) != 4 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("reading %d bytes allocates %d", len(data), n)
	}
	for i, want := range []string{"over the limit of 150000", "", "over the limit of 150000", ""} {
		if (want == "") != (got[i].Bad == "") || !strings.Contains(got[i].Bad, want) || want != "" && len(got[i].Raw) != tooLongKept {
			t.Errorf("row %d: %q, %d bytes, want %q", i, got[i].Bad, len(got[i].Raw), want)
		}
	}
}

// TestParquetRowsOfManyValues writes a list of which levels in runs make far more values than the file has bytes.
func TestParquetRowsOfManyValues(t *testing.T) {
	for what, options := range map[string][]parquet.WriterOption{
		"version 1": {parquet.DataPageVersion(1)}, "version 2": {parquet.DataPageVersion(2)},
		"small pages": {parquet.PageBufferSize(1 << 10)},
	} {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[hostileRow](&b, append(options, parquet.Compression(&parquet.Zstd))...)
		for _, n := range []int{1, 5001, 0, 5002, 1} {
			if _, err := w.Write([]hostileRow{{Tags: make([]int32, n)}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, _, err := readRows(memFS{OS(), b.Bytes()}, "x.parquet", RowOptions{RecordBytesMax: 10_002})
		if err != nil || len(got) != 5 || got[1].Bad == "" || got[0].Bad != "" {
			t.Errorf("%s: %d rows, %v: all are below the limit of values", what, len(got), err)
		}
		_, _, err = readRows(memFS{OS(), b.Bytes()}, "x.parquet", RowOptions{RecordBytesMax: 10_001})
		if err == nil || !strings.Contains(err.Error(), `row group 0, column "tags.list.element"`) ||
			!strings.Contains(err.Error(), "a row of more than 5001 values is not supported") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// pageOfZeros is a page of one run of indexes into a dictionary.
func pageOfZeros(t testing.TB, n int64) []byte {
	t.Helper()
	body := append(binary.AppendUvarint([]byte{1}, uint64(n)<<1), 0)
	head := format.PageHeader{UncompressedPageSize: int32(len(body)), CompressedPageSize: int32(len(body)),
		DataPageHeader: thrift.New(format.DataPageHeader{NumValues: int32(n), Encoding: format.RLEDictionary})}
	data, err := thrift.Marshal(new(thrift.CompactProtocol), &head)
	if err != nil {
		t.Fatal(err)
	}
	return append(data, body...)
}

// TestParquetManyWidePages reads a file each of whose columns is small and declares what it has, but all together
// would take far more than any machine has.
func TestParquetManyWidePages(t *testing.T) {
	unpack := &unpacker{}
	data := pageOfZeros(t, parquetPageValuesMax)
	chunk := chunkInfo{end: int64(len(data)), uncompressed: int64(len(data)), values: parquetPageValuesMax, physical: format.Int32}
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		err = newPageStream(bytes.NewReader(data), chunk, unpack).nextPage()
	}
	if err == nil || !strings.Contains(err.Error(), "more than 4 GiB in the pages of one moment is not supported") {
		t.Error(err)
	}
	if unpack.held > parquetHeldMax+laidOutBytes*parquetPageValuesMax+int64(len(data)) {
		t.Errorf("%d bytes were let in", unpack.held)
	}
}
