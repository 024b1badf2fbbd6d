package pipeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"bzdata/pipeline/store"
)

// Ref names a document within one run: the shard, which is the rank of its file
// among all input files in the order (source, path), and its record number there.
// Refs sort as document ids (source, path, record) do.
type Ref struct {
	Shard  uint32
	Record uint64
}

// Compare orders refs as their document ids.
func (r Ref) Compare(o Ref) int {
	switch {
	case r.Shard != o.Shard:
		if r.Shard < o.Shard {
			return -1
		}
		return 1
	case r.Record < o.Record:
		return -1
	case r.Record > o.Record:
		return 1
	}
	return 0
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Doc is one document on its way through the stages.
type Doc struct {
	Ref    Ref
	Source string
	// Path is the file below the fixed prefix of its glob.
	Path string
	// Text is what the stages judge, and what is trained on.
	Text string
	// Messages are the turns of a conversation, or nil. Text is derived from them.
	Messages []Message
	// Fields are all fields of the record, as raw JSON, in order. The text or
	// messages field, if there is one, is at Slot and follows the edits.
	Fields []store.Field
	// Slot is the field that Text or Messages came from, or -1 for a template.
	Slot int
	// Mark is set on held-out documents: select or judge, or none if it is not for evaluation.
	Mark Mark
	// Copies is how often the document goes on, at least 1: more than once after mix.
	Copies int
}

// Mark says which part of the held-out documents a document belongs to.
type Mark byte

// The held-out parts: Select may guide choices, Judge gives the verdict only.
const (
	NoMark Mark = iota
	Select
	Judge
)

// String is the name of the part.
func (m Mark) String() string { return [...]string{"", "select", "judge"}[m] }

// SetText replaces the text of a document without messages.
func (d *Doc) SetText(text string) {
	d.Text = text
	if d.Slot >= 0 {
		d.Fields[d.Slot].Value = store.AppendQuote(nil, text)
	}
}

// SetMessages replaces the messages and derives the text anew. Other members of the
// record's messages stay as they are as long as their number does.
func (d *Doc) SetMessages(ms []Message) error {
	raw, err := patchMessages(d.Fields[d.Slot].Value, ms)
	if err != nil {
		return err
	}
	d.Messages, d.Text, d.Fields[d.Slot].Value = ms, textOfMessages(ms), raw
	return nil
}

// ExportFields returns the record to be written for d: its fields as they came, with the
// text added as `text` if it came from a template or from messages. A field that the record
// had under that name goes on as `text_original`, unless it says the same.
func (d *Doc) ExportFields() []store.Field {
	if d.Slot >= 0 && d.Messages == nil {
		return d.Fields
	}
	return withText(d.Fields, d.Text)
}

// ColumnFields is [Doc.ExportFields] for a table: the text is `text` and the conversation
// `messages`, whatever fields they came from.
func (d *Doc) ColumnFields() []store.Field {
	switch {
	case d.Messages != nil:
		return withText(renamed(d.Fields, d.Slot, "messages"), d.Text)
	case d.Slot >= 0:
		return renamed(d.Fields, d.Slot, "text")
	}
	return withText(d.Fields, d.Text)
}

// withText returns the fields with a field text added, unless it is there.
func withText(fields []store.Field, text string) []store.Field {
	i := fieldIndex(fields, "text")
	if i < 0 {
		return append(slices.Clone(fields), store.Field{Key: "text", Value: store.AppendQuote(nil, text)})
	}
	if own, ok := stringValue(fields[i].Value); ok && own == text {
		return fields
	}
	return append(setAside(fields, i), store.Field{Key: "text", Value: store.AppendQuote(nil, text)})
}

// renamed returns the fields with another key for one of them.
func renamed(fields []store.Field, i int, key string) []store.Field {
	if fields[i].Key == key {
		return fields
	}
	out := slices.Clone(fields)
	if own := fieldIndex(fields, key); own >= 0 {
		out = setAside(fields, own)
	}
	out[i].Key, out[i].RawKey = key, nil
	return out
}

// setAside returns the fields with one of them under a name that says that it is the
// record's own and free.
func setAside(fields []store.Field, i int) []store.Field {
	out := slices.Clone(fields)
	name := fields[i].Key + "_original"
	for fieldIndex(fields, name) >= 0 {
		name += "_original"
	}
	out[i].Key, out[i].RawKey = name, nil
	return out
}

func fieldIndex(fields []store.Field, key string) int {
	return slices.IndexFunc(fields, func(f store.Field) bool { return f.Key == key })
}

// The documents of a shard are stored as a zstd stream that starts with docMagic;
// each document is
//
//	bytes source · bytes path · uvarint record · byte flags · byte mark ·
//	uvarint copies · uvarint slot+1 · bytes text · uvarint fields ·
//	for each: bytes key · bytes raw key · bytes value
//
// where bytes is a uvarint length and that many bytes. Flag 1: the value at slot is
// the quoted text and is left out. Flag 2: the value at slot holds messages.
const docMagic = "BZDOC01\n"

const (
	docTextElided  = 1
	docHasMessages = 2
)

// docWriter writes the documents of a shard.
type docWriter struct {
	z           io.WriteCloser
	buf, quoted []byte
}

func newDocWriter(w io.Writer) (*docWriter, error) {
	z, err := store.NewCompressor(w, store.Zstd, store.EffortFastest)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(z, docMagic)
	return &docWriter{z: z}, err
}

// Write appends d, stored under the given record number.
func (w *docWriter) Write(d *Doc) error {
	flags := byte(0)
	if d.Messages != nil {
		flags |= docHasMessages
	} else if d.Slot >= 0 {
		w.quoted = store.AppendQuote(w.quoted[:0], d.Text)
		if bytes.Equal(d.Fields[d.Slot].Value, w.quoted) {
			flags |= docTextElided
		}
	}
	b := appendBytes(appendBytes(w.buf[:0], d.Source), d.Path)
	b = binary.AppendUvarint(b, d.Ref.Record)
	b = append(b, flags, byte(d.Mark))
	b = binary.AppendUvarint(b, uint64(d.Copies))
	b = binary.AppendUvarint(b, uint64(d.Slot+1))
	b = appendBytes(b, d.Text)
	b = binary.AppendUvarint(b, uint64(len(d.Fields)))
	for i, f := range d.Fields {
		b = appendBytes(appendBytes(b, f.Key), f.RawKey)
		if i == d.Slot && flags&docTextElided != 0 {
			b = appendBytes(b, "")
		} else {
			b = appendBytes(b, f.Value)
		}
	}
	w.buf = b
	_, err := w.z.Write(b)
	return err
}

func (w *docWriter) Close() error { return w.z.Close() }

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// docReader reads the documents of a shard.
type docReader struct {
	file *store.Reader
	r    *byteSource
}

func openDocs(fsys store.FS, name string) (*docReader, error) {
	file, err := store.OpenReader(fsys, name)
	if err != nil {
		return nil, err
	}
	magic := make([]byte, len(docMagic))
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != docMagic {
		return nil, errors.Join(fmt.Errorf("%s: not a document shard of this version", name), file.Close())
	}
	return &docReader{file, newByteSource(file)}, nil
}

// Next returns the next document, valid until the following call, or io.EOF.
func (r *docReader) Next() (*Doc, error) {
	if r.r.atEnd() {
		return nil, io.EOF
	}
	d := &Doc{Source: r.r.text(), Path: r.r.text()}
	d.Ref.Record = r.r.uvarint()
	flags := r.r.byte()
	d.Mark = Mark(r.r.byte())
	d.Copies = int(r.r.uvarint())
	d.Slot = int(r.r.uvarint()) - 1
	d.Text = r.r.text()
	n := r.r.uvarint()
	for range n {
		if r.r.err != nil {
			break
		}
		f := store.Field{Key: r.r.text(), RawKey: cloneBytes(r.r.bytes())}
		f.Value = cloneBytes(r.r.bytes())
		d.Fields = append(d.Fields, f)
	}
	if r.r.err != nil {
		return nil, fmt.Errorf("document shard: %w", r.r.err)
	}
	return d, d.restore(flags)
}

// cloneBytes copies a block; an empty one becomes nil.
func cloneBytes(b []byte) []byte { return append([]byte(nil), b...) }

func (d *Doc) restore(flags byte) error {
	inFields := d.Slot >= 0 && d.Slot < len(d.Fields)
	if !inFields && (d.Slot != -1 || flags != 0) || d.Mark > Judge {
		return errors.New("document shard: text field or mark out of range")
	}
	if flags&docTextElided != 0 {
		d.Fields[d.Slot].Value = store.AppendQuote(make([]byte, 0, len(d.Text)+len(d.Text)/16+16), d.Text)
	}
	if flags&docHasMessages != 0 {
		ms, err := parseMessages(d.Fields[d.Slot].Value)
		d.Messages = ms
		return err
	}
	return nil
}

func (r *docReader) Close() error { return r.file.Close() }
