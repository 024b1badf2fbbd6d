package pipeline

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// queueBytes is about how much of a queue's documents is in memory at each of its ends.
const queueBytes = 2 << 20

// docQueue holds documents of a shard, first in, first out: in memory as long as they are few,
// the others in temporary files of the task.
type docQueue struct {
	t     *Task
	shard uint32
	count int

	head   []Doc // the oldest, from next on
	at     int
	reader *docReader // of the oldest file
	files  []string   // older than tail, the oldest first
	made   int        // files
	dir    string     // of the files, once there was one
	tail   []Doc
	bytes  int64 // in tail
}

// put adds a copy of d.
func (q *docQueue) put(d *Doc) error {
	held := heldDoc(d)
	q.tail = append(q.tail, held)
	q.bytes += docBytes(&held)
	q.count++
	if q.bytes < queueBytes {
		return nil
	}
	if q.at == len(q.head) && len(q.files) == 0 {
		q.advance()
		return nil
	}
	return q.spill()
}

// heldDoc is a copy of d that holds no memory of what d was read from.
func heldDoc(d *Doc) Doc {
	held := *d
	held.scratch = nil
	held.Text = strings.Clone(d.Text)
	held.Fields = slices.Clone(d.Fields)
	buf := make([]byte, 0, fieldBytes(d.Fields))
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		from := len(buf)
		buf = append(buf, b...)
		return buf[from:len(buf):len(buf)]
	}
	for i, f := range d.Fields {
		held.Fields[i].Value, held.Fields[i].RawKey = keep(f.Value), keep(f.RawKey)
	}
	return held
}

func fieldBytes(fields []store.Field) int {
	n := 0
	for _, f := range fields {
		n += len(f.Value) + len(f.RawKey)
	}
	return n
}

// docBytes is about how much memory a held document takes.
func docBytes(d *Doc) int64 {
	const doc, field = 240, 64
	return int64(doc + field*len(d.Fields) + fieldBytes(d.Fields) + len(d.Text))
}

// advance makes the tail the head, which is used up.
func (q *docQueue) advance() {
	clear(q.head)
	q.head, q.tail, q.at, q.bytes = q.tail, q.head[:0], 0, 0
}

// spill writes the tail to a file.
func (q *docQueue) spill() (err error) {
	if q.dir == "" {
		q.dir = q.t.spillDir()
		if err := q.t.FS.MkdirAll(q.dir); err != nil {
			return err
		}
	}
	q.made++
	name := filepath.Join(q.dir, fmt.Sprint(q.made))
	f, err := q.t.FS.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := newDocWriter(f, false)
	for i := range q.tail {
		if err := w.Write(&q.tail[i]); err != nil {
			return err
		}
	}
	clear(q.tail)
	q.files, q.tail, q.bytes = append(q.files, name), q.tail[:0], 0
	return w.Close()
}

// next takes the oldest document out. It is valid until the next call.
func (q *docQueue) next() (*Doc, error) {
	if q.count == 0 {
		return nil, errors.New("a document is due, and none is held")
	}
	q.count--
	if q.at > 0 {
		q.head[q.at-1] = Doc{}
	}
	if q.at == len(q.head) {
		if d, err := q.stored(); d != nil || err != nil {
			return d, err
		}
		q.advance()
	}
	q.at++
	return &q.head[q.at-1], nil
}

// stored returns the next document of the files, or nil if there is none.
func (q *docQueue) stored() (*Doc, error) {
	for len(q.files) > 0 {
		if q.reader == nil {
			r, err := openDocs(q.t.FS, q.files[0])
			if err != nil {
				return nil, err
			}
			q.reader = r
		}
		d, err := q.reader.Next()
		if err == nil {
			d.Ref.Shard = q.shard
			return d, d.fill()
		}
		if err != io.EOF {
			return nil, fmt.Errorf("%s: %w", q.files[0], err)
		}
		q.close()
		if err := q.t.FS.Remove(q.files[0]); err != nil {
			return nil, err
		}
		q.files = q.files[1:]
	}
	return nil, nil
}

// close closes what is open. The files go with the task's folder.
func (q *docQueue) close() {
	if q.reader != nil {
		_ = q.reader.Close() // it was only read
		q.reader = nil
	}
}
