package stages

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"

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
	Against   []Against           `yaml:"against" doc:"Files whose documents are compared with, too: copies of them are dropped, whatever keep says, and they never go on. Copies among them do not matter."`
	Pairs     bool                `yaml:"pairs" doc:"Writes out/pairs-LABEL.parquet: each dropped document with the one that it was dropped for."`
	Columns   bool                `yaml:"cluster_columns" doc:"Adds to each document that stays the fields cluster_id, its own source:file:row, and cluster_size: 1 and those of this run that were dropped for it. Fields that it had under these names get _original behind them."`
	Index     *KeptIndex          `yaml:"index" doc:"Where to keep the band keys and shingles of what stays, so that later runs drop its near copies, too. Documents of earlier generations win whatever keep says."`
}

func minhashSpec() pipeline.Spec[MinHash] {
	return pipeline.Spec[MinHash]{
		Name: "minhash", Version: 5,
		Summary: "Drops documents that are near copies of another.",
		Doc: code(`
Documents that share a band of their MinHash signatures are candidates; with *b* bands of *r*
rows, a pair of Jaccard similarity *s* becomes one with probability 1-(1-s^r)^b. Candidates are
then compared shingle by shingle: visited in keep order, a document is dropped as
‹near_duplicate›, naming its match, exactly if it shares a band with a document already kept and
their similarity reaches ‹verify›. There is no chaining: what is dropped really is a near copy of
what it names. A near copy of a document in ‹against› names its file and row,
counted from 0. Words are runs of letters and digits in lower case.`),
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
		"%.1f %% of 0.9; grouping takes %d bytes for each document that shares a band with another, and is done on disk "+
		"where these exceed half of --memory",
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
	signs := func() any {
		if c.Index != nil {
			return []int{c.Bands, c.Rows, c.Shingle, c.BucketMax}
		}
		return []int{c.Bands, c.Rows, c.Shingle}
	}
	index, turn := c.index(), turnOf(c.Against)
	p := pipeline.Program{Reads: dedupReads(c.Against, index), Passes: []pipeline.Pass{
		{Name: "sign", Config: signs, Open: c.openSign, Turn: turn, RecordBytes: 20 * c.Bands, Barrier: &pipeline.Barrier{
			Config: signs, Parts: bandParts, Global: c.groupCandidates,
			Reduce: func(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
				return reduceBands(t, part, index, c.BucketMax)
			}}},
		{Name: "shingle", Open: c.openShingle, Turn: turn, RecordBytes: shingleRecordBytes, Barrier: &pipeline.Barrier{
			Parts: partsOf, Reduce: c.resolve, Global: withPairs(c.Pairs, c.report), Links: pairLinks(c.Pairs)}},
		applyClusters(c.Columns),
	}}
	if index != nil {
		p.Passes[2] = c.keep(index)
	}
	return p, nil
}

// index is nil if the plan keeps none.
func (c MinHash) index() *keptIndex {
	if c.Index == nil {
		return nil
	}
	return &keptIndex{c.Index, "minhash", func(p *pipeline.Plan) map[string]string {
		return map[string]string{"bands": fmt.Sprint(c.Bands), "rows": fmt.Sprint(c.Rows),
			"shingle_words": fmt.Sprint(c.Shingle), "seed": fmt.Sprint(p.Seed), "words": wordsVersion}
	}}
}

// keep drops what was decided about, and sends what stays to the index.
func (c MinHash) keep(index *keptIndex) pipeline.Pass {
	drop := applyClusters(c.Columns)
	return pipeline.Pass{Name: "drop", Edits: drop.Edits, RecordBytes: keptRecordBytes + 20*c.Bands,
		Open: func(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
			apply, err := drop.Open(ctx, t)
			if err != nil {
				return nil, err
			}
			return c.sendKept(t, apply)
		},
		Barrier: &pipeline.Barrier{Parts: bandParts, Reduce: reduceKept, Global: index.global(), Publish: index.publish},
	}
}

// keptRecordBytes is about what a document sends to the index: the hashes of some 300 shingles.
const keptRecordBytes = 2500

func (c MinHash) sendKept(t *pipeline.Task, apply pipeline.Mapper) (pipeline.Mapper, error) {
	sign, err := c.signer(t)
	if err != nil {
		return nil, err
	}
	var payload []byte
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		if err := apply.Map(d, out); err != nil || out.Dropped() {
			return err
		}
		keys, shingles := sign(d.Text)
		for _, key := range keys {
			out.Send(key, nil)
		}
		if len(keys) > 0 {
			payload = appendUint64s(payload[:0], dedup.Distinct(shingles))
			out.Send(keptNumber(t, d.Ref), payload)
		}
		return nil
	}), nil
}

// keptNumber is the number of a document in the index. It rises with documents, so that the
// index has their order.
func keptNumber(t *pipeline.Task, r pipeline.Ref) uint64 {
	return uint64(r.Shard)*(math.MaxUint64/uint64(t.ShardCount())) + r.Record
}

// reduceKept writes a partition's files of the index: its documents, which have their number as
// key and shingles as payload, and its band keys, which have no payload.
func reduceKept(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	return writeIndex(t, indexPart, func(docs *dedup.IndexWriter) error {
		return writeIndex(t, indexKeys, func(keys *dedup.IndexWriter) error {
			var shingles []uint64
			return part.Each(func(r pipeline.Record) error {
				if len(r.Payload) == 0 {
					return keys.Entry(r.Key, keptNumber(t, r.Ref))
				}
				shingles = cutUint64s(shingles[:0], r.Payload)
				return docs.Document(r.Key, t.DocName(r.Ref), shingles)
			})
		})
	})
}

// writeIndex writes a file for the index.
func writeIndex(t *pipeline.Task, name string, fill func(x *dedup.IndexWriter) error) error {
	return t.WriteFile(name, func(w io.Writer) error {
		x, err := dedup.NewIndexWriter(w)
		if err != nil {
			return err
		}
		return cmp.Or(fill(x), x.Close())
	})
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

// openSign sends one record for each band of a document: the band's key. Those of against have
// their order as payload, and so come after the others of the band.
func (c MinHash) openSign(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	sign, err := c.signer(t)
	if err != nil {
		return nil, err
	}
	send := func(d *pipeline.Doc, out *pipeline.Out, payload []byte) error {
		keys, _ := sign(d.Text)
		for _, k := range keys {
			out.Send(k, payload)
		}
		return nil
	}
	return &againstReader{ctx: ctx, t: t, against: c.Against,
		MapFunc: func(d *pipeline.Doc, out *pipeline.Out) error { return send(d, out, nil) },
		visit: func(file int, d *pipeline.Doc, out *pipeline.Out) error {
			return send(d, out, appendOrder(nil, againstOrder(file, d)))
		}}, nil
}

// signer returns a function that gives a text's band keys, and its shingles as they come. Both
// are valid until the next call.
func (c MinHash) signer(t *pipeline.Task) (func(text string) (keys, shingles []uint64), error) {
	h, err := dedup.NewHasher(c.params(permutationSeed(t.Plan)), dedup.Kernels()[0])
	if err != nil {
		return nil, err
	}
	var hashes, shingles, keys []uint64
	var signature []uint32
	return func(text string) ([]uint64, []uint64) {
		hashes = words.AppendHashes(hashes[:0], text)
		shingles = dedup.Shingles(shingles[:0], hashes, c.Shingle)
		signature = h.Signature(signature[:0], shingles)
		keys = h.BandKeys(keys[:0], signature)
		return keys, shingles
	}, nil
}
