package stages

import (
	"bzdata/eval"
	"bzdata/tokenize"

	"github.com/zeebo/xxh3"
)

// prefixTokens are the first tokens by which a piece of a document of an exam of pages is found among those that were
// trained on: documents are cut anywhere there, so that no more can be compared.
const prefixTokens = 32

// Whole makes each sequence of an exam of pages count as one document, as validators take the mean over sequences, whose
// documents see each other. The losses of another exam stay as they are.
func (e *MixExam) Whole(l *eval.Losses) (*eval.Losses, error) {
	if !e.Pages {
		return l, nil
	}
	out := *l
	out.Documents = nil
	var s tokenize.Sequence
	for i, loss := range l.Sequences {
		if err := e.Sequence(i, &s); err != nil {
			return nil, err
		}
		out.Documents = append(out.Documents, eval.DocumentLoss{Ordinal: uint64(i), Source: s.Segments[0].Document.Source,
			Nats: loss.Nats, Tokens: loss.Tokens})
	}
	return &out, nil
}

// Weights are the parts of the data sets in the mean loss of an exam of pages, by their numbers; nil for another, whose
// rows are interleaved by the weights.
func (e *MixExam) Weights() (out []float64) {
	if !e.Pages {
		return nil
	}
	for _, s := range e.Mix {
		out = append(out, s.Weight)
	}
	return out
}

// scaledWeights are those of the data sets that have sequences, scaled to a sum of one; without names the others.
func (e *MixExam) scaledWeights() (out map[string]float64, without []string) {
	sum := 0.0
	for _, s := range e.Mix {
		if s.Rows > 0 {
			sum += s.Weight
		} else {
			without = append(without, s.Label)
		}
	}
	out = map[string]float64{}
	for _, s := range e.Mix {
		if s.Rows > 0 {
			out[s.Label] = s.Weight / sum
		}
	}
	return out, without
}

// trainedPages marks the sequences in which text lies that was trained on: of which a piece of a document begins with
// tokens that stand somewhere in a training document. The piece may be from the document's middle, as long ones are
// cut into many sequences.
func (e *MixExam) trainedPages(data eval.Data) (trained []bool, err error) {
	var s tokenize.Sequence
	at := map[uint64][]int{} // sequences by the hashes of their pieces' first tokens
	for i := range e.Sequences() {
		if err := e.Sequence(i, &s); err != nil {
			return nil, err
		}
		for _, seg := range s.Segments {
			if seg.End-seg.Start >= prefixTokens {
				h := hashTokens(s.Tokens[seg.Start : seg.Start+prefixTokens])
				at[h] = append(at[h], i)
			}
		}
	}
	trained = make([]bool, e.Sequences())
	for i := range data.Sequences() {
		if err := data.Sequence(i, &s); err != nil {
			return nil, err
		}
		for _, seg := range s.Segments {
			markRuns(at, s.Tokens[seg.Start:seg.End], trained)
		}
	}
	return trained, nil
}

// markRuns marks the sequences of the runs of tokens that stand in a document.
func markRuns(at map[uint64][]int, document []int32, trained []bool) {
	bytes := appendTokens(nil, document)
	for k := 0; k+4*prefixTokens <= len(bytes); k += 4 {
		for _, i := range at[xxh3.Hash(bytes[k:k+4*prefixTokens])] {
			trained[i] = true
		}
	}
}
