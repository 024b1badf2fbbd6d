package main

import (
	"bzdata/tokenize"
	"bzdata/train/model"
)

// corpus is sequences in which most tokens follow from the one before, so that there is something to learn: seven of eight are
// 5t+17 modulo the number of words, the others are drawn.
type corpus struct {
	sequences, length, words int
	seed                     uint64
}

// newCorpus has a small part of the vocabulary.
func newCorpus(cfg model.Config, sequences, length int, seed uint64) corpus {
	return corpus{sequences, length, min(512, cfg.VocabSize), seed}
}

// Sequences is their number.
func (c corpus) Sequences() int { return c.sequences }

// tokens are those of sequence i.
func (c corpus) tokens(i int) []int32 {
	out, token := make([]int32, c.length), 0
	for t := range out {
		draw := mix(mix(c.seed) ^ uint64(i*c.length+t))
		if t == 0 || draw%8 == 0 {
			token = int((draw >> 8) % uint64(c.words))
		} else {
			token = (5*token + 17) % c.words
		}
		out[t] = int32(token)
	}
	return out
}

// Sequence is sequence i, all of which but the first token is to be predicted.
func (c corpus) Sequence(i int, dst *tokenize.Sequence) error {
	*dst = tokenize.Sequence{Tokens: c.tokens(i), Target: make([]bool, c.length)}
	for t := 1; t < c.length; t++ {
		dst.Target[t] = true
	}
	return nil
}

// batch is n sequences from one on.
func (c corpus) batch(from, n int) model.Batch {
	b := model.Batch{Sequences: n, Length: c.length}
	for i := range n {
		tokens := c.tokens(from + i)
		b.Tokens = append(b.Tokens, tokens...)
		b.Targets = append(append(b.Targets, tokens[1:]...), -1)
	}
	return b
}
