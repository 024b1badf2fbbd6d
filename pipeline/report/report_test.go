package report

import (
	"bytes"
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
)

// example is a result with every kind of panel; name stands wherever a text can.
func example(name string) *pipeline.Result {
	ledger := &pipeline.Ledger{Stage: "input", In: 12345, Kept: 12000, Rejected: 45, HeldOut: 300,
		Sources: map[string]*pipeline.SourceLedger{name: {In: 12000, Kept: 11800}, "b": {In: 345, Kept: 200}}}
	dedup := &pipeline.Ledger{Stage: "dedup", In: 12000, Kept: 9000, Extra: 10,
		Dropped: map[string]int64{"near_duplicate": 2900, name: 100}, Edits: map[string]int64{"documents": 7, "spaces": 9, pipeline.NoKeepValue: 1200},
		Examples: []pipeline.Example{{Reason: name, File: name, Row: 3, Value: 0.875, Matched: name, Text: name}}}
	panels := []pipeline.Panel{
		{Title: "table " + name, Note: name, Table: &pipeline.Table{Columns: []string{name, "count", "share"},
			Rows: [][]string{{name, "1", "50.0 %"}, {"b", "−2", ""}, {"short"}}}},
		{Title: "bars", Bars: &pipeline.Bars{XLabel: name, YLabel: name, Labels: []string{name, "1", "2", "3"},
			Values: []float64{3, 0, -2, 1}, Marks: []pipeline.PanelMark{{At: 1, Label: name}}}},
		{Title: "curves", Curves: &pipeline.Curves{XLabel: name, YLabel: name,
			Marks: []pipeline.PanelMark{{At: 2, Label: name}},
			Series: []pipeline.Curve{{Name: name, X: []float64{0, 1, 2}, Y: []float64{5, 6, 7}},
				{Name: "dot", X: []float64{1}, Y: []float64{5}}, {Name: "none"},
				{Name: "d", X: []float64{0, 1}, Y: []float64{1, 1}}, {Name: "fifth", X: []float64{0, 1}, Y: []float64{2, 3}}}}},
		{Title: "heat", Heat: &pipeline.Heat{XLabel: name, YLabel: name,
			Rows: []string{name, "1"}, Columns: []string{name, "1", "2"},
			Values: [][]float64{{0, 1, 2}, {3, 4, 5}}, Marked: [][2]int{{1, 2}}}},
		{Title: "samples", Samples: []pipeline.Sample{{Label: name, Text: name}}},
	}
	return &pipeline.Result{Plan: name, Seed: 7, Build: name, Kernels: "plain", Network: name, Complete: true,
		Inputs: []pipeline.InputRecord{{Source: name, Path: name, Bytes: 123456, Records: 12345, Rejected: 45}},
		Stages: []pipeline.StageResult{
			{Label: "input", Kind: "input", Ledger: ledger, Finished: true},
			{Label: "dedup", Kind: "minhash", Ledger: dedup, Panels: panels, Notes: []string{name}, Finished: true,
				Reused:  true,
				Summary: []pipeline.Figure{{Name: name, Value: "one\n" + name}, {Name: "verdict", Value: name}},
				Settings: []pipeline.Setting{{Key: "bands", Value: 14, Origin: "plan"},
					{Key: "limits", Value: map[string]any{name: 0.5}, Origin: name}}},
		}}
}

func meta() Meta {
	return Meta{Started: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Took: 83 * time.Second,
		Usage: Usage{CPUSeconds: 120, MemoryPeakBytes: 300 << 20}}
}

// TestTimesComeBack writes durations whose seconds are no binary fractions.
func TestTimesComeBack(t *testing.T) {
	for _, took := range []time.Duration{1, 127_332_025, 3_999_999_999, 83 * time.Second} {
		var b bytes.Buffer
		m := meta()
		m.Took = took
		if err := WriteJSON(&b, example("plan"), m); err != nil {
			t.Fatal(err)
		}
		if _, back, err := ReadJSON(b.Bytes()); err != nil || back.Took != took || back.Usage != m.Usage {
			t.Errorf("%d ns comes back as %d, %v", took, back.Took, err)
		}
	}
}

func TestWriteText(t *testing.T) {
	want := strings.TrimPrefix(`
plan  clean, seed 7, 1 min 23 s (2 min 00 s of CPU, 300 MiB of memory at most)

stage  documents    kept  dropped  why
input     12 345  12 000      345  held out 300, malformed 45
dedup     12 000   9 010    3 000  clean 100, near_duplicate 2 900, edited 7, no_keep_value 1 200, repeated 10, reused

clean    one
         clean
verdict  clean
`, "\n")
	var out bytes.Buffer
	if err := WriteText(&out, example("clean"), meta()); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
	r := example("clean")
	r.Stages[1].Finished, r.Stages[1].Reused, r.Stages[1].Ledger, r.Stages[1].Summary = false, false, nil, nil
	m := meta()
	m.Err = errors.New("disk full")
	out.Reset()
	if err := WriteText(&out, r, m); err != nil {
		t.Fatal(err)
	}
	if want := "\nnot done  dedup\n\nended early: disk full\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got:\n%s\nwant at its end:\n%s", out.String(), want)
	}
}

// failingWriter refuses to be written to.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrors(t *testing.T) {
	for name, err := range map[string]error{
		"text": WriteText(failingWriter{}, example("x"), meta()),
		"html": WriteHTML(failingWriter{}, example("x"), meta()),
		"json": WriteJSON(failingWriter{}, example("x"), meta()),
	} {
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	m := meta()
	m.Err = errors.New("the gate refuses the update")
	var first, second, text1, text2 bytes.Buffer
	r := example("<script>&")
	if err := WriteJSON(&first, r, m); err != nil {
		t.Fatal(err)
	}
	back, m2, err := ReadJSON(first.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&second, back, m2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("written:\n%s\nread and written again:\n%s", first.String(), second.String())
	}
	r.Stages[1].Reused = false // belongs to one execution
	if err := errors.Join(WriteText(&text1, r, m), WriteText(&text2, back, m2)); err != nil {
		t.Fatal(err)
	}
	if text1.String() != text2.String() {
		t.Errorf("text of the result:\n%s\nof what was read back:\n%s", text1.String(), text2.String())
	}
	if _, _, err := ReadJSON(first.Bytes()[:first.Len()/2]); err == nil {
		t.Error("half a report was read without an error")
	}
}

func page(t *testing.T, r *pipeline.Result, m Meta) string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteHTML(&out, r, m); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var (
	tag       = regexp.MustCompile(`<(/?)([a-zA-Z0-9]+)((?:\s+[a-zA-Z0-9-]+(?:="[^"<>]*")?)*)\s*(/?)>`)
	attribute = regexp.MustCompile(`([a-zA-Z0-9-]+)(?:="([^"]*)")?`)
)

// checkPage fails unless every tag of a page is closed in its turn, each stray < is
// escaped, and nothing leads out of the page or runs.
func checkPage(t *testing.T, page string) {
	t.Helper()
	body := strings.TrimPrefix(page, "<!DOCTYPE html>")
	body = regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(body, "")
	if rest := tag.ReplaceAllString(body, ""); strings.ContainsAny(rest, "<>") {
		i := strings.IndexAny(rest, "<>")
		t.Errorf("not a tag: %q", rest[i:min(len(rest), i+80)])
	}
	var open []string
	for _, m := range tag.FindAllStringSubmatch(body, -1) {
		name := m[2]
		if slices.Contains([]string{"script", "link", "img", "iframe", "object", "embed", "base", "form"}, name) {
			t.Errorf("the page has the tag %s", m[0])
		}
		for _, a := range attribute.FindAllStringSubmatch(m[3], -1) {
			if a[1] == "src" || strings.HasPrefix(a[1], "on") || a[1] == "href" && !strings.HasPrefix(a[2], "#") {
				t.Errorf("the page has the attribute %s", a[0])
			}
		}
		switch {
		case m[1] == "/" && (len(open) == 0 || open[len(open)-1] != name):
			t.Fatalf("%s closes %q", m[0], open)
		case m[1] == "/":
			open = open[:len(open)-1]
		case m[4] != "/" && name != "meta":
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		t.Errorf("never closed: %q", open)
	}
}

func TestPage(t *testing.T) {
	p := page(t, example("clean"), meta())
	checkPage(t, p)
	for _, bad := range []string{"http://", "https://", "src=", "@import", "url(", "<script", "NaN", "Inf", "ZgotmplZ"} {
		if strings.Contains(p, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for what, n := range map[string]int{
		`<svg viewBox`: 3, "<polyline": 3, "<circle": 1, "<rect": 4 + 6,
		`stroke-dasharray="4 3"`: 2, `stroke-dasharray="6 3"`: 2, `stroke-width="2.5"`: 1,
		`<td class="n">50.0 %</td>`: 1, `<td class="n">−2</td>`: 1, "<blockquote>clean</blockquote>": 2,
		`<div class="verdict">clean</div>`: 1, "12\u202f345": 3, "1 min 23 s (2 min 00 s of CPU, 300 MiB of memory at most)": 1, "2026-02-03 04:05 UTC": 1,
		">121 KiB<": 1, "{clean: 0.5}": 1, `href="#dedup"`: 2, `id="dedup"`: 1,
	} {
		if got := strings.Count(p, what); got != n {
			t.Errorf("the page holds %q %d times, want %d", what, got, n)
		}
	}
}

// TestPageImplied says why a stage is there that the plan does not name.
func TestPageImplied(t *testing.T) {
	for label, why := range map[string]string{"tokens": "the plan&#39;s input is tokens", "validator_rows": "the plan has evaluate",
		"publish": "the export goes to an object store", "decontaminate": "the plan has held-out text"} {
		r := example("clean")
		r.Stages[1].Label, r.Stages[1].Implied = label, true
		if p := page(t, r, meta()); strings.Count(p, "Added because") != 1 || !strings.Contains(p, "Added because "+why+".") {
			t.Errorf("%s: the page does not say %q", label, why)
		}
	}
}

// TestPageEscapes puts hostile text wherever a text can stand.
func TestPageEscapes(t *testing.T) {
	for _, hostile := range []string{
		`<script src=https://x.example/a.js></script>`, `"><img src=x onerror=alert(1)>`, `</style><b>`, `</title><b>`,
		`' onmouseover='x`, `{{.Plan}}`, "\x00<\x1b[31m", "<!--", "javascript:alert(1)",
	} {
		m := meta()
		m.Err = errors.New(hostile)
		p := page(t, example(hostile), m)
		checkPage(t, p)
		if n := strings.Count(p, hostile); strings.ContainsAny(hostile, "<>") && n != strings.Count(pageSource, hostile) {
			t.Errorf("%q stands in the page as it is, %d times", hostile, n)
		}
	}
}

// TestPageNotFinite draws values that are no numbers.
func TestPageNotFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, values := range [][]float64{
		{nan, nan, nan}, {inf, -inf, nan}, {1, nan, 2}, {0, 0, 0}, {1e308, -1e308, 5e-324}, {},
	} {
		r := example("clean")
		x := []float64{0, 1, 2}[:len(values)]
		r.Stages[1].Panels = []pipeline.Panel{
			{Title: "bars", Bars: &pipeline.Bars{Labels: []string{"a", "b", "c"}, Values: values}},
			{Title: "y", Curves: &pipeline.Curves{Series: []pipeline.Curve{{Name: "s", X: x, Y: values}}}},
			{Title: "x", Curves: &pipeline.Curves{Series: []pipeline.Curve{{Name: "s", X: values, Y: x}},
				Marks: []pipeline.PanelMark{{At: nan}, {At: inf}}}},
			{Title: "heat", Heat: &pipeline.Heat{Rows: []string{"r"}, Columns: []string{"a", "b", "c"},
				Values: [][]float64{values}}},
			{Title: "nothing", Heat: &pipeline.Heat{}}, {Title: "no bars", Bars: &pipeline.Bars{}},
			{Title: "no curves", Curves: &pipeline.Curves{}}, {Title: "no table", Table: &pipeline.Table{}},
		}
		r.Stages[1].Ledger.Examples[0].Value = nan
		p := page(t, r, meta())
		checkPage(t, p)
		places := regexp.MustCompile(` (?:x|y|x1|x2|y1|y2|cx|cy|width|height|points)="([^"]*)"`)
		for _, m := range places.FindAllStringSubmatch(p, -1) {
			if strings.Contains(m[1], "NaN") || strings.Contains(m[1], "Inf") {
				t.Errorf("%v: a place that is no number: %s", values, m[0])
			}
		}
		var out bytes.Buffer
		if err := WriteJSON(&out, r, meta()); err != nil {
			t.Errorf("%v: %v", values, err)
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "not set"}, {"", "not set"}, {true, "true"}, {14, "14"}, {14.0, "14"}, {3e-5, "3e-05"},
		{uint64(1) << 63, "9223372036854775808"}, {"out/data", "out/data"}, {"512MiB", "512MiB"},
		{"1e3", `"1e3"`}, {"true", `"true"`}, {"a, b", `"a, b"`}, {"a: b", `"a: b"`}, {"x: a > 9 & b", `"x: a > 9 & b"`}, {"*", `"*"`}, {" a", `" a"`},
		{"{{question}}\n{{answer}}", `"{{question}}\n{{answer}}"`}, {"data/*.jsonl", "data/*.jsonl"},
		{pipeline.Path("base"), "base"}, {[]any{}, "[]"}, {[]any{"a", 1}, "[a, 1]"}, {map[string]any{}, "{}"},
		{map[string]any{"b": 0.5, "a": []any{"x"}}, "{a: [x], b: 0.5}"},
		{[]any{"alpha", "beta", "gamma", "delta", "epsilon", "zeta"}, "[alpha, beta, gamma, … 3 more]"},
		{strings.Repeat("x", 50), strings.Repeat("x", 29) + "…"},
	} {
		if got := Value(c.v, 30); got != c.want {
			t.Errorf("Value(%#v) is %s, want %s", c.v, got, c.want)
		}
	}
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 bytes", 999: "999 bytes", 1000: "1000 bytes", 1024: "1.00 KiB",
		10 << 10: "10.0 KiB", 123456: "121 KiB", 5 << 30: "5.00 GiB", 1<<63 - 1: "8.00 EiB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) is %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567",
		-1000: "-1,000", -100: "-100"} {
		if got := Count(n, ","); got != want {
			t.Errorf("Count(%d) is %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0.0 s", 1540 * time.Millisecond: "1.5 s",
		59960 * time.Millisecond: "1 min 00 s", 90 * time.Second: "1 min 30 s", 3*time.Hour + 4*time.Minute: "3 h 04 min"} {
		if got := Span(d); got != want {
			t.Errorf("Span(%d) is %s, want %s", d, got, want)
		}
	}
}

// TestTicks wants round values inside the axis, a few and never none.
func TestTicks(t *testing.T) {
	for _, c := range [][2]float64{{0, 1}, {-0.3, 4.4}, {0, 1e-9}, {1e12, 1e12 + 1}, {-5, -4}, {0, 240}, {3.9, 8.1}} {
		vs := ticks(c[0], c[1], 5)
		if len(vs) < 2 || len(vs) > 7 || !slices.IsSorted(vs) {
			t.Errorf("ticks of %v: %v", c, vs)
		}
		for _, v := range vs {
			if math.Signbit(v) && v == 0 {
				t.Errorf("ticks of %v: negative zero", c)
			}
		}
	}
}
