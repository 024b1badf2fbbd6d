package eval

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

func newModel(t testing.TB, kernels string, workers int) *model.Model {
	t.Helper()
	set, err := tensor.Choose(kernels)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(model.Config{
		ModelType: "bz_moe", HiddenSize: 16, NumHiddenLayers: 2, NumAttentionHeads: 2, VocabSize: 29,
		MoeIntermediateSize: 12, NRoutedExperts: 4, NumExpertsPerTok: 2, RoutedScalingFactor: 1,
		RMSNormEps: 1e-6, RopeTheta: 100, InitializerRange: 0.2,
	}, tensor.New(set, workers), 5)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// shard packs n documents that count up in steps of 3 from a random token.
func shard(t testing.TB, packing tokenize.Packing, n int, seed uint64) *tokenize.Shard {
	t.Helper()
	opt := tokenize.PackOptions{Packing: packing, SequenceLength: 16, EOS: 28, Pad: -1}
	w, err := tokenize.NewShardWriter(tokenize.ShardMeta{
		SequenceLength: 16, VocabSize: 29, Tokenizer: strings.Repeat("ab", 32), Packing: packing,
		BOS: -1, EOS: 28, Pad: 28, Sources: []string{"odd", "even"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := tokenize.NewPacker(opt, w.Add)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range n {
		d := tokenize.Document{DocumentInfo: tokenize.DocumentInfo{
			Ordinal: seed*1000 + uint64(i), Source: uint32(i % 2), Tokens: uint32(2 + rng.IntN(25)), TextBytes: 77,
		}}
		first, keep := rng.Int32N(28), int32(d.DocumentInfo.Tokens)
		if packing == tokenize.PackTruncatePad {
			keep = min(keep, 16)
		}
		for k := range keep {
			d.Tokens = append(d.Tokens, (first+3*k)%28)
		}
		if err := p.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := w.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	s, err := tokenize.OpenShard(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustMeasure(t testing.TB, m *model.Model, data Data, opts Options) *Losses {
	t.Helper()
	l, err := Measure(context.Background(), m, data, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestMeasure checks the sums against the model's loss for each token by itself.
func TestMeasure(t *testing.T) {
	for _, packing := range []tokenize.Packing{tokenize.PackTruncatePad, tokenize.PackEOSConcat} {
		m, data := newModel(t, "auto", 2), shard(t, packing, 30, 1)
		l := mustMeasure(t, m, data, Options{BatchSize: 7, Sources: data.Meta().Sources})
		docs := map[uint64]*DocumentLoss{}
		placed := map[uint64]float64{}
		var seq tokenize.Sequence
		total := 0.0
		for i := range data.Sequences() {
			if err := data.Sequence(i, &seq); err != nil {
				t.Fatal(err)
			}
			want := SequenceLoss{}
			for _, seg := range seq.Segments {
				d := docs[seg.Document.Ordinal]
				if d == nil {
					d = &DocumentLoss{Ordinal: seg.Document.Ordinal, Source: seg.Document.Source}
					docs[d.Ordinal] = d
				}
				placed[d.Ordinal] += float64(seg.End - seg.Start)
				d.Bytes = 77 * min(1, placed[d.Ordinal]/float64(seg.Document.Tokens))
				for k := seg.Start; k < seg.End; k++ {
					if !seq.Target[k] {
						continue
					}
					loss := tokenLoss(t, m, seq.Tokens[:k+1])
					d.Nats, d.Tokens = d.Nats+loss, d.Tokens+1
					want.Nats, want.Tokens = want.Nats+loss, want.Tokens+1
				}
			}
			total += want.Nats
			if l.Sequences[i] != want {
				t.Fatalf("%s: sequence %d: %+v, want %+v", packing, i, l.Sequences[i], want)
			}
		}
		for _, d := range l.Documents {
			if w := docs[d.Ordinal]; math.Abs(d.Bytes-w.Bytes) > 1e-9 || d.Nats != w.Nats || d.Tokens != w.Tokens {
				t.Errorf("%s: document %+v, want %+v", packing, d, *w)
			}
		}
		if len(l.Documents) != len(docs) || l.Nats() != total || l.NonFinite() != 0 ||
			int64(l.Tokens()) != data.Targets() {
			t.Errorf("%s: %d documents, want %d", packing, len(l.Documents), len(docs))
		}
	}
}

// tokenLoss is the loss of the last token after those before it.
func tokenLoss(t *testing.T, m *model.Model, tokens []int32) float64 {
	n := len(tokens) - 1
	b := model.Batch{Sequences: 1, Length: n, Tokens: tokens[:n], Targets: make([]int32, n)}
	for i := range b.Targets {
		b.Targets[i] = -1
	}
	b.Targets[n-1] = tokens[n]
	loss := make([]float32, n)
	if _, _, err := m.Loss(context.Background(), b, loss); err != nil {
		t.Fatal(err)
	}
	return float64(loss[n-1])
}

// TestSameBits checks that batches and workers change nothing.
func TestSameBits(t *testing.T) {
	data := shard(t, tokenize.PackEOSConcat, 30, 1)
	want := mustMeasure(t, newModel(t, "auto", 1), data, Options{})
	for _, size := range []int{2, 5, 1000} {
		calls := 0
		opts := Options{BatchSize: size, OnProgress: func(done, total int) {
			if calls++; done > total || total != data.Sequences() {
				t.Errorf("%d of %d done", done, total)
			}
		}}
		if got := mustMeasure(t, newModel(t, "auto", 3), data, opts); !reflect.DeepEqual(got, want) {
			t.Errorf("batches of %d give other losses", size)
		}
		if want := (data.Sequences() + size - 1) / size; calls != want {
			t.Errorf("%d calls of OnProgress, want %d", calls, want)
		}
	}
	other := mustMeasure(t, newModel(t, "auto", 1), shard(t, tokenize.PackEOSConcat, 30, 2), Options{})
	if other.DataHash == want.DataHash {
		t.Error("other data has the same hash")
	}
}

// edited gives sequences that a function has changed.
type edited struct {
	Data
	edit func(i int, s *tokenize.Sequence)
}

func (e edited) Sequence(i int, dst *tokenize.Sequence) error {
	err := e.Data.Sequence(i, dst)
	e.edit(i, dst)
	return err
}

type noData struct{}

func (noData) Sequences() int                             { return 0 }
func (noData) Sequence(i int, _ *tokenize.Sequence) error { return errors.New("no sequence") }

func TestMeasureErrors(t *testing.T) {
	data, m := shard(t, tokenize.PackTruncatePad, 9, 1), newModel(t, "auto", 1)
	for word, d := range map[string]Data{
		"no sequence": noData{},
		"sequences of 16": edited{data, func(i int, s *tokenize.Sequence) {
			if i == 2 {
				s.Tokens = s.Tokens[:5]
			}
		}},
		"exactly one document": edited{data, func(_ int, s *tokenize.Sequence) { s.Segments = nil }},
		"stands at":            edited{data, func(_ int, s *tokenize.Sequence) { s.Segments[0].End = 99 }},
		"is a target":          edited{data, func(_ int, s *tokenize.Sequence) { clear(s.Target) }},
		"token 400":            edited{data, func(_ int, s *tokenize.Sequence) { s.Tokens[1] = 400 }},
	} {
		_, err := Measure(context.Background(), m, d, Options{BatchSize: 4})
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v, want %q", err, word)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Measure(ctx, m, data, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after cancel", err)
	}
}

// weightsOf makes a source of a model's tensors.
func weightsOf(t testing.TB, m *model.Model, dtype checkpoint.DType, keep func(string) bool) checkpoint.Source {
	t.Helper()
	var tensors []checkpoint.Tensor
	for _, p := range m.Params() {
		if keep(p.Name) {
			tensor, err := checkpoint.NewTensor(p.Name, dtype, p.Shape, p.Values())
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, tensor)
		}
	}
	src, err := checkpoint.FromTensors(tensors)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func experts(name string) bool { return strings.Contains(name, ".experts.") }
func every(string) bool        { return true }

// streamOf runs a model's weights, as they are now, layer by layer.
func streamOf(t testing.TB, m *model.Model) *model.Stream {
	t.Helper()
	s, err := model.NewStream(m.Config(), weightsOf(t, m, checkpoint.F32, every), m.Device())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writtenUpdate is the model's experts, written to a file in F16 and opened again.
func writtenUpdate(t *testing.T, m *model.Model) *checkpoint.File {
	t.Helper()
	fsys := store.OS()
	path := filepath.Join(t.TempDir(), "update.safetensors")
	update, err := checkpoint.Tensors(weightsOf(t, m, checkpoint.F16, experts))
	if err != nil {
		t.Fatal(err)
	}
	write := func(w io.Writer) error { return checkpoint.Write(w, update, nil) }
	if err := store.WriteFile(fsys, path, write); err != nil {
		t.Fatal(err)
	}
	file, err := checkpoint.Open(fsys, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// trainedUpdate trains a model's experts and returns them as a file in F16.
func trainedUpdate(t *testing.T, m *model.Model) *checkpoint.File {
	t.Helper()
	m.SetTrainable(experts)
	cfg := train.DefaultConfig()
	cfg.MaxSteps, cfg.BatchSize, cfg.LearningRate = 60, 8, 0.02
	trained := train.Join(shard(t, tokenize.PackTruncatePad, 300, 7), shard(t, tokenize.PackTruncatePad, 50, 8))
	if _, err := train.Run(context.Background(), m, trained, cfg, train.Hooks{}); err != nil {
		t.Fatal(err)
	}
	return writtenUpdate(t, m)
}

// TestProof trains a model, writes the update as F16, and judges the file against the base: the
// losses are those of the base, and of the base with the file's tensors over it, held whole, however
// many tokens are on their way at once.
func TestProof(t *testing.T) {
	ctx := context.Background()
	m := newModel(t, "auto", 2)
	s, base := streamOf(t, m), weightsOf(t, m, checkpoint.F32, every)
	data := shard(t, tokenize.PackTruncatePad, 250, 9)
	wantBase := mustMeasure(t, m, data, Options{BatchSize: 3})
	file := trainedUpdate(t, m)
	over, err := checkpoint.Overlay(base, file)
	if err != nil {
		t.Fatal(err)
	}
	assembled, err := model.FromSource(m.Config(), over, model.Hold{}, m.Device())
	if err != nil {
		t.Fatal(err)
	}
	want := mustMeasure(t, assembled, data, Options{})
	for _, tokens := range []int{0, 1, 16 * 40, 1 << 20} {
		layers, last := 0, 0
		opts := Options{BatchSize: 16, TokensMax: tokens, OnProgress: func(done, total int) { layers, last = done, total }}
		gotBase, candidate, err := NewEvaluator(s, data, opts).Losses(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(gotBase, wantBase) || !reflect.DeepEqual(candidate, want) {
			t.Errorf("%d tokens at once: not the losses of the models held whole", tokens)
		}
		waves := map[int]int{0: 1, 1: 16, 16 * 40: 8, 1 << 20: 1}[tokens] // of 250 sequences, 16 to a batch
		if layers != last || last != 4*waves {
			t.Errorf("%d tokens at once: progress ends at %d of %d, want %d waves of 4 steps", tokens, layers, last, waves)
		}
	}
	alone, none, err := NewEvaluator(s, data, Options{TokensMax: 99}).Losses(ctx, nil)
	if err != nil || none != nil || !reflect.DeepEqual(alone, wantBase) {
		t.Errorf("the base alone: %v, %v", none, err)
	}
	c, err := NewEvaluator(s, data, Options{}).Compare(ctx, file, CompareOptions{Seed: 1, Resamples: 999})
	if err != nil {
		t.Fatal(err)
	}
	if v := Gate(c, 0.05); v.Outcome != Improves {
		t.Errorf("%v: %v", c, v)
	}
	if back, err := Compare(want, wantBase, CompareOptions{}); err != nil || Gate(back, 0).Outcome != Worse {
		t.Errorf("the base against the trained: %v %v", back, err)
	}
}

func TestCopyOfBase(t *testing.T) {
	m := newModel(t, "auto", 2)
	e := NewEvaluator(streamOf(t, m), shard(t, tokenize.PackTruncatePad, 250, 9), Options{})
	same := weightsOf(t, m, checkpoint.F32, experts)
	c, err := e.Compare(context.Background(), same, CompareOptions{Resamples: 99})
	if err != nil || !c.EqualWeights || !c.EqualLosses || Gate(c, 0).Outcome != Refused {
		t.Errorf("a copy: %+v: %v", c, err)
	}
	// One tensor that differs is enough, wherever it stands.
	for i := range same.Names() {
		tensors, err := checkpoint.Tensors(same)
		if err != nil {
			t.Fatal(err)
		}
		tensors[i].Read = func() ([]byte, error) { return make([]byte, 4*12*16), nil }
		changed, err := checkpoint.FromTensors(tensors)
		if err != nil {
			t.Fatal(err)
		}
		if _, l, err := e.Losses(context.Background(), changed); err != nil || l.CopyOfBase {
			t.Errorf("%s differs, and the update is called a copy: %v", tensors[i].Name, err)
		}
	}
	// The base rounded to what an update is stored in is trained as little as the base itself.
	for _, dtype := range []checkpoint.DType{checkpoint.F16, checkpoint.BF16} {
		c, err = e.Compare(context.Background(), weightsOf(t, m, dtype, experts), CompareOptions{Resamples: 99})
		if err != nil || !c.EqualWeights || c.EqualLosses || Gate(c, 0).Outcome != Refused {
			t.Errorf("the base as %s: %v, %v: %v", dtype, c, Gate(c, 0), err)
		}
	}
}

func TestUpdateErrors(t *testing.T) {
	m := newModel(t, "auto", 1)
	e := NewEvaluator(streamOf(t, m), shard(t, tokenize.PackTruncatePad, 9, 9), Options{})
	source := func(tensors ...checkpoint.Tensor) checkpoint.Source {
		src, err := checkpoint.FromTensors(tensors)
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	name := "model.layers.0.mlp.experts.0.up_proj.weight"
	good := checkpoint.Tensor{Name: "model.layers.0.mlp.experts.0.gate_proj.weight", DType: checkpoint.F32,
		Shape: []int{12, 16}, Data: make([]byte, 4*12*16)}
	nan := make([]byte, 4*12*16)
	for i := range nan {
		nan[i] = 0xff
	}
	for word, src := range map[string]checkpoint.Source{
		"no tensor": source(),
		"naming":    source(good, checkpoint.Tensor{Name: "x", DType: checkpoint.F32, Shape: []int{1}, Data: nan[:4]}),
		"shape": source(good, checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: []int{16, 12},
			Data: make([]byte, 4*12*16)}),
		"F64": source(good, checkpoint.Tensor{Name: name, DType: checkpoint.F64, Shape: []int{12, 16},
			Data: make([]byte, 8*12*16)}),
	} {
		if _, err := e.Compare(context.Background(), src, CompareOptions{}); err == nil ||
			!strings.Contains(err.Error(), word) {
			t.Errorf("error %v, want %q", err, word)
		}
	}
	bad := source(checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: []int{12, 16}, Data: nan})
	c, err := e.Compare(context.Background(), bad, CompareOptions{})
	if err != nil || c.NonFinite == 0 || Gate(c, 0).Outcome != Refused {
		t.Errorf("NaN weights: %+v: %v", c, err)
	}
	for word, d := range map[string]Data{"no sequence": noData{}, "sequences 0 to 8: batch 2: token 400": edited{
		shard(t, tokenize.PackTruncatePad, 9, 9), func(i int, s *tokenize.Sequence) {
			if i == 2 {
				s.Tokens[1] = 400
			}
		}}} {
		if _, _, err := NewEvaluator(streamOf(t, m), d, Options{}).Losses(context.Background(), nil); err == nil ||
			!strings.Contains(err.Error(), word) {
			t.Errorf("error %v, want %q", err, word)
		}
	}
}

// TestEvaluatorHoldsNoModel looks at the heap after each layer: it must have room for neither the
// base nor the candidate.
func TestEvaluatorHoldsNoModel(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector slows a model of this size")
	}
	cfg := newModel(t, "auto", 1).Config()
	cfg.NumHiddenLayers, cfg.HiddenSize, cfg.HeadDim, cfg.MoeIntermediateSize = 16, 128, 64, 128
	small, err := model.New(cfg, tensor.New(tensor.Plain(), 2), 1)
	if err != nil {
		t.Fatal(err)
	}
	weights := 0
	for _, p := range small.Params() {
		weights += 4 * p.Elements()
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	tensors, err := checkpoint.Tensors(weightsOf(t, small, checkpoint.F32, every))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.WriteFile(store.OS(), path, func(w io.Writer) error { return checkpoint.Write(w, tensors, nil) }); err != nil {
		t.Fatal(err)
	}
	file, update := openFile(t, path), writtenUpdate(t, small)
	small, tensors = nil, nil
	s, err := model.NewStream(cfg, file, tensor.New(tensor.Plain(), 2))
	if err != nil {
		t.Fatal(err)
	}
	before, most := heapBytes(), 0
	e := NewEvaluator(s, shard(t, tokenize.PackTruncatePad, 8, 9), Options{OnProgress: func(int, int) { most = max(most, heapBytes()) }})
	if _, _, err := e.Losses(context.Background(), update); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of weights, %d on the heap at most", weights, most-before)
	if most-before > weights/4 {
		t.Errorf("%d bytes on the heap for %d of weights", most-before, weights)
	}
}

// heapBytes is what is alive on the heap.
func heapBytes() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func openFile(t *testing.T, path string) *checkpoint.File {
	t.Helper()
	file, err := checkpoint.Open(store.OS(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}
