package tokenize

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/big"
	"unicode/utf8"
)

// windowCharsPerToken caps the text of a document at so many code points for each
// token of the sequence before it is tokenized (Connito, connito/shared/dataloader.py).
const windowCharsPerToken = 40

// Prepare tokenizes a document as the packing wants it; info's Tokens and TextBytes are
// filled in. It is safe for concurrent use.
//
// truncate-pad with WindowHead, and DocumentTokensMax, cut the text's tokens so that the
// template's special tokens still fit, as tokenizer(text, truncation=True, max_length=…) does.
// With WindowHash only the first 40 × SequenceLength code points are tokenized, and
// TextBytes counts those; the window may cut the special tokens off.
func (o PackOptions) Prepare(t *Tokenizer, info DocumentInfo, text string) (Document, error) {
	return o.PrepareTargets(t, info, text, nil)
}

// PrepareTargets is [PackOptions.Prepare], and with targets not nil only tokens with a byte in one
// of those parts of the text, in order and apart, and special tokens around it are to be predicted.
func (o PackOptions) PrepareTargets(t *Tokenizer, info DocumentInfo, text string, targets []Span) (Document, error) {
	if err := o.complete(); err != nil {
		return Document{}, err
	}
	if o.Window == WindowHash {
		text = WindowText(text, o.SequenceLength)
	}
	var prefix, suffix []int32
	if o.AddSpecial {
		prefix, suffix = t.Wrap()
	}
	tokens := append(make([]int32, 0, len(text)/4+len(prefix)+len(suffix)+1), prefix...)
	tokens = t.encode(tokens, text, o.FindSpecial)
	info.TextBytes = uint64(len(text))
	d := Document{DocumentInfo: info, Tokens: append(tokens, suffix...)}
	if targets != nil {
		masked, err := t.masked(tokens[len(prefix):], text, targets)
		if err != nil {
			return Document{}, err
		}
		d.Masked = append(make([]bool, len(prefix)), masked...)
		d.Masked = append(d.Masked, make([]bool, len(suffix))...)
	}
	return o.cut(d, text, len(prefix), len(suffix))
}

// cut cuts a document of all tokens, prefix and suffix of which are special and stay, to what
// packing keeps of it. text decides about its window.
func (o PackOptions) cut(d Document, text string, prefix, suffix int) (Document, error) {
	whole := len(d.Tokens)
	if whole > math.MaxUint32 {
		return Document{}, fmt.Errorf("document %d has %d tokens, more than %d", d.Ordinal, whole, math.MaxUint32)
	}
	d.DocumentInfo.Tokens = uint32(whole)
	if limit := o.headTokens(); limit > 0 && whole > limit {
		if limit < prefix+suffix {
			return Document{}, fmt.Errorf("a limit of %d tokens has no room for the %d of the template", limit, prefix+suffix)
		}
		d.Tokens = append(d.Tokens[:limit-suffix], d.Tokens[whole-suffix:]...)
		if d.Masked != nil {
			d.Masked = append(d.Masked[:limit-suffix], d.Masked[whole-suffix:]...)
		}
	}
	if o.Window == WindowHash {
		d.Start = TokenWindow(text, len(d.Tokens), o.SequenceLength)
	}
	return d, nil
}

// headTokens is the number of tokens that a document is cut to at its head, or 0.
func (o PackOptions) headTokens() int {
	switch {
	case o.Window == WindowHash:
		return 0
	case o.Packing != PackTruncatePad:
		return o.DocumentTokensMax
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
