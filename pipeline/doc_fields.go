package pipeline

import (
	"fmt"
	"slices"

	"bzdata/pipeline/store"
)

// Replace makes fields those of the document, as if its record had come with them: they are
// [Doc.ExportFields] with values changed, fields added or left out. Text and messages follow
// the field that they came from. The text of a conversation follows its messages and must
// not be changed itself. On an error the document stays as it is.
func (d *Doc) Replace(fields []store.Field) error {
	next := *d
	if d.Slot < 0 || d.Messages != nil {
		var added string
		var err error
		if fields, added, err = withoutText(d.Fields, fields); err != nil {
			return err
		}
		next.Text = added
	}
	next.Fields = fields
	if d.Slot < 0 {
		*d = next
		return nil
	}
	key := d.Fields[d.Slot].Key
	if next.Slot = fieldIndex(fields, key); next.Slot < 0 {
		return fmt.Errorf("field %q is missing", key)
	}
	value := fields[next.Slot].Value
	if d.Messages == nil {
		text, ok := stringValue(value)
		if !ok {
			return fmt.Errorf("field %q is not a string", key)
		}
		next.Text = text
		*d = next
		return nil
	}
	ms, err := parseMessages(value)
	if err != nil {
		return fmt.Errorf("field %q %w", key, err)
	}
	text := textOfMessages(ms)
	if next.Text != d.Text && next.Text != text {
		return fmt.Errorf("field \"text\" was changed, which follows %q; change that", key)
	}
	next.Messages, next.Text = ms, text
	*d = next
	return nil
}

// FieldValue returns the value of a field of the record, as JSON.
func (d *Doc) FieldValue(key string) (value []byte, ok bool) {
	i := fieldIndex(d.Fields, key)
	if i < 0 {
		return nil, false
	}
	return d.Fields[i].Value, true
}

// AddField adds a field to the record. One that the record had under that key goes on with
// _original behind its key.
func (d *Doc) AddField(key string, value []byte) {
	fields := d.Fields
	if i := fieldIndex(fields, key); i >= 0 {
		fields = setAside(fields, i)
	}
	d.Fields = append(fields[:len(fields):len(fields)], store.Field{Key: key, Value: value})
}

// withoutText undoes [withText]: it returns fields without the text that was added to
// those of before, and that text.
func withoutText(before, fields []store.Field) (rest []store.Field, text string, err error) {
	i := fieldIndex(fields, "text")
	if i < 0 {
		return nil, "", fmt.Errorf("field \"text\" is missing")
	}
	text, ok := stringValue(fields[i].Value)
	if !ok {
		return nil, "", fmt.Errorf("field \"text\" is not a string")
	}
	own := fieldIndex(before, "text")
	aside := -1
	if own >= 0 {
		aside = fieldIndex(fields, setAside(before, own)[own].Key)
		if aside < 0 { // it said the same, and follows
			return fields, text, nil
		}
	}
	rest = slices.Clone(fields)
	if aside >= 0 {
		rest[aside].Key, rest[aside].RawKey = "text", nil
	}
	return slices.Delete(rest, i, i+1), text, nil
}
