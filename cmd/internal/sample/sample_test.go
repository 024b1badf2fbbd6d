package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
	"bzdata/tokenize/words"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// writeSample writes a sample without model into a file system in memory.
func writeSample(t *testing.T, opt Options) *store.CrashFS {
	t.Helper()
	fsys := store.NewCrashFS()
	opt.NoModel = true
	if _, err := Write(context.Background(), fsys, "s", opt); err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestSameBytes(t *testing.T) {
	one := writeSample(t, Options{Documents: 3000, Seed: 9, Workers: 1}).Tree("s")
	four := writeSample(t, Options{Documents: 3000, Seed: 9, Workers: 4}).Tree("s")
	if !maps.Equal(one, four) {
		t.Errorf("one and four workers write different samples: %v and %v", one, four)
	}
	other := writeSample(t, Options{Documents: 3000, Seed: 10, Workers: 4}).Tree("s")
	for name, hash := range one {
		text := strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".txt") || hash == "directory"
		if same := other[name] == hash; same != text {
			t.Errorf("%s: is the same for another seed: %t", name, same)
		}
	}
	// Rows do not depend on how many there are, but for the originals of copies.
	c, d := testCorpus(t, 3000, 9), testCorpus(t, 50_000, 9)
	m, n := newMaker(c), newMaker(d)
	for i := range int64(3000) {
		if a, b := m.make(i), n.make(i); a.kind != Leak && textOf(a) != textOf(b) {
			t.Fatalf("row %d of 3000 is not row %d of 50,000:\n%s\n\n%s", i, i, textOf(a), textOf(b))
		}
	}
}

// rowText is what the truth says of a row, and its text if it has one.
type rowText struct {
	Truth
	text string
	bad  bool
}

// readSample reads every row of data/ with the truth about it, by FILE:ROW.
func readSample(t *testing.T, fsys store.FS) map[string]*rowText {
	t.Helper()
	rows := map[string]*rowText{}
	data, err := store.ReadAll(fsys, "s/truth.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		row := &rowText{bad: true}
		if err := json.Unmarshal([]byte(line), &row.Truth); err != nil {
			t.Fatalf("truth.jsonl: %v: %s", err, line)
		}
		key := fmt.Sprintf("%s:%d", row.File, row.Row)
		if rows[key] != nil {
			t.Fatalf("truth.jsonl tells of %s twice", key)
		}
		rows[key] = row
	}
	_, names, err := store.Expand(fsys, "s/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		readFile(t, fsys, name, rows)
	}
	return rows
}

func readFile(t *testing.T, fsys store.FS, name string, rows map[string]*rowText) {
	t.Helper()
	file := filepath.Base(name)
	err := store.ReadRows(fsys, name, store.RowOptions{}, func(r *store.Row) error {
		key := fmt.Sprintf("%s:%d", file, r.Number)
		row := rows[key]
		if row == nil && file == heldOutFile {
			row = &rowText{Truth: Truth{File: file, Row: r.Number}}
			rows[key] = row
		}
		if row == nil {
			return fmt.Errorf("truth.jsonl does not tell of row %d", r.Number)
		}
		values := map[string]string{}
		for _, f := range r.Fields {
			var s string
			if json.Unmarshal(f.Value, &s) == nil {
				values[f.Key] = s
			} else {
				values[f.Key] = string(f.Value)
			}
		}
		_, hasAnswer := values["answer"]
		row.bad = r.Bad != nil || !hasAnswer
		row.text = values["question"] + "\n" + values["answer"]
		if r.Bad == nil && (len(values) != 4 && !row.bad || !strings.Contains(values["meta"], `"grade":`)) {
			return fmt.Errorf("row %d has fields %q", r.Number, slices.Sorted(maps.Keys(values)))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestTruth checks every line of the truth against the rows.
func TestTruth(t *testing.T) {
	const n = 6000
	rows := readSample(t, writeSample(t, Options{Documents: n, Seed: 4, Workers: 2}))
	counts, variants := map[Kind]int{}, map[string]int{}
	for key, row := range rows {
		counts[row.Kind]++
		variants[row.Variant]++
		if row.bad != (row.Kind == Malformed) {
			t.Errorf("%s is %s, and malformed: %t", key, row.Kind, row.bad)
		}
		original := rows[row.Of]
		switch row.Kind {
		case ExactCopy, NearCopy, Leak:
			if original == nil || original.Kind != map[bool]Kind{true: "", false: Clean}[row.Kind == Leak] {
				t.Fatalf("%s: no original %q", key, row.Of)
			}
		}
		switch row.Kind {
		case Boilerplate:
			if len([]rune(row.text)) >= 200 {
				t.Errorf("%s is boilerplate of %d characters", key, len(row.text))
			}
		case ExactCopy:
			if row.text != original.text {
				t.Errorf("%s is no copy of %s", key, row.Of)
			}
		case NearCopy:
			checkNearCopy(t, key, row, original)
		case Leak:
			checkLeak(t, key, row, original)
		}
	}
	for _, s := range Shares() {
		if want := s.PerMille * n / 1000; math.Abs(float64(counts[s.Kind]-want)) > cleanFirst {
			t.Errorf("%d rows are %s, want about %d", counts[s.Kind], s.Kind, want)
		}
	}
	if counts[""] != n/40 || counts[Malformed]*200 > n {
		t.Errorf("%d held-out rows and %d malformed ones of %d", counts[""], counts[Malformed], n)
	}
	for _, v := range append(malformations(), "whole", "quoted") {
		if variants[v] == 0 {
			t.Errorf("no row is of variant %s", v)
		}
	}
}

func checkNearCopy(t *testing.T, key string, row, original *rowText) {
	t.Helper()
	count := len(strings.Fields(original.text))
	if row.Edits < 1 || float64(row.Edits) > 0.08*float64(count)+1 {
		t.Errorf("%s has %d of %d words edited", key, row.Edits, count)
	}
	if distance := editDistance(strings.Fields(row.text), strings.Fields(original.text)); distance < 1 || distance > row.Edits {
		t.Errorf("%s has %d words edited, and is %d edits from its original", key, row.Edits, distance)
	}
	set := func(text string) []uint64 {
		return dedup.Distinct(dedup.Shingles(nil, words.AppendHashes(nil, text), shingleWords))
	}
	if j := dedup.Jaccard(set(row.text), set(original.text)); j != row.Jaccard || j >= 1 {
		t.Errorf("%s has similarity %v, truth says %v", key, j, row.Jaccard)
	}
}

// editDistance is Levenshtein's, in words.
func editDistance(a, b []string) int {
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i, x := range a {
		diagonal := last[0]
		last[0] = i + 1
		for j, y := range b {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = last[j+1]
			last[j+1] = min(cost, last[j]+1, last[j+1]+1)
		}
	}
	return last[len(b)]
}

func checkLeak(t *testing.T, key string, row, original *rowText) {
	t.Helper()
	index, err := dedup.NewOverlapIndex(13)
	if err != nil {
		t.Fatal(err)
	}
	index.Add(words.AppendHashes(nil, original.text))
	o, hit := index.Check(words.AppendHashes(nil, row.text))
	if !hit || o.Equal != (row.Variant == "whole") {
		t.Errorf("%s, %s, overlaps with %s: %t, equal: %t", key, row.Variant, row.Of, hit, o.Equal)
	}
}

func TestWriteErrors(t *testing.T) {
	if _, err := Write(context.Background(), store.NewCrashFS(), "s", Options{Documents: 99}); err == nil {
		t.Error("99 documents are enough")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Write(ctx, store.NewCrashFS(), "s", Options{Documents: 5000}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call returns %v", err)
	}
	full := store.NewCrashFS()
	full.FailWrites(100_000, syscall.ENOSPC)
	if _, err := Write(context.Background(), full, "s", Options{Documents: 5000, NoModel: true}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk gives %v", err)
	}
}

// TestPlans parses the plans as the program does.
func TestPlans(t *testing.T) {
	fsys := writeSample(t, Options{Documents: 100})
	for _, name := range []string{"plan.yaml", "data.yaml"} {
		src, err := store.ReadAll(fsys, "s/"+name)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pipeline.ParsePlan("s/"+name, src, stages.All(), pipeline.ParseOptions{
			Complete: stages.Complete,
			Profile:  func(string) (map[string]any, string, error) { return map[string]any{}, "connito", nil },
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if last := plan.Stages[len(plan.Stages)-1].ID; name == "plan.yaml" && last != "bundle" {
			t.Errorf("%s ends in %s", name, last)
		}
	}
}

// TestBase makes a base model of few steps, on one worker and on three, and opens what
// was written.
func TestBase(t *testing.T) {
	steps, told := 6, 0
	if testing.Short() {
		steps = 2
	}
	write := func(workers int) (*store.CrashFS, *baseModel) {
		fsys := store.NewCrashFS()
		w := &writer{c: testCorpus(t, 100, 2), fsys: fsys, dir: "s"}
		opt := Options{Seed: 2, Workers: workers, Progress: func(_ string, done, _ float64) { told = int(done) }}
		base, err := w.baseFiles(context.Background(), opt, steps)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.groupFolders(base.groups); err != nil {
			t.Fatal(err)
		}
		return fsys, base
	}
	fsys, base := write(3)
	if !testing.Short() {
		if single, _ := write(1); !maps.Equal(fsys.Tree("s"), single.Tree("s")) {
			t.Error("one and three workers make different models")
		}
	}
	if base.steps != steps || told != steps || !(base.loss < math.Log(vocabSize)+2) {
		t.Errorf("%d steps, %d told, loss %v", base.steps, told, base.loss)
	}
	tok, err := tokenize.Load(fsys, "s/base")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(fsys, "s/base", tensor.New(tensor.Plain(), 1))
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != m.Config().VocabSize || m.Config().MaxPositionEmbeddings != sequenceLength {
		t.Errorf("tokenizer of %d tokens, model %+v", tok.VocabSize(), m.Config())
	}
	groups, err := checkpoint.LoadGroups(fsys, "s/expert_groups")
	if err != nil || len(groups) != 2 {
		t.Fatalf("%d groups: %v", len(groups), err)
	}
	all := 0
	for _, g := range groups {
		if err := g.Assignment.Validate([]int{1, 2, 3}, expertsOfLayer); err != nil {
			t.Errorf("group %s: %v", g.Name, err)
		}
		all += g.Assignment.Experts()
	}
	if overlaps := checkpoint.Overlaps(groups); all != 3*expertsOfLayer || len(overlaps) > 0 {
		t.Errorf("%d experts in groups, overlaps %v", all, overlaps)
	}
}

// TestGeneralHasNoProblems checks that the base model never sees the problems' sentences.
func TestGeneralHasNoProblems(t *testing.T) {
	m := newMaker(testCorpus(t, 1000, 3))
	index, err := dedup.NewOverlapIndex(8)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(1000) {
		m.problem(streamRow, i)
		index.Add(words.AppendHashes(nil, textOf(&m.row)))
	}
	for i := range int64(2000) {
		text := string(m.general(nil, i))
		if o, hit := index.Check(words.AppendHashes(nil, text)); hit || strings.Contains(text, "<<") {
			t.Errorf("general text %d has 8 words of a problem, from word %d:\n%s", i, o.Position, text)
		}
	}
}
