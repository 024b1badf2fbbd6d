package stages_test

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
)

const mixConfig = `group_id: 0
data:
  dataset_sources:
    - {path: owner/web, name: en, weight: 0.4}
    - {path: owner/math, weight: 0.6, text_column: body}
  vali_fraction: 0.5
  world_size: 2
`

// writeMirror writes the files of mixConfig's data sets, two and three, and returns the texts by source and file.
func writeMirror(t *testing.T, dir string) [][][]string {
	t.Helper()
	texts := problems(500)
	var all [][][]string
	for s, files := range []int{2, 3} {
		folder, column := "mirror/owner/web/en", "text"
		if s == 1 {
			folder, column = "mirror/owner/math", "body"
		}
		var byFile [][]string
		for f := range files {
			own := slices.Clone(texts[100*s+30*f : 100*s+30*f+30])
			own[3] = "too short"
			var b strings.Builder
			for _, text := range own {
				fmt.Fprintf(&b, "{\"other\":1,%q:%q}\n", column, text)
			}
			write(t, filepath.Join(dir, folder, fmt.Sprintf("%d.jsonl", f)), b.String())
			byFile = append(byFile, own)
		}
		all = append(all, byFile)
	}
	write(t, filepath.Join(dir, "config.yaml"), mixConfig)
	return all
}

func mixProfile(t *testing.T) *network.Profile {
	t.Helper()
	p, err := network.Load("connito")
	if err != nil {
		t.Fatal(err)
	}
	p.HeldOut = network.HeldOut{MinChars: 20, DedupPrefixChars: 30}
	return p
}

func mixOptions(dir string) stages.MixOptions {
	return stages.MixOptions{SourcesFrom: filepath.Join(dir, "config.yaml"), Mirror: filepath.Join(dir, "mirror"), Rows: 25, Seeds: 3,
		First: 9, SequenceLength: 64}
}

// plainMix lists the texts of a seed's rows from all texts in memory.
func plainMix(t *testing.T, texts [][][]string, seed string, rows int) (out []string) {
	t.Helper()
	m := network.Mix{Weights: []float64{0.4, 0.6}, Files: []int{2, 3}, Seed: seed, Fraction: 0.5, WorldSize: 2}
	var sources []iter.Seq[string]
	for s := range texts {
		var all []string
		for _, f := range m.NodeFiles(s) {
			all = append(all, texts[s][f]...)
		}
		sources = append(sources, slices.Values(all))
	}
	mixed, err := network.MixRows(m, sources)
	if err != nil {
		t.Fatal(err)
	}
	prefixes := map[string]bool{}
	for _, text := range mixed {
		if len(text) < 20 || prefixes[text[:30]] {
			continue
		}
		prefixes[text[:30]] = true
		if out = append(out, text); len(out) == rows {
			break
		}
	}
	return out
}

// TestMix compares the rows of each seed with a plain listing of all texts.
func TestMix(t *testing.T) {
	dir := modelCorpus(t, 120)
	texts := writeMirror(t, dir)
	exam, err := stages.OpenMix(t.Context(), store.OS(), mixProfile(t), filepath.Join(dir, "base"), mixOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer exam.Close()
	tok, err := tokenize.Load(store.OS(), filepath.Join(dir, "base", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[int]bool{}
	for i, seed := range exam.Seeds {
		want := plainMix(t, texts, seed, 25)
		if len(want) != len(exam.BySeed[i]) || len(want) < 10 {
			t.Fatalf("seed %d: %d rows, want %d", i, len(exam.BySeed[i]), len(want))
		}
		for k, at := range exam.BySeed[i] {
			distinct[at] = true
			var s tokenize.Sequence
			if err := exam.Sequence(at, &s); err != nil {
				t.Fatal(err)
			}
			ids := tok.EncodeBytes(nil, []byte(want[k]))
			ids = ids[:min(len(ids), 64)]
			if seg := s.Segments[0]; !slices.Equal(s.Tokens[seg.Start:seg.End], ids) {
				t.Fatalf("seed %d, row %d is not %q", i, k, want[k])
			}
		}
	}
	sum := 0
	for _, own := range exam.BySeed {
		sum += len(own)
	}
	if exam.Sequences() != len(distinct) || exam.Rows != sum || len(distinct) >= sum || exam.Dropped["too_short"] == 0 {
		t.Errorf("%d sequences, %d distinct of %d and %d rows, left out %v", exam.Sequences(), len(distinct), exam.Rows, sum, exam.Dropped)
	}
	again, err := stages.OpenMix(t.Context(), store.OS(), mixProfile(t), filepath.Join(dir, "base"), mixOptions(dir))
	if err != nil || again.Key != exam.Key {
		t.Errorf("the same rows have keys %s and %s, %v", exam.Key, again.Key, err)
	}
	testOfSeed(t, exam)
	testTrained(t, exam)
}

func testOfSeed(t *testing.T, exam *stages.MixExam) {
	t.Helper()
	l := &eval.Losses{}
	for i := range exam.Sequences() {
		l.Sequences = append(l.Sequences, eval.SequenceLoss{Nats: float64(i), Tokens: 1})
		l.Documents = append(l.Documents, eval.DocumentLoss{Ordinal: uint64(i)})
	}
	of := exam.OfSeed(l, 1)
	for k, at := range exam.BySeed[1] {
		if of.Sequences[k].Nats != float64(at) || of.Documents[k].Ordinal != uint64(at) {
			t.Errorf("row %d of seed 1 is %v", k, of.Sequences[k])
		}
	}
}

// some is every other sequence of an exam, cut to 40 tokens, as training data.
type some struct{ *stages.MixExam }

func (s some) Sequences() int { return (s.MixExam.Sequences() + 1) / 2 }

func (s some) Sequence(i int, dst *tokenize.Sequence) error {
	if err := s.MixExam.Sequence(2*i, dst); err != nil {
		return err
	}
	dst.Tokens, dst.Target = dst.Tokens[:40], dst.Target[:40]
	for k := range dst.Segments {
		dst.Segments[k].End = min(40, dst.Segments[k].End)
	}
	return nil
}

func testTrained(t *testing.T, exam *stages.MixExam) {
	t.Helper()
	rows, bySeed, err := exam.Trained(some{exam})
	if err != nil || rows != (exam.Sequences()+1)/2 {
		t.Errorf("%d of %d rows are training rows, %v", rows, exam.Sequences(), err)
	}
	for i, own := range exam.BySeed {
		want := 0
		for _, at := range own {
			want += (at + 1) % 2
		}
		if bySeed[i] != want {
			t.Errorf("seed %d: %d training rows, want %d", i, bySeed[i], want)
		}
	}
}

func TestMixMistakes(t *testing.T) {
	dir := modelCorpus(t, 120)
	writeMirror(t, dir)
	open := func(p *network.Profile, o stages.MixOptions) error {
		_, err := stages.OpenMix(t.Context(), store.OS(), p, filepath.Join(dir, "base"), o)
		return err
	}
	usage := func(err error, says string) {
		t.Helper()
		var u *pipeline.UsageError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	sn9, err := network.Load("sn9")
	if err != nil {
		t.Fatal(err)
	}
	usage(open(sn9, mixOptions(dir)), "leave sources_from out")
	none := mixOptions(dir)
	none.SourcesFrom = ""
	usage(open(sn9, none), "holds nothing of the data sets that validators of sn9@6.0.4 read; run bzdata mirror")
	usage(open(mixProfile(t), none), "set sources_from, the expert group's config.yaml")
	for i := range sn9.Evaluate.Sources {
		sn9.Evaluate.Sources[i].Pages = 0
	}
	usage(open(sn9, mixOptions(dir)), "judge on held-out text of your own")
	config := func(from, to string) stages.MixOptions {
		write(t, filepath.Join(dir, "config.yaml"), strings.Replace(mixConfig, from, to, 1))
		return mixOptions(dir)
	}
	usage(open(mixProfile(t), config("owner/web", "owner/none")), "no JSONL or Parquet file of owner/none")
	usage(open(mixProfile(t), config("weight: 0.4", "weight: 0.5")), "must sum to 1")
	usage(open(mixProfile(t), config("weight: 0.4", `weight: 0.4, text_template: "{a}"`)), "text_template")
	is[*pipeline.DataError](t, open(mixProfile(t), config("text_column: body", "text_column: nobody")))
	write(t, filepath.Join(dir, "mirror/owner/math/0.jsonl"), "{\n")
	is[*pipeline.DataError](t, open(mixProfile(t), config("", "")))
}
