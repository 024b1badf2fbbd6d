package spill

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
)

// memory holds records in chunks of bytes without pointers, which cost the garbage collector
// nothing, and sorts small entries that say where they are. A record without payload is in its
// entry alone.
type memory struct {
	limit   int64
	size    int // of a chunk
	chunks  [][]byte
	free    [][]byte // chunks of the usual size to be used again
	bytes   int64    // of the chunks
	entries []entry
}

// entry is a record's key, and where it stands: chunk<<offsetBits + offset. Of a record without
// payload it is all: wholeBit + shard<<numberBits + number, if these have room.
type entry struct{ key, at uint64 }

const (
	// offsetBits allows for the longest record that a file can hold.
	offsetBits = 33
	numberBits = 40
	wholeBit   = 1 << 63
)

// whole returns the entry that is all of a record, if there is one.
func whole(r *Record) (e entry, ok bool) {
	ok = len(r.Payload) == 0 && uint64(r.Shard) < wholeBit>>numberBits && r.Number < 1<<numberBits
	return entry{r.Key, wholeBit | uint64(r.Shard)<<numberBits | r.Number}, ok
}

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
	if !m.makeEntry() {
		return false
	}
	if e, ok := whole(r); ok {
		m.entries = append(m.entries, e)
		return true
	}
	if !m.makeRoom(len(r.Payload) + 3*binary.MaxVarintLen64) {
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
	if e.at&wholeBit != 0 {
		at := e.at &^ wholeBit
		return Record{Key: e.key, Shard: uint32(at >> numberBits), Number: at & (1<<numberBits - 1)}
	}
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
	if a.at&b.at&wholeBit != 0 {
		return cmp.Compare(a.at, b.at)
	}
	x, y := m.record(a), m.record(b)
	return cmp.Or(bytes.Compare(x.Payload, y.Payload), cmp.Compare(x.Shard, y.Shard), cmp.Compare(x.Number, y.Number))
}

func (m *memory) sort() { m.radix(m.entries, topShift, false) }

// topShift is where the first byte of a key is.
const topShift = 64 - 8

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
// by compare is its obvious twin. Entries that are tied have one key, and the start of their
// payload in its place.
func (m *memory) radix(es []entry, shift int, tied bool) {
	if len(es) < radixLeast {
		m.insertion(es)
		return
	}
	var count [256]int
	if shift = countBytes(es, shift, &count); shift >= 0 {
		distribute(es, shift, &count)
		at := 0
		for _, n := range count {
			if n > 1 {
				m.radix(es[at:at+n], shift-8, tied)
			}
			at += n
		}
		return
	}
	if tied {
		slices.SortFunc(es, m.compare)
		return
	}
	m.ties(es)
}

// countBytes counts the bytes at shift, or at the first place after it where the keys do not
// agree; it returns that place, or a negative one if the keys agree in all.
func countBytes(es []entry, shift int, count *[256]int) int {
	for ; shift >= 0; shift -= 8 {
		for _, e := range es {
			count[byte(e.key>>shift)]++
		}
		first := byte(es[0].key >> shift)
		if count[first] < len(es) {
			break
		}
		count[first] = 0
	}
	return shift
}

// distribute brings entries into the order of the bytes at shift, whose counts are given.
func distribute(es []entry, shift int, count *[256]int) {
	var next, ends [256]int
	at := 0
	for b, n := range count {
		next[b] = at
		at += n
		ends[b] = at
	}
	for b := range count {
		for next[b] < ends[b] {
			e := es[next[b]]
			for to := byte(e.key >> shift); int(to) != b; to = byte(e.key >> shift) {
				e, es[next[to]] = es[next[to]], e
				next[to]++
			}
			es[next[b]] = e
			next[b]++
		}
	}
}

// ties sorts entries of one key by the first eight bytes of their payloads, and by all else where
// these agree; what is missing of the eight counts as zeros, which never turns an order round.
func (m *memory) ties(es []entry) {
	key := es[0].key
	for i, e := range es {
		var start [8]byte
		copy(start[:], m.record(e).Payload)
		es[i].key = binary.BigEndian.Uint64(start[:])
	}
	m.radix(es, topShift, true)
	for i := range es {
		es[i].key = key
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
