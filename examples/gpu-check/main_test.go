package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bzdata/train/tensor/cuda"
	"bzdata/train/tensor/cuda/cudatest"
)

// TestMain builds the libraries that stand in for a card's: the parts run on them.
func TestMain(m *testing.M) { os.Exit(withCard(m.Run)) }

func withCard(run func() int) int {
	dir, err := cudatest.Build("../../train/tensor/cuda/fake")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(cuda.PathVariable, dir)
	os.Setenv("XDG_CACHE_HOME", cudatest.Kernels(dir))
	return run()
}

// tinySizes are for a card that the processor stands in for.
func tinySizes() sizes {
	s := fullSizes()
	s.name, s.shapes = "tiny", oddShapes()[:2]
	for i := range s.mixtures {
		cfg := &s.mixtures[i].config
		cfg.HiddenSize, cfg.NumHiddenLayers, cfg.NumAttentionHeads, cfg.NumKeyValueHeads = 32, 2, 2, 2
		cfg.VocabSize, cfg.IntermediateSize, cfg.MoeIntermediateSize, cfg.NRoutedExperts, cfg.NumExpertsPerTok = 64, 48, 16, 4, 2
		cfg.InitializerRange = 0.1
	}
	latent := &s.mixtures[0].config
	latent.KVLoraRank, latent.QKNopeHeadDim, latent.QKRopeHeadDim, latent.VHeadDim = 16, 16, 8, 16
	s.mixtures[1].config.HeadDim = 16
	s.lite = *latent
	s.lite.NumHiddenLayers = 3
	s.trained, s.sequences, s.length, s.steps, s.rate, s.liteRate = 2, 2, 16, 3, 1e-2, 0.1
	s.plan, s.planBytes, s.slackBytes = job{1, 16, 3, time.Minute}, 33<<20+400_000, 33<<20
	s.kernels = filepath.Join(os.Getenv("XDG_CACHE_HOME"), "bzdata", "cuda")
	s.throughput, s.warmup, s.timed = []job{{2, 16, 0, time.Minute}}, 1, 2
	s.judged, s.judgedLength, s.judgedBatch, s.judgedSeeds = 3, 16, 2, 2
	// So small models are sensitive: see package device's tests.
	s.bounds.lossHalf, s.bounds.gradientHalf, s.bounds.routesHalf, s.bounds.training = 0.05, 0.5, 0.5, 0.05
	return s
}

// do runs parts into a file, and returns what was printed.
func do(t *testing.T, s sizes, path string, names ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(context.Background(), &out, s, options{results: path, limit: 5 * time.Minute}, names)
	return out.String(), err
}

// TestParts runs every part, and then none again.
func TestParts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	out, err := do(t, tinySizes(), path, "all")
	t.Log(out)
	if err != nil {
		t.Fatal(err)
	}
	file, err := openResults(path)
	if err != nil || len(file.Parts) != len(parts()) {
		t.Fatalf("%d results: %v", len(file.Parts), err)
	}
	for _, p := range file.Parts {
		if !p.Passed || len(p.Bounds) == 0 || p.Error != "" {
			t.Errorf("%s: %+v", p.Part, p)
		}
	}
}
