package stages_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote"
	"bzdata/pipeline/store/remote/remotetest"
	"bzdata/stages"
	"bzdata/tokenize"
)

// pageSplits are the data sets of Subnet 9 as a small server tells of them.
var pageSplits = map[string][]remotetest.ViewerSplit{
	"HuggingFaceFW/fineweb": {{Config: "default", Split: "train", Rows: 4000}, {Config: "CC-MAIN-2013-20", Split: "train", Rows: 3000},
		{Config: "sample-10BT", Split: "train", Rows: 1000}},
	"HuggingFaceFW/fineweb-edu-score-2": {{Config: "CC-MAIN-2024-10", Split: "train", Rows: 2000}},
	"laion/Pes2oX-fulltext":             {{Config: "pes2ov2", Split: "train", Rows: 8242000}},
	"HuggingFaceTB/finemath": {{Config: "finemath-3plus", Split: "train", Rows: 21400000},
		{Config: "infiwebmath-3plus", Split: "train", Rows: 13900000}},
}

// pageText is a row's text; some are short, and one in a hundred spells a special token out.
func pageText(dataset, config string, row int64) string {
	text := fmt.Sprintf("%s has %d coins in row %d of %s", []string{"Ana", "Bo", "Cy"}[row%3], row%90, row%977, config[:3])
	if row%100 == 7 {
		text += " <|endoftext|> and more"
	}
	return text + strings.Repeat(". How many are there?", int(row%4))
}

func pageHub(t *testing.T) (*remotetest.Viewer, *remote.FS) {
	t.Helper()
	viewer := remotetest.NewViewer(pageSplits, pageText)
	t.Cleanup(viewer.Close)
	env := map[string]string{"HF_ENDPOINT": viewer.URL, "HF_HOME": t.TempDir()}
	fsys := remote.New(t.Context(), store.OS(), remote.Options{Attempts: 2, Jitter: rand.New(rand.NewPCG(1, 2)),
		Env:   func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Sleep: func(context.Context, time.Duration) error { return nil }})
	t.Cleanup(func() { fsys.Close() })
	return viewer, fsys
}

// pageMirror fills a mirror beside a base model.
func pageMirror(t *testing.T) (dir string, profile *network.Profile, o stages.MixOptions) {
	t.Helper()
	dir = modelCorpus(t, 120)
	profile, err := network.Load("sn9")
	if err != nil {
		t.Fatal(err)
	}
	viewer, hub := pageHub(t)
	o = stages.MixOptions{Mirror: filepath.Join(dir, "mirror"), Seeds: 2, First: 9, SequenceLength: 64}
	pages := 0
	fill := stages.MirrorFill{MixOptions: o, OnPage: func(string, int, int) { pages++ }}
	exam, filled, err := stages.FillMirror(t.Context(), hub, profile, fill)
	if err != nil {
		t.Fatal(err)
	}
	if len(exam.Short) != 1 || !strings.HasPrefix(exam.Short[0], "STACKV2_DEDUP, of weight 0.35, is left out") {
		t.Errorf("%q", exam.Short)
	}
	for i, want := range []int{30, 30, 0, 4, 12, 12} {
		if f := filled[i]; f.Needed != want || f.Mirrored != want || f.Fetched != want {
			t.Errorf("%+v, want %d pages", f, want)
		}
	}
	asked := viewer.Asked()
	if _, _, err = stages.FillMirror(t.Context(), hub, profile, fill); err != nil || viewer.Asked() != asked || pages != 2*asked {
		t.Errorf("%d pages told of, %d requests for rows, and %d before the second time, %v", pages, viewer.Asked(), asked, err)
	}
	return dir, profile, o
}

// plainPages are the batches of a seed and a data set from all its rows, by the rule in short: documents with an EOS behind
// each, cut, shuffled, and the first fifty.
func plainPages(t *testing.T, tok *tokenize.Tokenizer, of network.Source, digits string) (out [][]int32) {
	t.Helper()
	seed, err := network.PageSeed(digits)
	if err != nil {
		t.Fatal(err)
	}
	splits := slices.Clone(pageSplits[of.Path])
	splits = slices.DeleteFunc(splits, func(s remotetest.ViewerSplit) bool {
		return s.Config == "default" || of.Config != "" && s.Config != of.Config
	})
	var rows []int64
	for _, s := range splits {
		rows = append(rows, s.Rows)
	}
	pages, err := of.DrawPages(seed, rows)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int32
	eos, _ := tok.EOS()
	for _, page := range pages {
		for i := page.Offset; i < min(page.Offset+50, rows[page.Part]); i++ {
			for k, part := range strings.Split(pageText(of.Path, splits[page.Part].Config, i), "<|endoftext|>") {
				if k > 0 {
					ids = append(ids, eos)
				}
				ids = tok.EncodeBytes(ids, []byte(part))
			}
			ids = append(ids, eos)
		}
	}
	for ; len(ids) >= 64; ids = ids[64:] {
		out = append(out, ids[:64])
	}
	network.ShuffleBatches(seed, len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(50, len(out))]
}

// TestPages compares the sequences of each seed with a plain listing.
func TestPages(t *testing.T) {
	dir, profile, o := pageMirror(t)
	exam, err := stages.OpenMix(t.Context(), store.OS(), profile, filepath.Join(dir, "base"), o)
	if err != nil {
		t.Fatal(err)
	}
	defer exam.Close()
	tok, err := tokenize.Load(store.OS(), filepath.Join(dir, "base", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, seed := range exam.Seeds {
		var want [][]int32
		var sources []uint32
		for k, of := range profile.Evaluate.Sources {
			if of.TextAt == "" {
				batches := plainPages(t, tok, of, seed)
				want = append(want, batches...)
				sources = append(sources, slices.Repeat([]uint32{uint32(k)}, len(batches))...)
			}
		}
		if len(want) != len(exam.BySeed[i]) || len(want) < 200 {
			t.Fatalf("seed %d has %d sequences, want %d", i, len(exam.BySeed[i]), len(want))
		}
		for k, at := range exam.BySeed[i] {
			var s tokenize.Sequence
			if err := exam.Sequence(at, &s); err != nil {
				t.Fatal(err)
			}
			targets := len(slices.DeleteFunc(slices.Clone(s.Target), func(on bool) bool { return !on }))
			if !slices.Equal(s.Tokens, want[k]) || s.Segments[0].Document.Source != sources[k] || targets != 63 {
				t.Fatalf("seed %d, sequence %d: %d of source %d with %d targets, want %d of %d", i, k, s.Tokens,
					s.Segments[0].Document.Source, targets, want[k], sources[k])
			}
		}
	}
	report, err := exam.Report(nil)
	if err != nil || math.Abs(report.Weights["FINEWEB"]-0.30/0.65) > 1e-12 || report.Weights["STACKV2_DEDUP"] != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestPagesOfOwnText puts files in the place of a data set whose text is not at the hub, and cuts documents as
// tokenizer_config.json says.
func TestPagesOfOwnText(t *testing.T) {
	dir, profile, o := pageMirror(t)
	open := func() *stages.MixExam {
		exam, err := stages.OpenMix(t.Context(), store.OS(), profile, filepath.Join(dir, "base"), o)
		if err != nil {
			t.Fatal(err)
		}
		return exam
	}
	before := open()
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "{\"content\":\"def f%d(x): return x + %d # %s\"}\n", i, i, strings.Repeat("code ", 30))
	}
	write(t, filepath.Join(o.Mirror, "bigcode", "the-stack-v2-dedup", "a.jsonl"), b.String())
	with := open()
	if len(with.Short) != 0 || with.Mix[2].Rows == 0 || with.Mix[2].There != with.Mix[2].Files || with.Key == before.Key {
		t.Errorf("%q, %+v", with.Short, with.Mix[2])
	}
	write(t, filepath.Join(dir, "base", "tokenizer_config.json"), `{"model_max_length": 10}`)
	if cut := open(); cut.Mix[2].Rows >= with.Mix[2].Rows/2 {
		t.Errorf("%d sequences of documents cut to 10 tokens, %d before", cut.Mix[2].Rows, with.Mix[2].Rows)
	}
	page := mirror.Pages{FS: store.OS(), Dir: o.Mirror, Path: "laion/Pes2oX-fulltext"}
	if err := os.RemoveAll(filepath.Join(page.Folder(), "pages", "pes2ov2")); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(o.Mirror, "HuggingFaceTB", "finemath", "pages", "finemath-3plus", "*"))
	if err != nil || len(pages) != 12 {
		t.Fatal(pages, err)
	}
	for _, name := range pages[:11] {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	short := strings.Join(open().Short, "\n")
	for _, want := range []string{"PES2OX, of weight 0.05, is left out, and the other weights are scaled up: " + page.Folder() +
		" holds no page of it; run bzdata mirror", "FINEMATH_3P: the mirror lacks 6 of 6 pages", "FINEMATH_3P: the mirror lacks 5 of 6 pages",
		"FINEMATH_3P: its pages do not fill a sequence, and it is left out"} {
		if !strings.Contains(short, want) {
			t.Errorf("%s\nlacks %q", short, want)
		}
	}
}

const pagesPlan = `
name: pages
seed: 9
network: {profile: sn9, base: {model: base}}
input: [{path: data/*.jsonl}]
held_out: {fraction: 0.1}
evaluate: {mirror: mirror, seeds: 2, sequence_length: 64}
stages:
  - tokenize: {sequence_length: 64}
  - train: {max_steps: 6, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 1}
  - proof_of_loss: {documents_min: 8}
`

// TestProofByPages weighs data sets as validators do, in the gate and in the score of each seed.
func TestProofByPages(t *testing.T) {
	trainsModels(t)
	dir, profile, _ := pageMirror(t)
	opt := options(dir)
	_, s := scoredRun(t, dir, pagesPlan, opt)
	judged, err := stages.ReadJudged(store.OS(), opt.Workdir, "proof_of_loss")
	if err != nil || len(judged.Documents) != s.Mix.Distinct || s.Documents != s.Mix.Distinct {
		t.Fatalf("%d documents in losses.json and %d in score.json of %d sequences, %v", len(judged.Documents), s.Documents,
			s.Mix.Distinct, err)
	}
	mean, weights := 0.0, 0.0
	for k, of := range profile.Evaluate.Sources {
		sum, tokens := 0.0, 0
		for _, d := range judged.Documents {
			if int(d.Source) == k {
				sum, tokens = sum+d.Update-d.Base, tokens+d.Tokens
			}
		}
		if tokens > 0 {
			mean, weights = mean+of.Weight*sum/float64(tokens), weights+of.Weight
		}
	}
	if want := mean / weights; math.Abs(s.Difference-want) > 1e-9 || math.Abs(weights-0.65) > 1e-12 {
		t.Errorf("difference %v, want %v of weights %v", s.Difference, want, weights)
	}
	if j := s.BySeed[0]; j.Batches != s.Mix.RowsOfSeed[0] || j.Score != j.Loss || j.Delta <= 0 {
		t.Errorf("%+v of %d sequences", j, s.Mix.RowsOfSeed[0])
	}
	if want := "the mix of FINEWEB and FINEWEB_EDU2 and PES2OX and FINEMATH_3P and INFIWEBMATH_3P, without STACKV2_DEDUP, that " +
		"validators of sn9@6.0.4 read, pages of 2 seeds"; s.MeasuredOn != want || len(s.Sources) != 5 || !s.Mix.Pages {
		t.Errorf("%s, %d sources", s.MeasuredOn, len(s.Sources))
	}
	plan, err := parseProfiled(dir, strings.Replace(pagesPlan, "mirror: mirror", "mirror: none", 1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = pipeline.Run(t.Context(), plan, options(t.TempDir()))
	is[*pipeline.UsageError](t, err)
}

// whole are documents as training data, each a sequence that begins with tokens of no document.
type whole [][]int32

func (w whole) Sequences() int { return len(w) }

func (w whole) Sequence(i int, dst *tokenize.Sequence) error {
	dst.Tokens = append(dst.Tokens[:0], w[i]...)
	dst.Segments = append(dst.Segments[:0], tokenize.Segment{Start: 3, End: len(w[i])})
	return nil
}

// TestTrainedPages asks which sequences have training text in them, where documents are longer than sequences, and
// compares with a search at every place.
func TestTrainedPages(t *testing.T) {
	dir, profile, o := pageMirror(t)
	var b strings.Builder
	var texts []string
	for i := range 200 {
		texts = append(texts, fmt.Sprintf("def f%d(x):", i))
		for k := range 30 {
			texts[i] += fmt.Sprintf(" y = %d * x + %d;", (i*977+k*k)%1009, k)
		}
		fmt.Fprintf(&b, "{\"content\":%q}\n", texts[i])
	}
	write(t, filepath.Join(o.Mirror, "bigcode", "the-stack-v2-dedup", "a.jsonl"), b.String())
	exam, err := stages.OpenMix(t.Context(), store.OS(), profile, filepath.Join(dir, "base"), o)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenize.Load(store.OS(), filepath.Join(dir, "base"))
	if err != nil {
		t.Fatal(err)
	}
	var docs whole
	for _, text := range texts[:100] {
		docs = append(docs, tok.EncodeBytes([]int32{0, 0, 0}, []byte(text)))
	}
	want, begin := 0, 0
	var s tokenize.Sequence
	for i := range exam.Sequences() {
		if err := exam.Sequence(i, &s); err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(s.Segments, func(seg tokenize.Segment) bool {
			return slices.ContainsFunc(docs, func(doc []int32) bool { return runIn(s.Tokens[seg.Start:seg.End], doc[3:]) })
		})
		if found {
			want++
		}
		if found && slices.ContainsFunc(s.Segments, func(seg tokenize.Segment) bool { return seg.From == 0 && seg.Document.Source == 2 }) {
			begin++
		}
	}
	rows, _, err := exam.Trained(docs)
	if err != nil || rows != want || begin >= want/2 || want == exam.Sequences() {
		t.Errorf("%d of %d sequences have training text, want %d, of which in %d a document begins, %v", rows, exam.Sequences(),
			want, begin, err)
	}
}

// runIn reports whether the first 32 tokens of a piece stand in a document.
func runIn(piece, doc []int32) bool {
	for k := 0; len(piece) >= 32 && k+32 <= len(doc); k++ {
		if slices.Equal(piece[:32], doc[k:k+32]) {
			return true
		}
	}
	return false
}
