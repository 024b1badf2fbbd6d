package stages

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bzdata/dedup"
	"bzdata/eval/ngram"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize/words"
)

// Domain is the configuration of the domain stage.
type Domain struct {
	Method    string         `yaml:"method" enum:"moore-lewis|perplexity" doc:"What is measured: the cross-entropy difference to text in general, or the perplexity under the reference alone."`
	Reference pipeline.Paths `yaml:"reference" required:"true" doc:"Files of in-domain text, JSONL or Parquet. They are never training text: documents equal to one are dropped."`
	Text      string         `yaml:"reference_text" doc:"Field of the reference rows that holds the text. Default: as the first input."`
	Template  string         `yaml:"reference_template" doc:"Template that makes the text of the reference rows. Default: as the first input."`
	Messages  string         `yaml:"reference_messages" doc:"Field of the reference rows that holds messages. Default: as the first input."`

	KeepReference *float64 `yaml:"keep_reference" min:"0" max:"1" doc:"Sets the threshold so that this share of the reference rows, each scored by models without it, would be kept."`
	KeepFraction  *float64 `yaml:"keep_fraction" min:"0" max:"1" doc:"Keeps this share of the documents, those that score best."`
	KeepTokens    *int64   `yaml:"keep_tokens" min:"1" doc:"Keeps the best documents up to this many words."`
	Threshold     *float64 `yaml:"threshold" doc:"Keeps documents that score at most this."`

	Order    int            `yaml:"order" min:"0" max:"5" doc:"Length of the longest n-grams of the language models; 0 stands for 2 with moore-lewis and 3 with perplexity."`
	MinCount int            `yaml:"min_count" min:"0" max:"1000" doc:"Words that occur less often in the text that gives the vocabulary are all one unknown word; 0 stands for 2 with moore-lewis and 1 with perplexity."`
	Folds    int            `yaml:"folds" min:"2" max:"20" doc:"Parts of the reference: each is scored by a model of the others."`
	General  pipeline.Bytes `yaml:"general_bytes" min:"64KiB" max:"4GiB" doc:"Size of the seeded sample of the input that stands for text in general."`
}

func domainSpec() pipeline.Spec[Domain] {
	return pipeline.Spec[Domain]{
		Name: "domain", Version: 1,
		Summary: "Drops documents that do not look like a reference domain.",
		Doc: code(`
An interpolated modified Kneser-Ney language model of the reference scores each document.
‹moore-lewis› subtracts the cross-entropy under a model of text in general, a seeded sample of the
input (Moore and Lewis 2010); ‹perplexity› takes the reference's model alone. Lower is closer.

No document scores itself. The reference is cut into folds: a reference row is scored by the model of
the other folds, and an input document by one such model, chosen by its content, so that both are
measured alike. The general sample is cut in two: a sampled document is scored by the half without it.
Exactly one of ‹keep_reference›, ‹keep_fraction›, ‹keep_tokens› and ‹threshold› sets the
threshold; the default is ‹keep_reference: 0.97›. Documents beyond it are dropped as ‹off_domain›, with their
score; those equal to a reference row as ‹reference›.`),
		Example: `
domain:
  method: moore-lewis
  reference: ref/*.jsonl
  keep_reference: 0.97`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: Domain{Method: "moore-lewis", Folds: 5, General: 64 << 20},
		New:     func(c Domain) (pipeline.Program, error) { return c.program(), nil },
	}
}

// keepReferenceDefault is the share of the reference that the threshold keeps unless
// the plan says otherwise.
const keepReferenceDefault = 0.97

// Check asks for one way to the threshold and one to the text.
func (c *Domain) Check(at *pipeline.Fields) {
	one := func(keys ...string) {
		first := ""
		for _, k := range keys {
			switch {
			case !at.IsSet(k):
			case first == "":
				first = k
			default:
				at.Errorf(k, "%s is set already; keep one of them", first)
			}
		}
	}
	one("keep_reference", "keep_fraction", "keep_tokens", "threshold")
	one("reference_text", "reference_template", "reference_messages")
}

func (c Domain) program() pipeline.Program {
	c.fillIn()
	if c.KeepReference == nil && c.KeepFraction == nil && c.KeepTokens == nil && c.Threshold == nil {
		share := keepReferenceDefault
		c.KeepReference = &share
	}
	reference := &referenceTexts{config: c}
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			return []pipeline.Read{{Name: "reference", Paths: c.Reference, Value: fmt.Sprint(reference.input(p))},
				{Name: "held_out", HeldOut: true}}
		},
		Passes: []pipeline.Pass{
			{Name: "sample", Sees: func(bytes int64) string { return fmt.Sprint(c.generalShare(bytes)) },
				Open: func(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
					return c.openSample(ctx, t, reference)
				}, Barrier: &pipeline.Barrier{Reduce: func(ctx context.Context, t *pipeline.Task, p *pipeline.Partition) error {
					return c.train(ctx, t, p, reference)
				}}},
			{Name: "score", Open: c.openScore, Barrier: &pipeline.Barrier{Reduce: c.decide}},
			pipeline.Apply("drop"),
		},
	}
}

// fillIn sets the order and count that suit the method. Measured on GSM8K with 500
// reference rows, WikiText-2 and 30 % contamination, three seeds, keep_reference 0.97: at
// order 3 moore-lewis removes 83 to 88 % of WikiText, at order 2 95 %, since half of a
// sample that is mostly in-domain knows little of anything else; perplexity removes 99.8 %
// at order 3. Under a model of the reference alone, a word that it does not know must not
// pass for one of the many that it has seen once, so all words are kept.
func (c *Domain) fillIn() {
	order, minCount := 2, 2
	if c.Method == "perplexity" {
		order, minCount = 3, 1
	}
	c.Order, c.MinCount = cmp.Or(c.Order, order), cmp.Or(c.MinCount, minCount)
}

// openSample drops copies of reference rows and sends the sampled documents' text.
func (c Domain) openSample(ctx context.Context, t *pipeline.Task, ref *referenceTexts) (pipeline.Mapper, error) {
	if err := ref.load(ctx, t); err != nil {
		return nil, err
	}
	share := c.generalShare(t.InputBytes())
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		if ref.hashes[pipeline.ContentHash(d.Text)] {
			out.Drop("reference", 0)
			return nil
		}
		if c.Method == "moore-lewis" && float64(t.Choice("general", d))/(1<<64) < share {
			out.Send(pipeline.ContentHash(d.Text), []byte(d.Text))
		}
		return nil
	}), nil
}

// generalShare is the share of the documents that the sample of text in general takes.
func (c Domain) generalShare(inputBytes int64) float64 {
	if c.Method != "moore-lewis" || inputBytes <= int64(c.General) {
		return 1
	}
	return float64(c.General) / float64(inputBytes)
}

// halfOf says which half of the general sample a text belongs to: a bit of the least hash
// of its runs of three words (MinHash, Broder 1997). Two texts that share most of their
// runs share that one, so that a near copy of a text is seldom in the half that scores
// it, where it would pass for text in general.
func halfOf(hashes []uint64) int {
	least := uint64(math.MaxUint64)
	for _, s := range dedup.Shingles(nil, hashes, 3) {
		least = min(least, s)
	}
	return int(least & 1)
}

// The files of the training barrier: for each half of the general sample its model and,
// with the same vocabulary, a model of the reference without each fold; and the
// reference's own scores.
func referenceName(half, fold int) string { return fmt.Sprintf("reference-%d-%d.ngram", half, fold) }
func generalName(half int) string         { return fmt.Sprintf("general-%d.ngram", half) }

const referenceScoresName = "reference-scores.txt"

// halves is how many sets of models there are: perplexity needs no general text.
func (c Domain) halves() int {
	if c.Method == "moore-lewis" {
		return 2
	}
	return 1
}

func (c Domain) train(ctx context.Context, t *pipeline.Task, part *pipeline.Partition, ref *referenceTexts) error {
	if err := ref.load(ctx, t); err != nil {
		return err
	}
	if len(ref.texts) < 10*c.Folds {
		return &pipeline.UsageError{Msg: fmt.Sprintf("domain: the reference has %d rows, too few for %d folds; give at least %d",
			len(ref.texts), c.Folds, 10*c.Folds)}
	}
	s := &domainScorer{folds: c.Folds}
	for half := range c.halves() {
		if err := c.trainHalf(t, part, ref.texts, half, s); err != nil {
			return err
		}
	}
	scores := make([]float64, len(ref.texts))
	for i, text := range ref.texts {
		scores[i], _ = s.score(text)
	}
	slices.Sort(scores)
	return t.WriteFile(referenceScoresName, func(w io.Writer) error {
		for _, s := range scores {
			if _, err := fmt.Fprintf(w, "%x\n", math.Float64bits(s)); err != nil {
				return err
			}
		}
		return nil
	})
}

// trainHalf trains the model of one half of the general sample and, over its
// vocabulary, the reference's. The vocabulary must not come from the reference: its
// rows would then know their own rare words, and score closer than new text of the same
// kind.
func (c Domain) trainHalf(t *pipeline.Task, part *pipeline.Partition, reference []string,
	half int, s *domainScorer) error {
	cfg := ngram.Config{Order: c.Order, MinCount: c.MinCount}
	if c.Method == "moore-lewis" {
		general, err := trainGeneral(cfg, part, half)
		if err != nil {
			return err
		}
		if err := writeModel(t, generalName(half), general); err != nil {
			return err
		}
		s.general = append(s.general, general)
		cfg = ngram.Config{Order: c.Order, Vocabulary: general.Vocabulary()}
	}
	folds, err := ngram.NewCrossFold(cfg, c.Folds)
	if err != nil {
		return err
	}
	for _, text := range reference {
		folds.Add(folds.Fold(pipeline.ContentHash(text)), words.AppendHashes(nil, text))
	}
	models, err := folds.TrainFolds(t.Workers)
	if err != nil {
		return err
	}
	for fold, m := range models {
		if err := writeModel(t, referenceName(half, fold), m); err != nil {
			return err
		}
	}
	s.reference = append(s.reference, models)
	return nil
}

func trainGeneral(cfg ngram.Config, part *pipeline.Partition, half int) (*ngram.Model, error) {
	trainer, err := ngram.NewTrainer(cfg)
	if err != nil {
		return nil, err
	}
	for _, r := range part.Records {
		if hashes := words.AppendHashes(nil, string(r.Payload)); halfOf(hashes) == half {
			trainer.Add(hashes)
		}
	}
	m, err := trainer.Train()
	if err != nil {
		return nil, fmt.Errorf("half %d of the general sample of %d documents: %w", half+1, len(part.Records), err)
	}
	return m, nil
}

func writeModel(t *pipeline.Task, name string, m *ngram.Model) error {
	return t.WriteFile(name, func(w io.Writer) error { _, err := m.WriteTo(w); return err })
}

// domainScorer scores texts; lower is closer to the reference.
type domainScorer struct {
	folds     int
	reference [][]*ngram.Model // by half, then without each fold
	general   []*ngram.Model   // of each half; none for perplexity
	hashes    []uint64
}

// score returns the score of a text and its number of words. A text without words is
// as far from the domain as can be.
func (s *domainScorer) score(text string) (float64, int) {
	s.hashes = words.AppendHashes(s.hashes[:0], text)
	if len(s.hashes) == 0 {
		return math.Inf(1), 0
	}
	hash := pipeline.ContentHash(text)
	fold := ngram.FoldOf(hash, s.folds)
	if s.general == nil {
		return ngram.Perplexity(s.reference[0][fold].Score(s.hashes)), len(s.hashes)
	}
	other := 1 - halfOf(s.hashes)
	pair := ngram.MooreLewis{InDomain: s.reference[other][fold], General: s.general[other]}
	return pair.Score(s.hashes), len(s.hashes)
}

func (c Domain) openModels(fsys store.FS, dir string) (*domainScorer, error) {
	s := &domainScorer{folds: c.Folds}
	for half := range c.halves() {
		models := make([]*ngram.Model, c.Folds)
		for fold := range models {
			m, err := readModel(fsys, filepath.Join(dir, referenceName(half, fold)))
			if err != nil {
				return nil, err
			}
			models[fold] = m
		}
		s.reference = append(s.reference, models)
		if c.Method != "moore-lewis" {
			continue
		}
		m, err := readModel(fsys, filepath.Join(dir, generalName(half)))
		if err != nil {
			return nil, err
		}
		s.general = append(s.general, m)
	}
	return s, nil
}

func readModel(fsys store.FS, name string) (*ngram.Model, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	m, err := ngram.Read(f)
	return m, errors.Join(err, f.Close())
}

// openScore sends each document's score, as a key that sorts like it, and its words.
func (c Domain) openScore(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	s, err := c.openModels(t.FS, t.BarrierDirs()[0])
	if err != nil {
		return nil, err
	}
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		score, n := s.score(d.Text)
		out.Observe("score", score)
		out.Send(sortableBits(score), binary.AppendUvarint(nil, uint64(n*d.Copies)))
		return nil
	}), nil
}

// sortableBits maps floats to integers of the same order; NaN does not occur.
func sortableBits(f float64) uint64 {
	b := math.Float64bits(f)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

func fromSortableBits(b uint64) float64 {
	if b>>63 == 0 {
		return math.Float64frombits(^b)
	}
	return math.Float64frombits(b &^ (1 << 63))
}

// decide sets the threshold and drops what lies beyond it.
func (c Domain) decide(ctx context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	reference, err := readScores(t.FS, filepath.Join(t.BarrierDirs()[0], referenceScoresName))
	if err != nil {
		return err
	}
	limit := c.limit(reference, part.Records)
	for _, r := range part.Records {
		if score := fromSortableBits(r.Key); score > limit {
			t.Decide(r.Ref, pipeline.Verdict{Reason: "off_domain", Value: score})
		}
	}
	t.Note("threshold %.6g; %d reference rows score %.4g at the median and %.4g at the 97th percentile",
		limit, len(reference), ngram.Quantile(reference, 0.5), ngram.Quantile(reference, 0.97))
	t.Panel(c.panel(reference, part.Records, limit))
	return c.exam(ctx, t, limit)
}

// exam says how much of the held-out set is off the domain: an exam that training text
// was not chosen for is no fair judge of the choice, and a validator's may be like it.
func (c Domain) exam(ctx context.Context, t *pipeline.Task, limit float64) error {
	s, err := c.openModels(t.FS, t.BarrierDirs()[0])
	if err != nil {
		return err
	}
	all, beyond := 0, 0
	err = t.HeldOut(ctx, func(d *pipeline.Doc) error {
		if d.Mark == pipeline.NoMark {
			return nil
		}
		all++
		if score, _ := s.score(d.Text); score > limit {
			beyond++
		}
		return nil
	})
	if all > 0 {
		t.Note("of the held-out documents, which no training stage filters, %d of %d (%.1f %%) lie beyond the threshold",
			beyond, all, 100*float64(beyond)/float64(all))
	}
	return err
}

// limit is the highest score that is kept. Records are in the order of scores.
func (c Domain) limit(reference []float64, recs []pipeline.Record) float64 {
	switch {
	case c.Threshold != nil:
		return *c.Threshold
	case c.KeepReference != nil:
		return ngram.Quantile(reference, *c.KeepReference)
	case c.KeepFraction != nil:
		n := int(math.Ceil(*c.KeepFraction * float64(len(recs))))
		if n == 0 {
			return math.Inf(-1)
		}
		return fromSortableBits(recs[n-1].Key)
	}
	left, limit := *c.KeepTokens, math.Inf(-1)
	for _, r := range recs {
		n, _ := binary.Uvarint(r.Payload)
		if left -= int64(n); left < 0 {
			break
		}
		limit = fromSortableBits(r.Key)
	}
	return limit
}

// panel shows the scores of the reference and of the documents side by side.
func (c Domain) panel(reference []float64, recs []pipeline.Record, limit float64) pipeline.Panel {
	all := make([]float64, 0, len(recs))
	for _, r := range recs {
		if score := fromSortableBits(r.Key); !math.IsInf(score, 0) {
			all = append(all, score)
		}
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, set := range [][]float64{reference, all} {
		if len(set) > 0 {
			low, high = min(low, ngram.Quantile(set, 0.005)), max(high, ngram.Quantile(set, 0.995))
		}
	}
	curves := &pipeline.Curves{XLabel: "score (" + c.Method + ", lower is closer)", YLabel: "share of documents",
		Marks: []pipeline.PanelMark{{At: limit, Label: "threshold"}}}
	curves.Series = append(curves.Series, density("reference", reference, low, high), density("documents", all, low, high))
	return pipeline.Panel{Title: "Domain scores", Curves: curves,
		Note: "Each reference row was scored by models that have not seen it. What lies right of the threshold was dropped."}
}

// densityBins is the resolution of the score panel.
const densityBins = 60

func density(name string, scores []float64, low, high float64) pipeline.Curve {
	c := pipeline.Curve{Name: name, X: make([]float64, densityBins), Y: make([]float64, densityBins)}
	width := (high - low) / densityBins
	for i := range c.X {
		c.X[i] = low + (float64(i)+0.5)*width
	}
	for _, s := range scores {
		if i := int((s - low) / width); width > 0 && i >= 0 && i < densityBins {
			c.Y[i] += 1 / float64(len(scores))
		}
	}
	return c
}

func readScores(fsys store.FS, name string) ([]float64, error) {
	data, err := store.ReadAll(fsys, name)
	if err != nil {
		return nil, err
	}
	var scores []float64
	for line := range strings.Lines(string(data)) {
		bits, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		scores = append(scores, math.Float64frombits(bits))
	}
	return scores, nil
}
