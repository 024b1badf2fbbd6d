package tokenize

import "unicode/utf8"

// stretch is a part of a text on its way through normalizers and pre-tokenizers. If the
// places of tokens are wanted, it says for each byte which bytes of the original text it
// stands for.
type stretch struct {
	text     string
	shift    int     // where it begins in the original
	from, to []int32 // by byte of text; nil if places are not wanted
}

// whole returns text as the stretch that begins at byte shift of the original.
func whole(text string, shift int, places bool) stretch {
	s := stretch{text: text, shift: shift}
	if !places {
		return s
	}
	s.from, s.to = make([]int32, len(text)), make([]int32, len(text))
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		for k := i; k < i+n; k++ {
			s.from[k], s.to[k] = int32(shift+i), int32(shift+i+n)
		}
		i += n
	}
	return s
}

// cut returns s[i:j].
func (s stretch) cut(i, j int) stretch {
	out := stretch{text: s.text[i:j], shift: s.shift + i}
	if s.from != nil && i < j {
		out.from, out.to = s.from[i:j], s.to[i:j]
		out.shift = int(s.from[i])
	}
	return out
}

// offset returns the bytes of the original that s[i:j] stands for.
func (s stretch) offset(i, j int) Offset {
	if i >= j {
		return Offset{s.shift, s.shift}
	}
	return Offset{int(s.from[i]), int(s.to[j-1])}
}

// rewriter makes a changed stretch from another.
type rewriter struct {
	src      stretch
	text     []byte
	from, to []int32
}

func rewrite(src stretch) *rewriter {
	return &rewriter{src: src, text: make([]byte, 0, len(src.text)+len(src.text)/8+8)}
}

// keep copies src[i:j].
func (w *rewriter) keep(i, j int) {
	w.text = append(w.text, w.src.text[i:j]...)
	if w.src.from != nil {
		w.from, w.to = append(w.from, w.src.from[i:j]...), append(w.to, w.src.to[i:j]...)
	}
}

// put writes text that stands for what byte at of src stands for; before the first byte
// that is nothing.
func (w *rewriter) put(text string, at int) {
	w.text = append(w.text, text...)
	if w.src.from == nil {
		return
	}
	from, to := int32(w.src.shift), int32(w.src.shift)
	if at >= 0 && len(w.src.from) > 0 {
		at = min(at, len(w.src.from)-1)
		from, to = w.src.from[at], w.src.to[at]
	}
	for range len(text) {
		w.from, w.to = append(w.from, from), append(w.to, to)
	}
}

func (w *rewriter) done() stretch {
	return stretch{text: string(w.text), shift: w.src.shift, from: w.from, to: w.to}
}

// change is a character of a changed text: by 0 it replaces the next character of the old
// one, by −n it replaces it and the n that follow go, by n > 0 it is new and stands for what
// the character before it stood for.
type change struct {
	r  rune
	by int
}

// transform replaces src[i:j] by the changes.
func (w *rewriter) transform(i, j int, changes []change) {
	if w.src.from == nil {
		for _, c := range changes {
			w.text = utf8.AppendRune(w.text, c.r)
		}
		return
	}
	for _, c := range changes {
		if c.by > 0 {
			w.put(string(c.r), i-1)
			continue
		}
		w.put(string(c.r), i)
		for taken := 0; taken <= -c.by && i < j; taken++ {
			_, n := utf8.DecodeRuneInString(w.src.text[i:])
			i += n
		}
	}
}
