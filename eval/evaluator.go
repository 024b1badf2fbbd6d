package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// Evaluator measures a base and candidates in turn, with one model in memory. It is not safe for
// concurrent use, and nothing else may use the model meanwhile.
type Evaluator struct {
	m    *model.Model
	data Data
	opts Options
	base *Losses
}

// NewEvaluator returns an evaluator of a model that holds the base's weights; see [Load].
func NewEvaluator(m *model.Model, data Data, opts Options) *Evaluator {
	return &Evaluator{m: m, data: data, opts: opts}
}

// Base measures the base, once.
func (e *Evaluator) Base(ctx context.Context) (*Losses, error) {
	if e.base == nil {
		l, err := Measure(ctx, e.m, e.data, e.opts)
		if err != nil {
			return nil, fmt.Errorf("base: %w", err)
		}
		e.base = l
	}
	return e.base, nil
}

// Candidate measures the base with an update's tensors in place of its own, as they are read from the
// update's files, and puts the base's back. The tensors bear the model's own names (see
// [checkpoint.FromProfile]); one that the model does not have, or of another shape, is an error.
func (e *Evaluator) Candidate(ctx context.Context, update checkpoint.Source) (l *Losses, err error) {
	names := update.Names()
	if len(names) == 0 {
		return nil, errors.New("candidate: the update has no tensor")
	}
	own := map[*model.Param][]float32{}
	defer func() {
		for p, data := range own {
			p.Data = data
		}
	}()
	same := true
	for _, name := range names {
		p, data, err := read(e.m, update, name)
		if err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
		info, _ := update.Info(name)
		same = same && isCopy(data, p.Data, info.DType)
		own[p], p.Data = p.Data, data
	}
	if l, err = Measure(ctx, e.m, e.data, e.opts); err != nil {
		return nil, fmt.Errorf("candidate: %w", err)
	}
	l.CopyOfBase = same
	return l, nil
}

// Compare measures base and candidate and compares them.
func (e *Evaluator) Compare(
	ctx context.Context, update checkpoint.Source, opts CompareOptions,
) (Comparison, error) {
	base, err := e.Base(ctx)
	if err != nil {
		return Comparison{}, err
	}
	candidate, err := e.Candidate(ctx, update)
	if err != nil {
		return Comparison{}, err
	}
	return Compare(base, candidate, opts)
}

// Load sets the model's weights to those of a source, which must have every one of them: for example
// back to the base's after training. After an error some may be set.
func Load(m *model.Model, weights checkpoint.Source) error {
	for _, p := range m.Params() {
		if _, _, err := readInto(m, weights, p.Name, p.Data); err != nil {
			return err
		}
	}
	return nil
}

func read(m *model.Model, src checkpoint.Source, name string) (*model.Param, []float32, error) {
	return readInto(m, src, name, nil)
}

// readInto reads a tensor that has the shape of the model's into dst, or new memory.
func readInto(
	m *model.Model, src checkpoint.Source, name string, dst []float32,
) (*model.Param, []float32, error) {
	p := m.Param(name)
	if p == nil {
		return nil, nil, fmt.Errorf("the model has no tensor %q; is the update's naming the profile's?", name)
	}
	info, ok := src.Info(name)
	if !ok {
		return nil, nil, fmt.Errorf("tensor %q of shape %v is missing", name, p.Shape)
	}
	if !slices.Equal(info.Shape, p.Shape) {
		return nil, nil, fmt.Errorf("tensor %q has shape %v; the model's is %v", name, info.Shape, p.Shape)
	}
	data, err := src.Float32(name, dst)
	return p, data, err
}

// copyChunk bounds the memory of isCopy: values that are rounded at a time.
const copyChunk = 1 << 14

// isCopy reports whether an update's values are the base's, rounded to the type that the update
// is stored in.
func isCopy(update, base []float32, dtype checkpoint.DType) bool {
	for len(base) > 0 {
		n := min(copyChunk, len(base))
		stored, err := checkpoint.FromFloat32(dtype, base[:n])
		if err != nil {
			return false // a value of the base that the type cannot hold
		}
		rounded, err := checkpoint.ToFloat32(dtype, stored)
		if err != nil || !slices.EqualFunc(update[:n], rounded, equalBits) {
			return false
		}
		update, base = update[n:], base[n:]
	}
	return true
}

func equalBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
