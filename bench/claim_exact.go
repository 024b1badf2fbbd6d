package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

const aboutExact = `Of documents with equal text one stays, with all its columns; the output is Parquet with zstd.
On all cores. DuckDB does SELECT DISTINCT ON (text), Polars unique(subset="text") in its streaming engine. bzdata
keeps the first by file and row, DuckDB any, writes what stays in a seeded order, syncs it to disk and logs every drop.`

// measureExact compares exact deduplication to Parquet, from JSONL and from Parquet, on
// all cores.
func measureExact(ctx context.Context, b *bench) (*section, error) {
	c, err := b.corpusOf(ctx, b.large)
	if err != nil {
		return nil, err
	}
	parquet, err := c.rows.converted(".parquet")
	if err != nil {
		return nil, err
	}
	s := &section{title: "Exact duplicates",
		about: []string{oneLine(aboutExact),
			"Corpus: rows of " + c.rows.String() + "."}}
	for _, in := range []string{c.rows.path, parquet} {
		if err := b.exactFrom(ctx, c, in, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (b *bench) exactFrom(ctx context.Context, c *corpus, input string, s *section) error {
	from := map[string]string{".jsonl": "JSONL", ".parquet": "Parquet"}[filepath.Ext(input)]
	ours, ourOut, err := b.plan("bzdata exact_dedup "+from, input, allCores(), "exact_dedup: {}", "export: {format: parquet}")
	if err != nil {
		return err
	}
	ours.name = "bzdata exact_dedup"
	cs := []*contender{ours}
	outs := []string{ourOut}
	for _, engine := range []string{"duckdb", "polars"} {
		out, before := b.fresh("exact-" + engine + "-" + from)
		p := b.python(ctx, engine, "columns", "columns.py", engine+"-exact", input, fmt.Sprint(allCores()),
			filepath.Join(out, "kept.parquet"))
		p.before, p.cores = before, allCores()
		p.after = countKept(out)
		cs, outs = append(cs, p), append(outs, out)
	}
	if err := alternate(ctx, b.progress, b.rounds, cs); err != nil {
		return err
	}
	s.groups = append(s.groups, group{"From " + from + ":", c.rows.bytes, cs})
	for i, p := range cs[1:] {
		s.found = append(s.found,
			comparison{what: "from " + from + ": wall time, " + p.name, over: p, under: ours, value: wallOf},
			comparison{what: "from " + from + ": processor time after start-up, " + p.name, over: p, under: ours,
				value: cpuOf, overValue: workOf})
		same, e := overlap(ours, p, ourOut, outs[i+1])
		s.notes, err = append(s.notes, "from "+from+": "+same+"."), errors.Join(err, e)
	}
	return err
}
