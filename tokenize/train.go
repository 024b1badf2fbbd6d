package tokenize

import (
	"container/heap"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// TrainOptions say what [Train] learns.
type TrainOptions struct {
	// VocabSize is the number of tokens wanted: special ones, 256 bytes, merges.
	VocabSize int
	// Special tokens get the first ids, in this order. No merge spells one out.
	Special []string
	// Pattern cuts the text; PatternGPT2 if empty.
	Pattern Pattern
	// CountMin is the least number of times that a pair must occur to be merged; 1 if 0.
	CountMin int64
	// Progress, if not nil, is called now and then with the size of the vocabulary so far; its
	// error ends the training.
	Progress func(tokens int) error
}

// Train learns byte-level BPE from documents: the pair of adjacent tokens with the
// highest count is merged everywhere, of equal counts the one with the lowest ids
// (left first), until there are VocabSize tokens or no pair is left. These are the
// choices of Hugging Face's BpeTrainer with the full byte alphabet, so that the same
// documents give the same merges. The result depends on the documents alone, not on
// their order. Memory grows with the number of distinct pieces, not with the text.
func Train(docs iter.Seq[string], o TrainOptions) (*Tokenizer, error) {
	tr, err := newTrainer(o)
	if err != nil {
		return nil, err
	}
	for doc := range docs {
		tr.count(doc)
	}
	return tr.learn()
}

// trainer holds the vocabulary so far and the distinct pieces as token sequences.
type trainer struct {
	opt      TrainOptions
	split    *splitter
	spec     spec
	contents []string         // by id
	ids      map[string]int32 // by content; special tokens included

	pieces map[string]int // index into counts and words
	counts []int64
	words  [][]int32

	pairs map[uint64]*trainPair
	queue trainQueue
	grown []uint64 // pairs whose count grew in this step
}

// trainPair is an adjacent pair: how often it occurs, and the words that may hold it.
type trainPair struct {
	count int64
	words []int32
	grown bool
}

func newTrainer(o TrainOptions) (*trainer, error) {
	if o.Pattern == "" {
		o.Pattern = PatternGPT2
	}
	o.CountMin = max(o.CountMin, 1)
	split, err := newSplitter(o.Pattern)
	if err != nil {
		return nil, err
	}
	if least := 256 + len(o.Special); o.VocabSize < least {
		return nil, fmt.Errorf("vocabulary size %d is too small: 256 bytes and %d special tokens need %d",
			o.VocabSize, len(o.Special), least)
	}
	tr := &trainer{
		opt: o, split: split, spec: spec{pattern: o.Pattern},
		ids: map[string]int32{}, pieces: map[string]int{}, pairs: map[uint64]*trainPair{},
	}
	for i, s := range o.Special {
		if _, ok := tr.ids[s]; ok || s == "" {
			return nil, fmt.Errorf("special token %d %q is empty or given twice", i, s)
		}
		if _, taken := fromByteLevel(s); taken && len([]rune(s)) == 1 {
			return nil, fmt.Errorf("special token %q is one byte of the vocabulary; choose a longer one", s)
		}
		tr.spec.added = append(tr.spec.added, Added{ID: tr.add(s), Content: s, Special: true})
	}
	alphabet := slices.Clone(byteRunes[:])
	slices.Sort(alphabet)
	for _, r := range alphabet {
		tr.add(string(r))
	}
	return tr, nil
}

func (tr *trainer) add(content string) int32 {
	id := int32(len(tr.contents))
	tr.contents = append(tr.contents, content)
	tr.ids[content] = id
	return id
}

// count adds the pieces of a document.
func (tr *trainer) count(doc string) {
	for i := 0; i < len(doc); {
		j := tr.split.next(doc, i)
		k, ok := tr.pieces[doc[i:j]]
		if !ok {
			k = len(tr.counts)
			tr.pieces[strings.Clone(doc[i:j])] = k
			tr.counts = append(tr.counts, 0)
		}
		tr.counts[k]++
		i = j
	}
}

func (tr *trainer) learn() (*Tokenizer, error) {
	tr.makeWords()
	for w := range tr.words {
		word := tr.words[w]
		for i := 0; i+1 < len(word); i++ {
			tr.change(word[i], word[i+1], int32(w), 1)
		}
	}
	tr.enqueueGrown()
	for step := 0; len(tr.contents) < tr.opt.VocabSize && len(tr.queue) > 0; step++ {
		if err := tr.progress(step); err != nil {
			return nil, err
		}
		top := tr.queue[0]
		pair := tr.pairs[top.key]
		switch {
		case pair.count < tr.opt.CountMin:
			heap.Pop(&tr.queue)
		case top.count != pair.count:
			tr.queue[0].count = pair.count
			heap.Fix(&tr.queue, 0)
		default:
			heap.Pop(&tr.queue)
			tr.mergePair(top.key, pair)
		}
	}
	return tr.finish()
}

// progressSteps is how many steps of training pass between two calls of Progress.
const progressSteps = 256

func (tr *trainer) progress(step int) error {
	if tr.opt.Progress == nil || step%progressSteps != 0 {
		return nil
	}
	return tr.opt.Progress(len(tr.contents))
}

func (tr *trainer) makeWords() {
	tr.words = make([][]int32, len(tr.counts))
	for piece, k := range tr.pieces {
		word := make([]int32, len(piece))
		for i := range len(piece) {
			word[i] = tr.ids[string(byteRunes[piece[i]])]
		}
		tr.words[k] = word
	}
	tr.pieces = nil
}

// change adds times occurrences, 1 or −1, of a pair in each copy of a word.
func (tr *trainer) change(left, right, word int32, times int64) {
	key := uint64(uint32(left))<<32 | uint64(uint32(right))
	pair := tr.pairs[key]
	if pair == nil {
		pair = &trainPair{}
		tr.pairs[key] = pair
	}
	pair.count += times * tr.counts[word]
	if times < 0 {
		return
	}
	if n := len(pair.words); n == 0 || pair.words[n-1] != word {
		pair.words = append(pair.words, word)
	}
	if !pair.grown {
		pair.grown = true
		tr.grown = append(tr.grown, key)
	}
}

// enqueueGrown offers the pairs that grew. An entry whose count is no longer true is
// corrected when it comes to the top.
func (tr *trainer) enqueueGrown() {
	for _, key := range tr.grown {
		pair := tr.pairs[key]
		pair.grown = false
		if pair.count >= tr.opt.CountMin && !tr.spellsSpecial(key) {
			heap.Push(&tr.queue, trainCandidate{pair.count, key})
		}
	}
	tr.grown = tr.grown[:0]
}

// spellsSpecial reports whether a merge would make the content of a special token, so
// that ordinary text could be encoded to it.
func (tr *trainer) spellsSpecial(key uint64) bool {
	if len(tr.opt.Special) == 0 {
		return false
	}
	id, ok := tr.ids[tr.contents[key>>32]+tr.contents[uint32(key)]]
	return ok && int(id) < len(tr.opt.Special)
}

func (tr *trainer) mergePair(key uint64, pair *trainPair) {
	left, right := int32(key>>32), int32(uint32(key))
	content := tr.contents[left] + tr.contents[right]
	id, ok := tr.ids[content]
	if !ok {
		id = tr.add(content)
	}
	tr.spec.merges = append(tr.spec.merges, mergeEntry{left, right, id})
	for _, w := range pair.words {
		tr.mergeWord(w, left, right, id)
	}
	pair.count, pair.words = 0, nil
	tr.enqueueGrown()
}

// mergeWord replaces left, right by id in one word, from the left, and keeps the counts
// of the neighbouring pairs.
func (tr *trainer) mergeWord(w, left, right, id int32) {
	word := tr.words[w]
	n := 0
	for i := 0; i < len(word); i++ {
		if word[i] != left || i+1 == len(word) || word[i+1] != right {
			word[n] = word[i]
			n++
			continue
		}
		if n > 0 {
			tr.change(word[n-1], left, w, -1)
			tr.change(word[n-1], id, w, 1)
		}
		if i+2 < len(word) {
			tr.change(right, word[i+2], w, -1)
			tr.change(id, word[i+2], w, 1)
		}
		word[n] = id
		n++
		i++
	}
	tr.words[w] = word[:n]
}

func (tr *trainer) finish() (*Tokenizer, error) {
	for id, content := range tr.contents {
		tr.spec.vocab = append(tr.spec.vocab, vocabEntry{content, int32(id)})
	}
	return newTokenizer(tr.spec)
}

// trainCandidate is a pair in the queue: the highest count comes first, then the lowest ids.
type trainCandidate struct {
	count int64
	key   uint64
}

func (a trainCandidate) before(b trainCandidate) bool {
	return a.count > b.count || a.count == b.count && a.key < b.key
}

type trainQueue []trainCandidate

func (q trainQueue) Len() int           { return len(q) }
func (q trainQueue) Less(i, j int) bool { return q[i].before(q[j]) }
func (q trainQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *trainQueue) Push(x any)        { *q = append(*q, x.(trainCandidate)) }
func (q *trainQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}
