package ngram

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// MooreLewis ranks documents by how much more they look like one domain than like text
// in general (Moore and Lewis 2010). Both models must be of one vocabulary, best that
// of the in-domain text with words seen once left out, as in the paper; see
// [SameVocabulary] and [Config.Vocabulary].
type MooreLewis struct {
	InDomain, General *Model
}

// Score returns the cross-entropy difference H_in - H_gen in nats for each token (word
// or sentence end). Lower is more in-domain.
func (s MooreLewis) Score(words []uint64) float64 {
	in, tokens := s.InDomain.Score(words)
	general, _ := s.General.Score(words)
	return (general - in) / float64(tokens)
}

// SameVocabulary reports whether the models keep the same words.
func SameVocabulary(a, b *Model) bool {
	n := 8 * int(a.head.words)
	return a.head.words == b.head.words && string(a.body[:n]) == string(b.body[:n])
}

// Quantile returns the smallest of the values, sorted rising, that at least the
// fraction q of them does not exceed: the k-th for the smallest k >= 1 with k/n >= q in
// float64. It is always one of the values (the inverse of the empirical distribution,
// definition 1 of Hyndman and Fan 1996), so that "keep what is <= Quantile(s, 0.97)"
// keeps at least 97 % of them. q below 0 is 0 and above 1 is 1; of no values it is NaN.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 || math.IsNaN(q) {
		return math.NaN()
	}
	return sorted[QuantileRank(len(sorted), q)-1]
}

// QuantileRank returns the rank, counted from 1, of the q-quantile of n values, n at least
// 1: that of [Quantile], for values that are not all at hand.
func QuantileRank(n int, q float64) int {
	k := int(math.Ceil(min(max(q, 0), 1) * float64(n)))
	k = min(max(k, 1), n)
	for k > 1 && float64(k-1)/float64(n) >= q {
		k-- // the product was rounded up
	}
	for k < n && float64(k)/float64(n) < q {
		k++ // or down
	}
	return k
}

// CrossFold trains models for scoring documents that are themselves training text: a
// document of fold i is scored by the model of all other folds. Equal or nearly equal
// documents should be of one fold. It is not safe for concurrent use.
type CrossFold struct {
	cfg   Config
	dict  dictionary
	folds []corpus
}

// NewCrossFold returns a CrossFold of at least 2 folds without documents.
func NewCrossFold(cfg Config, folds int) (*CrossFold, error) {
	cfg, err := cfg.checked()
	if err == nil && folds < 2 {
		err = fmt.Errorf("ngram folds %d: must be at least 2", folds)
	}
	if err != nil {
		return nil, err
	}
	return &CrossFold{cfg: cfg, folds: make([]corpus, folds)}, nil
}

// Folds returns the number of folds.
func (c *CrossFold) Folds() int { return len(c.folds) }

// Fold is [FoldOf] among the folds of c.
func (c *CrossFold) Fold(contentHash uint64) int { return FoldOf(contentHash, len(c.folds)) }

// FoldOf returns the fold of a document, given a hash of its content, so that equal
// documents share one.
func FoldOf(contentHash uint64, folds int) int { return home(contentHash, folds) }

// Add takes in a document of a fold, 0 to Folds()-1. The words are copied.
func (c *CrossFold) Add(fold int, words []uint64) { c.folds[fold].add(&c.dict, words) }

// Vocabulary returns the words that [CrossFold.TrainAll] would keep, rising.
func (c *CrossFold) Vocabulary() []uint64 { return c.cfg.vocabulary(&c.dict, c.parts(-1)) }

// parts returns all folds but one.
func (c *CrossFold) parts(without int) []*corpus {
	var parts []*corpus
	for i := range c.folds {
		if i != without {
			parts = append(parts, &c.folds[i])
		}
	}
	return parts
}

// TrainWithout returns the model of all folds but one, for the documents of that one.
func (c *CrossFold) TrainWithout(fold int) (*Model, error) {
	m, err := train(c.cfg, &c.dict, c.parts(fold))
	if err != nil {
		return nil, fmt.Errorf("without fold %d of %d: %w", fold, len(c.folds), err)
	}
	return m, nil
}

// TrainAll returns the model of all folds, for documents of none.
func (c *CrossFold) TrainAll() (*Model, error) { return train(c.cfg, &c.dict, c.parts(-1)) }

// TrainFolds returns for each fold the model of the others, training up to workers of
// them at a time. All are held at once; [CrossFold.TrainWithout] needs less memory.
func (c *CrossFold) TrainFolds(workers int) ([]*Model, error) {
	models, errs := make([]*Model, len(c.folds)), make([]error, len(c.folds))
	slots := make(chan struct{}, max(1, workers))
	var wg sync.WaitGroup
	for i := range c.folds {
		slots <- struct{}{}
		wg.Go(func() {
			models[i], errs[i] = c.TrainWithout(i)
			<-slots
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return models, nil
}
