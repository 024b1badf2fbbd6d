package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// Export is the configuration of the export stage.
type Export struct {
	To            string         `yaml:"to" doc:"Where the files appear, below the work directory's out/."`
	Format        string         `yaml:"format" enum:"parquet|jsonl|jsonl.gz|jsonl.zst" doc:"How the files are written."`
	ShardBytesMax pipeline.Bytes `yaml:"shard_bytes_max" min:"64KiB" doc:"About the most text in one file."`
	Multiple      int            `yaml:"files_multiple" min:"1" max:"1000" doc:"The number of files is a multiple of this, so that a loader that splits data by file over so many nodes does."`
}

func exportSpec() pipeline.Spec[Export] {
	return pipeline.Spec[Export]{
		Name: "export", Version: 2,
		Summary: "Writes the documents as a data set, in seeded order.",
		Doc: code(`
The files are ‹data/train-00000-of-000NN› below ‹to›, as Hugging Face's ‹load_dataset› finds them without
further instructions. Parquet files have the columns ‹text›, ‹messages› if the input has conversations,
whatever fields these came from, and ‹extra›, a JSON object of all other fields, byte for byte. JSONL files
have the fields as they came, and ‹text› if it was made of a template or of messages. A field of a
record that would have to give way goes on as ‹text_original› or ‹messages_original›. The order is a seeded
shuffle of all documents.`),
		Example: `
export:
  to: out/data
  format: parquet
  shard_bytes_max: 512MiB`,
		Takes:   documentsOnly,
		Default: Export{To: "out/data", Format: "parquet", ShardBytesMax: 512 << 20, Multiple: 10},
		New:     func(c Export) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check keeps outputs where outputs belong.
func (c *Export) Check(at *pipeline.Fields) {
	if dir, name := path.Split(c.To); dir != "out/" || name == "" || path.Clean(c.To) != c.To {
		at.Errorf("to", "must be out/NAME, below the work directory")
	}
}

func (c Export) program() pipeline.Program {
	return pipeline.Program{Run: c.run, Links: []pipeline.Link{{Name: c.To, From: "set"}}}
}

// exported is one document to be written, at its place in the order.
type exported struct {
	key    uint64
	ref    pipeline.Ref
	copy   int
	fields []store.Field
}

func (c Export) run(ctx context.Context, t *pipeline.Task) error {
	rows, bytes, messages, err := c.gather(ctx, t)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b exported) int {
		return cmp.Or(cmp.Compare(a.key, b.key), a.ref.Compare(b.ref), cmp.Compare(a.copy, b.copy))
	})
	files := max(1, int((bytes+int64(c.ShardBytesMax)-1)/int64(c.ShardBytesMax)))
	files = (files + c.Multiple - 1) / c.Multiple * c.Multiple
	for i := range files {
		part := rows[i*len(rows)/files : (i+1)*len(rows)/files]
		name := fmt.Sprintf("set/data/train-%05d-of-%05d.%s", i, files, c.Format)
		if err := t.WriteFile(name, func(w io.Writer) error { return c.write(w, part, messages) }); err != nil {
			return err
		}
		t.Progress(float64(i+1), float64(files), "files")
	}
	t.Figure("exported", "%d documents, %d bytes of text, %d files at %s", len(rows), bytes, files, c.To)
	return ctx.Err()
}

// gather reads all documents into memory, within the budget.
func (c Export) gather(ctx context.Context, t *pipeline.Task) (rows []exported, bytes int64, messages bool, err error) {
	budget := t.MemoryBytes
	for shard := range t.ShardCount() {
		err := t.EachDoc(ctx, shard, func(d *pipeline.Doc) error {
			messages = messages || d.Messages != nil
			fields := d.ExportFields()
			if c.Format == "parquet" {
				fields = d.ColumnFields()
			}
			for _, f := range fields {
				budget -= int64(len(f.Key) + len(f.Value) + 48)
			}
			if budget < 0 {
				return &pipeline.BudgetError{What: "the documents to export"}
			}
			for i := range d.Copies {
				key := pipeline.HashID(t.Seed("order"), fmt.Sprint(i), d.Source, d.Path, d.Ref.Record)
				rows = append(rows, exported{key, d.Ref, i, fields})
				bytes += int64(len(d.Text))
			}
			return nil
		})
		if err != nil {
			return nil, 0, false, err
		}
	}
	return rows, bytes, messages, nil
}

// recordWriter is a writer of records of either layout.
type recordWriter interface {
	Write(fields []store.Field) error
	Close() error
}

func (c Export) write(w io.Writer, rows []exported, messages bool) error {
	out, finish, err := c.writer(w, messages)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := out.Write(r.fields); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), finish())
}

func (c Export) writer(w io.Writer, messages bool) (recordWriter, func() error, error) {
	if c.Format == "parquet" {
		columns := []store.Column{{Name: "text", Type: store.TypeString, Required: true}}
		if messages {
			columns = append(columns, store.Column{Name: "messages", Type: store.TypeMessages})
		}
		columns = append(columns, store.Column{Name: "extra", Type: store.TypeExtra})
		pw, err := store.NewParquetWriter(w, columns)
		return pw, func() error { return nil }, err
	}
	z, err := store.NewCompressor(w, store.CompressionOf(c.Format), store.EffortDefault)
	if err != nil {
		return nil, nil, err
	}
	return store.NewJSONLWriter(z), z.Close, nil
}
