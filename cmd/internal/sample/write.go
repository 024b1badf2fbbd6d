package sample

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"bzdata/pipeline/store"
)

// The files of a sample, below its folder.
const (
	dataDir       = "data"
	heldOutFile   = "heldout.jsonl" // below dataDir
	referenceDir  = "reference"
	referenceFile = "reference.jsonl"
	truthFile     = "truth.jsonl"
)

// How a malformed row is malformed.
const (
	truncatedRow = "truncated"
	badEscape    = "escape"
	invalidUTF8  = "utf8"
	missingField = "missing"
)

func malformations() []string { return []string{truncatedRow, badEscape, invalidUTF8, missingField} }

// Truth is one line of truth.jsonl: what a row of the corpus is.
type Truth struct {
	File string `json:"file"` // below data/
	Row  int64  `json:"row"`
	Kind Kind   `json:"kind"`
	// Variant says how a row is malformed (truncated, escape, utf8, missing), or a problem
	// leaked (whole, quoted).
	Variant string `json:"variant,omitempty"`
	// Of is FILE:ROW of the original of a copy or leak, below data/.
	Of string `json:"of,omitempty"`
	// Edits is how many words of a near copy were replaced, deleted or inserted.
	Edits int `json:"edits,omitempty"`
	// Jaccard is the similarity of a near copy and its original: of their sets of 5-word
	// shingles, the words of question and answer taken as one text.
	Jaccard float64 `json:"jaccard,omitempty"`
}

// append appends the line.
func (t *Truth) append(dst []byte) []byte {
	dst = append(append(append(dst, `{"file":"`...), t.File...), `","row":`...)
	dst = append(append(strconv.AppendInt(dst, t.Row, 10), `,"kind":"`...), t.Kind...)
	for _, f := range [...][2]string{{"variant", t.Variant}, {"of", t.Of}} {
		if f[1] != "" {
			dst = append(append(append(append(dst, `","`...), f[0]...), `":"`...), f[1]...)
		}
	}
	dst = append(dst, '"')
	if t.Edits > 0 {
		dst = strconv.AppendInt(append(dst, `,"edits":`...), int64(t.Edits), 10)
		dst = strconv.AppendFloat(append(dst, `,"jaccard":`...), t.Jaccard, 'f', -1, 64)
	}
	return append(dst, "}\n"...)
}

// writer writes the corpus below a folder.
type writer struct {
	c        *corpus
	fsys     store.FS
	dir      string
	rows     atomic.Int64 // made so far, the truth's aside
	progress func(rows int64)
}

// corpusFiles writes data/, reference/ and truth.jsonl on some goroutines.
func (w *writer) corpusFiles(ctx context.Context, workers int) error {
	for _, d := range []string{dataDir, referenceDir} {
		if err := w.fsys.MkdirAll(filepath.Join(w.dir, d)); err != nil {
			return err
		}
	}
	c := w.c
	problems := func(stream uint32, rows int64) func(context.Context, io.Writer) error {
		return func(ctx context.Context, out io.Writer) error { return w.problems(ctx, out, stream, rows) }
	}
	jobs := []job{
		{truthFile, w.truth},
		{filepath.Join(dataDir, heldOutFile), problems(streamHeldOut, c.heldOut)},
		{filepath.Join(referenceDir, referenceFile), problems(streamReference, c.reference)},
	}
	for _, f := range c.files {
		jobs = append(jobs, job{filepath.Join(dataDir, f.name), func(ctx context.Context, out io.Writer) error {
			return w.dataFile(ctx, out, f)
		}})
	}
	return w.run(ctx, workers, jobs)
}

// job writes one file.
type job struct {
	name  string
	write func(ctx context.Context, out io.Writer) error
}

// run does jobs, several at a time, and returns the error of the first in order.
func (w *writer) run(ctx context.Context, workers int, jobs []job) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(jobs))
	slots := make(chan struct{}, max(1, workers))
	var wg sync.WaitGroup
	for i, j := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = store.WriteFile(w.fsys, filepath.Join(w.dir, j.name), func(out io.Writer) error {
				return j.write(ctx, out)
			})
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return ctx.Err()
}

// step counts rows and looks for an interruption now and then.
func (w *writer) step(ctx context.Context, row int64) error {
	if row%1024 != 1023 {
		return nil
	}
	if n := w.rows.Add(1024); w.progress != nil {
		w.progress(n)
	}
	return ctx.Err()
}

// dataFile writes one file of the corpus.
func (w *writer) dataFile(ctx context.Context, out io.Writer, f dataFile) error {
	if f.parquet() {
		columns := []store.Column{{Name: "id", Type: store.TypeString}, {Name: "question", Type: store.TypeString},
			{Name: "answer", Type: store.TypeString}, {Name: "extra", Type: store.TypeExtra}}
		rows, err := store.NewParquetWriter(out, columns)
		if err != nil {
			return err
		}
		return errors.Join(w.dataRows(ctx, rows.Write, nil, f), rows.Close())
	}
	z, err := store.NewCompressor(out, store.CompressionOf(f.name), store.EffortDefault)
	if err != nil {
		return err
	}
	rows := store.NewJSONLWriter(z)
	return errors.Join(w.dataRows(ctx, rows.Write, rows.WriteRaw, f), rows.Close(), z.Close())
}

// dataRows writes the rows of a file by write, and by raw those that are not JSON, of
// which a Parquet file has none.
func (w *writer) dataRows(ctx context.Context, write func([]store.Field) error, raw func([]byte) error,
	f dataFile) error {
	m := newMaker(w.c)
	e := &encoder{seed: w.c.seed}
	for i := f.from; i < f.to; i++ {
		row := m.make(i)
		fields := e.fields('p', i, row.question, row.answer)
		var err error
		switch {
		case row.kind != Malformed:
			err = write(fields)
		case row.variant == missingField:
			err = write(append(fields[:2:2], fields[3]))
		default:
			err = raw(e.spoil(fields, row.variant, i))
		}
		if err = errors.Join(err, w.step(ctx, i-f.from)); err != nil {
			return err
		}
	}
	return nil
}

// problems writes a file of problems alone.
func (w *writer) problems(ctx context.Context, out io.Writer, stream uint32, rows int64) error {
	m := newMaker(w.c)
	e := &encoder{seed: w.c.seed}
	lines := store.NewJSONLWriter(out)
	prefix := byte('h')
	if stream == streamReference {
		prefix = 'r'
	}
	for i := range rows {
		m.problem(stream, i)
		err := lines.Write(e.fields(prefix, i, m.row.question, m.row.answer))
		if err = errors.Join(err, w.step(ctx, i)); err != nil {
			return err
		}
	}
	return lines.Close()
}

// truth writes truth.jsonl. It makes only the rows that it has to say something of.
func (w *writer) truth(ctx context.Context, out io.Writer) error {
	m, original := newMaker(w.c), newMaker(w.c)
	var buf, a, b []byte
	for i := range w.c.documents {
		f, at := w.c.place(i)
		t := Truth{File: f.name, Row: at, Kind: w.c.kind(i)}
		switch t.Kind {
		case ExactCopy, NearCopy, Leak, Malformed:
			row := m.make(i)
			t.Variant, t.Of, t.Edits = row.variant, row.of, row.edits
		}
		if t.Kind == NearCopy {
			o := original.make(w.c.original(i))
			a = append(append(append(a[:0], o.question...), '\n'), o.answer...)
			b = append(append(append(b[:0], m.row.question...), '\n'), m.row.answer...)
			t.Jaccard = similarity(a, b)
		}
		if buf = t.append(buf); len(buf) > 1<<16 || i == w.c.documents-1 {
			if _, err := out.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// encoder makes the fields of records.
type encoder struct {
	seed   uint64
	values [4][]byte
	record [4]store.Field
	line   []byte
}

// fields returns the record {id, question, answer, meta}, valid until the next call. The
// meta data are drawn for every row alike.
func (e *encoder) fields(prefix byte, i int64, question, answer []byte) []store.Field {
	r := newRNG(e.seed^uint64(prefix), streamMeta, i)
	v := &e.values
	v[0] = fmt.Appendf(v[0][:0], `"%c%010d"`, prefix, i)
	v[1] = store.AppendQuote(v[1][:0], question)
	v[2] = store.AppendQuote(v[2][:0], answer)
	v[3] = fmt.Appendf(v[3][:0], `{"grade":%d,"collected":"20%02d-%02d-%02d","score":0.%02d}`,
		r.between(2, 6), r.between(19, 25), r.between(1, 12), r.between(1, 28), r.below(100))
	for k, key := range [...]string{"id", "question", "answer", "meta"} {
		e.record[k] = store.Field{Key: key, Value: v[k]}
	}
	return e.record[:]
}

// spoil returns the record as a line that is no JSON object.
func (e *encoder) spoil(fields []store.Field, variant string, i int64) []byte {
	e.line = store.AppendFields(e.line[:0], fields)
	inside := len(`{"id":,"question":"`) + len(fields[0].Value) + len(fields[1].Value)/2
	switch variant {
	case truncatedRow:
		return e.line[:len(e.line)*(2+int(i%7))/10]
	case badEscape:
		e.line = slices.Insert(e.line, inside, '\\', 'q')
	case invalidUTF8:
		e.line = slices.Insert(e.line, inside, 0xff)
	}
	return e.line
}
