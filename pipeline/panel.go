package pipeline

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
