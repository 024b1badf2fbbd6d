package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"bzdata/pipeline"
)

// Meta is what belongs to one execution and not to its result.
type Meta struct {
	Started time.Time
	Took    time.Duration
	// Usage is what the process took; zero if it is not known.
	Usage Usage
	// Err says why the run ended early, or is nil.
	Err error
}

// Usage is what a process took of its machine.
type Usage struct {
	// CPUSeconds is the time of all its threads, in user and system mode.
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
	// MemoryPeakBytes is the most memory that was resident.
	MemoryPeakBytes int64 `json:"memory_peak_bytes,omitempty"`
}

// String says it in a few words.
func (u Usage) String() string {
	return fmt.Sprintf("%s of CPU, %s of memory at most",
		Span(time.Duration(u.CPUSeconds*float64(time.Second))), Size(u.MemoryPeakBytes))
}

// head is the run in one line: how long it took, and what of the machine.
func (m Meta) head() string {
	if m.Usage == (Usage{}) {
		return Span(m.Took)
	}
	return Span(m.Took) + " (" + m.Usage.String() + ")"
}

// WriteJSON writes the result, with when and how long, as report.json. JSON has no values
// that are not finite: points of curves are left out, bars, cells and examples have 0.
func WriteJSON(w io.Writer, r *pipeline.Result, m Meta) error {
	type document struct {
		*pipeline.Result
		Started time.Time `json:"started"`
		Seconds float64   `json:"seconds"`
		Usage
		Error string `json:"error,omitempty"`
	}
	d := document{Result: allFinite(r), Started: m.Started.UTC().Truncate(time.Second),
		Seconds: m.Took.Seconds(), Usage: m.Usage}
	if m.Err != nil {
		d.Error = m.Err.Error()
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(d)
}

// WriteText writes the summary for a terminal: documents by stage, why they were
// dropped, the figures of the stages, and what was not done.
func WriteText(w io.Writer, r *pipeline.Result, m Meta) error {
	t := &textWriter{w: w}
	t.printf("plan  %s, seed %d, %s\n", r.Plan, r.Seed, m.head())
	t.flow(flow(r, " "))
	var figures []pipeline.Figure
	var open []string
	for _, s := range r.Stages {
		figures = append(figures, s.Summary...)
		if !s.Finished {
			open = append(open, s.Label)
		}
	}
	if len(open) > 0 {
		figures = append(figures, pipeline.Figure{Name: "not done", Value: strings.Join(open, ", ")})
	}
	t.figures(figures)
	if m.Err != nil {
		t.printf("\nended early: %v\n", m.Err)
	}
	return t.err
}

// textWriter keeps the first error.
type textWriter struct {
	w   io.Writer
	err error
}

func (t *textWriter) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

// flow prints what went in and out of each stage.
func (t *textWriter) flow(rows []flowRow) {
	if len(rows) == 0 {
		return
	}
	count := func(n int64) string { return Count(n, " ") }
	cells := [][5]string{{"stage", "documents", "kept", "dropped", "why"}}
	for _, r := range rows {
		why := r.Why
		if r.Reused {
			why = strings.TrimPrefix(why+", reused", ", ")
		}
		cells = append(cells, [5]string{r.Stage, count(r.In), count(r.Kept), count(r.Dropped), why})
	}
	var width [5]int
	for _, row := range cells {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	t.printf("\n")
	for _, c := range cells {
		line := fmt.Sprintf("%-*s  %*s  %*s  %*s  %s",
			width[0], c[0], width[1], c[1], width[2], c[2], width[3], c[3], c[4])
		t.printf("%s\n", strings.TrimRight(line, " "))
	}
}

// figures prints names and values; a value may have several lines.
func (t *textWriter) figures(figures []pipeline.Figure) {
	width := 0
	for _, f := range figures {
		width = max(width, utf8.RuneCountInString(f.Name))
	}
	for i, f := range figures {
		if i == 0 {
			t.printf("\n")
		}
		name := f.Name
		for _, line := range strings.Split(f.Value, "\n") {
			t.printf("%-*s  %s\n", width, name, line)
			name = ""
		}
	}
}

// ReadJSON reads what [WriteJSON] wrote.
func ReadJSON(data []byte) (*pipeline.Result, Meta, error) {
	r := &pipeline.Result{}
	var rest struct {
		Started time.Time `json:"started"`
		Seconds float64   `json:"seconds"`
		Usage
		Error string `json:"error"`
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, Meta{}, err
	}
	if err := json.Unmarshal(data, &rest); err != nil {
		return nil, Meta{}, err
	}
	m := Meta{Started: rest.Started, Took: time.Duration(math.Round(rest.Seconds * float64(time.Second))), Usage: rest.Usage}
	if rest.Error != "" {
		m.Err = errors.New(rest.Error)
	}
	return r, m, nil
}
