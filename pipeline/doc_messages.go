package pipeline

import (
	"fmt"
	"strings"

	"bzdata/pipeline/store"
)

// parseMessages decodes a list of messages. Of each object the members role and content
// count, which are strings, or null or absent for the empty one; others are left alone.
func parseMessages(raw []byte) ([]Message, error) {
	ms := []Message{}
	if string(raw) == "null" {
		return ms, nil
	}
	var list, object store.Record
	if err := store.ScanArray(raw, &list); err != nil {
		return nil, fmt.Errorf("is not a list of messages {role, content}: %w", err)
	}
	for i, e := range list.Fields {
		if err := store.Scan(e.Value, &object); err != nil {
			return nil, fmt.Errorf("message %d is not an object {role, content}: %w", i, err)
		}
		var m Message
		for _, f := range object.Fields {
			to := m.member(f.Key)
			if to == nil || string(f.Value) == "null" {
				continue
			}
			text, ok := stringValue(f.Value)
			if !ok {
				return nil, fmt.Errorf("message %d: %s is not a string", i, f.Key)
			}
			*to = text
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// member returns the part of the message that a quoted member name stands for, or nil.
func (m *Message) member(key []byte) *string {
	switch name, _ := stringValue(key); name {
	case "role":
		return &m.Role
	case "content":
		return &m.Content
	}
	return nil
}

// patchMessages writes ms over a list of as many messages: what did not change stays as
// it came, to the byte, and so do all members but role and content.
func patchMessages(raw []byte, ms []Message) ([]byte, error) {
	old, err := parseMessages(raw)
	if err != nil {
		return nil, err
	}
	var list store.Record
	if len(old) != len(ms) || len(ms) == 0 {
		return appendMessages(nil, ms), nil
	}
	if err := store.ScanArray(raw, &list); err != nil {
		return nil, err
	}
	out := []byte{'['}
	for i, e := range list.Fields {
		if i > 0 {
			out = append(out, ',')
		}
		if old[i] == ms[i] {
			out = append(out, e.Value...)
		} else if out, err = patchMessage(out, e.Value, old[i], ms[i]); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

// patchMessage appends the object raw, which reads as old, with the members of now.
func patchMessage(dst, raw []byte, old, now Message) ([]byte, error) {
	var object store.Record
	if err := store.Scan(raw, &object); err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	there := Message{}
	for i, f := range object.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, f.Key...), ':')
		switch was, is := old.member(f.Key), now.member(f.Key); {
		case is == nil || *was == *is:
			dst = append(dst, f.Value...)
		default:
			dst = store.AppendQuote(dst, *is)
		}
		if at := there.member(f.Key); at != nil {
			*at = "there"
		}
	}
	for _, m := range []struct{ key, there, now string }{
		{"role", there.Role, now.Role}, {"content", there.Content, now.Content}} {
		if m.there == "" && m.now != "" {
			if dst[len(dst)-1] != '{' {
				dst = append(dst, ',')
			}
			dst = store.AppendQuote(append(store.AppendQuote(dst, m.key), ':'), m.now)
		}
	}
	return append(dst, '}'), nil
}

// appendMessages appends ms as a list of objects {role, content}.
func appendMessages(dst []byte, ms []Message) []byte {
	dst = append(dst, '[')
	for i, m := range ms {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = store.AppendQuote(append(dst, `{"role":`...), m.Role)
		dst = append(store.AppendQuote(append(dst, `,"content":`...), m.Content), '}')
	}
	return append(dst, ']')
}

// textOfMessages joins the contents by line ends.
func textOfMessages(ms []Message) string {
	parts := make([]string, len(ms))
	for i, m := range ms {
		parts[i] = m.Content
	}
	return strings.Join(parts, "\n")
}
