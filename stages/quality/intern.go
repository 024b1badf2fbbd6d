package quality

import "bzdata/tokenize/words"

// interner numbers the distinct pieces of a text from 0 in order of first appearance and
// counts each. Two pieces are the same if their bytes are: hashes only speed up the search.
type interner struct {
	slots   []uint32 // open addressing; an entry's number plus one, 0 where empty
	entries []internEntry
}

type internEntry struct {
	hash  uint64
	span  words.Span // of the first one
	count uint32
}

// reset empties t and makes room for n additions.
func (t *interner) reset(n int) {
	t.slots = cleared(t.slots, n)
	t.entries = t.entries[:0]
}

// cleared returns a table of zeros with room for n keys at a load of at most one half, its
// length a power of two, in the memory of table if that suffices.
func cleared[T uint32 | uint64](table []T, n int) []T {
	size := 8
	for size < 2*n {
		size *= 2
	}
	if cap(table) < size {
		return make([]T, size)
	}
	table = table[:size]
	clear(table)
	return table
}

// add counts the piece span of text and returns its number and whether it was known.
func (t *interner) add(text string, span words.Span) (number uint32, known bool) {
	piece := span.Of(text)
	hash, mask := words.Hash(piece), uint64(len(t.slots)-1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := t.slots[i]
		if slot == 0 {
			t.entries = append(t.entries, internEntry{hash, span, 1})
			t.slots[i] = uint32(len(t.entries))
			return uint32(len(t.entries) - 1), false
		}
		e := &t.entries[slot-1]
		if e.hash == hash && e.span.Of(text) == piece {
			e.count++
			return slot - 1, true
		}
	}
}
