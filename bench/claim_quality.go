package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"bzdata/pipeline/store"
	"bzdata/stages/quality"
)

// qualityPresets are the presets of the claim.
func qualityPresets() []string { return []string{"fineweb", "gopher-paper"} }

const aboutQuality = "bzdata's presets `fineweb` and `gopher-paper` against datatrove's FineWebQualityFilter," + `
GopherRepetitionFilter and GopherQualityFilter, on one core. The paper's rules as bzdata reads them are not
datatrove's, and words are cut otherwise, so that the two do not keep the same documents; a second run of bzdata
has ` + "`gopher-datatrove`" + `, whose rules and words are those of datatrove, and should keep the same.`

// measureQuality compares the whole quality pass with datatrove's filters of the same
// origin: from file to file, and the filters alone.
func measureQuality(ctx context.Context, b *bench) (*section, error) {
	c, err := b.corpusOf(ctx, 2*b.small)
	if err != nil {
		return nil, err
	}
	ours, ourOut, err := b.plan("bzdata quality", c.pages.path, 1, "quality: {preset: fineweb}",
		"quality: {preset: gopher-paper}\n    id: gopher", "export: {format: jsonl}")
	if err != nil {
		return nil, err
	}
	theirOut, clear := b.fresh("quality-datatrove")
	theirs := b.python(ctx, "datatrove filters", "datatrove", "datatrove_filters.py", "file", c.pages.dir(), theirOut)
	theirs.before, theirs.after = clear, countKept(theirOut)
	twin, twinOut, err := b.plan("bzdata quality, datatrove's rules", c.pages.path, 1, "quality: {preset: fineweb}",
		"quality: {preset: gopher-datatrove}\n    id: gopher", "export: {format: jsonl}")
	if err != nil {
		return nil, err
	}
	files := []*contender{ours, twin, theirs}
	bareOut, bareBefore := b.fresh("quality-bzdata-memory")
	bare := b.worker("bzdata, judging alone", "quality-bzdata", c.pages.path, bareOut)
	bare.before, bare.after = bareBefore, countKept(bareOut)
	bareTheirOut, bareTheirBefore := b.fresh("quality-datatrove-memory")
	bareTheirs := b.python(ctx, "datatrove, filters alone", "datatrove", "datatrove_filters.py", "memory", c.pages.path,
		bareTheirOut)
	bareTheirs.before, bareTheirs.after = bareTheirBefore, countKept(bareTheirOut)
	memory := []*contender{bare, bareTheirs}
	if err := errors.Join(alternate(ctx, b.progress, b.rounds, files), alternate(ctx, b.progress, b.rounds, memory)); err != nil {
		return nil, err
	}
	paper, err1 := overlap(ours, theirs, ourOut, theirOut)
	same, err2 := overlap(twin, theirs, twinOut, theirOut)
	return &section{
		title: "Quality rules",
		about: []string{oneLine(aboutQuality),
			"Corpus: pages of " + c.pages.String() + ", in one JSONL file."},
		groups: []group{
			{"From file to file:", c.pages.bytes, files},
			{"Documents in memory before and after; only the judging is compared (reading is in the times of both):", 0, memory},
		},
		found: []comparison{
			{what: "file to file: processor time after start-up, datatrove", over: theirs, under: ours, value: cpuOf,
				overValue: workOf, bar: 50},
			{what: "file to file: the same, of bzdata with datatrove's rules", over: theirs, under: twin, value: cpuOf,
				overValue: workOf},
			{what: "file to file: processor time, datatrove", over: theirs, under: ours, value: cpuOf},
			{what: "file to file: wall time, datatrove", over: theirs, under: ours, value: wallOf},
			{what: "rules alone: processor time, datatrove", over: bareTheirs, under: bare, value: phaseOf("filters"), bar: 50},
		},
		notes: []string{paper + ".", same + "."},
	}, errors.Join(err1, err2)
}

// judgeBzdata reads documents into memory, judges them by the presets, and writes the ids
// of those that stay.
func judgeBzdata(args []string, s *said) error {
	var ids, docs []string
	if err := eachText(args[0], func(id string, text []byte) {
		ids, docs = append(ids, id), append(docs, string(text))
	}); err != nil {
		return err
	}
	var presets []*quality.Rules
	for _, name := range qualityPresets() {
		rules, err := quality.Preset(name)
		if err != nil {
			return err
		}
		presets = append(presets, rules)
	}
	kept := make([]bool, len(docs))
	err := s.phase("filters", func() error {
		scratch := &quality.Scratch{}
		for i, text := range docs {
			kept[i] = true
			for _, p := range presets {
				kept[i] = kept[i] && p.Judge(text, scratch).Keep
			}
		}
		return nil
	})
	return errors.Join(err, writeIDs(filepath.Join(args[1], "kept.jsonl"), ids, kept))
}

// writeIDs writes one line {"id"} for each document that is kept.
func writeIDs(name string, ids []string, kept []bool) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	return writeLines(name, func(w *store.JSONLWriter) error {
		for i, id := range ids {
			if !kept[i] {
				continue
			}
			if err := w.Write([]store.Field{{Key: "id", Value: store.AppendQuote(nil, id)}}); err != nil {
				return err
			}
		}
		return nil
	})
}
