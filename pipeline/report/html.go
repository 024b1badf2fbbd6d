package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"bzdata/pipeline"
)

//go:embed page.html
var pageSource string

// WriteHTML writes the result as one page that needs nothing beside itself: no script,
// no font, no address.
func WriteHTML(w io.Writer, r *pipeline.Result, m Meta) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"panel": drawPanel, "count": group, "percent": percent, "size": Size,
		"value":   func(v any) string { return Value(v, 300) },
		"number":  func(v float64) string { return fmt.Sprintf("%.6g", v) },
		"edits":   edits,
		"implied": WhyImplied,
		"why":     func(l *pipeline.Ledger) string { return whyDropped(l, narrowSpace) },
	}).Parse(pageSource)
	if err != nil {
		return fmt.Errorf("report page: %w", err)
	}
	return t.Execute(w, pageData{Result: r, Meta: m, Took: m.head(), Figures: figures(r), Flow: flow(r, narrowSpace),
		Failed: failed(r, m), Verdict: verdict(r)})
}

// WhyImplied says why the plan got a stage that is not in its file.
func WhyImplied(label string) string {
	switch {
	case strings.HasPrefix(label, "publish"):
		return "the export goes to an object store"
	case strings.HasPrefix(label, "validator_rows"):
		return "the plan has evaluate"
	case strings.HasPrefix(label, "tokens"):
		return "the plan's input is tokens"
	}
	return "the plan has held-out text"
}

// pageData is what the page's template sees.
type pageData struct {
	*pipeline.Result
	Meta    Meta
	Took    string
	Figures []pipeline.Figure
	Flow    []flowRow
	Failed  string
	Verdict string
}

// verdict is the value of the last figure of that name: it heads the page.
func verdict(r *pipeline.Result) string {
	text := ""
	for _, f := range figures(r) {
		if f.Name == "verdict" {
			text = f.Value
		}
	}
	return text
}

// failed is why the run did not end well, or empty.
func failed(r *pipeline.Result, m Meta) string {
	if r.Refused != "" {
		return r.Refused
	}
	if m.Err != nil {
		return m.Err.Error()
	}
	return ""
}

func figures(r *pipeline.Result) []pipeline.Figure {
	var out []pipeline.Figure
	for _, s := range r.Stages {
		out = append(out, s.Summary...)
	}
	return out
}

// flowRow is one stage in the table of what went in and out.
type flowRow struct {
	Stage       string
	In, Kept    int64
	Dropped     int64
	OfInput     bool    // its documents are a part of the input
	KeptPercent float64 // of what came into the first stage, for the bar
	Why         string
	Reused      bool
}

// heldOutSet is the kind of the engine's stage that sees the held-out documents alone.
const heldOutSet = "held_out_set"

// flow lists the stages that saw documents, counts with sep between their thousands.
func flow(r *pipeline.Result, sep string) []flowRow {
	var rows []flowRow
	first := int64(0)
	for _, s := range r.Stages {
		l := s.Ledger
		if l == nil {
			continue
		}
		first = max(first, l.In)
		rows = append(rows, flowRow{s.Label, l.In, l.Kept + l.Extra, l.In - l.Kept,
			s.Kind != heldOutSet, 100 * float64(l.Kept) / float64(max(1, first)), whyDropped(l, sep), s.Reused})
	}
	return rows
}

// whyDropped lists the reasons of a ledger with their counts.
func whyDropped(l *pipeline.Ledger, sep string) string {
	var why []string
	add := func(what string, n int64) {
		if n > 0 {
			why = append(why, what+" "+Count(n, sep))
		}
	}
	add("held out", l.HeldOut)
	add("malformed", l.Rejected)
	for _, reason := range slices.Sorted(maps.Keys(l.Dropped)) {
		add(reason, l.Dropped[reason])
	}
	add("edited", l.Edits["documents"])
	add(pipeline.NoKeepValue, l.Edits[pipeline.NoKeepValue])
	add("repeated", l.Extra)
	return strings.Join(why, ", ")
}

// edits lists what a stage changed, in words.
func edits(l *pipeline.Ledger) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(l.Edits)) {
		if n := l.Edits[k]; n > 0 && k != pipeline.NoKeepValue { // which is no edit
			parts = append(parts, k+" "+group(n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "edited: " + strings.Join(parts, ", ")
}

// narrowSpace sets thousands apart without a line break.
const narrowSpace = "\u202f"

func group(n int64) string { return Count(n, narrowSpace) }

func percent(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
