package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"bzdata/pipeline"
)

// Meta is what belongs to one execution and not to its result.
type Meta struct {
	Started time.Time
	Took    time.Duration
	// Err says why the run ended early, or is nil.
	Err error
}

// WriteJSON writes the result, with when and how long, as report.json.
func WriteJSON(w io.Writer, r *pipeline.Result, m Meta) error {
	type document struct {
		*pipeline.Result
		Started time.Time `json:"started"`
		Seconds float64   `json:"seconds"`
		Error   string    `json:"error,omitempty"`
	}
	d := document{Result: r, Started: m.Started.UTC().Truncate(time.Second), Seconds: m.Took.Seconds()}
	if m.Err != nil {
		d.Error = m.Err.Error()
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(d)
}

// WriteText writes the summary for a terminal: documents by stage, why they were
// dropped, and the figures of the stages.
func WriteText(w io.Writer, r *pipeline.Result, m Meta) error {
	t := &textWriter{w: w}
	t.printf("plan    %s, seed %d, %s\n\n", r.Plan, r.Seed, took(m.Took))
	t.printf("%-16s %10s %10s %10s\n", "stage", "documents", "kept", "dropped")
	for _, s := range r.Stages {
		t.stage(s)
	}
	t.printf("\n")
	for _, s := range r.Stages {
		for _, f := range s.Summary {
			t.figure(f)
		}
	}
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

func (t *textWriter) stage(s pipeline.StageResult) {
	l := s.Ledger
	if l == nil {
		return
	}
	t.printf("%-16s %10d %10d %10d", s.Label, l.In, l.Kept+l.Extra, l.In-l.Kept)
	var why []string
	if l.HeldOut > 0 {
		why = append(why, fmt.Sprintf("held out %d", l.HeldOut))
	}
	if l.Rejected > 0 {
		why = append(why, fmt.Sprintf("malformed %d", l.Rejected))
	}
	for _, reason := range slices.Sorted(maps.Keys(l.Dropped)) {
		why = append(why, fmt.Sprintf("%s %d", reason, l.Dropped[reason]))
	}
	if n := l.Edits["documents"]; n > 0 {
		why = append(why, fmt.Sprintf("edited %d", n))
	}
	if l.Extra > 0 {
		why = append(why, fmt.Sprintf("repeated %d", l.Extra))
	}
	if s.Reused {
		why = append(why, "reused")
	}
	t.printf("   %s\n", strings.Join(why, ", "))
}

// figure prints a name and a value that may have several lines.
func (t *textWriter) figure(f pipeline.Figure) {
	for i, line := range strings.Split(f.Value, "\n") {
		name := f.Name
		if i > 0 {
			name = ""
		}
		t.printf("%-16s %s\n", name, line)
	}
}

func took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// ReadJSON reads what [WriteJSON] wrote.
func ReadJSON(data []byte) (*pipeline.Result, Meta, error) {
	r := &pipeline.Result{}
	var rest struct {
		Started time.Time `json:"started"`
		Seconds float64   `json:"seconds"`
		Error   string    `json:"error"`
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, Meta{}, err
	}
	if err := json.Unmarshal(data, &rest); err != nil {
		return nil, Meta{}, err
	}
	m := Meta{Started: rest.Started, Took: time.Duration(rest.Seconds * float64(time.Second))}
	if rest.Error != "" {
		m.Err = errors.New(rest.Error)
	}
	return r, m, nil
}
