package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"bzdata/pipeline/store"
)

// keepEntry says that a stored document is left, and how often it goes on.
type keepEntry struct {
	record uint64
	copies int
}

// keepMagic starts a keep file: uint64 count, then for each document that is left,
// in order, uvarint record and uvarint copies.
const keepMagic = "BZKEP01\n"

func writeKeep(w io.Writer, keep []keepEntry) error {
	b := binary.LittleEndian.AppendUint64([]byte(keepMagic), uint64(len(keep)))
	for _, k := range keep {
		b = binary.AppendUvarint(binary.AppendUvarint(b, k.record), uint64(k.copies))
	}
	_, err := w.Write(b)
	return err
}

func readKeep(fsys store.FS, name string) (map[uint64]int, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := newByteSource(f)
	magic := make([]byte, len(keepMagic))
	if _, err := io.ReadFull(s.r, magic); err != nil || string(magic) != keepMagic {
		return nil, fmt.Errorf("%s: not a keep file of this version", name)
	}
	keep := map[uint64]int{}
	for range s.uint64() {
		record, copies := s.uvarint(), s.uvarint()
		if s.err != nil {
			return nil, fmt.Errorf("%s: %w", name, s.err)
		}
		keep[record] = int(copies)
	}
	return keep, nil
}

// storedSource is a shard as an earlier segment left it: documents stored by base,
// and of those the ones that keep lists, if it is set.
type storedSource struct{ base, keep *node }

func (s storedSource) each(ctx context.Context, t *Task, shard int, visit func(d *Doc) error) error {
	var keep map[uint64]int
	if s.keep != nil {
		var err error
		if keep, err = readKeep(t.FS, filepath.Join(s.keep.dir(), keepName)); err != nil {
			return err
		}
	}
	name := filepath.Join(s.base.dir(), docsName)
	info, err := t.FS.Stat(name)
	if err != nil {
		return err
	}
	fsys, visit := metered(t, t.FS, info.Size(), visit)
	return eachStored(ctx, fsys, name, keep, func(d *Doc) error {
		d.Ref.Shard = uint32(shard)
		return visit(d)
	})
}

// eachStored reads a file of documents; keep, if not nil, names those that are left.
func eachStored(ctx context.Context, fsys store.FS, name string, keep map[uint64]int, visit func(d *Doc) error) error {
	r, err := openDocs(fsys, name)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		d, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if keep != nil {
			copies, left := keep[d.Ref.Record]
			if !left {
				continue
			}
			d.Copies = copies
		}
		if err := errors.Join(ctx.Err(), visit(d)); err != nil {
			return err
		}
	}
}

// fileSource is a shard as it comes in: one input file.
type fileSource struct {
	file *inputFile
	// before are the tasks of the same input's earlier files, when a limit spans them.
	before []*node
}

// inputStage is the name of the ledger that counts records read.
const inputStage = "input"

func (s fileSource) each(ctx context.Context, t *Task, shard int, visit func(d *Doc) error) error {
	if err := s.file.unchanged(t.Inputs); err != nil {
		return err
	}
	l := newLedger(inputStage)
	t.Report.Ledgers = append([]*Ledger{l}, t.Report.Ledgers...)
	record := s.file.record()
	in := &record
	t.Report.Input = in
	inputs, visit := metered(t, t.Inputs, in.Bytes, visit)
	err := t.WriteFile(rejectsName, func(w io.Writer) error {
		rr := &rowReader{fileSource: s, t: t, inputs: inputs, ledger: l, in: in, rejects: w, shard: uint32(shard), visit: visit}
		return rr.run(ctx)
	})
	if err != nil {
		return err
	}
	return s.file.unchanged(t.Inputs)
}

// limit returns how many records may still be read, or -1 for all.
func (s fileSource) limit() int64 {
	if s.file.limit < 0 {
		return -1
	}
	left := s.file.limit
	for _, n := range s.before {
		left -= n.report.Input.Records
	}
	return max(0, left)
}

// inputError is an error of an input file, which is no stage's.
type inputError struct{ err error }

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// rowReader turns the rows of one file into documents.
type rowReader struct {
	fileSource
	t       *Task
	inputs  store.FS
	ledger  *Ledger
	in      *InputRecord
	rejects io.Writer
	shard   uint32
	visit   func(d *Doc) error
}

func (r *rowReader) run(ctx context.Context) error {
	limit := r.limit()
	if limit == 0 {
		return nil
	}
	rows, err := store.OpenRows(r.inputs, r.file.full, r.file.rowOptions())
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; let this user read it, or leave it out of `input`", err)
	}
	if err != nil {
		return &inputError{partError(err)}
	}
	defer rows.Close()
	var row store.Row
	for limit < 0 || r.in.Records < limit {
		err := rows.Next(&row)
		if err == io.EOF {
			if sum := rows.SHA256(); sum != [sha256.Size]byte{} {
				r.in.SHA256 = hex.EncodeToString(sum[:])
			}
			return nil
		}
		if err != nil {
			return &inputError{err}
		}
		r.in.Records++
		if err := errors.Join(ctx.Err(), r.row(&row)); err != nil {
			return err
		}
	}
	return nil
}

func (r *rowReader) row(row *store.Row) error {
	l := r.ledger
	src := l.source(r.file.source)
	l.In, src.In = l.In+1, src.In+1
	if row.Bad != nil {
		return r.reject(row, row.Bad)
	}
	d := &Doc{Ref: Ref{r.shard, uint64(row.Number)}, Source: r.file.source, Path: r.file.identity.Path, Copies: 1}
	if err := r.file.text.fill(d, row.Fields); err != nil {
		return r.reject(row, err)
	}
	text := int64(len(d.Text)) // a malformed record has none
	l.Kept, src.Kept, l.BytesIn, l.BytesOut = l.Kept+1, src.Kept+1, l.BytesIn+text, l.BytesOut+text
	return r.visit(d)
}

// reject writes one malformed record, with its bytes, to the task's rejects.
func (r *rowReader) reject(row *store.Row, why error) error {
	r.ledger.Rejected++
	r.in.Rejected++
	if r.in.Rejected == 1 {
		r.t.Note("%s: row %d: %s", r.file.full, row.Number, why)
	}
	quote := func(s string) []byte { return store.AppendQuote(nil, s) }
	fs := []store.Field{
		{Key: "source", Value: quote(r.file.source)}, {Key: "file", Value: quote(r.file.identity.Path)},
		{Key: "row", Value: strconv.AppendInt(nil, row.Number, 10)},
		{Key: "reason", Value: quote(why.Error())},
	}
	if utf8.Valid(row.Raw) {
		fs = append(fs, store.Field{Key: "raw", Value: quote(string(row.Raw))})
	} else {
		fs = append(fs, store.Field{Key: "raw_base64",
			Value: quote(base64.StdEncoding.EncodeToString(row.Raw))})
	}
	w := store.NewJSONLWriter(r.rejects)
	return errors.Join(w.Write(fs), w.Close())
}

// unchanged returns an error if the file is no longer the one that was pinned.
func (f *inputFile) unchanged(fsys store.FS) error {
	info, err := fsys.Stat(f.full)
	if err != nil {
		return &inputError{fmt.Errorf("input %s: %w", f.full, err)}
	}
	if info.Size() != f.identity.Bytes || info.ModTime().UnixNano() != f.seenNS {
		return &inputError{fmt.Errorf("input %s changed during the run; run again when nothing writes to it", f.full)}
	}
	return nil
}

// textRule says how a record becomes a document's text. Exactly one part is set.
type textRule struct {
	field    string
	messages string
	template []templatePart
}

// fill sets d's fields, text and messages from a record.
func (r textRule) fill(d *Doc, fields []store.Field) error {
	d.Slot = -1
	d.Fields = make([]store.Field, len(fields))
	for i, f := range fields {
		d.Fields[i] = store.Field{Key: f.Key, RawKey: cloneBytes(f.RawKey), Value: cloneBytes(f.Value)}
	}
	switch {
	case r.template != nil:
		return r.fillTemplate(d)
	case r.messages != "":
		return r.fillMessages(d)
	}
	i, err := d.field(r.field)
	if err != nil {
		return err
	}
	text, ok := stringValue(d.Fields[i].Value)
	if !ok {
		return fmt.Errorf("field %q is not a string", r.field)
	}
	d.Text, d.Slot = text, i
	return nil
}

// Name names the document for people: source:path:row.
func (d *Doc) Name() string { return fmt.Sprintf("%s:%s:%d", d.Source, d.Path, d.Ref.Record) }

func (d *Doc) field(key string) (int, error) {
	names := make([]string, len(d.Fields))
	for i, f := range d.Fields {
		if f.Key == key {
			return i, nil
		}
		names[i] = f.Key
	}
	return 0, fmt.Errorf("field %q is missing; the record has %q", key, names)
}

// stringValue returns a JSON string's text.
func stringValue(raw []byte) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	text, err := store.Unquote(nil, raw)
	return string(text), err == nil
}

func (r textRule) fillMessages(d *Doc) error {
	i, err := d.field(r.messages)
	if err != nil {
		return err
	}
	if d.Messages, err = parseMessages(d.Fields[i].Value); err != nil {
		return fmt.Errorf("field %q %w", r.messages, err)
	}
	d.Text, d.Slot = textOfMessages(d.Messages), i
	return nil
}

func (r textRule) fillTemplate(d *Doc) error {
	var text []byte
	for _, p := range r.template {
		text = append(text, p.literal...)
		if p.field == "" {
			continue
		}
		i, err := d.field(p.field)
		if err != nil {
			return err
		}
		raw := d.Fields[i].Value
		if s, ok := stringValue(raw); ok {
			text = append(text, s...)
		} else if c := raw[0]; c == '{' || c == '[' || c == 'n' {
			return fmt.Errorf("field %q is neither text nor a number", p.field)
		} else {
			text = append(text, raw...)
		}
	}
	d.Text = string(text)
	return nil
}

// EachText calls visit with the text of every record of files that are read as in says;
// a malformed record is an error, since such files are small and chosen by hand.
func EachText(ctx context.Context, fsys store.FS, files []string, in Input, visit func(text string) error) error {
	rule, _, err := newTextRule(in)
	if err != nil {
		return err
	}
	for _, name := range files {
		err := store.ReadRows(fsys, name, store.RowOptions{RecordBytesMax: int64(in.RecordBytesMax)}, func(row *store.Row) error {
			if err := errors.Join(ctx.Err(), row.Bad); err != nil {
				return err
			}
			d := &Doc{}
			if err := rule.fill(d, row.Fields); err != nil {
				return err
			}
			return visit(d.Text)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
