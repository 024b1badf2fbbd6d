package eval

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// CompareOptions say how to compare. Zero fields stand for the defaults.
type CompareOptions struct {
	Seed       uint64  // of the resampling
	Confidence float64 // of the two-sided interval; 0.95
	Resamples  int     // 9,999
	// Stratify resamples within each source, keeping its number of documents: right when the data set
	// was made with fixed shares. Sources of fewer than 8 documents form one stratum, or join the last.
	Stratify bool
	// SourceWeights are the parts that sources have in the mean loss, by their numbers; those of sources without a
	// document are shared out among the others. Nil weighs each token alike.
	SourceWeights []float64
	// DocumentsMin is the effective number of documents below which there is no verdict; 100.
	DocumentsMin float64
	// Workers is the number of goroutines, 1 if 0. It changes no bit.
	Workers int
}

// documentsMin is where the interval begins to keep its promise in the simulation of the tests.
const documentsMin = 100

func (o CompareOptions) complete() (CompareOptions, error) {
	o.Confidence = cmp.Or(o.Confidence, 0.95)
	o.Resamples = cmp.Or(o.Resamples, 9999)
	o.DocumentsMin = cmp.Or(o.DocumentsMin, documentsMin)
	switch {
	case !(o.Confidence >= 0.5 && o.Confidence < 1):
		return o, fmt.Errorf("confidence is %v; it must be from 0.5 to below 1", o.Confidence)
	case o.Resamples < 99:
		return o, fmt.Errorf("%d resamples are too few; take at least 99", o.Resamples)
	case float64(o.Resamples+1)*(1-o.Confidence)/2 < 1:
		return o, fmt.Errorf("%d resamples are too few for confidence %v; take at least %.0f",
			o.Resamples, o.Confidence, 2/(1-o.Confidence))
	case !(o.DocumentsMin > 0):
		return o, fmt.Errorf("the least number of documents is %v; it must be more than 0", o.DocumentsMin)
	}
	return o, nil
}

// Difference is how much a candidate's mean token loss differs from the base's, in nats. Negative is
// better.
type Difference struct {
	Base      float64 `json:"base_nats"`
	Candidate float64 `json:"candidate_nats"`
	// Difference is Candidate - Base. All these are 0 where losses are no finite numbers.
	Difference float64  `json:"difference_nats"`
	Interval   Interval `json:"interval_nats"`
	// StandardError is the linearised one of the difference.
	StandardError float64 `json:"standard_error_nats"`
	Tokens        int     `json:"tokens"`
	Documents     int     `json:"documents"` // with a target
	// EffectiveDocuments is the number of equally long documents that would say as much.
	EffectiveDocuments float64 `json:"effective_documents"`
}

// Interval is a confidence interval. An end that the data do not bound is infinite, and null in JSON.
type Interval struct{ Low, High float64 }

// MarshalJSON writes [LOW,HIGH].
func (i Interval) MarshalJSON() ([]byte, error) {
	var ends [2]*float64
	if finite(i.Low) {
		ends[0] = &i.Low
	}
	if finite(i.High) {
		ends[1] = &i.High
	}
	return json.Marshal(ends)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (i *Interval) UnmarshalJSON(data []byte) error {
	var ends [2]*float64
	if err := json.Unmarshal(data, &ends); err != nil {
		return err
	}
	*i = unbounded()
	if ends[0] != nil {
		i.Low = *ends[0]
	}
	if ends[1] != nil {
		i.High = *ends[1]
	}
	return nil
}

// String is "[−0.0355, −0.0269]".
func (i Interval) String() string { return minus("[%+.4f, %+.4f]", i.Low, i.High) }

// unbounded is the interval that says nothing.
func unbounded() Interval { return Interval{math.Inf(-1), math.Inf(1)} }

// minus formats with the sign that stands for minus in print.
func minus(format string, args ...any) string {
	return strings.ReplaceAll(fmt.Sprintf(format, args...), "-", "−")
}

// SourceDifference is the difference on one source's documents.
type SourceDifference struct {
	Source string `json:"source"`
	Difference
	// Enough says that there are documents enough for the interval to mean something.
	Enough bool `json:"enough"`
}

// Comparison is what two models' losses on the same tokens say.
type Comparison struct {
	Difference
	Confidence   float64 `json:"confidence"`
	DocumentsMin float64 `json:"documents_min"`
	// BaseBitsPerByte and CandidateBitsPerByte are 0 where byte counts are not known.
	BaseBitsPerByte      float64 `json:"base_bits_per_byte"`
	CandidateBitsPerByte float64 `json:"candidate_bits_per_byte"`
	// NonFinite counts the sequences on which either loss is NaN or infinite.
	NonFinite int `json:"non_finite_sequences"`
	// EqualLosses says that every sequence's loss is the same, EqualWeights that the weights are.
	EqualLosses  bool `json:"equal_losses"`
	EqualWeights bool `json:"equal_weights"`
	// Sources has an entry for each source, in the order of their numbers.
	Sources []SourceDifference `json:"sources"`
}

// Compare compares two models on the same data. The same losses and options give the same bits.
func Compare(base, candidate *Losses, opts CompareOptions) (Comparison, error) {
	opts, err := opts.complete()
	if err != nil {
		return Comparison{}, err
	}
	if err := sameData(base, candidate); err != nil {
		return Comparison{}, err
	}
	c := Comparison{
		Confidence: opts.Confidence, DocumentsMin: opts.DocumentsMin,
		EqualLosses: true, EqualWeights: candidate.CopyOfBase,
	}
	for i, b := range base.Sequences {
		a := candidate.Sequences[i]
		if !finite(a.Nats) || !finite(b.Nats) {
			c.NonFinite++
		}
		c.EqualLosses = c.EqualLosses && a.Nats == b.Nats
	}
	pairs := pair(base, candidate)
	weighed, err := weigh(pairs, opts.SourceWeights)
	if err != nil {
		return Comparison{}, err
	}
	c.Difference = difference(weighed, opts, 0)
	if bits, ok := base.BitsPerByte(); ok && c.NonFinite == 0 {
		c.BaseBitsPerByte = bits
		c.CandidateBitsPerByte, _ = candidate.BitsPerByte()
	}
	slices.SortStableFunc(pairs, func(a, b pairedDocument) int { return cmp.Compare(a.source, b.source) })
	for len(pairs) > 0 {
		source := pairs[0].source
		n := slices.IndexFunc(pairs, func(p pairedDocument) bool { return p.source != source })
		if n < 0 {
			n = len(pairs)
		}
		d := difference(pairs[:n], opts, 1+uint64(source))
		name := fmt.Sprint(source)
		if int(source) < len(base.Sources) {
			name = base.Sources[source]
		}
		c.Sources = append(c.Sources, SourceDifference{name, d, d.EffectiveDocuments >= opts.DocumentsMin})
		pairs = pairs[n:]
	}
	return c, nil
}

// sameData reports what shows that two losses were not measured on the same tokens.
func sameData(a, b *Losses) error {
	if a.DataHash != b.DataHash || len(a.Sequences) != len(b.Sequences) || len(a.Documents) != len(b.Documents) {
		return errors.New("base and candidate were not measured on the same data; measure both on one set")
	}
	for i := range a.Sequences {
		if a.Sequences[i].Tokens != b.Sequences[i].Tokens {
			return fmt.Errorf("base and candidate differ in the targets of sequence %d; measure both on one set", i)
		}
	}
	for i, d := range a.Documents {
		if e := b.Documents[i]; d.Ordinal != e.Ordinal || d.Tokens != e.Tokens || d.Source != e.Source {
			return fmt.Errorf("base and candidate differ in document %d; measure both on one set", d.Ordinal)
		}
	}
	return nil
}

// pairedDocument is a document's part in the difference.
type pairedDocument struct {
	source          uint32
	base, candidate float64 // sums of token losses
	tokens          float64
}

// pair lists the documents that have a target.
func pair(base, candidate *Losses) []pairedDocument {
	var out []pairedDocument
	for i, d := range base.Documents {
		if d.Tokens > 0 {
			out = append(out, pairedDocument{d.Source, d.Nats, candidate.Documents[i].Nats, float64(d.Tokens)})
		}
	}
	return out
}

// weigh makes each source's tokens count as many as its weight says, and leaves their number in all.
func weigh(docs []pairedDocument, weights []float64) ([]pairedDocument, error) {
	if weights == nil {
		return docs, nil
	}
	tokens, all, sum := map[uint32]float64{}, 0.0, 0.0
	for _, d := range docs {
		if int(d.source) >= len(weights) || !(weights[d.source] > 0) {
			return nil, fmt.Errorf("source %d has documents, but no weight", d.source)
		}
		if tokens[d.source] == 0 {
			sum += weights[d.source]
		}
		tokens[d.source] += d.tokens
		all += d.tokens
	}
	out := slices.Clone(docs)
	for i, d := range docs {
		by := weights[d.source] / sum * all / tokens[d.source]
		out[i] = pairedDocument{d.source, by * d.base, by * d.candidate, by * d.tokens}
	}
	return out, nil
}

// difference estimates the difference and its interval from at least one document. Streams of random
// numbers differ by number.
func difference(docs []pairedDocument, opts CompareOptions, stream uint64) Difference {
	base, candidate, tokens, squares := 0.0, 0.0, 0.0, 0.0
	for _, d := range docs {
		base += d.base
		candidate += d.candidate
		tokens += d.tokens
		squares += d.tokens * d.tokens
	}
	out := Difference{
		Tokens: int(math.Round(tokens)), Documents: len(docs), EffectiveDocuments: tokens * tokens / squares,
	}
	if !finite(base) || !finite(candidate) {
		return out
	}
	out.Base, out.Candidate = base/tokens, candidate/tokens
	s := newSample(docs, opts.Stratify)
	out.Difference, out.StandardError = s.theta, s.standardError
	out.Interval = s.interval(opts, stream)
	return out
}

// String is one line: "held-out 2.4113 → 2.3801, −0.0312 [−0.0355, −0.0269]".
func (c Comparison) String() string { return "held-out " + c.Difference.String() }

// String is one line: "2.4113 → 2.3801, −0.0312 [−0.0355, −0.0269]".
func (d Difference) String() string {
	return minus("%.4f → %.4f, %+.4f ", d.Base, d.Candidate, d.Difference) + d.Interval.String()
}
