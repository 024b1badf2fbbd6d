package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"bzdata/pipeline"
)

// drawPanel draws one panel as HTML. Text is escaped; only what this package writes
// itself is markup. Values that are not finite, or near it, are left out.
func drawPanel(p pipeline.Panel) template.HTML {
	var b strings.Builder
	switch {
	case p.Table != nil:
		drawTable(&b, p.Table)
	case p.Bars != nil:
		drawBars(&b, p.Title, p.Bars)
	case p.Curves != nil:
		drawCurves(&b, p.Title, p.Curves)
	case p.Heat != nil:
		drawHeat(&b, p.Title, p.Heat)
	}
	for _, s := range p.Samples {
		fmt.Fprintf(&b, `<p class="note">%s</p><blockquote>%s</blockquote>`, escape(s.Label), escape(s.Text))
	}
	return template.HTML(b.String())
}

func escape(s string) string { return template.HTMLEscapeString(s) }

// drawable says that a value, and its distance to any other such value, is finite.
func drawable(v float64) bool { return math.Abs(v) <= 1e300 }

func drawTable(b *strings.Builder, t *pipeline.Table) {
	classes := make([]string, len(t.Columns))
	for i := range t.Columns {
		if numeric(t.Rows, i) {
			classes[i] = ` class="n"`
		}
	}
	b.WriteString(`<div class="wide"><table><tr>`)
	for i, c := range t.Columns {
		fmt.Fprintf(b, "<th%s>%s</th>", classes[i], escape(c))
	}
	b.WriteString("</tr>")
	for _, r := range t.Rows {
		b.WriteString("<tr>")
		for i := range t.Columns {
			if i < len(r) {
				fmt.Fprintf(b, "<td%s>%s</td>", classes[i], escape(r[i]))
			} else {
				b.WriteString("<td></td>")
			}
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</table></div>")
}

// numeric reports whether a column holds numbers and nothing else; cells may be empty.
func numeric(rows [][]string, column int) bool {
	numbers := 0
	for _, r := range rows {
		if column >= len(r) || r[column] == "" {
			continue
		}
		text := strings.TrimSuffix(strings.TrimPrefix(r[column], "\u2212"), " %") // a minus sign, not a hyphen
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return false
		}
		numbers++
	}
	return numbers > 0
}

// palette are the colours of series, as the page's style names them. A series beyond
// them is dashed.
var palette = [...]string{"var(--a)", "var(--b)", "var(--c)", "var(--soft)"}

func drawCurves(b *strings.Builder, title string, c *pipeline.Curves) {
	f := newFrame()
	for _, s := range c.Series {
		for i := range min(len(s.X), len(s.Y)) {
			f.include(s.X[i], s.Y[i])
		}
	}
	for _, m := range c.Marks {
		f.includeX(m.At)
	}
	f.settle()
	drawLegend(b, c.Series)
	f.open(b, title, c.XLabel, c.YLabel)
	f.xTicks(b)
	for i, s := range c.Series {
		f.series(b, s, seriesStyle(i))
	}
	f.marks(b, c.Marks)
	b.WriteString("</svg>")
}

// drawLegend names the series above a chart of several.
func drawLegend(b *strings.Builder, series []pipeline.Curve) {
	b.WriteString(`<p class="legend">`)
	for i, s := range series {
		fmt.Fprintf(b, `<span><svg width="22" height="8"><line x1="0" x2="22" y1="4" y2="4" %s/></svg>%s</span> `,
			seriesStyle(i), escape(s.Name))
	}
	b.WriteString("</p>")
}

func seriesStyle(i int) string {
	style := `fill="none" stroke-width="1.8" stroke="` + palette[i%len(palette)] + `"`
	if i >= len(palette) {
		style += ` stroke-dasharray="6 3"`
	}
	return style
}

// series draws a line, interrupted where a value is not finite. A value between two
// such is a dot.
func (f frame) series(b *strings.Builder, s pipeline.Curve, style string) {
	var points []string
	flush := func() {
		if len(points) == 1 {
			x, y, _ := strings.Cut(points[0], ",")
			fmt.Fprintf(b, `<circle cx="%s" cy="%s" r="2" %s/>`, x, y, style)
		} else if len(points) > 1 {
			fmt.Fprintf(b, `<polyline %s points="%s"/>`, style, strings.Join(points, " "))
		}
		points = points[:0]
	}
	for i := range min(len(s.X), len(s.Y)) {
		if drawable(s.X[i]) && drawable(s.Y[i]) {
			points = append(points, fmt.Sprintf("%.1f,%.1f", f.x(s.X[i]), f.y(s.Y[i])))
		} else {
			flush()
		}
	}
	flush()
}

func drawBars(b *strings.Builder, title string, d *pipeline.Bars) {
	f := newFrame()
	f.includeX(0)
	f.includeX(float64(max(1, len(d.Values))))
	f.includeY(0)
	for _, v := range d.Values {
		f.includeY(v)
	}
	f.settle()
	f.open(b, title, d.XLabel, d.YLabel)
	every := len(d.Labels)/12 + 1
	for i, name := range d.Labels {
		left, right := f.x(float64(i)+0.1), f.x(float64(i)+0.9)
		if i < len(d.Values) && drawable(d.Values[i]) {
			v := d.Values[i]
			top, bottom := f.y(max(v, 0)), f.y(min(v, 0))
			cell(b, left, top, right-left, bottom-top, "", fmt.Sprintf("%s: %g", name, v))
		}
		if i%every == 0 {
			label(b, (left+right)/2, chartHeight-below+16, "middle", name)
		}
	}
	f.marks(b, d.Marks)
	b.WriteString("</svg>")
}

// drawHeat draws a matrix; the darkest cell is the highest value of all.
func drawHeat(b *strings.Builder, title string, h *pipeline.Heat) {
	high := 0.0
	for _, r := range h.Values {
		for _, v := range r {
			if drawable(v) {
				high = max(high, v)
			}
		}
	}
	width := (chartWidth - marginLeft - marginRight) / float64(max(1, len(h.Columns)))
	tall := min(26.0, max(11, width))
	total := marginTop + tall*float64(len(h.Rows)) + below
	begin(b, total, title)
	upright(b, marginTop+tall*float64(len(h.Rows))/2, h.YLabel)
	for i, name := range h.Rows {
		label(b, marginLeft-6, marginTop+tall*(float64(i)+0.7), "end", name)
		for j := range h.Columns {
			x, y := marginLeft+width*float64(j), marginTop+tall*float64(i)
			heatCell(b, h, i, j, high, [4]float64{x + 1, y + 1, width - 2, tall - 2})
		}
	}
	every := len(h.Columns)/32 + 1
	for j := 0; j < len(h.Columns); j += every {
		label(b, marginLeft+width*(float64(j)+0.5), total-below+14, "middle", h.Columns[j])
	}
	label(b, (chartWidth+marginLeft)/2, total-10, "middle", h.XLabel)
	b.WriteString("</svg>")
}

// heatCell draws the cell of row i and column j in a box of x, y, width and height.
func heatCell(b *strings.Builder, h *pipeline.Heat, i, j int, high float64, box [4]float64) {
	if i >= len(h.Values) || j >= len(h.Values[i]) || !drawable(h.Values[i][j]) {
		return
	}
	v := h.Values[i][j]
	style := fmt.Sprintf(`fill-opacity="%.3f" stroke="var(--line)"`, min(1, max(0, v/max(high, 1e-300))))
	for _, m := range h.Marked {
		if m == [2]int{i, j} {
			style = strings.Replace(style, "var(--line)", "var(--b)", 1) + ` stroke-width="2.5"`
		}
	}
	cell(b, box[0], box[1], box[2], box[3], style,
		fmt.Sprintf("%s %s, %s %s: %g", h.YLabel, h.Rows[i], h.XLabel, h.Columns[j], v))
}
