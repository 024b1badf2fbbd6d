package store

import (
	"bytes"
	"errors"
	"io"
)

// errLineBreak refuses a value that would cut a JSONL record in two.
var errLineBreak = errors.New("a JSONL record holds a line break: put the value on one line")

// JSONLWriter writes records as lines {"name":value,…}, values byte for byte.
type JSONLWriter struct {
	w   io.Writer
	buf []byte
}

// NewJSONLWriter writes lines to w in large pieces. Close writes the last piece and
// leaves w open.
func NewJSONLWriter(w io.Writer) *JSONLWriter { return &JSONLWriter{w: w} }

// Write writes one record. Keys must differ from each other and values must be JSON on
// one line, as [Rows] gives them; only line breaks are checked.
func (j *JSONLWriter) Write(fields []Field) error {
	for _, f := range fields {
		if bytes.IndexByte(f.Value, '\n') >= 0 {
			return errLineBreak
		}
	}
	j.buf = AppendFields(j.buf, fields)
	return j.endLine()
}

// WriteRaw writes one record that is JSON already, as [Row].Raw is.
func (j *JSONLWriter) WriteRaw(raw []byte) error {
	if bytes.IndexByte(raw, '\n') >= 0 {
		return errLineBreak
	}
	j.buf = append(j.buf, raw...)
	return j.endLine()
}

func (j *JSONLWriter) endLine() error {
	j.buf = append(j.buf, '\n')
	if len(j.buf) < readBufferBytes {
		return nil
	}
	return j.flush()
}

func (j *JSONLWriter) flush() error {
	_, err := j.w.Write(j.buf)
	j.buf = j.buf[:0]
	return err
}

// Close writes what is buffered.
func (j *JSONLWriter) Close() error { return j.flush() }
