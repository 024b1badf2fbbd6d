package pipeline

import (
	"fmt"
	"slices"
)

// Panel is one figure of a report, in general terms: stages make panels, and
// pipeline/report draws them without knowing what they are about. Exactly one of
// Table, Bars, Curves, Heat and Samples is set.
type Panel struct {
	Title string `json:"title"`
	// Note says how to read the panel, in a sentence or two.
	Note    string   `json:"note,omitempty"`
	Table   *Table   `json:"table,omitempty"`
	Bars    *Bars    `json:"bars,omitempty"`
	Curves  *Curves  `json:"curves,omitempty"`
	Heat    *Heat    `json:"heat,omitempty"`
	Samples []Sample `json:"samples,omitempty"`
}

// Table is rows of text under named columns. Cells that are numbers align right.
type Table struct {
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Bars is a histogram: labels and counts.
type Bars struct {
	XLabel string      `json:"x_label"`
	YLabel string      `json:"y_label"`
	Labels []string    `json:"labels"`
	Values []float64   `json:"values"`
	Marks  []PanelMark `json:"marks,omitempty"`
}

// PanelMark is a labelled vertical line: at a value of the x axis of curves, or at a
// place between bars, counted from 0.
type PanelMark struct {
	At    float64 `json:"at"`
	Label string  `json:"label"`
}

// Curves are lines over a common x axis.
type Curves struct {
	XLabel string      `json:"x_label"`
	YLabel string      `json:"y_label"`
	Series []Curve     `json:"series"`
	Marks  []PanelMark `json:"marks,omitempty"`
}

// Curve is one line.
type Curve struct {
	Name string    `json:"name"`
	X    []float64 `json:"x"`
	Y    []float64 `json:"y"`
}

// Heat is a matrix of values, drawn as a heat map.
type Heat struct {
	XLabel  string      `json:"x_label"`
	YLabel  string      `json:"y_label"`
	Rows    []string    `json:"rows"`
	Columns []string    `json:"columns"`
	Values  [][]float64 `json:"values"`
	// Marked cells are outlined: pairs of row and column.
	Marked [][2]int `json:"marked,omitempty"`
}

// Sample is one document shown in a report.
type Sample struct {
	Label string `json:"label"`
	Text  string `json:"text"`
}

// Finite returns the panel without numbers that are not finite, which neither JSON nor a
// drawing can hold, and how many those were: points of curves and marks are left out, bars
// and cells are 0. The panel itself does not change.
func (p Panel) Finite() (Panel, int) {
	n := 0
	zeroed := func(values []float64) []float64 {
		out := slices.Clone(values)
		for i, v := range out {
			if finite(v) != v {
				out[i], n = 0, n+1
			}
		}
		return out
	}
	marked := func(marks []PanelMark) []PanelMark {
		out := slices.DeleteFunc(slices.Clone(marks), func(m PanelMark) bool { return finite(m.At) != m.At })
		n += len(marks) - len(out)
		return out
	}
	switch {
	case p.Bars != nil:
		bars := *p.Bars
		bars.Values, bars.Marks = zeroed(bars.Values), marked(bars.Marks)
		p.Bars = &bars
	case p.Curves != nil:
		curves := *p.Curves
		curves.Series, curves.Marks = slices.Clone(curves.Series), marked(curves.Marks)
		for i, c := range curves.Series {
			curves.Series[i] = c.finite()
			n += min(len(c.X), len(c.Y)) - len(curves.Series[i].X)
		}
		p.Curves = &curves
	case p.Heat != nil:
		heat := *p.Heat
		heat.Values = slices.Clone(heat.Values)
		for i, row := range heat.Values {
			heat.Values[i] = zeroed(row)
		}
		p.Heat = &heat
	}
	return p, n
}

// finite returns the points of a curve both of whose coordinates are finite.
func (c Curve) finite() Curve {
	out := Curve{Name: c.Name, X: []float64{}, Y: []float64{}}
	for i := range min(len(c.X), len(c.Y)) {
		if x, y := c.X[i], c.Y[i]; finite(x) == x && finite(y) == y {
			out.X, out.Y = append(out.X, x), append(out.Y, y)
		}
	}
	return out
}

// finitePanel is what a task reports of a panel: finite, and saying so.
func finitePanel(p Panel) Panel {
	p, n := p.Finite()
	if n > 0 {
		if p.Note != "" {
			p.Note += " "
		}
		p.Note += fmt.Sprintf("%d values that are no finite numbers are left out, or shown as 0.", n)
	}
	return p
}
