package stages_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/stages/quality"

	"github.com/parquet-go/parquet-go"
)

// nastyTexts are texts that break careless code. The copies are dropped by some stages.
func nastyTexts() []string {
	long := strings.Repeat("many words make a long text and none of them is rare ", 2000)
	texts := []string{
		"", " ", "\t\n \r\n", "\x00", "a\x00b\x00", "\ufffd\ufffd and more", "\ufeffstarts with a mark",
		"!!! ??? ... --- ,,,", "???", "…", "\u200b\u200b", strings.Repeat("x", 200_000), strings.Repeat("é", 50_000),
		strings.Repeat("漢字", 3000), "これは日本語の文章です。句読点もあります。", "한국어 문장입니다.", "ภาษาไทยไม่มีช่องว่าง",
		"\u202eright to left\u202c", "שלום עולם", "مرحبا بالعالم ١٢٣", "\u2066isolate\u2069 e\u0301 \u1112\u1161\u11ab",
		"👨‍👩‍👧‍👦 🇩🇪 👍🏽", "line\u2028separator\u2029here\u0085", "a\rb\r\nc\n\n\n\n\nd", "</script>\"\\'{{text}}${x}",
		strings.Repeat("a ", 20_000), strings.Repeat("\n", 5000), long, long + "with an end", "NaN", "null", "-0",
		"\U0010ffff\U0001f600", "\ue000 private", strings.Repeat("word\u0301 ", 500),
	}
	texts = append(texts, problems(40)...)
	return append(texts, texts[3], texts[7], texts[40], texts[45], long)
}

type nastyRow struct {
	ID   int64  `parquet:"id"`
	Text string `parquet:"text"`
}

// nasty writes the corpus and what the stages need beside it, and returns its folder.
func nasty(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	for i, text := range nastyTexts() {
		fmt.Fprintf(&b, "{\"id\":%d,\"text\":%s,\"k\":[1.0, \"\\u00e9\"]}\n", i, store.AppendQuote(nil, text))
	}
	whole := b.String()
	for _, bad := range []string{"", "{", `{"text":"cut`, `{"id":1}`, `{"text":5}`, `{"text":null}`, `[1]`, `{"text":"a","text":"b"}`,
		"{\"text\":\"\xff\xfe\"}", `{"text":"\ud800"}`, "\x00\x00"} {
		b.WriteString(bad + "\n")
	}
	write(t, filepath.Join(dir, "a", "a.jsonl"), b.String())
	write(t, filepath.Join(dir, "a", "empty.jsonl"), "")
	compressed(t, filepath.Join(dir, "b", "b.jsonl.gz"), []byte(whole))
	compressed(t, filepath.Join(dir, "b", "none.jsonl.zst"), nil)
	rows := []nastyRow{{0, "bytes \xff\xfe\x80 that are no text"}, {1, "\xed\xa0\x80"}, {2, "fine"}, {3, ""}}
	if err := parquet.WriteFile(filepath.Join(dir, "b", "c.parquet"), rows); err != nil {
		t.Fatal(err)
	}
	if err := parquet.WriteFile(filepath.Join(dir, "b", "empty.parquet"), []nastyRow{}); err != nil {
		t.Fatal(err)
	}
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), problems(120)[60:]...)
	tinyBase(t, filepath.Join(dir, "base"), problems(60))
	write(t, filepath.Join(dir, "words.txt"), "7\n")
	writeMirror(t, dir)
	write(t, filepath.Join(dir, "mix.yaml"), rowsProfile)
	return dir
}

// subjects are the steps that a plan of each kind's test ends with.
var subjects = map[string]string{
	"normalize":      "normalize: {}",
	"quality":        "quality: {preset: connito, limits: {characters_min: 20}}",
	"exact_dedup":    "exact_dedup: {compare: words, keep: longest}",
	"minhash":        "minhash: {keep: longest}",
	"decontaminate":  "decontaminate: {ngram_words: 5}",
	"span_dedup":     "span_dedup: {unit: sentences, sentences: 2, compare: words, document_words_min: 4}",
	"domain":         "domain: {reference: ref/*.jsonl, order: 2, keep_fraction: 0.7}",
	"mix":            "mix: {weights: {a: 1, b: 2}, repeat_max: 2}",
	"exec":           "exec: " + ownProgram("edit"),
	"url_filter":     "url_filter: {field: id, hard_words: words.txt, missing: keep}",
	"pii":            "pii: {replace: [email, ipv4, ipv6, phone, credit_card, iban]}",
	"export":         "export: {format: parquet}",
	"route":          "route: {sample_tokens: 500, sequence_length: 32, p: 0.5}",
	"keep_for_group": "keep_for_group: {document_tokens_max: 32, keep_fraction: 0.6}",
	"tokenize":       "tokenize: {sequence_length: 32}",
	"train": "train: {max_steps: 12, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, " +
		"warmup_steps: 1, eval_steps: 4, checkpoint_steps: 3, dtype: F32}",
	"validator_rows": "validator_rows: {}",
	"proof_of_loss":  "proof_of_loss: {documents_min: 8, confidence: 0.5}",
	"bundle":         "bundle: {}",
}

// kindOf finds a kind by name.
func kindOf(name string) pipeline.Kind {
	k, _ := stages.All().Lookup(name)
	return k
}

// subjectPlan is a plan around a kind: document stages are exported, and the stages of
// models stand behind those that they need.
func subjectPlan(kind string) string {
	before := map[string][]string{
		"keep_for_group": {"route"},
		"train":          {"route", "tokenize"},
		"proof_of_loss":  {"route", "tokenize", "train"},
		"bundle":         {"route", "tokenize", "train", "proof_of_loss"},
	}
	steps := append(slices.Clone(before[kind]), kind)
	evaluate := ""
	if kind == "validator_rows" {
		evaluate = "evaluate: {sources_from: config.yaml, mirror: mirror, rows: 20, seeds: 2}\n"
	}
	if slices.Contains(kindOf(kind).Makes, pipeline.Documents) || evaluate != "" {
		steps = append(steps, "")
	}
	plan := "name: p\nseed: 11\nkeep_dropped: true\nmax_reject_fraction: 0.9\nnetwork: {base: {model: base}}\n" +
		"input: [{path: a}, {path: b}]\nheld_out: {fraction: 0.2}\n" + evaluate + "stages:\n"
	if evaluate != "" {
		plan = strings.Replace(plan, "network: {", "network: {profile: mix.yaml, ", 1)
	}
	for _, s := range steps {
		if s == "" {
			plan += "  - export: {format: jsonl}\n"
			continue
		}
		plan += "  - " + subjects[s] + "\n"
	}
	return plan
}

// inMemory are the options of a run whose work directory is in memory.
func inMemory(dir string, fsys store.FS, workers int) pipeline.Options {
	opt := options(dir)
	opt.FS, opt.Workdir, opt.Workers = fsys, "/disk", workers
	return opt
}

// elsewhere are the kinds that need more than files, and the tests that try them.
var elsewhere = map[string]string{
	"publish": "TestExportToObjects of cmd/internal/cli: it needs an object store",
	"tokens":  "TestInputTokens: it needs what tokenize has made",
}

// eachKind runs a test for every kind of stage but those of elsewhere.
func eachKind(t *testing.T, test func(t *testing.T, dir, kind string)) {
	t.Helper()
	dir := nasty(t)
	for _, k := range stages.All().Kinds() {
		if elsewhere[k.Name] == "" {
			t.Run(k.Name, func(t *testing.T) { test(t, dir, k.Name) })
		}
	}
}

func TestKindsAreDocumented(t *testing.T) {
	reg := stages.All()
	for _, k := range reg.Kinds() {
		if k.Summary == "" || k.Doc == "" || !strings.HasSuffix(k.Summary, ".") {
			t.Errorf("%s has no summary sentence or no documentation", k.Name)
		}
		if _, err := reg.ParseExample(k); err != nil {
			t.Errorf("%s: the example does not decode: %v", k.Name, err)
		}
		if elsewhere[k.Name] == "" && !strings.HasPrefix(subjects[k.Name], k.Name+":") {
			t.Errorf("%s has no step in subjects, so that nothing below tests it", k.Name)
		}
	}
}

// tolerated lets a gate that refuses pass: that is a finding, not a failure.
func tolerated(err error) error {
	var gate *pipeline.GateError
	if errors.As(err, &gate) {
		return nil
	}
	return err
}

// TestOneOutcome checks that every record of the corpus ends in exactly one way.
func TestOneOutcome(t *testing.T) {
	eachKind(t, func(t *testing.T, dir, kind string) {
		fsys := store.NewCrashFS()
		res, err := pipeline.Run(context.Background(), parse(t, dir, subjectPlan(kind)), inMemory(dir, fsys, 2))
		if tolerated(err) != nil {
			t.Fatal(err)
		}
		in := ledger(t, res, "input")
		outcome := map[string]string{}
		end := func(file, row, how string) {
			if before := outcome[file+":"+row]; before != "" {
				t.Errorf("%s:%s ended as %s and as %s", file, row, before, how)
			}
			outcome[file+":"+row] = how
		}
		eachGathered(t, fsys, "/disk/"+pipeline.RejectsName, func(f map[string]string) { end(f["file"], f["row"], "rejected") })
		eachGathered(t, fsys, "/disk/"+pipeline.DropsName, func(f map[string]string) {
			end(f["file"], f["row"], f["stage"]+" "+f["reason"])
		})
		ended := int64(len(outcome)) + ledger(t, res, "held_out").HeldOut
		kept := in.In - ended
		for _, s := range res.Stages {
			if s.Ledger == nil {
				continue
			}
			if err := s.Ledger.Check(); err != nil {
				t.Error(err)
			}
			if s.Label == kind && s.Ledger.Kept != kept {
				t.Errorf("%s kept %d documents, but %d of %d have not ended before", kind, s.Ledger.Kept, kept, in.In)
			}
		}
		if lines := int64(2*len(nastyTexts()) + 10 + 4); in.In != lines {
			t.Errorf("%d records were counted, want %d", in.In, lines)
		}
	})
}

// eachGathered reads a file of records, their values as they stand, texts without quotes.
func eachGathered(t *testing.T, fsys store.FS, name string, visit func(fields map[string]string)) {
	t.Helper()
	err := store.ReadRows(fsys, name, store.RowOptions{}, func(row *store.Row) error {
		fields := map[string]string{}
		for _, f := range row.Fields {
			text, err := store.Unquote(nil, f.Value)
			if err != nil {
				text = f.Value
			}
			fields[f.Key] = string(text)
		}
		visit(fields)
		return row.Bad
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stagesTree describes all that tasks have committed.
func stagesTree(t *testing.T, fsys store.FS) map[string]string {
	t.Helper()
	tree, err := store.Tree(fsys, "/disk/stages")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestSameBytes compares every file of every task of two runs.
func TestSameBytes(t *testing.T) {
	eachKind(t, func(t *testing.T, dir, kind string) {
		var trees [2]map[string]string
		for i, workers := range []int{1, 3} {
			fsys := store.NewCrashFS()
			if _, err := pipeline.Run(context.Background(), parse(t, dir, subjectPlan(kind)), inMemory(dir, fsys, workers)); tolerated(err) != nil {
				t.Fatal(err)
			}
			trees[i] = stagesTree(t, fsys)
		}
		sameTree(t, "two runs", trees[1], trees[0])
	})
}

var errSentinel = errors.New("the disk says no")

// TestReadErrors lets reading of the input and of the other files fail.
func TestReadErrors(t *testing.T) {
	eachKind(t, func(t *testing.T, dir, kind string) {
		for _, part := range []string{"a.jsonl", "c.parquet", "b.jsonl.gz"} {
			opt := inMemory(dir, store.NewCrashFS(), 2)
			opt.Inputs = faultFS{FS: store.OS(), readLimit: 300, fail: func(op, name string) error {
				if op == "read" && filepath.Base(name) == part {
					return errSentinel
				}
				return nil
			}}
			_, err := pipeline.Run(context.Background(), parse(t, dir, subjectPlan(kind)), opt)
			if !errors.Is(err, errSentinel) || !strings.Contains(err.Error(), part) {
				t.Errorf("reading %s failed, and the run ended with %v", part, err)
			}
		}
	})
}

// TestCancelled cancels at the start of the kind's first task, then amid it, then after
// each of its tasks in turn, until a run comes to its end.
func TestCancelled(t *testing.T) {
	eachKind(t, func(t *testing.T, dir, kind string) {
		want := healthyRun(t, dir, kind, store.NewCrashFS())
		fsys := store.NewCrashFS()
		rounds := 0
		for ; ; rounds++ {
			ctx, cancel := context.WithCancel(context.Background())
			opt := inMemory(dir, fsys, 2)
			opt.OnEvent = func(e pipeline.Event) {
				if e.Stage == kind && e.Kind == []string{"start", "progress", "done"}[min(rounds, 2)] {
					cancel()
				}
			}
			_, err := pipeline.Run(ctx, parse(t, dir, subjectPlan(kind)), opt)
			cancel()
			if tolerated(err) == nil && rounds >= 2 {
				break
			}
			if tolerated(err) == nil && rounds == 1 {
				continue // no task of the kind tells its progress
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("the cancelled run ended with %v", err)
			}
			if rest := leftovers(t, fsys, "/disk"); len(rest) > 0 {
				t.Fatalf("the cancelled run left %v", rest)
			}
			if rounds > 60 {
				t.Fatal("no run comes to its end")
			}
		}
		sameTree(t, fmt.Sprintf("after %d cancelled runs", rounds), stagesTree(t, fsys), want)
	})
}

// TestWriteErrors lets writing fail, on a full disk and otherwise, and runs again on a
// disk that is well.
func TestWriteErrors(t *testing.T) {
	eachKind(t, func(t *testing.T, dir, kind string) {
		healthy := store.NewCrashFS()
		want := healthyRun(t, dir, kind, healthy)
		bytes, ops := int64(0), map[string]int{}
		for _, line := range healthy.Log() {
			parts := strings.Fields(line)
			ops[parts[0]]++
			if parts[0] == "write" {
				n, err := strconv.ParseInt(parts[len(parts)-1], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				bytes += n
			}
		}
		disk := store.NewCrashFS()
		for _, room := range []int64{0, bytes / 50, bytes / 3} {
			disk.FailWrites(room, syscall.ENOSPC)
			failingRun(t, dir, kind, fmt.Sprintf("%d of %d bytes are left", room, bytes), disk, disk, syscall.ENOSPC)
			disk.FailWrites(0, nil)
		}
		names := []string{"sync", "rename", "syncdir", "create"}
		for _, op := range names {
			failingRun(t, dir, kind, op+" fails", disk, failFrom(disk, op, 1), errSentinel)
		}
		sameTree(t, "after failed runs", healthyRun(t, dir, kind, disk), want)

		disk, op := store.NewCrashFS(), names[len(kind)%4]
		failingRun(t, dir, kind, op+" fails half way", disk, failFrom(disk, op, ops[op]/2), errSentinel)
		sameTree(t, "after half a run", healthyRun(t, dir, kind, disk), want)
	})
}

// failFrom lets the operations of a kind fail, from the nth on.
func failFrom(fsys store.FS, op string, nth int) faultFS {
	var did atomic.Int64
	return faultFS{FS: fsys, fail: func(now, _ string) error {
		if now == op && did.Add(1) >= int64(nth) {
			return errSentinel
		}
		return nil
	}}
}

// failingRun runs a kind's plan on a disk as use shows it, which must end with want and
// leave nothing half-made.
func failingRun(t *testing.T, dir, kind, what string, disk *store.CrashFS, use store.FS, want error) {
	t.Helper()
	_, err := pipeline.Run(context.Background(), parse(t, dir, subjectPlan(kind)), inMemory(dir, use, 2))
	if !errors.Is(err, want) {
		t.Errorf("%s: the run ended with %v", what, err)
	}
	if rest := leftovers(t, disk, "/"); len(rest) > 0 {
		t.Errorf("%s: the run left %v", what, rest)
	}
}

// healthyRun runs a kind's plan on a disk that is well and returns what it committed.
func healthyRun(t *testing.T, dir, kind string, disk *store.CrashFS) map[string]string {
	t.Helper()
	_, err := pipeline.Run(context.Background(), parse(t, dir, subjectPlan(kind)), inMemory(dir, disk, 2))
	if tolerated(err) != nil {
		t.Fatal(err)
	}
	return stagesTree(t, disk)
}

// everyMeasurement is a condition that measures all there is and is never true.
func everyMeasurement() string {
	var parts []string
	for _, name := range quality.MeasurementNames() {
		parts = append(parts, name+" < 0")
	}
	return strings.Join(parts, " or ")
}

// TestHugeDocument takes one document of 50 MB through every document stage.
func TestHugeDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("50 MB through every stage")
	}
	dir := t.TempDir()
	texts := problems(160)
	huge := strings.Repeat(strings.Join(texts, "\n"), 50<<20/len(strings.Join(texts, "\n"))+1)[:50<<20]
	jsonl(t, filepath.Join(dir, "a.jsonl"), append(texts[:60], huge)...)
	jsonl(t, filepath.Join(dir, "b.jsonl"), append(texts[60:100], "not like the others at all")...)
	jsonl(t, filepath.Join(dir, "ref", "r.jsonl"), texts[100:]...)
	plan := "name: p\ninput: [{path: a.jsonl}, {path: b.jsonl}]\nheld_out: {fraction: 0.1}\nstages:\n"
	plan += "  - quality: {drop_if: " + everyMeasurement() + "}\n"
	for _, kind := range []string{"normalize", "exact_dedup", "minhash", "mix", "domain", "exec", "pii", "span_dedup"} {
		plan += "  - " + subjects[kind] + "\n"
	}
	plan += "  - decontaminate: {}\n  - export: {}\n"
	opt := options(dir)
	opt.MemoryBytes = 2 << 30
	res := run(t, dir, plan, opt)
	if l := ledger(t, res, "normalize"); l.BytesIn < 50<<20 {
		t.Errorf("%d bytes of text came in", l.BytesIn)
	}
}
