package stages

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
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

// clusterBytes is what grouping holds in memory for each document that shares a band with
// another: its record number and its place in the group.
const clusterBytes = 12

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

// groupCandidates finds the connected groups of documents that share bands, directly or
// through others. What one group decides has no influence on another.
func (c MinHash) groupCandidates(ctx context.Context, t *pipeline.Task) error {
	g, err := readCandidateRecords(t, t.ShardCount()+len(againstFiles(t, c.Against)))
	if err != nil {
		return err
	}
	g.groups = dedup.NewComponents(g.len())
	for _, dir := range t.BarrierDirs() {
		if err := cmp.Or(ctx.Err(), g.join(t.FS, filepath.Join(dir, bucketsName))); err != nil {
			return err
		}
	}
	bytes := int64(g.len()) * clusterBytes
	t.Figure("candidates", "%d documents share a band with another; grouping them took %s beside --memory",
		g.len(), report.Size(bytes))
	return t.WriteFile(groupsName, g.write)
}

// candidateGroups are the documents that share a band, by shard and record, and their groups.
type candidateGroups struct {
	records [][]uint64 // by shard, sorted
	before  []int      // by shard: the number of candidates in the shards before
	groups  *dedup.Components
}

func (g *candidateGroups) len() int { return g.before[len(g.records)] }

// readCandidateRecords collects the candidates' record numbers.
func readCandidateRecords(t *pipeline.Task, shards int) (*candidateGroups, error) {
	g := &candidateGroups{before: []int{0}}
	var all []uint64
	for shard := range shards {
		all = all[:0]
		for _, dir := range t.BarrierDirs() {
			block, err := pipeline.ReadShardPart(t.FS, filepath.Join(dir, candidatesName), shard)
			if err != nil {
				return nil, err
			}
			for ; len(block) >= candidateBytes; block = block[candidateBytes:] {
				all = append(all, binary.BigEndian.Uint64(block))
			}
		}
		slices.Sort(all)
		g.records = append(g.records, slices.Clone(slices.Compact(all)))
		g.before = append(g.before, g.before[shard]+len(g.records[shard]))
		if need := int64(g.len()) * clusterBytes; need > t.MemoryBytes {
			return nil, fmt.Errorf("grouping takes %d bytes for each document that shares a band with another; "+
				"after %d of %d shards of the input these are %d documents, which is more than --memory; raise it to %d at least",
				clusterBytes, shard+1, shards, g.len(), need*int64(shards)/int64(shard+1))
		}
	}
	return g, nil
}

// number is a document's place among all candidates.
func (g *candidateGroups) number(shard uint32, record uint64) (int, error) {
	if int(shard) < len(g.records) {
		if i, ok := slices.BinarySearch(g.records[shard], record); ok {
			return g.before[shard] + i, nil
		}
	}
	return 0, fmt.Errorf("document %d:%d shares a band and is no candidate", shard, record)
}

// join unites the documents of each band.
func (g *candidateGroups) join(fsys store.FS, name string) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, first := make([]byte, memberBytes<<12), 0
	for at := int64(0); at < f.Size(); at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), f.Size()-at)]
		if n, err := f.ReadAt(buf, at); n < len(buf) {
			return fmt.Errorf("read %s: %w", name, err)
		}
		for b := buf; len(b) >= memberBytes; b = b[memberBytes:] {
			n, err := g.number(binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint64(b[5:]))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if b[0] == 1 {
				first = n
			}
			g.groups.Union(first, n)
		}
	}
	return nil
}

// write writes each candidate with the key of its group. Keys are spread evenly, so that
// partitions of groups are of like size.
func (g *candidateGroups) write(w io.Writer) error {
	parts := pipeline.NewShardPartsWriter(w)
	var b []byte
	for shard, records := range g.records {
		for i, record := range records {
			b = binary.BigEndian.AppendUint64(b[:0], record)
			b = binary.BigEndian.AppendUint64(b, dedup.Spread(uint64(g.groups.Find(g.before[shard]+i))))
			if err := parts.Write(shard, b); err != nil {
				return err
			}
		}
	}
	return parts.Close(len(g.records))
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

// of returns a document's group and the band keys that it shares; there are none if it is no
// candidate.
func (c *candidateCursor) of(record uint64) (group uint64, keys []uint64) {
	for len(c.groups) >= candidateBytes && binary.BigEndian.Uint64(c.groups) < record {
		c.groups = c.groups[candidateBytes:]
	}
	for len(c.entries) > 0 && c.entries[0].record < record {
		c.entries = c.entries[1:]
	}
	c.keys = c.keys[:0]
	for len(c.entries) > 0 && c.entries[0].record == record {
		c.keys, c.entries = append(c.keys, c.entries[0].key), c.entries[1:]
	}
	if len(c.keys) == 0 {
		return 0, nil
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
