package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"bzdata/pipeline"
)

// drawPanel draws one panel as HTML. Text is escaped; only what this file writes
// itself is markup.
func drawPanel(p pipeline.Panel) template.HTML {
	var b strings.Builder
	switch {
	case p.Table != nil:
		drawTable(&b, p.Table)
	case p.Bars != nil:
		drawBars(&b, p.Bars)
	case p.Curves != nil:
		drawCurves(&b, p.Curves)
	case p.Heat != nil:
		drawHeat(&b, p.Heat)
	}
	for _, s := range p.Samples {
		fmt.Fprintf(&b, `<p class="note">%s</p><blockquote>%s</blockquote>`, escape(s.Label), escape(s.Text))
	}
	return template.HTML(b.String())
}

func escape(s string) string { return template.HTMLEscapeString(s) }

func drawTable(b *strings.Builder, t *pipeline.Table) {
	numeric := make([]bool, len(t.Columns))
	for i := range numeric {
		numeric[i] = len(t.Rows) > 0
		for _, r := range t.Rows {
			_, err := strconv.ParseFloat(r[i], 64)
			numeric[i] = numeric[i] && err == nil
		}
	}
	class := func(i int) string {
		if numeric[i] {
			return ` class="n"`
		}
		return ""
	}
	b.WriteString(`<div class="wide"><table><tr>`)
	for i, c := range t.Columns {
		fmt.Fprintf(b, "<th%s>%s</th>", class(i), escape(c))
	}
	b.WriteString("</tr>")
	for _, r := range t.Rows {
		b.WriteString("<tr>")
		for i, c := range r {
			fmt.Fprintf(b, "<td%s>%s</td>", class(i), escape(c))
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</table></div>")
}

// The size of charts, in units of the drawing, and the room for their axes.
const (
	chartWidth, chartHeight                   = 720.0, 260.0
	marginLeft, marginRight, marginTop, below = 64.0, 16.0, 12.0, 44.0
)

// frame maps values to places in a chart.
type frame struct{ x0, x1, y0, y1 float64 }

func (f frame) x(v float64) float64 {
	return marginLeft + (v-f.x0)/(f.x1-f.x0)*(chartWidth-marginLeft-marginRight)
}

func (f frame) y(v float64) float64 {
	return chartHeight - below - (v-f.y0)/(f.y1-f.y0)*(chartHeight-marginTop-below)
}

// ticks are round values between low and high, about n of them.
func ticks(low, high float64, n int) []float64 {
	if !(high > low) {
		return []float64{low}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*m) <= float64(n) {
			step *= m
			break
		}
	}
	var out []float64
	for v := math.Ceil(low/step) * step; v <= high+step*1e-9; v += step {
		out = append(out, v)
	}
	return out
}

func (f frame) axes(b *strings.Builder, xLabel, yLabel string) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %g %g" role="img">`, chartWidth, chartHeight)
	for _, v := range ticks(f.y0, f.y1, 5) {
		fmt.Fprintf(b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="var(--line)"/>`,
			marginLeft, chartWidth-marginRight, f.y(v), f.y(v))
		label(b, marginLeft-6, f.y(v)+4, "end", fmt.Sprintf("%.4g", v))
	}
	for _, v := range ticks(f.x0, f.x1, 8) {
		label(b, f.x(v), chartHeight-below+16, "middle", fmt.Sprintf("%.4g", v))
	}
	label(b, chartWidth/2, chartHeight-8, "middle", xLabel)
	fmt.Fprintf(b, `<text transform="translate(14 %g) rotate(-90)" text-anchor="middle">%s</text>`,
		(chartHeight-below)/2, escape(yLabel))
}

// label writes a text at a place; anchor is start, middle or end.
func label(b *strings.Builder, x, y float64, anchor, text string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, escape(text))
}

// cell draws a filled rectangle with a text that shows when it is pointed at.
func cell(b *strings.Builder, x, y, width, height float64, style, title string) {
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="var(--a)" %s><title>%s</title></rect>`,
		x, y, width, height, style, escape(title))
}

// palette are the colours of series, as the page's style names them.
var palette = [...]string{"var(--a)", "var(--b)", "var(--c)", "var(--soft)"}

func drawCurves(b *strings.Builder, c *pipeline.Curves) {
	f := frame{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
	for _, s := range c.Series {
		for i := range s.X {
			f.x0, f.x1 = min(f.x0, s.X[i]), max(f.x1, s.X[i])
			f.y0, f.y1 = min(f.y0, s.Y[i]), max(f.y1, s.Y[i])
		}
	}
	for _, m := range c.Marks {
		f.x0, f.x1 = min(f.x0, m.At), max(f.x1, m.At)
	}
	f.widen()
	f.axes(b, c.XLabel, c.YLabel)
	for i, s := range c.Series {
		colour := palette[i%len(palette)]
		b.WriteString(`<polyline fill="none" stroke-width="1.8" stroke="` + colour + `" points="`)
		for j := range s.X {
			fmt.Fprintf(b, "%.1f,%.1f ", f.x(s.X[j]), f.y(s.Y[j]))
		}
		b.WriteString(`"/>`)
		fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="end" style="fill:%s">%s</text>`,
			chartWidth-marginRight, marginTop+12+14*float64(i), colour, escape(s.Name))
	}
	for _, m := range c.Marks {
		f.mark(b, f.x(m.At), m.Label)
	}
	b.WriteString("</svg>")
}

// widen keeps a chart of equal values from having no extent.
func (f *frame) widen() {
	if math.IsInf(f.x0, 0) || math.IsInf(f.y0, 0) {
		*f = frame{0, 1, 0, 1}
	}
	if f.x1 == f.x0 {
		f.x0, f.x1 = f.x0-0.5, f.x1+0.5
	}
	if f.y1 == f.y0 {
		f.y0, f.y1 = f.y0-0.5, f.y1+0.5
	}
}

func (f frame) mark(b *strings.Builder, x float64, name string) {
	fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke="var(--bad)" stroke-dasharray="4 3"/>`,
		x, x, marginTop, chartHeight-below)
	fmt.Fprintf(b, `<text x="%.1f" y="%g" style="fill:var(--bad)">%s</text>`, x+5, marginTop+10, escape(name))
}

func drawBars(b *strings.Builder, d *pipeline.Bars) {
	f := frame{0, float64(max(1, len(d.Values))), 0, 0}
	for _, v := range d.Values {
		f.y1 = max(f.y1, v)
	}
	f.widen()
	f.axes(b, "", d.YLabel)
	every := len(d.Labels)/12 + 1
	for i, v := range d.Values {
		left, right := f.x(float64(i)+0.1), f.x(float64(i)+0.9)
		cell(b, left, f.y(v), right-left, f.y(0)-f.y(v), "", fmt.Sprintf("%s: %g", d.Labels[i], v))
		if i%every == 0 {
			label(b, (left+right)/2, chartHeight-below+30, "middle", d.Labels[i])
		}
	}
	for _, m := range d.Marks {
		f.mark(b, f.x(m.At), m.Label)
	}
	b.WriteString("</svg>")
}

// drawHeat draws a matrix; the darkest cell is the highest value of all.
func drawHeat(b *strings.Builder, h *pipeline.Heat) {
	high := 0.0
	for _, r := range h.Values {
		for _, v := range r {
			high = max(high, v)
		}
	}
	width := (chartWidth - marginLeft - marginRight) / float64(max(1, len(h.Columns)))
	tall := min(26.0, max(9, width))
	total := marginTop + tall*float64(len(h.Rows)) + below
	fmt.Fprintf(b, `<svg viewBox="0 0 %g %g" role="img">`, chartWidth, total)
	marked := map[[2]int]bool{}
	for _, m := range h.Marked {
		marked[m] = true
	}
	for i, r := range h.Values {
		y := marginTop + tall*float64(i)
		label(b, marginLeft-6, y+tall*0.7, "end", h.Rows[i])
		for j, v := range r {
			style := fmt.Sprintf(`fill-opacity="%.3f"`, v/max(high, 1e-12))
			if marked[[2]int{i, j}] {
				style += ` stroke="var(--b)" stroke-width="2"`
			}
			cell(b, marginLeft+width*float64(j)+1, y+1, width-2, tall-2, style,
				fmt.Sprintf("%s %s, %s %s: %g", h.YLabel, h.Rows[i], h.XLabel, h.Columns[j], v))
		}
	}
	every := len(h.Columns)/32 + 1
	for j := 0; j < len(h.Columns); j += every {
		label(b, marginLeft+width*(float64(j)+0.5), total-below+14, "middle", h.Columns[j])
	}
	label(b, chartWidth/2, total-10, "middle", h.XLabel)
	b.WriteString("</svg>")
}
