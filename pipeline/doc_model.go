package pipeline

import (
	"slices"

	"bzdata/pipeline/store"
)

// Ref names a document within one run: the shard, which is the rank of its file, or part of a
// file, among all in the order (source, path), and its record number in the file.
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
	// messages field, if there is one, is at Slot and follows the edits. A value is replaced as a
	// whole: its bytes may be those of Text.
	Fields []store.Field
	// Slot is the field that Text or Messages came from, or -1 for a template.
	Slot int
	// Mark is set on held-out documents: select or judge, or none if it is not for evaluation.
	Mark Mark
	// Copies is how often the document goes on, at least 1: more than once after mix.
	Copies int

	scratch []byte     // where the text of the next record is put together
	stored  *docReader // has what is not filled in yet, or is nil
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
// `messages`, whatever fields they came from. A text that is added comes first.
func (d *Doc) ColumnFields() []store.Field {
	fields := d.Fields
	switch {
	case d.Messages != nil:
		fields = renamed(d.Fields, d.Slot, "messages")
	case d.Slot >= 0:
		return renamed(d.Fields, d.Slot, "text")
	}
	with := withText(fields, d.Text)
	if n := len(fields); len(with) > n {
		return slices.Insert(with[:n:n], 0, with[n])
	}
	return with
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
