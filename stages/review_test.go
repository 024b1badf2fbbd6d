package stages_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/stages/quality"
	"bzdata/train/checkpoint"

	"golang.org/x/text/unicode/norm"
)

// disguises write a text otherwise without changing what it looks like.
var disguises = []func(string) string{
	func(s string) string { return s },
	norm.NFD.String,
	func(s string) string { return strings.ReplaceAll(s, "e", "e\u00ad") },
	func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "o", "\u200bo") },
	func(s string) string { return strings.ReplaceAll(norm.NFD.String(s), " ", "\u00a0\u200e") },
}

// accented are n different texts with letters that have several forms.
func accented(seed uint64, n, words int) []string {
	out := sentences(seed, n, words)
	for i, text := range out {
		out[i] = "Zo\u00eb\u1e69 " + strings.ReplaceAll(text, "w", "caf\u00e9o")
	}
	return out
}

// TestContentHashSeesNoFormat checks that what normalize may edit leaves the hash alone, and
// that what it may not edit does not.
func TestContentHashSeesNoFormat(t *testing.T) {
	same := [][]string{
		{"a b", " a\tb\r\n", "a\u00a0b", "a \u2028 b", "a\x00 b\x7f", "\ufeffa b", "a\u200b b", "a\u00ad b\u2060", "a\u3000b"},
		{"caf\u00e9 \u1e69", "cafe\u0301 s\u0323\u0307", "cafe\u200d\u0301 s\u0307\u0323", "caf\u00e9 \u1e69\u200e"},
		{"\uac00", "\u1100\u1161", "\u1100\u00ad\u1161"}, {"\u212b", "\u00c5", "A\u030a"},
		{"\xff\xfe", "\ufffd\ufffd"}, {"", " ", "\u200b", "\x01\n"},
	}
	seen := map[uint64]string{}
	for _, group := range same {
		want := pipeline.ContentHash(group[0])
		for _, text := range group {
			if pipeline.ContentHash(text) != want {
				t.Errorf("%q and %q have different hashes", text, group[0])
			}
		}
		if other, ok := seen[want]; ok {
			t.Errorf("%q and %q have one hash", group[0], other)
		}
		seen[want] = group[0]
	}
	for _, text := range nastyTexts() {
		normal, _ := quality.Normalize(nil, []byte(text), quality.NormalizeAll())
		if pipeline.ContentHash(text) != pipeline.ContentHash(string(normal)) {
			t.Errorf("the hash of %.40q changes when the text is normalised", text)
		}
	}
	for _, pair := range [][2]string{{"a b", "ab"}, {"a", "A"}, {"e", "\u00e9"}, {"a.", "a"}} {
		if pipeline.ContentHash(pair[0]) == pipeline.ContentHash(pair[1]) {
			t.Errorf("%q and %q have one hash", pair[0], pair[1])
		}
	}
}

// FuzzContentHash checks the same with any text, and the short way for ASCII with the long.
func FuzzContentHash(f *testing.F) {
	for _, text := range nastyTexts() {
		f.Add(text[:min(len(text), 200)])
	}
	f.Fuzz(func(t *testing.T, text string) {
		normal, _ := quality.Normalize(nil, []byte(text), quality.NormalizeAll())
		want := pipeline.ContentHash(text)
		if pipeline.ContentHash(string(normal)) != want {
			t.Errorf("the hash of %q changes when the text is normalised to %q", text, normal)
		}
		if long := strings.ReplaceAll(text, " ", "\u00a0"); pipeline.ContentHash(long) != want {
			t.Errorf("the hash of %q changes with no-break spaces", text)
		}
	})
}

// TestDisguisedHeldOutText has held-out text in training under every disguise, whole and
// quoted, with normalize and without.
func TestDisguisedHeldOutText(t *testing.T) {
	exam, other := accented(21, 5, 30), accented(22, 5, 30)
	for i, disguise := range disguises {
		for j, hide := range disguises {
			dir := t.TempDir()
			var lines []string
			for k, text := range exam {
				lines = append(lines, hide(text), hide(other[k]+" then "+text+" and so on"), hide(other[k]))
			}
			jsonl(t, filepath.Join(dir, "data", "a.jsonl"), lines...)
			var held []string
			for _, text := range exam {
				held = append(held, disguise(text))
			}
			jsonl(t, filepath.Join(dir, "exam", "x.jsonl"), held...)
			for _, first := range []string{"", "normalize: {}, "} {
				opt := options(dir)
				opt.Workdir += first
				plan := "name: p\ninput: [{path: data}]\nheld_out: [{path: exam}]\nstages: [{" + first + "decontaminate: {}}, {export: {format: jsonl}}]\n"
				plan = strings.Replace(plan, "normalize: {}, ", "normalize: {}}, {", 1)
				l := ledger(t, run(t, dir, plan, opt), "decontaminate")
				if l.Dropped["held_out_copy"] != 5 || l.Dropped["held_out_overlap"] != 5 || l.Kept != 5 {
					t.Errorf("%sheld out in form %d, training in form %d: dropped %v, kept %d", first, i, j, l.Dropped, l.Kept)
				}
			}
		}
	}
}

// TestDisguisedCopiesAreHeldOut holds a fraction out: of copies that look alike, all or none
// is left for training.
func TestDisguisedCopiesAreHeldOut(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	for i, text := range accented(23, 60, 12) {
		lines = append(lines, text, disguises[1+i%4](text))
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), lines...)
	res := run(t, dir, "name: p\ninput: [{path: data}]\nheld_out: {fraction: 0.5}\nstages: [{decontaminate: {}}, {export: {}}]\n", options(dir))
	l, set := ledger(t, res, "held_out"), ledger(t, res, "held_out_set")
	if l.HeldOut < 10 || l.Dropped["copy_of_held_out"] != l.HeldOut || set.Kept != l.HeldOut {
		t.Errorf("%d documents are held out, %v dropped, the set keeps %d", l.HeldOut, l.Dropped, set.Kept)
	}
	if l := ledger(t, res, "decontaminate"); l.DroppedSum() != 0 {
		t.Errorf("decontaminate still found %v", l.Dropped)
	}
}

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

func TestInfinityIsTheLastBucket(t *testing.T) {
	for _, v := range []float64{math.Inf(1), math.Inf(-1)} {
		h, big := pipeline.NewHistogram(), pipeline.NewHistogram()
		h.Observe(v)
		big.Observe(math.Copysign(math.MaxFloat64, v))
		if !maps.Equal(h.Counts, big.Counts) {
			t.Errorf("%v is counted in %v, the greatest number in %v", v, h.Counts, big.Counts)
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

func TestPanelsAreFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		panel pipeline.Panel
		n     int
		want  string
	}{
		{pipeline.Panel{Curves: &pipeline.Curves{Series: []pipeline.Curve{{X: []float64{1, nan, 3}, Y: []float64{inf, 2, 3}}},
			Marks: []pipeline.PanelMark{{At: -inf}, {At: 2}}}}, 3,
			`{"title":"","curves":{"x_label":"","y_label":"","series":[{"name":"","x":[3],"y":[3]}],"marks":[{"at":2,"label":""}]}}`},
		{pipeline.Panel{Bars: &pipeline.Bars{Values: []float64{1, nan, -inf}, Marks: []pipeline.PanelMark{{At: nan}}}}, 3,
			`{"title":"","bars":{"x_label":"","y_label":"","labels":null,"values":[1,0,0]}}`},
		{pipeline.Panel{Heat: &pipeline.Heat{Values: [][]float64{{1, inf}, {nan, 4}}}}, 2,
			`{"title":"","heat":{"x_label":"","y_label":"","rows":null,"columns":null,"values":[[1,0],[0,4]]}}`},
		{pipeline.Panel{Table: &pipeline.Table{Rows: [][]string{{"NaN"}}}}, 0,
			`{"title":"","table":{"columns":null,"rows":[["NaN"]]}}`},
	} {
		got, n := c.panel.Finite()
		data, err := json.Marshal(got)
		if err != nil || string(data) != c.want || n != c.n {
			t.Errorf("%d values were left out of %s (%v), want %d of %s", n, data, err, c.n, c.want)
		}
		if n > 0 {
			if _, err := json.Marshal(c.panel); err == nil {
				t.Error("the panel itself has changed")
			}
		}
	}
}

// panelsOf are the panels of a stage.
func panelsOf(t *testing.T, res *pipeline.Result, stage string) []pipeline.Panel {
	t.Helper()
	s, err := res.Stage(stage)
	if err != nil {
		t.Fatal(err)
	}
	return s.Panels
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

// TestLossesBeyondAllBounds has a base model whose losses are no numbers: training skips its
// batches, all that is measured is reported, and the gate says why it refuses.
func TestLossesBeyondAllBounds(t *testing.T) {
	dir := modelCorpus(t, 200)
	rewriteWeights(t, filepath.Join(dir, "base"), func(ts []checkpoint.Tensor) []checkpoint.Tensor {
		for i, x := range ts {
			if x.Name == "model.norm.weight" {
				ts[i] = tensorOf(t, x.Name, x.Shape, slices.Repeat([]float32{float32(math.NaN())}, x.Shape[0]))
			}
		}
		return ts
	})
	plan := strings.Replace(modelPlan, "dtype: F32", "dtype: F32, naming: native, non_finite: skip, non_finite_max: 50", 1)
	for _, profile := range network.Names() {
		opt := options(dir)
		opt.Workdir += profile
		named := strings.Replace(plan, "network: {", "network: {profile: "+profile+", ", 1)
		p, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(named), stages.All(), pipeline.ParseOptions{
			Complete: stages.Complete,
			Profile: func(name string) (map[string]any, string, error) {
				p, err := network.Load(name)
				return p.Defaults(), p.Name, err
			}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := pipeline.Run(t.Context(), p, opt)
		var gate *pipeline.GateError
		if !errors.As(err, &gate) || !strings.Contains(err.Error(), "not finite") {
			t.Fatalf("%s: the run ended with %v", profile, err)
		}
		for _, p := range panelsOf(t, res, "train") {
			if p.Title == "Loss" && !strings.Contains(p.Note, "no finite numbers") {
				t.Errorf("the panel of losses does not tell of NaN: %+v", p.Curves)
			}
		}
	}
}

func tensorOf(t *testing.T, name string, shape []int, values []float32) checkpoint.Tensor {
	t.Helper()
	x, err := checkpoint.NewTensor(name, checkpoint.F32, shape, values)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
