package tokenize

import (
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// WriteJSON writes the tokenizer as a tokenizer.json, version 1.0, that Hugging Face
// tokenizers loads and that gives the same ids there. [Parse] of it gives a tokenizer
// of the same [Tokenizer.Hash]. A tokenizer outside the simple family (complete byte-level
// BPE, no normalizer or NFC, plain added tokens) comes out as the file that it was read from.
func (t *Tokenizer) WriteJSON(w io.Writer) error {
	if t.spec.more != nil {
		_, err := w.Write(t.spec.more.source)
		return err
	}
	e := &jsonWriter{enc: jsontext.NewEncoder(w, jsontext.WithIndent("  "))}
	e.open('{')
	e.member("version", "1.0")
	e.member("truncation", nil)
	e.member("padding", nil)
	e.name("added_tokens")
	e.open('[')
	for _, a := range t.spec.added {
		e.object("id", int(a.ID), "content", a.Content, "single_word", false, "lstrip", false,
			"rstrip", false, "normalized", a.Normalized, "special", a.Special)
	}
	e.close(']')
	e.name("normalizer")
	if t.spec.nfc {
		e.object("type", "NFC")
	} else {
		e.value(nil)
	}
	t.writePreTokenizer(e)
	t.writePostProcessor(e)
	e.name("decoder")
	e.byteLevel(true)
	t.writeModel(e)
	e.close('}')
	return e.err
}

func (t *Tokenizer) writePreTokenizer(e *jsonWriter) {
	e.name("pre_tokenizer")
	if t.spec.pattern == PatternGPT2 {
		e.byteLevel(true)
		return
	}
	e.open('{')
	e.member("type", "Sequence")
	e.name("pretokenizers")
	e.open('[')
	for _, regex := range t.spec.pattern.Regexes() {
		e.open('{')
		e.member("type", "Split")
		e.name("pattern")
		e.object("Regex", regex)
		e.member("behavior", "Isolated")
		e.member("invert", false)
		e.close('}')
	}
	if t.spec.pattern.singleDigits() {
		e.object("type", "Digits", "individual_digits", true)
	}
	e.byteLevel(false)
	e.close(']')
	e.close('}')
}

func (t *Tokenizer) writePostProcessor(e *jsonWriter) {
	e.name("post_processor")
	around := append(append([]string(nil), t.spec.prefix...), t.spec.suffix...)
	if len(around) == 0 {
		e.byteLevel(true)
		return
	}
	e.open('{')
	e.member("type", "TemplateProcessing")
	for _, list := range []struct {
		key   string
		texts []string
	}{{"single", []string{"A"}}, {"pair", []string{"A", "B"}}} {
		e.name(list.key)
		e.open('[')
		for _, text := range list.texts {
			e.template("SpecialToken", t.spec.prefix...)
			e.template("Sequence", text)
			e.template("SpecialToken", t.spec.suffix...)
		}
		e.close(']')
	}
	e.name("special_tokens")
	e.open('{')
	seen := map[string]bool{}
	for _, content := range around {
		if id, ok := t.Find(content); ok && !seen[content] {
			seen[content] = true
			e.name(content)
			e.open('{')
			e.member("id", content)
			e.name("ids")
			e.array(int(id))
			e.name("tokens")
			e.array(content)
			e.close('}')
		}
	}
	e.close('}')
	e.close('}')
}

// writeModel writes each merge as "a b", which every version of the library reads,
// unless a token holds a space itself.
func (t *Tokenizer) writeModel(e *jsonWriter) {
	e.name("model")
	e.open('{')
	e.member("type", "BPE")
	for _, key := range []string{
		"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
	} {
		e.member(key, nil)
	}
	e.member("fuse_unk", false)
	e.member("byte_fallback", false)
	e.member("ignore_merges", t.spec.ignoreMerges)
	contents := make(map[int32]string, len(t.spec.vocab))
	spaced := false
	e.name("vocab")
	e.open('{')
	for _, v := range t.spec.vocab {
		contents[v.id] = v.content
		spaced = spaced || t.raw[v.id]
		e.member(v.content, int(v.id))
	}
	e.close('}')
	e.name("merges")
	e.open('[')
	for _, m := range t.spec.merges {
		if left, right := contents[m.left], contents[m.right]; spaced {
			e.array(left, right)
		} else {
			e.value(left + " " + right)
		}
	}
	e.close(']')
	e.close('}')
}

// jsonWriter writes tokens and remembers the first error.
type jsonWriter struct {
	enc *jsontext.Encoder
	err error
}

func (e *jsonWriter) token(t jsontext.Token) {
	if e.err == nil {
		e.err = e.enc.WriteToken(t)
	}
}

func (e *jsonWriter) open(c byte) {
	if c == '{' {
		e.token(jsontext.BeginObject)
	} else {
		e.token(jsontext.BeginArray)
	}
}

func (e *jsonWriter) close(c byte) {
	if c == '}' {
		e.token(jsontext.EndObject)
	} else {
		e.token(jsontext.EndArray)
	}
}

func (e *jsonWriter) name(key string) { e.token(jsontext.String(key)) }

// value writes nil, a bool, an int or a string.
func (e *jsonWriter) value(v any) {
	switch v := v.(type) {
	case nil:
		e.token(jsontext.Null)
	case bool:
		e.token(jsontext.Bool(v))
	case int:
		e.token(jsontext.Int(int64(v)))
	case string:
		e.token(jsontext.String(v))
	}
}

func (e *jsonWriter) member(key string, v any) {
	e.name(key)
	e.value(v)
}

// object writes alternating keys and values.
func (e *jsonWriter) object(members ...any) {
	e.open('{')
	for _, m := range members {
		e.value(m)
	}
	e.close('}')
}

func (e *jsonWriter) array(values ...any) {
	e.open('[')
	for _, v := range values {
		e.value(v)
	}
	e.close(']')
}

func (e *jsonWriter) byteLevel(cuts bool) {
	e.object("type", "ByteLevel", "add_prefix_space", false, "trim_offsets", true, "use_regex", cuts)
}

func (e *jsonWriter) template(kind string, ids ...string) {
	for _, id := range ids {
		e.open('{')
		e.name(kind)
		e.object("id", id, "type_id", 0)
		e.close('}')
	}
}
