package tokenize

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// Load reads a Hugging Face tokenizer: a tokenizer.json file, or a folder that holds
// one. A tokenizer_config.json beside it names BOS, EOS and padding; without one,
// special tokens with well-known names ("<|endoftext|>", "</s>", "<pad>", …) have
// those roles. A construct outside the supported set (see the package comment) is an
// error that names it and its key path.
func Load(fsys store.FS, path string) (*Tokenizer, error) {
	if info, err := fsys.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "tokenizer.json")
	}
	if info, err := fsys.Stat(path); err == nil && info.Size() > fileBytesMax {
		return nil, fmt.Errorf("%s: the file has %d bytes, more than %d", path, info.Size(), fileBytesMax)
	}
	data, err := store.ReadAll(fsys, path)
	if err != nil {
		return nil, err
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	config := filepath.Join(filepath.Dir(path), "tokenizer_config.json")
	if !store.Exists(fsys, config) {
		return t, nil
	}
	if data, err = store.ReadAll(fsys, config); err != nil {
		return nil, err
	}
	if t, err = t.withConfig(data); err != nil {
		return nil, fmt.Errorf("%s: %w", config, err)
	}
	return t, nil
}

// fileBytesMax is the most that a tokenizer.json may have. Vocabularies of a quarter of a
// million tokens take a seventh of it. Reading takes a small multiple of the file's size.
const fileBytesMax = 256 << 20

// Parse is [Load] of the content of a tokenizer.json alone.
func Parse(data []byte) (*Tokenizer, error) {
	s, err := parseSpec(data)
	if err != nil {
		return nil, err
	}
	return newTokenizer(s)
}

func parseSpec(data []byte) (spec, error) {
	s := spec{more: &moreSpec{source: data}}
	if len(data) > fileBytesMax {
		return s, fmt.Errorf("the file has %d bytes, more than %d", len(data), fileBytesMax)
	}
	top, err := parseJSON(data)
	if err != nil {
		return s, err
	}
	o, err := top.object()
	if err != nil {
		return s, err
	}
	if v := o.take("version"); !v.isNull() && string(v.raw) != `"1.0"` {
		return s, v.unsupported()
	}
	// These say what a Python caller did last; its next call sets them anew.
	o.take("truncation")
	o.take("padding")
	for _, part := range []struct {
		key   string
		parse func(*spec, value) error
	}{
		{"model", parseModel}, {"added_tokens", parseAdded}, {"normalizer", parseNormalizer},
		{"pre_tokenizer", parsePreTokenizer}, {"post_processor", parsePostProcessor},
		{"decoder", parseDecoder},
	} {
		if err := part.parse(&s, o.take(part.key)); err != nil {
			return s, err
		}
	}
	if err := o.done(); err != nil {
		return s, err
	}
	if err := s.checkAddedIDs(); err != nil {
		return s, err
	}
	s.recognize()
	return s, nil
}

func parseModel(s *spec, v value) error {
	o, err := v.object()
	if err != nil {
		return err
	}
	switch name := o.take("type"); {
	case name.isNull(), string(name.raw) == `"BPE"`:
		err = parseBPE(s, o)
	case string(name.raw) == `"Unigram"`:
		err = parseUnigram(s, o)
	default:
		return name.unsupported()
	}
	if err != nil {
		return err
	}
	return o.done()
}

func parseBPE(s *spec, o *object) (err error) {
	if d := o.take("dropout"); !d.isNull() && strings.Trim(string(d.raw), "0.") != "" {
		return d.unsupported()
	}
	b := &bpeSettings{}
	s.more.bpe = b
	for _, setting := range []struct {
		key  string
		text *string
	}{{"unk_token", &b.unknown}, {"continuing_subword_prefix", &b.prefix}, {"end_of_word_suffix", &b.suffix}} {
		if v := o.take(setting.key); !v.isNull() {
			if *setting.text, err = v.text(); err != nil {
				return err
			}
		}
	}
	for _, setting := range []struct {
		key string
		on  *bool
	}{{"fuse_unk", &b.fuseUnknown}, {"byte_fallback", &b.byteFallback}, {"ignore_merges", &s.ignoreMerges}} {
		if *setting.on, err = o.take(setting.key).flag(); err != nil {
			return err
		}
	}
	ids, err := parseVocab(s, o.take("vocab"))
	if err != nil {
		return err
	}
	return parseMerges(s, o.take("merges"), ids)
}

// parseUnigram reads a vocabulary of [token, score], whose ids are its places.
func parseUnigram(s *spec, o *object) (err error) {
	u := &unigramSettings{unknown: -1}
	s.more.unigram = u
	if v := o.take("unk_id"); !v.isNull() {
		if u.unknown, err = v.id(); err != nil {
			return err
		}
	}
	if u.byteFallback, err = o.take("byte_fallback").flag(); err != nil {
		return err
	}
	return o.take("vocab").each(func(i int, e value) error {
		pair, err := e.pair()
		if err != nil {
			return err
		}
		content, err := pair[0].text()
		if err != nil {
			return err
		}
		score, err := pair[1].score()
		s.vocab, u.scores = append(s.vocab, vocabEntry{content, int32(i)}), append(u.scores, score)
		return err
	})
}

func parseVocab(s *spec, v value) (map[string]int32, error) {
	if err := v.want('{'); err != nil {
		return nil, err
	}
	ids := map[string]int32{}
	for d := v.decoder(); d.PeekKind() != '}'; {
		name, err := d.ReadToken()
		if err != nil {
			return nil, v.errorf("cannot be read: %v", err)
		}
		content := name.String()
		raw, err := d.ReadValue()
		if err != nil {
			return nil, v.errorf("cannot be read: %v", err)
		}
		id, err := value{raw: raw}.id()
		if err != nil {
			_, err = value{path: fmt.Sprintf("%s[%q]", v.path, content), raw: raw}.id()
			return nil, err
		}
		ids[content] = id
		s.vocab = append(s.vocab, vocabEntry{content, id})
	}
	slices.SortFunc(s.vocab, func(a, b vocabEntry) int {
		return cmp.Or(cmp.Compare(a.id, b.id), strings.Compare(a.content, b.content))
	})
	return ids, nil
}

func parseMerges(s *spec, v value, ids map[string]int32) error {
	return v.each(func(i int, e value) error {
		left, right, err := e.mergePair()
		if err != nil {
			return err
		}
		var m mergeEntry
		joined := left + strings.TrimPrefix(right, s.more.bpe.prefix)
		for _, part := range []struct {
			content string
			id      *int32
		}{{left, &m.left}, {right, &m.right}, {joined, &m.id}} {
			id, ok := ids[part.content]
			if !ok {
				return e.errorf("needs %q, which model.vocab does not have", part.content)
			}
			*part.id = id
		}
		s.merges = append(s.merges, m)
		return nil
	})
}

// mergePair reads ["a", "b"] or "a b".
func (v value) mergePair() (left, right string, err error) {
	if v.raw.Kind() == '"' {
		both, err := v.text()
		if err != nil {
			return "", "", err
		}
		left, right, ok := strings.Cut(both, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return "", "", v.errorf("is %q, want two tokens with one space between", both)
		}
		return left, right, nil
	}
	var parts []string
	if v.raw.Kind() != '[' {
		return "", "", v.errorf("is %s, want a string or an array of two", kindNames[v.raw.Kind()])
	}
	err = v.each(func(_ int, e value) error {
		part, err := e.text()
		parts = append(parts, part)
		return err
	})
	if err == nil && (len(parts) != 2 || parts[0] == "" || parts[1] == "") {
		err = v.errorf("is %s, want an array of two tokens", v.oneLine())
	}
	if err != nil {
		return "", "", err
	}
	return parts[0], parts[1], nil
}

// checkAddedIDs refuses ids that the library would not give: it numbers added tokens that the
// vocabulary does not have on from the vocabulary's size, whatever the file says.
func (s *spec) checkAddedIDs() error {
	known := make(map[string]bool, len(s.vocab))
	for _, v := range s.vocab {
		known[v.content] = true
	}
	next := int32(len(s.vocab))
	for i, a := range s.added {
		if a.Content == "" || known[a.Content] {
			continue
		}
		if a.ID != next {
			return fmt.Errorf("added_tokens[%d].id is %d, but Hugging Face tokenizers gives %q %d, "+
				"the first id after the vocabulary that is free", i, a.ID, a.Content, next)
		}
		known[a.Content] = true
		next++
	}
	return nil
}

func parseAdded(s *spec, v value) error {
	if v.isNull() {
		return nil
	}
	return v.each(func(_ int, e value) error {
		o, err := e.object()
		if err != nil {
			return err
		}
		var a Added
		if a.ID, err = o.take("id").id(); err != nil {
			return err
		}
		if a.Content, err = o.take("content").text(); err != nil {
			return err
		}
		if a.Special, err = o.take("special").flag(); err != nil {
			return err
		}
		if a.Normalized, err = o.take("normalized").flag(); err != nil {
			return err
		}
		for _, option := range []struct {
			key string
			on  *bool
		}{{"single_word", &a.SingleWord}, {"lstrip", &a.LStrip}, {"rstrip", &a.RStrip}} {
			if *option.on, err = o.take(option.key).flag(); err != nil {
				return err
			}
		}
		s.added = append(s.added, a)
		return o.done()
	})
}
