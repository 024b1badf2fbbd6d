package tokenize

// steps are the pre-tokenizers that stand for the pattern, before ByteLevel.
func (p Pattern) steps() []step {
	return []step{{name: "Split", regex: p.Regex(), how: "Isolated"}}
}
