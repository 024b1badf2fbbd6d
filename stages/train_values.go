package stages

import (
	"math"

	"bzdata/pipeline"
	"bzdata/train"
)

// fallWindow is the share of the steps, at the end, over which the fall of the loss is measured.
const fallWindow = 4

// values are the figures of a training for other programs. Those of parts that the run does not
// have, such as a select part, are left out.
func (c Train) values(t *pipeline.Task, res train.Result, data train.Data) {
	skipped, tokens, sequences := 0, 0, res.Steps*c.BatchSize*c.Accumulation
	for _, m := range res.Metrics {
		skipped, tokens = skipped+m.Skipped, tokens+m.Tokens
	}
	t.Value("steps", float64(res.Steps))
	t.Value("tokens", float64(tokens))
	t.Value("passes", float64(sequences)/float64(data.Sequences()))
	t.Value("skipped_batches", float64(skipped))
	t.Value("batches", float64(res.Steps*c.Accumulation))
	t.Value("warmup_steps", float64(c.config(0).WarmupSteps))
	if fall, fallError, ok := lossFall(res.Metrics); ok {
		t.Value("last_fall_nats", fall)
		t.Value("last_fall_standard_error_nats", fallError)
	}
	if n := len(res.Evaluations); n > 0 {
		t.Value("select_first_nats", res.Evaluations[0].LossNats)
		t.Value("select_last_nats", res.Evaluations[n-1].LossNats)
		best := res.Evaluations[0]
		for _, e := range res.Evaluations {
			if e.LossNats < best.LossNats {
				best = e
			}
		}
		t.Value("select_best_nats", best.LossNats)
		t.Value("select_best_step", float64(best.Step))
		t.Value("select_evaluations", float64(n))
	}
}

// lossFall is by how many nats the training loss falls over the last quarter of the steps, by a line
// of least squares, and the standard error of that; ok is false for fewer than eight such steps, which
// say nothing.
func lossFall(ms []train.Metrics) (fall, standardError float64, ok bool) {
	ms = ms[len(ms)-len(ms)/fallWindow:]
	n := float64(len(ms))
	if n < 8 {
		return 0, 0, false
	}
	mean := windowMean(ms)
	xy, xx, residual := 0.0, 0.0, 0.0
	for i, m := range ms {
		x := float64(i) - (n-1)/2
		xy, xx = xy+x*(m.LossNats-mean), xx+x*x
	}
	slope := xy / xx
	for i, m := range ms {
		r := m.LossNats - mean - slope*(float64(i)-(n-1)/2)
		residual += r * r
	}
	return -slope * (n - 1), math.Sqrt(residual/(n-2)/xx) * (n - 1), true
}
