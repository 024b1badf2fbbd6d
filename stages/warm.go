package stages

import (
	"fmt"

	"bzdata/pipeline"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// What stages keep in a [pipeline.Warm]: whatever is in it is named with what its files are known by, and is
// used again for the same files only.

// weightsName is what the weights of the base model are kept under.
const weightsName = "base weights"

// warmWeights reads the base model's weights as [baseModel] does, but for those that are in memory.
type warmWeights struct {
	*baseModel
	kept  keptWeights
	own   string // what the base model's own files are known by
	other string // what the checkpoint's are, and what says how to read them
	read  int    // tensors that came from files
}

// keptWeights are tensors in single precision, each with the files that it is of.
type keptWeights map[string]keptTensor

type keptTensor struct {
	of     string
	values []float32
}

// Close implements [io.Closer]; there is nothing but memory.
func (keptWeights) Close() error { return nil }

func takeWeights(t *pipeline.Task, b *baseModel) *warmWeights {
	w := &warmWeights{baseModel: b}
	w.kept, _ = t.Warm.Take(weightsName).(keptWeights)
	w.own = fmt.Sprint(t.Known("config"), t.Known("weights"))
	w.other = fmt.Sprint(w.own, t.Known(checkpointRead), t.Known("expert_groups"), t.Known("profile"))
	return w
}

// of says which files a tensor is of.
func (w *warmWeights) of(name string) string {
	if w.over != nil {
		if _, ok := w.over.Info(name); ok {
			return w.other
		}
	}
	return w.own
}

// Float32 implements [checkpoint.Source]. What it gives is kept no longer: it may be trained.
func (w *warmWeights) Float32(name string, dst []float32) ([]float32, error) {
	if k, ok := w.kept[name]; ok && k.of == w.of(name) {
		delete(w.kept, name)
		return k.values, nil
	}
	w.read++
	return w.baseModel.Float32(name, dst)
}

// put keeps the weights of a model that were not trained, unless the files have changed meanwhile, which
// ends the run.
func (w *warmWeights) put(t *pipeline.Task, m *model.Model) error {
	if t.Warm == nil || t.Changed() != nil {
		return nil
	}
	kept := keptWeights{}
	for _, p := range m.Params() {
		if !p.Trains() {
			kept[p.Name] = keptTensor{w.of(p.Name), p.Values()}
		}
	}
	return t.Warm.Put(weightsName, kept)
}

var _ checkpoint.Source = (*warmWeights)(nil)

// takeShards returns the shards of a part of the tokens of a task that earlier runs have left open, or nil.
func takeShards(w *pipeline.Warm, dir, part string) *openShards {
	c := w.Take("tokens " + part)
	if o, ok := c.(*openShards); ok && o.dir == dir {
		return o
	}
	if c != nil {
		c.Close() // tokens of an earlier plan or time
	}
	return nil
}

// paceName is what the pace of a window's training is kept under.
const paceName = "pace"

// keptPace is what an earlier window of this process has measured.
type keptPace struct {
	of string // what it was measured with
	fitted
}

// Close implements [io.Closer].
func (keptPace) Close() error { return nil }

// paceOf says what the time of a step depends on.
func (c Train) paceOf(t *pipeline.Task) string {
	return fmt.Sprint(c.BatchSize, c.Accumulation, c.Trainable, t.Known("config"), t.Known("expert_group"),
		t.Known("expert_groups"), t.Input(pipeline.Tokens), t.Workers, t.Kernels)
}
