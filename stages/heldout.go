package stages

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/stages/quality"
)

// Complete adds the stages that a plan implies: text is held out in vain if training
// text overlaps with it, so a plan with held-out text and no decontaminate stage gets
// one behind its last stage that removes copies, or in front of all others. It stands
// before the first stage that takes the documents out of the plan, such as tokenize or
// export; where the plan has it later, that is a mistake. So is a stage that works on experts which
// nothing before it chooses. A plan whose input is tokens gets the stage that takes them, and one with a section
// evaluate that which makes the exam.
func Complete(p *pipeline.Plan) {
	if dir := p.InputTokens(); dir != "" {
		p.Insert(-1, tokensSpec().Kind(), fmt.Sprintf("path: %q", dir))
	}
	completeHeldOut(p)
	completePublish(p)
	completeExperts(p)
	completeEvaluate(p)
}

// completeHeldOut keeps training text away from held-out text.
func completeHeldOut(p *pipeline.Plan) {
	if p.HeldOut == nil {
		return
	}
	taker, after := -1, -1
	for i, s := range p.Stages {
		switch s.Kind.Name {
		case "decontaminate":
			if taker >= 0 {
				p.Mistake(i, "stands behind %s, which has taken the documents with all that overlaps with held-out text; "+
					"move it before that", p.Stages[taker].Label())
			}
			return
		case "exact_dedup", "minhash":
			after = i
		}
		if taker < 0 && takesDocuments(s) {
			taker = i
		}
	}
	if taker >= 0 {
		after = min(after, taker-1)
	}
	p.Insert(after, decontaminateSpec().Kind(), "{}")
}

// takesDocuments reports whether a stage makes something else of the documents, to which
// later stages change nothing.
func takesDocuments(s pipeline.Step) bool {
	p, err := s.Program()
	return err == nil && p.Run != nil && !p.SkipsDocuments
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
	prefix := quality.Prefix(text, h.DedupPrefixChars)
	if seen[prefix] {
		return "prefix_seen"
	}
	seen[strings.Clone(prefix)] = true
	return ""
}
