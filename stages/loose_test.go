package stages_test

import (
	"context"
	"path/filepath"
	"testing"

	"bzdata/pipeline"
)

// TestLooseStages reads what check and run say of stages whose documents go nowhere.
func TestLooseStages(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), "one", "two")
	for stages, want := range map[string]string{
		"export: {}":                    "",
		"exact_dedup: {}}, {export: {}": "",
		"export: {}}, {exact_dedup: {}": "exact_dedup: no stage uses the documents that it leaves; put it before export",
		"export: {}}, {normalize: {}}, {id: late, quality: {preset: connito}": "normalize, late: no stage uses the documents " +
			"that they leave; put them before export",
		"export: {}}, {exact_dedup: {}}, {id: again, export: {to: out/again}": "",
		"export: {}}, {exact_dedup: {}}, {id: again, export: {to: out/again}}, {mix: {weights: {data: 1}}": "mix: no stage uses " +
			"the documents that it leaves; put it before again",
		"id: first, export: {to: out/first}}, {export: {}}, {pii: {}": "pii: no stage uses the documents that it leaves; " +
			"put it before first",
		"exact_dedup: {}": "exact_dedup: no stage uses the documents that it leaves; put export behind it to have them written",
		// Pairs and an index are of use by themselves, and so is what stands before them.
		"normalize: {}}, {minhash: {pairs: true}":                        "",
		"normalize: {}}, {exact_dedup: {index: {dir: x, generation: a}}": "",
		"exact_dedup: {pairs: true}}, {mix: {weights: {data: 1}}": "mix: no stage uses the documents that it leaves; " +
			"put export behind it to have them written",
	} {
		plan := parse(t, dir, "name: p\ninput: [{path: data}]\nstages: [{"+stages+"}]\n")
		opt := options(dir)
		opt.Workdir = t.TempDir()
		work, err := pipeline.Outlook(plan, opt)
		if err != nil {
			t.Fatal(err)
		}
		if work.Note != want {
			t.Errorf("%s: check says %q, want %q", stages, work.Note, want)
		}
	}
}

// TestLooseStagesInRun wants the same line at the start of a run, once, and no other end.
func TestLooseStagesInRun(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), "one", "two")
	for stages, want := range map[string]string{
		"{export: {}}, {exact_dedup: {}}": "exact_dedup: no stage uses the documents that it leaves; put it before export",
		"{exact_dedup: {}}, {export: {}}": "",
	} {
		opt := options(dir)
		opt.Workdir = t.TempDir()
		var kinds []string
		said := ""
		opt.OnEvent = func(e pipeline.Event) {
			kinds = append(kinds, e.Kind)
			if e.Kind == "note" {
				said += e.Note
			}
		}
		plan := parse(t, dir, "name: p\ninput: [{path: data}]\nstages: ["+stages+"]\n")
		if _, err := pipeline.Run(context.Background(), plan, opt); err != nil {
			t.Fatal(err)
		}
		if said != want || want != "" && kinds[1] != "note" {
			t.Errorf("%s: the run says %q with the events %v, want %q", stages, said, kinds, want)
		}
	}
}
