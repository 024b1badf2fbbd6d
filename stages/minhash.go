package stages

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize/words"
)

// MinHash is the configuration of the minhash stage.
type MinHash struct {
	Bands   int     `yaml:"bands" min:"1" max:"256" doc:"Groups of rows. More bands find less similar pairs."`
	Rows    int     `yaml:"rows" min:"1" max:"64" doc:"Minima in a band. More rows ask for closer copies."`
	Shingle int     `yaml:"shingle_words" min:"1" max:"64" doc:"Words in a shingle; a shorter document is one shingle."`
	Verify  float64 `yaml:"verify" min:"0" max:"1" doc:"Jaccard similarity over distinct shingles from which a candidate is a near copy."`
	Keep    string  `yaml:"keep" enum:"first|longest" doc:"Which document stays: the first by source, file and row, or the longest text, ties by the same order."`
}

func minhashSpec() pipeline.Spec[MinHash] {
	return pipeline.Spec[MinHash]{
		Name: "minhash", Version: 1,
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
		Default: MinHash{Bands: 14, Rows: 8, Shingle: 5, Verify: 0.8, Keep: "first"},
		New:     func(c MinHash) (pipeline.Program, error) { return c.program() },
	}
}

// Note says which pairs are compared: where the curve is steepest, and three points of it.
func (c MinHash) Note() string {
	p := c.params(0)
	at := func(s float64) float64 { return 100 * p.CandidateProbability(s) }
	return fmt.Sprintf("threshold (1/%d)^(1/%d) = %.3f; compared are %.1f %% of the pairs of similarity 0.7, %.1f %% of 0.8, "+
		"%.1f %% of 0.9", c.Bands, c.Rows, p.Threshold(), at(0.7), at(0.8), at(0.9))
}

func (c MinHash) params(seed uint64) dedup.Params {
	return dedup.Params{Bands: c.Bands, Rows: c.Rows, Shingle: c.Shingle, Seed: seed}
}

func (c MinHash) program() (pipeline.Program, error) {
	if err := c.params(0).Validate(); err != nil {
		return pipeline.Program{}, err
	}
	return pipeline.Program{Passes: []pipeline.Pass{
		{Name: "sign", Open: c.openSign, RecordBytes: 20 * c.Bands,
			Barrier: &pipeline.Barrier{Parts: partsOf, Reduce: reduceBands}},
		{Name: "shingle", Open: c.openShingle, Barrier: &pipeline.Barrier{Reduce: c.resolve}},
		pipeline.Apply("drop"),
	}}, nil
}

// openSign sends one record for each band of a document: the band's key, with the
// document's keep rank.
func (c MinHash) openSign(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	h, err := dedup.NewHasher(c.params(t.Seed("permutations")), dedup.Kernels()[0])
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
		rank := keepRank(c.Keep, d)
		for _, k := range keys {
			out.Send(k, rank)
		}
		return nil
	}), nil
}

// candidatesName is the file of documents that share a band, a file of shard parts: the
// block of a shard has, for each such document and band, uint64 record and uint64 band
// key, little-endian, sorted by both.
const candidatesName = "candidates"

func reduceBands(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	var found []pipeline.Record
	err := part.Groups(func(g []pipeline.Record) error {
		if len(g) > 1 {
			for _, r := range g {
				found = append(found, pipeline.Record{Key: r.Key, Ref: r.Ref})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b pipeline.Record) int {
		return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(a.Key, b.Key))
	})
	var parts [][]byte
	for _, r := range found {
		for uint32(len(parts)) <= r.Ref.Shard {
			parts = append(parts, nil)
		}
		b := binary.LittleEndian.AppendUint64(parts[r.Ref.Shard], r.Ref.Record)
		parts[r.Ref.Shard] = binary.LittleEndian.AppendUint64(b, r.Key)
	}
	return t.WriteFile(candidatesName, func(w io.Writer) error { return pipeline.WriteShardParts(w, parts) })
}

// openShingle sends the shingles of every candidate, with its keep rank and band keys.
func (c MinHash) openShingle(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	keys := map[uint64][]uint64{}
	for _, dir := range t.BarrierDirs() {
		if err := readCandidates(t.FS, filepath.Join(dir, candidatesName), t.Shard(), keys); err != nil {
			return nil, err
		}
	}
	var hashes, shingles []uint64
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		mine := keys[d.Ref.Record]
		if mine == nil {
			return nil
		}
		hashes = words.AppendHashes(hashes[:0], d.Text)
		shingles = dedup.Distinct(dedup.Shingles(shingles[:0], hashes, c.Shingle))
		payload := keepRank(c.Keep, d)
		payload = appendUint64s(payload, mine)
		out.Send(0, appendUint64s(payload, shingles))
		return nil
	}), nil
}

// readCandidates adds the band keys of one shard's candidates, by record.
func readCandidates(fsys store.FS, name string, shard int, into map[uint64][]uint64) error {
	block, err := pipeline.ReadShardPart(fsys, name, shard)
	if err != nil {
		return err
	}
	for ; len(block) >= 16; block = block[16:] {
		record := binary.LittleEndian.Uint64(block)
		into[record] = append(into[record], binary.LittleEndian.Uint64(block[8:]))
	}
	return nil
}

func appendUint64s(dst []byte, vs []uint64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(vs)))
	for _, v := range vs {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

func cutUint64s(b []byte) (vs []uint64, rest []byte) {
	n := binary.LittleEndian.Uint64(b)
	b = b[8:]
	vs = make([]uint64, n)
	for i := range vs {
		vs[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return vs, b[8*n:]
}

// resolve decides about all candidates. Its records are in keep order: by rank, then
// by the rest of the payload; the order of ids is restored within a rank.
func (c MinHash) resolve(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	var recs []pipeline.Record
	err := part.Each(func(r pipeline.Record) error {
		r.Payload = slices.Clone(r.Payload)
		recs = append(recs, r)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(recs, func(a, b pipeline.Record) int {
		return cmp.Or(slices.Compare(a.Payload[:8], b.Payload[:8]), a.Ref.Compare(b.Ref))
	})
	candidates := make([]dedup.Candidate, len(recs))
	shingles := make([][]uint64, len(recs))
	for i, r := range recs {
		keys, rest := cutUint64s(r.Payload[8:])
		shingles[i], _ = cutUint64s(rest)
		candidates[i] = dedup.Candidate{Doc: i, Rank: i, Keys: keys}
	}
	res, err := dedup.Resolve(candidates, c.Verify, func(doc int) []uint64 { return shingles[doc] })
	if err != nil {
		return err
	}
	for _, r := range res.Removals {
		t.Decide(recs[r.Removed].Ref, pipeline.Verdict{
			Reason: "near_duplicate", Value: r.Jaccard, Matched: &recs[r.Match].Ref})
	}
	c.report(t, res, len(recs))
	return nil
}

func (c MinHash) report(t *pipeline.Task, res dedup.Resolution, candidates int) {
	t.Note("%d candidates, %d pairs compared, %d below verify %g; the largest bucket holds %d documents",
		candidates, res.PairsCompared, res.PairsBelow, c.Verify, res.BucketMax)
	table := &pipeline.Table{Columns: []string{"documents alike", "clusters"}}
	for _, s := range res.Clusters {
		if s.Size > 1 {
			table.Rows = append(table.Rows, []string{fmt.Sprint(s.Size), fmt.Sprint(s.Clusters)})
		}
	}
	t.Panel(pipeline.Panel{Title: "Clusters of near copies", Table: table,
		Note: "A cluster is a document that stays with those that were dropped as its near copies."})
	curve := pipeline.Curve{Name: fmt.Sprintf("%d bands of %d rows", c.Bands, c.Rows)}
	for i := 0; i <= 50; i++ {
		s := float64(i) / 50
		curve.X = append(curve.X, s)
		curve.Y = append(curve.Y, c.params(0).CandidateProbability(s))
	}
	t.Panel(pipeline.Panel{Title: "Probability that a pair is compared",
		Note:   fmt.Sprintf("Pairs at or above %g are then dropped, the others kept.", c.Verify),
		Curves: &pipeline.Curves{XLabel: "Jaccard similarity", YLabel: "probability", Series: []pipeline.Curve{curve}}})
}
