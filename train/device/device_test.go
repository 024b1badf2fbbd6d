package device

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
	"bzdata/train/tensor/cuda/cudatest"
)

// realCard, if set, lets the tests run on the machine's own card, and not on the one that the processor stands in for.
const realCard = "BZDATA_TEST_CARD"

func TestMain(m *testing.M) { os.Exit(withCard(m.Run)) }

func withCard(run func() int) int {
	if os.Getenv(realCard) != "" {
		return run()
	}
	if s := cuda.Inspect(nil); s.Unsupported != "" {
		fmt.Println("no tests: " + s.Unsupported)
		return 0
	}
	dir, err := cudatest.Build("../tensor/cuda/fake")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(cuda.PathVariable, dir)
	os.Setenv("XDG_CACHE_HOME", cudatest.Kernels(dir))
	return run()
}

// openCard opens the card, and closes it when the test ends.
func openCard(t *testing.T, precision tensor.Precision) Device {
	t.Helper()
	if testing.Short() {
		t.Skip("runs models' kernels on the processor")
	}
	name, err := Resolve(CUDA, "auto")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(name, Options{Workers: 2, Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

const models = "../model/testdata/"

// openOn opens one of the small models of package model on a device.
func openOn(t *testing.T, name string, d tensor.Device, hold model.Hold) *model.Model {
	t.Helper()
	cfg, err := model.ReadConfig(store.OS(), models+name)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := checkpoint.OpenDir(store.OS(), models+name)
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	m, err := model.FromSource(cfg, weights, hold, d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func randomBatch(cfg model.Config, sequences, length int, seed uint64) model.Batch {
	rng := rand.New(rand.NewPCG(seed, 3))
	b := model.Batch{Sequences: sequences, Length: length}
	for i := range sequences * length {
		b.Tokens = append(b.Tokens, int32(rng.IntN(cfg.VocabSize)))
		b.Targets = append(b.Targets, int32(rng.IntN(cfg.VocabSize)))
		if i%7 == 3 {
			b.Targets[i] = -1
		}
	}
	return b
}

// passed is what a model has computed for a batch.
type passed struct {
	sum    float64
	losses []float32
	grads  map[string][]float32
	counts []model.LayerCounts
}

func pass(t *testing.T, m *model.Model, b model.Batch, keep func(string) bool) passed {
	t.Helper()
	p := passed{losses: make([]float32, len(b.Tokens)), grads: map[string][]float32{}}
	if _, _, err := m.Loss(context.Background(), b, p.losses); err != nil {
		t.Fatal(err)
	}
	m.SetTrainable(keep)
	var err error
	if p.sum, _, err = m.Backward(context.Background(), b, 0.25); err != nil {
		t.Fatal(err)
	}
	p.counts = m.Counts()
	for _, w := range m.Params() {
		if w.Trains() {
			p.grads[w.Name] = w.Gradient()
		}
	}
	return p
}

// apart is the distance of two vectors as a part of the second one's length, or of floor if that is greater.
func apart(got, want []float32, floor float64) float64 {
	size, off := 0.0, 0.0
	for i, w := range want {
		size += float64(w) * float64(w)
		off += (float64(got[i]) - float64(w)) * (float64(got[i]) - float64(w))
	}
	return math.Sqrt(off) / max(math.Sqrt(size), floor)
}

func all(string) bool { return true }

// TestModels compares losses, gradients and loads of experts of small models of every architecture on the card with those
// on the processor.
func TestModels(t *testing.T) {
	for _, name := range []string{"deepseek_v2", "deepseek_v2_lite", "deepseek_moe", "qwen3_moe", "olmoe", "llama", "qwen2", "qwen3"} {
		for _, precision := range []tensor.Precision{tensor.Single, tensor.Half} {
			t.Run(fmt.Sprint(name, "/", precision), func(t *testing.T) {
				host := openOn(t, name, tensor.New(tensor.Plain(), 2), model.Hold{})
				card := openOn(t, name, openCard(t, precision), model.Hold{})
				if precision == tensor.Half {
					admitMost(host, card)
				}
				b := randomBatch(host.Config(), 2, 37, 5)
				compare(t, pass(t, card, b, all), pass(t, host, b, all), precision)
			})
		}
	}
}

// admitMost lets tokens go to as many experts as the architecture allows, so that roundings decide as little as can be
// about where they go.
func admitMost(models ...*model.Model) {
	for _, m := range models {
		k := m.Config().NRoutedExperts
		for k > 0 && m.SetExpertsPerToken(k) != nil {
			k--
		}
	}
}

// compare holds losses, each gradient and the loads of experts against each other in F32. In BF16 some positions go to another expert
// than in F32, and these small models are sensitive: there the gradient as a whole counts. PyTorch 2.15's own, in BF16, lies
// 0.02 (llama) to 0.25 (deepseek_v2) from that in F32.
func compare(t *testing.T, got, want passed, precision tensor.Precision) {
	t.Helper()
	bound, whole := 1e-5, 1e-4
	if precision != tensor.Single {
		bound, whole = 3e-2, 0.3
	}
	if off := math.Abs(got.sum-want.sum) / want.sum; !(off < bound) {
		t.Errorf("loss %v, want %v", got.sum, want.sum)
	}
	if off := apart(got.losses, want.losses, 0); !(off < bound) {
		t.Errorf("losses of tokens are %v apart", off)
	}
	var both [2][]float32
	for _, name := range slices.Sorted(maps.Keys(want.grads)) {
		both[0], both[1] = append(both[0], got.grads[name]...), append(both[1], want.grads[name]...)
		if off := apart(got.grads[name], want.grads[name], 1e-6); precision == tensor.Single && !(off < 1e-3) {
			t.Errorf("gradients of %s are %v apart", name, off)
		}
	}
	off := apart(both[0], both[1], 0)
	t.Logf("loss %.6f, want %.6f; the gradient is %.2g apart", got.sum, want.sum, off)
	if !(off < whole) {
		t.Errorf("the gradient is %v apart", off)
	}
	for i, c := range want.counts {
		if precision == tensor.Single && !slices.Equal(got.counts[i].Experts, c.Experts) {
			t.Errorf("layer %d: loads %v, want %v", c.Layer, got.counts[i].Experts, c.Experts)
		}
	}
}

// TestWays checks that what saves memory changes no bit on a card: layers computed once more, and weights in the host's memory.
func TestWays(t *testing.T) {
	const name = "deepseek_v2_lite"
	keep := func(name string) bool {
		return strings.Contains(name, ".experts.1.") || strings.Contains(name, ".experts.4.")
	}
	d := openCard(t, tensor.Half)
	m := openOn(t, name, d, model.Hold{})
	b := randomBatch(m.Config(), 2, 33, 8)
	want := pass(t, m, b, keep)
	other := openOn(t, name, d, model.Hold{LayersOnHost: true})
	other.SetRecompute(true)
	got := pass(t, other, b, keep)
	if got.sum != want.sum || !slices.Equal(got.losses, want.losses) || len(want.grads) == 0 {
		t.Errorf("loss %v, want %v", got.sum, want.sum)
	}
	for name, g := range want.grads {
		if !slices.Equal(got.grads[name], g) {
			t.Errorf("other gradients of %s", name)
		}
	}
}

// TestFootprint compares what a job is counted to take of a card with what it takes.
func TestFootprint(t *testing.T) {
	keep := func(name string) bool { return strings.Contains(name, ".experts.") || strings.Contains(name, "q_proj") }
	for _, precision := range []tensor.Precision{tensor.Half, tensor.HalfAdam8} {
		for _, recompute := range []bool{false, true} {
			d := openCard(t, precision)
			m := openOn(t, "deepseek_v2_lite", d, model.Hold{})
			m.SetRecompute(recompute)
			job := model.Job{Trains: keep, Sequences: 2, Length: 60, Precision: precision, Recompute: recompute,
				Balanced: true}
			use, err := model.Footprint(m.Config(), job)
			if err != nil {
				t.Fatal(err)
			}
			m.SetTrainable(keep)
			for _, p := range m.Params() {
				if p.Trains() {
					d.Moments(p.Elements())
				}
			}
			b := randomBatch(m.Config(), job.Sequences, job.Length, 4)
			for range 2 {
				if _, _, err := m.Loss(context.Background(), b, nil); err != nil {
					t.Fatal(err)
				}
				do := model.Balance{Scale: 0.1, Attended: make([]bool, len(b.Tokens))}
				if _, _, _, err := m.BackwardBalanced(context.Background(), b, 1, do); err != nil {
					t.Fatal(err)
				}
			}
			took, err := d.(*cuda.Device).Memory()
			if err != nil {
				t.Fatal(err)
			}
			const workspace = 32 << 20 // of products, which the reserve for the context and the kernels has room for
			got := took.PeakUsed - workspace
			t.Logf("%s: %d bytes counted, %d taken", precision, use.Card(), got)
			if got > use.Card()+use.Card()/100 || got < use.Card()*99/100 {
				t.Errorf("%s, layers computed once more %v: %d bytes are counted, %d taken: %+v", precision, recompute, use.Card(),
					got, use)
			}
		}
	}
}
