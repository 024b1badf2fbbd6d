package tokenize

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// This file holds the slow, obvious twins of the fast paths, for tests and for
// checking an encoder at run time.

// TextbookEncode is [Tokenizer.Encode] written from the definition: cut by regular
// expression, then look for the best pair again after every merge.
func (t *Tokenizer) TextbookEncode(text string, special bool) ([]int32, error) {
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
			outer.text = norm.NFC.String(outer.text)
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

// textbookRegexes holds each pattern with its classes spelled out, since Go's \s is
// ASCII only and its \p{L} older, and up to its lookahead, which Go does not have; see
// [TextbookSplit].
var textbookRegexes = sync.OnceValue(func() map[Pattern]*regexp.Regexp {
	const space = `\t\n\v\f\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}`
	letter, number := `\p{L}`+ranges(laterLetters), `\p{N}`+ranges(laterNumbers)
	spell := strings.NewReplacer(
		`[^\s\p{L}\p{N}]`, `[^`+space+letter+number+`]`,
		`[^\r\n\p{L}\p{N}]`, `[^\r\n`+letter+number+`]`,
		`\s`, `[`+space+`]`, `\p{L}`, `[`+letter+`]`, `\p{N}`, `[`+number+`]`)
	out := map[Pattern]*regexp.Regexp{}
	for _, p := range Patterns() {
		head, _ := strings.CutSuffix(p.Regex(), `|\s+(?!\S)|\s+`)
		out[p] = regexp.MustCompile(`^(?:(` + spell.Replace(head) + `)|[` + space + `]+)`)
	}
	return out
})

// ranges writes a table as the inside of a character class.
func ranges(table *unicode.RangeTable) string {
	var b strings.Builder
	for _, r := range table.R16 {
		fmt.Fprintf(&b, `\x{%X}-\x{%X}`, r.Lo, r.Hi)
	}
	for _, r := range table.R32 {
		fmt.Fprintf(&b, `\x{%X}-\x{%X}`, r.Lo, r.Hi)
	}
	return b.String()
}

// TextbookSplit is [Pattern.Split] by regular expression. What only the last two
// alternatives \s+(?!\S)|\s+ match is a run of spaces: all of it at the end of the
// text, else all but its last rune, else its only rune.
func TextbookSplit(p Pattern, text string) ([]string, error) {
	re, ok := textbookRegexes()[p]
	if !ok {
		return nil, fmt.Errorf("unknown pattern %q: choose one of %q", string(p), Patterns())
	}
	var out []string
	for text != "" {
		m := re.FindStringSubmatchIndex(text)
		if m == nil {
			return nil, fmt.Errorf("pattern %s does not match %q", p, text)
		}
		end := m[1]
		_, last := utf8.DecodeLastRuneInString(text[:end])
		if m[2] < 0 && end < len(text) && last < end {
			end -= last
		}
		out = append(out, text[:end])
		text = text[end:]
	}
	return out, nil
}
