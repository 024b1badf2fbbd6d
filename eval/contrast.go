package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// Judged are the losses of a base and an update on the documents of a held-out set, in its order:
// what a comparison of two updates needs.
type Judged struct {
	// DataKey names the set by its texts and how they were packed.
	DataKey string `json:"data_key"`
	// Documents have a target each.
	Documents []JudgedDocument `json:"documents"`
	// SourceWeights are those of [CompareOptions].
	SourceWeights []float64 `json:"source_weights,omitempty"`
}

// JudgedDocument is one document's sums of token losses, in nats.
type JudgedDocument struct {
	Ordinal uint64
	Source  uint32
	Tokens  int // targets
	Base    float64
	Update  float64
}

// judgedJSON has null for what is no finite number.
type judgedJSON struct {
	Ordinal uint64   `json:"ordinal"`
	Source  uint32   `json:"source"`
	Tokens  int      `json:"tokens"`
	Base    *float64 `json:"base_nats"`
	Update  *float64 `json:"update_nats"`
}

// MarshalJSON writes an object; a loss that is no finite number is null.
func (d JudgedDocument) MarshalJSON() ([]byte, error) {
	out := judgedJSON{Ordinal: d.Ordinal, Source: d.Source, Tokens: d.Tokens}
	if finite(d.Base) {
		out.Base = &d.Base
	}
	if finite(d.Update) {
		out.Update = &d.Update
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote; null is NaN.
func (d *JudgedDocument) UnmarshalJSON(data []byte) error {
	var in judgedJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*d = JudgedDocument{in.Ordinal, in.Source, in.Tokens, math.NaN(), math.NaN()}
	if in.Base != nil {
		d.Base = *in.Base
	}
	if in.Update != nil {
		d.Update = *in.Update
	}
	return nil
}

// Judge pairs two models' losses on the same data, of which dataKey is the name.
func Judge(base, update *Losses, dataKey string) (Judged, error) {
	if err := sameData(base, update); err != nil {
		return Judged{}, err
	}
	j := Judged{DataKey: dataKey}
	for i, d := range base.Documents {
		if d.Tokens > 0 {
			j.Documents = append(j.Documents, JudgedDocument{d.Ordinal, d.Source, d.Tokens, d.Nats, update.Documents[i].Nats})
		}
	}
	return j, nil
}

// Write writes j as JSON.
func (j Judged) Write(w io.Writer) error { return json.NewEncoder(w).Encode(j) }

// SameExam returns an error unless a and b are of one base on one held-out set: equal texts in equal
// order, and of every document the number, the source, the targets and, to the last bit, the base's
// loss.
func SameExam(a, b Judged) error {
	if a.DataKey != b.DataKey || len(a.Documents) != len(b.Documents) {
		return fmt.Errorf("the held-out sets differ: %d documents with key %s, and %d with key %s",
			len(a.Documents), a.DataKey, len(b.Documents), b.DataKey)
	}
	for i, d := range a.Documents {
		e := b.Documents[i]
		if d.Ordinal != e.Ordinal || d.Source != e.Source || d.Tokens != e.Tokens {
			return fmt.Errorf("the held-out sets differ in document %d", d.Ordinal)
		}
		if math.Float64bits(d.Base) != math.Float64bits(e.Base) && !(math.IsNaN(d.Base) && math.IsNaN(e.Base)) {
			return fmt.Errorf("the base's losses differ on document %d: %v and %v nats", d.Ordinal, d.Base, e.Base)
		}
	}
	return nil
}

// Contrast is how much the update of one way of training differs from that of another.
type Contrast struct {
	// Difference has the first way as Base and the second as Candidate, each its mean over the seeds;
	// with several seeds its standard error is that of both sources of chance.
	Difference
	Confidence   float64 `json:"confidence"`
	DocumentsMin float64 `json:"documents_min"`
	// Seeds has the difference of each seed, in nats.
	Seeds []float64 `json:"seed_differences_nats"`
	// SeedError is the standard error that comes from the seeds, in nats; 0 with one seed, when the
	// interval is over documents only.
	SeedError float64 `json:"seed_standard_error_nats"`
	NonFinite int     `json:"non_finite_documents"`
}

// ContrastOf compares two ways of training, each trained once for each seed and judged on one
// held-out set; first[i] and second[i] have the same seed.
//
// With one seed the interval is that of [Compare]: documents are resampled. With several, the losses of
// each document are averaged over the seeds, and two variances are added: that over documents, s² of
// the package comment, and that over seeds, the variance of the differences of single seeds by their
// number. With x = document + seed + residual, over D documents and S seeds, the mean has the variance
// d²/D + s²/S + r²/(DS); the first of the two estimates d²/D + r²/(DS), the second s²/S + r²/(DS), so
// that their sum is not too small. The interval is Student's, with
// Satterthwaite's (1946) degrees of freedom: with two or three seeds that differ it is wide, as it
// should be.
func ContrastOf(first, second []Judged, opts CompareOptions) (Contrast, error) {
	opts, err := opts.complete()
	switch {
	case err != nil:
		return Contrast{}, err
	case len(first) == 0 || len(first) != len(second):
		return Contrast{}, fmt.Errorf("%d and %d seeds do not make pairs", len(first), len(second))
	case len(first[0].Documents) == 0:
		return Contrast{}, errors.New("no held-out document has a target")
	}
	for _, j := range append(append([]Judged{}, first[1:]...), second...) {
		if err := SameExam(first[0], j); err != nil {
			return Contrast{}, err
		}
	}
	c := Contrast{Confidence: opts.Confidence, DocumentsMin: opts.DocumentsMin}
	var mean []pairedDocument
	n := float64(len(first))
	for i, d := range first[0].Documents {
		p := pairedDocument{source: d.Source, tokens: float64(d.Tokens)}
		for s := range first {
			p.base += first[s].Documents[i].Update / n
			p.candidate += second[s].Documents[i].Update / n
		}
		if !finite(p.base) || !finite(p.candidate) {
			c.NonFinite++
		}
		mean = append(mean, p)
	}
	weighed, err := weigh(mean, first[0].SourceWeights)
	if err != nil {
		return Contrast{}, err
	}
	c.Difference = difference(weighed, opts, 0)
	if c.NonFinite > 0 {
		return c, nil
	}
	for s := range first {
		c.Seeds = append(c.Seeds, second[s].updateMean()-first[s].updateMean())
	}
	if len(c.Seeds) > 1 {
		c.pool()
	}
	return c, nil
}

// updateMean is the update's mean token loss.
func (j Judged) updateMean() float64 {
	docs := make([]pairedDocument, len(j.Documents))
	for i, d := range j.Documents {
		docs[i] = pairedDocument{source: d.Source, candidate: d.Update, tokens: float64(d.Tokens)}
	}
	if weighed, err := weigh(docs, j.SourceWeights); err == nil { // as the difference's were
		docs = weighed
	}
	nats, tokens := 0.0, 0.0
	for _, d := range docs {
		nats, tokens = nats+d.candidate, tokens+d.tokens
	}
	return nats / tokens
}

// pool widens the interval by what the seeds say.
func (c *Contrast) pool() {
	n, mean, squares := float64(len(c.Seeds)), 0.0, 0.0
	for _, d := range c.Seeds {
		mean += d / n
	}
	for _, d := range c.Seeds {
		squares += (d - mean) * (d - mean)
	}
	seeds := squares / (n - 1) / n
	documents := c.StandardError * c.StandardError
	c.SeedError, c.StandardError = math.Sqrt(seeds), math.Sqrt(documents+seeds)
	if c.StandardError == 0 {
		return
	}
	freedom := math.Pow(documents+seeds, 2) /
		(documents*documents/math.Max(1, c.EffectiveDocuments-1) + seeds*seeds/(n-1))
	half := studentQuantile(1-(1-c.Confidence)/2, freedom) * c.StandardError
	c.Interval = Interval{c.Difference.Difference - half, c.Difference.Difference + half}
}

// Words of [Contrast.Word].
const (
	Earned    = "earned"
	Cost      = "cost"
	NotShown  = "no difference shown"
	TooFew    = "too few documents"
	NotFinite = "loss is not finite"
)

// Word says what the first way has earned over the second: a lower loss, to the confidence of the
// interval, if there are documents enough to say so.
func (c Contrast) Word() string {
	switch {
	case c.NonFinite > 0:
		return NotFinite
	case !(c.EffectiveDocuments >= c.DocumentsMin):
		return TooFew
	case c.Interval.Low > 0:
		return Earned
	case c.Interval.High < 0:
		return Cost
	}
	return NotShown
}
