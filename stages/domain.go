package stages

import (
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
	"sync"

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

	Order    int            `yaml:"order" min:"1" max:"5" doc:"Length of the longest n-grams of the language models."`
	MinCount int            `yaml:"min_count" min:"1" max:"1000" doc:"Words that occur less often in the reference are all one unknown word."`
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
		Default: Domain{Method: "moore-lewis", Order: 3, MinCount: 2, Folds: 5, General: 64 << 20},
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
	if c.KeepReference == nil && c.KeepFraction == nil && c.KeepTokens == nil && c.Threshold == nil {
		share := keepReferenceDefault
		c.KeepReference = &share
	}
	reference := &referenceTexts{config: c}
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			return []pipeline.Read{{Name: "reference", Paths: c.Reference, Value: fmt.Sprint(reference.input(p))}}
		},
		Passes: []pipeline.Pass{
			{Name: "sample", Open: func(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
				return c.openSample(ctx, t, reference)
			}, Barrier: &pipeline.Barrier{Reduce: func(ctx context.Context, t *pipeline.Task, p *pipeline.Partition) error {
				return c.train(ctx, t, p, reference)
			}}},
			{Name: "score", Open: c.openScore, Barrier: &pipeline.Barrier{Reduce: c.decide}},
			pipeline.Apply("drop"),
		},
	}
}

// openSample drops copies of reference rows and sends the sampled documents' text.
func (c Domain) openSample(ctx context.Context, t *pipeline.Task, ref *referenceTexts) (pipeline.Mapper, error) {
	if err := ref.load(ctx, t); err != nil {
		return nil, err
	}
	share := 1.0
	if total := t.InputBytes(); total > int64(c.General) {
		share = float64(c.General) / float64(total)
	}
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

// halfOf says which half of the general sample a text belongs to, by content, so that
// copies share a half.
func halfOf(contentHash uint64) int { return int(contentHash >> 32 & 1) }

// The files of the training barrier: a model of the reference without each fold, a
// model of each half of the general sample, and the reference's own scores.
func foldName(i int) string    { return fmt.Sprintf("reference-%d.ngram", i) }
func generalName(i int) string { return fmt.Sprintf("general-%d.ngram", i) }

const referenceScoresName = "reference-scores.txt"

func (c Domain) train(ctx context.Context, t *pipeline.Task, part *pipeline.Partition, ref *referenceTexts) error {
	if err := ref.load(ctx, t); err != nil {
		return err
	}
	if len(ref.texts) < 10*c.Folds {
		return &pipeline.UsageError{Msg: fmt.Sprintf("domain: the reference has %d rows, too few for %d folds; give at least %d",
			len(ref.texts), c.Folds, 10*c.Folds)}
	}
	folds, err := ngram.NewCrossFold(ngram.Config{Order: c.Order, MinCount: c.MinCount}, c.Folds)
	if err != nil {
		return err
	}
	for _, text := range ref.texts {
		folds.Add(folds.Fold(pipeline.ContentHash(text)), words.AppendHashes(nil, text))
	}
	scorers, err := c.models(t, folds, part)
	if err != nil {
		return err
	}
	scores := make([]float64, len(ref.texts))
	for i, text := range ref.texts {
		scores[i], _ = scorers.score(text)
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

// models trains and writes every model. All share the reference's vocabulary.
func (c Domain) models(t *pipeline.Task, folds *ngram.CrossFold, part *pipeline.Partition) (*domainScorer, error) {
	vocabulary := folds.Vocabulary()
	s := &domainScorer{folds: folds.Fold}
	var err error
	if s.reference, err = folds.TrainFolds(t.Workers); err != nil {
		return nil, err
	}
	for i, m := range s.reference {
		if err := writeModel(t, foldName(i), m); err != nil {
			return nil, err
		}
	}
	if c.Method != "moore-lewis" {
		return s, nil
	}
	for half := range 2 {
		trainer, err := ngram.NewTrainer(ngram.Config{Order: c.Order, Vocabulary: vocabulary})
		if err != nil {
			return nil, err
		}
		for _, r := range part.Records {
			if halfOf(r.Key) == half {
				trainer.Add(words.AppendHashes(nil, string(r.Payload)))
			}
		}
		m, err := trainer.Train()
		if err != nil {
			return nil, fmt.Errorf("domain: half %d of the general sample of %d documents: %w", half+1, len(part.Records), err)
		}
		s.general = append(s.general, m)
		if err := writeModel(t, generalName(half), m); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func writeModel(t *pipeline.Task, name string, m *ngram.Model) error {
	return t.WriteFile(name, func(w io.Writer) error { _, err := m.WriteTo(w); return err })
}

// domainScorer scores texts; lower is closer to the reference.
type domainScorer struct {
	folds     func(contentHash uint64) int
	reference []*ngram.Model // without each fold
	general   []*ngram.Model // of each half; none for perplexity
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
	in := s.reference[s.folds(hash)]
	if s.general == nil {
		return ngram.Perplexity(in.Score(s.hashes)), len(s.hashes)
	}
	// The half without the text: it may be in its own half's model.
	general := s.general[1-halfOf(hash)]
	return ngram.MooreLewis{InDomain: in, General: general}.Score(s.hashes), len(s.hashes)
}

func (c Domain) openModels(fsys store.FS, dir string) (*domainScorer, error) {
	folds, err := ngram.NewCrossFold(ngram.Config{Order: c.Order, MinCount: c.MinCount}, c.Folds)
	if err != nil {
		return nil, err
	}
	s := &domainScorer{folds: folds.Fold}
	for i := range c.Folds {
		m, err := readModel(fsys, filepath.Join(dir, foldName(i)))
		if err != nil {
			return nil, err
		}
		s.reference = append(s.reference, m)
	}
	for i := range 2 {
		if c.Method != "moore-lewis" {
			break
		}
		m, err := readModel(fsys, filepath.Join(dir, generalName(i)))
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
func (c Domain) decide(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
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
	return nil
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

// referenceTexts are the rows of the reference, read once and shared by all tasks.
type referenceTexts struct {
	config Domain
	once   sync.Once
	err    error
	texts  []string // each once, in the order of files and rows
	hashes map[uint64]bool
}

// input says how a reference row becomes text.
func (r *referenceTexts) input(p *pipeline.Plan) pipeline.Input {
	in := p.Input[0]
	if r.config.Text != "" || r.config.Template != "" || r.config.Messages != "" {
		in.Text, in.Template, in.Messages = r.config.Text, r.config.Template, r.config.Messages
	}
	return pipeline.Input{Text: in.Text, Template: in.Template, Messages: in.Messages,
		RecordBytesMax: in.RecordBytesMax, Source: "reference"}
}

func (r *referenceTexts) load(ctx context.Context, t *pipeline.Task) error {
	r.once.Do(func() { r.err = r.read(ctx, t) })
	return r.err
}

func (r *referenceTexts) read(ctx context.Context, t *pipeline.Task) error {
	r.hashes = map[uint64]bool{}
	return pipeline.EachText(ctx, t.Inputs, t.Files("reference"), r.input(t.Plan), func(text string) error {
		if hash := pipeline.ContentHash(text); !r.hashes[hash] {
			r.hashes[hash] = true
			r.texts = append(r.texts, text)
		}
		return nil
	})
}
