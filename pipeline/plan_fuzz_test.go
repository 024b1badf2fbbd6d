package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/cputime"
)

// checkAnswer holds for every text: there is a plan or there are mistakes, each mistake
// has a place in the text, and reading again gives the same answer.
func checkAnswer(t *testing.T, src []byte, opt pipeline.ParseOptions) {
	t.Helper()
	plan, err := pipeline.ParsePlan("p.yaml", src, toyRegistry(), opt)
	again, err2 := pipeline.ParsePlan("p.yaml", src, toyRegistry(), opt)
	if err == nil {
		if err2 != nil || plan == nil || dump(plan) != dump(again) {
			t.Fatalf("two readings differ: %v", err2)
		}
		return
	}
	if err2 == nil || err.Error() != err2.Error() {
		t.Fatalf("two readings differ:\n%v\n%v", err, err2)
	}
	diags, ok := err.(pipeline.Diags)
	if !ok || len(diags) == 0 || plan != nil {
		t.Fatalf("plan %v with error %T of length %d", plan, err, len(diags))
	}
	lines := strings.Count(string(src), "\n") + 1
	for i, d := range diags {
		if d.Msg == "" || d.Flag == "" && (d.Line < 1 || d.Line > lines || d.Col < 1) {
			t.Fatalf("mistake without a place or text: %+v", d)
		}
		if i > 0 && d.Flag == "" && diags[i-1].Flag == "" && d.Line < diags[i-1].Line {
			t.Fatalf("mistakes out of order: line %d after %d", d.Line, diags[i-1].Line)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	for _, suffix := range []string{".bad.yaml", ".good.yaml"} {
		for _, src := range seedPlans(f, suffix) {
			f.Add(src, "minhash.bands", "20")
		}
	}
	f.Add([]byte("input: [{path: a}]\nstages: [{minhash: {}}]\n"), "stages[0].minhash.index", "{dir: a, generation: \"${x}\"}")
	f.Add([]byte("stages:\n- minhash:\n  id: ${a}\n- null\n-\n"), "a[0]", "")
	f.Fuzz(func(t *testing.T, src []byte, key, value string) {
		opt := flagsOf(src)
		checkAnswer(t, src, opt)
		opt.Set = []pipeline.Override{{Key: key, Value: value}}
		checkAnswer(t, src, opt)
	})
}

func seedPlans(f *testing.F, suffix string) [][]byte {
	var out [][]byte
	for _, src := range plans(f, suffix) {
		out = append(out, src)
	}
	return out
}

// TestHostilePlans reads texts that are built to take long or go deep. Each is held against a plan of a hundred kilobytes: far
// above what any takes, below what an unbounded one does.
func TestHostilePlans(t *testing.T) {
	const timesMax = 20
	block := func(depth int) string {
		var b strings.Builder
		for i := range depth {
			b.WriteString(strings.Repeat(" ", i) + "a:\n")
		}
		return b.String()
	}
	line := func(s string, lines int) string { return strings.Repeat(strings.Repeat(s, 8000/len(s))+"\n", lines) }
	parse := func(src string) (time.Duration, error) {
		start := cputime.Used()
		_, err := pipeline.ParsePlan("p.yaml", []byte(src), toyRegistry(), toyOptions())
		return cputime.Used() - start, err
	}
	plan := "input:\n" + strings.Repeat("  - path: a\n", 8_000) + "stages: [{normalize: {}}]\n"
	unit, err := parse(plan)
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]string{
		"deep blocks":       block(900),
		"open maps":         line("{", 40),
		"open lists":        line("[", 40),
		"dashes":            line("- ", 40),
		"questions":         line("? ", 40),
		"tabs in quotes":    "a: \"" + line("\t", 40) + "\"\n",
		"merge keys":        line("<< ", 40),
		"null values":       "stages:\n" + strings.Repeat("-\n", 200_000),
		"null keys":         strings.Repeat("a:\n", 120_000),
		"unknown keys":      numbered("key", ": 1\n", 10_000),
		"unknown stages":    "input: [{path: a}]\nstages:\n" + numbered("  - k", ": {}\n", 8_000),
		"long scalar":       "name: |\n" + strings.Repeat(" "+strings.Repeat("x", 8000)+"\n", 50),
		"folded scalar":     "name: " + strings.Repeat("x\n  ", 200_000) + "\n",
		"variables":         "vars: {a: " + strings.Repeat("x", 8000) + "}\nname: >\n" + strings.Repeat(" "+strings.Repeat("${a}", 2000)+"\n", 50),
		"quotes":            line("'a' ", 40),
		"comments":          line("# ", 50),
		"anchors":           line("&a ", 40),
		"tags":              line("!a ", 40),
		"many documents":    strings.Repeat("---\na: 1\n", 40_000),
		"more than allowed": strings.Repeat("# 8 bytes\n", 200_000),
	} {
		took, err := parse(src)
		times := float64(took) / float64(unit)
		t.Logf("%-18s %8d bytes %8.3f s, %5.2f times a plan's", name, len(src), took.Seconds(), times)
		if err == nil {
			t.Errorf("%s: is a plan", name)
		}
		if diags, ok := err.(pipeline.Diags); ok && len(diags) > 100 {
			t.Errorf("%s: %d mistakes are listed", name, len(diags))
		}
		if times > timesMax {
			t.Errorf("%s: took %v, %.0f times a plan's", name, took, times)
		}
	}
}

func numbered(before, after string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(before)
		for ; i > 0; i /= 26 {
			b.WriteByte(byte('a' + i%26))
		}
		b.WriteString(after)
	}
	return b.String()
}
