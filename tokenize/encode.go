package tokenize

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// Encode appends the ids of text to dst. It is ordinary text: a special token spelled
// out in it is encoded like any other characters, so that data cannot inject control
// tokens. Added tokens that are not special are found. No BOS or EOS is put around it.
// The time is linear in the text, but for an n log n in its longest piece.
func (t *Tokenizer) Encode(dst []int32, text string) []int32 {
	return t.encode(dst, text, false)
}

// EncodeBytes is [Tokenizer.Encode] of bytes. They must not change meanwhile.
func (t *Tokenizer) EncodeBytes(dst []int32, text []byte) []int32 {
	return t.encode(dst, unsafe.String(unsafe.SliceData(text), len(text)), false)
}

// EncodeSpecial is [Tokenizer.Encode], but special tokens in the text are found too:
// use it for text rendered from a chat template.
func (t *Tokenizer) EncodeSpecial(dst []int32, text string) []int32 {
	return t.encode(dst, text, true)
}

func (t *Tokenizer) encode(dst []int32, text string, special bool) []int32 {
	if t.spec.more != nil {
		return t.slow().encode(dst, text, special)
	}
	for from := 0; from < len(text); {
		a, at := t.before.find(text, from, special)
		if a == nil {
			return t.encodeSegment(dst, text[from:], special)
		}
		dst = t.encodeSegment(dst, text[from:at], special)
		dst = append(dst, a.ID)
		from = at + len(a.Content)
	}
	return dst
}

// encodeSegment encodes text between the added tokens that were looked for before
// normalisation.
func (t *Tokenizer) encodeSegment(dst []int32, text string, special bool) []int32 {
	if t.spec.nfc {
		text = formNFC.string(text)
	}
	for from := 0; from < len(text); {
		a, at := t.after.find(text, from, special)
		if a == nil {
			return t.encodePieces(dst, text[from:])
		}
		dst = t.encodePieces(dst, text[from:at])
		dst = append(dst, a.ID)
		from = at + len(a.Content)
	}
	return dst
}

func (t *Tokenizer) encodePieces(dst []int32, text string) []int32 {
	m := t.memories.Get().(*memory)
	m.window.begin()
	for i := 0; i < len(text); {
		n := m.window.cut(t.split, text, i)
		if n <= windowBytes {
			dst = t.encodeWindow(dst, text, i, n, m)
		} else {
			dst = t.encodePiece(dst, text[i:i+n])
		}
		i += n
	}
	t.memories.Put(m)
	return dst
}

// encodeWindow encodes the pieces of text[i:i+n], which end where m.window says.
func (t *Tokenizer) encodeWindow(dst []int32, text string, i, n int, m *memory) []int32 {
	from, last := i, len(text)-wordBytesMax
	for k, ends := range m.window.ends[:n/64+1] {
		for ; ends != 0; ends &= ends - 1 {
			j := from + 64*k + bits.TrailingZeros64(ends)
			piece := text[i:j]
			if len(piece) > wordBytesMax {
				dst, i = t.encodePiece(dst, piece), j
				continue
			}
			var key wordKey
			if i <= last {
				key = keyWithin(text, i, j-i)
			} else {
				key = keyOf(piece)
			}
			hash := key.hash()
			set := m.recent.set(hash)
			at := len(dst)
			if !set[0].is(key) || at+recentIDs > cap(dst) {
				dst, i = t.encodeRare(dst, piece, key, hash, set), j
				continue
			}
			// All ids are copied, of which some count: how many is not foreseen.
			*(*[recentIDs]int32)(dst[at : at+recentIDs]) = set[0].ids
			dst, i = dst[:at+int(set[0].count)], j
		}
	}
	return dst
}

// encodeRare encodes a piece that was not the last one of its set, or for whose ids there may be no room in dst.
func (t *Tokenizer) encodeRare(dst []int32, piece string, key wordKey, hash uint64, set *recentSet) []int32 {
	if set[1].is(key) {
		set[0], set[1] = set[1], set[0]
	}
	if set[0].is(key) {
		return append(dst, set[0].ids[:set[0].count]...)
	}
	n := len(dst)
	dst = t.encodeKey(dst, piece, key, hash)
	if len(dst)-n <= recentIDs {
		set[1] = set[0]
		set[0].keep(key, dst[n:])
	}
	return dst
}

func (t *Tokenizer) encodePiece(dst []int32, piece string) []int32 {
	if len(piece) > wordBytesMax {
		return t.encodeLongPiece(dst, piece)
	}
	key := keyOf(piece)
	return t.encodeKey(dst, piece, key, key.hash())
}

func (t *Tokenizer) encodeKey(dst []int32, piece string, key wordKey, hash uint64) []int32 {
	if id := t.words.get(key, hash); id >= 0 {
		return append(dst, id)
	}
	return t.encodeCached(dst, piece, hash)
}

func (t *Tokenizer) encodeLongPiece(dst []int32, piece string) []int32 {
	if len(piece) <= cachedPieceBytes {
		return t.encodeCached(dst, piece, hashString(piece))
	}
	if id, ok := t.longWords[piece]; ok {
		return append(dst, id)
	}
	return t.merge(dst, piece)
}

// encodeCached encodes a piece of at most cachedPieceBytes that t.words does not have.
func (t *Tokenizer) encodeCached(dst []int32, piece string, hash uint64) []int32 {
	slot := t.cache.slot(hash)
	if e := slot.Load(); e != nil && e.is(piece) {
		return append(dst, e.ids...)
	}
	start := len(dst)
	if id, ok := t.longWords[piece]; ok {
		dst = append(dst, id)
	} else {
		dst = t.merge(dst, piece)
	}
	slot.Store(newCachedPiece(piece, dst[start:]))
	return dst
}

// pieceCache remembers the ids of pieces that are not one short token. It is direct-mapped
// and shared by all goroutines: entries never change, a newer one takes the slot.
type pieceCache []atomic.Pointer[cachedPiece]

// cachedPiece is two cache lines, in which all that is needed of most pieces lies.
type cachedPiece struct {
	ids   []int32
	few   [8]int32 // what ids is, if there is room
	size  uint8
	bytes [cachedPieceBytes]byte
}

const (
	cacheSlots       = 1 << 16
	cachedPieceBytes = 64
)

func newPieceCache() pieceCache { return make(pieceCache, cacheSlots) }

func newCachedPiece(piece string, ids []int32) *cachedPiece {
	e := &cachedPiece{size: uint8(len(piece))}
	copy(e.bytes[:], piece)
	e.ids = append(e.few[:0], ids...)
	return e
}

func (e *cachedPiece) is(piece string) bool { return string(e.bytes[:e.size]) == piece }

func (c pieceCache) slot(hash uint64) *atomic.Pointer[cachedPiece] {
	return &c[hash>>13%cacheSlots]
}
