package stages

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"bzdata/eval/network"
	"bzdata/pipeline"
)

// Complete adds the stages that a plan implies: text is held out in vain if training
// text overlaps with it, so a plan with held-out text and no decontaminate stage gets
// one behind its last stage that removes copies, or in front of all others.
func Complete(p *pipeline.Plan) {
	if p.HeldOut == nil {
		return
	}
	after := -1
	for i, s := range p.Stages {
		switch s.Kind.Name {
		case "decontaminate":
			return
		case "exact_dedup", "minhash":
			after = i
		}
	}
	p.Insert(after, decontaminateSpec().Kind(), "{}")
}

// HeldOutRules are the row rules of a network's validators as the engine takes them.
func HeldOutRules(p *network.Profile) pipeline.HeldOutRules {
	h := p.HeldOut
	return pipeline.HeldOutRules{
		Name: fmt.Sprintf("%s: min_chars %d, dedup_prefix_chars %d", p.Name, h.MinChars, h.DedupPrefixChars),
		New: func() func(text string) string {
			seen := map[string]bool{}
			return func(text string) string { return heldOutRow(h, seen, text) }
		},
	}
}

// heldOutRow returns why a row is not for evaluation, or "".
func heldOutRow(h network.HeldOut, seen map[string]bool, text string) string {
	if h.MinChars > 0 && utf8.RuneCountInString(text) < h.MinChars {
		return "too_short"
	}
	if h.DedupPrefixChars == 0 {
		return ""
	}
	prefix := text
	if runes := []rune(text[:min(len(text), 4*h.DedupPrefixChars)]); len(runes) >= h.DedupPrefixChars {
		prefix = string(runes[:h.DedupPrefixChars])
	}
	if seen[prefix] {
		return "prefix_seen"
	}
	seen[strings.Clone(prefix)] = true
	return ""
}
