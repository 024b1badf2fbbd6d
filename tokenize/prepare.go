package tokenize

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// windowCharsPerToken caps the text of a document at so many code points for each
// token of the sequence before it is tokenized (Connito, connito/shared/dataloader.py).
const windowCharsPerToken = 40

// Prepare tokenizes a document as the packing wants it; info's Tokens and TextBytes are
// filled in. It is safe for concurrent use.
//
// truncate-pad with WindowHead, and DocumentTokensMax, cut the text's tokens so that the template's special
// tokens still fit, as tokenizer(text, truncation=True, max_length=…) does. With
// WindowHash only the first 40 × SequenceLength code points are tokenized, and
// TextBytes counts those; the window may cut the special tokens off.
func (o PackOptions) Prepare(t *Tokenizer, info DocumentInfo, text string) (Document, error) {
	if err := o.complete(); err != nil {
		return Document{}, err
	}
	alone := o.Packing == PackTruncatePad
	if alone && o.Window == WindowHash {
		text = WindowText(text, o.SequenceLength)
	}
	var prefix, suffix []int32
	if o.AddSpecial {
		prefix, suffix = t.Wrap()
	}
	tokens := append(make([]int32, 0, len(text)/4+len(prefix)+len(suffix)+1), prefix...)
	tokens = t.encode(tokens, text, o.FindSpecial)
	whole := len(tokens) + len(suffix)
	if whole > math.MaxUint32 {
		return Document{}, fmt.Errorf("document %d has %d tokens, more than %d",
			info.Ordinal, whole, math.MaxUint32)
	}
	info.Tokens, info.TextBytes = uint32(whole), uint64(len(text))
	if limit := o.headTokens(); limit > 0 && whole > limit {
		if limit < len(prefix)+len(suffix) {
			return Document{}, fmt.Errorf("a limit of %d tokens has no room for the %d of the template",
				limit, len(prefix)+len(suffix))
		}
		tokens = tokens[:limit-len(suffix)]
	}
	d := Document{DocumentInfo: info, Tokens: append(tokens, suffix...)}
	if alone && o.Window == WindowHash {
		d.Start = TokenWindow(text, len(d.Tokens), o.SequenceLength)
	}
	return d, nil
}

// headTokens is the number of tokens that a document is cut to at its head, or 0.
func (o PackOptions) headTokens() int {
	switch {
	case o.Packing == PackEOSConcat:
		return o.DocumentTokensMax
	case o.Window == WindowHash:
		return 0
	}
	return o.SequenceLength
}

// WindowText returns text[:sequenceLength*40], counted in code points, which is what
// [TokenWindow] hashes and what is to be tokenized.
func WindowText(text string, sequenceLength int) string {
	chars := sequenceLength * windowCharsPerToken
	if len(text) <= chars {
		return text
	}
	at := 0
	for ; chars > 0 && at < len(text); chars-- {
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return text[:at]
}

// TokenWindow returns the first token of the window of sequenceLength that Connito keeps
// of a document of tokens tokens: h256_int("token_window", text) mod (tokens −
// sequenceLength + 1), or 0 if it fits. text is capped by [WindowText] first. The hash
// is SHA-256 over each part followed by a zero byte, as a big-endian number.
func TokenWindow(text string, tokens, sequenceLength int) int {
	span := tokens - sequenceLength
	if span <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte("token_window\x00" + WindowText(text, sequenceLength) + "\x00"))
	n := new(big.Int).SetBytes(sum[:])
	return int(n.Mod(n, big.NewInt(int64(span)+1)).Int64())
}

// Message is one turn of a conversation.
type Message struct{ Role, Content string }

// ChatTemplate renders messages as text without a template engine.
type ChatTemplate struct {
	// Begin and End stand once around the whole; End may ask for an answer, as
	// add_generation_prompt does.
	Begin, End string
	// Turns gives the text of a turn by role, with {{content}} and {{role}} in it; the
	// key "" serves every other role.
	Turns map[string]string
}

// Render returns the text. A role without a turn is an error.
func (c ChatTemplate) Render(messages []Message) (string, error) {
	var b strings.Builder
	b.WriteString(c.Begin)
	for i, m := range messages {
		turn, ok := c.Turns[m.Role]
		if !ok {
			turn, ok = c.Turns[""]
		}
		if !ok {
			return "", fmt.Errorf("messages[%d].role: the chat template has no turn for %q", i, m.Role)
		}
		b.WriteString(strings.NewReplacer("{{content}}", m.Content, "{{role}}", m.Role).Replace(turn))
	}
	b.WriteString(c.End)
	return b.String(), nil
}
