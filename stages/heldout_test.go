package stages_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/stages"
)

func TestHeldOutFraction(t *testing.T) {
	dir := t.TempDir()
	texts := sentences(7, 60, 20)
	var all []string
	for i, text := range texts {
		all = append(all, text)
		switch i % 3 {
		case 0:
			all = append(all, text) // an exact copy
		case 1:
			all = append(all, "  "+strings.ReplaceAll(text, " ", "\n\t")) // but for white space
		}
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), all[:50]...)
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), all[50:]...)
	for _, max := range []int{0, 5} {
		plan := fmt.Sprintf("name: p\ninput: [{path: data/*.jsonl, source: s}]\nheld_out: {fraction: 0.3%s}\n"+
			"stages: [{export: {format: jsonl}}]\n", map[bool]string{true: ", documents_max: 5"}[max > 0])
		opt := options(dir)
		res := run(t, dir, plan, opt)
		hashes := map[uint64]bool{}
		for _, text := range all {
			if h := pipeline.ContentHash(text); float64(h) < 0.3*math.MaxUint64 {
				hashes[h] = true
			}
		}
		chosen := slices.Sorted(maps.Keys(hashes))
		if max > 0 {
			chosen = chosen[:max]
		}
		var want []string
		for _, text := range all {
			if !slices.Contains(chosen, pipeline.ContentHash(text)) {
				want = append(want, text)
			}
		}
		slices.Sort(want)
		if got := textsOf(t, exportedLines(t, opt)); !slices.Equal(got, want) {
			t.Errorf("documents_max %d: %d documents are left for training, want %d", max, len(got), len(want))
		}
		if n := ledger(t, res, "held_out_set").Kept; n != int64(len(chosen)) {
			t.Errorf("documents_max %d: %d documents are held out, want %d", max, n, len(chosen))
		}
		l := ledger(t, res, "held_out")
		if n := l.Dropped["copy_of_held_out"] + l.HeldOut; n != int64(len(all)-len(want)) {
			t.Errorf("documents_max %d: %d documents left training, want %d", max, n, len(all)-len(want))
		}
	}
}

// TestHeldOutOfOneSource holds out of one source only; copies in another leave training, too.
func TestHeldOutOfOneSource(t *testing.T) {
	dir := t.TempDir()
	shared := sentences(7, 30, 20)
	jsonl(t, filepath.Join(dir, "a.jsonl"), shared...)
	jsonl(t, filepath.Join(dir, "b.jsonl"), append(sentences(8, 30, 20), shared...)...)
	opt := options(dir)
	res := run(t, dir, "name: p\ninput: [{path: a.jsonl}, {path: b.jsonl}]\nheld_out: {fraction: 0.5, sources: [b]}\n"+
		"stages: [{export: {format: jsonl}}]\n", opt)
	set := ledger(t, res, "held_out_set")
	if set.Sources["a"] != nil || set.Sources["b"] == nil || set.Sources["b"].Kept == 0 {
		t.Errorf("held out were %v, want documents of b only", set.Sources)
	}
	if n := ledger(t, res, "held_out").Dropped["copy_of_held_out"]; n == 0 {
		t.Error("no copy in source a left training")
	}
	left := textsOf(t, exportedLines(t, opt))
	for _, text := range shared {
		n := 0
		for _, l := range left {
			if l == text {
				n++
			}
		}
		if n != 0 && n != 2 {
			t.Errorf("%d of two copies are left for training: %q", n, text)
		}
	}
}

func TestHeldOutInputs(t *testing.T) {
	dir := t.TempDir()
	exam := sentences(9, 12, 30)
	jsonl(t, filepath.Join(dir, "exam", "x.jsonl"), append(exam, exam[0])...)
	train := append(sentences(10, 40, 30), exam[3], "before it "+exam[4]+" and after it")
	jsonl(t, filepath.Join(dir, "data", "x.jsonl"), train...)
	plan := "name: p\ninput: [{path: data/*.jsonl, source: s}]\nheld_out:\n  - {path: exam/*.jsonl, source: s}\n" +
		"stages: [{exact_dedup: {}}, {export: {format: jsonl}}]\n"
	opt := options(dir)
	res := run(t, dir, plan, opt)
	if set := ledger(t, res, "held_out_set"); set.Kept != 12 || set.Dropped["copy"] != 1 {
		t.Errorf("the held-out set keeps %d and drops %v, want 12 and one copy", set.Kept, set.Dropped)
	}
	want := slices.Sorted(slices.Values(train[:40]))
	if got := textsOf(t, exportedLines(t, opt)); !slices.Equal(got, want) {
		t.Errorf("%d documents are left for training, want %d", len(got), len(want))
	}
	if in := res.Inputs[0]; in.Records != int64(len(train)) {
		t.Errorf("the input is recorded with %d records, want %d", in.Records, len(train))
	}
	fates, _, err := pipeline.Why(context.Background(), opt.FS, opt.Workdir, func(d *pipeline.Doc) bool { return d.Ref.Record == 7 })
	if err != nil || len(fates) != 1 || fates[0].Text != train[7] || fates[0].Outcome != "kept" {
		t.Errorf("row 7 of the training file, not of the held-out file of the same name: %+v, %v", fates, err)
	}
}

func TestHeldOutRules(t *testing.T) {
	rules := stages.HeldOutRules(&network.Profile{Name: "n", HeldOut: network.HeldOut{MinChars: 3, DedupPrefixChars: 4}})
	judge := rules.New()
	for _, c := range [][2]string{{"ab", "too_short"}, {"\u00e9\u00e9\u00e9", ""}, {"\u00e9\u00e9\u00e9", "prefix_seen"}, {"abcd", ""},
		{"abcde", "prefix_seen"}, {"abce", ""}, {"", "too_short"}} {
		if got := judge(c[0]); got != c[1] {
			t.Errorf("%q: %q, want %q", c[0], got, c[1])
		}
	}
	if rules.New()("abcd") != "" {
		t.Error("a new judge remembers rows")
	}
	if rules := stages.HeldOutRules(&network.Profile{}); rules.New()("") != "" {
		t.Error("a profile without rules leaves a row out")
	}
}
