package tokenize

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder is one decoder of a tokenizer.json: it changes the list of tokens whose texts
// joined are the decoded text.
type decoder interface {
	decode(tokens []string) []string
}

// byteDecoder is ByteLevel: letters become bytes again. A token with another character in it
// is taken as it stands.
type byteDecoder struct{}

func (byteDecoder) decode(tokens []string) []string {
	var out strings.Builder
	for _, t := range tokens {
		if data, ok := fromByteLevel(t); ok {
			t = data
		}
		out.WriteString(t)
	}
	return []string{validUTF8(out.String())}
}

// validUTF8 puts U+FFFD for each longest part that could begin a character but does not
// become one, as the Unicode Standard recommends.
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for text != "" {
		r, n := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && n == 1 {
			n = brokenPrefix(text)
		}
		b.WriteRune(r)
		text = text[n:]
	}
	return b.String()
}

// brokenPrefix returns how many bytes of text, which begins with a broken character, could
// have begun a character.
func brokenPrefix(text string) int {
	for n := min(3, len(text)); n > 1; n-- {
		// It could if some continuation completes it.
		for _, tail := range []string{"\x80", "\xBF", "\x80\x80", "\xBF\xBF"} {
			if r, size := utf8.DecodeRuneInString(text[:n] + tail); r != utf8.RuneError && size > n {
				return n
			}
		}
	}
	return 1
}

// byteFallback is ByteFallback: runs of <0xHH> become what they spell, or U+FFFD for each.
type byteFallback struct{}

func (byteFallback) decode(tokens []string) []string {
	var out []string
	var run []byte
	flush := func() {
		if utf8.Valid(run) && len(run) > 0 {
			out = append(out, string(run))
		} else {
			out = append(out, slices.Repeat([]string{"\uFFFD"}, len(run))...)
		}
		run = run[:0]
	}
	for _, t := range tokens {
		if len(t) == 6 && strings.HasPrefix(t, "<0x") && t[5] == '>' {
			digits := strings.TrimPrefix(t[3:5], "+")
			if b, err := strconv.ParseUint(digits, 16, 8); err == nil {
				run = append(run, byte(b))
				continue
			}
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

// fuse is Fuse: all tokens become one.
type fuse struct{}

func (fuse) decode(tokens []string) []string { return []string{strings.Join(tokens, "")} }

// stripDecoder is Strip: so many of one character go at the ends of each token.
type stripDecoder struct {
	content     string
	start, stop int
}

func (d stripDecoder) decode(tokens []string) []string {
	return each(tokens, func(_ int, t string) string {
		for range d.start {
			t = strings.TrimPrefix(t, d.content)
		}
		for range d.stop {
			t = strings.TrimSuffix(t, d.content)
		}
		return t
	})
}

func each(tokens []string, change func(i int, t string) string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = change(i, t)
	}
	return out
}

func (n replace) decode(tokens []string) []string {
	return each(tokens, func(_ int, t string) string { return n.normalize(stretch{text: t}).text })
}

func (m metaspace) decode(tokens []string) []string {
	return each(tokens, func(i int, t string) string {
		if i == 0 && m.scheme != "never" {
			return strings.ReplaceAll(t, m.mark, "")
		}
		return strings.ReplaceAll(t, m.mark, " ")
	})
}

// decoders are the steps of a Sequence.
type decoders []decoder

func (list decoders) decode(tokens []string) []string {
	for _, d := range list {
		tokens = d.decode(tokens)
	}
	return tokens
}

func parseDecoder(s *spec, v value) error {
	if v.isNull() {
		return nil
	}
	s.more.decoded = true
	return s.more.addDecoder(v)
}

func (m *moreSpec) addDecoder(v value) error {
	o, name, at, err := v.component()
	if err != nil {
		return err
	}
	var d decoder
	switch name {
	case "Sequence":
		err = o.take("decoders").each(func(_ int, e value) error { return m.addDecoder(e) })
	case "ByteLevel":
		d = byteDecoder{}
		m.decoders = append(m.decoders, d)
		return nil // its members say how to encode
	case "ByteFallback":
		d = byteFallback{}
	case "Fuse":
		d = fuse{}
	case "Replace":
		d, err = o.replace()
	case "Metaspace":
		d, err = o.metaspace()
	case "Strip":
		d, err = o.stripDecoder()
	default:
		return at.unsupported()
	}
	if err != nil {
		return err
	}
	if d != nil {
		m.decoders = append(m.decoders, d)
	}
	return o.done()
}

func (o *object) stripDecoder() (d stripDecoder, err error) {
	if d.content, err = o.character("content"); err != nil {
		return d, err
	}
	for _, side := range []struct {
		key string
		n   *int
	}{{"start", &d.start}, {"stop", &d.stop}} {
		v := o.take(side.key)
		n, err := v.id()
		if err == nil && n > 1000 {
			err = v.errorf("is %d, want at most 1000", n)
		}
		if err != nil {
			return d, err
		}
		*side.n = int(n)
	}
	return d, nil
}
