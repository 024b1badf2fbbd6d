package eval

import (
	"context"
	"fmt"

	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// Evaluator measures a base and candidates layer by layer, so that no model need be held whole. It is
// not safe for concurrent use, and nothing else may use the stream meanwhile.
type Evaluator struct {
	s    *model.Stream
	data Data
	opts Options
}

// NewEvaluator returns an evaluator of a base.
func NewEvaluator(base *model.Stream, data Data, opts Options) *Evaluator {
	return &Evaluator{s: base, data: data, opts: opts}
}

// Losses measures the base, and, unless update is nil, the candidate: the base with an update's
// tensors in place of its own, as they are read from the update's files. Both go together, and
// what lies before the update's first tensor is computed once. The losses are those of
// [Measure], to the bit. The tensors bear the model's own names (see [checkpoint.FromProfile]); one that the
// model does not have, or of another shape, is an error.
func (e *Evaluator) Losses(ctx context.Context, update checkpoint.Source) (base, candidate *Losses, err error) {
	waves, err := e.waves()
	if err != nil {
		return nil, nil, err
	}
	run := &evaluation{e: e, update: update, base: newMeasurement(e.opts), candidate: newMeasurement(e.opts)}
	for i, w := range waves {
		e.s.OnLayer = func(done, total int) {
			if e.opts.OnProgress != nil {
				e.opts.OnProgress(i*total+done, len(waves)*total)
			}
		}
		if err := run.wave(ctx, w); err != nil {
			return nil, nil, err
		}
	}
	if base, err = run.base.finish(); err != nil || update == nil {
		return base, nil, err
	}
	if candidate, err = run.candidate.finish(); err != nil {
		return nil, nil, err
	}
	candidate.CopyOfBase, err = checkpoint.IsCopy(update, e.s.Weights())
	return base, candidate, err
}

// span is a range of sequences.
type span struct{ from, to int }

// waves cuts the data into ranges of batches that have at most TokensMax tokens, or one batch.
func (e *Evaluator) waves() ([]span, error) {
	total, size := e.data.Sequences(), max(1, e.opts.BatchSize)
	if total == 0 {
		return nil, errNoSequence
	}
	if e.opts.TokensMax <= 0 {
		return []span{{0, total}}, nil
	}
	var first piece
	if err := first.read(e.data, 0, 1); err != nil {
		return nil, first.wrap(err)
	}
	step := size * max(1, e.opts.TokensMax/(size*first.batch.Length))
	var out []span
	for from := 0; from < total; from += step {
		out = append(out, span{from, min(total, from+step)})
	}
	return out, nil
}

// evaluation is a measuring of base and candidate under way.
type evaluation struct {
	e               *Evaluator
	update          checkpoint.Source
	base, candidate *measurement
}

func (r *evaluation) wave(ctx context.Context, w span) error {
	var pieces []*piece
	var batches []model.Batch
	for from := w.from; from < w.to; {
		p := &piece{}
		if err := p.read(r.e.data, from, min(w.to, from+max(1, r.e.opts.BatchSize))); err != nil {
			return p.wrap(err)
		}
		pieces, batches, from = append(pieces, p), append(batches, p.batch), p.to
	}
	base, candidate, err := r.e.s.Losses(ctx, batches, r.update)
	if err != nil {
		return fmt.Errorf("held-out sequences %d to %d: %w", w.from, w.to-1, err)
	}
	for i, p := range pieces {
		if err := r.base.piece(p, base[i]); err != nil {
			return p.wrap(err)
		}
		if r.update == nil {
			continue
		}
		if err := r.candidate.piece(p, candidate[i]); err != nil {
			return p.wrap(err)
		}
	}
	return nil
}

// Compare measures base and candidate and compares them.
func (e *Evaluator) Compare(
	ctx context.Context, update checkpoint.Source, opts CompareOptions,
) (Comparison, error) {
	base, candidate, err := e.Losses(ctx, update)
	if err != nil {
		return Comparison{}, err
	}
	return Compare(base, candidate, opts)
}
