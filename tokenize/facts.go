package tokenize

// Facts describe a vocabulary for people.
type Facts struct {
	Hash         string `json:"sha256"` // see [Tokenizer.Hash]
	VocabSize    int    `json:"vocab_size"`
	UnusedIDs    int    `json:"unused_ids"`
	Merges       int    `json:"merges"`
	Pattern      string `json:"pattern"`
	Normalizes   bool   `json:"normalizes"`
	LongestBytes int    `json:"longest_token_bytes"`
	Longest      string `json:"longest_token"` // the first of that length that is not added

	BOS   *TokenFact  `json:"bos"` // nil for none
	EOS   *TokenFact  `json:"eos"`
	Pad   *TokenFact  `json:"pad"`
	Added []TokenFact `json:"added_tokens"` // in order of id
	// Prefix and Suffix are put around a text when special tokens are asked for.
	Prefix []TokenFact `json:"prefix"`
	Suffix []TokenFact `json:"suffix"`
}

// TokenFact is a token with its content.
type TokenFact struct {
	ID      int32  `json:"id"`
	Content string `json:"content"`
	Special bool   `json:"special"`
}

// Facts returns what there is to know about the tokenizer.
func (t *Tokenizer) Facts() Facts {
	f := Facts{Hash: t.hash, VocabSize: t.VocabSize(), Merges: len(t.spec.merges), Pattern: string(t.spec.pattern),
		Normalizes: t.Normalizes(), Prefix: t.facts(t.prefix), Suffix: t.facts(t.suffix)}
	for id := range int32(t.VocabSize()) {
		switch a := t.byID[id]; {
		case !t.Has(id):
			f.UnusedIDs++
		case a != nil:
			f.Added = append(f.Added, t.fact(id))
		case len(t.tokens[id]) > f.LongestBytes:
			f.LongestBytes, f.Longest = len(t.tokens[id]), t.tokens[id]
		}
	}
	f.BOS, f.EOS, f.Pad = t.role(t.bos), t.role(t.eos), t.role(t.pad)
	return f
}

func (t *Tokenizer) role(id int32) *TokenFact {
	if id < 0 {
		return nil
	}
	fact := t.fact(id)
	return &fact
}

func (t *Tokenizer) fact(id int32) TokenFact {
	return TokenFact{id, string(t.AppendToken(nil, id)), t.IsSpecial(id)}
}

func (t *Tokenizer) facts(ids []int32) []TokenFact {
	out := make([]TokenFact, 0, len(ids))
	for _, id := range ids {
		out = append(out, t.fact(id))
	}
	return out
}
