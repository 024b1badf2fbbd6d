package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// looseEnd says in one line which stages of a plan leave documents that no stage uses, or is
// empty. Such a plan is no mistake, for the report and the drop log have what the stages found,
// but seldom what its author meant.
func (p *Plan) looseEnd() (string, error) {
	before, loose := "", []string(nil)
	for _, s := range p.Stages {
		program, err := s.Program()
		switch {
		case err != nil:
			return "", fmt.Errorf("stage %s: %w", s.Label(), err)
		case program.usesDocuments():
			if program.Run != nil && (len(loose) > 0 || before == "") {
				before = s.Label()
			}
			loose = nil
		case slices.Contains(s.Kind.Makes, Documents):
			loose = append(loose, s.Label())
		}
	}
	if len(loose) == 0 {
		return "", nil
	}
	they, them := "it leaves", "it"
	if len(loose) > 1 {
		they, them = "they leave", "them"
	}
	remedy := fmt.Sprintf("put %s before %s", them, before)
	if before == "" {
		remedy = fmt.Sprintf("put export behind %s to have them written", them)
	}
	return fmt.Sprintf("%s: no stage uses the documents that %s; %s", strings.Join(loose, ", "), they, remedy), nil
}

// usesDocuments reports whether the documents that come to a stage end up in something that
// outlasts the run: its output, or what it publishes.
func (p Program) usesDocuments() bool {
	return p.Run != nil && !p.SkipsDocuments || slices.ContainsFunc(p.Passes, func(pass Pass) bool {
		return pass.Barrier != nil && (pass.Barrier.Links != nil || pass.Barrier.Publish != nil)
	})
}
