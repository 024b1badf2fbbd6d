package stages_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/stages"
)

// mistake checks that a plan is refused with a message that has all parts.
func mistake(t *testing.T, plan string, parts ...string) {
	t.Helper()
	_, err := pipeline.ParsePlan("plan.yaml", []byte(plan), stages.All(), pipeline.ParseOptions{Complete: stages.Complete,
		Env: func(string) (string, bool) { return "of the environment", true }})
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the plan gives the error %v, want one with %q", err, part)
		}
	}
}

const spanPlan = "name: p\nseed: 3\nkeep_dropped: true\ninput: [{path: data}]\nstages:\n  - span_dedup: {%s}\n  - export: {format: jsonl}\n"

// TestSpanDedup removes lines that other documents of the same and of an earlier file have.
func TestSpanDedup(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"),
		"all rights reserved\nfirst document of the data\n}", "second document of the data\n\nall rights reserved\n}")
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"),
		"All rights reserved\nall rights reserved\nthird document of it all\nthird document of it all", "all rights reserved", "last one\n}")
	opt := options(dir)
	opt.Workers = 1
	res := run(t, dir, fmt.Sprintf(spanPlan, "span_words_min: 2"), opt)
	want := []string{`{"text":"All rights reserved\nthird document of it all"}`, `{"text":"all rights reserved\nfirst document of the data\n}"}`,
		`{"text":"last one\n}"}`, `{"text":"second document of the data\n\n}"}`}
	if got := exportedLines(t, opt); !slices.Equal(got, want) {
		t.Errorf("exported %s", strings.Join(got, "\n"))
	}
	l := ledger(t, res, "span_dedup")
	if l.Edits["spans_removed"] != 3 || l.Edits["documents"] != 2 || l.Dropped["nothing_left"] != 1 {
		t.Errorf("edits %v, dropped %v", l.Edits, l.Dropped)
	}
	eachGathered(t, opt.FS, filepath.Join(opt.Workdir, pipeline.DropsName), func(f map[string]string) {
		if f["text"] != "all rights reserved" || f["file"] != "b.jsonl" || f["row"] != "1" {
			t.Errorf("the drop log says %v", f)
		}
	})

	ran := startedTasks(t, dir, fmt.Sprintf(spanPlan, "span_words_min: 2, document_words_min: 6"), opt)
	for task := range ran {
		if strings.Contains(task, "reduce") {
			t.Errorf("another minimum repeated %s", task)
		}
	}
	res = run(t, dir, fmt.Sprintf(spanPlan, "span_words_min: 2, document_words_min: 6"), opt)
	if l := ledger(t, res, "span_dedup"); l.Dropped["few_words_left"] != 1 || l.Kept != 3 {
		t.Errorf("kept %d, dropped %v", l.Kept, l.Dropped)
	}
}

// TestSpanDedupOfMessages edits each content on its own, and only when it is asked to.
func TestSpanDedupOfMessages(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data", "a.jsonl"), `{"messages":[{"role":"user","content":"Be kind. Be brief. Add two numbers."},{"role":"assistant","content":"Fine."}],"n":1.0}
{"messages":[{"role":"user","content":"Be kind. Be brief. Add three numbers."},{"content":"Be kind.","role":"assistant","k":[]}]}
`)
	plan := strings.Replace(spanPlan, "path: data", "path: data, messages: messages", 1)
	mistake(t, fmt.Sprintf(plan, "unit: sentences, sentences: 2"), "stages[0].span_dedup.per_message", "per_message: true")
	opt := options(dir)
	run(t, dir, fmt.Sprintf(plan, "unit: sentences, sentences: 2, span_words_min: 3, per_message: true"), opt)
	got := strings.Join(exportedLines(t, opt), "\n")
	if !strings.Contains(got, `[{"role":"user","content":"Add three numbers."},{"content":"Be kind.","role":"assistant","k":[]}]`) {
		t.Errorf("exported %s", got)
	}
}
