package tokenize

import (
	"math/bits"
	"slices"
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
	from := i
	for k, ends := range m.window.ends[:n/64+1] {
		for ends != 0 {
			dst = slices.Grow(dst, recentIDs*bits.OnesCount64(ends))
			at := len(dst)
			if at, i, ends = m.recent.known(dst, text, i, from+64*k, ends); ends != 0 {
				j := from + 64*k + bits.TrailingZeros64(ends)
				dst, i = t.encodeRare(dst[:at], text, i, j, m), j
				ends &= ends - 1
				continue
			}
			dst = dst[:at]
		}
	}
	return dst
}

// known writes the ids of the pieces of text[i:] behind dst, which has room for recentIDs of each, up to the first piece
// that is not the last one of its set. ends has a bit for the end of each, counted from a place in the text. It
// returns the length of dst then, where the piece begins, and its end and those after it. It is apart, and without
// checks, since it is where the time goes: a call would need registers, of which there are just enough.
func (r *recentPieces) known(dst []int32, text string, i, from int, ends uint64) (length, begin int, left uint64) {
	bytes, last := unsafe.StringData(text), len(text)-keyBytes
	out, at := unsafe.Pointer(unsafe.SliceData(dst)), len(dst)
	for ; ends != 0 && i <= last; ends &= ends - 1 {
		j := from + bits.TrailingZeros64(ends)
		if j-i > wordBytesMax {
			break
		}
		key := keyWithin(unsafe.Add(unsafe.Pointer(bytes), i), j-i)
		p := &r.set(key.hash())[0]
		if !p.is(key) {
			break
		}
		// All ids are copied, of which some count: how many is not foreseen.
		*(*[recentIDs]int32)(unsafe.Add(out, 4*at)) = p.ids
		at, i = at+int(p.count), j
	}
	return at, i, ends
}

// encodeRare encodes the piece text[i:j], which need not be the last one of its set.
func (t *Tokenizer) encodeRare(dst []int32, text string, i, j int, m *memory) []int32 {
	piece := text[i:j]
	if len(piece) > wordBytesMax {
		return t.encodeLonger(dst, text, i, j, &m.earlier)
	}
	key := keyOf(piece)
	hash := key.hash()
	set := m.recent.set(hash)
	if set[1].is(key) {
		set[0], set[1] = set[1], set[0]
	}
	if set[0].is(key) {
		return append(dst, set[0].ids[:set[0].count]...)
	}
	n, long := len(dst), key.long()
	if e := m.earlier.place(hash); e.is(&long) {
		dst = append(dst, e.ids[:e.count]...)
	} else {
		dst = t.encodeKey(dst, piece, key, hash)
		e.keep(&long, dst[n:])
	}
	if len(dst)-n <= recentIDs {
		set[1] = set[0]
		set[0].keep(key, dst[n:])
	}
	return dst
}

// encodeLonger encodes the piece text[i:j] of more than wordBytesMax bytes.
func (t *Tokenizer) encodeLonger(dst []int32, text string, i, j int, earlier *earlierPieces) []int32 {
	piece := text[i:j]
	if len(piece) > longBytesMax {
		return t.encodeLongPiece(dst, piece)
	}
	var key longKey
	if i+longKeyBytes <= len(text) {
		key = longKeyWithin(text, i, len(piece))
	} else {
		key = longKeyOf(piece)
	}
	hash := key.hash()
	e := earlier.place(hash)
	if e.is(&key) {
		return append(dst, e.ids[:e.count]...)
	}
	n := len(dst)
	dst = t.encodeCached(dst, piece, hash)
	e.keep(&key, dst[n:])
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
