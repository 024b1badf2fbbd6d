//go:build !amd64

package tokenize

// classify fills blocks with what 64 bytes each of text are.
func classify(text string, out []block) { classifyPlain(text, out) }
