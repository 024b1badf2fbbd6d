// Package spill sorts and merges records that do not fit into memory.
//
// A [Sorter] takes records in any order and gives them back sorted by (key, payload, shard,
// number). It holds as many as its budget allows; when that is full it sorts them and writes
// them to a temporary file, a run. In the end the runs and what is still in memory are merged.
// A [Merged] does the same with parts of files that are sorted already, such as those that a
// [Writer] made. No more than a fan-in of files is open at a time: of more, groups are first
// merged into longer runs (external merge sort: Knuth, The Art of Computer Programming 3,
// section 5.4). Since the order is total up to records that are equal in everything, what comes
// out does not depend on the budget.
//
// Files are made of blocks with a length and a checksum, and say at their end how many records
// they hold: damage is an error.
package spill

import (
	"bytes"
	"cmp"

	"bzdata/pipeline/store"
)

// Record is what is sorted: a payload under a key, and where it came from.
type Record struct {
	Key     uint64
	Shard   uint32
	Number  uint64
	Payload []byte
}

// Compare orders records by (key, payload, shard, number).
func Compare(a, b *Record) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), bytes.Compare(a.Payload, b.Payload),
		cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Number, b.Number))
}

// Options say where and within what to sort.
type Options struct {
	FS store.FS
	// Dir is the folder of temporary files. It is made when the first one is written; whoever
	// gives it removes it.
	Dir string
	// Bytes is the budget of memory: of the records held and of the buffers of open files. One
	// record, and two blocks for the merging, are held in any case.
	Bytes int64
	// Check, if not nil, is called with every block written or read; its error ends the work.
	Check func() error
}

// fanInMax bounds the files open at a time for one merge.
const fanInMax = 128

// fanIn is how many files are merged at a time: each has a block in memory.
func (o *Options) fanIn() int { return int(max(2, min(o.Bytes/blockBytes, fanInMax))) }

func (o *Options) check() error {
	if o.Check == nil {
		return nil
	}
	return o.Check()
}
