package tokenize

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// tokenModel turns what pre-tokenizers leave into tokens.
type tokenModel interface {
	// tokens appends the tokens of a text that is not empty, with their places in it.
	tokens(dst []modelToken, text string) []modelToken
	// encode appends their ids.
	encode(dst []int32, text string) []int32
}

type modelToken struct {
	id         int32
	start, end int32
}

// charBPE is byte-pair encoding that begins with characters: SentencePiece's kind, and what
// is not a complete byte-level one.
type charBPE struct {
	t        *Tokenizer // pairs, cache
	known    map[rune]int32
	low      [1 << 16]int32 // known, for the Basic Multilingual Plane; −1 for none
	fallback *[256]int32    // by byte; nil without byte_fallback
	unknown  int32          // −1 for none: such characters go
	fuse     bool
	prefix   string           // continuing_subword_prefix
	suffix   string           // end_of_word_suffix
	contents map[string]int32 // nil unless affixes or ignore_merges need it
	whole    bool             // ignore_merges: a text that is a token is that token
	joints   *jointFilter     // nil if text must not be cut
}

// jointFilter holds all pairs of adjacent characters inside tokens that merges make, and by
// chance some more. Where a text has a pair that is not in it, no merge reaches across.
type jointFilter [1 << 16]uint64

func jointBit(a, b rune) (word, bit uint32) {
	h := (uint32(a)*0x9E3779B1 ^ uint32(b)) * 0x85EBCA6B
	return h >> 16, h >> 10 & 63
}

func (f *jointFilter) add(token string) {
	before := rune(-1)
	for _, r := range token {
		if before >= 0 {
			word, bit := jointBit(before, r)
			f[word] |= 1 << bit
		}
		before = r
	}
}

func (f *jointFilter) has(a, b rune) bool {
	word, bit := jointBit(a, b)
	return f[word]>>bit&1 != 0
}

// newCharBPE makes the model of t.spec, whose pairs are filled in.
func newCharBPE(t *Tokenizer, s *bpeSettings) (*charBPE, error) {
	b := &charBPE{
		t: t, known: map[rune]int32{}, unknown: -1, fuse: s.fuseUnknown, whole: t.spec.ignoreMerges,
		prefix: s.prefix, suffix: s.suffix,
	}
	for i := range b.low {
		b.low[i] = -1
	}
	contents := make(map[string]int32, len(t.spec.vocab))
	for _, v := range t.spec.vocab {
		contents[v.content] = v.id
		if r, n := utf8.DecodeRuneInString(v.content); n > 0 && n == len(v.content) && (r != utf8.RuneError || n > 1) {
			if b.known[r] = v.id; int(r) < len(b.low) {
				b.low[r] = v.id
			}
		}
	}
	if s.unknown != "" {
		id, ok := contents[s.unknown]
		if !ok {
			return nil, fmt.Errorf("model.unk_token: %q is not in model.vocab", s.unknown)
		}
		b.unknown = id
	}
	if s.byteFallback {
		b.fallback = byteTokens(contents)
	}
	if b.whole || b.prefix != "" || b.suffix != "" {
		b.contents = contents
	}
	b.fillJoints()
	return b, nil
}

// byteTokens returns the ids of "<0x00>" to "<0xFF>", −1 for those that are missing.
func byteTokens(contents map[string]int32) *[256]int32 {
	out := new([256]int32)
	for i := range out {
		out[i] = -1
		if id, ok := contents[fmt.Sprintf("<0x%02X>", i)]; ok {
			out[i] = id
		}
	}
	return out
}

// fillJoints leaves joints nil where a merge may take a token that is not its own text.
func (b *charBPE) fillJoints() {
	if b.prefix != "" || b.suffix != "" {
		return
	}
	contents := make(map[int32]string, len(b.t.spec.vocab))
	for _, v := range b.t.spec.vocab {
		contents[v.id] = v.content
	}
	joints := new(jointFilter)
	for _, m := range b.t.spec.merges {
		for _, part := range []int32{m.left, m.right} {
			if part == b.unknown || b.fallback != nil && slices.Contains(b.fallback[:], part) {
				return
			}
		}
		joints.add(contents[m.id])
	}
	b.joints = joints
}

func (b *charBPE) single(r rune) int32 {
	if uint32(r) < uint32(len(b.low)) {
		return b.low[r]
	}
	if id, ok := b.known[r]; ok {
		return id
	}
	return -1
}

// piece returns the end of the part of text at i that merges do not reach out of.
func (b *charBPE) piece(text string, i int) int {
	if b.joints == nil {
		return len(text)
	}
	before, n := utf8.DecodeRuneInString(text[i:])
	known := b.single(before) >= 0
	for i += n; i < len(text); i += n {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		knownNow := b.single(r) >= 0
		if known && knownNow && !b.joints.has(before, r) {
			break
		}
		before, known, n = r, knownNow, size
	}
	return i
}

func (b *charBPE) encode(dst []int32, text string) []int32 {
	if b.whole {
		if id, ok := b.contents[text]; ok {
			return append(dst, id)
		}
	}
	for i := 0; i < len(text); {
		j := b.piece(text, i)
		dst = b.encodePiece(dst, text[i:j])
		i = j
	}
	return dst
}

func (b *charBPE) encodePiece(dst []int32, piece string) []int32 {
	cached := len(piece) <= cachedPieceBytes
	slot := b.t.cache.slot(hashString(piece))
	if cached {
		if e := slot.Load(); e != nil && e.is(piece) {
			return append(dst, e.ids...)
		}
	}
	start := len(dst)
	w := wordChains.Get().(*word)
	b.merge(w, piece)
	for i := w.head(); i >= 0; i = w.links[i].next {
		dst = append(dst, w.links[i].id)
	}
	wordChains.Put(w)
	if cached {
		slot.Store(newCachedPiece(piece, dst[start:]))
	}
	return dst
}

func (b *charBPE) tokens(dst []modelToken, text string) []modelToken {
	if b.whole {
		if id, ok := b.contents[text]; ok {
			return append(dst, modelToken{id, 0, int32(len(text))})
		}
	}
	w := wordChains.Get().(*word)
	defer wordChains.Put(w)
	at := int32(0)
	for i := 0; i < len(text); {
		j := b.piece(text, i)
		b.merge(w, text[i:j])
		for k := w.head(); k >= 0; k = w.links[k].next {
			next := w.links[k].next
			if next < 0 {
				next = int32(len(w.sizes))
			}
			start := at
			for _, size := range w.sizes[k:next] {
				at += size
			}
			dst = append(dst, modelToken{w.links[k].id, start, at})
		}
		i = j
	}
	return dst
}
