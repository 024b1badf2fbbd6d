package stages

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages/shuffle"
)

// Export is the configuration of the export stage.
type Export struct {
	To            string            `yaml:"to" doc:"Where the files appear: out/NAME, below the work directory; or s3://BUCKET/PREFIX/NAME, uploaded from out/NAME by a stage publish that is added."`
	Format        string            `yaml:"format" enum:"parquet|jsonl|jsonl.gz|jsonl.zst" doc:"How the files are written."`
	ShardBytesMax pipeline.Bytes    `yaml:"shard_bytes_max" min:"64KiB" doc:"About the most text in one file."`
	Columns       map[string]string `yaml:"columns" enum:"string|int64|float64|bool|timestamp|list<string>|list<int64>|list<float64>|list<bool>" doc:"Fields that get columns of their own in Parquet files, and their types, such as {score: float64}."`
	Multiple      int               `yaml:"files_multiple" min:"1" max:"1000" doc:"The number of files is a multiple of this, so that a loader that splits data by file over so many nodes does."`
}

func exportSpec() pipeline.Spec[Export] {
	return pipeline.Spec[Export]{
		Name: "export", Version: 3,
		Summary: "Writes the documents as a data set, in seeded order.",
		Doc: code(`
The files are ‹data/train-00000-of-000NN› below ‹to›, as Hugging Face's ‹load_dataset› finds them without
further instructions. Parquet files have the columns ‹text›, ‹messages› if the input has conversations,
whatever fields these came from, those of ‹columns›, sorted by name, and ‹extra›, a JSON object of all other
fields, byte for byte. JSONL files have the fields as they came, and ‹text› if it was made of a template or
of messages. A field of a record that would have to give way goes on as ‹text_original› or
‹messages_original›. The order is a seeded shuffle of all documents; memory bounds it no more than disk does.

A value that does not fit the type of its column is null there and in ‹extra› as it came; the report counts
them. An ‹int64› is a number without fraction or exponent, a ‹float64› any number, a ‹timestamp› a text by
RFC 3339, kept to the microsecond in UTC; elements of lists may be null. A value that its column rounds, a
time with an offset, which no column of times keeps, or a value that is spelled as no common program does is
in both. So Parquet that is read back as JSONL gives every
value byte for byte and in its place; only spaces between fields are lost, which ‹extra› uses to say in
which place and spelling a field of a column stood.

Parquet files have row groups of 128 MiB and pages of 1 MiB before compression with zstd, and page indexes.`),
		Example: `
export:
  to: out/data
  format: parquet
  shard_bytes_max: 512MiB`,
		Takes:   documentsOnly,
		Makes:   []pipeline.Data{pipeline.Dataset},
		Default: Export{To: "out/data", Format: "parquet", ShardBytesMax: 512 << 20, Multiple: 10},
		New:     func(c Export) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check keeps outputs where outputs belong.
func (c *Export) Check(at *pipeline.Fields) {
	if l, err := store.ParseLocation(c.To); store.IsRemote(c.To) && (err != nil || l.Scheme != "s3" || l.Path == "") {
		at.Errorf("to", "must be out/NAME, below the work directory, or s3://BUCKET/PREFIX/NAME")
	} else if dir, name := path.Split(c.link()); dir != "out/" || name == "" || path.Clean(c.link()) != c.link() {
		at.Errorf("to", "must be out/NAME, below the work directory")
	}
	if len(c.Columns) > 0 && c.Format != "parquet" {
		at.Errorf("columns", "is for format: parquet; %s keeps each field as it came", c.Format)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		if name == "text" || name == "messages" || name == "extra" || name == "" {
			at.Errorf("columns", "%q is no name for a column of columns; text, messages and extra are always columns", name)
		}
	}
}

// link is where the files appear in the work directory.
func (c Export) link() string {
	if store.IsRemote(c.To) {
		return path.Join("out", path.Base(c.To))
	}
	return c.To
}

func (c Export) program() pipeline.Program {
	return pipeline.Program{Run: c.run, WriteShare: c.writeShare(), Links: []pipeline.Link{{Name: c.link(), From: "set"}}}
}

// writeShare estimates what is written for a byte of text: documents wait for their turn in
// plain scratch files, some fifth longer than their text; what is compressed shrinks to a third.
func (c Export) writeShare() float64 {
	if c.Format == "jsonl" {
		return 2.4
	}
	return 1.5
}

// The share of the run's memory that the stage uses: an eighth holds documents that are
// not in files yet; buckets of documents are sorted in another eighth, two for each worker.
const (
	bufferShare     = 8
	bucketShare     = 16
	bucketBytesMax  = 64 << 20
	bucketBytesMin  = 1 << 20
	rowGroupBytes   = 192 << 20 // what writing a Parquet file may take
	orderFolderName = "order"
)

// exporter is one execution of the stage.
type exporter struct {
	Export
	t    *pipeline.Task
	set  *shuffle.Set
	mu   sync.Mutex
	text int64 // bytes of all documents
	// messages says that some document has any.
	messages bool
	misfits  map[string]int64 // values that the columns could not hold
}

func (c Export) run(ctx context.Context, t *pipeline.Task) error {
	dir, err := t.MakeScratch()
	if err != nil {
		return err
	}
	workers := max(1, t.Workers)
	e := &exporter{Export: c, t: t, misfits: map[string]int64{}, set: shuffle.New(shuffle.Options{
		FS: t.FS, Dir: filepath.Join(dir, orderFolderName), BufferBytes: t.MemoryBytes / bufferShare,
		BucketBytes: min(max(t.MemoryBytes/bucketShare/int64(workers), bucketBytesMin), bucketBytesMax),
	})}
	if err := parallel(ctx, workers, t.ShardCount(), e.gather); err != nil {
		return err
	}
	files := max(1, int((e.text+int64(c.ShardBytesMax)-1)/int64(c.ShardBytesMax)))
	files = (files + c.Multiple - 1) / c.Multiple * c.Multiple
	documents, err := e.set.Cut(files)
	if err != nil {
		return err
	}
	if c.Format == "parquet" {
		workers = min(workers, max(1, int(t.MemoryBytes/rowGroupBytes)))
	}
	var done atomic.Int64
	err = parallel(ctx, workers, files, func(ctx context.Context, i int) error {
		name := fmt.Sprintf("set/data/train-%05d-of-%05d.%s", i, files, c.Format)
		err := t.WriteFile(name, func(w io.Writer) error { return e.write(ctx, w, i) })
		t.Progress(float64(done.Add(1)), float64(files), "files")
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(e.misfits)) {
		t.Note("column %s: %d values do not fit %s; they are null there, and in extra as they came",
			name, e.misfits[name], c.Columns[name])
	}
	t.Figure("exported", "%d documents, %d bytes of text, %d files at %s", documents, e.text, files, c.link())
	return nil
}

// gather adds the documents of one shard to the set.
func (e *exporter) gather(ctx context.Context, shard int) error {
	text, messages, order := int64(0), false, e.t.Seed("order")
	var buf []byte
	err := e.t.EachRecord(ctx, shard, func(d *pipeline.Doc) error {
		messages = messages || d.Messages != nil
		fields := d.ExportFields()
		if e.Format == "parquet" {
			fields = d.ColumnFields()
		}
		buf = appendExported(buf[:0], fields)
		for i := range d.Copies {
			key := pipeline.HashID(order, strconv.Itoa(i), d.Source, d.Path, d.Ref.Record)
			if err := e.set.Add(shuffle.Record{Key: key, Shard: d.Ref.Shard, Row: d.Ref.Record, Payload: buf}); err != nil {
				return err
			}
			text += int64(d.TextBytes())
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text, e.messages = e.text+text, e.messages || messages
	return err
}

// appendExported appends the fields of a document as they stand in the set: for each its
// key, raw key and value, each with its length before it.
func appendExported(dst []byte, fields []store.Field) []byte {
	for _, f := range fields {
		dst = append(binary.AppendUvarint(dst, uint64(len(f.Key))), f.Key...)
		dst = append(binary.AppendUvarint(dst, uint64(len(f.RawKey))), f.RawKey...)
		dst = append(binary.AppendUvarint(dst, uint64(len(f.Value))), f.Value...)
	}
	return dst
}

// exportedFields appends the fields of a payload to dst; they point into it.
func exportedFields(dst []store.Field, payload []byte) ([]store.Field, error) {
	cut := func() []byte {
		n, k := binary.Uvarint(payload)
		if k <= 0 || n > uint64(len(payload)-k) {
			payload = nil
			return nil
		}
		b := payload[k : k+int(n)]
		payload = payload[k+int(n):]
		return b
	}
	for len(payload) > 0 {
		key, raw, value := cut(), cut(), cut()
		if len(value) == 0 {
			return nil, errors.New("a document was damaged on its way through scratch space: run again")
		}
		f := store.Field{Key: string(key), Value: value}
		if len(raw) > 0 {
			f.RawKey = raw
		}
		dst = append(dst, f)
	}
	return dst, nil
}

// recordWriter is a writer of records of either layout.
type recordWriter interface {
	Write(fields []store.Field) error
	Close() error
}

// write writes one file of the data set.
func (e *exporter) write(ctx context.Context, w io.Writer, file int) error {
	out, finish, err := e.writer(w)
	if err != nil {
		return err
	}
	var fields []store.Field
	err = e.set.Each(file, func(payload []byte) error {
		if fields, err = exportedFields(fields[:0], payload); err != nil {
			return err
		}
		return errors.Join(ctx.Err(), out.Write(fields))
	})
	return cmp.Or(err, errors.Join(out.Close(), finish()))
}

func (e *exporter) writer(w io.Writer) (recordWriter, func() error, error) {
	if e.Format == "parquet" {
		columns := e.columns()
		pw, err := store.NewParquetWriter(w, columns)
		return pw, func() error {
			e.count(pw, columns)
			return nil
		}, err
	}
	z, err := store.NewCompressor(w, store.CompressionOf(e.Format), store.EffortDefault)
	if err != nil {
		return nil, nil, err
	}
	return store.NewJSONLWriter(z), z.Close, nil
}

// columnTypes are the types that a plan may give to a field.
var columnTypes = map[string]store.ColumnType{
	"string": store.TypeString, "int64": store.TypeInt64, "float64": store.TypeDouble, "bool": store.TypeBool,
	"timestamp": store.TypeTimestamp, "list<string>": store.TypeStringList, "list<int64>": store.TypeInt64List,
	"list<float64>": store.TypeDoubleList, "list<bool>": store.TypeBoolList,
}

// columns is the schema of the Parquet files.
func (e *exporter) columns() []store.Column {
	columns := []store.Column{{Name: "text", Type: store.TypeString, Required: true}}
	if e.messages {
		columns = append(columns, store.Column{Name: "messages", Type: store.TypeMessages})
	}
	for _, name := range slices.Sorted(maps.Keys(e.Columns)) {
		columns = append(columns, store.Column{Name: name, Type: columnTypes[e.Columns[name]]})
	}
	return append(columns, store.Column{Name: "extra", Type: store.TypeExtra})
}

// count adds up what a file's typed columns could not hold.
func (e *exporter) count(w *store.ParquetWriter, columns []store.Column) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, c := range columns {
		if n := w.Misfits(i); n > 0 && e.Columns[c.Name] != "" {
			e.misfits[c.Name] += n
		}
	}
}
