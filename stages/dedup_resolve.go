package stages

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize/words"
)

// A record about a candidate has the key of its group; its payload sorts by keep order:
//
//	byte 2 · keep rank, of keepBytes · uint32 shard · uint64 record · uvarint keys · uint64 each ·
//	uint64 for each distinct shingle
//
// The numbers before the keys are big-endian, those after little-endian. Before these come
// records about documents of earlier generations with a band of the group:
//
//	byte 1 · uint32 generation · uint64 number · uint64 band key
//
// and first of all those about documents of against, each once in a group:
//
//	byte 0 · uint64 order · uvarint keys · uint64 each · uint64 for each distinct shingle
const (
	againstKind, earlierKind, candidateKind = 0, 1, 2

	againstHead   = 1 + 8
	candidateHead = 1 + 4 + 8 // and the keep rank
)

// earlierBit makes documents of earlier generations come after those of against.
const earlierBit = 1 << 62

// earlierDocBytes is what a document of an earlier generation takes beside its set.
const earlierDocBytes = 16

// openShingle sends the shingles of every candidate, with its keep rank and band keys.
func (c MinHash) openShingle(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	candidates, err := readCandidates(t, t.Shard())
	if err != nil {
		return nil, err
	}
	rank := keepRanker(c.Keep)
	var hashes, shingles []uint64
	var payload []byte
	appendSet := func(b []byte, text string, keys []uint64) []byte {
		hashes = words.AppendHashes(hashes[:0], text)
		shingles = dedup.Distinct(dedup.Shingles(shingles[:0], hashes, c.Shingle))
		return appendUint64s(appendUint64s(binary.AppendUvarint(b, uint64(len(keys))), keys), shingles)
	}
	mapper := func(d *pipeline.Doc, out *pipeline.Out) error {
		group, keys := candidates.of(d.Ref.Record)
		if len(keys) == 0 {
			return nil
		}
		candidates.earlierOf(d.Ref.Record, func(doc earlierDoc, key uint64) {
			payload = appendEarlier(append(payload[:0], earlierKind), doc, key)
			out.Send(group, payload)
		})
		payload = rank(append(payload[:0], candidateKind), d, out)
		payload = binary.BigEndian.AppendUint32(payload, d.Ref.Shard)
		payload = binary.BigEndian.AppendUint64(payload, d.Ref.Record)
		payload = appendSet(payload, d.Text, keys)
		out.Send(group, payload)
		return nil
	}
	file, known := -1, (*candidateCursor)(nil)
	return &againstReader{MapFunc: mapper, ctx: ctx, t: t, against: c.Against,
		skims: func(d *pipeline.Doc) bool { return !candidates.has(d.Ref.Record) },
		visit: func(i int, d *pipeline.Doc, out *pipeline.Out) error {
			if i != file {
				file = i
				if known, err = readCandidates(t, t.ShardCount()+i); err != nil {
					return err
				}
			}
			if group, keys := known.of(d.Ref.Record); len(keys) > 0 {
				payload = appendOrder(append(payload[:0], againstKind), againstOrder(i, d))
				payload = appendSet(payload, d.Text, keys)
				out.Send(group, payload)
			}
			return nil
		}}, nil
}

// writeJSONFile writes an output of the task for those that come after it.
func writeJSONFile(t *pipeline.Task, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.WriteFile(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func readJSONFile(t *pipeline.Task, dir, name string, v any) error {
	data, err := store.ReadAll(t.FS, filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func appendUint64s(dst []byte, vs []uint64) []byte {
	dst = slices.Grow(dst, 8*len(vs))
	for _, v := range vs {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

func cutUint64s(dst []uint64, b []byte) []uint64 {
	for ; len(b) >= 8; b = b[8:] {
		dst = append(dst, binary.LittleEndian.Uint64(b))
	}
	return dst
}

// resolve decides about the candidates of a partition, one group after the other.
func (c MinHash) resolve(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	resolver, err := dedup.NewResolver(c.Verify, c.BucketMax)
	if err != nil {
		return err
	}
	kept, err := c.index().open(t)
	if err != nil {
		return err
	}
	r := &groupResolver{resolver: resolver, t: t, columns: c.Columns, against: againstFiles(t, c.Against), kept: kept,
		head: candidateHead + keepBytes(c.Keep), clusters: map[int]int{}}
	if err := errors.Join(part.Each(r.visit), kept.close()); err != nil {
		return err
	}
	r.end()
	return c.writeFigures(t, r)
}

// groupResolver carries a resolver through the records of a partition.
type groupResolver struct {
	resolver *dedup.Resolver
	t        *pipeline.Task
	against  []againstFile
	kept     *keptGenerations
	some     bool
	group    uint64
	head     int            // bytes before the keys of a candidate
	docs     []pipeline.Ref // of the group, by number
	earlier  []earlierDoc   // that the group has a band of, in their order
	columns  bool           // sizes are wanted
	fresh    int            // bytes of records since memory was asked for
	held     int            // bytes asked for

	keys, shingles []uint64

	candidates int
	clusters   map[int]int // how many there are, by size
}

func (r *groupResolver) visit(rec pipeline.Record) error {
	if !r.some || rec.Key != r.group {
		r.end()
		r.group, r.some = rec.Key, true
		r.resolver.Begin()
		r.earlier = r.earlier[:0]
	}
	r.fresh += len(rec.Payload)
	var err error
	switch rec.Payload[0] {
	case againstKind:
		err = r.visitAgainst(rec.Payload)
	case earlierKind:
		err = r.visitEarlier(cutEarlier(rec.Payload[1:]))
	default:
		err = r.visitCandidate(rec)
	}
	return cmp.Or(err, r.hold())
}

// cut reads the keys and shingles at the end of a record.
func (r *groupResolver) cut(b []byte) error {
	keys, n := binary.Uvarint(b)
	if n <= 0 || keys > uint64(len(b)-n)/8 {
		return errors.New("a candidate's record is cut short")
	}
	r.keys = cutUint64s(r.keys[:0], b[n:n+8*int(keys)])
	r.shingles = cutUint64s(r.shingles[:0], b[n+8*int(keys):])
	return nil
}

// visitEarlier adds a document of an earlier generation under a key. They come in their order.
func (r *groupResolver) visitEarlier(d earlierDoc, key uint64) error {
	if n := len(r.earlier); n == 0 || r.earlier[n-1] != d {
		r.earlier = append(r.earlier, d)
	}
	return r.resolver.Earlier(key, earlierBit|uint64(len(r.earlier)-1), func() ([]uint64, error) {
		_, set, err := r.kept.document(d)
		r.fresh += 8*len(set) + earlierDocBytes
		return set, err
	})
}

// visitAgainst adds a document of against under each of its keys.
func (r *groupResolver) visitAgainst(payload []byte) error {
	if err := r.cut(payload[againstHead:]); err != nil {
		return err
	}
	order := binary.BigEndian.Uint64(payload[1:])
	for _, key := range r.keys {
		err := r.resolver.Earlier(key, order, func() ([]uint64, error) { return slices.Clone(r.shingles), nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// earlierName names a match that is none of this run.
func (r *groupResolver) earlierName(order uint64) (string, error) {
	if order&earlierBit == 0 {
		return againstName(r.t, r.against, order), nil
	}
	name, _, err := r.kept.document(r.earlier[order&^earlierBit])
	return name, err
}

func (r *groupResolver) visitCandidate(rec pipeline.Record) error {
	if err := r.cut(rec.Payload[r.head:]); err != nil {
		return err
	}
	out, err := r.resolver.Visit(r.keys, r.shingles)
	if err != nil {
		return err
	}
	r.docs, r.candidates = append(r.docs, rec.Ref), r.candidates+1
	if out.Removed {
		v := pipeline.Verdict{Reason: "near_duplicate", Value: out.Jaccard}
		if out.Match < 0 {
			v.MatchedName, err = r.earlierName(out.Earlier)
		} else {
			match := r.docs[out.Match]
			v.Matched = &match
		}
		r.t.Decide(rec.Ref, v)
	}
	return err
}

// holdStep is how much more is asked for at a time.
const holdStep = 1 << 20

// hold asks for the memory of a group that has grown.
func (r *groupResolver) hold() error {
	if r.fresh < holdStep {
		return nil
	}
	r.fresh = 0
	more := r.resolver.MemoryBytes() + earlierDocBytes*len(r.earlier) - r.held
	if more < holdStep {
		return nil
	}
	r.held += more
	if err := r.t.Hold(int64(more)); err != nil {
		return fmt.Errorf("a group of %d candidates holds %d bytes of shingles and keys so far; bands of more rows make "+
			"smaller groups: %w", len(r.docs), r.held, err)
	}
	return nil
}

// end counts the clusters of the group.
func (r *groupResolver) end() {
	r.resolver.Sizes(func(number, size int) {
		r.clusters[size]++
		if r.columns {
			decideSize(r.t, r.docs[number], size)
		}
	})
	r.docs = r.docs[:0]
}

// resolveFigures is what one partition has to report.
type resolveFigures struct {
	Candidates, Pairs, Below, Full, LeftOut int
	Clusters                                map[int]int
}

func (c MinHash) writeFigures(t *pipeline.Task, r *groupResolver) error {
	f := resolveFigures{Candidates: r.candidates, Clusters: r.clusters}
	f.Pairs, f.Below = r.resolver.PairsCompared()
	f.Full, f.LeftOut = r.resolver.Capped()
	return writeJSONFile(t, figuresName, f)
}

// figuresName is the file of a partition's figures, which report sums up.
const figuresName = "figures.json"

// report tells what all partitions found.
func (c MinHash) report(_ context.Context, t *pipeline.Task) error {
	sum := resolveFigures{Clusters: map[int]int{}}
	for _, dir := range t.BarrierDirs() {
		var f resolveFigures
		if err := readJSONFile(t, dir, figuresName, &f); err != nil {
			return err
		}
		sum.Candidates, sum.Pairs, sum.Below = sum.Candidates+f.Candidates, sum.Pairs+f.Pairs, sum.Below+f.Below
		sum.Full, sum.LeftOut = sum.Full+f.Full, sum.LeftOut+f.LeftOut
		for size, n := range f.Clusters {
			sum.Clusters[size] += n
		}
	}
	t.Note("%d candidates, %d pairs compared, %d below verify %g", sum.Candidates, sum.Pairs, sum.Below, c.Verify)
	if sum.LeftOut > 0 {
		t.Note("%d bands reached bucket_documents_max %d; %d documents that were kept later share one of them, "+
			"and a document that resembles only these may have stayed", sum.Full, c.BucketMax, sum.LeftOut)
	}
	table := &pipeline.Table{Columns: []string{"documents alike", "clusters"}}
	for _, size := range slices.Sorted(maps.Keys(sum.Clusters)) {
		if size > 1 {
			table.Rows = append(table.Rows, []string{fmt.Sprint(size), fmt.Sprint(sum.Clusters[size])})
		}
	}
	t.Panel(pipeline.Panel{Title: "Clusters of near copies", Table: table,
		Note: "A cluster is a document that stays with those that were dropped as its near copies."})
	c.curvePanel(t)
	return nil
}

func (c MinHash) curvePanel(t *pipeline.Task) {
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
