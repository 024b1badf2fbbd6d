package tokenize

// steps are the pre-tokenizers that stand for the pattern, before ByteLevel.
func (p Pattern) steps() (out []step) {
	for _, regex := range p.Regexes() {
		out = append(out, step{name: "Split", regex: regex, how: "Isolated"})
	}
	return out
}
