package stages

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bzdata/eval/ngram"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// openScore sends each document's score, as a key that sorts like it, with the words that
// it stands for and its copies as uvarints.
func (m *sharedModels) openScore(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	s, err := m.scorer(t.FS, t.BarrierDirs()[0])
	if err != nil {
		return nil, err
	}
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		score, n := s.score(d.Text)
		out.Observe("score", score)
		payload := binary.AppendUvarint(nil, uint64(n*d.Copies))
		out.Send(sortableBits(score), binary.AppendUvarint(payload, uint64(d.Copies)))
		return nil
	}), nil
}

// scored is what one record of openScore says.
type scored struct {
	score         float64
	words, copies int64
}

func scoredOf(r pipeline.Record) scored {
	words, n := binary.Uvarint(r.Payload)
	copies, _ := binary.Uvarint(r.Payload[n:])
	return scored{fromSortableBits(r.Key), int64(words), int64(copies)}
}

// sortableBits maps floats to integers of the same order; NaN does not occur.
func sortableBits(f float64) uint64 {
	b := math.Float64bits(f)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

func fromSortableBits(b uint64) float64 {
	if b>>63 == 0 {
		return math.Float64frombits(^b)
	}
	return math.Float64frombits(b &^ (1 << 63))
}

// decide sets the threshold and drops what lies beyond it.
func (c Domain) decide(ctx context.Context, t *pipeline.Task, part *pipeline.Partition, models *sharedModels) error {
	defer models.forget() // no later task scores
	reference, err := readScores(t.FS, filepath.Join(t.BarrierDirs()[0], referenceScoresName))
	if err != nil {
		return err
	}
	limit, err := c.limit(reference, part)
	if err != nil {
		return err
	}
	err = part.Each(func(r pipeline.Record) error {
		if score := fromSortableBits(r.Key); score > limit {
			t.Decide(r.Ref, pipeline.Verdict{Reason: "off_domain", Value: score})
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.Note("threshold %.6g; %d reference rows score %.4g at the median and %.4g at the 97th percentile",
		limit, len(reference), ngram.Quantile(reference, 0.5), ngram.Quantile(reference, 0.97))
	panel, err := c.panel(reference, part, limit)
	if err != nil {
		return err
	}
	t.Panel(panel)
	return c.exam(ctx, t, limit, models)
}

// examName is the file of the held-out documents that lie beyond the threshold: their
// content hashes, one hexadecimal number a line.
const examName = "beyond.txt"

// exam says how much of the held-out set is off the domain: an exam that training text
// was not chosen for is no fair judge of the choice, and a validator's may be like it.
func (c Domain) exam(ctx context.Context, t *pipeline.Task, limit float64, models *sharedModels) error {
	s, err := models.scorer(t.FS, t.BarrierDirs()[0])
	if err != nil {
		return err
	}
	var beyond []byte
	all, n := 0, 0
	err = t.HeldOut(ctx, func(d *pipeline.Doc) error {
		if d.Mark == pipeline.NoMark {
			return nil
		}
		all++
		if score, _ := s.score(d.Text); score > limit {
			n++
			beyond = fmt.Appendf(beyond, "%x\n", pipeline.ContentHash(d.Text))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if all > 0 {
		t.Note("of the held-out documents, which no training stage filters, %d of %d (%.1f %%) lie beyond the threshold",
			n, all, 100*float64(n)/float64(all))
	}
	return t.WriteFile(examName, func(w io.Writer) error { _, err := w.Write(beyond); return err })
}

// readExam reads what exam wrote.
func readExam(fsys store.FS, dir string) (map[uint64]bool, error) {
	hashes, err := readHex(fsys, filepath.Join(dir, examName))
	beyond := map[uint64]bool{}
	for _, h := range hashes {
		beyond[h] = true
	}
	return beyond, err
}

// limit is the highest score that is kept; negative infinity keeps nothing.
func (c Domain) limit(reference []float64, part *pipeline.Partition) (float64, error) {
	switch {
	case c.Threshold != nil:
		return *c.Threshold, nil
	case c.KeepReference != nil:
		return ngram.Quantile(reference, *c.KeepReference), nil
	case c.KeepFraction != nil:
		total := int64(0)
		err := part.Each(func(r pipeline.Record) error {
			total += scoredOf(r).copies
			return nil
		})
		if err != nil {
			return 0, err
		}
		want := int64(math.Ceil(*c.KeepFraction * float64(total)))
		return bestUpTo(part, func(s scored) bool {
			more := want > 0
			want -= s.copies
			return more
		})
	}
	left := *c.KeepTokens
	return bestUpTo(part, func(s scored) bool { left -= s.words; return left >= 0 })
}

// errEnough ends the reading of a partition before its end.
var errEnough = errors.New("enough records were read")

// bestUpTo returns the highest score for which take agrees to all documents of that score
// and of those before it, which are offered as one.
func bestUpTo(part *pipeline.Partition, take func(scored) bool) (float64, error) {
	limit, all, some := math.Inf(-1), scored{}, false
	err := part.Each(func(r pipeline.Record) error {
		s := scoredOf(r)
		if some && s.score == all.score {
			all.words, all.copies = all.words+s.words, all.copies+s.copies
			return nil
		}
		if some && !take(all) {
			return errEnough
		}
		if some {
			limit = all.score
		}
		all, some = s, true
		return nil
	})
	if err == nil && some && take(all) {
		limit = all.score
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return limit, err
}

// panel shows the scores of the reference and of the documents side by side.
func (c Domain) panel(reference []float64, part *pipeline.Partition, limit float64) (pipeline.Panel, error) {
	reference = finiteOnly(reference)
	docs, err := rangeOf(part)
	if err != nil {
		return pipeline.Panel{}, err
	}
	low, high := docs.low, docs.high
	if len(reference) > 0 {
		low, high = min(low, ngram.Quantile(reference, panelTail)), max(high, ngram.Quantile(reference, 1-panelTail))
	}
	if low == high { // one score only: give it room
		low, high = low-0.5, high+0.5
	}
	curves := &pipeline.Curves{XLabel: "score (" + c.Method + ", lower is closer)", YLabel: "share of documents"}
	if len(reference) > 0 {
		d := newDensity("reference", len(reference), low, high)
		for _, s := range reference {
			d.add(s)
		}
		curves.Series = append(curves.Series, d.Curve)
	}
	if docs.finite > 0 {
		d := newDensity("documents", docs.finite, low, high)
		err := part.Each(func(r pipeline.Record) error { d.add(fromSortableBits(r.Key)); return nil })
		if err != nil {
			return pipeline.Panel{}, err
		}
		curves.Series = append(curves.Series, d.Curve)
	}
	note := "Each reference row was scored by models that have not seen it."
	switch {
	case math.IsInf(limit, -1):
		note += " Nothing scores low enough to be kept."
	case math.IsInf(limit, 1):
		note += " No score is too high to be kept."
	default:
		curves.Marks = []pipeline.PanelMark{{At: limit, Label: "threshold"}}
		note += " What lies right of the threshold was dropped."
	}
	if docs.wordless > 0 {
		note += fmt.Sprintf(" %d documents without words are not shown.", docs.wordless)
	}
	return pipeline.Panel{Title: "Domain scores", Curves: curves, Note: note}, nil
}

// panelTail is the share of scores at either end that the panel need not show.
const panelTail = 0.005

// scoreRange says between which scores most documents lie, and how many there are.
type scoreRange struct {
	low, high        float64 // infinite if no document has words
	finite, wordless int
}

// rangeOf reads off a partition, which is sorted by score, where its panelTail quantiles are.
func rangeOf(part *pipeline.Partition) (scoreRange, error) {
	s := scoreRange{low: math.Inf(1), high: math.Inf(-1)}
	err := part.Each(func(r pipeline.Record) error {
		if math.IsInf(fromSortableBits(r.Key), 0) {
			s.wordless++
		} else {
			s.finite++
		}
		return nil
	})
	if err != nil || s.finite == 0 {
		return s, err
	}
	low, high := ngram.QuantileRank(s.finite, panelTail), ngram.QuantileRank(s.finite, 1-panelTail)
	rank := 0
	err = part.Each(func(r pipeline.Record) error {
		score := fromSortableBits(r.Key)
		if math.IsInf(score, 0) {
			return nil
		}
		rank++
		if rank == low {
			s.low = score
		}
		if rank == high {
			s.high = score
		}
		return nil
	})
	return s, err
}

// finiteOnly returns the scores of texts that have words.
func finiteOnly(scores []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(scores), func(s float64) bool { return math.IsInf(s, 0) })
}

// densityBins is the resolution of the score panel.
const densityBins = 60

// density counts n scores from low to high in bins, low < high, as shares of them all.
type density struct {
	pipeline.Curve
	n         int
	low, high float64
}

func newDensity(name string, n int, low, high float64) *density {
	d := &density{pipeline.Curve{Name: name, X: make([]float64, densityBins), Y: make([]float64, densityBins)}, n, low, high}
	for i := range d.X {
		d.X[i] = low + (float64(i)+0.5)*d.width()
	}
	return d
}

func (d *density) width() float64 { return (d.high - d.low) / densityBins }

func (d *density) add(s float64) {
	if s >= d.low && s <= d.high {
		d.Y[min(int((s-d.low)/d.width()), densityBins-1)] += 1 / float64(d.n)
	}
}

func readScores(fsys store.FS, name string) ([]float64, error) {
	bits, err := readHex(fsys, name)
	scores := make([]float64, len(bits))
	for i, b := range bits {
		scores[i] = math.Float64frombits(b)
	}
	return scores, err
}

// readHex reads hexadecimal numbers, one a line.
func readHex(fsys store.FS, name string) ([]uint64, error) {
	data, err := store.ReadAll(fsys, name)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for line := range strings.Lines(string(data)) {
		n, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
