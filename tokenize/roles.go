package tokenize

import "fmt"

// Names by which tokenizers without a tokenizer_config.json show their roles, most
// telling first.
var (
	eosNames = []string{"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<｜end▁of▁sentence｜>"}
	bosNames = []string{"<|begin_of_text|>", "<s>", "<bos>", "<|bos|>", "<｜begin▁of▁sentence｜>"}
	padNames = []string{"<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>"}
)

// Roles names the tokens that begin and end a document and fill a sequence, by their
// content; "" for none.
type Roles struct{ BOS, EOS, Pad string }

// guessRoles gives roles to special tokens that bear well-known names.
func (t *Tokenizer) guessRoles() {
	guess := func(names []string) int32 {
		for _, name := range names {
			for _, a := range t.spec.added {
				if a.Content == name && a.Special {
					return a.ID
				}
			}
		}
		return -1
	}
	t.bos, t.eos, t.pad = guess(bosNames), guess(eosNames), guess(padNames)
}

// WithRoles returns the same tokenizer with other tokens for BOS, EOS and padding.
func (t *Tokenizer) WithRoles(r Roles) (*Tokenizer, error) {
	out := *t
	for _, role := range []struct {
		key, content string
		id           *int32
	}{{"bos", r.BOS, &out.bos}, {"eos", r.EOS, &out.eos}, {"pad", r.Pad, &out.pad}} {
		*role.id = -1
		if role.content == "" {
			continue
		}
		id, ok := t.Find(role.content)
		if !ok {
			return nil, fmt.Errorf("%s token %q is not in the vocabulary", role.key, role.content)
		}
		*role.id = id
	}
	return &out, nil
}

// EOS returns the token that ends a document, and whether there is one.
func (t *Tokenizer) EOS() (id int32, ok bool) { return t.eos, t.eos >= 0 }

// BOS returns the token that begins a document, and whether there is one.
func (t *Tokenizer) BOS() (id int32, ok bool) { return t.bos, t.bos >= 0 }

// Pad returns the token that fills sequences, and whether there is one.
func (t *Tokenizer) Pad() (id int32, ok bool) { return t.pad, t.pad >= 0 }

// Wrap returns the tokens that the post-processor's template puts before and after a
// text when special tokens are asked for (add_special_tokens=True).
func (t *Tokenizer) Wrap() (prefix, suffix []int32) { return t.prefix, t.suffix }

// content returns the content of an added token or vocabulary entry, "" for −1.
func (t *Tokenizer) content(id int32) string {
	if !t.Has(id) {
		return ""
	}
	if a := t.byID[id]; a != nil || t.raw[id] {
		return t.tokens[id]
	}
	return toByteLevel(t.tokens[id])
}
