package tokenize

import "bzdata/tokenize/match"

// This file reads the normalizers and the post-processors of a tokenizer.json.

func parseNormalizer(s *spec, v value) error {
	list, err := v.normalizers()
	if err != nil || len(list) == 0 {
		return err
	}
	s.more.normalizers = list
	s.more.describe("normalizer", v)
	return nil
}

// normalizers reads a normalizer; a Sequence is the list of its steps.
func (v value) normalizers() (normalizers, error) {
	if v.isNull() {
		return nil, nil
	}
	o, name, at, err := v.component()
	if err != nil {
		return nil, err
	}
	if name != "Sequence" {
		n, err := o.normalizer(name, at)
		if err != nil {
			return nil, err
		}
		return normalizers{n}, o.done()
	}
	var list normalizers
	err = o.take("normalizers").each(func(_ int, e value) error {
		more, err := e.normalizers()
		list = append(list, more...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, o.done()
}

func (o *object) normalizer(name string, at value) (normalizer, error) {
	if form, ok := normalForms[name]; ok {
		return form, nil
	}
	switch name {
	case "Lowercase":
		return lowercase{}, nil
	case "StripAccents":
		return stripAccents(), nil
	case "Nmt":
		return nmt(), nil
	case "ByteLevel":
		return byteLetters{}, nil
	case "Replace":
		return o.replace()
	case "Prepend":
		text, err := o.take("prepend").text()
		return prepend{text}, err
	case "Precompiled":
		return parseCharsmap(o.take("precompiled_charsmap"))
	case "Strip":
		left, err := o.take("strip_left").flag()
		if err != nil {
			return nil, err
		}
		right, err := o.take("strip_right").flag()
		return strip{left, right}, err
	}
	return nil, at.unsupported()
}

// replace reads the pattern and the content of a Replace.
func (o *object) replace() (replace, error) {
	text, regex, err := o.take("pattern").pattern()
	if err != nil {
		return replace{}, err
	}
	content, err := o.take("content").text()
	return replace{text, regex, content}, err
}

// pattern reads {"String": …} or {"Regex": …}. A string that is not empty has no matcher.
func (v value) pattern() (text string, regex *match.Matcher, err error) {
	p, err := v.object()
	if err != nil {
		return "", nil, err
	}
	plain, expression := p.take("String"), p.take("Regex")
	if plain.isNull() == expression.isNull() {
		return "", nil, v.errorf("is %s, want a String or a Regex", v.oneLine())
	}
	if !plain.isNull() {
		if text, err = plain.text(); err == nil && text == "" {
			regex = match.Literal("")
		}
	} else if text, err = expression.text(); err == nil {
		if regex, err = match.Compile(text); err != nil {
			err = expression.errorf("cannot be used: %v", err)
		}
	}
	if err != nil {
		return "", nil, err
	}
	return text, regex, p.done()
}

// parsePostProcessor reads what is put around a text: ByteLevel changes no ids, the others
// name the special tokens before and after it.
func parsePostProcessor(s *spec, v value) error {
	if v.isNull() {
		return nil
	}
	o, name, at, err := v.component()
	if err != nil {
		return err
	}
	switch name {
	case "ByteLevel":
		return nil
	case "TemplateProcessing":
		return parseTemplate(s, o)
	case "RobertaProcessing", "BertProcessing":
		return parseClassifier(s, o)
	case "Sequence":
		return o.take("processors").each(func(_ int, e value) error { return parsePostProcessor(s, e) })
	}
	return at.unsupported()
}

// parseClassifier reads BertProcessing and RobertaProcessing: cls before the text, sep
// after it, each as [content, id].
func parseClassifier(s *spec, o *object) error {
	if s.prefix != nil || s.suffix != nil {
		return o.errorf("is a second template; that is not supported")
	}
	for _, part := range []struct {
		key  string
		list *[]string
	}{{"cls", &s.prefix}, {"sep", &s.suffix}} {
		at := o.take(part.key)
		pair, err := at.pair()
		if err != nil {
			return err
		}
		content, err := pair[0].text()
		if err != nil {
			return err
		}
		*part.list = append(*part.list, content)
	}
	return nil
}

// pair returns the elements of an array of two: a token and its id or score.
func (v value) pair() ([]value, error) {
	var out []value
	err := v.each(func(_ int, e value) error { out = append(out, e); return nil })
	if err == nil && len(out) != 2 {
		err = v.errorf("is %s, want a token and a number", v.oneLine())
	}
	return out, err
}

func parseTemplate(s *spec, o *object) error {
	if s.prefix != nil || s.suffix != nil {
		return o.errorf("is a second TemplateProcessing; that is not supported")
	}
	single, texts := o.take("single"), 0
	err := single.each(func(_ int, e value) error {
		piece, err := e.object()
		if err != nil {
			return err
		}
		if text := piece.take("Sequence"); !text.isNull() {
			texts++
			return piece.done()
		}
		token, err := piece.take("SpecialToken").object()
		if err != nil {
			return err
		}
		content, err := token.take("id").text()
		if texts == 0 {
			s.prefix = append(s.prefix, content)
		} else {
			s.suffix = append(s.suffix, content)
		}
		return err
	})
	if err == nil && texts != 1 {
		err = single.errorf("has the text %d times, want once", texts)
	}
	return err
}
