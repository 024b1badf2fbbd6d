package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	minhashlsh "github.com/ekzhu/minhash-lsh"
)

// The sketch that all contenders use: 14 bands of 8 rows over shingles of 5 words, as
// datatrove does by default (Penedo et al. 2024, FineWeb).
const (
	sketchBands = 14
	sketchRows  = 8
	sketchWords = 5
)

const aboutMinHash = `%d bands of %d rows over shingles of %d words, on one core. bzdata goes from file to
file and verifies every candidate (Jaccard ≥ %.1f); datatrove and text-dedup go from file to file and verify
nothing. datasketch, rensa and minhash-lsh are libraries: of them only what they do between texts in memory and
a list of duplicates is counted, with and without cutting texts into words, against all that bzdata does.
rensa's rho sketches take single words, as its documentation does: another, coarser similarity, of sampled words.`

// deduper is a contender with the place of what it left.
type deduper struct {
	*contender
	out string
	// flags says that it leaves out every document that has a copy, not all but one.
	flags bool
}

// measureMinHash compares near deduplication: on a corpus that slow peers can do, then on
// a larger one with those that are fast.
func measureMinHash(ctx context.Context, b *bench) (*section, error) {
	s := &section{title: "Near duplicates",
		about: []string{oneLine(fmt.Sprintf(aboutMinHash, sketchBands, sketchRows, sketchWords, verifyAt))}}
	if err := b.nearDuplicates(ctx, s, b.small, true); err != nil {
		return nil, err
	}
	return s, b.nearDuplicates(ctx, s, b.large, false)
}

// nearDuplicates adds the contenders on one corpus to a section.
func (b *bench) nearDuplicates(ctx context.Context, s *section, documents int, slow bool) error {
	c, err := b.corpusOf(ctx, documents)
	if err != nil {
		return err
	}
	sketch := fmt.Sprintf("minhash: {bands: %d, rows: %d, shingle_words: %d, verify: %g}",
		sketchBands, sketchRows, sketchWords, verifyAt)
	ours, ourOut, err1 := b.plan("bzdata minhash", c.rows.path, 1, sketch, "export: {format: jsonl}")
	copied, _, err2 := b.plan("bzdata, reading and writing alone", c.rows.path, 1, "export: {format: jsonl}")
	truth, err3 := clustersOf(c)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	peers := b.sketchers(ctx, c)
	if slow {
		peers = append(b.slowDedupers(ctx, c), peers...)
	}
	all := []deduper{{contender: ours, out: ourOut}}
	cs := []*contender{ours, copied}
	for _, p := range peers {
		all, cs = append(all, p), append(cs, p.contender)
	}
	if err := alternate(ctx, b.progress, b.rounds, cs); err != nil {
		return err
	}
	at := count(c.rows.documents) + " rows"
	s.groups = append(s.groups, group{"Rows of " + c.rows.String() + ":", c.rows.bytes, cs})
	for _, p := range peers {
		s.found = append(s.found, p.compared(ours, at)...)
	}
	s.found = append(s.found, comparison{what: at + ": bzdata's processor time with deduplication / of reading and writing alone",
		over: ours, under: copied, value: cpuOf})
	for _, d := range all {
		note, err := truth.deduplicated(c, d)
		if err != nil {
			return err
		}
		s.notes = append(s.notes, at+": "+note)
	}
	return nil
}

// compared returns the ratios for one peer. What a library took for its sketches and
// index is compared with all that bzdata took.
func (d deduper) compared(ours *contender, at string) []comparison {
	if strings.HasPrefix(d.name, "datatrove") || strings.HasPrefix(d.name, "text-dedup") {
		bar := 0.0
		if strings.HasPrefix(d.name, "datatrove") {
			bar = 50
		}
		return []comparison{
			{what: at + ": processor time after start-up, " + d.name, over: d.contender, under: ours,
				value: cpuOf, overValue: workOf, bar: bar},
			{what: at + ": wall time, " + d.name, over: d.contender, under: ours, value: wallOf},
		}
	}
	bar := 0.0
	if strings.HasPrefix(d.name, "rensa") {
		bar = 1
	}
	return []comparison{
		{what: at + ": processor time of cutting into words, sketches and index, " + d.name, over: d.contender, under: ours,
			value: cpuOf, overValue: phaseOf("cutting", "signatures", "index"), bar: bar},
		{what: at + ": processor time of sketches and index alone, " + d.name, over: d.contender, under: ours,
			value: cpuOf, overValue: phaseOf("signatures", "index"), bar: bar},
	}
}

// slowDedupers are those that go from file to file at less than a few MB/s.
func (b *bench) slowDedupers(ctx context.Context, c *corpus) []deduper {
	out, before := b.fresh("minhash-datatrove")
	datatrove := b.python(ctx, "datatrove, four stages", "datatrove", "datatrove_minhash.py", c.rows.dir(), out, "1", "1")
	datatrove.before, datatrove.after = before, countKept(out)
	list := []deduper{{contender: datatrove, out: out}}
	for _, p := range []struct{ name, env, driver string }{
		{"text-dedup", "text-dedup", "textdedup_minhash.py"},
		{"datasketch", "sketches", "datasketch_minhash.py"},
	} {
		list = append(list, b.sketcher(ctx, c, p.name, p.env, p.driver))
	}
	return list
}

// sketchers are the libraries of sketches and indexes.
func (b *bench) sketchers(ctx context.Context, c *corpus) []deduper {
	ekzhuOut, before := b.fresh("minhash-ekzhu")
	ekzhu := b.worker("minhash-lsh", "minhash-ekzhu", c.rows.path, ekzhuOut)
	ekzhu.before, ekzhu.after = before, countKept(ekzhuOut)
	full := b.sketcher(ctx, c, "rensa, R-MinHash of shingles", "sketches", "rensa_minhash.py", "shingles")
	rho := b.sketcher(ctx, c, "rensa, rho of single words", "sketches", "rensa_minhash.py", "words")
	full.flags, rho.flags = true, true
	return []deduper{full, rho, {contender: ekzhu, out: ekzhuOut}}
}

// sketcher returns a driver in Python that is called with the corpus, a folder for what it
// keeps, bands, rows and words, and more.
func (b *bench) sketcher(ctx context.Context, c *corpus, name, env, driver string, more ...string) deduper {
	out, before := b.fresh("minhash-" + strings.TrimSuffix(driver, ".py") + strings.Join(more, "-"))
	args := append([]string{c.rows.path, out, fmt.Sprint(sketchBands), fmt.Sprint(sketchRows), fmt.Sprint(sketchWords)}, more...)
	p := b.python(ctx, name, env, driver, args...)
	p.before, p.after = before, countKept(out)
	return deduper{contender: p, out: out}
}

// indexEkzhu signs and indexes documents with minhash-lsh; of every set of candidates the
// first is kept.
func indexEkzhu(args []string, s *said) error {
	s.Version = moduleVersions("github.com/ekzhu/minhash-lsh")
	var ids, texts []string
	if err := eachText(args[0], func(id string, text []byte) {
		ids, texts = append(ids, id), append(texts, string(text))
	}); err != nil {
		return err
	}
	docs := make([][][]byte, len(texts))
	err := s.phase("cutting", func() error {
		for i, text := range texts {
			docs[i] = shinglesOf(text)
		}
		return nil
	})
	signatures := make([][]uint64, len(docs))
	err = errors.Join(err, s.phase("signatures", func() error {
		for i, shingles := range docs {
			m := minhashlsh.NewMinhash(1, sketchBands*sketchRows)
			for _, sh := range shingles {
				m.Push(sh)
			}
			signatures[i] = m.Signature()
		}
		return nil
	}))
	kept := make([]bool, len(ids))
	err = errors.Join(err, s.phase("index", func() error {
		lsh := minhashlsh.NewMinhashLSH32(sketchBands*sketchRows, 0.72)
		for i, sig := range signatures {
			lsh.Add(i, sig)
		}
		lsh.Index()
		for i, sig := range signatures {
			kept[i] = true
			for _, j := range lsh.Query(sig) {
				if n, ok := j.(int); ok && n < i && kept[n] {
					kept[i] = false
				}
			}
		}
		return nil
	}))
	return errors.Join(err, writeIDs(filepath.Join(args[1], "kept.jsonl"), ids, kept))
}

// shinglesOf cuts a text at white space into overlapping runs of sketchWords words; a
// shorter text is one shingle.
func shinglesOf(text string) [][]byte {
	words := strings.Fields(strings.ToLower(text))
	var out [][]byte
	for i := 0; i == 0 || i+sketchWords <= len(words); i++ {
		out = append(out, []byte(strings.Join(words[i:min(len(words), i+sketchWords)], " ")))
	}
	return out
}
