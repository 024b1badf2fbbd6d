package sample

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// The base model's size and training.
const (
	vocabSize      = 2048
	sequenceLength = 320 // tokens
	tokenizerBytes = 2 << 20
	endOfText      = "<|endoftext|>"
	padding        = "<pad>"
	batchSize      = 4 // sequences
	stepsMax       = 600
	plateauSteps   = 50
	plateauNats    = 0.01
)

// baseModel says what came out of making the base model.
type baseModel struct {
	parameters, steps int
	loss              float64 // nats for each token, mean of the last plateauSteps steps
	groups            []checkpoint.Assignment
}

// baseFiles writes base/: a tokenizer and a small mixture-of-experts model, trained on
// text in general, in which there are no problems. Training ends when the mean loss of
// the last plateauSteps steps is less than plateauNats below that of the plateauSteps
// before, or after steps steps, over which the learning rate falls along a cosine.
func (w *writer) baseFiles(ctx context.Context, opt Options, steps int) (*baseModel, error) {
	kernels, err := tensor.Choose(opt.kernels())
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.dir, baseDir)
	if err := w.fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	tok, err := w.tokenizer(ctx, dir)
	if err != nil {
		return nil, err
	}
	data, err := w.generalTokens(ctx, tok, steps*batchSize)
	if err != nil {
		return nil, err
	}
	m, err := model.New(baseConfig(tok), tensor.New(kernels, opt.Workers), opt.Seed)
	if err != nil {
		return nil, err
	}
	base := &baseModel{}
	for _, p := range m.Params() {
		base.parameters += p.Elements()
	}
	if err := base.train(ctx, m, data, opt, steps); err != nil {
		return nil, err
	}
	if base.groups, err = w.chooseGroups(ctx, m, tok); err != nil {
		return nil, err
	}
	return base, w.weights(dir, m)
}

// baseConfig is the model's shape: 4 layers, the first dense, the others of 8 routed
// experts, 2 for each token, and a shared one.
func baseConfig(tok *tokenize.Tokenizer) model.Config {
	end, _ := tok.EOS()
	pad, _ := tok.Pad()
	return model.Config{ModelType: "bz_moe", HiddenSize: 96, NumHiddenLayers: 4, NumAttentionHeads: 4,
		NumKeyValueHeads: 2, HeadDim: 24, VocabSize: tok.VocabSize(), IntermediateSize: 256, FirstKDenseReplace: 1,
		MoeIntermediateSize: 64, NRoutedExperts: expertsOfLayer, NSharedExperts: 1, NumExpertsPerTok: 2,
		NormTopkProb: true, RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000, InitializerRange: 0.08,
		MaxPositionEmbeddings: sequenceLength, EOSTokenID: &end, PadTokenID: &pad, TorchDtype: "float32"}
}

// tokenizer trains the tokenizer on general text with one problem to four other texts.
func (w *writer) tokenizer(ctx context.Context, dir string) (*tokenize.Tokenizer, error) {
	m := newMaker(w.c)
	docs := func(yield func(string) bool) {
		var buf []byte
		for i, bytes := int64(0), 0; bytes < tokenizerBytes && ctx.Err() == nil; i++ {
			if buf = buf[:0]; i%5 == 4 {
				m.problem(streamGeneral, i)
				buf = append(append(append(buf, m.row.question...), '\n'), m.row.answer...)
			} else {
				buf = m.general(buf, i)
			}
			if bytes += len(buf); !yield(string(buf)) {
				return
			}
		}
	}
	tok, err := tokenize.Train(docs, tokenize.TrainOptions{VocabSize: vocabSize, Special: []string{endOfText, padding}})
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return tok, store.WriteFile(w.fsys, filepath.Join(dir, "tokenizer.json"), tok.WriteJSON)
}

// sequences are training sequences in memory.
type sequences [][]int32

// Sequences is their number.
func (s sequences) Sequences() int { return len(s) }

// Sequence reads sequence i: every token but the first is a target.
func (s sequences) Sequence(i int, dst *tokenize.Sequence) error {
	dst.Tokens = append(dst.Tokens[:0], s[i]...)
	dst.Target, dst.Segments = dst.Target[:0], dst.Segments[:0]
	for k := range s[i] {
		dst.Target = append(dst.Target, k > 0)
	}
	return nil
}

// generalTokens packs general text into n sequences.
func (w *writer) generalTokens(ctx context.Context, tok *tokenize.Tokenizer, n int) (sequences, error) {
	m := newMaker(w.c)
	end, _ := tok.EOS()
	var out sequences
	var text []byte
	var ids []int32
	for i := int64(0); len(out) < n; i++ {
		text = m.general(text[:0], i)
		ids = append(tok.EncodeBytes(ids, text), end)
		for len(ids) >= sequenceLength {
			out = append(out, append([]int32(nil), ids[:sequenceLength]...))
			ids = append(ids[:0], ids[sequenceLength:]...)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return out, nil
}

// train trains all weights up to the plateau.
func (b *baseModel) train(ctx context.Context, m *model.Model, data train.Data, opt Options,
	steps int) error {
	m.SetTrainable(func(string) bool { return true })
	cfg := train.DefaultConfig()
	cfg.Seed, cfg.MaxSteps, cfg.WarmupSteps = opt.Seed, steps, steps/20
	cfg.BatchSize, cfg.AccumulationSteps, cfg.LearningRate = batchSize, 1, 6e-3
	var losses []float64
	mean := func(from, to int) float64 {
		sum := 0.0
		for _, l := range losses[from:to] {
			sum += l
		}
		return sum / float64(to-from)
	}
	res, err := train.Run(ctx, m, data, cfg, train.Hooks{
		OnStep: func(s train.Metrics) {
			losses = append(losses, s.LossNats)
			opt.progress("base model", float64(s.Step), float64(steps))
		},
		Stop: func() bool {
			n := len(losses)
			return n >= 2*plateauSteps && mean(n-2*plateauSteps, n-plateauSteps)-mean(n-plateauSteps, n) < plateauNats
		},
	})
	if err != nil {
		return fmt.Errorf("training the base model: %w", err)
	}
	b.steps, b.loss = res.Steps, mean(max(0, len(losses)-plateauSteps), len(losses))
	return nil
}

// weights writes config.json and model.safetensors.
func (w *writer) weights(dir string, m *model.Model) error {
	config, err := json.MarshalIndent(m.Config(), "", "  ")
	if err != nil {
		return err
	}
	if err := store.WriteBytes(w.fsys, filepath.Join(dir, model.ConfigFile), append(config, '\n')); err != nil {
		return err
	}
	var tensors []checkpoint.Tensor
	for _, p := range m.Params() {
		t, err := checkpoint.NewTensor(p.Name, checkpoint.F32, p.Shape, p.Values())
		if err != nil {
			return err
		}
		tensors = append(tensors, t)
	}
	return store.WriteFile(w.fsys, filepath.Join(dir, "model.safetensors"), func(out io.Writer) error {
		return checkpoint.Write(out, tensors, map[string]string{"format": "pt"})
	})
}
