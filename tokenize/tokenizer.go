package tokenize

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"
)

// Tokenizer turns text into token ids and back. It is immutable and safe for concurrent use.
type Tokenizer struct {
	spec   spec
	tokens []string // bytes by id; "" for an unused id
	used   []bool   // by id
	raw    []bool   // by id: the content is not in the byte-level alphabet
	byID   map[int32]*Added
	split  *splitter

	byteIDs [256]int32
	pairs   *pairTable
	words   *wordTable
	// longWords has the tokens of more than wordBytesMax bytes that words would.
	longWords map[string]int32
	cache     pieceCache
	memories  *sync.Pool // of *memory

	lazy *lazyPipeline // what the other tokenizers are encoded by, and offsets

	before, after  *addedFinder // added tokens looked for before and after normalisation
	prefix, suffix []int32
	bos, eos, pad  int32
	hash           string
}

// spec is what a tokenizer.json says, and all that [Tokenizer.WriteJSON] needs.
type spec struct {
	pattern      Pattern
	nfc          bool
	ignoreMerges bool
	vocab        []vocabEntry // in id order
	merges       []mergeEntry // in rank order
	added        []Added      // in file order
	prefix       []string     // contents of the template's special tokens
	suffix       []string
	more         *moreSpec // nil for the simple family
}

type vocabEntry struct {
	content string // in the byte-level alphabet, or raw
	id      int32
}

type mergeEntry struct{ left, right, id int32 }

// unusedIDsMax bounds the holes in a vocabulary, so that a damaged file cannot ask
// for tables of gigabytes. Real ones leave at most a few hundred ids unused.
const unusedIDsMax = 1 << 16

// newTokenizer checks s and builds the tables. Errors name the key path.
func newTokenizer(s spec) (*Tokenizer, error) {
	t := &Tokenizer{spec: s, bos: -1, eos: -1, pad: -1, lazy: new(lazyPipeline), cache: newPieceCache(),
		memories: &sync.Pool{New: func() any { return new(memory) }}}
	if err := t.fillTokens(); err != nil {
		return nil, err
	}
	if err := t.fillPairs(); err != nil {
		return nil, err
	}
	var err error
	if t.byteLevel() {
		if err := t.fillPieces(); err != nil {
			return nil, err
		}
	}
	t.fillFinders()
	if s.more != nil {
		if t.lazy.p, err = newPipeline(t, s.more); err != nil {
			return nil, err
		}
	}
	if t.prefix, err = t.contents(s.prefix); err != nil {
		return nil, fmt.Errorf("post_processor.single: %w", err)
	}
	if t.suffix, err = t.contents(s.suffix); err != nil {
		return nil, fmt.Errorf("post_processor.single: %w", err)
	}
	t.guessRoles()
	t.hash = t.spec.hash()
	return t, nil
}

// byteLevel tells whether pieces of text are encoded by complete byte-level BPE.
func (t *Tokenizer) byteLevel() bool { return t.spec.more == nil || t.spec.more.byteLevel }

// fillPieces makes what complete byte-level BPE is encoded by.
func (t *Tokenizer) fillPieces() (err error) {
	if t.spec.more == nil || t.spec.pattern != "" {
		if t.split, err = newSplitter(t.spec.pattern); err != nil {
			return err
		}
	}
	if err := t.fillBytes(); err != nil {
		return err
	}
	t.pairs.fillBytes(&t.byteIDs)
	t.fillWords()
	return nil
}

func (t *Tokenizer) fillTokens() error {
	size := int32(0)
	for _, v := range t.spec.vocab {
		size = max(size, v.id+1)
	}
	for _, a := range t.spec.added {
		size = max(size, a.ID+1)
	}
	if int(size) > len(t.spec.vocab)+len(t.spec.added)+unusedIDsMax {
		return fmt.Errorf("model.vocab: id %d leaves more than %d ids unused", size-1, unusedIDsMax)
	}
	t.tokens, t.used, t.raw = make([]string, size), make([]bool, size), make([]bool, size)
	for _, v := range t.spec.vocab {
		if t.used[v.id] {
			return fmt.Errorf("model.vocab[%q]: id %d is taken by another entry", v.content, v.id)
		}
		data, ok := fromByteLevel(v.content)
		if ok = ok && t.byteLevel(); !ok {
			data = v.content
		}
		t.tokens[v.id], t.used[v.id], t.raw[v.id] = data, true, !ok
	}
	return t.fillAdded()
}

func (t *Tokenizer) fillAdded() error {
	contents := make(map[string]int32, len(t.spec.vocab))
	for _, v := range t.spec.vocab {
		contents[v.content] = v.id
	}
	t.byID = make(map[int32]*Added, len(t.spec.added))
	for i := range t.spec.added {
		a := &t.spec.added[i]
		id, known := contents[a.Content]
		switch {
		case a.Content == "":
			return fmt.Errorf("added_tokens[%d].content is empty", i)
		case known && id != a.ID:
			return fmt.Errorf("added_tokens[%d].id is %d, but %q has id %d already", i, a.ID, a.Content, id)
		case !known && t.used[a.ID]:
			return fmt.Errorf("added_tokens[%d].id: %d is taken by another token", i, a.ID)
		case t.byID[a.ID] != nil:
			return fmt.Errorf("added_tokens[%d]: %q is listed twice", i, a.Content)
		}
		contents[a.Content] = a.ID
		t.tokens[a.ID], t.used[a.ID], t.byID[a.ID] = a.Content, true, a
	}
	return nil
}

func (t *Tokenizer) fillBytes() error {
	for b := range t.byteIDs {
		t.byteIDs[b] = -1
	}
	for _, v := range t.spec.vocab {
		if data := t.tokens[v.id]; len(data) == 1 && !t.raw[v.id] {
			t.byteIDs[data[0]] = v.id
		}
	}
	for b, id := range t.byteIDs {
		if id < 0 {
			return fmt.Errorf("model.vocab: no entry %q for byte 0x%02X; "+
				"a byte-level vocabulary needs all 256", string(byteRunes[b]), b)
		}
	}
	return nil
}

func (t *Tokenizer) fillPairs() error {
	t.pairs = newPairTable(len(t.spec.merges))
	for rank, m := range t.spec.merges {
		if !t.pairs.add(m.left, m.right, pairMerge{uint32(rank), m.id}) {
			return fmt.Errorf("model.merges[%d]: an earlier entry merges the same two tokens", rank)
		}
	}
	return nil
}

// fillWords enters each token that its own bytes, as one piece, come out as: then
// the table answers as the merges would. With ignore_merges that is every token.
func (t *Tokenizer) fillWords() {
	t.words, t.longWords = newWordTable(len(t.spec.vocab)), map[string]int32{}
	var ids []int32
	for _, v := range t.spec.vocab {
		data := t.tokens[v.id]
		if t.raw[v.id] || data == "" {
			continue
		}
		if ids = ids[:0]; !t.spec.ignoreMerges {
			ids = t.merge(ids, data)
		}
		if t.spec.ignoreMerges || len(ids) == 1 && ids[0] == v.id {
			t.addWord(data, v.id)
		}
	}
}

func (t *Tokenizer) addWord(piece string, id int32) {
	if len(piece) > wordBytesMax {
		t.longWords[piece] = id
		return
	}
	t.words.add(piece, id)
}

func (t *Tokenizer) fillFinders() {
	var before, after []*Added
	for i := range t.spec.added {
		a := &t.spec.added[i]
		if a.Normalized {
			after = append(after, a)
		} else {
			before = append(before, a)
		}
	}
	t.before, t.after = newAddedFinder(before), newAddedFinder(after)
}

// contents returns the ids of added tokens given by content.
func (t *Tokenizer) contents(names []string) ([]int32, error) {
	var ids []int32
	for _, name := range names {
		id, ok := t.Find(name)
		if !ok {
			return nil, fmt.Errorf("token %q is not in the vocabulary", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Pattern returns the rule that cuts text into pieces, or "" if it is none of [Patterns].
func (t *Tokenizer) Pattern() Pattern { return t.spec.pattern }

// Normalizes reports whether text is changed first: brought to Unicode normalisation form C,
// if [Tokenizer.Pattern] is one of [Patterns] and nothing else is said. Then decoding gives
// back the normalised text.
func (t *Tokenizer) Normalizes() bool {
	return t.spec.nfc || t.spec.more != nil && len(t.spec.more.normalizers) > 0
}

// VocabSize is the largest token id plus one. Ids below it may be unused.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// Hash returns 64 hexadecimal digits, the SHA-256 of everything that decides which ids
// a text gets: pattern, normalisation, vocabulary, merges, added tokens; for other models
// than complete byte-level BPE all parts that decide it. The roles of BOS, EOS and padding,
// the template and the decoder are not part of it.
func (t *Tokenizer) Hash() string { return t.hash }

// Added returns the added tokens, special or not, in file order.
func (t *Tokenizer) Added() []Added { return slices.Clone(t.spec.added) }

// Has reports whether a token has this id.
func (t *Tokenizer) Has(id int32) bool { return id >= 0 && int(id) < len(t.used) && t.used[id] }

// IsSpecial reports whether id is a special token.
func (t *Tokenizer) IsSpecial(id int32) bool { a := t.byID[id]; return a != nil && a.Special }

// Find returns the id of a token given by its content: the literal text of an added
// token, or a vocabulary entry as tokenizer.json spells it ("Ġthe").
func (t *Tokenizer) Find(content string) (id int32, ok bool) {
	for i := range t.spec.added {
		if t.spec.added[i].Content == content {
			return t.spec.added[i].ID, true
		}
	}
	for _, v := range t.spec.vocab {
		if v.content == content {
			return v.id, true
		}
	}
	return -1, false
}

// AppendToken appends the bytes that id stands for: for an added token its content, for
// other models than complete byte-level BPE what the decoder makes of it alone. An id
// without a token gives U+FFFD.
func (t *Tokenizer) AppendToken(dst []byte, id int32) []byte {
	if !t.Has(id) {
		return utf8.AppendRune(dst, utf8.RuneError)
	}
	if t.spec.more != nil {
		return append(dst, t.slow().decode(t.spec.more, []int32{id})...)
	}
	return append(dst, t.tokens[id]...)
}

// Decode returns the bytes of all ids joined, special tokens included. What
// [Tokenizer.Encode] made comes back byte for byte, also if it is not UTF-8, unless
// the tokenizer normalises. For other models than complete byte-level BPE it is what the
// decoder of the file makes of the ids, and ids without a token are left out.
func (t *Tokenizer) Decode(ids []int32) []byte {
	if t.spec.more != nil {
		return []byte(t.slow().decode(t.spec.more, ids))
	}
	var out []byte
	for _, id := range ids {
		out = t.AppendToken(out, id)
	}
	return out
}

// hash digests the canonical content: each field with its length, little-endian.
func (s *spec) hash() string {
	h := sha256.New()
	var buf []byte
	number := func(v int) { buf = binary.LittleEndian.AppendUint64(buf, uint64(v)) }
	text := func(v string) { number(len(v)); buf = append(buf, v...) }
	flag := func(v bool) {
		if v {
			number(1)
		} else {
			number(0)
		}
	}
	text("bzdata byte-level bpe 1")
	text(string(s.pattern))
	flag(s.nfc)
	flag(s.ignoreMerges)
	number(len(s.vocab))
	for _, v := range s.vocab {
		number(int(v.id))
		text(v.content)
	}
	number(len(s.merges))
	for _, m := range s.merges {
		number(int(m.left))
		number(int(m.right))
		number(int(m.id))
	}
	number(len(s.added))
	for _, a := range s.added {
		number(int(a.ID))
		text(a.Content)
		flag(a.Special)
		flag(a.Normalized)
	}
	if s.more != nil {
		text("bzdata tokenizer 2")
		text(string(s.more.description(s.added)))
	}
	h.Write(buf)
	return hex.EncodeToString(h.Sum(nil))
}
