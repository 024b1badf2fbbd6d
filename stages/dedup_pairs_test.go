package stages_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// pair is a row of a pair file.
type pair struct {
	Source, File string
	Row          int
	Matched      string
	MatchedFile  *string `json:"matched_file"`
	MatchedRow   *int    `json:"matched_row"`
	From         *string `json:"matched_source"`
	Similarity   float64
}

func pairsOf(t *testing.T, opt pipeline.Options, label string) (pairs []pair) {
	t.Helper()
	name := filepath.Join(opt.Workdir, "out", "pairs-"+label+".parquet")
	err := store.ReadRows(opt.FS, name, store.RowOptions{}, func(row *store.Row) error {
		pairs = append(pairs, pair{})
		return errors.Join(row.Bad, json.Unmarshal(row.Raw, &pairs[len(pairs)-1]))
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

// TestPairs compares the pair files of two stages with the drop log, for several budgets and
// workers.
func TestPairs(t *testing.T) {
	all := nearCorpus(t, 21, 800)
	dir := t.TempDir()
	all = append(all, all[700:]...)
	writeNear(t, dir, all)
	writeNear(t, filepath.Join(dir, "b"), all[:40])
	const plan = `
name: p
seed: 7
input: [{path: s0, source: s0}, {path: s1, source: s1}]
stages:
  - exact_dedup: {pairs: true, index: {dir: state, generation: d1}}
  - minhash: {verify: 0.7, keep: longest, pairs: true, against: [{path: b/s0}]}
  - export: {format: jsonl}
`
	var before string
	for i, bytes := range []int64{1 << 30, 2 << 20} {
		opt := options(dir)
		opt.MemoryBytes, opt.Workers, opt.Workdir = bytes, 1+2*i, filepath.Join(dir, fmt.Sprint("run", i))
		run(t, dir, plan, opt)
		files := ""
		var got []pair
		for _, label := range []string{"exact_dedup", "minhash"} {
			data, err := store.ReadAll(opt.FS, filepath.Join(opt.Workdir, "out", "pairs-"+label+".parquet"))
			if err != nil {
				t.Fatal(err)
			}
			files += string(data)
			pairs := pairsOf(t, opt, label)
			if !slices.IsSortedFunc(pairs, byID) {
				t.Errorf("the pairs of %s are not in order of documents", label)
			}
			got = append(got, pairs...)
		}
		if before != "" && files != before {
			t.Error("the pair files differ")
		}
		before = files
		checkPairs(t, got, dropLog(t, opt))
	}
}

func byID(a, b pair) int {
	return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.File, b.File), a.Row-b.Row)
}

func checkPairs(t *testing.T, got []pair, log []drop) {
	t.Helper()
	var lines, want []string
	foreign := 0
	for i, p := range got {
		name := p.Matched
		if p.From == nil {
			foreign++
		} else {
			name = fmt.Sprintf("%s:%s:%d", *p.From, *p.MatchedFile, *p.MatchedRow)
		}
		if name != p.Matched || p.Similarity < 0.7 || p.Similarity > 1 {
			t.Errorf("pair %d is %+v", i, p)
		}
		lines = append(lines, fmt.Sprint(p.File, p.Row, name, p.Similarity))
	}
	for _, d := range log {
		want = append(want, fmt.Sprint(d.File, d.Row, d.Matched, d.Value))
	}
	slices.Sort(lines)
	slices.Sort(want)
	if !slices.Equal(lines, want) || len(want) < 300 {
		t.Errorf("%d pairs, %d documents dropped", len(lines), len(want))
	}
	if foreign < 20 {
		t.Errorf("only %d pairs are with files", foreign)
	}
}
