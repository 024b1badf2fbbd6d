package stages_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// outNames are the names under out/.
func outNames(t *testing.T, opt pipeline.Options) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(opt.Workdir, "out"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(opt.Workdir, "out", e.Name())); err != nil {
			t.Errorf("out/%s leads nowhere", e.Name())
		}
		names = append(names, e.Name())
	}
	return names
}

func TestTwoStagesOfOneOutput(t *testing.T) {
	dir := corpus(t, 20)
	for steps, parts := range map[string][]string{
		"[{export: {}}, {normalize: {}}, {export: {format: jsonl}}]":                    {"export-1", "export-2", "out/data"},
		"[{export: {to: out/tokens}}, {tokenize: {sequence_length: 32}}]":               {"export", "tokenize", "out/tokens"},
		"[{export: {to: out/a}}, {export: {to: out/a, format: jsonl}, id: second}]":     {"export-1", "second", "out/a"},
		"[{tokenize: {sequence_length: 32}}, {tokenize: {sequence_length: 64}, id: b}]": {"tokenize-1", "b", "out/tokens"},
		"[{route: {}}, {export: {to: out/routing}}]":                                    {"route", "export", "out/routing"},
	} {
		plan := "name: p\nmax_reject_fraction: 0.1\nnetwork: {base: {model: base}}\ninput: [{path: data/*.jsonl, source: s}]\nstages: " + steps + "\n"
		tinyBase(t, filepath.Join(dir, "base"), problems(40))
		opt := options(dir)
		is[*pipeline.UsageError](t, fails(t, dir, plan, opt, append(parts, "plan.yaml:5", "both write")...))
		if _, err := pipeline.Outlook(parse(t, dir, plan), opt); err == nil || !strings.Contains(err.Error(), parts[2]) {
			t.Errorf("check says %v", err)
		}
		if _, err := os.Stat(opt.Workdir); err == nil {
			t.Error("the mistaken plan has made a work directory")
		}
	}
}

// TestDecontaminateStandsBeforeWhatTakesDocuments is about plans, also implied ones, in
// which documents that overlap with held-out text have left before they are looked for.
func TestDecontaminateStandsBeforeWhatTakesDocuments(t *testing.T) {
	plan := func(held, steps string) (*pipeline.Plan, error) {
		src := "name: p\nnetwork: {base: {model: base}}\ninput: [{path: data}]\n" + held + "stages: [" + steps + "]\n"
		return pipeline.ParsePlan("plan.yaml", []byte(src), stages.All(), pipeline.ParseOptions{Complete: stages.Complete})
	}
	const held = "held_out: {fraction: 0.1}\n"
	for _, taker := range []string{"export: {}", "tokenize: {}", "route: {}"} {
		_, err := plan(held, "{normalize: {}}, {"+taker+"}, {decontaminate: {}}")
		var mistakes pipeline.Diags
		name, _, _ := strings.Cut(taker, ":")
		if !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Line != 5 ||
			!strings.Contains(mistakes[0].Msg, "behind "+name) || mistakes[0].Path != "stages[2].decontaminate" {
			t.Errorf("%s before decontaminate: %v", taker, err)
		}
		if _, err := plan("", "{"+taker+"}, {decontaminate: {}}"); err != nil {
			t.Errorf("%s before decontaminate in a plan that holds nothing out: %v", taker, err)
		}
		if _, err := plan(held, "{decontaminate: {}}, {"+taker+"}, {decontaminate: {}, id: again}"); err != nil {
			t.Errorf("%s between two of decontaminate: %v", taker, err)
		}
	}
	for steps, want := range map[string]string{
		"{normalize: {}}, {exact_dedup: {}}, {export: {}}":               "normalize exact_dedup decontaminate export",
		"{exact_dedup: {}}, {export: {}}, {minhash: {}}, {tokenize: {}}": "exact_dedup decontaminate export minhash tokenize",
		"{normalize: {}}, {export: {}}, {minhash: {}}, {tokenize: {}}":   "normalize decontaminate export minhash tokenize",
		"{export: {}}, {exact_dedup: {}}, {tokenize: {}}":                "decontaminate export exact_dedup tokenize",
		"{normalize: {}}, {export: {}}":                                  "decontaminate normalize export",
		"{exact_dedup: {}}, {minhash: {}}, {mix: {weights: {data: 1}}}":  "exact_dedup minhash decontaminate mix",
	} {
		p, err := plan(held, steps)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.Stages {
			got = append(got, s.Kind.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s becomes %s, want %s", steps, got, want)
		}
	}
}

// TestNothingOldBesideARefusal runs into a check of the data, and into the gate, after runs
// of other plans that had passed: their outputs must not look like this plan's.
func TestNothingOldBesideARefusal(t *testing.T) {
	dir := corpus(t, 60)
	opt := options(dir)
	run(t, dir, smallPlan, opt)
	none := strings.Replace(smallPlan, "preset: connito", "preset: connito, limits: {characters_min: 99999}", 1)
	is[*pipeline.DataError](t, fails(t, dir, none, opt, "no document is left"))
	if names := outNames(t, opt); len(names) > 0 {
		t.Errorf("beside a run that kept nothing there is %v", names)
	}
	write(t, filepath.Join(opt.Workdir, "out", "mine.txt"), "mine")
	run(t, dir, smallPlan, opt)
	is[*pipeline.DataError](t, fails(t, dir, none, opt))
	if names := outNames(t, opt); !slices.Equal(names, []string{"mine.txt"}) {
		t.Errorf("beside a run that kept nothing there is %v", names)
	}

	dir = modelCorpus(t, 120)
	opt = options(dir)
	good := strings.Replace(modelPlan, "documents_min: 8", "documents_min: 8, confidence: 0.5", 1)
	run(t, dir, good, opt)
	all := []string{"bundle", "data", "routing", "score.json", "tokens", "update"}
	if names := outNames(t, opt); !slices.Equal(names, all) {
		t.Fatalf("a run that passed the gate has %v under out/", names)
	}
	before, err := os.ReadFile(filepath.Join(opt.Workdir, "out", "score.json"))
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.NewReplacer("max_steps: 12", "max_steps: 1", "learning_rate: 0.01", "learning_rate: 1e-12").Replace(good)
	for range 2 { // also when the refusal is remembered
		is[*pipeline.GateError](t, fails(t, dir, bad, opt))
		if names := outNames(t, opt); !slices.Equal(names, all[1:]) {
			t.Errorf("beside a refused update there is %v, want %v", names, all[1:])
		}
		after, err := os.ReadFile(filepath.Join(opt.Workdir, "out", "score.json"))
		if err != nil || string(after) == string(before) {
			t.Errorf("the score under out/ is not that of the refused update: %v", err)
		}
	}
}

// refuser is a stage that refuses, having written one of its two outputs.
type refuser struct{}

func refuserKind() pipeline.Kind {
	return pipeline.Spec[refuser]{
		Name: "refuser", Version: 1, Summary: "Refuses.", Example: "refuser: {}", Takes: []pipeline.Data{pipeline.Documents},
		New: func(refuser) (pipeline.Program, error) {
			return pipeline.Program{
				Links: []pipeline.Link{{Name: "out/why.txt", From: "why.txt"}, {Name: "out/made", From: "made"}},
				Run: func(_ context.Context, t *pipeline.Task) error {
					t.Report.Refused = "it refuses"
					return t.WriteFile("why.txt", func(w io.Writer) error { _, err := io.WriteString(w, "so"); return err })
				},
			}, nil
		},
	}.Kind()
}

func TestRefusedTaskLinksWhatItWrote(t *testing.T) {
	dir := corpus(t, 20)
	reg := pipeline.NewRegistry(append(stages.All().Kinds(), refuserKind())...)
	src := "name: p\nmax_reject_fraction: 0.1\ninput: [{path: data/*.jsonl, source: s}]\nstages: [{export: {}}, {refuser: {}}]\n"
	plan, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(src), reg, pipeline.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	opt := options(dir)
	for range 2 {
		_, err := pipeline.Run(context.Background(), plan, opt)
		is[*pipeline.GateError](t, err)
		if names := outNames(t, opt); !slices.Equal(names, []string{"data", "why.txt"}) {
			t.Errorf("under out/ there is %v", names)
		}
	}
}

// TestFoldersAreToldApart runs one plan on two folders with files of one name, size and
// time, as `cp -p` and archives make them.
func TestFoldersAreToldApart(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1_700_000_000, 0)
	want := map[string][]string{}
	for i, day := range []string{"monday", "tuesday"} {
		name := filepath.Join(dir, "days", day, "a.jsonl")
		want[day] = jsonl(t, name, sentences(uint64(i), 1, 1)[0][:2]+day[:6], "second")
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	opt := options(dir)
	for _, day := range []string{"monday", "tuesday", "monday"} {
		plan := "name: p\ninput: [{path: days/" + day + "/*.jsonl, source: s}]\nstages: [{export: {format: jsonl}}]\n"
		run(t, dir, plan, opt)
		got := textsOf(t, exportedLines(t, opt))
		if w := slices.Sorted(slices.Values(want[day])); !slices.Equal(got, w) {
			t.Errorf("of %s the documents are %q, want %q", day, got, w)
		}
		err := filepath.WalkDir(filepath.Join(opt.Workdir, "out"), func(name string, d fs.DirEntry, err error) error {
			if data, readErr := os.ReadFile(name); readErr == nil && strings.Contains(string(data), "days") {
				t.Errorf("%s names the folder of its input", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTouchedInputRepeatsNothing gives input files another time, then one of them another
// content of the same size.
func TestTouchedInputRepeatsNothing(t *testing.T) {
	dir := t.TempDir()
	texts := sentences(3, 40, 20)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts[:10]...)
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), texts[10:20]...)
	compressed(t, filepath.Join(dir, "data", "c.jsonl.gz"), []byte("{\"text\":\"packed\"}\n"))
	parquetFile(t, filepath.Join(dir, "data", "d.parquet"), texts[20:30]...)
	jsonl(t, filepath.Join(dir, "exam.jsonl"), texts[30:]...)
	plan := "name: p\ninput: [{path: data, source: s}]\nheld_out: [{path: exam.jsonl}]\n" +
		"stages: [{exact_dedup: {}}, {export: {format: jsonl}}]\n"
	opt := options(dir)
	var hashed atomic.Int64 // files are opened by several workers
	opt.Inputs = faultFS{FS: store.OS(), fail: func(op, name string) error {
		if op == "open" {
			hashed.Add(1)
		}
		return nil
	}}
	want := outTree(t, parse(t, dir, plan), opt)
	touch := func(by time.Duration) {
		for _, name := range []string{"data/a.jsonl", "data/b.jsonl", "data/c.jsonl.gz", "data/d.parquet", "exam.jsonl"} {
			at := time.Now().Add(by)
			if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 3 {
		touch(time.Duration(i-1) * time.Hour)
		for again := range 2 {
			hashed.Store(0)
			if ran := startedTasks(t, dir, plan, opt); len(ran) > 0 {
				t.Errorf("after touching the input %v ran", ran)
			}
			if want := []int64{5, 0}[again]; hashed.Load() != want {
				t.Errorf("run %d after touching: %d files were opened, want %d", again, hashed.Load(), want)
			}
		}
	}
	sameTree(t, "touched", outTree(t, parse(t, dir, plan), opt), want)
	edited := strings.Replace(plan, "{exact_dedup: {}}", "{exact_dedup: {keep: longest}}", 1)
	run(t, dir, edited, opt) // reads touched files under their earlier identity

	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), append([]string{strings.ToUpper(texts[10])}, texts[11:20]...)...)
	ran := startedTasks(t, dir, plan, opt)
	if ran["exact_dedup s:b.jsonl"] != 1 || ran["exact_dedup s:a.jsonl"] != 0 {
		t.Errorf("after a change of one file that keeps its size %v ran", ran)
	}
	if got := textsOf(t, exportedLines(t, opt)); !slices.Contains(got, strings.ToUpper(texts[10])) || slices.Contains(got, texts[10]) {
		t.Error("the changed text is not what was exported")
	}
}

func TestInputCountsTextBytes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.jsonl"), `{"text":"\u00e9ab","more":"of no account"}`+"\n"+`{"text":`+"\n"+`{"text":5}`+"\n")
	res := run(t, dir, "name: p\nmax_reject_fraction: 1\ninput: [{path: a.jsonl}]\nstages: [{normalize: {}}, {export: {}}]\n", options(dir))
	in, next := ledger(t, res, "input"), ledger(t, res, "normalize")
	if in.BytesIn != 4 || in.BytesOut != 4 || next.BytesIn != 4 || in.Rejected != 2 {
		t.Errorf("the input has %d bytes of text in, %d out; the stage behind it %d; want 4", in.BytesIn, in.BytesOut, next.BytesIn)
	}
}

// TestRowsLeftOutOfTheExamAreTold looks for held-out documents that are no part of the exam
// in the drop log and by why: of a share of the input, and of files of their own.
func TestRowsLeftOutOfTheExamAreTold(t *testing.T) {
	dir := t.TempDir()
	texts := append(sentences(4, 30, 20), "a", "b", "c d")
	jsonl(t, filepath.Join(dir, "in.jsonl"), texts...)
	jsonl(t, filepath.Join(dir, "rest.jsonl"), sentences(5, 10, 20)...)
	jsonl(t, filepath.Join(dir, "exam.jsonl"), append(texts, texts[3], texts[31])...)
	rules := pipeline.HeldOutRules{Name: "short", New: func() func(string) string {
		return func(text string) string {
			if len(text) < 4 {
				return "too_short"
			}
			return ""
		}
	}}
	for _, c := range []struct {
		held, file string
		want       map[string]string // reasons by row
		texts      []string
	}{
		{"{documents_max: 1000, sources: [in]}", "in.jsonl", map[string]string{"30": "too_short", "31": "too_short", "32": "too_short"}, texts},
		{"[{path: exam.jsonl}]", "exam.jsonl", map[string]string{"30": "too_short", "31": "too_short", "32": "too_short",
			"33": "copy", "34": "copy"}, append(texts, texts[3], texts[31])},
	} {
		opt := options(dir)
		opt.Workdir, opt.HeldOutRules = filepath.Join(dir, "run-"+c.file), rules
		plan := "name: p\nkeep_dropped: true\ninput: [{path: in.jsonl}, {path: rest.jsonl}]\nheld_out: " + c.held +
			"\nstages: [{normalize: {}}]\n"
		res := run(t, dir, plan, opt)
		got := leftOut(t, opt, c.file, c.texts)
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: the drop log has %v, want %v", c.held, got, c.want)
		}
		if l := ledger(t, res, "held_out_set"); l.DroppedSum() != int64(len(got)) || len(l.Examples) == 0 {
			t.Errorf("%s: the ledger has %v, %d examples", c.held, l.Dropped, len(l.Examples))
		}
		source := strings.TrimSuffix(c.file, ".jsonl")
		for row, reason := range map[uint64]string{0: "", 30: "too_short", 33: c.want["33"]} {
			fates, _, err := pipeline.Why(context.Background(), opt.FS, opt.Workdir, func(d *pipeline.Doc) bool {
				return d.Path == c.file && d.Ref.Record == row
			})
			if row == 33 && reason == "" {
				continue
			}
			if err != nil || len(fates) != 1 || fates[0].Outcome != "held out" || fates[0].Reason != reason ||
				fates[0].Name != fmt.Sprintf("%s:%s:%d", source, c.file, row) || fates[0].Text != c.texts[row] {
				t.Errorf("%s: why says about row %d: %+v, %v", c.held, row, fates, err)
			}
		}
	}
}

// leftOut are the reasons that the drop log gives for held-out documents, by row.
func leftOut(t *testing.T, opt pipeline.Options, file string, texts []string) map[string]string {
	t.Helper()
	got := map[string]string{}
	eachGathered(t, opt.FS, filepath.Join(opt.Workdir, pipeline.DropsName), func(f map[string]string) {
		if f["stage"] != "held_out_set" {
			return
		}
		got[f["row"]] = f["reason"]
		row, err := strconv.Atoi(f["row"])
		if err != nil || f["file"] != file || f["text"] != texts[row] {
			t.Errorf("a row of the drop log is %v", f)
		}
		if copies := f["reason"] == "copy"; copies != (f["matched"] != "") {
			t.Errorf("%v names another document", f)
		}
	})
	return got
}

// TestDocumentTasksTellTheirProgress follows the events of passes and of reduce tasks.
func TestDocumentTasksTellTheirProgress(t *testing.T) {
	dir := t.TempDir()
	texts := sentences(6, 3000, 30)
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts[:2000]...)
	parquetFile(t, filepath.Join(dir, "data", "b.parquet"), texts[2000:]...)
	bytes := 0.0
	for _, name := range []string{"a.jsonl", "b.parquet"} {
		info, err := os.Stat(filepath.Join(dir, "data", name))
		if err != nil {
			t.Fatal(err)
		}
		bytes += float64(info.Size())
	}
	told := map[string]int{}
	opt := options(dir)
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind != "progress" {
			return
		}
		told[e.Stage+" "+e.Unit]++
		if want := map[string]float64{"bytes": bytes, "parts": 1}[e.Unit]; want > 0 && (e.Total != want || e.Done < 0 || e.Done > want) {
			t.Errorf("%s: %g of %g %s, want of %g", e.Stage, e.Done, e.Total, e.Unit, want)
		}
	}
	plan := "name: p\ninput: [{path: data, source: s}]\nstages: [{exact_dedup: {}}, {minhash: {}}, {mix: {weights: {s: 1}}}, {export: {}}]\n"
	run(t, dir, plan, opt)
	for _, want := range []string{"exact_dedup bytes", "exact_dedup parts", "minhash bytes", "minhash parts", "mix bytes", "mix parts"} {
		if told[want] == 0 {
			t.Errorf("nothing was told of %s; told were %v", want, told)
		}
	}
	jsonl(t, filepath.Join(dir, "data", "c.jsonl"), "one more")
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "progress" && e.Stage == "exact_dedup" && e.Unit == "bytes" && e.Total != 20 {
			t.Errorf("with one more file of 20 bytes, %g of %g bytes are told", e.Done, e.Total)
		}
	}
	opt.Workers = 1
	run(t, dir, plan, opt)
}
