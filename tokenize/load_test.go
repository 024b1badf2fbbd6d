package tokenize

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// edited returns testdata/hf_gpt2.json with the value at path replaced; nil deletes it.
func edited(t *testing.T, path string, to any) []byte {
	t.Helper()
	var doc map[string]any
	readJSON(t, "testdata/hf_gpt2.json", &doc)
	at, keys := any(doc), strings.Split(path, "/")
	for _, key := range keys[:len(keys)-1] {
		switch v := at.(type) {
		case map[string]any:
			at = v[key]
		case []any:
			at = v[key[0]-'0']
		}
	}
	key := keys[len(keys)-1]
	switch v := at.(type) {
	case map[string]any:
		if v[key] = to; to == nil {
			delete(v, key)
		}
	case []any:
		v[key[0]-'0'] = to
	default:
		t.Fatalf("no %s in the file", path)
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type obj = map[string]any
type arr = []any

// loadError is a change of a good file, and what the error says.
type loadError struct {
	path string
	to   any
	want string
}

func refused(t *testing.T, cases []loadError) {
	t.Helper()
	for _, c := range cases {
		_, err := Parse(edited(t, c.path, c.to))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %v:\n got %v\nwant %s", c.path, c.to, err, c.want)
		}
	}
}

func TestLoadErrorsInModel(t *testing.T) {
	token := func(id any, content string) obj { return obj{"id": id, "content": content, "special": true} }
	refused(t, []loadError{
		{"version", "2.0", `version "2.0" is not supported`},
		{"surprise", 1, `surprise 1 is not supported`},
		{"model", nil, `model is null, want an object`},
		{"model/type", "WordPiece", `model.type "WordPiece" is not supported`},
		{"model/type", "Unigram", `model.vocab is an object, want an array`},
		{"model/dropout", 0.1, `model.dropout 0.1 is not supported`},
		{"model/end_of_word_suffix", 1, `model.end_of_word_suffix is a number, want a string`},
		{"model/byte_fallback", "no", `model.byte_fallback is a string, want a boolean`},
		{"model/ignore_merges", "yes", `model.ignore_merges is a string, want a boolean`},
		{"model/mystery", obj{}, `model.mystery {} is not supported`},
		{"model/vocab", arr{}, `model.vocab is an array, want an object`},
		{"model/vocab/Ġthe", "7", `model.vocab["Ġthe"] is a string, want a number`},
		{"model/vocab/Ġthe", 1.5, `model.vocab["Ġthe"] is 1.5, want a token id`},
		{"model/vocab/Ġthe", -1, `model.vocab["Ġthe"] is -1, want a token id`},
		{"model/vocab/zzzz", 300, `id 300 is taken by another entry`},
		{"model/vocab/zzzz", 2000000000, `model.vocab: id 2000000000 leaves more than 65536 ids unused`},
		{"model/vocab/zzzz", 1e300, `want a token id`},
		{"model/merges", obj{}, `model.merges is an object, want an array`},
		{"model/merges/0", "ab", `model.merges[0] is "ab", want two tokens with one space between`},
		{"model/merges/0", "a b c", `model.merges[0] is "a b c", want two tokens`},
		{"model/merges/0", 4, `model.merges[0] is a number, want a string or an array of two`},
		{"model/merges/0", arr{"a"}, `model.merges[0] is ["a"], want an array of two tokens`},
		{"model/merges/0", arr{"a", 3}, `model.merges[0][1] is a number, want a string`},
		{"model/merges/0", "q q", `model.merges[0] needs "qq", which model.vocab does not have`},
		{"model/merges/0", "Q~Q r", `model.merges[0] needs "Q~Q", which model.vocab does not have`},
		{"added_tokens/0", 5, `added_tokens[0] is a number, want an object`},
		{"added_tokens/0", token("x", "y"), `added_tokens[0].id is a string, want a number`},
		{"added_tokens/0", token(0, ""), `added_tokens[0].content is empty`},
		{"added_tokens/0", token(9, "<|endoftext|>"), `added_tokens[0].id is 9, but "<|endoftext|>" has id 0 already`},
		{"added_tokens/0", token(9, "<new>"), `added_tokens[0].id is 9, but Hugging Face tokenizers gives "<new>" 600`},
		{"added_tokens/0", token(601, "<new>"), `added_tokens[0].id is 601, but Hugging Face tokenizers gives "<new>" 600`},
		{"added_tokens/0", token(1, "<|pad|>"), `added_tokens[1]: "<|pad|>" is listed twice`},
		{"added_tokens/0/lstrip", 1, `added_tokens[0].lstrip is a number, want a boolean`},
		{"added_tokens/0/odd", 1, `added_tokens[0].odd 1 is not supported`},
	})
}

func TestLoadErrorsAroundModel(t *testing.T) {
	byteLevel := obj{"type": "ByteLevel", "use_regex": false}
	split := func(regex, behavior string, invert bool) obj {
		return obj{"type": "Split", "pattern": obj{"Regex": regex}, "behavior": behavior, "invert": invert}
	}
	sequence := func(steps ...any) obj { return obj{"type": "Sequence", "pretokenizers": append(arr{}, steps...)} }
	refused(t, []loadError{
		{"normalizer", obj{"type": "Odd"}, `normalizer.type "Odd" is not supported`},
		{"normalizer", obj{"type": "Sequence", "normalizers": arr{obj{"type": "Odd"}}}, `normalizer.normalizers[0].type "Odd" is not supported`},
		{"normalizer", obj{"type": "Replace", "pattern": obj{}, "content": ""}, `normalizer.pattern is {}, want a String or a Regex`},
		{"normalizer", obj{"type": "Replace", "pattern": obj{"Regex": `(?<=a)b`}, "content": ""}, `normalizer.pattern.Regex cannot be used: regular expression "(?<=a)b": the group (?<=`},
		{"normalizer", obj{"type": "Strip", "strip_left": 1}, `normalizer.strip_left is a number, want a boolean`},
		{"normalizer", obj{"type": "Lowercase", "odd": 1}, `normalizer.odd 1 is not supported`},
		{"pre_tokenizer/type", "Odd", `pre_tokenizer.type "Odd" is not supported`},
		{"pre_tokenizer", 3, `pre_tokenizer is a number, want an object`},
		{"pre_tokenizer/type", "Metaspace", `pre_tokenizer.replacement is null, want a string`},
		{"pre_tokenizer", obj{"type": "Metaspace", "replacement": "ab"}, `pre_tokenizer.replacement is "ab", want one character`},
		{"pre_tokenizer", obj{"type": "Metaspace", "replacement": "_", "prepend_scheme": "often"}, `pre_tokenizer.prepend_scheme "often" is not supported`},
		{"pre_tokenizer", obj{"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "add_prefix_space": false}, `pre_tokenizer.add_prefix_space is false, but`},
		{"pre_tokenizer", sequence(byteLevel, obj{"type": "Odd"}), `pre_tokenizer.pretokenizers[1].type "Odd" is not supported`},
		{"pre_tokenizer", sequence(split(`\bw`, "Isolated", false)), `pre_tokenizer.pretokenizers[0].pattern.Regex cannot be used: regular expression "\\bw": \b is not supported`},
		{"pre_tokenizer", sequence(split("a", "Odd", false)), `pre_tokenizer.pretokenizers[0].behavior "Odd" is not supported`},
		{"pre_tokenizer", obj{"type": "FixedLength", "length": 0}, `pre_tokenizer has length 0, want at least 1`},
		{"post_processor", obj{"type": "Odd"}, `post_processor.type "Odd" is not supported`},
		{"post_processor", obj{"type": "BertProcessing", "cls": arr{"a"}}, `post_processor.cls is ["a"], want a token and a number`},
		{"post_processor", obj{"type": "RobertaProcessing", "cls": arr{"<x>", 0}, "sep": arr{"a", 1}}, `post_processor.single: token "<x>" is not in the vocabulary`},
		{"post_processor", obj{"type": "Sequence", "processors": arr{obj{"type": "Odd"}}}, `post_processor.processors[0].type "Odd" is not supported`},
		{"post_processor", obj{"type": "TemplateProcessing", "single": arr{}}, `post_processor.single has the text 0 times, want once`},
		{"post_processor", obj{"type": "TemplateProcessing", "single": arr{obj{"SpecialToken": obj{"id": "<x>"}}, obj{"Sequence": obj{"id": "A"}}}}, `post_processor.single: token "<x>" is not in the vocabulary`},
		{"decoder/type", "WordPiece", `decoder.type "WordPiece" is not supported`},
		{"decoder", obj{"type": "Sequence", "decoders": arr{obj{"type": "Fuse", "odd": 2}}}, `decoder.decoders[0].odd 2 is not supported`},
		{"decoder", obj{"type": "Strip", "content": " ", "start": 1e9, "stop": 0}, `decoder.start`},
	})
}

func TestLoadTooLarge(t *testing.T) {
	_, err := Parse(make([]byte, fileBytesMax+1))
	if err == nil || !strings.Contains(err.Error(), "more than 268435456") {
		t.Errorf("a file that is too large gave %v", err)
	}
}

func TestLoadNotJSON(t *testing.T) {
	for _, c := range [][2]string{
		{``, "not JSON"}, {`{"a":1,"a":2}`, "not JSON"}, {`{} {}`, "not JSON"}, {`[]`, "the document is an array"},
		{"\"\xff\"", "not JSON"},
	} {
		if _, err := Parse([]byte(c[0])); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%q gave %v, want %q", c[0], err, c[1])
		}
	}
}

func TestLoadVariants(t *testing.T) {
	base := loadTest(t, "hf_gpt2.json")
	split := func(behavior string, invert bool) obj {
		return obj{"type": "Sequence", "pretokenizers": arr{
			obj{"type": "Split", "pattern": obj{"Regex": regexGPT2}, "behavior": behavior, "invert": invert},
			obj{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}}}
	}
	var merges []any
	for _, m := range base.spec.merges {
		merges = append(merges, arr{base.content(m.left), base.content(m.right)})
	}
	for _, c := range []struct {
		path string
		to   any
	}{
		{"pre_tokenizer", split("Isolated", false)},
		{"pre_tokenizer", split("Removed", true)},
		{"pre_tokenizer/use_regex", nil},
		{"model/merges", merges},
		{"model/dropout", 0.0},
		{"model/unk_token", "<unk>"},
		{"truncation", obj{"max_length": 5}},
		{"post_processor", nil},
	} {
		tok, err := Parse(edited(t, c.path, c.to))
		if err != nil || tok.Hash() != base.Hash() {
			t.Errorf("%s = %v: %v, or another hash", c.path, c.to, err)
		}
	}
	data, err := os.ReadFile("testdata/hf_gpt2.json")
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := Parse(append([]byte("\uFEFF"), data...)); err != nil || tok.Hash() != base.Hash() {
		t.Errorf("with a byte order mark: %v", err)
	}
}

// overlay returns a small good file whose members, and those of its model, are replaced
// by those of patch; or patch itself if it is not an object.
func overlay(t testing.TB, patch []byte) []byte {
	var over map[string]json.RawMessage
	if json.Unmarshal(patch, &over) != nil {
		return patch
	}
	vocab := map[string]int{"ab": 256, "bc": 257, "abc": 258}
	for b, r := range byteRunes {
		vocab[string(r)] = b
	}
	model := map[string]any{"type": "BPE", "vocab": vocab, "merges": arr{"a b", arr{"b", "c"}, "ab c"}}
	doc := map[string]any{"pre_tokenizer": obj{"type": "ByteLevel"}, "decoder": obj{"type": "ByteLevel"}, "model": model}
	for key, value := range over {
		var inner map[string]json.RawMessage
		if key != "model" || json.Unmarshal(value, &inner) != nil {
			doc[key] = value
			continue
		}
		for key, value := range inner {
			model[key] = value
		}
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzParse(f *testing.F) {
	for _, patch := range []string{
		`{}`, `{"normalizer":{"type":"NFC"}}`, `{"model":{"ignore_merges":true,"merges":["a b",["a","bc"]]}}`,
		`{"model":{"merges":[["x","y"]],"dropout":0.0}}`, `[1,2`, `{"a":1}{`,
		`{"added_tokens":[{"id":259,"content":"<s>","special":true},{"id":300,"content":"no","normalized":true}]}`,
		`{"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"ab"}},{"Sequence":{}}]}}`,
		`{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\s"},` +
			`"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]}}`,
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["?",0],["a",-1.5],["bc",-2e0]],"byte_fallback":true},"decoder":null}`,
		`{"model":{"unk_token":"a","byte_fallback":true,"fuse_unk":true,"end_of_word_suffix":"c","continuing_subword_prefix":"b"}}`,
		`{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Replace","pattern":{"Regex":" +(?!b)"},"content":"a"},` +
			`{"type":"Prepend","prepend":"b"},{"type":"Strip","strip_left":true},{"type":"Precompiled","precompiled_charsmap":"BAAAAAAAAAAA"}]}}`,
		`{"pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"first"},"decoder":{"type":"Sequence","decoders":` +
			`[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":"b","start":1,"stop":2}]}}`,
		`{"pre_tokenizer":{"type":"Split","pattern":{"String":"b"},"behavior":"MergedWithNext","invert":true},"added_tokens":` +
			`[{"id":259,"content":"c","lstrip":true,"rstrip":true,"single_word":true}],"post_processor":{"type":"BertProcessing","cls":["a",1],"sep":["b",2]}}`,
	} {
		f.Add([]byte(patch))
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		tok, err := Parse(overlay(t, patch))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("the error has several lines: %q", err)
			}
			return
		}
		const text = "The abc isn't 12345\n\n  wi\u0301de."
		if err := tok.RoundTrip(text); err != nil {
			t.Fatal(err)
		}
		sameWithOffsets(t, tok, text)
		tok.Decode(tok.Encode(nil, text))
		var out bytes.Buffer
		if err := tok.WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(out.Bytes())
		if err != nil || back.Hash() != tok.Hash() {
			t.Fatalf("written and read again: %v", err)
		}
	})
}
