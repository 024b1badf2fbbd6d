package stages

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// Mix is the configuration of the mix stage.
type Mix struct {
	Weights   map[string]float64 `yaml:"weights" required:"true" doc:"Share of each source in the result; they are scaled to sum to 1. Sources that are not named are left out."`
	Unit      string             `yaml:"unit" enum:"bytes|documents" doc:"What the shares are counted in."`
	RepeatMax float64            `yaml:"repeat_max" min:"1" max:"100" doc:"How often a document may occur on average, so that a scarce source can be stretched."`
}

func mixSpec() pipeline.Spec[Mix] {
	return pipeline.Spec[Mix]{
		Name: "mix", Version: 1,
		Summary: "Samples and repeats documents so that sources have given shares.",
		Doc: code(`
The result is as large as the weights allow when no source is repeated more than ‹repeat_max› times.
A source that occurs m times on average has each document floor(m) times, and once more with
probability m - floor(m), by a seeded choice about each document. What is not chosen is dropped as
‹not_sampled›, what no weight names as ‹no_weight›.`),
		Example: `
mix:
  weights: {a: 0.7, b: 0.3}`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: Mix{Unit: "bytes", RepeatMax: 1},
		New:     func(c Mix) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check reports weights that make no mixture.
func (c *Mix) Check(at *pipeline.Fields) {
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(c.Weights)) {
		w := c.Weights[name]
		if w < 0 || math.IsInf(w, 0) || math.IsNaN(w) {
			at.Errorf("weights", "the weight of %s is %g; give a number of 0 or more", name, w)
		}
		sum += w
	}
	if sum <= 0 {
		at.Errorf("weights", "no weight is above 0")
	}
}

// Without scales the weights of the other sources to sum to 1 again.
func (c Mix) Without(source string) (any, error) {
	weights, sum := maps.Clone(c.Weights), 0.0
	delete(weights, source)
	for _, w := range weights {
		sum += w
	}
	if sum <= 0 {
		return nil, fmt.Errorf("weights name no source beside %s", source)
	}
	c.Weights = weights
	return c, nil
}

func (c Mix) program() pipeline.Program {
	return pipeline.Program{Passes: []pipeline.Pass{
		{Name: "count", Open: c.openCount, Barrier: &pipeline.Barrier{Reduce: c.plan}},
		{Name: "sample", Open: c.openSample},
	}}
}

// sourceCounter sends how much of each source a shard holds.
type sourceCounter struct {
	unit   string
	counts map[string]int64
}

func (c Mix) openCount(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
	return &sourceCounter{c.Unit, map[string]int64{}}, nil
}

// Map counts one document.
func (s *sourceCounter) Map(d *pipeline.Doc, _ *pipeline.Out) error {
	s.counts[d.Source] += unitsOf(s.unit, d) * int64(d.Copies)
	return nil
}

// Close sends the counts.
func (s *sourceCounter) Close(out *pipeline.Out) error {
	for _, name := range slices.Sorted(maps.Keys(s.counts)) {
		payload := binary.LittleEndian.AppendUint64(nil, uint64(s.counts[name]))
		out.Send(0, append(payload, name...))
	}
	return nil
}

func unitsOf(unit string, d *pipeline.Doc) int64 {
	if unit == "documents" {
		return 1
	}
	return int64(len(d.Text))
}

// timesName is the JSON file of how often each source occurs.
const timesName = "times.json"

func (c Mix) plan(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	have := map[string]int64{}
	err := part.Each(func(r pipeline.Record) error {
		have[string(r.Payload[8:])] += int64(binary.LittleEndian.Uint64(r.Payload))
		return nil
	})
	if err != nil {
		return err
	}
	times, err := c.times(have)
	if err != nil {
		return err
	}
	table := &pipeline.Table{Columns: []string{"source", "share wanted", c.Unit + " there", "times"}}
	for _, name := range slices.Sorted(maps.Keys(times)) {
		table.Rows = append(table.Rows, []string{name, fmt.Sprintf("%.4f", c.share(name)),
			fmt.Sprint(have[name]), fmt.Sprintf("%.4f", times[name])})
	}
	t.Panel(pipeline.Panel{Title: "Mixture", Table: table})
	return t.WriteFile(timesName, func(w io.Writer) error { return json.NewEncoder(w).Encode(times) })
}

// share is a source's weight, scaled.
func (c Mix) share(name string) float64 {
	sum := 0.0
	for _, k := range slices.Sorted(maps.Keys(c.Weights)) {
		sum += c.Weights[k]
	}
	return c.Weights[name] / sum
}

// times returns how often each source occurs on average: the total is limited by the
// source that is scarcest for its weight.
func (c Mix) times(have map[string]int64) (map[string]float64, error) {
	total := math.Inf(1)
	for _, name := range slices.Sorted(maps.Keys(c.Weights)) {
		share := c.share(name)
		if share == 0 {
			continue
		}
		if have[name] == 0 {
			known := slices.Sorted(maps.Keys(have))
			return nil, &pipeline.DataError{Msg: fmt.Sprintf(
				"weights name source %s, of which no document is left; sources with documents: %s",
				name, strings.Join(known, ", "))}
		}
		total = min(total, float64(have[name])*c.RepeatMax/share)
	}
	times := map[string]float64{}
	for name := range c.Weights {
		if have[name] > 0 {
			times[name] = total * c.share(name) / float64(have[name])
		}
	}
	return times, nil
}

func (c Mix) openSample(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	data, err := store.ReadAll(t.FS, filepath.Join(t.BarrierDirs()[0], timesName))
	if err != nil {
		return nil, err
	}
	times := map[string]float64{}
	if err := json.Unmarshal(data, &times); err != nil {
		return nil, err
	}
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		m, named := times[d.Source]
		if !named {
			out.Drop("no_weight", 0)
			return nil
		}
		copies := int(m)
		if float64(t.Choice("sample", d))/(1<<64) < m-math.Floor(m) {
			copies++
		}
		if copies == 0 {
			out.Drop("not_sampled", m)
			return nil
		}
		out.Carry(pipeline.Verdict{Copies: copies})
		return nil
	}), nil
}
