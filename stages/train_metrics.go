package stages

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bzdata/pipeline"
	"bzdata/train"
	"bzdata/train/metrics"
	"bzdata/train/model"
)

// meter writes what a training loop measures. It opens its files when the loop knows where it begins.
type meter struct {
	t        *pipeline.Task
	batch    int  // sequences of a step
	balanced bool // there is an auxiliary loss
	log      *metrics.Log

	first     float64 // loss of the first step that has one
	firstVal  float64
	tokens    int
	nonFinite int
	seconds   float64   // of all steps
	began     time.Time // the step under way
	load      []metrics.Load
}

// metricsOptions are those of the files about a training, which the task itself may not be: key is
// that of its result.
func metricsOptions(t *pipeline.Task, step *pipeline.Step, key string) metrics.Options {
	m := t.Plan.Metrics
	name := t.Plan.Name
	if step.Label() != "train" {
		name += "-" + step.Label()
	}
	run := metrics.Run{Name: name, ID: key[:min(len(key), 8)], Host: t.Host, Project: m.WandBProject, Config: map[string]any{}}
	if group := t.Plan.Network.ExpertGroup; group != nil {
		run.Group = group.String()
	}
	for _, s := range step.Effective {
		run.Config[s.Key] = s.Value
	}
	opt := metrics.Options{FS: t.FS, Dir: t.Workdir(), Run: run}
	for _, f := range m.Formats {
		if f := metrics.Format(f); !slices.Contains(opt.Formats, f) {
			opt.Formats = append(opt.Formats, f)
		}
	}
	if m.WandB {
		opt.Formats = append(opt.Formats, metrics.WandB)
	}
	opt.Warn = func(line string) { t.Note("%s", strings.ReplaceAll(line, t.Workdir()+string(filepath.Separator), "")) }
	return opt
}

// hooks adds the meter to what a loop calls.
func (m *meter) hooks(h *train.Hooks) {
	h.OnBegin, h.OnLoad, h.OnEvaluation = m.begin, m.onLoad, m.onEvaluation
	h.BeforeStep = func(int) {
		m.log.Complete()
		m.began = m.t.Now()
	}
	h.BeforeState = func(int) { m.log.Sync() }
	onStep, onNonFinite := h.OnStep, h.OnNonFinite
	h.OnStep = func(s train.Metrics) { m.onStep(s); onStep(s) }
	h.OnNonFinite = func(e train.NonFiniteEvent) { m.nonFinite++; onNonFinite(e) }
}

func (m *meter) begin(before train.Result) {
	m.first, m.firstVal, m.nonFinite = math.NaN(), math.NaN(), len(before.NonFinite)
	for _, s := range before.Metrics {
		m.tokens += s.Tokens
		m.keepFirst(s)
	}
	if len(before.Evaluations) > 0 && before.Evaluations[0].Step == 0 {
		m.firstVal = before.Evaluations[0].LossNats
	}
	log, last := metrics.Open(metricsOptions(m.t, m.t.Step, string(m.t.Report.Key)), before.ResumedFrom)
	if m.log = log; last != nil {
		m.seconds = last.Value(metrics.Seconds)
	}
}

func (m *meter) keepFirst(s train.Metrics) {
	if math.IsNaN(m.first) && s.Tokens > 0 {
		m.first = s.LossNats
	}
}

func (m *meter) onLoad(_ int, load []model.LayerCounts) {
	m.load = nil // the last one is a row's
	for _, l := range load {
		row := metrics.Load{Layer: l.Layer, Experts: make([]int64, len(l.Experts))}
		for e, n := range l.Experts {
			row.Experts[e] = int64(n)
		}
		m.load = append(m.load, row)
	}
}

func (m *meter) onStep(s train.Metrics) {
	now := m.t.Now()
	took := now.Sub(m.began).Seconds()
	m.seconds, m.tokens = m.seconds+took, m.tokens+s.Tokens
	m.keepFirst(s)
	loss := s.LossNats
	if s.Tokens == 0 {
		loss = math.NaN() // every batch was skipped
	}
	aux := math.NaN()
	if m.balanced && s.Tokens > 0 {
		aux = s.AuxLoss
	}
	m.log.Add(s.Step, now, []metrics.Value{
		{Name: metrics.Loss, Number: loss},
		{Name: metrics.LossReduction, Number: m.first - loss},
		{Name: metrics.Perplexity, Number: math.Exp(loss)},
		{Name: metrics.AuxLoss, Number: aux},
		{Name: metrics.LearningRate, Number: s.LearningRate},
		{Name: metrics.GradientNorm, Number: s.GradientNorm},
		{Name: metrics.TokensPerSecond, Number: float64(s.Tokens) / took}, // left out if the clock stands
		{Name: metrics.NonFinite, Number: float64(m.nonFinite)},
		{Name: metrics.Tokens, Number: float64(m.tokens)},
		{Name: metrics.Samples, Number: float64(s.Step * m.batch)},
		{Name: metrics.StepSeconds, Number: took},
		{Name: metrics.Seconds, Number: m.seconds},
	}, m.load)
}

func (m *meter) onEvaluation(e train.Evaluation) {
	if e.Step == 0 {
		m.firstVal = e.LossNats
	}
	m.log.Add(e.Step, m.t.Now(), []metrics.Value{
		{Name: metrics.ValLoss, Number: e.LossNats},
		{Name: metrics.ValLossReduction, Number: m.firstVal - e.LossNats},
	}, nil)
}

// close follows the loop; it has not begun if its first state could not be read.
func (m *meter) close(ended bool) {
	if m.log != nil {
		m.log.Close(ended)
	}
}

// measure adds a proof of loss, and the miner's rank if there is one, to the metrics of the training that made
// the update, as the row after its last step.
func (s score) measure(t *pipeline.Task, stepsRun int, rank func() (int, error)) {
	var made *pipeline.Step
	for i := range t.Plan.Stages {
		if t.Plan.Stages[i].Label() == t.Step.Label() {
			if from, ok := t.Plan.From(i, pipeline.Update); ok && from >= 0 {
				made = &t.Plan.Stages[from]
			}
		}
	}
	if made == nil {
		return // an update that no step of the plan made has no metrics
	}
	log, _ := metrics.Open(metricsOptions(t, made, filepath.Base(t.Input(pipeline.Update))), stepsRun)
	values := []metrics.Value{
		{Name: metrics.ProofLoss, Number: s.Candidate},
		{Name: metrics.ProofLossReduction, Number: s.Base - s.Candidate},
		{Name: metrics.Score, Number: s.pays()},
	}
	n, err := rank()
	if err != nil {
		t.Note("metrics: %v; chain/rank_in_group is left out", err)
	}
	if n > 0 {
		values = append(values, metrics.Value{Name: metrics.Rank, Number: float64(n)})
	}
	log.Add(stepsRun+1, t.Now(), values, nil)
	log.Close(true)
}

// pays is the profile's score, of several seeds their mean, or without one ReLU of the loss's fall.
func (s score) pays() float64 {
	switch {
	case s.Draws != nil:
		return s.Draws.Mean
	case s.Network != nil:
		return s.Network.Score
	}
	return max(0, s.Base-s.Candidate)
}
