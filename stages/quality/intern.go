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

// reset empties t and makes room for up to n additions.
func (t *interner) reset(n int) {
	t.slots = emptySlots(t.slots, n)
	t.entries = t.entries[:0]
}

// slotsAtFirst bounds the slots that a table starts with. A longer text grows it as far as
// its distinct pieces need; in a text of much repetition they are few.
const slotsAtFirst = 1 << 13

// emptySlots returns a table of zeros for n keys or, if n is large, to be grown; its length
// is a power of two. It is in the memory of slots if that suffices.
func emptySlots(slots []uint32, n int) []uint32 {
	size := 8
	for size < 2*n && size < slotsAtFirst {
		size *= 2
	}
	if cap(slots) < size {
		return make([]uint32, size)
	}
	slots = slots[:size]
	clear(slots)
	return slots
}

// grownSlots returns a table four times as long as slots with the numbers from 0 to n-1 in
// it, whose hashes are given by hash.
func grownSlots(slots []uint32, n int, hash func(number int) uint64) []uint32 {
	grown := make([]uint32, 4*len(slots))
	mask := uint64(len(grown) - 1)
	for number := range n {
		i := hash(number) & mask
		for grown[i] != 0 {
			i = (i + 1) & mask
		}
		grown[i] = uint32(number + 1)
	}
	return grown
}

// add counts the piece span of text and returns its number and whether it was known.
func (t *interner) add(text string, span words.Span) (number uint32, known bool) {
	if 2*len(t.entries) >= len(t.slots) {
		t.slots = grownSlots(t.slots, len(t.entries), func(i int) uint64 { return t.entries[i].hash })
	}
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
