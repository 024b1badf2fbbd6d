package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// trainSteps are the optimizer steps that are timed, after trainWarmup others.
const (
	trainSteps  = 8
	trainWarmup = 3
)

const aboutTrain = `Optimizer steps in single precision on all cores: forward, backward, clipping to norm 1 and AdamW, %d
sequences of %d tokens a step, %d steps after %d others, which also compile. moe-19m is a model of 4 layers of width 256, 8 experts
with 2 for each token and a shared one, vocabulary 8192; deepseek_v2 is what "bzdata sample --model deepseek_v2 --size small" writes.
PyTorch runs transformers (moe-19m: the plain PyTorch of torch_train.py), with the fused AdamW, eager and compiled, and
experts by index (eager) or by grouped matrix products (grouped_mm). All train every weight; the last contender trains 2 experts of
each layer only. Reading the model is not in the times, but in the peak memory.`

// measureTrain compares training steps.
func measureTrain(ctx context.Context, b *bench) (*section, error) {
	s := &section{title: "Training on the CPU",
		about: []string{oneLine(fmt.Sprintf(aboutTrain, modelSequences, modelLength, trainSteps, trainWarmup))}}
	for _, name := range []string{"moe-19m", "deepseek_v2"} {
		if err := b.trainingSteps(ctx, s, name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// trainedModel returns the folder of a model, made if need be.
func (b *bench) trainedModel(ctx context.Context, name string) (string, error) {
	if name != "moe-19m" {
		return b.sampleModel(ctx, name)
	}
	dir := filepath.Join(b.work, "models", name)
	if _, err := os.Stat(filepath.Join(dir, model.ConfigFile)); err == nil {
		return dir, nil
	}
	return dir, writeModel(dir, model.Config{
		ModelType: "bz_moe", HiddenSize: 256, NumHiddenLayers: 4, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 64,
		NRoutedExperts: 8, NumExpertsPerTok: 2, NSharedExperts: 1, MoeIntermediateSize: 512, NormTopkProb: true, VocabSize: 8192,
		RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000, InitializerRange: 0.02, MaxPositionEmbeddings: modelLength,
	})
}

// writeModel writes a folder with random weights.
func writeModel(dir string, cfg model.Config) error {
	m, err := model.New(cfg, tensor.New(tensor.Plain(), 1), 1)
	if err != nil {
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
	config, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	return errors.Join(checkpoint.Write(f, tensors, nil), f.Close(), os.WriteFile(filepath.Join(dir, model.ConfigFile), config, 0o666))
}

func (b *bench) trainingSteps(ctx context.Context, s *section, name string) error {
	dir, err := b.trainedModel(ctx, name)
	if err != nil {
		return err
	}
	ours := b.worker("bzdata", "train-steps", dir, "all")
	subset := b.worker("bzdata, 2 experts a layer", "train-steps", dir, "experts")
	cs := []*contender{ours, subset}
	for _, way := range []string{"eager", "grouped_mm", "compiled"} {
		cs = append(cs, b.python(ctx, "PyTorch, "+way, "models", "torch_train.py", dir, strconv.Itoa(modelSequences),
			strconv.Itoa(modelLength), strconv.Itoa(trainWarmup), strconv.Itoa(trainSteps), way, strconv.Itoa(allCores())))
	}
	for _, c := range cs {
		c.cores = allCores()
	}
	if err := alternate(ctx, b.progress, b.rounds, cs); err != nil {
		return err
	}
	s.groups = append(s.groups, group{fmt.Sprintf("%s, %d tokens:", name, modelSequences*modelLength*trainSteps), 0, cs})
	for _, peer := range cs[2:] {
		s.found = append(s.found,
			comparison{what: name + ": wall time of the steps, " + peer.name, over: peer, under: ours, value: passesOf, bar: 1},
			comparison{what: name + ": peak memory, " + peer.name, over: peer, under: ours, value: memoryOf, bar: 1 / 0.6})
	}
	s.found = append(s.found, comparison{what: name + ": wall time of the steps, all weights over 2 experts a layer", over: ours,
		under: subset, value: passesOf, bar: 1.3})
	s.noteSpeeds(name, cs, trainSteps, "loss of the last step")
	return nil
}

// trainBzdata makes the steps by the loop that plans use.
func trainBzdata(args []string, s *said) error {
	kernels, err := tensor.Choose("auto")
	if err != nil {
		return err
	}
	m, err := model.Open(store.OS(), args[0], tensor.New(kernels, allCores()))
	if err != nil {
		return err
	}
	two := regexp.MustCompile(`\.experts\.[01]\.`)
	m.SetTrainable(func(name string) bool { return args[1] == "all" || two.MatchString(name) })
	cfg := train.DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps = modelSequences, 1, trainWarmup+trainSteps
	cfg.LearningRate, cfg.Schedule = 1e-3, train.Constant
	s.Version = "kernels " + kernels.Name()
	var begin func()
	hooks := train.Hooks{OnStep: func(m train.Metrics) {
		if s.Sum = fmt.Sprintf("%.4f", m.LossNats); m.Step == trainWarmup {
			begin()
		}
	}}
	return s.phaseFrom("passes", func(now func()) error {
		begin = now
		_, err := train.Run(context.Background(), m, newBatchData(m.Config().VocabSize), cfg, hooks)
		return err
	})
}

// batchData is the sequences of [modelBatch]: each step has all of them.
type batchData struct{ tokens []int32 }

func newBatchData(vocab int) batchData { return batchData{modelBatch(vocab).Tokens} }

func (batchData) Sequences() int { return modelSequences }

func (d batchData) Sequence(i int, dst *tokenize.Sequence) error {
	*dst = tokenize.Sequence{Tokens: slices.Clone(d.tokens[i*modelLength : (i+1)*modelLength]), Target: make([]bool, modelLength),
		Segments: []tokenize.Segment{{Document: tokenize.DocumentInfo{ID: strconv.Itoa(i)}, End: modelLength}}}
	for t := 1; t < modelLength; t++ {
		dst.Target[t] = true
	}
	return nil
}
