package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bzdata/pipeline/store"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
)

const aboutParquet = `Reading: one column of text from a file with pages of 1 MiB and zstd, every text visited; on one
core. DuckDB and pyarrow sum the texts' lengths in bytes, arrow-go and bzdata hash them. Writing: documents in
memory to a file with zstd, level 3 or near; on one core. bzdata's documents are JSON records, which it takes apart, pyarrow's a
table, DuckDB's its own.`

// measureParquet compares reading of one text column, and writing, on one core.
func measureParquet(ctx context.Context, b *bench) (*section, error) {
	c, err := b.corpusOf(ctx, b.large)
	if err != nil {
		return nil, err
	}
	name, err := c.rows.converted(".parquet")
	if err != nil {
		return nil, err
	}
	ours := b.worker("bzdata", "jsonl-bzdata", name, "text")
	arrow := b.worker("arrow-go, ReadBatch", "parquet-arrow", name)
	scans := []*contender{ours, arrow,
		b.python(ctx, "duckdb", "columns", "columns.py", "duckdb-scan", name, "1"),
		b.python(ctx, "pyarrow, iter_batches", "columns", "columns.py", "pyarrow-scan", name, "1")}
	out, before := b.fresh("parquet-write")
	write := b.worker("bzdata", "parquet-write", c.rows.path, filepath.Join(out, "bzdata.parquet"))
	writers := []*contender{write}
	for _, engine := range []string{"pyarrow", "duckdb"} {
		writers = append(writers, b.python(ctx, engine, "columns", "columns.py", engine+"-write", c.rows.path,
			"1", filepath.Join(out, engine+".parquet")))
	}
	sizes := map[string]int64{}
	for _, w := range writers {
		w.before, w.after = before, func(*said) error {
			info, err := os.Stat(w.argv[len(w.argv)-1])
			if err == nil {
				sizes[w.name] = info.Size()
			}
			return err
		}
	}
	err = errors.Join(alternate(ctx, b.progress, b.rounds, scans), alternate(ctx, b.progress, b.rounds, writers))
	if err != nil {
		return nil, err
	}
	s := &section{title: "Parquet",
		about: []string{oneLine(aboutParquet),
			"Corpus: rows of " + c.rows.String() + "."},
		groups: []group{
			{"Reading the text column (speeds by the bytes of the text):", c.rows.textBytes, scans},
			{"Writing (reading the input is in the times, not in the ratio):", 0, writers},
		},
		notes: []string{agreement(scans[:2])}}
	for _, p := range scans[1:] {
		s.found = append(s.found, comparison{what: "reading: processor time after start-up, " + p.name, over: p, under: ours,
			value: cpuOf, overValue: workOf})
	}
	for _, w := range writers {
		s.notes = append(s.notes, fmt.Sprintf("written by %s: %s bytes", w.name, count(sizes[w.name])))
	}
	for _, p := range writers[1:] {
		s.found = append(s.found, comparison{what: "writing: processor time, " + p.name, over: p, under: write,
			value: phaseOf("write")})
	}
	return s, nil
}

// scanArrow reads the text column with arrow-go's low-level reader.
func scanArrow(args []string, s *said) error {
	s.Version = moduleVersions("github.com/apache/arrow-go/v18")
	r, err := file.OpenParquetFile(args[0], false)
	if err != nil {
		return err
	}
	defer r.Close()
	column := r.MetaData().Schema.ColumnIndexByName("text")
	var t texts
	values, levels := make([]parquet.ByteArray, 1024), make([]int16, 1024)
	for g := range r.NumRowGroups() {
		chunk, err := r.RowGroup(g).Column(column)
		if err != nil {
			return err
		}
		reader, ok := chunk.(*file.ByteArrayColumnChunkReader)
		if !ok {
			return errors.New("the text column holds no byte arrays")
		}
		for reader.HasNext() {
			_, n, err := reader.ReadBatch(int64(len(values)), values, levels, nil)
			if err != nil {
				return err
			}
			for _, v := range values[:n] {
				t.add(v)
			}
		}
	}
	t.tell(s)
	return nil
}

// writeParquetBzdata writes records that are in memory.
func writeParquetBzdata(args []string, s *said) error {
	var records [][]store.Field
	err := store.ReadRows(store.OS(), args[0], store.RowOptions{}, func(r *store.Row) error {
		record := make([]store.Field, len(r.Fields))
		for i, f := range r.Fields {
			record[i] = store.Field{Key: f.Key, Value: append([]byte(nil), f.Value...)}
		}
		records = append(records, record)
		return nil
	})
	if err != nil {
		return err
	}
	return s.phase("write", func() error {
		return store.WriteFile(store.OS(), args[1], func(out io.Writer) error {
			w, err := store.NewParquetWriter(out, parquetColumns())
			if err != nil {
				return err
			}
			for _, r := range records {
				if err := w.Write(r); err != nil {
					return err
				}
			}
			return w.Close()
		})
	})
}
