package report

import (
	"math"
	"slices"

	"bzdata/pipeline"
)

// allFinite returns a copy of r in which every number of panels and examples is
// finite.
func allFinite(r *pipeline.Result) *pipeline.Result {
	out := *r
	out.Stages = slices.Clone(r.Stages)
	for i := range out.Stages {
		s := &out.Stages[i]
		s.Panels = slices.Clone(s.Panels)
		for j := range s.Panels {
			s.Panels[j], _ = s.Panels[j].Finite()
		}
		if s.Ledger != nil {
			ledger := *s.Ledger
			ledger.Examples = slices.Clone(ledger.Examples)
			for j := range ledger.Examples {
				ledger.Examples[j].Value = orZero(ledger.Examples[j].Value)
			}
			s.Ledger = &ledger
		}
	}
	return &out
}

func orZero(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
