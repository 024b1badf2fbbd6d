package spill

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
)

// memory holds records in chunks of bytes without pointers, which cost the garbage collector
// nothing, and sorts small entries that say where they are.
type memory struct {
	limit   int64
	size    int // of a chunk
	chunks  [][]byte
	free    [][]byte // chunks of the usual size to be used again
	bytes   int64    // of the chunks
	entries []entry
}

// entry is a record's key, and where it stands: chunk<<offsetBits + offset.
type entry struct{ key, at uint64 }

// offsetBits allows for the longest record that a file can hold.
const offsetBits = 33

// entryBytes is the size of an entry.
const entryBytes = 16

// The sizes of chunks: a sixteenth of the budget within these bounds.
const (
	chunkBytesMin = 1 << 10
	chunkBytesMax = 256 << 10
)

func newMemory(limit int64) *memory {
	return &memory{limit: limit, size: int(max(chunkBytesMin, min(limit/16, chunkBytesMax)))}
}

// add copies a record in and reports whether it fits; the first record always does.
func (m *memory) add(r *Record) bool {
	need := len(r.Payload) + 3*binary.MaxVarintLen64
	if !m.makeEntry() || !m.makeRoom(need) {
		return false
	}
	last := len(m.chunks) - 1
	chunk := m.chunks[last]
	at := uint64(last)<<offsetBits + uint64(len(chunk))
	m.chunks[last] = appendTail(chunk, r)
	m.entries = append(m.entries, entry{r.Key, at})
	return true
}

// makeEntry makes room for one more entry. While the entries grow, the old ones are there too.
func (m *memory) makeEntry() bool {
	n := len(m.entries)
	if n < cap(m.entries) {
		return true
	}
	grown := max(64, n+n/2)
	if n > 0 && m.bytes+entryBytes*int64(n+grown) > m.limit {
		return false
	}
	m.entries = slices.Grow(m.entries, grown-n)
	return true
}

// makeRoom makes sure that the last chunk has room for so many bytes.
func (m *memory) makeRoom(need int) bool {
	if last := len(m.chunks) - 1; last >= 0 && cap(m.chunks[last])-len(m.chunks[last]) >= need {
		return true
	}
	size := max(m.size, need)
	if len(m.entries) > 0 && m.bytes+int64(size)+entryBytes*int64(cap(m.entries)) > m.limit {
		return false
	}
	var chunk []byte
	if n := len(m.free) - 1; n >= 0 && size == m.size {
		chunk, m.free = m.free[n], m.free[:n]
	} else {
		chunk = make([]byte, 0, size)
	}
	m.chunks, m.bytes = append(m.chunks, chunk), m.bytes+int64(size)
	return true
}

// reset forgets all records; their memory is used for the next.
func (m *memory) reset() {
	for i, c := range m.chunks {
		if cap(c) == m.size {
			m.free = append(m.free, c[:0])
		}
		m.chunks[i] = nil
	}
	m.chunks, m.entries, m.bytes = m.chunks[:0], m.entries[:0], 0
}

// record decodes a record.
func (m *memory) record(e entry) (r Record) {
	b := m.chunks[e.at>>offsetBits][e.at&(1<<offsetBits-1):]
	shard, n := binary.Uvarint(b)
	number, k := binary.Uvarint(b[n:])
	n += k
	size, k := binary.Uvarint(b[n:])
	n += k
	end := n + int(size)
	return Record{e.key, uint32(shard), number, b[n:end:end]}
}

// compare is [Compare] of entries.
func (m *memory) compare(a, b entry) int {
	if a.key != b.key {
		return cmp.Compare(a.key, b.key)
	}
	x, y := m.record(a), m.record(b)
	return cmp.Or(bytes.Compare(x.Payload, y.Payload), cmp.Compare(x.Shard, y.Shard), cmp.Compare(x.Number, y.Number))
}

func (m *memory) sort() { m.radix(m.entries, 64-8) }

// radixLeast is the number of entries from which a pass of the radix sort pays.
const radixLeast = 32

// insertion sorts a few entries.
func (m *memory) insertion(es []entry) {
	for i := 1; i < len(es); i++ {
		e := es[i]
		j := i
		for ; j > 0 && (e.key < es[j-1].key || e.key == es[j-1].key && m.compare(e, es[j-1]) < 0); j-- {
			es[j] = es[j-1]
		}
		es[j] = e
	}
}

// radix sorts entries whose keys agree above the byte at shift, in place, by that byte and
// then each bucket (American flag sort: McIlroy, Bostic and McIlroy 1993). [slices.SortFunc]
// by compare is its obvious twin.
func (m *memory) radix(es []entry, shift int) {
	switch {
	case len(es) < radixLeast:
		m.insertion(es)
		return
	case shift < 0:
		slices.SortFunc(es, m.compare)
		return
	}
	var count, from [256]int
	for _, e := range es {
		count[byte(e.key>>shift)]++
	}
	at := 0
	for b, n := range count {
		from[b] = at
		at += n
	}
	next := from
	for b := range count {
		for end := from[b] + count[b]; next[b] < end; {
			e := es[next[b]]
			for to := byte(e.key >> shift); int(to) != b; to = byte(e.key >> shift) {
				e, es[next[to]] = es[next[to]], e
				next[to]++
			}
			es[next[b]] = e
			next[b]++
		}
	}
	for b, n := range count {
		if n > 1 {
			m.radix(es[from[b]:from[b]+n], shift-8)
		}
	}
}

// memorySource reads what a memory holds, sorted.
type memorySource struct {
	*memory
	at int
}

func (s *memorySource) Next(r *Record) error {
	if s.at == len(s.entries) {
		return io.EOF
	}
	*r = s.record(s.entries[s.at])
	s.at++
	return nil
}
