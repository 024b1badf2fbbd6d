// Package ngram is the perplexity scorer: an n-gram language model with interpolated
// modified Kneser-Ney smoothing (Chen and Goodman 1998, section 3; counts, sentence
// boundaries and the unknown word as in Heafield et al. 2013 and KenLM's lmplz), and
// the cross-entropy difference of two such models (Moore and Lewis 2010).
//
// A word is a 64-bit hash. What a word is, and whether two numbers are one word, is
// the caller's choice; package words has one such choice. The hash 0 is [Break]: it
// ends a sentence and begins the next one inside a document.
//
//	trainer, err := ngram.NewTrainer(ngram.Config{Order: 3, MinCount: 2})
//	for each document { trainer.Add(hashes) }
//	model, err := trainer.Train()
//	logprob, tokens := model.Score(hashes)
//	perplexity := ngram.Perplexity(logprob, tokens)
//
// # Model
//
// V is the words that are kept, <unk>, which stands for all others, and </s>, which
// ends each sentence; <s> is the context a sentence begins in and is never predicted.
// With h' for a context h without its first word and n for the length of hw,
//
//	p(w|h)  = max(a(hw) - D_n(a(hw)), 0) / sum_x a(hx) + γ(h) p(w|h')
//	γ(h)    = (D_n(1) N1(h) + D_n(2) N2(h) + D_n(3) N3+(h)) / sum_x a(hx)
//	p(w|h)  = p(w|h')   if h has no successors
//	p()     = 1/|V|     below the unigrams
//
// where N1, N2 and N3+ count the words x with a(hx) equal to 1, to 2, and above. The
// adjusted count a(g) is how often g occurs if g has the full order or begins with
// <s>, and otherwise the number of different words that occur before g. Of t_k, the
// n-grams of order n with a(g) = k, follow the discounts of that order,
//
//	Y = t_1/(t_1+2t_2)    D_n(k) = k - (k+1) Y t_{k+1}/t_k    for k = 1, 2 and 3;
//	D_n(k) = D_n(3)       for k > 3.
//
// Fallback: when t_1, t_2 or t_3 is zero, or a discount is not in (0, k], the three of
// that order are 0.5, 1 and 1.5, which is lmplz --discount_fallback. A discount of zero,
// which lmplz accepts, could leave words without any probability. Nothing is pruned.
// Probabilities over V sum to 1 in every context, and none is zero.
//
// Every number follows from integer counts, so a model does not depend on the order of
// documents, and its file is the same byte for byte. Two models are comparable, as the
// cross-entropy difference demands, only over one vocabulary ([Config.Vocabulary]).
//
// # Size and speed
//
// A trainer keeps 4 bytes a token and 16 to 26 a distinct word. Training adds, for each
// distinct n-gram above the unigrams, 20 to 32 bytes while it counts and 12 more while
// it sorts an order; the counts are given back before the model is computed, which takes
// 24 bytes more for each n-gram of two neighbouring orders. A model takes 36 bytes for
// each distinct n-gram below the full order, 24 for each of the full order, and a copy
// of its file, about 4 bytes for each. Scoring looks up one table entry for each word
// and order and allocates nothing.
//
// # File
//
// Integers are little-endian. A uvarint holds 7 bits a byte, low bits first, the high
// bit set on all but the last.
//
//	offset size
//	     0    8  "BZNGRAM\n"
//	     8    4  version, 1
//	    12    4  order N, 1 to 5
//	    16    8  B, bytes of the body
//	    24    8  min_count; 0 if the vocabulary was given
//	    32    8  documents in training
//	    40    8  tokens in training, words and sentence ends
//	    48    8  W, kept words
//	    56   32  distinct n-grams of orders 2, 3, 4 and 5; 0 above N
//	    88    B  body
//	  88+B    8  XXH3 (64 bits, seed 0) of all bytes before
//
// The body holds the hashes of the kept words, 8 bytes each, rising; then the adjusted
// counts of the unigrams, W+3 uvarints: <unk>, <s> (always 0), </s>, and the words in
// the order of their hashes. A word's number is its place in that list. Then for each
// order n from 2 to N, for each n-gram of order n-1 in the order of the file, a uvarint
// for how many words follow it, and for each of them, numbers rising, two uvarints:
// its number less the least it could be (0, or one more than the word before), and the
// adjusted count, at least 1. Floating-point numbers are not stored but computed.
package ngram
