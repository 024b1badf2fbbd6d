package stages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"sync"

	"bzdata/dedup"
	"bzdata/eval/ngram"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize/words"
)

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
	s := &domainScorer{domainModels: &domainModels{folds: c.Folds}}
	for half := range c.halves() {
		if err := c.trainHalf(t, part, ref.texts, half, s.domainModels); err != nil {
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
	half int, s *domainModels) error {
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
	sampled := 0
	err = part.Each(func(r pipeline.Record) error {
		sampled++
		if hashes := words.AppendHashes(nil, string(r.Payload)); halfOf(hashes) == half {
			trainer.Add(hashes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m, err := trainer.Train()
	if err != nil {
		return nil, fmt.Errorf("half %d of the general sample of %d documents: %w", half+1, sampled, err)
	}
	return m, nil
}

func writeModel(t *pipeline.Task, name string, m *ngram.Model) error {
	return t.WriteFile(name, func(w io.Writer) error { _, err := m.WriteTo(w); return err })
}

// domainModels are the models of a training barrier. They do not change once read.
type domainModels struct {
	folds     int
	reference [][]*ngram.Model // by half, then without each fold
	general   []*ngram.Model   // of each half; none for perplexity
}

// domainScorer scores texts; lower is closer to the reference.
type domainScorer struct {
	*domainModels
	compare comparer
	hashes  []uint64
}

// score returns the score of a text and its number of words. A text without words is
// as far from the domain as can be.
func (s *domainScorer) score(text string) (float64, int) {
	s.hashes = words.AppendHashes(s.hashes[:0], s.compare.normal(text))
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

// sharedModels reads the models of a training barrier once for all tasks that score by
// them: there are a dozen, and a run has many shards.
type sharedModels struct {
	config Domain
	mu     sync.Mutex
	dir    string // of what is held
	models *domainModels
}

// scorer returns a scorer of the models in a folder, for one goroutine.
func (s *sharedModels) scorer(fsys store.FS, dir string) (*domainScorer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != dir {
		models, err := s.config.openModels(fsys, dir)
		if err != nil {
			return nil, err
		}
		s.dir, s.models = dir, models
	}
	return &domainScorer{domainModels: s.models}, nil
}

// forget gives the models' memory back.
func (s *sharedModels) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir, s.models = "", nil
}

func (c Domain) openModels(fsys store.FS, dir string) (*domainModels, error) {
	s := &domainModels{folds: c.Folds}
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
