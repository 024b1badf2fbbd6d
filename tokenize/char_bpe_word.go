package tokenize

import (
	"sync"
	"unicode/utf8"
)

// word is the working memory of charBPE: a chain that begins with one link for each
// character, or for each byte of one that is not in the vocabulary.
type word struct {
	chain
	sizes []int32 // bytes of text of each link

	// A run of unknown characters that is not a link yet: its bytes, 0 for none.
	unknown int32
}

var wordChains = sync.Pool{New: func() any { return new(word) }}

func (w *word) head() int32 {
	if len(w.links) == 0 {
		return -1
	}
	return 0
}

func (w *word) add(id int32, size int) {
	n := int32(len(w.links))
	w.links = append(w.links, link{id, n - 1, n + 1})
	w.sizes = append(w.sizes, int32(size))
}

// merge fills w with the tokens of text.
func (b *charBPE) merge(w *word, text string) {
	w.links, w.heap, w.sizes, w.unknown = w.links[:0], w.heap[:0], w.sizes[:0], 0
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		b.start(w, r, text[i:i+n], i == 0, i+n == len(text))
		i += n
	}
	b.flush(w)
	n := len(w.links)
	if n == 0 {
		return
	}
	w.links[n-1].next = -1
	for i := range int32(n - 1) {
		b.t.offer(&w.chain, i)
	}
	for len(w.heap) > 0 {
		b.t.settle(&w.chain, w.pop())
	}
}

// start adds the links of one character.
func (b *charBPE) start(w *word, r rune, text string, first, last bool) {
	id, spelled := int32(-1), text
	if b.prefix != "" && !first || b.suffix != "" && last {
		if !first {
			spelled = b.prefix + spelled
		}
		if last {
			spelled += b.suffix
		}
		if found, ok := b.contents[spelled]; ok {
			id = found
		}
	} else if r != utf8.RuneError || len(text) > 1 {
		id = b.single(r)
	}
	if id >= 0 {
		b.flush(w)
		w.add(id, len(text))
		return
	}
	if b.fallBack(w, spelled) || b.unknown < 0 {
		return
	}
	if !b.fuse {
		b.flush(w)
	}
	w.unknown += int32(len(text))
}

// fallBack adds a link for each byte, if the vocabulary has them all. Unknown characters
// that wait come after it, as in the library.
func (b *charBPE) fallBack(w *word, text string) bool {
	if b.fallback == nil {
		return false
	}
	for i := range len(text) {
		if b.fallback[text[i]] < 0 {
			return false
		}
	}
	for i := range len(text) {
		w.add(b.fallback[text[i]], 1)
	}
	return true
}

func (b *charBPE) flush(w *word) {
	if w.unknown > 0 {
		w.add(b.unknown, int(w.unknown))
		w.unknown = 0
	}
}
