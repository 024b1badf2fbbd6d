package pipeline

import (
	"bytes"
	"cmp"
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
	"slices"
	"strconv"
	"unicode/utf8"

	"bzdata/pipeline/store"
)

// keepMagic starts a keep file: uint64 count, then for each document that is left,
// in order, uvarint of its record minus that of the one before, and uvarint copies.
const keepMagic = "BZKEP02\n"

// keepList gathers which stored documents are left, and how often each goes on, in the form
// in which it is written: some two bytes for each.
type keepList struct {
	n, last uint64
	b       []byte
}

func (k *keepList) add(record uint64, copies int) {
	k.b = binary.AppendUvarint(binary.AppendUvarint(k.b, record-k.last), uint64(copies))
	k.n, k.last = k.n+1, record
}

func (k *keepList) writeTo(w io.Writer) error {
	if _, err := w.Write(binary.LittleEndian.AppendUint64([]byte(keepMagic), k.n)); err != nil {
		return err
	}
	_, err := w.Write(k.b)
	return err
}

// keepReader reads a keep file beside the documents that it is about.
type keepReader struct {
	name   string
	f      store.ReadFile
	s      *byteSource
	left   uint64
	record uint64 // the next that is left
	copies int    // 0 after the last
}

func openKeep(fsys store.FS, name string) (*keepReader, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	k := &keepReader{name: name, f: f, s: newByteSource(f)}
	magic := make([]byte, len(keepMagic))
	if _, err := io.ReadFull(k.s.r, magic); err != nil || string(magic) != keepMagic {
		return nil, errors.Join(fmt.Errorf("%s: not a keep file of this version", name), f.Close())
	}
	k.left = k.s.uint64()
	if err := k.next(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return k, nil
}

func (k *keepReader) next() error {
	k.copies = 0
	if k.left > 0 {
		k.left--
		k.record, k.copies = k.record+k.s.uvarint(), int(k.s.uvarint())
	}
	if k.s.err != nil {
		return fmt.Errorf("%s: %w", k.name, k.s.err)
	}
	return nil
}

// copiesOf returns how often a document goes on, 0 if it is not left. Records are asked for
// in rising order.
func (k *keepReader) copiesOf(record uint64) (int, error) {
	if k.copies == 0 || k.record != record {
		return 0, nil
	}
	copies := k.copies
	return copies, k.next()
}

// storedSource is a shard as an earlier segment left it: documents stored by base,
// and of those the ones that keep lists, if it is set.
type storedSource struct{ base, keep *node }

func (s storedSource) each(ctx context.Context, t *Task, shard int, visit func(d *Doc) error) error {
	var keep *keepReader
	if s.keep != nil {
		var err error
		if keep, err = openKeep(t.FS, filepath.Join(s.keep.dir(), keepName)); err != nil {
			return err
		}
		defer keep.f.Close()
	}
	name := filepath.Join(s.base.dir(), docsName)
	info, err := t.FS.Stat(name)
	if err != nil {
		return err
	}
	fsys, visit := metered(t, t.FS, info.Size(), visit)
	return skimStored(ctx, fsys, name, keep, func(d *Doc) error {
		d.Ref.Shard = uint32(shard)
		return visit(d)
	})
}

// eachStored reads a file of documents.
func eachStored(ctx context.Context, fsys store.FS, name string, visit func(d *Doc) error) error {
	return skimStored(ctx, fsys, name, nil, func(d *Doc) error {
		if err := d.fill(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return visit(d)
	})
}

// skimStored reads a file of documents, which are not filled; keep, if not nil, names those that
// are left.
func skimStored(ctx context.Context, fsys store.FS, name string, keep *keepReader, visit func(d *Doc) error) error {
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
			copies, err := keep.copiesOf(d.Ref.Record)
			if err != nil {
				return err
			}
			if copies == 0 {
				continue
			}
			d.Copies = copies
		}
		if err := errors.Join(ctx.Err(), visit(d)); err != nil {
			return err
		}
	}
}

// fileSource is a shard as it comes in: one input file, or a part of one.
type fileSource struct {
	file *inputFile
	part inputPart
	// surveys have looked at the earlier ranges of the same file.
	surveys []*node
	// hashes have looked at all of them, if this part is the last and they make the hash.
	hashes []*node
	// before are the tasks of the same input's earlier files, when a limit spans them, and
	// none of them is cut.
	before []*node
	// count says what a limit leaves if one of them is, or is nil.
	count *entryCount
}

// waits are the tasks that must be done first, apart from before.
func (s fileSource) waits() []*node {
	waits := s.surveys
	if s.count != nil {
		waits = append(slices.Clone(waits), s.count.surveys...)
	}
	if len(s.hashes) > 0 {
		waits = append(slices.Clone(waits), s.hashes...)
	}
	return waits
}

// rowOptions says what of the file is read.
func (s fileSource) rowOptions() store.RowOptions {
	opts := s.file.rowOptions()
	opts.Hash = !s.file.ranged()
	switch {
	case s.part.count == 1:
	case s.part.groups != [2]int{}:
		opts.RowGroups = s.part.groups
	default:
		lines := s.part.lines
		for _, n := range s.surveys {
			lines.FirstLine += n.report.Survey.Ends
		}
		if lines.From > 0 {
			lines.FirstLine++
		}
		opts.Lines = &lines
	}
	return opts
}

// sum is the hash of a file that is read by ranges, once its last part is read.
func (s fileSource) sum() (hash string, rangeBytes int64) {
	var hashes []string
	for _, n := range s.hashes {
		hashes = append(hashes, n.report.Survey.SHA256)
	}
	if len(hashes) > 0 {
		hash = sumOfRanges(hashes)
	}
	if hash != "" {
		rangeBytes = s.file.ranges()[0].To
	}
	return hash, rangeBytes
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
	inputs, visit := metered(t, t.Inputs, s.part.bytes, visit)
	err := t.WriteFile(rejectsName, func(w io.Writer) error {
		rr := &rowReader{fileSource: s, t: t, inputs: inputs, ledger: l, in: in, rejects: w, shard: uint32(shard), visit: visit}
		return rr.run(ctx)
	})
	var content *store.ContentError
	if err != nil && !errors.As(err, &content) {
		return err
	}
	return cmp.Or(s.file.unchanged(t.Inputs), err) // what was written meanwhile may look damaged
}

// limit returns how many records may still be read, or -1 for all.
func (s fileSource) limit() int64 {
	if s.file.limit < 0 {
		return -1
	}
	if s.count != nil {
		return s.count.left(s.file.limit)
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

// inputFault says what an error of reading an input file means.
func inputFault(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; let this user read it, or leave it out of `input`", err)
	}
	return &inputError{partError(err)}
}

// rowReader turns the rows of one file into documents.
type rowReader struct {
	fileSource
	t       *Task
	inputs  store.FS
	ledger  *Ledger
	in      *InputRecord
	rejects io.Writer
	shard   uint32
	doc     Doc // the document at hand
	visit   func(d *Doc) error
}

func (r *rowReader) run(ctx context.Context) error {
	limit := r.limit()
	if limit == 0 {
		return nil
	}
	rows, err := store.OpenRows(r.inputs, r.file.full, r.rowOptions())
	if err != nil {
		return inputFault(err)
	}
	defer rows.Close()
	var row store.Row
	for limit < 0 || r.in.Records < limit {
		err := rows.Next(&row)
		if err == io.EOF {
			r.in.SHA256, r.in.RangeBytes = r.sum()
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
	d := &r.doc
	*d = Doc{Ref: Ref{r.shard, uint64(row.Number)}, Source: r.file.source, Path: r.file.identity.Path, Copies: 1,
		Fields: d.Fields[:0], scratch: d.scratch}
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
	same := info.ModTime().UnixNano() == f.seenNS
	if tagged, ok := info.(store.Tagged); ok && f.identity.ETag != "" {
		same = tagged.ETag() == f.identity.ETag
	}
	if info.Size() != f.identity.Bytes || !same {
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

// fill sets d's fields, text and messages from a record. The fields are as long valid as the
// record's.
func (r textRule) fill(d *Doc, fields []store.Field) error {
	d.Slot = -1
	d.Fields = append(d.Fields[:0], fields...)
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
	raw := d.Fields[i].Value
	if len(raw) == 0 || raw[0] != '"' {
		return fmt.Errorf("field %q is not a string", r.field)
	}
	d.scratch = store.AppendText(d.scratch[:0], raw)
	d.Text, d.Slot = string(d.scratch), i
	return nil
}

// Name names the document for people: source:path:row.
func (d *Doc) Name() string { return fmt.Sprintf("%s:%s:%d", d.Source, d.Path, d.Ref.Record) }

func (d *Doc) field(key string) (int, error) {
	if i := fieldIndex(d.Fields, key); i >= 0 {
		return i, nil
	}
	names := make([]string, len(d.Fields))
	for i, f := range d.Fields {
		names[i] = f.Key
	}
	return 0, fmt.Errorf("field %q is missing; the record has %q", key, names)
}

// stringValue returns the text of a valid JSON value that is a string.
func stringValue(raw []byte) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	return string(store.AppendText(nil, raw)), true
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
	text := d.scratch[:0]
	for _, p := range r.template {
		text = append(text, p.literal...)
		if p.field == "" {
			continue
		}
		i, err := d.field(p.field)
		if err != nil {
			return err
		}
		switch raw := d.Fields[i].Value; raw[0] {
		case '"':
			text = store.AppendText(text, raw)
		case '{', '[', 'n':
			return fmt.Errorf("field %q is neither text nor a number", p.field)
		default:
			text = append(text, raw...)
		}
	}
	d.scratch, d.Text = text, string(text)
	return nil
}
