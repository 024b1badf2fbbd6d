package tokenize

import (
	"math/bits"
	"slices"
	"strings"
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
		if n := m.window.look(t.split, text, i); n > 0 {
			dst = t.encodeWindow(dst, text, i, i+n, m)
			i += n
			continue
		}
		j := t.split.next(text, i)
		dst = t.encodeAt(dst, text, i, j, &m.recent)
		i = j
	}
	t.memories.Put(m)
	return dst
}

// encodeWindow encodes the pieces of text[i:end], which begin at i and where m.window says.
func (t *Tokenizer) encodeWindow(dst []int32, text string, i, end int, m *memory) []int32 {
	recent := &m.recent
	base, count := i, (end-i+63)/64
	for k := range count {
		at := base + 64*k
		for starts := m.window.starts[k]; starts != 0; starts &= starts - 1 {
			j := at + bits.TrailingZeros64(starts)
			dst = t.encodeAt(dst, text, i, j, recent)
			i = j
		}
	}
	if i < end {
		dst = t.encodeAt(dst, text, i, end, recent)
	}
	return dst
}

// encodeAt encodes the piece text[i:j].
func (t *Tokenizer) encodeAt(dst []int32, text string, i, j int, recent *recentPieces) []int32 {
	if j-i <= wordBytesMax && i+wordBytesMax <= len(text) {
		return t.encodeWord(dst, text[i:j], keyWithin(text, i, j-i), recent)
	}
	return t.encodePiece(dst, text[i:j])
}

// encodeWord encodes a piece of a key.
func (t *Tokenizer) encodeWord(dst []int32, piece string, key wordKey, recent *recentPieces) []int32 {
	hash := key.hash()
	slot := recent.slot(hash)
	if slot.is(key) {
		// All ids are copied, of which some count: how many is not foreseen.
		n := len(dst)
		dst = append(dst, slot.ids[:]...)
		return dst[:n+int(slot.count)]
	}
	n := len(dst)
	dst = t.encodeKey(dst, piece, key, hash)
	slot.keep(key, dst[n:])
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
	if id, ok := t.longWords[piece]; ok {
		return append(dst, id)
	}
	if len(piece) > cachedPieceBytes {
		return t.merge(dst, piece)
	}
	return t.encodeCached(dst, piece, hashString(piece))
}

// encodeCached encodes a piece that is not one token.
func (t *Tokenizer) encodeCached(dst []int32, piece string, hash uint64) []int32 {
	slot := t.cache.slot(hash)
	if e := slot.Load(); e != nil && e.piece == piece {
		return append(dst, e.ids...)
	}
	start := len(dst)
	dst = t.merge(dst, piece)
	slot.Store(&cachedPiece{strings.Clone(piece), slices.Clone(dst[start:])})
	return dst
}

// pieceCache remembers the ids of pieces that are not one token. It is direct-mapped
// and shared by all goroutines: entries never change, a newer one takes the slot.
type pieceCache []atomic.Pointer[cachedPiece]

type cachedPiece struct {
	piece string
	ids   []int32
}

const (
	cacheSlots       = 1 << 16
	cachedPieceBytes = 64
)

func newPieceCache() pieceCache { return make(pieceCache, cacheSlots) }

func (c pieceCache) slot(hash uint64) *atomic.Pointer[cachedPiece] {
	return &c[hash>>13%cacheSlots]
}
