package stages_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
)

const chatPlan = `
name: chat
seed: 3
network: {base: {model: base}}
input: [{path: data/*.jsonl, messages: messages}]
held_out: {fraction: 0.2}
stages:
  - tokenize: {sequence_length: 64%s}
`

// chatCorpus writes conversations of two turns and a base model with what is to be in its
// tokenizer_config.json.
func chatCorpus(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	texts := problems(60)
	var b strings.Builder
	for i, text := range texts {
		q, a, _ := strings.Cut(text, "? ")
		fmt.Fprintf(&b, "{\"messages\":[{\"role\":\"user\",\"content\":%q},{\"role\":\"assistant\",\"content\":%q,\"mood\":\"%d\"}]}\n", q+"?", a, i%3)
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), b.String())
	tinyBase(t, filepath.Join(dir, "base"), texts)
	if config != "" {
		write(t, filepath.Join(dir, "base", "tokenizer_config.json"), config)
	}
	return dir
}

// tokensOf runs the plan and returns the tokenizer and the sequences of a part.
func tokensOf(t *testing.T, dir, settings, part string) (*tokenize.Tokenizer, []tokenize.Sequence, *pipeline.Result) {
	t.Helper()
	opt := options(dir)
	opt.Workdir = t.TempDir()
	res := run(t, dir, fmt.Sprintf(chatPlan, settings), opt)
	tok, err := tokenize.Load(store.OS(), filepath.Join(dir, "base", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := tokenize.OpenShardFile(store.OS(), filepath.Join(opt.Workdir, "out", "tokens", part+"-00000.tokens"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out []tokenize.Sequence
	for i := range s.Sequences() {
		var seq tokenize.Sequence
		if err := s.Sequence(i, &seq); err != nil {
			t.Fatal(err)
		}
		out = append(out, seq)
	}
	return tok, out, res
}

// decoded is the text of a sequence without its padding, and that of its targets.
func decoded(tok *tokenize.Tokenizer, seq tokenize.Sequence) (text, learnt string) {
	end := seq.Segments[len(seq.Segments)-1].End
	var ids []int32
	for i, on := range seq.Target {
		if on {
			ids = append(ids, seq.Tokens[i])
		}
	}
	return string(tok.Decode(seq.Tokens[:end])), string(tok.Decode(ids))
}

const chatConfig = `{"bos_token": "<|endoftext|>", "pad_token": "<pad>", "chat_template": "{{ bos_token }}{% for m in messages %}` +
	`<{{ m.role }}{{ m.mood }}>{{ m.content }}<pad>{% endfor %}{% if add_generation_prompt %}<assistant{% endif %}"}`

func TestTokenizeChat(t *testing.T) {
	dir := chatCorpus(t, chatConfig)
	tok, seqs, _ := tokensOf(t, dir, ", packing: best-fit, loss_on: assistant, generation_prompt: true", "train")
	eos, _ := tok.EOS()
	documents := 0
	for _, seq := range seqs {
		for _, g := range seq.Segments {
			one := tokenize.Sequence{Tokens: seq.Tokens[g.Start:g.End], Target: seq.Target[g.Start:g.End],
				Segments: []tokenize.Segment{{Document: g.Document, End: g.End - g.Start}}}
			text, learnt := decoded(tok, one)
			if one.Tokens[0] != eos || one.Tokens[len(one.Tokens)-1] != eos {
				t.Fatalf("%q has no special tokens at its ends", text)
			}
			if !strings.HasPrefix(text, "<|endoftext|><user>") || !strings.HasSuffix(text, "<pad><assistant<|endoftext|>") {
				t.Fatalf("wrong layout: %q", text)
			}
			// The mood belongs to what a generation prompt does not say.
			if m := learnt[:1]; !strings.Contains("012", m) || learnt[1:2] != ">" || !strings.HasSuffix(learnt, "of them.<pad><|endoftext|>") || strings.Contains(learnt, "user") {
				t.Fatalf("learns %q", learnt)
			}
			documents++
		}
	}
	if documents < 30 {
		t.Errorf("%d documents", documents)
	}
	_, held, _ := tokensOf(t, dir, ", packing: best-fit, loss_on: assistant", "judge")
	for _, seq := range held {
		if _, learnt := decoded(tok, seq); !strings.Contains(learnt, "<user>") {
			t.Fatalf("the exam counts %q only", learnt)
		}
	}
}

// TestTokenizeChatChoices wants the layouts that are no template of the model.
func TestTokenizeChatChoices(t *testing.T) {
	dir := chatCorpus(t, chatConfig)
	write(t, filepath.Join(dir, "own.jinja"), "{% for m in messages %}[{{ m.content }}]{% endfor %}\n")
	plain := chatCorpus(t, "")
	for settings, c := range map[string]struct{ dir, text, learnt string }{
		", chat_template: own.jinja":                {dir, "[* has *?][There are * of them.]", ""},
		", chat_template: none":                     {dir, "*?\n*There are * of them.", ""},
		", chat_template: esft, loss_on: assistant": {dir, "<|endoftext|>User: *\n\nAssistant: There are * of them.<|endoftext|>", " There are * of them."},
		"":                                     {plain, "User: *?\n\nAssistant: There are * of them.\n\n", ""},
		", loss_on: assistant":                 {plain, "User: *?\n\nAssistant: There are * of them.\n\n", " There are * of them.\n\n"},
		", chat_template: esft, packing: esft": {dir, "<|endoftext|>User: *", ""},
		", chat_template: own.jinja, loss_on: assistant": {dir, "[*][There are *]", "[There are * of them.]"},
	} {
		tok, seqs, res := tokensOf(t, c.dir, settings, "train")
		for _, seq := range seqs[:min(5, len(seqs))] {
			text, learnt := decoded(tok, seq)
			if !like(text, c.text) || c.learnt != "" && !like(strings.TrimSuffix(learnt, "<|endoftext|>"), c.learnt) {
				t.Errorf("%s: %q learns %q", settings, text, learnt)
			}
		}
		for _, n := range res.Stages[len(res.Stages)-1].Notes {
			if strings.Contains(n, "decode") {
				t.Errorf("%s: %s", settings, n)
			}
		}
	}
}

// like reports whether text is pattern, in which * is any text.
func like(text, pattern string) bool {
	parts := strings.Split(pattern, "*")
	for i, p := range parts {
		at := strings.Index(text, p)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(p):]
	}
	return true
}

// TestTokenizeMistakes wants mistakes found, and named.
func TestTokenizeMistakes(t *testing.T) {
	for want, c := range map[string]struct{ config, settings string }{
		`the chat template of tokenizer_config.json:2: statement "include" is not supported; set tokenize.chat_template to`: {`{"chat_template": "\n{% include 'x' %}"}`, ""},
		"the template refuses the conversation: no 0": {`{"chat_template": "{% for m in messages %}{% if m.mood %}{{ raise_exception('no 0') }}{% endif %}{% endfor %}"}`, ""},
		"missing.jinja":                {"", ", chat_template: missing.jinja"},
		"needs a BOS and an EOS token": {"", ", chat_template: esft"},
	} {
		dir := chatCorpus(t, c.config)
		_, err := pipeline.Run(context.Background(), parse(t, dir, fmt.Sprintf(chatPlan, c.settings)), options(dir))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// A template that cannot be used is no mistake where there is no conversation.
	dir := modelCorpus(t, 60)
	write(t, filepath.Join(dir, "base", "tokenizer_config.json"), `{"chat_template": "{% include 'x' %}"}`)
	run(t, dir, strings.Replace(fmt.Sprintf(chatPlan, ""), ", messages: messages", "", 1), options(dir))
	for want, settings := range map[string]string{
		"goes with packing: esft":          ", concat_ratio: 0.1",
		"keeps the end of a long document": ", packing: esft, long_documents: window",
		"chat_template: none has none":     ", chat_template: none, generation_prompt: true",
		"is none of datatrove, megatron":   ", also: [parquet]",
	} {
		_, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(fmt.Sprintf(chatPlan, settings)), stages.All(),
			pipeline.ParseOptions{Complete: stages.Complete})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
}

// TestTokenizeAudit wants what the audit finds in the notes: here, padding that hides the ends.
func TestTokenizeAudit(t *testing.T) {
	dir := chatCorpus(t, `{"pad_token": "<|endoftext|>", "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}{{ eos_token }}", "eos_token": "<|endoftext|>"}`)
	_, _, res := tokensOf(t, dir, "", "train")
	s := res.Stages[len(res.Stages)-1]
	if want := "tokens, train: EOS is never a target: is it the padding token?"; !slices.Contains(s.Notes, want) {
		t.Errorf("notes %q, want %q", s.Notes, want)
	}
	if len(s.Panels) != 2 || s.Panels[1].Title != "Audit of the tokens" || len(s.Panels[1].Table.Rows) != 3 {
		t.Errorf("panels %+v", s.Panels)
	}
	_, _, res = tokensOf(t, chatCorpus(t, ""), "", "train")
	if s := res.Stages[len(res.Stages)-1]; len(s.Notes) != 0 {
		t.Errorf("sound tokens have the notes %q", s.Notes)
	}
}

// TestTokenizeAlso reads the files for other programs: every document in the order of training.
func TestTokenizeAlso(t *testing.T) {
	dir := chatCorpus(t, chatConfig)
	opt := options(dir)
	plan := fmt.Sprintf(chatPlan, ", packing: eos-concat, loss_on: assistant, also: [datatrove, megatron]")
	run(t, dir, plan, opt)
	tokens := filepath.Join(opt.Workdir, "out", "tokens")
	read := func(name string) []byte {
		data, err := store.ReadAll(store.OS(), filepath.Join(tokens, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	s, err := tokenize.OpenShardFile(store.OS(), filepath.Join(tokens, "train-00000.tokens"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var want []byte
	var loss []byte
	var ends []uint64
	var seq tokenize.Sequence
	for i := range s.Sequences() {
		if err := s.Sequence(i, &seq); err != nil {
			t.Fatal(err)
		}
		for _, g := range seq.Segments {
			for k := g.Start; k < g.End; k++ {
				want = binary.LittleEndian.AppendUint16(want, uint16(seq.Tokens[k]))
				loss = append(loss, map[bool]byte{true: 1}[seq.Target[k]])
			}
			if g.From == 0 && len(ends) > 0 && ends[len(ends)-1] > uint64(len(want)/2) {
				t.Fatal("documents overlap")
			}
			if end := g.From + g.End - g.Start; end == int(g.Document.Tokens)+1 {
				ends = append(ends, uint64(len(want)/2))
			}
		}
	}
	name := "datatrove/train_00000_doc_shuffled.ds"
	got := read(name)
	if len(got) < len(want) || !slices.Equal(got[:len(want)], want) || !slices.Equal(read("megatron/train.bin"), got) {
		t.Error("the tokens differ from those of the shard")
	}
	gotLoss := read(name + ".loss")
	for i := range loss { // the first token of a sequence is no target of it
		if i%64 != 0 && gotLoss[i] != loss[i] {
			t.Fatalf("token %d: loss %d, want %d", i, gotLoss[i], loss[i])
		}
	}
	index := read(name + ".index")
	for i, end := range ends {
		if got := binary.LittleEndian.Uint64(index[8*i:]); got != end {
			t.Fatalf("document %d ends at %d, want %d", i, got, end)
		}
	}
	if !strings.HasSuffix(string(read(name+".metadata")), "T") || string(read("megatron/train.idx")[:7]) != "MMIDIDX" {
		t.Error("metadata or index are damaged")
	}
}

// TestTokenizeShuffle wants the same sequences in another order, and the same one for any number
// of workers.
func TestTokenizeShuffle(t *testing.T) {
	dir := chatCorpus(t, chatConfig)
	sorted := func(seqs []tokenize.Sequence) (out []string) {
		for _, s := range seqs {
			out = append(out, fmt.Sprint(s.Tokens, s.Target, s.Segments))
		}
		return out
	}
	const settings = ", packing: best-fit, loss_on: assistant"
	_, seqs, _ := tokensOf(t, dir, settings, "train")
	_, shuffled, _ := tokensOf(t, dir, settings+", shuffle: sequences", "train")
	_, again, _ := tokensOf(t, dir, settings+", shuffle: sequences", "train")
	a, b := sorted(seqs), sorted(shuffled)
	if slices.Equal(a, b) || !slices.Equal(b, sorted(again)) {
		t.Error("the order is that of before, or not always the same")
	}
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Error("the sequences are others")
	}
}

// TestTokenWidth wants tokens of the width that was asked for.
func TestTokenWidth(t *testing.T) {
	dir := chatCorpus(t, "")
	for width, want := range map[string]int{"auto": 2, "uint16": 2, "uint32": 4} {
		opt := options(dir)
		opt.Workdir = t.TempDir()
		run(t, dir, fmt.Sprintf(chatPlan, ", token_width: "+width), opt)
		s, err := tokenize.OpenShardFile(store.OS(), filepath.Join(opt.Workdir, "out", "tokens", "train-00000.tokens"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Meta().TokenBytes; got != want {
			t.Errorf("%s: %d bytes, want %d", width, got, want)
		}
		if err := errors.Join(s.Verify(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestTokenizeWorkers wants the same files, those for other programs among them, for any number of
// workers.
func TestTokenizeWorkers(t *testing.T) {
	dir := chatCorpus(t, chatConfig)
	var trees []map[string]string
	for _, workers := range []int{1, 4} {
		opt := options(dir)
		opt.Workdir, opt.Workers = t.TempDir(), workers
		run(t, dir, fmt.Sprintf(chatPlan, ", packing: esft, loss_on: assistant, shuffle: sequences, also: [datatrove, megatron]"), opt)
		tree := map[string]string{}
		walk(t, opt.FS, filepath.Join(opt.Workdir, "out", "tokens"), "", tree)
		trees = append(trees, tree)
	}
	if len(trees[0]) != 3+3*4+3*2+1 {
		t.Errorf("%d files", len(trees[0]))
	}
	sameTree(t, "tokens", trees[1], trees[0])
}
