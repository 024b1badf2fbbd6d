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
			s.Panels[j] = finitePanel(s.Panels[j])
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

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func finitePanel(p pipeline.Panel) pipeline.Panel {
	switch {
	case p.Bars != nil:
		bars := *p.Bars
		bars.Values, bars.Marks = zeroes(bars.Values), finiteMarks(bars.Marks)
		p.Bars = &bars
	case p.Curves != nil:
		curves := *p.Curves
		curves.Series, curves.Marks = slices.Clone(curves.Series), finiteMarks(curves.Marks)
		for i, c := range curves.Series {
			curves.Series[i] = finiteCurve(c)
		}
		p.Curves = &curves
	case p.Heat != nil:
		heat := *p.Heat
		heat.Values = slices.Clone(heat.Values)
		for i := range heat.Values {
			heat.Values[i] = zeroes(heat.Values[i])
		}
		p.Heat = &heat
	}
	return p
}

func finiteCurve(c pipeline.Curve) pipeline.Curve {
	out := pipeline.Curve{Name: c.Name}
	for i := range min(len(c.X), len(c.Y)) {
		if finite(c.X[i]) && finite(c.Y[i]) {
			out.X, out.Y = append(out.X, c.X[i]), append(out.Y, c.Y[i])
		}
	}
	return out
}

func finiteMarks(marks []pipeline.PanelMark) []pipeline.PanelMark {
	return slices.DeleteFunc(slices.Clone(marks), func(m pipeline.PanelMark) bool { return !finite(m.At) })
}

func zeroes(vs []float64) []float64 {
	out := slices.Clone(vs)
	for i := range out {
		out[i] = orZero(out[i])
	}
	return out
}

func orZero(v float64) float64 {
	if finite(v) {
		return v
	}
	return 0
}
