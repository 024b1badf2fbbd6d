package stages

import (
	"context"
	"fmt"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/tokenize/words"
)

// MinHash is the configuration of the minhash stage.
type MinHash struct {
	Bands     int                 `yaml:"bands" min:"1" max:"256" doc:"Groups of rows. More bands find less similar pairs."`
	Rows      int                 `yaml:"rows" min:"1" max:"64" doc:"Minima in a band. More rows ask for closer copies."`
	Shingle   int                 `yaml:"shingle_words" min:"1" max:"64" doc:"Words in a shingle; a shorter document is one shingle."`
	Verify    float64             `yaml:"verify" min:"0" max:"1" doc:"Jaccard similarity over distinct shingles from which a candidate is a near copy."`
	Keep      pipeline.KeepPolicy `yaml:"keep" doc:"Which document stays: the first by source, file and row, the longest, or one chosen by a field or by source. Ties go to the first; a value that is missing or cannot be read comes last, and is counted as no_keep_value."`
	BucketMax int                 `yaml:"bucket_documents_max" min:"1" max:"1000000" doc:"Of the documents that stay, only so many of one band, in keep order, are compared with those after them: a bound on the work of a band that many unlike documents share. The report says how many documents it concerned."`
}

func minhashSpec() pipeline.Spec[MinHash] {
	return pipeline.Spec[MinHash]{
		Name: "minhash", Version: 2,
		Summary: "Drops documents that are near copies of another.",
		Doc: code(`
Documents that share a band of their MinHash signatures are candidates; with *b* bands of *r*
rows, a pair of Jaccard similarity *s* becomes one with probability 1-(1-s^r)^b. Candidates are
then compared shingle by shingle: visited in keep order, a document is dropped as
‹near_duplicate›, naming its match, exactly if it shares a band with a document already kept and
their similarity reaches ‹verify›. There is no chaining: what is dropped really is a near copy of
what it names. Words are runs of letters and digits in lower case.`),
		Example: `
minhash:
  bands: 14
  rows: 8
  verify: 0.8
  keep: longest`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: MinHash{Bands: 14, Rows: 8, Shingle: 5, Verify: 0.8, Keep: keepFirst, BucketMax: 1000},
		New:     func(c MinHash) (pipeline.Program, error) { return c.program() },
	}
}

// Note says which pairs are compared: where the curve is steepest, and three points of it.
func (c MinHash) Note() string {
	p := c.params(0)
	at := func(s float64) float64 { return 100 * p.CandidateProbability(s) }
	return fmt.Sprintf("threshold (1/%d)^(1/%d) = %.3f; compared are %.1f %% of the pairs of similarity 0.7, %.1f %% of 0.8, "+
		"%.1f %% of 0.9; grouping takes %d bytes beside --memory for each document that shares a band with another",
		c.Bands, c.Rows, p.Threshold(), at(0.7), at(0.8), at(0.9), clusterBytes)
}

func (c MinHash) params(seed uint64) dedup.Params {
	return dedup.Params{Bands: c.Bands, Rows: c.Rows, Shingle: c.Shingle, Seed: seed}
}

func (c MinHash) program() (pipeline.Program, error) {
	if err := c.params(0).Validate(); err != nil {
		return pipeline.Program{}, err
	}
	// Signatures depend on neither the policy nor the verification.
	signs := func() any { return []int{c.Bands, c.Rows, c.Shingle} }
	return pipeline.Program{Passes: []pipeline.Pass{
		{Name: "sign", Config: signs, Open: c.openSign, RecordBytes: 20 * c.Bands, Barrier: &pipeline.Barrier{
			Config: signs, Parts: bandParts, Reduce: reduceBands, Global: groupCandidates}},
		{Name: "shingle", Open: c.openShingle, RecordBytes: shingleRecordBytes, Barrier: &pipeline.Barrier{
			Parts: partsOf, Reduce: c.resolve, Global: c.report}},
		pipeline.Apply("drop"),
	}}, nil
}

// shingleRecordBytes is about what the shingle pass sends for a document if one in ten is a
// candidate: the hashes of some 300 shingles each.
const shingleRecordBytes = 250

// bandParts cuts the exchange of band keys, which has a record for each document and band.
func bandParts(inputBytes int64) int { return int(1 + inputBytes/(64<<20)) }

// permutationSeed is the seed of the permutations: one for all minhash stages of a plan, under
// whatever id.
func permutationSeed(p *pipeline.Plan) uint64 {
	return pipeline.HashID(p.Seed, "minhash/permutations", "", "", 0)
}

// openSign sends one record for each band of a document: the band's key.
func (c MinHash) openSign(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	h, err := dedup.NewHasher(c.params(permutationSeed(t.Plan)), dedup.Kernels()[0])
	if err != nil {
		return nil, err
	}
	var hashes, shingles, keys []uint64
	var signature []uint32
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		hashes = words.AppendHashes(hashes[:0], d.Text)
		shingles = dedup.Shingles(shingles[:0], hashes, c.Shingle)
		signature = h.Signature(signature[:0], shingles)
		keys = h.BandKeys(keys[:0], signature)
		for _, k := range keys {
			out.Send(k, nil)
		}
		return nil
	}), nil
}
