package stages

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// shareMeter runs documents through the model, as many at a time as memory has room for, and
// measures how much of the activation of each falls on a group's experts.
type shareMeter struct {
	t     *pipeline.Task
	s     *model.Stream
	score string
	group *checkpoint.Group

	shares []documentShare
	even   float64 // share of the group if all experts were chosen alike; 0 before the first wave

	total int // documents
	wave  []model.Batch
	of    []int // the wave's documents, among shares
	left  int   // tokens that the wave has room for
	found []float64
}

// all measures the documents of a partition. What the waves of an interrupted run have found is
// not measured again.
func (m *shareMeter) all(ctx context.Context, part *pipeline.Partition) error {
	if err := part.Each(func(pipeline.Record) error { m.total++; return nil }); err != nil {
		return err
	}
	if err := m.readFound(); err != nil {
		return err
	}
	m.left = streamTokens(m.t, m.s.Config(), 1)
	err := part.Each(func(r pipeline.Record) error { return m.add(ctx, r) })
	return cmp.Or(err, m.flush(ctx))
}

// add puts a document into the wave, and runs the wave once it is full.
func (m *shareMeter) add(ctx context.Context, r pipeline.Record) error {
	copies, ids, err := tokensOf(r.Payload)
	if err != nil {
		return err
	}
	n := len(m.shares)
	m.shares = append(m.shares, documentShare{r.Ref, copies, math.NaN()})
	if n < len(m.found) {
		if m.found[n] >= 0 {
			m.shares[n].share = m.found[n]
		}
		return nil
	}
	if longest := m.s.Config().MaxPositionEmbeddings; longest > 0 {
		ids = ids[:min(len(ids), longest)]
	}
	if len(ids) == 0 {
		return nil
	}
	m.wave, m.of = append(m.wave, model.Batch{Sequences: 1, Length: len(ids), Tokens: ids}), append(m.of, n)
	if m.left -= len(ids); m.left > 0 {
		return nil
	}
	return m.flush(ctx)
}

// flush runs the wave, and notes all that was found so far.
func (m *shareMeter) flush(ctx context.Context) error {
	if len(m.wave) == 0 {
		return nil
	}
	cfg, before := m.s.Config(), m.of[0]
	ranking := routing.NewRanking([]*checkpoint.Group{m.group}, cfg.NRoutedExperts)
	m.s.OnLayer = func(done, total int) {
		share := float64(done) / float64(total) * float64(len(m.shares)-before)
		m.t.Progress(float64(before)+share, float64(m.total), "documents")
	}
	err := m.s.Routes(ctx, m.wave, func(batch int, r model.Route) {
		ranking.Add(batch, r.Layer, r.Experts, weightsBy(m.score, r))
	})
	if err != nil {
		return err
	}
	if m.even, err = ranking.Even(0); err != nil {
		return &pipeline.UsageError{Msg: fmt.Sprintf("%v; is the group one of this base model?", err), Err: err}
	}
	for i, document := range m.of {
		if share, ok := ranking.Document(0, i); ok {
			m.shares[document].share = share
		}
	}
	m.wave, m.of, m.left = nil, nil, streamTokens(m.t, cfg, 1)
	return m.writeFound()
}

// foundName is the file of the scratch folder that holds what was found so far.
const foundName = "found.json"

// foundShares is what an interrupted run has found.
type foundShares struct {
	Build   string    `json:"build"`
	Kernels string    `json:"kernels"`
	Even    float64   `json:"even"`
	Shares  []float64 `json:"shares"` // of the first documents; -1 without a token
}

func (m *shareMeter) writeFound() error {
	dir, err := m.t.MakeScratch()
	if err != nil {
		return err
	}
	f := foundShares{Build: m.t.Report.Build, Kernels: m.t.Kernels, Even: m.even}
	for _, d := range m.shares {
		share := d.share
		if math.IsNaN(share) {
			share = -1
		}
		f.Shares = append(f.Shares, share)
	}
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return store.WriteBytes(m.t.FS, filepath.Join(dir, foundName), data)
}

// readFound takes up what an interrupted run of the same build and kernels has found.
func (m *shareMeter) readFound() error {
	data, err := store.ReadAll(m.t.FS, filepath.Join(m.t.Scratch, foundName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var f foundShares
	if err := json.Unmarshal(data, &f); err != nil || f.Build != m.t.Report.Build || f.Kernels != m.t.Kernels {
		return nil // another's, or cut off: measure again
	}
	m.found, m.even = f.Shares, f.Even
	return nil
}

// shareBins are the bars of the histogram of shares.
const shareBins = 20

// report shows how the shares are distributed, and what is kept of each source.
func (m *shareMeter) report(threshold float64) {
	top := 0.0
	for _, d := range m.shares {
		if d.share > top {
			top = d.share
		}
	}
	if top == 0 {
		return
	}
	bars := &pipeline.Bars{XLabel: "share of activation on the group's experts", YLabel: "documents",
		Values: make([]float64, shareBins),
		Marks:  []pipeline.PanelMark{{At: min(threshold/top, 1) * shareBins, Label: "threshold"}}}
	for i := range shareBins {
		bars.Labels = append(bars.Labels, fmt.Sprintf("%.3f", top*float64(i)/shareBins))
	}
	for _, d := range m.shares {
		if !math.IsNaN(d.share) {
			bars.Values[min(int(d.share/top*shareBins), shareBins-1)]++
		}
	}
	m.t.Panel(pipeline.Panel{Title: "Documents by share", Bars: bars,
		Note: fmt.Sprintf("By chance a document would have a share of %.4f.", m.even)})
	m.t.Panel(pipeline.Panel{Title: "Kept of each source", Table: m.bySource(threshold)})
}

// bySource counts the documents of each source, and those that are kept.
func (m *shareMeter) bySource(threshold float64) *pipeline.Table {
	type count struct {
		all, kept, measured int
		sum                 float64
	}
	counts := map[string]*count{}
	var names []string
	for _, d := range m.shares {
		name, _, _ := m.t.DocID(d.ref)
		c := counts[name]
		if c == nil {
			c = &count{}
			counts[name], names = c, append(names, name)
		}
		if c.all++; d.share >= threshold {
			c.kept++
		}
		if !math.IsNaN(d.share) {
			c.sum, c.measured = c.sum+d.share, c.measured+1
		}
	}
	slices.Sort(names)
	table := &pipeline.Table{Columns: []string{"source", "documents", "kept", "mean lift"}}
	for _, name := range names {
		c := counts[name]
		table.Rows = append(table.Rows, []string{name, fmt.Sprint(c.all), fmt.Sprint(c.kept),
			fmt.Sprintf("%.3f", c.sum/float64(max(1, c.measured))/m.even)})
	}
	return table
}
