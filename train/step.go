package train

import (
	"context"
	"fmt"
	"math"

	"bzdata/train/model"
	"bzdata/train/tensor"
)

// step makes one optimizer step. Nothing of the run changes before the gradient is whole.
func (r *run) step(ctx context.Context) error {
	for i := range r.micros {
		position := r.state.Position + int64(i)*int64(r.cfg.BatchSize)
		if err := r.reader.read(&r.micros[i], position, r.cfg.BatchSize); err != nil {
			return fmt.Errorf("step %d: %w", r.state.Step+1, err)
		}
	}
	r.events = nil
	next := Metrics{Step: r.state.Step + 1, LearningRate: r.cfg.Rate(r.scheduleStep())}
	if err := r.gradient(ctx, &next); err != nil {
		return err
	}
	norm, dropped, err := r.norm()
	if err != nil {
		return err
	}
	next.GradientNorm = norm
	if next.Tokens > 0 {
		r.update(next.LearningRate, norm, dropped)
	}
	if err := r.m.Device().Err(); err != nil {
		return fmt.Errorf("step %d: %w", next.Step, err)
	}
	r.state.Step++
	r.state.Position += int64(r.cfg.AccumulationSteps) * int64(r.cfg.BatchSize)
	r.state.Metrics = append(r.state.Metrics, next)
	r.state.NonFinite = append(r.state.NonFinite, r.events...)
	if r.hooks.OnNonFinite != nil {
		for _, e := range r.events {
			r.hooks.OnNonFinite(e)
		}
	}
	return r.countSkips(dropped)
}

// scheduleStep is the step of the schedule that comes next: by the number of steps made, or by the
// time that is over.
func (r *run) scheduleStep() int {
	if r.hooks.Elapsed == nil {
		return r.state.Step
	}
	total := r.cfg.scheduleSteps()
	return min(int(max(0, min(1, r.hooks.Elapsed()))*float64(total)), total-1)
}

// gradient sums the gradients of the step's batches, without those whose loss is no finite number.
// Such a loss shows only when its gradient is in the sum already, so the sum then begins anew.
func (r *run) gradient(ctx context.Context, next *Metrics) error {
	for {
		r.m.ZeroGrad()
		bad, err := r.accumulate(ctx, next)
		if err != nil {
			return fmt.Errorf("step %d: %w", next.Step, err)
		}
		if bad < 0 {
			return nil
		}
		if err := r.nonFinite(bad, "", &r.micros[bad]); err != nil {
			return err
		}
		r.micros[bad].skipped = true
		next.Skipped++
	}
}

// accumulate adds up the gradients of the batches that are not skipped, and returns the number of
// the first whose loss is no finite number, or -1.
func (r *run) accumulate(ctx context.Context, next *Metrics) (bad int, err error) {
	batches := 0
	next.Tokens, next.LossNats, next.AuxLoss, r.routed = 0, 0, 0, r.routed[:0]
	for i := range r.micros {
		if b := &r.micros[i]; b.counts() {
			batches++
			next.Tokens += b.targets
		}
	}
	for i := range r.micros {
		b := &r.micros[i]
		if !b.counts() {
			continue
		}
		weight := 1 / float64(next.Tokens)
		if r.cfg.Mean == MeanOfBatches {
			weight = 1 / (float64(batches) * float64(b.targets))
		}
		sum, aux, err := r.backward(ctx, b, weight)
		if err != nil {
			return 0, err
		}
		if !finite(sum) || !finite(aux) {
			return i, nil
		}
		next.LossNats += weight * sum
		next.AuxLoss += weight * float64(b.targets) * aux
		r.addLoad()
	}
	return -1, nil
}

// backward adds a batch's gradient, weight being that of a token's loss, and returns the sum of token losses and,
// if it is asked for, the load-balancing loss of the batch. That one weighs in the gradient as the mean token loss of
// the batch does, as it does where a Hugging Face model's loss is divided by the number of batches.
func (r *run) backward(ctx context.Context, b *micro, weight float64) (sum, aux float64, err error) {
	if r.cfg.RouterAuxLossCoef == 0 {
		sum, _, err = r.m.Backward(ctx, b.batch, float32(weight))
		return sum, 0, err
	}
	scale := r.cfg.RouterAuxLossCoef * weight * float64(b.targets)
	sum, _, aux, err = r.m.BackwardBalanced(ctx, b.batch, float32(weight),
		model.Balance{Scale: float32(scale), Attended: b.attended})
	return sum, aux, err
}

// addLoad adds the last backward pass's load of the experts to the step's.
func (r *run) addLoad() {
	if r.hooks.OnLoad == nil {
		return
	}
	for i, c := range r.m.Counts() {
		if i == len(r.routed) {
			r.routed = append(r.routed, model.LayerCounts{Layer: c.Layer, Experts: make([]int, len(c.Experts))})
		}
		l := &r.routed[i]
		l.Tokens += c.Tokens
		for e, n := range c.Experts {
			l.Experts[e] += n
		}
	}
}

// counts reports whether the batch takes part in its step: one without a target has no loss.
func (b *micro) counts() bool { return !b.skipped && b.targets > 0 }

// norm returns the global norm over the finite gradients, and which tensors have another.
func (r *run) norm() (norm float64, dropped []bool, err error) {
	dropped = make([]bool, len(r.params))
	sum := 0.0
	grads := make([]tensor.Array, len(r.params))
	for i, p := range r.params {
		grads[i] = p.Weight().Grad
	}
	// Squares of single precision cannot overflow double precision.
	squares := r.m.Device().SumSquares(grads...)
	if err := r.m.Device().Err(); err != nil {
		return 0, nil, err
	}
	for i, p := range r.params {
		if finite(squares[i]) {
			sum += squares[i]
			continue
		}
		dropped[i] = true
		all := make([]*micro, len(r.micros))
		for k := range r.micros {
			all[k] = &r.micros[k]
		}
		if err := r.nonFinite(-1, p.Name, all...); err != nil {
			return 0, nil, err
		}
	}
	return math.Sqrt(sum), dropped, nil
}

// update applies AdamW to the tensors that are not dropped.
func (r *run) update(rate, norm float64, dropped []bool) {
	rule := tensor.AdamW{
		LearningRate: rate, Beta1: r.cfg.Beta1, Beta2: r.cfg.Beta2, Epsilon: r.cfg.Epsilon,
		WeightDecay: r.cfg.WeightDecay, GradScale: r.clipFactor(norm),
	}
	for i, p := range r.params {
		if !dropped[i] {
			r.state.Updates[i]++
			r.m.Device().AdamW(rule, r.state.Updates[i], p.Weight(), r.moments[i])
		}
	}
}

// clipFactor is that of PyTorch's clip_grad_norm_.
func (r *run) clipFactor(norm float64) float64 {
	if r.cfg.ClipNorm == 0 {
		return 1
	}
	return min(1, r.cfg.ClipNorm/(norm+1e-6))
}

// nonFinite records a loss or gradient of some batches, and is an error if the policy is to raise.
func (r *run) nonFinite(batch int, tensorName string, batches ...*micro) error {
	documents, err := r.reader.documents(batches...)
	if err != nil {
		return err
	}
	e := NonFiniteEvent{Step: r.state.Step + 1, Batch: batch, Tensor: tensorName, Documents: documents}
	if r.cfg.NonFinite == Raise {
		return &NonFiniteError{Event: e}
	}
	r.events = append(r.events, e)
	return nil
}

// countSkips counts the step's batches as skipped in a row or not, and gives up after too many.
func (r *run) countSkips(dropped []bool) error {
	anyDropped := false
	for _, d := range dropped {
		anyDropped = anyDropped || d
	}
	for i := range r.micros {
		switch b := &r.micros[i]; {
		case b.skipped || anyDropped:
			r.state.SkippedInARow++
		case b.counts():
			r.state.SkippedInARow = 0
		}
		if r.state.SkippedInARow > r.cfg.SkipsMax {
			last := r.state.NonFinite[len(r.state.NonFinite)-1]
			return &NonFiniteError{Event: last, InARow: r.state.SkippedInARow}
		}
	}
	return nil
}
