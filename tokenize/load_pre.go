package tokenize

import (
	"slices"
	"unicode/utf8"

	"bzdata/tokenize/match"
)

// This file reads the pre-tokenizer of a tokenizer.json.

// step is what a pre-tokenizer says of itself, by which known patterns are recognized.
type step struct {
	name  string // ByteLevel, Split, Digits or another
	regex string // Split by regular expression
	how   string // Split: the behavior, with "inverted" behind it if it is
	plain bool   // ByteLevel without a prefix; Digits one by one
	cuts  bool   // ByteLevel with its own pattern
}

func parsePreTokenizer(s *spec, v value) error {
	if v.isNull() {
		return nil
	}
	s.more.describe("pre_tokenizer", v)
	return s.more.addPreTokenizer(v)
}

func (m *moreSpec) addPreTokenizer(v value) error {
	o, name, at, err := v.component()
	if err != nil {
		return err
	}
	if name == "Sequence" {
		if err := o.take("pretokenizers").each(func(_ int, e value) error { return m.addPreTokenizer(e) }); err != nil {
			return err
		}
		return o.done()
	}
	p, st, err := o.preTokenizer(name, at)
	if err != nil {
		return err
	}
	m.preTokenizers, m.steps = append(m.preTokenizers, p), append(m.steps, st)
	return o.done()
}

func (o *object) preTokenizer(name string, at value) (preTokenizer, step, error) {
	st := step{name: name}
	switch name {
	case "ByteLevel":
		return o.byteLevel(st)
	case "Split":
		return o.split(st)
	case "Metaspace":
		m, err := o.metaspace()
		return m, st, err
	case "Digits":
		one, err := o.take("individual_digits").flag()
		if st.plain = one; one {
			return cutter{byClass(digitClass()), isolated, false}, st, err
		}
		return cutter{byClass(digitClass()), contiguous, false}, st, err
	case "Punctuation":
		b, err := o.behavior(isolated)
		return cutter{byClass(punctuationClass()), b, false}, st, err
	case "Whitespace":
		return cutter{wordsAndRest, removed, true}, st, nil
	case "WhitespaceSplit":
		return cutter{byClass(spaceClass()), removed, false}, st, nil
	case "BertPreTokenizer":
		spaces := cutter{byClass(spaceClass()), removed, false}
		return preTokenizers{spaces, cutter{byClass(punctuationClass()), isolated, false}}, st, nil
	case "CharDelimiterSplit", "Delimiter":
		r, err := o.character("delimiter")
		return cutter{match.Literal(r).All, removed, false}, st, err
	case "FixedLength":
		length, err := o.take("length").id()
		if err == nil && length < 1 {
			err = o.errorf("has length %d, want at least 1", length)
		}
		return fixedLength(length), st, err
	}
	return nil, st, at.unsupported()
}

// character reads a string of one character.
func (o *object) character(key string) (string, error) {
	v := o.take(key)
	text, err := v.text()
	if err == nil && utf8.RuneCountInString(text) != 1 {
		err = v.errorf("is %q, want one character", text)
	}
	return text, err
}

// behavior reads the member of that name, which may be absent if there is a default.
func (o *object) behavior(without behavior) (behavior, error) {
	v := o.take("behavior")
	if v.isNull() {
		return without, nil
	}
	name, err := v.text()
	if err != nil {
		return 0, err
	}
	b, ok := behaviors[name]
	if !ok {
		return 0, v.unsupported()
	}
	return b, nil
}

func (o *object) byteLevel(st step) (preTokenizer, step, error) {
	prefix, err := o.take("add_prefix_space").flag()
	if err != nil {
		return nil, st, err
	}
	o.take("trim_offsets")
	regex := o.take("use_regex")
	cuts, err := regex.flag()
	if err != nil {
		return nil, st, err
	}
	st.plain, st.cuts = !prefix, cuts || regex.isNull()
	b := byteLevel{prefix: prefix}
	if st.cuts {
		pattern, err := newSplitter(PatternGPT2)
		if err != nil {
			return nil, st, err
		}
		b.cut = &cutter{find: pattern.all, behavior: isolated}
	}
	return b, st, nil
}

// all calls yield with the pieces of text.
func (p *splitter) all(text string, yield func(start, end int) bool) {
	for i := 0; i < len(text); {
		j := p.next(text, i)
		if !yield(i, j) {
			return
		}
		i = j
	}
}

func (o *object) split(st step) (preTokenizer, step, error) {
	at := o.take("pattern")
	text, regex, err := at.pattern()
	if err != nil {
		return nil, st, err
	}
	given := o.take("behavior")
	name, err := given.text()
	if err != nil {
		return nil, st, err
	}
	b, known := behaviors[name]
	if !known {
		return nil, st, given.unsupported()
	}
	invert, err := o.take("invert").flag()
	if err != nil {
		return nil, st, err
	}
	c := cutter{find: replace{text: text, regex: regex}.matches, behavior: b, invert: invert}
	if regex != nil && text != "" {
		if st.regex, st.how = text, name; invert {
			st.how += " inverted"
		}
	}
	return c, st, nil
}

func (o *object) metaspace() (metaspace, error) {
	m := metaspace{scheme: "always", cut: true}
	var err error
	if m.mark, err = o.character("replacement"); err != nil {
		return m, err
	}
	o.take("str_rep")
	scheme, prefix, cut := o.take("prepend_scheme"), o.take("add_prefix_space"), o.take("split")
	if !scheme.isNull() {
		if m.scheme, err = scheme.text(); err != nil {
			return m, err
		}
		if !slices.Contains([]string{"always", "first", "never"}, m.scheme) {
			return m, scheme.unsupported()
		}
	}
	if on, err := prefix.flag(); err != nil {
		return m, err
	} else if !on && !prefix.isNull() {
		if m.scheme != "never" && !scheme.isNull() {
			return m, prefix.errorf("is false, but prepend_scheme is %q", m.scheme)
		}
		m.scheme = "never"
	}
	if on, err := cut.flag(); err != nil {
		return m, err
	} else if !cut.isNull() {
		m.cut = on
	}
	return m, nil
}
