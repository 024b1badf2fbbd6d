package stages

import (
	"slices"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
)

// TestLayoutsAgree wants the stages that only route a document to read what training reads.
func TestLayoutsAgree(t *testing.T) {
	tok, err := tokenize.Train(slices.Values([]string{"the river and the stones"}), tokenize.TrainOptions{VocabSize: 270,
		Special: []string{"<s>", "</s>"}})
	if err != nil {
		t.Fatal(err)
	}
	model, err := tokenize.ReadModelTemplate("chat", "{% for m in messages %}<s>{{ m.role ~ m.mood }}:{{ m.content }}</s>{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	messages := []pipeline.Message{{Role: "user", Content: "the river"}, {Role: "assistant", Content: " stones"}}
	chat := &pipeline.Doc{Text: "the river\n stones", Messages: messages, Fields: []store.Field{{Key: "m",
		Value: []byte(`[{"role":"user","content":"the river"},{"role":"assistant","content":" stones","mood":7}]`)}}}
	plain := &pipeline.Doc{Text: "the <s> river", Slot: -1}
	o := tokenize.PackOptions{Packing: tokenize.PackEOSConcat, SequenceLength: 64}.WithTokenizer(tok)
	for name, c := range map[string]struct {
		conv *conversations
		want string
	}{
		"plain": {&conversations{chatLayout: chatLayout{template: chatAuto}, tok: tok}, "User: the river\n\nAssistant:  stones\n\n"},
		"model": {&conversations{chatLayout: chatLayout{template: chatAuto}, tok: tok, model: model}, "<s>user:the river</s><s>assistant7: stones</s>"},
		"esft":  {&conversations{chatLayout: chatLayout{template: chatESFT}, tok: tok}, "<s>User: the river\n\nAssistant: stones</s>"},
		"none":  {&conversations{chatLayout: chatLayout{template: chatNone}, tok: tok}, "the river\n stones"},
	} {
		for d, want := range map[*pipeline.Doc]string{chat: c.want, plain: plain.Text} {
			doc, _, err := c.conv.prepare(o, tokenize.DocumentInfo{}, d, true)
			if err != nil {
				t.Fatal(err)
			}
			ids, err := c.conv.encode(nil, d)
			if err != nil || !slices.Equal(ids, doc.Tokens) || string(tok.Decode(ids)) != want {
				t.Errorf("%s: routed %v %q, trained %v, want %q, %v", name, ids, tok.Decode(ids), doc.Tokens, want, err)
			}
		}
	}
}
