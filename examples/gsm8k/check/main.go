// Command check holds a run of examples/gsm8k/plan.yaml against the truth about its input
// and prints, bar by bar, what was found. It ends with status 1 if a bar is missed.
//
//	check --input DIR --run WORKDIR
//
// DIR is what `contaminate` wrote. The MinHash bands are recomputed from the plan's seed,
// and every Jaccard similarity by brute force over shingles of five words.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize/words"
)

// The plan's MinHash settings.
const (
	bands, rows, shingleWords = 14, 8, 5
	verify                    = 0.8
	planSeed                  = 1
)

// doc is one input row, what it really is, and what the run did with it.
type doc struct {
	file    string
	row     int
	kind    string
	of      int // number of the clean row that a copy was made of
	number  int // of a clean row
	text    string
	stage   string // that dropped it, or empty if it reached export
	matched string
	shingle []uint64 // distinct
	keys    []uint64 // MinHash bands
}

func (d *doc) name() string { return fmt.Sprintf("gsm8k:%s:%d", d.file, d.row) }

// order is the plan's stages; a document reached a stage if none before it dropped it.
var order = []string{"input", "normalize", "quality", "exact_dedup", "minhash", "decontaminate", "domain", ""}

func stageRank(stage string) int {
	for i, s := range order {
		if s == stage {
			return i
		}
	}
	panic("unknown stage " + stage)
}

func (d *doc) reached(stage string) bool { return stageRank(d.stage) >= stageRank(stage) }

func main() {
	input := flag.String("input", "", "folder that contaminate wrote")
	run := flag.String("run", "", "work directory of the run")
	flag.Parse()
	docs, err := load(*input, *run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
	r := &report{}
	r.copies(docs)
	r.nearCopies(docs)
	r.removals(docs)
	r.domain(docs)
	if r.missed > 0 {
		fmt.Printf("%d bars missed\n", r.missed)
		os.Exit(1)
	}
	fmt.Println("every bar is met")
}

func load(input, run string) ([]*doc, error) {
	lines := map[string][][]byte{}
	var docs []*doc
	at := map[string]*doc{}
	err := eachLine(filepath.Join(input, "truth.jsonl"), func(line []byte) error {
		var t struct {
			File, Kind      string
			Row, Of, Number int
		}
		if err := json.Unmarshal(line, &t); err != nil {
			return err
		}
		if lines[t.File] == nil {
			data, err := os.ReadFile(filepath.Join(input, "data", t.File))
			if err != nil {
				return err
			}
			lines[t.File] = bytes.Split(data, []byte("\n"))
		}
		d := &doc{file: t.File, row: t.Row, kind: t.Kind, of: t.Of, number: t.Number}
		var p struct{ Question, Answer string }
		if err := json.Unmarshal(lines[t.File][t.Row], &p); err != nil {
			d.stage = "input" // malformed
		}
		d.text = p.Question + "\n" + p.Answer
		docs, at[d.name()] = append(docs, d), d
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := applyDrops(run, at); err != nil {
		return nil, err
	}
	return docs, sign(docs)
}

// applyDrops notes what the run's drop log says of each document.
func applyDrops(run string, at map[string]*doc) error {
	name := filepath.Join(run, "drops", "drops.parquet")
	return store.ReadRows(store.OS(), name, store.RowOptions{}, func(r *store.Row) error {
		values := map[string]string{}
		for _, f := range r.Fields {
			values[f.Key] = string(f.Value)
			if text, err := store.Unquote(nil, f.Value); err == nil {
				values[f.Key] = string(text)
			}
		}
		if values["stage"] == "held_out_set" {
			return nil // a row of the exam, which is no input
		}
		d := at[fmt.Sprintf("%s:%s:%s", values["source"], values["file"], values["row"])]
		if d == nil {
			return fmt.Errorf("the drop log names %s row %s, which is no input", values["file"], values["row"])
		}
		d.stage, d.matched = values["stage"], values["matched"]
		return nil
	})
}

// sign computes shingles and band keys of the documents that reached minhash.
func sign(docs []*doc) error {
	p := dedup.Params{Bands: bands, Rows: rows, Shingle: shingleWords,
		Seed: pipeline.HashID(planSeed, "minhash/permutations", "", "", 0)}
	h, err := dedup.NewHasher(p, dedup.Plain)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if d.reached("minhash") {
			s := dedup.Shingles(nil, words.AppendHashes(nil, d.text), shingleWords)
			d.keys = h.BandKeys(nil, h.Signature(nil, s))
			d.shingle = dedup.Distinct(s)
		}
	}
	return nil
}

func eachLine(name string, visit func(line []byte) error) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		if err := visit(line); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
