package words

import (
	"cmp"
	"slices"
)

// spacyMatch is a run of tokens that are the pieces of a special case.
type spacyMatch struct{ start, end int32 }

// mergeSpecial puts special cases together that have been cut to pieces, as in
// spaCy's _apply_special_cases: of matches that overlap, the longest and then the first
// counts. Pieces may match across a blank; then they stay as they are, but in the way.
func (s *Spacy) mergeSpecial() {
	s.findSpecial()
	if len(s.matches) == 0 {
		return
	}
	slices.SortFunc(s.matches, func(a, b spacyMatch) int {
		return cmp.Or(cmp.Compare(b.end-b.start, a.end-a.start), cmp.Compare(a.start, b.start))
	})
	kept := s.disjoint()
	slices.SortFunc(kept, func(a, b spacyMatch) int { return cmp.Compare(a.start, b.start) })
	out, done := s.merged[:0], int32(0)
	for _, m := range kept {
		whole := Span{s.tokens[m.start].Start, s.tokens[m.end-1].End}
		rule := s.tables.rule(whole.Of(s.text))
		if rule == nil {
			continue
		}
		out = append(out, s.tokens[done:m.start]...)
		for _, n := range rule {
			out = append(out, Span{whole.Start, whole.Start + int32(n)})
			whole.Start += int32(n)
		}
		done = m.end
	}
	out = append(out, s.tokens[done:]...)
	s.tokens, s.merged = out, s.tokens
}

// findSpecial fills s.matches.
func (s *Spacy) findSpecial() {
	s.matches = s.matches[:0]
	for _, start := range s.starts {
		node := s.tables.trie(s.tokens[start].Of(s.text))
		for at := start + 1; int(at) < len(s.tokens); at++ {
			if node = node.then(s.tokens[at].Of(s.text)); node == nil {
				break
			}
			if node.ends {
				s.matches = append(s.matches, spacyMatch{start, at + 1})
			}
		}
	}
}

// disjoint returns the matches, in the order of preference, that touch no token of an
// earlier one. It is in the memory of s.matches.
func (s *Spacy) disjoint() []spacyMatch {
	taken, kept := map[int32]bool{}, s.matches[:0]
	for _, m := range s.matches {
		if !taken[m.start] && !taken[m.end-1] {
			kept = append(kept, m)
		}
		for i := m.start; i < m.end; i++ {
			taken[i] = true
		}
	}
	return kept
}
