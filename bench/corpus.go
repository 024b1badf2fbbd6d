package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// corpusSeed is the seed of every corpus.
const corpusSeed = "42"

// pageRows is how many rows of the sample one page is made of: about 2,500 bytes, as
// documents from the web have.
const pageRows = 6

// corpus is a sample of bzdata, laid out for all contenders alike. Malformed rows are left
// out, since not every contender survives them.
type corpus struct {
	documents int    // rows of the sample
	dir       string // holds sample/, and the folders rows/ and pages/
	// rows has one line {"id","text","meta"} for each row of the sample: question, line end,
	// answer. Its copies and near copies are told in sample/truth.jsonl.
	rows set
	// pages has one line {"id","text","meta"} for every pageRows rows: their questions as
	// paragraphs. Prose without the answers' arithmetic, which rules of quality would drop.
	pages set
}

// set is one JSONL file alone in its folder, for contenders that read folders.
type set struct {
	path      string
	documents int64
	bytes     int64 // of the file
	textBytes int64
}

func (s set) dir() string { return filepath.Dir(s.path) }

// String says what is in the set.
func (s set) String() string {
	return fmt.Sprintf("%s documents, %s bytes of JSONL, %s bytes of text", count(s.documents), count(s.bytes),
		count(s.textBytes))
}

// corpusOf makes the corpus of so many rows below work, unless it is there.
func (b *bench) corpusOf(ctx context.Context, documents int) (*corpus, error) {
	c := &corpus{documents: documents, dir: filepath.Join(b.work, fmt.Sprintf("corpus-%d", documents))}
	if _, err := os.Stat(c.dir); err != nil {
		tmp := c.dir + ".tmp"
		if err := errors.Join(os.RemoveAll(tmp), b.composeCorpus(ctx, tmp, documents), os.Rename(tmp, c.dir)); err != nil {
			return nil, err
		}
	}
	var err1, err2 error
	c.rows, err1 = openSet(filepath.Join(c.dir, "rows", "rows.jsonl"))
	c.pages, err2 = openSet(filepath.Join(c.dir, "pages", "pages.jsonl"))
	return c, errors.Join(err1, err2)
}

func (b *bench) composeCorpus(ctx context.Context, dir string, documents int) error {
	fmt.Fprintf(b.progress, "corpus of %s rows\n", count(int64(documents)))
	cmd := exec.CommandContext(ctx, b.bzdata, "sample", filepath.Join(dir, "sample"), "--documents", fmt.Sprint(documents),
		"--seed", corpusSeed, "--model=false", "--progress", "none")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bzdata sample: %w: %s", err, tail(string(out), 300))
	}
	var l layout
	for _, name := range []string{"rows", "pages"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			return err
		}
	}
	return writeLines(filepath.Join(dir, "rows", "rows.jsonl"), func(rows *store.JSONLWriter) error {
		return writeLines(filepath.Join(dir, "pages", "pages.jsonl"), func(pages *store.JSONLWriter) error {
			l.rows, l.pages = rows, pages
			return l.files(filepath.Join(dir, "sample", "data"))
		})
	})
}

// writeLines creates a file of lines.
func writeLines(name string, write func(*store.JSONLWriter) error) error {
	return store.WriteFile(store.OS(), name, func(w io.Writer) error {
		lines := store.NewJSONLWriter(w)
		return errors.Join(write(lines), lines.Close())
	})
}

// layout writes the sets of a corpus.
type layout struct {
	rows, pages    *store.JSONLWriter
	question, text []byte
	page           []byte
	pageOf         int // rows of the page so far
	quoted         []byte
	meta           []byte
}

// files lays out the data files of a sample in order.
func (l *layout) files(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "problems-*"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := store.ReadRows(store.OS(), name, store.RowOptions{}, l.row); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) row(r *store.Row) error {
	v := map[string][]byte{}
	for _, f := range r.Fields {
		v[f.Key] = f.Value
	}
	if r.Bad != nil || v["answer"] == nil || v["question"] == nil {
		return nil
	}
	var err error
	if l.question, err = store.Unquote(l.question[:0], v["question"]); err != nil {
		return err
	}
	l.text = append(append(l.text[:0], l.question...), '\n')
	if l.text, err = store.Unquote(l.text, v["answer"]); err != nil {
		return err
	}
	l.meta = v["meta"]
	return errors.Join(l.write(l.rows, v["id"], l.text), l.addToPage(v["id"]))
}

// addToPage adds the question to the page, which is written when it is full.
func (l *layout) addToPage(id []byte) error {
	if l.pageOf > 0 {
		l.page = append(l.page, "\n\n"...)
	}
	l.page = append(l.page, l.question...)
	if l.pageOf++; l.pageOf < pageRows {
		return nil
	}
	err := l.write(l.pages, id, l.page)
	l.page, l.pageOf = l.page[:0], 0
	return err
}

func (l *layout) write(w *store.JSONLWriter, id, text []byte) error {
	l.quoted = store.AppendQuote(l.quoted[:0], text)
	return w.Write([]store.Field{{Key: "id", Value: id}, {Key: "text", Value: l.quoted}, {Key: "meta", Value: l.meta}})
}

// openSet reads a set once, which also brings it into the system's file cache.
func openSet(name string) (set, error) {
	s := set{path: name}
	err := eachText(name, func(_ string, text []byte) {
		s.documents++
		s.textBytes += int64(len(text))
	})
	if info, e := os.Stat(name); e == nil {
		s.bytes = info.Size()
	}
	return s, err
}

// eachText visits the id and text of every document of a file, or of all files below a
// folder, in order. Files that bzdata does not know are passed over.
func eachText(path string, visit func(id string, text []byte)) error {
	_, names, err := store.Expand(store.OS(), path)
	if err != nil {
		return err
	}
	var id, text []byte
	for _, name := range names {
		err := store.ReadRows(store.OS(), name, store.RowOptions{}, func(r *store.Row) (err error) {
			id, text = id[:0], text[:0]
			for _, f := range r.Fields {
				switch f.Key {
				case "id":
					id, err = store.Unquote(id, f.Value)
				case "text":
					text, err = store.Unquote(text, f.Value)
				}
				if err != nil {
					return err
				}
			}
			visit(string(id), text)
			return r.Bad
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// converted makes a copy of a set's file in another format, told by the extensions, unless
// it is there.
func (s set) converted(ext string) (string, error) {
	dir := filepath.Join(filepath.Dir(s.dir()), filepath.Base(s.dir())+strings.ReplaceAll(ext, ".", "-"))
	name := filepath.Join(dir, "rows"+ext)
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	return name, store.WriteFile(store.OS(), name, func(out io.Writer) error {
		if strings.HasSuffix(ext, ".parquet") {
			return s.toParquet(out)
		}
		z, err := store.NewCompressor(out, store.CompressionOf(name), store.EffortDefault)
		if err != nil {
			return err
		}
		in, err := os.Open(s.path)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(z, in)
		return errors.Join(err, z.Close())
	})
}

// parquetColumns is the schema of the corpora as Parquet.
func parquetColumns() []store.Column {
	return []store.Column{{Name: "id", Type: store.TypeString}, {Name: "text", Type: store.TypeString},
		{Name: "extra", Type: store.TypeExtra}}
}

func (s set) toParquet(out io.Writer) error {
	w, err := store.NewParquetWriter(out, parquetColumns())
	if err != nil {
		return err
	}
	err = store.ReadRows(store.OS(), s.path, store.RowOptions{}, func(r *store.Row) error { return w.Write(r.Fields) })
	return errors.Join(err, w.Close())
}
