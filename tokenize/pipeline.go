package tokenize

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Offset is the part of a text that a token stands for, in bytes: text[Start:End]. A token
// that is a part of a character has the whole character.
type Offset struct{ Start, End int }

// pipeline encodes as Hugging Face tokenizers does, step by step: added tokens, normalizers,
// added tokens again, pre-tokenizers, model. Tokenizers of the simple family use it for
// offsets alone.
type pipeline struct {
	t             *Tokenizer
	normalizers   normalizers
	preTokenizers preTokenizers
	cutters       preTokenizers // the same without letters for bytes, for t.encodePiece
	model         tokenModel
	tracked       bool // a pre-tokenizer asks where in the original a part begins
	before, after *addedFinder
	spelled       map[int32]string // added tokens that normalizers change
}

// lazyPipeline makes the pipeline of a tokenizer of the simple family when it is needed.
type lazyPipeline struct {
	once sync.Once
	p    *pipeline
}

func (t *Tokenizer) slow() *pipeline {
	t.lazy.once.Do(func() {
		if t.lazy.p == nil {
			t.lazy.p = newSimplePipeline(t)
		}
	})
	return t.lazy.p
}

// newSimplePipeline cannot fail: without affixes and unknown token, every vocabulary makes
// a charBPE.
func newSimplePipeline(t *Tokenizer) *pipeline {
	more := &moreSpec{bpe: &bpeSettings{}}
	if t.spec.nfc {
		more.normalizers = normalizers{formNFC}
	}
	more.preTokenizers = preTokenizers{byteLevel{cut: &cutter{find: t.split.all, behavior: isolated}}}
	p, err := newPipeline(t, more)
	if err != nil {
		panic(err)
	}
	return p
}

func newPipeline(t *Tokenizer, m *moreSpec) (*pipeline, error) {
	p := &pipeline{t: t, normalizers: m.normalizers, preTokenizers: m.preTokenizers, spelled: map[int32]string{}}
	for i, pre := range m.preTokenizers {
		if meta, ok := pre.(metaspace); ok && meta.scheme == "first" {
			p.tracked = p.tracked || i > 0 || len(m.normalizers) > 0
		}
	}
	var before, after []*Added
	for i := range t.spec.added {
		a := &t.spec.added[i]
		if !a.Normalized {
			before = append(before, a)
			continue
		}
		if text := m.normalizers.normalize(stretch{text: a.Content}).text; text != a.Content {
			p.spelled[a.ID] = text
			changed := *a
			changed.Content = text
			a = &changed
		}
		if a.Content != "" {
			after = append(after, a)
		}
	}
	p.before, p.after = newAddedFinder(before), newAddedFinder(after)
	if m.byteLevel {
		last := len(m.preTokenizers) - 1
		p.cutters = append(preTokenizers{}, m.preTokenizers[:last]...)
		if b := m.preTokenizers[last].(byteLevel); b.cut != nil {
			p.cutters = append(p.cutters, b.cut)
		}
	}
	var err error
	if m.unigram != nil {
		p.model, err = newUnigram(t, m.unigram)
		return p, err
	}
	p.model, err = newCharBPE(t, m.bpe)
	return p, err
}

// EncodeOffsets returns the ids of text, as [Tokenizer.EncodeSpecial] does if special is set
// and else as [Tokenizer.Encode] does, and what each stands for in text. They are the
// offsets of Hugging Face before a post-processor trims them, in bytes instead of
// characters. It is slower than the others.
func (t *Tokenizer) EncodeOffsets(text string, special bool) (ids []int32, offsets []Offset) {
	p := t.slow()
	var buf []modelToken
	p.run(whole(text, 0, true), special, func(s stretch) {
		p.preTokenizers.split(s, func(s stretch) {
			buf = p.model.tokens(buf[:0], s.text)
			for _, token := range buf {
				ids = append(ids, token.id)
				offsets = append(offsets, s.offset(int(token.start), int(token.end)))
			}
		})
	}, func(id int32, s stretch) {
		ids = append(ids, id)
		offsets = append(offsets, s.offset(0, len(s.text)))
	})
	return ids, offsets
}

// encode is [Tokenizer.Encode].
func (p *pipeline) encode(dst []int32, text string, special bool) []int32 {
	pre, piece := p.preTokenizers, func(s stretch) { dst = p.model.encode(dst, s.text) }
	if p.cutters != nil {
		pre, piece = p.cutters, func(s stretch) { dst = p.t.encodePiece(dst, s.text) }
	}
	p.run(whole(text, 0, p.tracked), special, func(s stretch) {
		if p.t.split != nil {
			dst = p.t.encodePieces(dst, s.text)
			return
		}
		pre.split(s, piece)
	}, func(id int32, _ stretch) { dst = append(dst, id) })
	return dst
}

// run calls text with the normalized parts between added tokens, and token with those.
func (p *pipeline) run(s stretch, special bool, text func(stretch), token func(int32, stretch)) {
	cutAdded(p.before, s, special, func(s stretch) {
		if s = p.normalizers.normalize(s); s.text != "" {
			cutAdded(p.after, s, special, text, token)
		}
	}, token)
}

// cutAdded cuts at the tokens that f finds, with the spaces that belong to them.
func cutAdded(f *addedFinder, s stretch, special bool, text func(stretch), token func(int32, stretch)) {
	done := 0
	for from := 0; ; {
		a, start := f.find(s.text, from, special)
		if a == nil {
			break
		}
		end := start + len(a.Content)
		from = end
		if a.SingleWord && (endsInWord(s.text[:start]) || beginsInWord(s.text[end:])) {
			continue
		}
		if a.LStrip {
			start = max(len(strings.TrimRightFunc(s.text[:start], unicode.IsSpace)), done)
		}
		if a.RStrip {
			end = len(s.text) - len(strings.TrimLeftFunc(s.text[end:], unicode.IsSpace))
		}
		if done < start {
			text(s.cut(done, start))
		}
		token(a.ID, s.cut(start, end))
		done = end
	}
	if done < len(s.text) {
		text(s.cut(done, len(s.text)))
	}
}

func beginsInWord(text string) bool { return text != "" && wordClass().At(text, 0) > 0 }

func endsInWord(text string) bool {
	_, n := utf8.DecodeLastRuneInString(text)
	return n > 0 && beginsInWord(text[len(text)-n:])
}

// decode is [Tokenizer.Decode].
func (p *pipeline) decode(m *moreSpec, ids []int32) string {
	var tokens []string
	for _, id := range ids {
		if text, ok := p.spelled[id]; ok {
			tokens = append(tokens, text)
		} else if p.t.Has(id) {
			tokens = append(tokens, p.t.content(id))
		}
	}
	if !m.decoded {
		return strings.Join(tokens, " ")
	}
	return strings.Join(m.decoders.decode(tokens), "")
}
