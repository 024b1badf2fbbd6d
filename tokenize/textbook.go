package tokenize

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"bzdata/tokenize/match"
)

// This file holds the slow, obvious twins of the fast paths, for tests and for
// checking an encoder at run time.

// TextbookEncode is [Tokenizer.Encode] written from the definition: cut by regular
// expression, then look for the best pair again after every merge. It serves complete
// byte-level BPE with no normalizer or NFC.
func (t *Tokenizer) TextbookEncode(text string, special bool) ([]int32, error) {
	if t.spec.more != nil {
		return nil, errors.New("there is no textbook encoding for this tokenizer")
	}
	var ids []int32
	before, after := map[string]*Added{}, map[string]*Added{}
	for i, a := range t.spec.added {
		if a.Normalized {
			after[a.Content] = &t.spec.added[i]
		} else {
			before[a.Content] = &t.spec.added[i]
		}
	}
	merges := map[[2]int32]int{}
	for rank, m := range t.spec.merges {
		merges[[2]int32{m.left, m.right}] = rank
	}
	for _, outer := range textbookAdded(text, before, special) {
		if outer.token != nil {
			ids = append(ids, outer.token.ID)
			continue
		}
		if t.spec.nfc {
			outer.text = formNFC.string(outer.text)
		}
		for _, inner := range textbookAdded(outer.text, after, special) {
			if inner.token != nil {
				ids = append(ids, inner.token.ID)
				continue
			}
			pieces, err := TextbookSplit(t.spec.pattern, inner.text)
			if err != nil {
				return nil, err
			}
			for _, piece := range pieces {
				ids = append(ids, t.textbookMerge(piece, merges)...)
			}
		}
	}
	return ids, nil
}

// textbookPart is a stretch of text, or an added token.
type textbookPart struct {
	text  string
	token *Added
}

func textbookAdded(text string, tokens map[string]*Added, special bool) []textbookPart {
	var out []textbookPart
	plain := ""
	for text != "" {
		var best *Added
		for content, a := range tokens {
			if strings.HasPrefix(text, content) && (best == nil || len(content) > len(best.Content)) {
				best = a
			}
		}
		switch {
		case best == nil:
			plain, text = plain+text[:1], text[1:]
		case best.Special && !special:
			plain, text = plain+best.Content, text[len(best.Content):]
		default:
			out = append(out, textbookPart{text: plain}, textbookPart{token: best})
			plain, text = "", text[len(best.Content):]
		}
	}
	return append(out, textbookPart{text: plain})
}

func (t *Tokenizer) textbookMerge(piece string, merges map[[2]int32]int) []int32 {
	if t.spec.ignoreMerges {
		for _, v := range t.spec.vocab {
			if v.content == toByteLevel(piece) {
				return []int32{v.id}
			}
		}
	}
	var ids []int32
	for i := range len(piece) {
		ids = append(ids, t.byteIDs[piece[i]])
	}
	for {
		best, at := len(merges), -1
		for i := 0; i+1 < len(ids); i++ {
			if rank, ok := merges[[2]int32{ids[i], ids[i+1]}]; ok && rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			return ids
		}
		ids[at] = t.spec.merges[best].id
		ids = append(ids[:at+1], ids[at+2:]...)
	}
}

// textbookMatchers holds the regular expressions of each pattern.
var textbookMatchers = sync.OnceValues(func() (map[Pattern][]*match.Matcher, error) {
	out := map[Pattern][]*match.Matcher{}
	for _, p := range Patterns() {
		for _, regex := range p.Regexes() {
			m, err := match.Compile(regex)
			if err != nil {
				return nil, err
			}
			out[p] = append(out[p], m)
		}
	}
	return out, nil
})

// TextbookSplit is [Pattern.Split] by regular expression.
func TextbookSplit(p Pattern, text string) ([]string, error) {
	known, err := textbookMatchers()
	if err != nil {
		return nil, err
	}
	if known[p] == nil {
		return nil, fmt.Errorf("unknown pattern %q: choose one of %q", string(p), Patterns())
	}
	var steps preTokenizers
	for _, m := range known[p] {
		steps = append(steps, cutter{find: m.All, behavior: isolated})
	}
	if p.singleDigits() {
		steps = append(steps, cutter{find: byClass(digitClass()), behavior: isolated})
	}
	var out []string
	if text != "" {
		steps.split(stretch{text: text}, func(s stretch) { out = append(out, s.text) })
	}
	return out, nil
}
