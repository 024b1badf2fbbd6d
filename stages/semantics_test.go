package stages_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// run carries out a plan that must succeed.
func run(t *testing.T, dir, plan string, opt pipeline.Options) *pipeline.Result {
	t.Helper()
	res, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// startedTasks runs a plan and returns how often a task of each stage and name started.
func startedTasks(t *testing.T, dir, plan string, opt pipeline.Options) map[string]int {
	t.Helper()
	ran := map[string]int{}
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "start" {
			ran[e.Stage+" "+e.Task]++
		}
	}
	run(t, dir, plan, opt)
	return ran
}

// exportedLines are the lines of the JSONL export, sorted.
func exportedLines(t *testing.T, opt pipeline.Options) []string {
	t.Helper()
	dir := filepath.Join(opt.Workdir, "out", "data", "data")
	entries, err := opt.FS.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		data, err := store.ReadAll(opt.FS, filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	slices.Sort(lines)
	return lines
}

// textsOf are the texts of exported lines, sorted.
func textsOf(t *testing.T, lines []string) []string {
	t.Helper()
	var texts []string
	for _, line := range lines {
		var row struct{ Text string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, row.Text)
	}
	slices.Sort(texts)
	return texts
}

// jsonl writes texts as records {"text": …} and returns them.
func jsonl(t *testing.T, name string, texts ...string) []string {
	t.Helper()
	var b strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&b, "{\"text\":%s}\n", store.AppendQuote(nil, text))
	}
	write(t, name, b.String())
	return texts
}

// sentences are n different texts of the given words.
func sentences(seed uint64, n, words int) []string {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]string, n)
	for i := range out {
		out[i] = sentence(rng, words)
	}
	return out
}

func ledger(t *testing.T, res *pipeline.Result, stage string) *pipeline.Ledger {
	t.Helper()
	s, err := res.Stage(stage)
	if err != nil {
		t.Fatal(err)
	}
	if s.Ledger == nil {
		t.Fatalf("stage %s has no ledger", stage)
	}
	return s.Ledger
}

func TestNewWeightsRunNoDocumentTask(t *testing.T) {
	dir := modelCorpus(t, 120)
	opt := options(dir)
	plan := strings.Replace(modelPlan, "max_steps: 12", "max_steps: 2", 1)
	opt.Until = "train"
	run(t, dir, plan, opt)
	weights := filepath.Join(dir, "base", "model.safetensors")
	data, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-4] ^= 1 // the last bit of a weight
	write(t, weights, string(data))
	ran := startedTasks(t, dir, plan, opt)
	if want := map[string]int{"route run": 1, "train run": 1}; !maps.Equal(ran, want) {
		t.Errorf("after a change of one weight %v ran, want %v", ran, want)
	}
}

func TestChangesRepeatOnlyWhatFollows(t *testing.T) {
	dir := t.TempDir()
	texts := problems(330)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts[:100]...)
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), texts[100:200]...)
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[200:280]...)
	plan := `
name: p
input: [{path: data/*.jsonl, source: s}]
stages:
  - quality: {preset: connito, limits: {characters_min: 20}}
    id: first
  - exact_dedup: {}
  - quality: {preset: connito, limits: {characters_min: 30}}
    id: second
  - domain: {reference: ref/*.jsonl, order: 2, keep_reference: 0.9}
  - export: {format: jsonl}
`
	opt := options(dir)
	run(t, dir, plan, opt)
	files := func(stage string, times int) map[string]int {
		return map[string]int{stage + " s:a.jsonl": times, stage + " s:b.jsonl": times}
	}
	merge := func(ms ...map[string]int) map[string]int {
		all := map[string]int{}
		for _, m := range ms {
			for k, v := range m {
				all[k] += v
			}
		}
		return all
	}
	rest := map[string]int{"domain reduce 1 of 1": 2, "export run": 1}
	ran := startedTasks(t, dir, strings.Replace(plan, "0.9}", "0.8}", 1), opt)
	if want := merge(files("domain", 1), map[string]int{"domain reduce 1 of 1": 1, "export run": 1}); !maps.Equal(ran, want) {
		t.Errorf("after a change of keep_reference %v ran, want %v", ran, want)
	}
	ran = startedTasks(t, dir, strings.Replace(plan, "characters_min: 30", "characters_min: 31", 1), opt)
	if want := merge(files("domain", 3), rest); !maps.Equal(ran, want) {
		t.Errorf("after a change of the second quality stage %v ran, want %v", ran, want)
	}
	jsonl(t, filepath.Join(dir, "data", "c.jsonl"), texts[280:]...)
	ran = startedTasks(t, dir, plan, opt)
	want := merge(files("domain", 3), rest, map[string]int{"domain s:c.jsonl": 3,
		"exact_dedup s:c.jsonl": 1, "exact_dedup reduce 1 of 1": 1})
	if !maps.Equal(ran, want) {
		t.Errorf("after one more file %v ran, want %v", ran, want)
	}
}

// TestMoreInputIsAsIfFromTheStart adds a file to a plan whose stages look at the size
// of the whole input, and compares with a run that has had all files from the start.
func TestMoreInputIsAsIfFromTheStart(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), sentences(3, 60, 60)...)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 300, 60)...)
	plan := `
name: p
input: [{path: data/*.jsonl, source: s}]
stages:
  - domain: {reference: ref/*.jsonl, order: 2, keep_fraction: 0.5, general_bytes: 64KiB}
  - export: {format: jsonl}
`
	opt := options(dir)
	run(t, dir, plan, opt)
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), sentences(2, 300, 60)...)
	grown := outTree(t, parse(t, dir, plan), opt)
	opt.Workdir = filepath.Join(dir, "anew")
	sameTree(t, "one file more", grown, outTree(t, parse(t, dir, plan), opt))
}

func TestFieldsAreCarriedByteForByte(t *testing.T) {
	dir := t.TempDir()
	lines := []string{
		`{"id":1.50e+0,"text":"plain","meta":{"a": [1, 2.50,"x\u00e9"] },"n":null,"t":true}`,
		`{"\u0069d":-0,"text":"escapes \u00e9 \/ \ud83d\ude00","big":123456789012345678901234567890}`,
		`{"text":"café","":"empty key","text ":"another"}`,
	}
	chats := []string{
		`{"chat":[{"role":"user","content":"hello","weight":0.5},{"name":"x","role":"assistant","content":"hi"}],"k":[ ]}`,
		`{"chat":[],"k":{ "a" : 1 }}`,
	}
	write(t, filepath.Join(dir, "a.jsonl"), strings.Join(lines, "\n")+"\n")
	write(t, filepath.Join(dir, "b.jsonl"), strings.Join(chats, "\n"))
	write(t, filepath.Join(dir, "c.jsonl"), `{"q":"1+1?","a":2,"text":"old"}`+"\n"+`{"q":"\u0032?","a":2.50}`+"\n")
	plan := `
name: p
input: [{path: a.jsonl}, {path: b.jsonl, messages: chat}, {path: c.jsonl, template: "{{q}} = {{a}}"}]
stages: [{normalize: {}}, {export: {format: jsonl}}]
`
	opt := options(dir)
	run(t, dir, plan, opt)
	want := slices.Clone(lines)
	want = append(want, chats[0][:len(chats[0])-1]+`,"text":"hello\nhi"}`, chats[1][:len(chats[1])-1]+`,"text":""}`,
		`{"q":"1+1?","a":2,"text_original":"old","text":"1+1? = 2"}`, `{"q":"\u0032?","a":2.50,"text":"2? = 2.50"}`)
	slices.Sort(want)
	if got := exportedLines(t, opt); !slices.Equal(got, want) {
		t.Errorf("exported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestEditsKeepTheRestOfMessages edits one content; all else must stay as it came.
func TestEditsKeepTheRestOfMessages(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.jsonl"),
		`{"m":[{"role":"user","content":"a  \r\nb <x>","weight":0.50,"calls":[ {"f":1} ]},{"content":"\u00e9","role":"tool"}],"z":1.0}`+"\n")
	opt := options(dir)
	run(t, dir, "name: p\ninput: [{path: a.jsonl, messages: m}]\nstages: [{normalize: {}}, {export: {format: jsonl}}]\n", opt)
	want := `{"m":[{"role":"user","content":"a\nb <x>","weight":0.50,"calls":[ {"f":1} ]},{"content":"\u00e9","role":"tool"}],"z":1.0,"text":"a\nb <x>\né"}`
	if got := exportedLines(t, opt); len(got) != 1 || got[0] != want {
		t.Errorf("exported\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestLimitSpansTheFilesOfAnEntry(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a", "b", "c"} {
		jsonl(t, filepath.Join(dir, "data", name+".jsonl"), sentences(uint64(i), 10, 10)...)
	}
	jsonl(t, filepath.Join(dir, "other.jsonl"), sentences(9, 10, 10)...)
	plan := "name: p\ninput: [{path: data/*.jsonl, source: s, limit_documents: 15}, {path: other.jsonl, source: b}]\n" +
		"stages: [{export: {format: jsonl}}]\n"
	for _, c := range []struct {
		limit int64
		want  []int64
	}{{0, []int64{10, 10, 5, 0}}, {12, []int64{10, 10, 2, 0}}, {3, []int64{3, 3, 0, 0}}} {
		for _, workers := range []int{1, 4} {
			opt := options(dir)
			opt.Limit, opt.Workers = c.limit, workers
			opt.Workdir = filepath.Join(dir, fmt.Sprint("run", c.limit, workers))
			res := run(t, dir, plan, opt)
			var got []int64
			for _, in := range res.Inputs {
				got = append(got, in.Records)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("limit %d, %d workers: read %v records of %v, want %v", c.limit, workers, got, res.Inputs, c.want)
			}
		}
	}
}

// TestLimitedFileFails lets the first file of a limited entry fail, again and again: the
// files that wait for its count must not go on without it.
func TestLimitedFileFails(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c", "d"} {
		jsonl(t, filepath.Join(dir, "data", name+".jsonl"), sentences(1, 3, 10)...)
	}
	plan := parse(t, dir, "name: p\ninput: [{path: data, limit_documents: 11}]\nstages: [{export: {}}]\n")
	for range 100 {
		opt := inMemory(dir, store.NewCrashFS(), 4)
		opt.Inputs = faultFS{FS: store.OS(), fail: func(op, name string) error {
			if op == "open" && strings.HasSuffix(name, "a.jsonl") {
				return errSentinel
			}
			return nil
		}}
		if _, err := pipeline.Run(context.Background(), plan, opt); !errors.Is(err, errSentinel) {
			t.Fatalf("the run ended with %v", err)
		}
	}
}

// TestRefusalIsRemembered runs into the gate twice: the second run measures nothing.
func TestRefusalIsRemembered(t *testing.T) {
	dir := modelCorpus(t, 120)
	plan := strings.NewReplacer("max_steps: 12", "max_steps: 1", "learning_rate: 0.01", "learning_rate: 1e-12").Replace(modelPlan)
	opt := options(dir)
	is[*pipeline.GateError](t, fails(t, dir, plan, opt, "gate"))
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "start" {
			t.Errorf("%s %s ran again", e.Stage, e.Task)
		}
	}
	is[*pipeline.GateError](t, fails(t, dir, plan, opt, "gate"))
}

// TestCutOffRunIsKnown looks into a work directory whose run was cut off.
func TestCutOffRunIsKnown(t *testing.T) {
	dir := corpus(t, 30)
	fsys := store.NewCrashFS()
	opt := inMemory(dir, fsys, 1)
	done := 0
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "done" {
			if done++; done == 5 {
				fsys.StopAfter(fsys.Ops())
			}
		}
	}
	plan := strings.Replace(smallPlan, "fraction: 0.05", "fraction: 0.2", 1)
	if _, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt); !errors.Is(err, store.ErrCrashed) {
		t.Fatal(err)
	}
	checks, err := pipeline.VerifyRun(fsys.Crash(store.LoseUnsynced), "/disk")
	if err != nil || len(checks) != 5 {
		t.Fatalf("%d tasks were checked, want 5; %v", len(checks), err)
	}
	for _, c := range checks {
		if c.Fault != "" {
			t.Errorf("%s: %s", c.What, c.Fault)
		}
	}
}

func TestDefaultSources(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"data/gsm8k/x.jsonl", "data/openr1/2026-01-01/x.jsonl", "single.jsonl"} {
		jsonl(t, filepath.Join(dir, filepath.FromSlash(name)), "a text")
	}
	plan := "name: p\nvars: {date: 2026-01-01}\ninput: [{path: data/gsm8k/*.jsonl}, {path: \"data/openr1/${date}/*.jsonl\"}, {path: single.jsonl}]\n" +
		"stages: [{export: {format: jsonl}}]\n"
	res := run(t, dir, plan, options(dir))
	var got []string
	for _, in := range res.Inputs {
		got = append(got, in.Source+":"+in.Path)
	}
	if want := []string{"gsm8k:x.jsonl", "openr1:x.jsonl", "single:single.jsonl"}; !slices.Equal(got, want) {
		t.Errorf("the inputs are %v, want %v", got, want)
	}
}

// compressed writes data under name as its ending says.
func compressed(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	err := store.WriteFile(store.OS(), name, func(w io.Writer) error {
		z, err := store.NewCompressor(w, store.CompressionOf(name), store.EffortDefault)
		if err != nil {
			return err
		}
		_, err = z.Write(data)
		return errors.Join(err, z.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// parquetFile writes texts as a Parquet file with one column.
func parquetFile(t *testing.T, name string, texts ...string) {
	t.Helper()
	err := store.WriteFile(store.OS(), name, func(w io.Writer) error {
		pw, err := store.NewParquetWriter(w, []store.Column{{Name: "text", Type: store.TypeString}})
		if err != nil {
			return err
		}
		for _, text := range texts {
			err = cmp.Or(err, pw.Write([]store.Field{{Key: "text", Value: store.AppendQuote(nil, text)}}))
		}
		return errors.Join(err, pw.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFormatsGiveTheSameDocuments(t *testing.T) {
	dir := t.TempDir()
	texts := append(sentences(5, 30, 20), "", "é\x00\u2028 \U0001F600", `"\`)
	jsonl(t, filepath.Join(dir, "f", "a.jsonl"), texts...)
	data, err := os.ReadFile(filepath.Join(dir, "f", "a.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	compressed(t, filepath.Join(dir, "f", "b.jsonl.gz"), data)
	compressed(t, filepath.Join(dir, "f", "c.jsonl.zst"), data)
	parquetFile(t, filepath.Join(dir, "f", "d.parquet"), texts...)
	for _, name := range []string{"a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.parquet"} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, "run-"+name)
		run(t, dir, "name: p\ninput: [{path: f/"+name+", source: s}]\nstages: [{export: {format: jsonl}}]\n", opt)
		if got, want := textsOf(t, exportedLines(t, opt)), slices.Sorted(slices.Values(texts)); !slices.Equal(got, want) {
			t.Errorf("%s: %d texts, want %d, or they differ", name, len(got), len(want))
		}
	}
}

func TestMixAccounts(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "a.jsonl"), sentences(1, 40, 10)...)
	jsonl(t, filepath.Join(dir, "b.jsonl"), sentences(2, 200, 10)...)
	jsonl(t, filepath.Join(dir, "c.jsonl"), sentences(3, 20, 10)...)
	plan := `
name: p
seed: 5
input: [{path: a.jsonl}, {path: b.jsonl}, {path: c.jsonl}]
stages:
  - mix: {weights: {a: 3, b: 1}, unit: documents, repeat_max: 2.5}
    id: once
  - mix: {weights: {a: 1, b: 1}, unit: documents, repeat_max: 3}
    id: again
  - export: {format: jsonl}
`
	opt := options(dir)
	res := run(t, dir, plan, opt)
	// a is scarcest for its weight: all of it 2.5 times, 100 in all; b gets a third of that.
	copies := func(stage string, times map[string]float64, source string, record uint64) int {
		m := times[source]
		n := int(m)
		if float64(pipeline.HashID(5, stage+"/sample", source, source+".jsonl", record))/(1<<64) < m-math.Floor(m) {
			n++
		}
		return n
	}
	first := map[string]float64{"a": 2.5, "b": 100.0 / 3 / 200}
	have := map[string]float64{}
	var kept, extra, total int64
	for source, n := range map[string]uint64{"a": 40, "b": 200} {
		for i := range n {
			c := copies("once", first, source, i)
			have[source] += float64(c)
			if c > 0 {
				kept, extra = kept+1, extra+int64(c-1)
			}
		}
	}
	if l := ledger(t, res, "once"); l.Kept != kept || l.Extra != extra || l.Dropped["no_weight"] != 20 || l.Dropped["not_sampled"] != 240-kept {
		t.Errorf("mix kept %d, extra %d, dropped %v; want %d, %d", l.Kept, l.Extra, l.Dropped, kept, extra)
	}
	least := min(have["a"], have["b"]) * 3 / 0.5
	second := map[string]float64{"a": least * 0.5 / have["a"], "b": least * 0.5 / have["b"]}
	kept, extra = 0, 0
	for source, n := range map[string]uint64{"a": 40, "b": 200} {
		for i := range n {
			once, again := copies("once", first, source, i), copies("again", second, source, i)
			if total += int64(once * again); once*again > 0 {
				kept, extra = kept+1, extra+int64(once*(again-1))
			}
		}
	}
	if n := len(exportedLines(t, opt)); int64(n) != total {
		t.Errorf("%d documents were exported, want %d", n, total)
	}
	if l := ledger(t, res, "again"); l.Kept != kept || l.Extra != extra || l.In-l.Kept != l.Dropped["not_sampled"] {
		t.Errorf("the second mix kept %d, extra %d, dropped %v; want %d, %d", l.Kept, l.Extra, l.Dropped, kept, extra)
	}
}
