package ngram

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Break, as a word, ends a sentence and begins the next one. Sentences without words
// are skipped, except that a document without words is one empty sentence.
const Break uint64 = 0

// OrderMax is the greatest order of a model.
const OrderMax = 5

// Config says how a model is trained. The zero value is order 3 over all words.
type Config struct {
	// Order is the length of the longest n-grams, 1 to 5; 0 is 3.
	Order int
	// MinCount is how often a word must occur to be kept; 0 is 1. All other words
	// are one, <unk>.
	MinCount int
	// VocabularyMax, if not 0, bounds the number of kept words: the most frequent
	// are kept, of equals those with the smaller hash.
	VocabularyMax int
	// Vocabulary, if not nil, is the words to keep, in any order, whether they occur
	// or not; MinCount and VocabularyMax then say nothing.
	Vocabulary []uint64
}

func (c Config) checked() (Config, error) {
	if c.Order == 0 {
		c.Order = 3
	}
	if c.MinCount == 0 {
		c.MinCount = 1
	}
	if c.Order < 1 || c.Order > OrderMax {
		return c, fmt.Errorf("ngram order %d: must be 1 to %d", c.Order, OrderMax)
	}
	if c.MinCount < 0 {
		return c, fmt.Errorf("ngram min_count %d: must be at least 1", c.MinCount)
	}
	if c.VocabularyMax < 0 {
		return c, fmt.Errorf("ngram vocabulary_max %d: must be at least 0", c.VocabularyMax)
	}
	return c, nil
}

// Trainer collects documents and trains a model on them. It is not safe for
// concurrent use.
type Trainer struct {
	cfg  Config
	dict dictionary
	docs corpus
}

// NewTrainer returns a trainer without documents, or an error that names the wrong
// setting.
func NewTrainer(cfg Config) (*Trainer, error) {
	cfg, err := cfg.checked()
	return &Trainer{cfg: cfg}, err
}

// Add takes in a document. The words are copied.
func (t *Trainer) Add(words []uint64) { t.docs.add(&t.dict, words) }

// Tokens returns how many words and sentence ends were added.
func (t *Trainer) Tokens() int { return t.docs.tokens }

// Vocabulary returns the words that [Trainer.Train] would keep, rising.
func (t *Trainer) Vocabulary() []uint64 { return t.cfg.vocabulary(&t.dict, []*corpus{&t.docs}) }

// Train returns the model of all documents added so far. It fails if there are none,
// or more than 4 294 967 295 tokens.
func (t *Trainer) Train() (*Model, error) { return train(t.cfg, &t.dict, []*corpus{&t.docs}) }

// dictionary numbers word hashes from 1 in order of appearance.
type dictionary struct {
	hashes []uint64 // of number i+1
	slots  []uint32 // open addressing; 0 is free
}

func (d *dictionary) number(hash uint64) uint32 {
	if 2*len(d.hashes) >= len(d.slots) {
		d.grow()
	}
	i := home(hash, len(d.slots))
	for ; d.slots[i] != 0; i = after(i, len(d.slots)) {
		if d.hashes[d.slots[i]-1] == hash {
			return d.slots[i]
		}
	}
	d.hashes = append(d.hashes, hash)
	d.slots[i] = uint32(len(d.hashes))
	return d.slots[i]
}

func (d *dictionary) grow() {
	d.slots = make([]uint32, max(1024, 4*len(d.hashes)))
	for n, hash := range d.hashes {
		i := home(hash, len(d.slots))
		for d.slots[i] != 0 {
			i = after(i, len(d.slots))
		}
		d.slots[i] = uint32(n + 1)
	}
}

// chunkWords is how many numbers a corpus allocates at once, 1 MiB.
const chunkWords = 1 << 18

// corpus is sentences as a sequence of dictionary numbers, each sentence closed by a 0.
type corpus struct {
	chunks    [][]uint32
	tokens    int
	documents int
}

func (c *corpus) add(d *dictionary, words []uint64) {
	c.documents++
	open, before := false, c.tokens
	for _, w := range words {
		if w != Break {
			c.push(d.number(w))
		} else if open {
			c.push(0)
		}
		open = w != Break
	}
	if open || c.tokens == before {
		c.push(0)
	}
}

func (c *corpus) push(number uint32) {
	last := len(c.chunks) - 1
	if last < 0 || len(c.chunks[last]) == chunkWords {
		c.chunks = append(c.chunks, make([]uint32, 0, chunkWords))
		last++
	}
	c.chunks[last] = append(c.chunks[last], number)
	c.tokens++
}

// vocabulary returns the hashes of the words to keep, rising.
func (c Config) vocabulary(d *dictionary, parts []*corpus) []uint64 {
	if c.Vocabulary != nil {
		words := slices.Sorted(slices.Values(c.Vocabulary))
		words = slices.Compact(words)
		return slices.DeleteFunc(words, func(h uint64) bool { return h == Break })
	}
	counts := make([]int, len(d.hashes)+1)
	for _, part := range parts {
		for _, chunk := range part.chunks {
			for _, w := range chunk {
				counts[w]++
			}
		}
	}
	var kept []uint32
	for w := 1; w < len(counts); w++ {
		if counts[w] >= c.MinCount {
			kept = append(kept, uint32(w))
		}
	}
	if c.VocabularyMax > 0 && len(kept) > c.VocabularyMax {
		slices.SortFunc(kept, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(d.hashes[a-1], d.hashes[b-1]))
		})
		kept = kept[:c.VocabularyMax]
	}
	words := make([]uint64, len(kept))
	for i, w := range kept {
		words[i] = d.hashes[w-1]
	}
	slices.Sort(words)
	return words
}

// Numbers of the words that are in every vocabulary; kept words follow.
const (
	numberUnk = iota
	numberBegin
	numberEnd
	specials
)

// train counts the parts and compiles the model that the counts, encoded, stand for.
func train(cfg Config, d *dictionary, parts []*corpus) (*Model, error) {
	head := header{order: cfg.Order, minCount: uint64(cfg.MinCount)}
	if cfg.Vocabulary != nil {
		head.minCount = 0
	}
	for _, part := range parts {
		head.documents += uint64(part.documents)
		head.tokens += uint64(part.tokens)
	}
	if head.documents == 0 {
		return nil, errors.New("ngram: no documents to train on")
	}
	if head.tokens > math.MaxUint32 {
		return nil, fmt.Errorf("ngram: %d tokens to train on, more than %d; train on a sample",
			head.tokens, uint32(math.MaxUint32))
	}
	vocabulary := cfg.vocabulary(d, parts)
	head.words = uint64(len(vocabulary))
	c := newCounter(cfg.Order, len(vocabulary)+specials)
	numbers := renumber(d, vocabulary)
	for _, part := range parts {
		c.count(part, numbers)
	}
	body := c.encode(vocabulary, &head)
	return compile(head, body)
}

// renumber maps dictionary numbers to those of the model; 0, the end of a sentence,
// becomes </s>.
func renumber(d *dictionary, vocabulary []uint64) []uint32 {
	numbers := make([]uint32, len(d.hashes)+1)
	numbers[0] = numberEnd
	for i, hash := range d.hashes {
		numbers[i+1] = numberUnk
		if at, ok := slices.BinarySearch(vocabulary, hash); ok {
			numbers[i+1] = uint32(at + specials)
		}
	}
	return numbers
}
