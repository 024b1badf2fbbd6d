package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// verifyAt is the Jaccard similarity from which a near copy counts as one, for bzdata's
// verification and for the truth.
const verifyAt = 0.8

// keptIDs returns the ids of the documents in a file or below a folder.
func keptIDs(path string) (map[string]bool, error) {
	ids := map[string]bool{}
	err := eachText(path, func(id string, _ []byte) { ids[id] = true })
	return ids, err
}

// countKept completes what a contender says by the number of documents that it left.
func countKept(path string) func(*said) error {
	return func(s *said) error {
		ids, err := keptIDs(path)
		s.Kept = int64(len(ids))
		return err
	}
}

// clusters are the planted copies of a corpus: sets of rows of which one should stay.
type clusters struct {
	of     map[int64]int64 // the original's row, of every row in a cluster
	copies int64
}

// clustersOf reads the truth of a corpus: exact copies, and near copies that are similar
// enough, with their originals.
func clustersOf(c *corpus) (clusters, error) {
	out := clusters{of: map[int64]int64{}}
	f, err := os.Open(filepath.Join(c.dir, "sample", "truth.jsonl"))
	if err != nil {
		return out, err
	}
	defer f.Close()
	rowOf := map[string]int64{} // by FILE:ROW
	lines := bufio.NewScanner(f)
	for i := int64(0); lines.Scan(); i++ {
		var t struct {
			File    string  `json:"file"`
			Row     int64   `json:"row"`
			Kind    string  `json:"kind"`
			Of      string  `json:"of"`
			Jaccard float64 `json:"jaccard"`
		}
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return out, err
		}
		rowOf[t.File+":"+strconv.FormatInt(t.Row, 10)] = i
		if t.Kind == "exact_copy" || t.Kind == "near_copy" && t.Jaccard >= verifyAt {
			root, ok := rowOf[t.Of]
			if !ok {
				return out, fmt.Errorf("truth of row %d: no row %s before it", i, t.Of)
			}
			out.of[root], out.of[i] = root, root
			out.copies++
		}
	}
	return out, lines.Err()
}

// outcome is how a deduplication did by the truth.
type outcome struct {
	left   int64 // copies that stayed beside another of their cluster
	lost   int64 // clusters of which nothing stayed
	others int64 // removed rows that are no planted copy
}

// judge compares the rows that stayed of a set with the truth.
func (t clusters) judge(s set, kept map[string]bool) (outcome, error) {
	var o outcome
	stayed := map[int64]int64{}
	err := eachText(s.path, func(id string, _ []byte) {
		row, err := strconv.ParseInt(id[1:], 10, 64)
		root, planted := t.of[row]
		switch {
		case err != nil:
		case !planted && !kept[id]:
			o.others++
		case planted && kept[id]:
			stayed[root]++
		case planted:
			stayed[root] += 0
		}
	})
	for _, n := range stayed {
		o.left += max(0, n-1)
		if n == 0 {
			o.lost++
		}
	}
	return o, err
}

// deduplicated tells the outcome of a contender.
func (t clusters) deduplicated(c *corpus, d deduper) (string, error) {
	if len(d.runs) == 0 {
		return fmt.Sprintf("%s: not measured", d.name), nil
	}
	kept, err := keptIDs(d.out)
	if err != nil {
		return "", err
	}
	o, err := t.judge(c.rows, kept)
	if d.flags {
		return fmt.Sprintf("%s: flags %s rows as having a copy, the first of a cluster too; %s of %s planted clusters "+
			"wholly; %s rows that are no planted copy", d.name, count(c.rows.documents-int64(len(kept))), count(o.lost),
			count(int64(len(t.of))-t.copies), count(o.others)), err
	}
	return fmt.Sprintf("%s: kept %s of %s rows; of %s planted copies %s are left beside another (%.2f %%); %s clusters lost "+
		"altogether; %s rows removed that are no planted copy", d.name, count(int64(len(kept))), count(c.rows.documents),
		count(t.copies), count(o.left), 100*float64(o.left)/float64(max(1, t.copies)), count(o.lost), count(o.others)), err
}

// overlap says how far two contenders kept the same documents.
func overlap(a, b *contender, pathA, pathB string) (string, error) {
	if len(a.runs) == 0 || len(b.runs) == 0 {
		return fmt.Sprintf("%s and %s: not both measured", a.name, b.name), nil
	}
	idsA, errA := keptIDs(pathA)
	idsB, errB := keptIDs(pathB)
	both := 0
	for id := range idsA {
		if idsB[id] {
			both++
		}
	}
	return fmt.Sprintf("%s kept %s documents, %s kept %s, both kept %s", a.name, count(int64(len(idsA))), b.name,
		count(int64(len(idsB))), count(int64(both))), errors.Join(errA, errB)
}
