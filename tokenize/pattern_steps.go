package tokenize

// steps are the pre-tokenizers that stand for the pattern, before ByteLevel.
func (p Pattern) steps() (out []step) {
	for _, regex := range p.Regexes() {
		out = append(out, step{name: "Split", regex: regex, how: "Isolated"})
	}
	if p.singleDigits() {
		out = append(out, step{name: "Digits", plain: true})
	}
	return out
}

// singleDigits tells whether pre-tokenizer Digits follows the expressions.
func (p Pattern) singleDigits() bool { return p == PatternDeepSeekV2 }
