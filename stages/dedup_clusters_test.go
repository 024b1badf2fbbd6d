package stages_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"bzdata/pipeline/store"
)

// TestClusterColumns compares the columns in exports of both formats with the drop log.
func TestClusterColumns(t *testing.T) {
	docs := nearCorpus(t, 31, 600)
	dir := t.TempDir()
	docs = append(docs, docs[500:]...)
	writeNear(t, dir, docs)
	write(t, filepath.Join(dir, "s0", "own.jsonl"), `{"cluster_id":"mine","text":"a record with a field of that name","cluster_size":[7]}`+"\n")
	const plan = `
name: p
seed: 7
input: [{path: s0, source: s0}, {path: s1, source: s1}]
stages:
  - %s
  - export: {format: jsonl, to: out/a}
  - export: {format: parquet, to: out/b}
`
	for i, step := range []string{
		"exact_dedup: {cluster_columns: true}",
		"minhash: {verify: 0.7, keep: longest, cluster_columns: true, pairs: true}",
		"minhash: {verify: 0.7, keep: longest, cluster_columns: true, index: {dir: state, generation: d1}}",
	} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, fmt.Sprint("run", i))
		res := run(t, dir, fmt.Sprintf(plan, step), opt)
		want, dropped := map[string]int{}, 0
		for _, d := range dropLog(t, opt) {
			want[d.Matched]++
			dropped++
		}
		for _, set := range []string{"a", "b"} {
			kept, copies := 0, map[string]int{}
			for _, r := range clusterRows(t, opt.FS, filepath.Join(opt.Workdir, "out", set, "data")) {
				kept++
				if r.Size > 1 {
					copies[r.ID] = r.Size - 1
				}
				if own := r.Text == "a record with a field of that name"; own != (string(r.OwnID) == `"mine"`) ||
					own && (string(r.OwnSize) != "[7]" || r.ID != "s0:own.jsonl:0" || r.Size != 1) {
					t.Errorf("%s: %+v", step, r)
				}
			}
			if !reflect.DeepEqual(copies, want) || kept != len(docs)+1-dropped || len(want) < 40 {
				t.Errorf("%s, set %s: %d documents have %d clusters of copies, want %d and %d", step, set,
					kept, len(copies), len(docs)+1-dropped, len(want))
			}
		}
		if i > 0 && ledger(t, res, "minhash").Kept+int64(dropped) != int64(len(docs)+1) {
			t.Error("the ledger does not balance")
		}
	}
}

type clusterRow struct {
	Text    string
	ID      string          `json:"cluster_id"`
	Size    int             `json:"cluster_size"`
	OwnID   json.RawMessage `json:"cluster_id_original"`
	OwnSize json.RawMessage `json:"cluster_size_original"`
}

func clusterRows(t *testing.T, fsys store.FS, dir string) (rows []clusterRow) {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		err := store.ReadRows(fsys, filepath.Join(dir, e.Name()), store.RowOptions{}, func(row *store.Row) error {
			rows = append(rows, clusterRow{})
			return errors.Join(row.Bad, json.Unmarshal(row.Raw, &rows[len(rows)-1]))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return rows
}
