package tokenize

import "iter"

// TextbookTrain is [Train] written from the definition: all pairs are counted again
// before every merge.
func TextbookTrain(docs iter.Seq[string], o TrainOptions) (*Tokenizer, error) {
	tr, err := newTrainer(o)
	if err != nil {
		return nil, err
	}
	var words [][]int32 // one for each piece of text, repeats included
	for doc := range docs {
		pieces, err := TextbookSplit(tr.opt.Pattern, doc)
		if err != nil {
			return nil, err
		}
		for _, piece := range pieces {
			var word []int32
			for i := range len(piece) {
				word = append(word, tr.ids[string(byteRunes[piece[i]])])
			}
			words = append(words, word)
		}
	}
	for len(tr.contents) < o.VocabSize {
		left, right, ok := tr.textbookBest(words)
		if !ok {
			break
		}
		content := tr.contents[left] + tr.contents[right]
		id, known := tr.ids[content]
		if !known {
			id = tr.add(content)
		}
		tr.spec.merges = append(tr.spec.merges, mergeEntry{left, right, id})
		for w, word := range words {
			var merged []int32
			for i := 0; i < len(word); i++ {
				if i+1 < len(word) && word[i] == left && word[i+1] == right {
					merged = append(merged, id)
					i++
				} else {
					merged = append(merged, word[i])
				}
			}
			words[w] = merged
		}
	}
	return tr.finish()
}

// textbookBest returns the pair to merge next: the highest count, then the lowest ids.
func (tr *trainer) textbookBest(words [][]int32) (left, right int32, ok bool) {
	counts := map[[2]int32]int64{}
	for _, word := range words {
		for i := 0; i+1 < len(word); i++ {
			counts[[2]int32{word[i], word[i+1]}]++
		}
	}
	var best int64
	for pair, n := range counts {
		id, known := tr.ids[tr.contents[pair[0]]+tr.contents[pair[1]]]
		if n < tr.opt.CountMin || known && int(id) < len(tr.opt.Special) {
			continue
		}
		lower := pair[0] < left || pair[0] == left && pair[1] < right
		if n > best || n == best && lower {
			best, left, right, ok = n, pair[0], pair[1], true
		}
	}
	return left, right, ok
}
