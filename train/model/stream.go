package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// Stream runs a model whose weights stay in their files: all batches go through one layer, whose
// weights are read for it, then through the next. Memory holds one layer's weights, or the
// embedding's, and the residual stream of all batches, not the model. The results are those of
// [Model], to the bit. Weights are read and converted piece by piece with ReadAt, not through a
// mapping of the files, whose pages would count as the program's memory. A Stream is not
// safe for concurrent use.
type Stream struct {
	// OnLayer, if not nil, is called after each step of a run: embedding, layers, head.
	OnLayer func(done, total int)

	m       *Model
	weights checkpoint.Source
	spare   map[int][]tensor.Array // buffers to use again, by length
}

// NewStream checks that weights has every weight of a model in its shape, and reads none.
func NewStream(cfg Config, weights checkpoint.Source, dev tensor.Device) (*Stream, error) {
	m, err := build(cfg, dev, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range m.params {
		if err := fits(p, weights); err != nil {
			return nil, err
		}
	}
	return &Stream{m: m, weights: weights, spare: map[int][]tensor.Array{}}, nil
}

// CheckUpdate checks that every tensor of an update, of which there must be one, is a tensor of the
// model, in its shape. No values are read.
func CheckUpdate(cfg Config, update checkpoint.Source) error {
	m, err := build(cfg, nil, nil)
	if err != nil {
		return err
	}
	return m.checkUpdate(update)
}

func (m *Model) checkUpdate(update checkpoint.Source) error {
	names := update.Names()
	if len(names) == 0 {
		return errors.New("the update has no tensor")
	}
	for _, name := range names {
		p := m.byName[name]
		if p == nil {
			return fmt.Errorf("the model has no tensor %q; is the update's naming the profile's?", name)
		}
		if err := fits(p, update); err != nil {
			return err
		}
	}
	return nil
}

// fits checks that weights has a tensor in its shape, of values that can be read.
func fits(p *Param, weights checkpoint.Source) error {
	info, ok := weights.Info(p.Name)
	if !ok {
		return fmt.Errorf("tensor %q of shape %v is missing", p.Name, p.Shape)
	}
	if !slices.Equal(info.Shape, p.Shape) {
		return fmt.Errorf("tensor %q has shape %v; config.json asks for %v", p.Name, info.Shape, p.Shape)
	}
	if !info.DType.Convertible() {
		return fmt.Errorf("tensor %q is %s; weights are F32, F16 or BF16", p.Name, info.DType)
	}
	return nil
}

// Config returns the configuration, with implied values filled in.
func (s *Stream) Config() Config { return s.m.cfg }

// Weights returns what the weights are read from.
func (s *Stream) Weights() checkpoint.Source { return s.weights }

// Routes calls visit for each mixture layer, from the input on, and in it for each batch, by
// number. The slices are valid during the call. Targets are not used and may be nil.
func (s *Stream) Routes(ctx context.Context, batches []Batch, visit func(batch int, r Route)) error {
	run, err := s.start(batches, nil, false)
	if err != nil {
		return err
	}
	defer run.free()
	last := len(s.m.layers) - 1
	for last >= 0 && s.m.layers[last].moe == nil {
		last--
	}
	run.steps = 1 + last + 1
	if err := run.embed(); err != nil {
		return err
	}
	for l := range last + 1 {
		if err := run.layer(ctx, l, visit); err != nil {
			return err
		}
	}
	return nil
}

// Losses returns the token losses of each batch as [Model.Loss] does, 0 where a target is not
// counted: those of the weights, and, unless update is nil, those of the weights with the tensors
// of update in place of their own. Both go together: what lies before the first tensor of
// the update is computed once, and each layer is read once.
func (s *Stream) Losses(ctx context.Context, batches []Batch, update checkpoint.Source) (base, updated [][]float32, err error) {
	run, err := s.start(batches, update, true)
	if err != nil {
		return nil, nil, err
	}
	defer run.free()
	run.steps = 1 + len(s.m.layers) + 1
	if err := run.embed(); err != nil {
		return nil, nil, err
	}
	for l := range s.m.layers {
		if err := run.layer(ctx, l, nil); err != nil {
			return nil, nil, err
		}
	}
	return run.head(ctx)
}

// streamRun is all batches on their way through the layers.
type streamRun struct {
	s       *Stream
	update  checkpoint.Source // nil if there is none
	changes map[string]bool   // the tensors of update
	base    []*pass
	updated []*pass // nil as long as nothing differs
	steps   int
	done    int
}

func (s *Stream) start(batches []Batch, update checkpoint.Source, targets bool) (*streamRun, error) {
	run := &streamRun{s: s, update: update, changes: map[string]bool{}}
	for i, b := range batches {
		if err := b.check(s.m.cfg, targets); err != nil {
			return nil, fmt.Errorf("batch %d: %w", i, err)
		}
		p := &pass{m: s.m, dev: s.m.dev, batch: b, rows: b.positions(), hidden: s.m.cfg.HiddenSize}
		p.x = s.m.dev.Alloc(s.m.dev.Type(), p.rows*p.hidden)
		run.base = append(run.base, p)
	}
	if update == nil {
		return run, nil
	}
	for _, name := range update.Names() {
		run.changes[name] = true
	}
	return run, s.m.checkUpdate(update)
}

// with reads weights, calls do with the base's batches, and, if there are any, with the updated
// ones after their tensors were put in place; then it lets the weights go.
func (run *streamRun) with(params []*Param, do func(passes []*pass, updated bool) error) error {
	defer run.s.release(params)
	if err := run.s.read(run.s.weights, params); err != nil {
		return err
	}
	changed := slices.DeleteFunc(slices.Clone(params), func(p *Param) bool { return !run.changes[p.Name] })
	if len(changed) > 0 && run.updated == nil {
		run.updated = run.s.clonePasses(run.base)
	}
	if err := do(run.base, false); err != nil || run.updated == nil {
		return err
	}
	if err := run.s.read(run.update, changed); err != nil {
		return err
	}
	return do(run.updated, true)
}

func (s *Stream) clonePasses(passes []*pass) []*pass {
	var out []*pass
	for _, p := range passes {
		q := *p
		q.x = s.m.dev.Alloc(s.m.dev.Type(), p.x.N)
		s.m.dev.Copy(q.x, p.x)
		out = append(out, &q)
	}
	return out
}

func (run *streamRun) embed() error {
	defer run.step()
	return run.with([]*Param{run.s.m.embed}, func(passes []*pass, _ bool) error {
		for _, p := range passes {
			p.embedTokens()
		}
		return nil
	})
}

func (run *streamRun) layer(ctx context.Context, l int, visit func(batch int, r Route)) error {
	defer run.step()
	y, acts := run.s.m.layers[l], &run.s.m.state.shared
	return run.with(y.params, func(passes []*pass, updated bool) error {
		for i, p := range passes {
			if err := cmp.Or(ctx.Err(), p.dev.Err()); err != nil {
				return err
			}
			y.forward(p, acts)
			if y.moe == nil || visit == nil || updated {
				continue
			}
			r, err := p.record(l, &acts.moe.Routing)
			if err != nil {
				return err
			}
			visit(i, r)
		}
		return nil
	})
}

func (run *streamRun) head(ctx context.Context) (base, updated [][]float32, err error) {
	defer run.step()
	m := run.s.m
	err = run.with([]*Param{m.norm, m.head}, func(passes []*pass, changed bool) error {
		var losses [][]float32
		for _, p := range passes {
			loss := make([]float32, p.rows)
			if _, _, err := p.headLoss(ctx, loss, headPass{}); err != nil {
				return err
			}
			losses = append(losses, loss)
		}
		if changed {
			updated = losses
		} else {
			base = losses
		}
		return nil
	})
	return base, updated, err
}

// free gives the residual streams back.
func (run *streamRun) free() {
	for _, p := range append(run.base, run.updated...) {
		p.dev.Free(p.x)
	}
}

func (run *streamRun) step() {
	if run.done++; run.s.OnLayer != nil {
		run.s.OnLayer(run.done, run.steps)
	}
}

// read fills weights from a source, into buffers that they have or that are spare.
func (s *Stream) read(src checkpoint.Source, params []*Param) error {
	for _, p := range params {
		if p.w.Data.None() {
			p.w.Data = s.take(p.Elements())
		}
	}
	read, errs := make([]stored, len(params)), make([]error, len(params))
	s.m.dev.For(len(params), func(i int) { read[i], errs[i] = params[i].read(src, params[i].w.Data.Host) })
	for i, p := range params {
		if errs[i] != nil {
			return errs[i]
		}
		if p.w.Data.Host != nil {
			p.w.Data = tensor.Of(read[i].values)
		} else {
			read[i].upload(p.dev, p.w.Data)
		}
	}
	return s.m.dev.Err()
}

func (s *Stream) take(n int) tensor.Array {
	list := s.spare[n]
	if len(list) == 0 {
		return s.m.dev.Alloc(s.m.dev.Type(), n)
	}
	s.spare[n] = list[:len(list)-1]
	return list[len(list)-1]
}

// release lets weights go. Only the buffers of layers are likely to be of use again.
func (s *Stream) release(params []*Param) {
	for _, p := range params {
		switch {
		case p.w.Data.None():
		case p == s.m.embed || p == s.m.head:
			s.m.dev.Free(p.w.Data)
		default:
			s.spare[p.w.Data.N] = append(s.spare[p.w.Data.N], p.w.Data)
		}
		p.w.Data = tensor.Array{}
	}
}
