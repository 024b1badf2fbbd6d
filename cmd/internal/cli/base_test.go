package cli

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"

	"github.com/rogpeppe/go-internal/testscript"
)

func scriptBase(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: base DIR")
	}
	ts.Check(writeBase(ts.MkAbs(args[0])))
}

// writeBase writes a base model of random weights, small enough to train in a second.
func writeBase(dir string) error {
	tok, err := tokenize.Train(slices.Values(strings.SplitAfter(corpus(), "\n")[:50]),
		tokenize.TrainOptions{VocabSize: 320, Special: []string{"<|endoftext|>", "<pad>"}})
	if err != nil {
		return err
	}
	cfg := model.Config{ModelType: "bz_moe", HiddenSize: 16, NumHiddenLayers: 2, NumAttentionHeads: 2,
		NumKeyValueHeads: 1, HeadDim: 8, VocabSize: tok.VocabSize(), IntermediateSize: 32, FirstKDenseReplace: 1,
		MoeIntermediateSize: 16, NRoutedExperts: 4, NSharedExperts: 1, NumExpertsPerTok: 2, NormTopkProb: true,
		RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 10000, MaxPositionEmbeddings: 256,
		TorchDtype: "float32"}
	m, err := model.New(cfg, tensor.New(tensor.Plain(), 1), 3)
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
	config, err := json.Marshal(m.Config())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{
		"config.json":       func(w io.Writer) error { _, err := w.Write(config); return err },
		"tokenizer.json":    tok.WriteJSON,
		"model.safetensors": func(w io.Writer) error { return checkpoint.Write(w, tensors, nil) },
	} {
		if err := store.WriteFile(store.OS(), filepath.Join(dir, name), write); err != nil {
			return err
		}
	}
	return nil
}
