package tokenize

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/match"
)

// normalizer is one normalizer of a tokenizer.json, made ready. normalize never changes
// where a stretch begins.
type normalizer interface {
	normalize(s stretch) stretch
}

// lowercase is Lowercase: each character by itself.
type lowercase struct{}

func (lowercase) normalize(s stretch) stretch {
	var w *rewriter
	done := 0
	for i, r := range s.text {
		lower, two := lowerRune(r)
		if lower == r {
			continue
		}
		if w == nil {
			w = rewrite(s)
		}
		w.keep(done, i)
		if two == "" {
			two = string(lower)
		}
		w.put(two, i)
		done = i + utf8.RuneLen(r)
	}
	if w == nil {
		return s
	}
	w.keep(done, len(s.text))
	return w.done()
}

// strip is Strip: spaces at the ends go.
type strip struct{ left, right bool }

func (n strip) normalize(s stretch) stretch {
	i, j := 0, len(s.text)
	if n.left {
		i = j - len(strings.TrimLeftFunc(s.text, unicode.IsSpace))
	}
	if n.right {
		j = i + len(strings.TrimRightFunc(s.text[i:], unicode.IsSpace))
	}
	out := s.cut(i, max(i, j))
	out.shift = s.shift
	return out
}

// charFilter removes the characters for which gone answers true, and maps the rest. It is
// StripAccents and Nmt.
type charFilter struct {
	gone   func(r rune) bool
	become func(r rune) rune
}

func (n charFilter) normalize(s stretch) stretch {
	w, changed := rewrite(s), false
	for i := 0; i < len(s.text); {
		r, size := utf8.DecodeRuneInString(s.text[i:])
		switch to := n.become(r); {
		case n.gone(r):
			changed = true
		case to != r:
			changed = true
			w.put(string(to), i)
		default:
			w.keep(i, i+size)
		}
		i += size
	}
	if !changed {
		return s
	}
	return w.done()
}

func stripAccents() charFilter {
	marks := markClass()
	return charFilter{marks.Has, func(r rune) rune { return r }}
}

// nmt is the cleaning of SentencePiece's rules nmt_*: control characters go, odd spaces and
// line breaks become spaces.
func nmt() charFilter {
	return charFilter{
		func(r rune) bool {
			return 1 <= r && r <= 8 || r == 0xB || 0xE <= r && r <= 0x1F || r == 0x7F || r == 0x8F || r == 0x9F
		},
		func(r rune) rune {
			switch r {
			case '\t', '\n', '\f', '\r', 0x1680, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD:
				return ' '
			}
			if 0x200B <= r && r <= 0x200F {
				return ' '
			}
			return r
		},
	}
}

// replace is Replace. A string is looked for as it stands.
type replace struct {
	text    string
	regex   *match.Matcher
	content string
}

// matches calls yield for each match in text.
func (n replace) matches(text string, yield func(start, end int) bool) {
	if n.regex != nil {
		n.regex.All(text, yield)
		return
	}
	for from := 0; ; {
		i := strings.Index(text[from:], n.text)
		if i < 0 || !yield(from+i, from+i+len(n.text)) {
			return
		}
		from += i + len(n.text)
	}
}

func (n replace) normalize(s stretch) stretch {
	var w *rewriter
	done := 0
	n.matches(s.text, func(start, end int) bool {
		if w == nil {
			w = rewrite(s)
		}
		w.keep(done, start)
		w.put(n.content, end-1)
		done = end
		return true
	})
	if w == nil {
		return s
	}
	w.keep(done, len(s.text))
	return w.done()
}

// prepend is Prepend: text before what is not empty.
type prepend struct{ text string }

func (n prepend) normalize(s stretch) stretch {
	if s.text == "" {
		return s
	}
	w := rewrite(s)
	w.put(n.text, 0)
	w.keep(0, len(s.text))
	return w.done()
}

// byteLetters writes each byte as a letter of the byte-level alphabet: normalizer ByteLevel,
// and the last step of the pre-tokenizer.
type byteLetters struct{}

func (byteLetters) normalize(s stretch) stretch {
	w := rewrite(s)
	for i := range len(s.text) {
		w.put(string(byteRunes[s.text[i]]), i)
	}
	return w.done()
}

// normalizers are the steps of a Sequence.
type normalizers []normalizer

func (list normalizers) normalize(s stretch) stretch {
	for _, n := range list {
		s = n.normalize(s)
	}
	return s
}
