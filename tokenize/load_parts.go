package tokenize

// This file reads the parts of a tokenizer.json around the model: normalizer,
// pre-tokenizer, post-processor and decoder.

func parseNormalizer(s *spec, v value) error {
	if v.isNull() {
		return nil
	}
	o, err := v.object()
	if err != nil {
		return err
	}
	name, at, err := o.takeType()
	if err != nil {
		return err
	}
	if name != "NFC" {
		return at.unsupported()
	}
	s.nfc = true
	return o.done()
}

// parsePreTokenizer accepts ByteLevel with its own pattern, or Split by a known pattern
// followed by ByteLevel without one, the latter inside a Sequence.
func parsePreTokenizer(s *spec, v value) error {
	o, err := v.object()
	if err != nil {
		return err
	}
	name, at, err := o.takeType()
	if err != nil {
		return err
	}
	switch name {
	case "ByteLevel":
		cuts, err := parseByteLevel(o)
		if err == nil && !cuts {
			err = v.errorf("has use_regex false and no Split before it; that is not supported")
		}
		s.pattern = PatternGPT2
		return err
	case "Sequence":
		return parsePreSequence(s, o)
	}
	return at.unsupported()
}

func parsePreSequence(s *spec, o *object) error {
	list := o.take("pretokenizers")
	byteLevel := false
	err := list.each(func(i int, e value) error {
		step, err := e.object()
		if err != nil {
			return err
		}
		name, at, err := step.takeType()
		switch {
		case err != nil:
			return err
		case byteLevel:
			return e.errorf("follows ByteLevel; that is not supported")
		case name == "Split" && s.pattern == "":
			s.pattern, err = parseSplit(step)
			return err
		case name == "Split":
			return e.errorf("is a second Split; that is not supported")
		case name != "ByteLevel":
			return at.unsupported()
		}
		byteLevel = true
		cuts, err := parseByteLevel(step)
		if err == nil && cuts == (s.pattern != "") {
			err = e.errorf("and the Split before it must have exactly one pattern between them")
		}
		if cuts {
			s.pattern = PatternGPT2
		}
		return err
	})
	if err == nil && !byteLevel {
		err = list.errorf("has no ByteLevel; other alphabets are not supported")
	}
	if err != nil {
		return err
	}
	return o.done()
}

// parseByteLevel reads a ByteLevel pre-tokenizer and reports whether it cuts by the
// pattern of GPT-2, which is its default.
func parseByteLevel(o *object) (cuts bool, err error) {
	prefix := o.take("add_prefix_space")
	if on, err := prefix.flag(); err != nil {
		return false, err
	} else if on {
		return false, prefix.unsupported()
	}
	o.take("trim_offsets")
	regex := o.take("use_regex")
	if cuts, err = regex.flag(); err != nil {
		return false, err
	}
	return cuts || regex.isNull(), o.done()
}

// parseSplit reads a Split. The patterns match every rune, so that "Isolated" and
// "Removed" with invert (what does not match is removed) give the same pieces.
func parseSplit(o *object) (Pattern, error) {
	pattern := o.take("pattern")
	p, err := pattern.object()
	if err != nil {
		return "", err
	}
	regex := p.take("Regex")
	if regex.isNull() {
		return "", pattern.unsupported()
	}
	text, err := regex.text()
	if err != nil {
		return "", err
	}
	behavior, invert := o.take("behavior"), o.take("invert")
	inverted, err := invert.flag()
	if err != nil {
		return "", err
	}
	isolated := string(behavior.raw) == `"Isolated"`
	if removed := string(behavior.raw) == `"Removed"`; !isolated && !(removed && inverted) {
		return "", behavior.unsupported()
	}
	if err := o.done(); err != nil {
		return "", err
	}
	for _, known := range Patterns() {
		if text == known.Regex() {
			return known, p.done()
		}
	}
	return "", regex.unsupported()
}

// parsePostProcessor reads what is put around a text: ByteLevel changes no ids,
// TemplateProcessing names the special tokens before and after it.
func parsePostProcessor(s *spec, v value) error {
	if v.isNull() {
		return nil
	}
	o, err := v.object()
	if err != nil {
		return err
	}
	name, at, err := o.takeType()
	if err != nil {
		return err
	}
	switch name {
	case "ByteLevel":
		return nil
	case "TemplateProcessing":
		return parseTemplate(s, o)
	case "Sequence":
		return o.take("processors").each(func(_ int, e value) error { return parsePostProcessor(s, e) })
	}
	return at.unsupported()
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

// parseDecoder insists on ByteLevel: another one would decode to other bytes.
func parseDecoder(_ *spec, v value) error {
	o, err := v.object()
	if err != nil {
		return err
	}
	name, at, err := o.takeType()
	if err == nil && name != "ByteLevel" {
		err = at.unsupported()
	}
	return err
}
