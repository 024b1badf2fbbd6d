package stages_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/stages/quality"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"

	"github.com/zeebo/xxh3"
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

// readJSON decodes a file of a work directory.
func readJSON[T any](t *testing.T, opt pipeline.Options, name string) T {
	t.Helper()
	var v T
	data, err := store.ReadAll(opt.FS, filepath.Join(opt.Workdir, filepath.FromSlash(name)))
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func TestBundleCarriesWhatWasJudged(t *testing.T) {
	dir := modelCorpus(t, 200)
	opt := options(dir)
	run(t, dir, modelPlan, opt)
	judged := readJSON[map[string]any](t, opt, "out/score.json")["update_sha256"]
	sum, err := pipeline.FileSHA256(opt.FS, filepath.Join(opt.Workdir, "out", "update", "update.safetensors"))
	if err != nil || judged != sum {
		t.Errorf("score.json names the update %v, which is %s (%v)", judged, sum, err)
	}
	// Now let the score be of another update, in a work directory that is otherwise intact.
	opt.Workdir = filepath.Join(dir, "other")
	opt.Until = "proof_of_loss"
	run(t, dir, modelPlan, opt)
	score, err := filepath.EvalSymlinks(filepath.Join(opt.Workdir, "out", "score.json"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(score)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(filepath.Dir(score), "report.json")
	about, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	digest := func(data []byte) string { b := xxh3.Hash128(data).Bytes(); return hex.EncodeToString(b[:]) }
	forged := bytes.Replace(data, []byte(sum[:12]), []byte("0123456789ab"), 1)
	write(t, score, string(forged))
	// The report holds the score's hash and, in its first value, its own.
	_, own, _ := strings.Cut(string(about), `"xxh3_128": "`)
	zeros := strings.Repeat("0", 32)
	blank := strings.NewReplacer(digest(data), digest(forged), own[:32], zeros).Replace(string(about))
	write(t, report, strings.Replace(blank, zeros, digest([]byte(blank)), 1))
	opt.Until = ""
	err = fails(t, dir, modelPlan, opt, "bundle", "was not judged", sum[:12], "0123456789ab", "put a proof_of_loss stage")
	is[*pipeline.UsageError](t, err)
}

// TestExportedFields exports records whose own fields have the names that text and messages
// get, in both formats.
func TestExportedFields(t *testing.T) {
	const chat = `[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]`
	for _, c := range []struct{ how, record, jsonl, parquet string }{
		{"messages: chat", `{"chat":` + chat + `,"k":1}`,
			`{"chat":` + chat + `,"k":1,"text":"a\nb"}`, `{"text":"a\nb","messages":` + chat + `,"k":1}`},
		{"messages: chat", `{"text":"own","chat":` + chat + `}`,
			`{"text_original":"own","chat":` + chat + `,"text":"a\nb"}`, `{"text":"a\nb","text_original":"own","messages":` + chat + `}`},
		{"messages: chat", `{"text":"a\u000ab","messages":[1],"chat":` + chat + `}`,
			`{"text":"a\u000ab","messages":[1],"chat":` + chat + `}`, `{"text":"a\u000ab","messages_original":[1],"messages":` + chat + `}`},
		{"messages: messages", `{"messages":` + chat + `,"text":5,"text_original":null}`,
			`{"messages":` + chat + `,"text_original_original":5,"text_original":null,"text":"a\nb"}`,
			`{"text":"a\nb","messages":` + chat + `,"text_original_original":5,"text_original":null}`},
		{`template: "{{q}}!"`, `{"q":"x","text":"own"}`,
			`{"q":"x","text_original":"own","text":"x!"}`, `{"text":"x!","q":"x","text_original":"own"}`},
		{`template: "{{q}}!"`, `{"q":"x","text":"x!"}`, `{"q":"x","text":"x!"}`, `{"q":"x","text":"x!"}`},
		{"text: body", `{"body":"x","text":"own"}`, `{"body":"x","text":"own"}`, `{"text":"x","text_original":"own"}`},
		{"text: body", `{"id":1.0,"body":"x"}`, `{"id":1.0,"body":"x"}`, `{"id":1.0,"text":"x"}`},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a.jsonl"), c.record+"\n")
		for format, want := range map[string]string{"jsonl": c.jsonl, "parquet": c.parquet} {
			opt := options(dir)
			opt.Workdir += format
			run(t, dir, "name: p\ninput: [{path: a.jsonl, "+c.how+"}]\nstages: [{export: {files_multiple: 1, format: "+format+"}}]\n", opt)
			name := filepath.Join(opt.Workdir, "out", "data", "data", "train-00000-of-00001."+format)
			var b bytes.Buffer
			w := store.NewJSONLWriter(&b)
			err := store.ReadRows(opt.FS, name, store.RowOptions{}, func(row *store.Row) error { return w.Write(row.Fields) })
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(b.String()); got != want {
				t.Errorf("%s of %s as %s:\n%s, want\n%s", c.record, c.how, format, got, want)
			}
		}
	}
}

// TestExactCopies tells which records each way to compare takes for copies of the first.
func TestExactCopies(t *testing.T) {
	chat := func(parts ...string) string {
		var ms []string
		for i := 0; i+1 < len(parts); i += 2 {
			ms = append(ms, fmt.Sprintf(`{"role":%q,"content":%q}`, parts[i], parts[i+1]))
		}
		return `{"m":[` + strings.Join(ms, ",") + `]}`
	}
	text := func(s string) string { return fmt.Sprintf(`{"t":%q}`, s) }
	for _, c := range []struct {
		how, a, b   string
		text, words bool // the two are copies
	}{
		{"messages: m", chat("user", "a", "assistant", "b"), chat("user", "a", "assistant", "b"), true, true},
		{"messages: m", chat("user", "a", "assistant", "b"), chat("assistant", "a", "user", "b"), false, false},
		{"messages: m", chat("user", "a\nb"), chat("user", "a", "user", "b"), false, false},
		{"messages: m", chat("user", "A b!"), chat("user", "a  b"), false, true},
		{"messages: m", chat("user", "?", "assistant", "b"), chat("user", "!", "assistant", "b"), false, false},
		{"messages: m", chat(), chat("", ""), false, false},
		{"text: t", text("A b!"), text("a, b"), false, true},
		{"text: t", text("!!!"), text("..."), false, false},
		{"text: t", text("!!!"), text("!!!"), true, true},
		{"text: t", text(""), text("?"), false, false},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a.jsonl"), c.a+"\n"+c.b+"\n")
		for compare, want := range map[string]bool{"text": c.text, "words": c.words} {
			opt := options(dir)
			opt.Workdir += compare
			l := ledger(t, run(t, dir, "name: p\ninput: [{path: a.jsonl, "+c.how+"}]\nstages: [{exact_dedup: {compare: "+compare+"}}, {export: {}}]\n", opt), "exact_dedup")
			if got := l.Dropped["exact_duplicate"] == 1; got != want {
				t.Errorf("compare: %s: %s and %s are copies: %t", compare, c.a, c.b, got)
			}
		}
	}
}

// TestRouteSeesWhatIsTrained routes repeated documents and conversations.
func TestRouteSeesWhatIsTrained(t *testing.T) {
	dir := t.TempDir()
	texts := problems(80)
	tinyBase(t, filepath.Join(dir, "base"), texts)
	tok, err := tokenize.Load(store.OS(), filepath.Join(dir, "base", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	jsonl(t, filepath.Join(dir, "a.jsonl"), texts[:10]...)
	jsonl(t, filepath.Join(dir, "b.jsonl"), texts[10:60]...)
	var chats []string
	for _, text := range texts[60:] {
		chats = append(chats, fmt.Sprintf(`{"chat":[{"role":"user","content":%q},{"role":"assistant","content":"yes"}]}`, text))
	}
	write(t, filepath.Join(dir, "c.jsonl"), strings.Join(chats, "\n"))
	tokens := 0
	for i, text := range texts {
		switch {
		case i < 10:
			tokens += 3 * len(tok.Encode(nil, text))
		case i >= 60:
			tokens += len(tok.Encode(nil, "User: "+text+"\n\nAssistant: yes\n\n"))
		}
	}
	res := run(t, dir, `
name: p
network: {base: {model: base}}
input: [{path: a.jsonl}, {path: b.jsonl}, {path: c.jsonl, messages: chat}]
stages:
  - mix: {weights: {a: 3, c: 2}, unit: documents, repeat_max: 3}
  - route: {sample_tokens: 100000, sequence_length: 256}
`, options(dir))
	s, err := res.Stage("route")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d tokens of 50 documents were routed", tokens); !slices.Contains(s.Notes, want) {
		t.Errorf("route says %q, want %q", s.Notes, want)
	}
}

// TestOneFileOfTwoPatterns names a file by several patterns of one entry.
func TestOneFileOfTwoPatterns(t *testing.T) {
	dir := t.TempDir()
	texts := sentences(41, 10, 10)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts[:6]...)
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), texts[6:]...)
	for _, paths := range []string{"[data/*.jsonl, data/a.jsonl]", "[data/a.jsonl, ./data/../data]", `["*/a.jsonl", data, data]`} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, fmt.Sprint(len(paths)))
		res := run(t, dir, "name: p\ninput: [{path: "+paths+", source: s}]\nstages: [{export: {format: jsonl}}]\n", opt)
		if got := textsOf(t, exportedLines(t, opt)); !slices.Equal(got, slices.Sorted(slices.Values(texts))) {
			t.Errorf("%s: %d documents of %d files were read, want 10 of 2", paths, len(got), len(res.Inputs))
		}
	}
}

// TestTrainNeedsRouteOnlyToChoose changes route in plans that name the experts to train.
func TestTrainNeedsRouteOnlyToChoose(t *testing.T) {
	dir := modelCorpus(t, 200)
	group := checkpoint.Group{Name: "exp_math", Config: checkpoint.GroupConfig{GroupID: 0},
		Assignment: checkpoint.Assignment{1: {{My: 0, Org: 1}, {My: 1, Org: 2}}}}
	if err := group.Write(store.OS(), filepath.Join(dir, "groups")); err != nil {
		t.Fatal(err)
	}
	plan := strings.Replace(modelPlan, "max_steps: 12", "max_steps: 2", 1)
	for _, c := range []struct {
		old, new string
		trains   int
	}{
		{"", "", 1},
		{"base: {model: base}", "base: {model: base}, expert_group: 0, expert_groups: groups", 0},
		{"dtype: F32", "dtype: F32, trainable: all", 0},
	} {
		opt := options(dir)
		opt.Workdir, opt.Until = filepath.Join(dir, fmt.Sprint("run", len(c.new))), "train"
		plan := strings.Replace(plan, c.old, c.new, 1)
		run(t, dir, plan, opt)
		ran := startedTasks(t, dir, strings.Replace(plan, "p: 0.5", "p: 0.9", 1), opt)
		if ran["route run"] != 1 || ran["train run"] != c.trains {
			t.Errorf("with %q, after a change of route %v ran", c.new, ran)
		}
	}
}
