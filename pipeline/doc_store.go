package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"bzdata/pipeline/store"
)

// The documents of a shard are stored in a block file ([store.BlockWriter]), since every
// pass behind a barrier reads them again. Blocks come in pairs, which hold whole documents.
// The first says what there is:
//
//	uvarint documents · the heads of the documents
//
// and a head is
//
//	byte flags · byte mark · uvarint record · uvarint copies · uvarint slot+1 ·
//	uvarint bytes of the text · uvarint bytes of the document in the second block ·
//	unless flagged: bytes source · bytes path ·
//	unless flagged: uvarint fields · for each: bytes key · bytes raw key
//
// where bytes is a uvarint length and that many bytes, and what is flagged is as in the
// document before it in the block. The second block has for each document
//
//	for each field: bytes value · unless flagged: text
//
// The text is left out where it is what the JSON string at slot stands for. A reader that asks
// for no document of a pair does not read the second block.
const (
	docHasMessages  = 1 << iota // the value at slot holds messages
	docSameOrigin               // source and path
	docSameNames                // keys and raw keys of all fields
	docTextInValue              // between the quotes, as it stands
	docTextUnquoted             // with escapes
)

// docBlockBytes is about how much a pair of blocks holds, uncompressed.
const docBlockBytes = 256 << 10

// docWriter writes the documents of a shard.
type docWriter struct {
	blocks     *store.BlockWriter
	heads      []byte
	body       []byte
	docs       uint64
	source     string
	path       string
	names, buf []byte // names of the document before, and of this one, encoded
	text       []byte
}

// newDocWriter returns a writer of documents, which are compressed unless plain is set.
func newDocWriter(w io.Writer, plain bool) *docWriter {
	return &docWriter{blocks: store.NewBlockWriter(w, plain)}
}

// Write appends d.
func (w *docWriter) Write(d *Doc) error {
	flags := w.textFlags(d)
	if w.docs > 0 && d.Source == w.source && d.Path == w.path {
		flags |= docSameOrigin
	}
	w.buf = appendNames(w.buf[:0], d.Fields)
	if w.docs > 0 && string(w.buf) == string(w.names) {
		flags |= docSameNames
	}
	w.append(d, flags)
	w.source, w.path = d.Source, d.Path
	w.names, w.buf = w.buf, w.names
	w.docs++
	if len(w.heads)+len(w.body) < docBlockBytes {
		return nil
	}
	return w.flush()
}

// textFlags says how the text is stored.
func (w *docWriter) textFlags(d *Doc) byte {
	switch {
	case d.Messages != nil:
		return docHasMessages
	case d.Slot < 0:
		return 0
	}
	value := d.Fields[d.Slot].Value
	if len(value) == len(d.Text)+2 && string(value[1:len(value)-1]) == d.Text {
		return docTextInValue
	}
	text, err := store.Unquote(w.text[:0], value)
	if w.text = text; err == nil && string(text) == d.Text {
		return docTextUnquoted
	}
	return 0
}

func (w *docWriter) append(d *Doc, flags byte) {
	at, b := len(w.body), w.body
	for _, f := range d.Fields {
		b = appendBytes(b, f.Value)
	}
	if flags&(docTextInValue|docTextUnquoted) == 0 {
		b = append(b, d.Text...)
	}
	w.body = b
	b = append(w.heads, flags, byte(d.Mark))
	for _, n := range [...]uint64{d.Ref.Record, uint64(d.Copies), uint64(d.Slot + 1),
		uint64(len(d.Text)), uint64(len(w.body) - at)} {
		b = binary.AppendUvarint(b, n)
	}
	if flags&docSameOrigin == 0 {
		b = appendBytes(appendBytes(b, d.Source), d.Path)
	}
	if flags&docSameNames == 0 {
		b = append(b, w.buf...)
	}
	w.heads = b
}

func appendNames(b []byte, fields []store.Field) []byte {
	b = binary.AppendUvarint(b, uint64(len(fields)))
	for _, f := range fields {
		b = appendBytes(appendBytes(b, f.Key), f.RawKey)
	}
	return b
}

func (w *docWriter) flush() error {
	if w.docs == 0 {
		return nil
	}
	w.buf = append(binary.AppendUvarint(w.buf[:0], w.docs), w.heads...)
	err := errors.Join(w.blocks.Write(w.buf), w.blocks.Write(w.body))
	w.heads, w.body, w.docs = w.heads[:0], w.body[:0], 0
	return err
}

// Close writes what is left; the writer below stays open.
func (w *docWriter) Close() error { return w.flush() }

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// docReader reads the documents of a shard.
type docReader struct {
	name   string
	file   store.ReadFile
	blocks *store.BlockReader

	left  uint64 // documents of the pair that are to be read
	heads docBlock
	block store.Block // the second of the pair
	body  docBlock    // its content, once a document has asked for it

	docs   []Doc // for those to come
	fields []store.Field
	unread *Doc // the latest document, if it was not filled: the next takes its place

	source, path string        // of the document before, also in another block
	names        []store.Field // of the document before, without values
	flags        byte          // of the latest document
	textBytes    int
	from, to     int // its place in the second block
}

// kept returns a name that may be held for long, as ledgers do: not a part of a block, which
// would be held with it.
func kept(before string, name []byte) string {
	if string(name) == before {
		return before
	}
	return string(name)
}

func openDocs(fsys store.FS, name string) (*docReader, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return &docReader{name: name, file: file, blocks: store.NewBlockReader(file, file.Size())}, nil
}

// Next returns the next document, or io.EOF. Before [Doc.fill] it has no text, messages and
// fields, and is valid until the call after. Once it is filled it stays valid, but keeps the
// memory of its block; its source, path and keys do not.
func (r *docReader) Next() (*Doc, error) {
	for r.left == 0 {
		if err := r.load(); err != nil {
			return nil, err
		}
	}
	d := r.unread
	if d == nil {
		if len(r.docs) == 0 {
			r.docs = make([]Doc, min(r.left, docsMade))
		}
		d, r.docs = &r.docs[0], r.docs[1:]
	}
	r.left--
	r.unread = d
	return d, r.head(d)
}

// docsMade is how many documents, or fields, are made at a time.
const docsMade = 256

// load reads the next pair.
func (r *docReader) load() error {
	if len(r.heads.raw) > r.heads.at || r.to != r.block.Bytes {
		return errDocs
	}
	head, err := r.blocks.Next()
	if err == io.EOF {
		return err
	}
	var raw []byte
	if err == nil {
		raw, err = r.blocks.Read(head)
	}
	if err == nil {
		r.block, err = r.blocks.Next()
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("document shard: %w", err)
	}
	r.heads, r.body, r.names, r.from, r.to = docBlock{raw: raw}, docBlock{}, nil, 0, 0
	if r.left = r.heads.uvarint(); r.heads.bad || r.left > uint64(len(raw)) {
		return errDocs
	}
	return nil
}

// errDocs says that a block passes its checksum and makes no sense.
var errDocs = errors.New("document shard: not of this version")

// head reads what there is to know about a document before it is filled.
func (r *docReader) head(d *Doc) error {
	b := &r.heads
	r.flags = b.byte()
	*d = Doc{Mark: Mark(b.byte()), Ref: Ref{Record: b.uvarint()}, Copies: int(b.uvarint()), Slot: int(b.uvarint()) - 1}
	text, bytes := b.uvarint(), b.uvarint()
	if r.flags&docSameOrigin == 0 {
		r.source, r.path = kept(r.source, b.bytes()), kept(r.path, b.bytes())
	}
	if r.flags&docSameNames == 0 {
		r.readNames()
	}
	d.Source, d.Path = r.source, r.path
	inFields := d.Slot >= 0 && d.Slot < len(r.names)
	needsSlot := r.flags&(docTextInValue|docTextUnquoted|docHasMessages) != 0
	if b.bad || d.Mark > Judge || !inFields && (d.Slot != -1 || needsSlot) ||
		text > store.BlockBytesMax || bytes > uint64(r.block.Bytes-r.to) || uint64(len(r.names)) > bytes {
		return errDocs
	}
	r.from, r.to = r.to, r.to+int(bytes)
	r.textBytes, d.stored = int(text), r
	return nil
}

func (r *docReader) readNames() {
	b := &r.heads
	n := b.uvarint()
	if n > uint64(len(b.raw)-b.at) {
		b.fail()
		return
	}
	r.names = make([]store.Field, n)
	for i := range r.names {
		r.names[i].Key = string(b.bytes())
		if raw := b.bytes(); len(raw) > 0 {
			r.names[i].RawKey = raw
		}
	}
}

// fill reads text, messages and fields of the latest document.
func (r *docReader) fill(d *Doc) error {
	if err := r.fillFields(d); err != nil {
		return err
	}
	return r.fillText(d)
}

// fillFields reads all but the text, unless it stands beside the fields.
func (r *docReader) fillFields(d *Doc) error {
	r.unread = nil
	if r.body.raw == nil {
		raw, err := r.blocks.Read(r.block)
		if err != nil {
			return fmt.Errorf("document shard: %w", err)
		}
		r.body.raw = raw
	}
	b := docBlock{raw: r.body.raw[:r.to], at: r.from}
	d.Fields = r.makeFields()
	for i := range d.Fields {
		d.Fields[i].Value = b.bytes()
	}
	if r.flags&(docTextInValue|docTextUnquoted) == 0 {
		d.Text = stringOf(b.raw[b.at:])
		b.at = r.to
	}
	if b.bad || b.at != r.to {
		return errDocs
	}
	if r.flags&docHasMessages == 0 {
		return nil
	}
	ms, err := parseMessages(d.Fields[d.Slot].Value)
	d.Messages = ms
	return err
}

// makeFields returns the names of the document's fields.
func (r *docReader) makeFields() []store.Field {
	n := len(r.names)
	if n > len(r.fields) {
		r.fields = make([]store.Field, max(n, docsMade))
	}
	fields := r.fields[:n:n]
	r.fields = r.fields[n:]
	copy(fields, r.names)
	return fields
}

func (r *docReader) fillText(d *Doc) error {
	switch {
	case r.flags&docTextInValue != 0:
		value := d.Fields[d.Slot].Value
		if len(value) < 2 {
			return errDocs
		}
		d.Text = stringOf(value[1 : len(value)-1])
	case r.flags&docTextUnquoted != 0:
		value := d.Fields[d.Slot].Value
		text, err := store.Unquote(make([]byte, 0, min(r.textBytes+textSlack, len(value)+textSlack)), value)
		if err != nil {
			return errDocs
		}
		d.Text = stringOf(text)
	}
	if len(d.Text) != r.textBytes {
		return errDocs
	}
	return nil
}

// textSlack is what [store.Unquote] writes to behind a text.
const textSlack = 32

// stringOf is bytes that are never changed, as a string.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// docBlock is a block being read.
type docBlock struct {
	raw []byte
	at  int
	bad bool
}

func (b *docBlock) uvarint() uint64 {
	if b.at < len(b.raw) && b.raw[b.at] < 0x80 {
		b.at++
		return uint64(b.raw[b.at-1])
	}
	v, n := binary.Uvarint(b.raw[b.at:])
	if n <= 0 {
		b.fail()
		return 0
	}
	b.at += n
	return v
}

func (b *docBlock) byte() byte {
	if b.at >= len(b.raw) {
		b.fail()
		return 0
	}
	b.at++
	return b.raw[b.at-1]
}

// bytes cuts the next length and as many bytes.
func (b *docBlock) bytes() []byte {
	n := b.uvarint()
	if n > uint64(len(b.raw)-b.at) {
		b.fail()
		return nil
	}
	b.at += int(n)
	return b.raw[b.at-int(n) : b.at : b.at]
}

// fail ends the reading of the block.
func (b *docBlock) fail() { b.bad, b.at = true, len(b.raw) }

func (r *docReader) Close() error { return r.file.Close() }

// fill completes a document that comes from a [docReader], and was its latest.
func (d *Doc) fill() error {
	r := d.stored
	if r == nil {
		return nil
	}
	d.stored = nil
	return r.fill(d)
}

// TextBytes is the length of the text, also where [Task.EachRecord] leaves it out.
func (d *Doc) TextBytes() int {
	if d.stored != nil {
		return d.stored.textBytes
	}
	return len(d.Text)
}
