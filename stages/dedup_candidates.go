package stages

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"slices"

	"bzdata/pipeline"
)

// The files that the first barrier of minhash makes of the band keys.
const (
	// candidatesName is the file of documents that share a band, a file of shard parts: the
	// block of a shard has, for each such document and band, uint64 record and uint64 band
	// key, sorted by both. Numbers in these files are big-endian.
	candidatesName = "candidates"
	// bucketsName is the file of documents by band: for each document one byte, 1 for the first
	// of a band and 0 for those after it, uint32 shard and uint64 record.
	bucketsName = "buckets"
	// groupsName is a file of shard parts: for each candidate of a shard, uint64 record and
	// uint64 key of its connected group, sorted by record.
	groupsName = "groups"
	// earlierName is a file of shard parts: for the first document of each band that documents
	// of earlier generations have, too, uint64 record, and for each of these uint32 generation,
	// uint64 number and uint64 band key, sorted by all.
	earlierName = "earlier"
)

const (
	memberBytes    = 13 // of a document in bucketsName
	candidateBytes = 16 // of an entry in candidatesName and groupsName
	earlierBytes   = 28 // of an entry in earlierName
)

// reduceBands writes the documents of the bands that more than one document has, those of
// earlier generations included.
func reduceBands(t *pipeline.Task, part *pipeline.Partition, index *keptIndex, bucketMax int) error {
	kept, err := index.open(t)
	if err != nil {
		return err
	}
	b := &bandReducer{t: t, candidates: t.Sorter(), earlier: t.Sorter(), kept: kept, bucketMax: bucketMax}
	err = t.WriteFile(bucketsName, func(w io.Writer) error {
		b.buckets = w
		return cmp.Or(part.Each(b.add), b.flush())
	})
	if err = errors.Join(err, kept.close()); err != nil {
		return err
	}
	return cmp.Or(writeSorted(t, candidatesName, b.candidates), writeSorted(t, earlierName, b.earlier))
}

// writeSorted writes payloads as a file of shard parts.
func writeSorted(t *pipeline.Task, name string, sorted *pipeline.Sorter) error {
	err := t.WriteFile(name, func(w io.Writer) error {
		parts := pipeline.NewShardPartsWriter(w)
		err := sorted.Each(func(r pipeline.Record) error { return parts.Write(int(r.Ref.Shard), r.Payload) })
		return cmp.Or(err, parts.Close(0))
	})
	return cmp.Or(err, sorted.Close())
}

// bandReducer sees the documents of one band after the other.
type bandReducer struct {
	t          *pipeline.Task
	candidates *pipeline.Sorter // by shard, record and band key
	earlier    *pipeline.Sorter // by shard, record, document and band key
	kept       *keptGenerations
	bucketMax  int
	buckets    io.Writer
	buf        []byte // for buckets
	entry      []byte
	first      pipeline.Record // of the band; not written before there is a second one
	some       bool
	written    bool // the first is
}

func (b *bandReducer) add(r pipeline.Record) error {
	fresh := !b.some || r.Key != b.first.Key
	if len(r.Payload) > 0 {
		if fresh {
			return nil // documents of against have the band, and no other
		}
		r.Ref = againstRef(b.t, binary.BigEndian.Uint64(r.Payload))
	}
	if fresh {
		b.first, b.some, b.written = pipeline.Record{Key: r.Key, Ref: r.Ref}, true, false
		return b.kept.find(r.Key, b.bucketMax, b.match)
	}
	if err := b.writeFirst(); err != nil {
		return err
	}
	return b.member(r, 0)
}

func (b *bandReducer) writeFirst() error {
	if b.written {
		return nil
	}
	b.written = true
	return b.member(b.first, 1)
}

// match notes that a document of an earlier generation has the band.
func (b *bandReducer) match(d earlierDoc) error {
	b.entry = binary.BigEndian.AppendUint64(b.entry[:0], b.first.Ref.Record)
	b.entry = appendEarlier(b.entry, d, b.first.Key)
	r := pipeline.Record{Key: uint64(b.first.Ref.Shard), Ref: b.first.Ref, Payload: b.entry}
	return cmp.Or(b.earlier.Add(r), b.writeFirst())
}

func (b *bandReducer) member(r pipeline.Record, first byte) error {
	b.entry = binary.BigEndian.AppendUint64(b.entry[:0], r.Ref.Record)
	b.entry = binary.BigEndian.AppendUint64(b.entry, r.Key)
	if err := b.candidates.Add(pipeline.Record{Key: uint64(r.Ref.Shard), Ref: r.Ref, Payload: b.entry}); err != nil {
		return err
	}
	b.buf = binary.BigEndian.AppendUint32(append(b.buf, first), r.Ref.Shard)
	b.buf = binary.BigEndian.AppendUint64(b.buf, r.Ref.Record)
	if len(b.buf) < 1<<16 {
		return nil
	}
	return b.flush()
}

func (b *bandReducer) flush() error {
	_, err := b.buckets.Write(b.buf)
	b.buf = b.buf[:0]
	return err
}

// candidateCursor gives the group and the shared bands of a shard's candidates, which are
// asked for in rising order.
type candidateCursor struct {
	entries []candidateEntry // sorted by record and key
	groups  []byte           // as in groupsName
	keys    []uint64
	earlier []candidateEarlier // sorted
}

// candidateEarlier says that a document of an earlier generation has a band of a record.
type candidateEarlier struct {
	record uint64
	doc    earlierDoc
	key    uint64
}

// appendEarlier appends that a document has a band; cutEarlier reads it.
func appendEarlier(b []byte, d earlierDoc, key uint64) []byte {
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, d.generation), d.number)
	return binary.BigEndian.AppendUint64(b, key)
}

func cutEarlier(b []byte) (d earlierDoc, key uint64) {
	return earlierDoc{binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:])}, binary.BigEndian.Uint64(b[12:])
}

type candidateEntry struct{ record, key uint64 }

// readCandidates reads what the first barrier found about a shard.
func readCandidates(t *pipeline.Task, shard int) (*candidateCursor, error) {
	c := &candidateCursor{}
	dirs := t.BarrierDirs()
	for _, dir := range dirs[:len(dirs)-1] {
		block, err := pipeline.ReadShardPart(t.FS, filepath.Join(dir, candidatesName), shard)
		if err != nil {
			return nil, err
		}
		for ; len(block) >= candidateBytes; block = block[candidateBytes:] {
			c.entries = append(c.entries, candidateEntry{binary.BigEndian.Uint64(block), binary.BigEndian.Uint64(block[8:])})
		}
	}
	if err := c.readEarlier(t, shard, dirs[:len(dirs)-1]); err != nil {
		return nil, err
	}
	slices.SortFunc(c.entries, func(a, b candidateEntry) int {
		return cmp.Or(cmp.Compare(a.record, b.record), cmp.Compare(a.key, b.key))
	})
	var err error
	c.groups, err = pipeline.ReadShardPart(t.FS, filepath.Join(dirs[len(dirs)-1], groupsName), shard)
	return c, err
}

// has reports whether a document is a candidate.
func (c *candidateCursor) has(record uint64) bool {
	for len(c.entries) > 0 && c.entries[0].record < record {
		c.entries = c.entries[1:]
	}
	return len(c.entries) > 0 && c.entries[0].record == record
}

// of returns a document's group and the band keys that it shares; there are none if it is no
// candidate.
func (c *candidateCursor) of(record uint64) (group uint64, keys []uint64) {
	for len(c.groups) >= candidateBytes && binary.BigEndian.Uint64(c.groups) < record {
		c.groups = c.groups[candidateBytes:]
	}
	if c.keys = c.keys[:0]; !c.has(record) {
		return 0, nil
	}
	for len(c.entries) > 0 && c.entries[0].record == record {
		c.keys, c.entries = append(c.keys, c.entries[0].key), c.entries[1:]
	}
	return binary.BigEndian.Uint64(c.groups[8:]), c.keys
}

func (c *candidateCursor) readEarlier(t *pipeline.Task, shard int, dirs []string) error {
	for _, dir := range dirs {
		block, err := pipeline.ReadShardPart(t.FS, filepath.Join(dir, earlierName), shard)
		if err != nil {
			return err
		}
		for ; len(block) >= earlierBytes; block = block[earlierBytes:] {
			d, key := cutEarlier(block[8:])
			c.earlier = append(c.earlier, candidateEarlier{binary.BigEndian.Uint64(block), d, key})
		}
	}
	slices.SortFunc(c.earlier, func(a, b candidateEarlier) int {
		return cmp.Or(cmp.Compare(a.record, b.record), a.doc.compare(b.doc), cmp.Compare(a.key, b.key))
	})
	return nil
}

// earlierOf calls visit with the documents of earlier generations that a record speaks for.
func (c *candidateCursor) earlierOf(record uint64, visit func(d earlierDoc, key uint64)) {
	for len(c.earlier) > 0 && c.earlier[0].record <= record {
		if c.earlier[0].record == record {
			visit(c.earlier[0].doc, c.earlier[0].key)
		}
		c.earlier = c.earlier[1:]
	}
}
