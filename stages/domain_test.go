package stages_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// TestReferencesInDisguise has reference rows and documents in different forms: a reference
// row stays out of training in any of them, and what is kept and dropped does not depend on
// the form.
func TestReferencesInDisguise(t *testing.T) {
	reference, other := accented(31, 60, 30), accented(32, 60, 30)
	plan := "name: p\ninput: [{path: data}]\nstages: [{domain: {reference: ref, keep_fraction: 0.6}}, {export: {format: jsonl}}]\n"
	var want []string
	for i, disguise := range disguises {
		for _, j := range []int{0, (i + 1) % len(disguises)} {
			hide, dir := disguises[j], t.TempDir()
			var rows, docs []string
			for k, text := range reference {
				rows = append(rows, disguise(text))
				docs = append(docs, hide(text), hide(other[k]))
			}
			jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), rows...)
			jsonl(t, filepath.Join(dir, "data", "a.jsonl"), docs...)
			opt := options(dir)
			l := ledger(t, run(t, dir, plan, opt), "domain")
			if l.Dropped["reference"] != 60 || l.Dropped["off_domain"] < 20 {
				t.Errorf("references in form %d, documents in form %d: dropped %v", i, j, l.Dropped)
			}
			var kept []string
			for _, text := range textsOf(t, exportedLines(t, opt)) {
				for k, plain := range other {
					if text == hide(plain) {
						kept = append(kept, other[k])
					}
				}
			}
			slices.Sort(kept)
			if want == nil {
				want = kept
			}
			if !slices.Equal(kept, want) {
				t.Errorf("references in form %d, documents in form %d: other documents were kept", i, j)
			}
		}
	}
}

// domainPlan has every stage that stands before domain in a plan.
const domainPlan = `
name: p
input: [{path: data/*.jsonl, source: s}]
held_out: {fraction: 0.1}
stages:
  - normalize: {}
  - quality: {preset: connito, limits: {characters_min: 20}}
  - exact_dedup: {}
  - minhash: {}
  - domain: {reference: ref/*.jsonl, keep_reference: 0.9}
  - export: {format: jsonl}
`

func domainCorpus(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	texts := problems(330)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts[:100]...)
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), append(texts[100:200:200], sentences(33, 20, 30)...)...)
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[200:]...)
	return dir
}

// TestThresholdRepeatsNoScoring changes each way to domain's threshold, and then what the
// scores depend on.
func TestThresholdRepeatsNoScoring(t *testing.T) {
	dir := domainCorpus(t)
	opt := options(dir)
	run(t, dir, domainPlan, opt)
	decided := map[string]int{"domain reduce 1 of 1": 1, "domain s:a.jsonl": 1, "domain s:b.jsonl": 1, "export run": 1}
	for _, threshold := range []string{"keep_reference: 0.8", "keep_fraction: 0.5", "keep_tokens: 2000", "threshold: 100"} {
		plan := strings.Replace(domainPlan, "keep_reference: 0.9", threshold, 1)
		if ran := startedTasks(t, dir, plan, opt); !maps.Equal(ran, decided) {
			t.Errorf("after a change to %s %v ran, want %v", threshold, ran, decided)
		}
	}
	all := map[string]int{"domain reduce 1 of 1": 2, "domain s:a.jsonl": 3, "domain s:b.jsonl": 3, "export run": 1}
	for _, other := range []string{"order: 3", "folds: 4", "min_count: 3", "method: perplexity", "general_bytes: 64KiB"} {
		plan := strings.Replace(domainPlan, "keep_reference: 0.9", "keep_reference: 0.9, "+other, 1)
		if ran := startedTasks(t, dir, plan, opt); !maps.Equal(ran, all) {
			t.Errorf("after a change to %s %v ran, want %v", other, ran, all)
		}
	}
}

// openCounter counts how often files are opened, by name.
type openCounter struct {
	store.FS
	mu    sync.Mutex
	count map[string]int
}

func (c *openCounter) Open(name string) (store.ReadFile, error) {
	c.mu.Lock()
	c.count[filepath.Base(name)]++
	c.mu.Unlock()
	return c.FS.Open(name)
}

func TestModelsAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	texts := problems(400)
	for i := range 6 {
		jsonl(t, filepath.Join(dir, "data", string(rune('a'+i))+".jsonl"), texts[40*i:40*i+40]...)
	}
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[300:]...)
	opt := options(dir)
	counter := &openCounter{FS: opt.FS, count: map[string]int{}}
	opt.FS = counter
	run(t, dir, domainPlan, opt)
	models := 0
	for name, n := range counter.count {
		if filepath.Ext(name) != ".ngram" {
			continue
		}
		models++
		if n != 1 {
			t.Errorf("%s was read %d times", name, n)
		}
	}
	if models != 12 {
		t.Errorf("%d models were read, want 12", models)
	}
}

// TestDomainCountsCopies mixes documents three times before a choice by number or words.
func TestDomainCountsCopies(t *testing.T) {
	dir := t.TempDir()
	texts := problems(200)
	jsonl(t, filepath.Join(dir, "a.jsonl"), texts[:20]...)
	jsonl(t, filepath.Join(dir, "b.jsonl"), sentences(34, 60, 20)...)
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[100:]...)
	for _, c := range []struct {
		keep string
		kept int64
	}{{"keep_fraction: 0.5", 20}, {"keep_fraction: 0.25", 10}, {"keep_tokens: 1", 0}, {"keep_fraction: 0", 0}} {
		opt := options(dir)
		opt.Workdir += c.keep
		plan := "name: p\ninput: [{path: a.jsonl}, {path: b.jsonl}]\nstages:\n" +
			"  - mix: {weights: {a: 1, b: 1}, unit: documents, repeat_max: 3}\n" +
			"  - domain: {reference: ref/*.jsonl, " + c.keep + "}\n  - export: {format: jsonl}\n"
		res, err := pipeline.Run(t.Context(), parse(t, dir, plan), opt)
		if c.kept == 0 {
			if err == nil || !strings.Contains(err.Error(), "no document is left after stage domain") {
				t.Errorf("%s: %v", c.keep, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if l := ledger(t, res, "domain"); l.Kept != c.kept || l.Sources["a"].Kept != c.kept {
			t.Errorf("%s: %d documents are kept, %d of a, want %d", c.keep, l.Kept, l.Sources["a"].Kept, c.kept)
		}
	}
}

// TestReferencesAreNoExam holds reference rows out, in disguise, and counts who is examined.
func TestReferencesAreNoExam(t *testing.T) {
	dir := t.TempDir()
	texts := problems(200)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), append(texts[:60:60], texts[105:110]...)...)
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[100:]...)
	var exam []string
	for i, text := range texts[60:120] {
		exam = append(exam, disguises[i%len(disguises)](text))
	}
	jsonl(t, filepath.Join(dir, "exam", "x.jsonl"), exam...)
	tinyBase(t, filepath.Join(dir, "base"), texts[:60])
	plan := "name: p\nnetwork: {base: {model: base}}\ninput: [{path: data}]\nheld_out: [{path: exam}]\nstages:\n" +
		"  - decontaminate: {}\n  - domain: {reference: ref/*.jsonl}\n  - tokenize: {sequence_length: 32}\n"
	opt := options(dir)
	res := run(t, dir, plan, opt)
	if set := ledger(t, res, "held_out_set"); set.Kept != 40 || set.Dropped["reference"] != 20 {
		t.Errorf("the held-out set keeps %d and drops %v, want 40 and 20 references", set.Kept, set.Dropped)
	}
	if l := ledger(t, res, "decontaminate"); l.Dropped["held_out_copy"] != 5 {
		t.Errorf("of 5 references in training, which are held out, too, decontaminate drops %v", l.Dropped)
	}
	var meta struct {
		Parts map[string]struct{ Documents int64 }
	}
	data, err := store.ReadAll(opt.FS, filepath.Join(opt.Workdir, "out", "tokens", "tokens.json"))
	if err == nil {
		err = json.Unmarshal(data, &meta)
	}
	if n := meta.Parts["select"].Documents + meta.Parts["judge"].Documents; err != nil || n != 40 {
		t.Errorf("the exam has %d documents (%v), want 40", n, err)
	}
	opt.Until = "decontaminate"
	if ran := startedTasks(t, dir, plan, opt); ran["held_out_set gather"] != 0 {
		t.Errorf("with --until the exam was made anew: %v", ran)
	}
	opt.Until = ""
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[110:]...)
	if set := ledger(t, run(t, dir, plan, opt), "held_out_set"); set.Kept != 50 {
		t.Errorf("after a change of the reference the held-out set keeps %d, want 50", set.Kept)
	}
}

// TestWordlessTexts scores texts without words, some of them references.
func TestWordlessTexts(t *testing.T) {
	dir := t.TempDir()
	var docs, rows []string
	for i, text := range problems(200) {
		wordless := strings.Repeat("!", i+1) + "?"
		if i < 100 {
			docs = append(docs, text, wordless)
		} else {
			rows = append(rows, text, wordless)
		}
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), docs...)
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), rows...)
	for _, c := range []struct {
		keys string
		kept int64
		mark bool
	}{
		{"keep_fraction: 0.5", 100, true}, {"keep_fraction: 1", 200, false}, {"keep_reference: 0.97", 200, false},
		{"keep_fraction: 0.25, method: perplexity", 50, true}, {"keep_tokens: 1000000", 200, false},
	} {
		opt := options(dir)
		opt.Workdir += c.keys
		res := run(t, dir, "name: p\ninput: [{path: data}]\nstages: [{domain: {reference: ref, "+c.keys+"}}, {export: {}}]\n", opt)
		if l := ledger(t, res, "domain"); l.Kept != c.kept {
			t.Errorf("%s: %d documents are kept, want %d", c.keys, l.Kept, c.kept)
		}
		for _, p := range panelsOf(t, res, "domain") {
			if n := len(p.Curves.Marks); p.Title == "Domain scores" && (n == 1) != c.mark || !strings.Contains(p.Note, "100 documents without words") {
				t.Errorf("%s: %d marks; %s", c.keys, n, p.Note)
			}
			for _, curve := range p.Curves.Series {
				sum := 0.0
				for _, y := range curve.Y {
					sum += y
				}
				if sum < 0.95 || sum > 1.0000001 {
					t.Errorf("%s: the curve of %s sums to %g", c.keys, curve.Name, sum)
				}
			}
		}
	}
}

// TestLossesByDomain has an exam of which domain would have dropped a part: both losses are
// told, and together they are the whole.
func TestLossesByDomain(t *testing.T) {
	dir := t.TempDir()
	texts := problems(500)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), append(texts[:300:300], sentences(51, 200, 20)...)...)
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[300:]...)
	tinyBase(t, filepath.Join(dir, "base"), texts[:100])
	plan := strings.Replace(modelPlan, "  - export: {format: jsonl}\n", "  - domain: {reference: ref}\n", 1)
	opt := options(dir)
	res, err := pipeline.Run(t.Context(), parse(t, dir, plan), opt)
	if tolerated(err) != nil {
		t.Fatal(err)
	}
	type side struct {
		Source    string
		Documents int
		Tokens    int
		Base      float64 `json:"base_nats"`
		Candidate float64 `json:"candidate_nats"`
	}
	score := readJSON[struct {
		side
		Domain struct {
			Documents int
			Beyond    int `json:"documents_beyond"`
			Parts     []side
		}
	}](t, opt, "out/score.json")
	d := score.Domain
	if len(d.Parts) != 2 || d.Documents != score.Documents || d.Parts[0].Documents+d.Parts[1].Documents != d.Documents ||
		d.Parts[1].Documents != d.Beyond || d.Beyond < d.Documents/5 || d.Beyond > d.Documents/2 {
		t.Fatalf("of 200 off-domain documents among 500, the exam has %+v", d)
	}
	base, candidate := 0.0, 0.0
	for _, p := range d.Parts {
		base, candidate = base+p.Base*float64(p.Tokens), candidate+p.Candidate*float64(p.Tokens)
	}
	if n := float64(score.Tokens); math.Abs(base/n-score.Base) > 1e-9 || math.Abs(candidate/n-score.Candidate) > 1e-9 {
		t.Errorf("the parts' losses add up to %g and %g, the whole's are %g and %g", base/n, candidate/n, score.Base, score.Candidate)
	}
	if within, beyond := d.Parts[0], d.Parts[1]; beyond.Base-beyond.Candidate >= within.Base-within.Candidate {
		t.Errorf("training on problems helps %+v more than %+v", beyond, within)
	}
	s, err := res.Stage("proof_of_loss")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d of %d documents", d.Beyond, d.Documents); !strings.Contains(strings.Join(s.Notes, "\n"), want) {
		t.Errorf("the notes %q do not say %q", s.Notes, want)
	}
	if rows := s.Panels[0].Table.Rows; len(rows) != 3 || rows[2][0] != "beyond the domain threshold" {
		t.Errorf("the table of losses is %v", rows)
	}
}
