package pipeline

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"bzdata/pipeline/store"
)

// The documents of a shard are stored in a block file ([store.BlockWriter]), since every
// pass behind a barrier reads them again. A block holds whole documents:
//
//	uvarint documents · uvarint fields of all of them · the documents
//
// and a document is
//
//	byte flags · byte mark · uvarint record · uvarint copies · uvarint slot+1 ·
//	unless flagged: bytes source · bytes path ·
//	unless flagged: uvarint fields · for each: bytes key · bytes raw key ·
//	for each field: bytes value ·
//	unless flagged: bytes text
//
// where bytes is a uvarint length and that many bytes, and what is flagged is as in the
// document before it in the block. The text is left out where it is what stands between
// the quotes of the value at slot; elsewhere it is stored beside the value, since to the
// compressor it is a repetition, and to the reader it is work done.
const (
	docHasMessages = 1 << iota // the value at slot holds messages
	docSameOrigin              // source and path
	docSameNames               // keys and raw keys of all fields
	docTextInValue
)

// docBlockBytes is about how much a block holds, uncompressed.
const docBlockBytes = 256 << 10

// docWriter writes the documents of a shard.
type docWriter struct {
	blocks     *store.BlockWriter
	body, head []byte
	docs       uint64
	fields     uint64
	source     string
	path       string
	names      []byte // of the document before, encoded
	buf        []byte
}

func newDocWriter(w io.Writer) *docWriter { return &docWriter{blocks: store.NewBlockWriter(w)} }

// Write appends d.
func (w *docWriter) Write(d *Doc) error {
	flags := byte(0)
	if d.Messages != nil {
		flags |= docHasMessages
	} else if d.Slot >= 0 && textInValue(d.Fields[d.Slot].Value, d.Text) {
		flags |= docTextInValue
	}
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
	w.docs, w.fields = w.docs+1, w.fields+uint64(len(d.Fields))
	if len(w.body) < docBlockBytes {
		return nil
	}
	return w.flush()
}

func (w *docWriter) append(d *Doc, flags byte) {
	b := append(w.body, flags, byte(d.Mark))
	b = binary.AppendUvarint(b, d.Ref.Record)
	b = binary.AppendUvarint(b, uint64(d.Copies))
	b = binary.AppendUvarint(b, uint64(d.Slot+1))
	if flags&docSameOrigin == 0 {
		b = appendBytes(appendBytes(b, d.Source), d.Path)
	}
	if flags&docSameNames == 0 {
		b = append(b, w.buf...)
	}
	for _, f := range d.Fields {
		b = appendBytes(b, f.Value)
	}
	if flags&docTextInValue == 0 {
		b = appendBytes(b, d.Text)
	}
	w.body = b
}

// textInValue reports whether a JSON string's value is its text between quotes.
func textInValue(value []byte, text string) bool {
	return len(value) == len(text)+2 && string(value[1:len(value)-1]) == text
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
	b := binary.AppendUvarint(binary.AppendUvarint(w.head[:0], w.docs), w.fields)
	b = append(b, w.body...)
	w.head, w.body, w.docs, w.fields = b, w.body[:0], 0, 0
	return w.blocks.Write(b)
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

	block  docBlock
	docs   []Doc // of the block, the read ones first
	next   int
	fields []store.Field // of the block's documents that are still to be read

	source, path string // of the document before, also in another block
}

// kept returns a name that may be held for long, as ledgers do: not a part of a block, which
// would be held with it.
func kept(before, name string) string {
	if name == before {
		return before
	}
	return strings.Clone(name)
}

func openDocs(fsys store.FS, name string) (*docReader, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return &docReader{name: name, file: file, blocks: store.NewBlockReader(bufio.NewReaderSize(file, 1<<16))}, nil
}

// Next returns the next document, or io.EOF. It stays valid, but keeps the memory of its
// block; its source, path and keys do not.
func (r *docReader) Next() (*Doc, error) {
	for r.next == len(r.docs) {
		if err := r.load(); err != nil {
			return nil, err
		}
	}
	d := &r.docs[r.next]
	if r.next > 0 {
		*d = Doc{Source: r.docs[r.next-1].Source, Path: r.docs[r.next-1].Path}
	}
	if err := r.read(d); err != nil {
		return nil, fmt.Errorf("document shard: %w", err)
	}
	r.next++
	return d, nil
}

// load reads the next block.
func (r *docReader) load() error {
	raw, err := r.blocks.Next()
	if err == io.EOF {
		if r.block.at < len(r.block.raw) {
			return errDocs
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("document shard: %w", err)
	}
	if r.block.at < len(r.block.raw) {
		return errDocs
	}
	r.block = docBlock{raw: raw, text: string(raw)}
	docs, fields := r.block.uvarint(), r.block.uvarint()
	if r.block.bad || docs > uint64(len(raw)) || fields > uint64(len(raw)) {
		return errDocs
	}
	r.docs, r.next, r.fields, r.block.names = make([]Doc, docs), 0, make([]store.Field, fields), nil
	return nil
}

// errDocs says that a block passes its checksum and makes no sense.
var errDocs = errors.New("document shard: not of this version")

func (r *docReader) read(d *Doc) error {
	b := &r.block
	flags := b.byte()
	d.Mark = Mark(b.byte())
	d.Ref.Record = b.uvarint()
	d.Copies = int(b.uvarint())
	d.Slot = int(b.uvarint()) - 1
	if flags&docSameOrigin == 0 {
		d.Source, d.Path = kept(r.source, b.string()), kept(r.path, b.string())
		r.source, r.path = d.Source, d.Path
	}
	if flags&docSameNames == 0 {
		b.readNames(len(r.fields))
	}
	n := len(b.names)
	if b.bad || n > len(r.fields) {
		return errDocs
	}
	d.Fields, r.fields = r.fields[:n:n], r.fields[n:]
	copy(d.Fields, b.names)
	end := 0 // of the value at slot
	for i := range d.Fields {
		if d.Fields[i].Value = b.bytes(); i == d.Slot {
			end = b.at
		}
	}
	return b.readText(d, flags, end)
}

// docBlock is a block being read: its bytes, and the same as a string, of which texts are
// cut without another copy.
type docBlock struct {
	raw   []byte
	text  string
	at    int
	bad   bool
	names []store.Field // of the document before, without values
}

func (b *docBlock) readNames(most int) {
	n := b.uvarint()
	if n > uint64(most) {
		b.bad = true
		return
	}
	b.names = make([]store.Field, n)
	for i := range b.names {
		b.names[i].Key, b.names[i].RawKey = strings.Clone(b.string()), b.bytes()
		if len(b.names[i].RawKey) == 0 {
			b.names[i].RawKey = nil
		}
	}
}

func (b *docBlock) readText(d *Doc, flags byte, end int) error {
	inFields := d.Slot >= 0 && d.Slot < len(d.Fields)
	if !inFields && (d.Slot != -1 || flags&(docTextInValue|docHasMessages) != 0) || d.Mark > Judge {
		return errDocs
	}
	if flags&docTextInValue == 0 {
		d.Text = b.string()
	} else if length := len(d.Fields[d.Slot].Value); length >= 2 && !b.bad {
		d.Text = b.text[end-length+1 : end-1]
	} else {
		return errDocs
	}
	if b.bad {
		return errDocs
	}
	if flags&docHasMessages != 0 {
		ms, err := parseMessages(d.Fields[d.Slot].Value)
		d.Messages = ms
		return err
	}
	return nil
}

func (b *docBlock) uvarint() uint64 {
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

// span cuts the next length and as many bytes.
func (b *docBlock) span() (from, to int) {
	n := b.uvarint()
	if n > uint64(len(b.raw)-b.at) {
		b.fail()
		return 0, 0
	}
	b.at += int(n)
	return b.at - int(n), b.at
}

func (b *docBlock) bytes() []byte {
	from, to := b.span()
	return b.raw[from:to:to]
}

func (b *docBlock) string() string {
	from, to := b.span()
	return b.text[from:to]
}

// fail ends the reading of the block.
func (b *docBlock) fail() { b.bad, b.at = true, len(b.raw) }

func (r *docReader) Close() error { return r.file.Close() }
