package report

import (
	"fmt"
	"math"
	"strings"

	"bzdata/pipeline"
)

// The size of charts, in units of the drawing, and the room for their axes.
const (
	chartWidth, chartHeight                   = 720.0, 260.0
	marginLeft, marginRight, marginTop, below = 72.0, 16.0, 12.0, 44.0
)

// frame maps values to places in a chart.
type frame struct{ x0, x1, y0, y1 float64 }

// newFrame is a frame of nothing: include what it is to show, then settle it.
func newFrame() frame { return frame{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)} }

// include widens the frame to hold a point, if both its values are finite.
func (f *frame) include(x, y float64) {
	if drawable(x) && drawable(y) {
		f.includeX(x)
		f.includeY(y)
	}
}

func (f *frame) includeX(v float64) {
	if drawable(v) {
		f.x0, f.x1 = min(f.x0, v), max(f.x1, v)
	}
}

func (f *frame) includeY(v float64) {
	if drawable(v) {
		f.y0, f.y1 = min(f.y0, v), max(f.y1, v)
	}
}

// settle gives both axes an extent, and moves the ends of the y axis to round values.
func (f *frame) settle() {
	f.x0, f.x1 = extent(f.x0, f.x1)
	f.y0, f.y1 = extent(f.y0, f.y1)
	step := tickStep(f.y0, f.y1, 5)
	f.y0, f.y1 = math.Floor(f.y0/step+1e-9)*step, math.Ceil(f.y1/step-1e-9)*step
}

// extent keeps an axis of one value, or none, from having no length.
func extent(low, high float64) (float64, float64) {
	if low > high {
		return 0, 1
	}
	if least := max(math.Abs(low)*1e-9, math.Abs(high)*1e-9, 1e-300); high-low <= least {
		half := max(0.5, least)
		return low - half, high + half
	}
	return low, high
}

func (f frame) x(v float64) float64 {
	return marginLeft + (v-f.x0)/(f.x1-f.x0)*(chartWidth-marginLeft-marginRight)
}

func (f frame) y(v float64) float64 {
	return chartHeight - below - (v-f.y0)/(f.y1-f.y0)*(chartHeight-marginTop-below)
}

// tickStep is the round step, 1, 2 or 5 times a power of ten, that cuts an axis into at
// most n parts.
func tickStep(low, high float64, n int) float64 {
	power := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, m := range []float64{1, 2, 5} {
		if (high-low)/(power*m) <= float64(n)+1e-9 {
			return power * m
		}
	}
	return power * 10
}

// ticks are the multiples of the step between low and high.
func ticks(low, high float64, n int) []float64 {
	step := tickStep(low, high, n)
	var out []float64
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9 && len(out) <= 2*n; i++ {
		out = append(out, i*step+0) // no negative zero
	}
	return out
}

// open begins a chart: its y axis, grid and labels.
func (f frame) open(b *strings.Builder, title, xLabel, yLabel string) {
	begin(b, chartHeight, title)
	for _, v := range ticks(f.y0, f.y1, 5) {
		fmt.Fprintf(b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="var(--line)"/>`,
			marginLeft, chartWidth-marginRight, f.y(v), f.y(v))
		label(b, marginLeft-6, f.y(v)+4, "end", fmt.Sprintf("%.4g", v))
	}
	label(b, (chartWidth+marginLeft)/2, chartHeight-8, "middle", xLabel)
	upright(b, (chartHeight-below)/2, yLabel)
}

func (f frame) xTicks(b *strings.Builder) {
	for _, v := range ticks(f.x0, f.x1, 8) {
		label(b, f.x(v), chartHeight-below+16, "middle", fmt.Sprintf("%.4g", v))
	}
}

// marks draws labelled vertical lines; labels stand below each other, on the side where
// there is room.
func (f frame) marks(b *strings.Builder, marks []pipeline.PanelMark) {
	for i, m := range marks {
		if !drawable(m.At) {
			continue
		}
		x, anchor, away := f.x(m.At), "start", 5.0
		if x > chartWidth*0.75 {
			anchor, away = "end", -5
		}
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke="var(--bad)" stroke-dasharray="4 3"/>`,
			x, x, marginTop, chartHeight-below)
		fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="%s" style="fill:var(--bad)">%s</text>`,
			x+away, marginTop+12+14*float64(i), anchor, escape(m.Label))
	}
}

// begin opens a drawing that says what it shows to those who cannot see it.
func begin(b *strings.Builder, height float64, title string) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, height, escape(title))
}

// label writes a text at a place; anchor is start, middle or end.
func label(b *strings.Builder, x, y float64, anchor, text string) {
	if text != "" {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, escape(text))
	}
}

// upright writes the name of the y axis, centred at y.
func upright(b *strings.Builder, y float64, text string) {
	if text != "" {
		fmt.Fprintf(b, `<text transform="translate(14 %.1f) rotate(-90)" text-anchor="middle">%s</text>`,
			y, escape(text))
	}
}

// cell draws a filled rectangle with a text that shows when it is pointed at.
func cell(b *strings.Builder, x, y, width, height float64, style, title string) {
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="var(--a)" %s>`+
		`<title>%s</title></rect>`, x, y, max(0, width), max(0, height), style, escape(title))
}
