package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// Bounds on what may differ from PyTorch, and up to which step the stricter holds.
const (
	parityEarly      = 1e-4
	parityLate       = 1e-3
	parityEarlySteps = 10
	// parityNorm bounds the gradient's norm, by its size. Clipping begins at 1.
	parityNorm = 1e-3
	// parityNearTie is the difference of two routers' logits under which a choice says nothing: weights
	// that differ by rounding are trained on for up to 50 steps.
	parityNearTie = 1e-3
)

// parityRates are the learning rates by what is trained.
var parityRates = map[string]float64{"all": 3e-3, "experts": 2e-2}

// parity is what testdata/parity.py has trained.
type parity struct {
	t    *testing.T
	file *checkpoint.File
	cfg  Config
}

func openParity(t *testing.T) *parity {
	t.Helper()
	f, err := checkpoint.Open(store.OS(), "testdata/parity.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	cfg := DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps, cfg.Seed = 2, 2, 50, 7
	cfg.WarmupSteps = 5
	return &parity{t, f, cfg}
}

func (p *parity) ints(name string) []int32 {
	p.t.Helper()
	data, err := p.file.Bytes(name)
	if err != nil {
		p.t.Fatal(err)
	}
	out := make([]int32, len(data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

func (p *parity) floats(name string) []float32 {
	p.t.Helper()
	values, err := p.file.Float32(name, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return values
}

// data gives the sequences in the order in which PyTorch had them: it undoes the loop's own.
func (p *parity) data() Data {
	tokens, used := p.ints("tokens"), p.ints("used")
	perm := permutation(nil, len(used), p.cfg.Seed, 0)
	return &parityData{tokens, used, perm}
}

type parityData struct {
	tokens, used []int32
	perm         []uint32
}

func (d *parityData) Sequences() int { return len(d.used) }

func (d *parityData) Sequence(i int, dst *tokenize.Sequence) error {
	at, n := slices.Index(d.perm, uint32(i)), len(d.tokens)/len(d.used)
	*dst = tokenize.Sequence{Tokens: slices.Clone(d.tokens[at*n : (at+1)*n])}
	for k := range n {
		dst.Target = append(dst.Target, k < int(d.used[at]))
	}
	return nil
}

// model opens the base with all weights trainable, or two experts of each mixture layer.
func (p *parity) model(what, kernels string) *model.Model {
	p.t.Helper()
	set, err := tensor.Choose(kernels)
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := model.Open(store.OS(), "model/testdata/deepseek_v2_lite", tensor.New(set, 2))
	if err != nil {
		p.t.Fatal(err)
	}
	subset := []string{"layers.1.mlp.experts.0.", "layers.1.mlp.experts.3.", "layers.2.mlp.experts.2.", "layers.2.mlp.experts.5."}
	kept := m.SetTrainable(func(name string) bool {
		return what == "all" || slices.ContainsFunc(subset, func(s string) bool { return strings.Contains(name, s) })
	})
	if what == "experts" && kept != 3*len(subset) {
		p.t.Fatalf("%d tensors are trainable", kept)
	}
	return m
}

// TestPyTorch trains beside PyTorch: losses, norms of gradients and the routers' choices must be its.
func TestPyTorch(t *testing.T) {
	for _, kernels := range tensor.Names() {
		for _, what := range []string{"all", "experts"} {
			t.Run(what+"/"+kernels, func(t *testing.T) { openParity(t).compare(what, kernels) })
		}
	}
}

func (p *parity) compare(what, kernels string) {
	m, data := p.model(what, kernels), p.data()
	p.cfg.LearningRate = parityRates[what]
	routes := routeParity{parity: p, what: what, reader: reader{data: data, order: order{n: data.Sequences(), seed: p.cfg.Seed}}}
	res := mustRun(p.t, m, data, p.cfg, Hooks{BeforeStep: func(step int) { routes.compare(m, step) }})
	losses, norms := p.floats(what+".losses"), p.floats(what+".norms")
	if len(losses) != p.cfg.MaxSteps || res.Steps != len(losses) {
		p.t.Fatalf("%d steps, PyTorch has %d", res.Steps, len(losses))
	}
	var early, late worst
	for i, s := range res.Metrics {
		off := math.Abs(s.LossNats - float64(losses[i]))
		if late.take(off, s.Step); s.Step <= parityEarlySteps {
			early.take(off, s.Step)
		}
		if n := float64(norms[i]); !(math.Abs(s.GradientNorm-n) <= parityNorm*n) {
			p.t.Errorf("step %d: norm of the gradient %v, PyTorch's is %v", s.Step, s.GradientNorm, n)
		}
	}
	if !(early.off <= parityEarly) || !(late.off <= parityLate) {
		p.t.Errorf("losses are off by more than %g in %d steps, or %g in all", parityEarly, parityEarlySteps, parityLate)
	}
	if first, last := losses[0], losses[len(losses)-1]; !(last < first-0.02) {
		p.t.Errorf("the loss goes from %v to %v: nothing was learned, so nothing is shown", first, last)
	}
	p.t.Logf("loss %.4f to %.4f; off by %.1e at most in %d steps (step %d), %.1e in all (step %d); %s", losses[0],
		losses[len(losses)-1], early.off, parityEarlySteps, early.step, late.off, late.step, routes.String())
}

// worst is the greatest difference and where it is.
type worst struct {
	off  float64
	step int
}

func (w *worst) take(off float64, step int) {
	if !(off <= w.off) {
		*w = worst{off, step}
	}
}

// routeParity compares the routers' choices of the steps of which the file has them.
type routeParity struct {
	*parity
	what           string
	reader         reader
	choices, other int
	first          string // the first choice that differs
}

// String says what was compared.
func (r *routeParity) String() string {
	if r.other == 0 {
		return fmt.Sprintf("all %d router choices are the same", r.choices)
	}
	return fmt.Sprintf("%d of %d router choices differ, first %s", r.other, r.choices, r.first)
}

// compare looks at what the weights make of the step's batches, before its update.
func (r *routeParity) compare(m *model.Model, step int) {
	if _, ok := r.file.Info(fmt.Sprintf("%s.experts.%d.0", r.what, step)); !ok {
		return
	}
	at := 0
	for i := range r.cfg.AccumulationSteps {
		var b micro
		position := int64(((step-1)*r.cfg.AccumulationSteps + i) * r.cfg.BatchSize)
		if err := r.reader.read(&b, position, r.cfg.BatchSize); err != nil {
			r.t.Fatal(err)
		}
		err := m.Routes(context.Background(), b.batch, func(got model.Route) {
			want := r.ints(fmt.Sprintf("%s.experts.%d.%d", r.what, step, at))
			logits := r.floats(fmt.Sprintf("%s.router_logits.%d.%d", r.what, step, at))
			r.compareLayer(m.Config(), step, got, want, logits)
			at++
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *routeParity) compareLayer(cfg model.Config, step int, got model.Route, want []int32, logits []float32) {
	if len(got.Experts) != len(want) {
		r.t.Fatalf("step %d, layer %d: %d choices, PyTorch has %d", step, got.Layer, len(got.Experts), len(want))
	}
	k, experts := cfg.NumExpertsPerTok, cfg.NRoutedExperts
	for at := 0; at < len(want); at += k {
		mine, its, row := got.Experts[at:at+k], want[at:at+k], logits[at/k*experts:][:experts]
		if r.choices++; slices.Equal(mine, its) {
			continue
		}
		margin := 0.0
		for i := range its {
			margin = max(margin, math.Abs(float64(row[mine[i]]-row[its[i]])))
		}
		line := fmt.Sprintf("at step %d, layer %d, token %d: experts %v, PyTorch's %v, whose logits differ by %.1e",
			step, got.Layer, at/k, mine, its, margin)
		if r.other++; r.first == "" {
			r.first = line
		}
		if !(margin <= parityNearTie) {
			r.t.Error(line)
		}
	}
}

// TestResumeLatent interrupts the run of all weights at its half: the weights are the same to the bit.
func TestResumeLatent(t *testing.T) {
	p := openParity(t)
	p.cfg.LearningRate = parityRates["all"]
	m := p.model("all", "auto")
	mustRun(t, m, p.data(), p.cfg, Hooks{})
	want, cfg := weights(m), p.cfg
	cfg.Checkpoints = Checkpoints{Dir: "run/state", FS: store.NewCrashFS(), Steps: 10, Build: "b1"}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := Hooks{OnStep: func(s Metrics) {
		if s.Step == 25 {
			cancel()
		}
	}}
	if _, err := Run(ctx, p.model("all", "auto"), p.data(), cfg, stop); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	again := p.model("all", "auto")
	if res := mustRun(t, again, p.data(), cfg, Hooks{}); res.ResumedFrom != 25 || !sameBits(weights(again), want) {
		t.Errorf("resumed from step %d: other weights than without the interruption", res.ResumedFrom)
	}
}
