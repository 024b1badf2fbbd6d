package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// unlimited is the time of what is to come to its end on a machine of any speed.
const unlimited = 24 * time.Hour

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
	s.plan, s.planBytes, s.slackBytes = job{1, 16, 3, unlimited}, 33<<20+150_000, 33<<20
	s.kernels = filepath.Join(os.Getenv("XDG_CACHE_HOME"), "bzdata", "cuda")
	s.throughput, s.warmup, s.timed = []job{{2, 16, 0, unlimited}}, 1, 2
	s.judged, s.judgedLength, s.judgedBatch, s.judgedSeeds = 3, 16, 2, 2
	// So small models are sensitive: see package device's tests.
	s.bounds.lossHalf, s.bounds.gradientHalf, s.bounds.routesHalf, s.bounds.training = 0.05, 0.5, 0.5, 0.05
	return s
}

// do runs parts into a file, and returns what was printed.
func do(t *testing.T, s sizes, path string, names ...string) (string, error) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the card's kernels on the processor")
	}
	var out bytes.Buffer
	err := run(context.Background(), &out, s, options{results: path, limit: unlimited}, names)
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
	for _, want := range []string{"bf16-adam8: ", "activations computed once more", "MB in the host's memory"} {
		if !strings.Contains(out, want) {
			t.Errorf("no part keeps its model so: %q", want)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err = do(t, tinySizes(), path, "all")
	if n := strings.Count(out, "and nothing has changed"); err != nil || n != len(parts()) {
		t.Errorf("%d parts are not run again: %v\n%s", n, err, out)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the results are others: %v", err)
	}
	compareWithPeer(t, path)
}

// compareWithPeer prints the results for a document, beside a peer's that is half as fast and takes twice the memory.
func compareWithPeer(t *testing.T, path string) {
	t.Helper()
	file, err := openResults(path)
	if err != nil {
		t.Fatal(err)
	}
	var figures []peerFigure
	for _, p := range file.Parts {
		for _, f := range p.Figures {
			switch f.Unit {
			case rate:
				figures = append(figures, peerFigure{f.What, "eager", float64(f.Value) / 2, f.Unit})
			case size, seconds:
				figures = append(figures, peerFigure{f.What, "eager", float64(f.Value) * 2, f.Unit})
			}
		}
	}
	data, err := json.Marshal(map[string]any{"versions": "torch 9", "figures": figures})
	if err != nil {
		t.Fatal(err)
	}
	peer := filepath.Join(t.TempDir(), "peer.json")
	if err := os.WriteFile(peer, data, 0o666); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(context.Background(), &out, tinySizes(), options{results: path, peer: peer, markdown: true}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Fake card 0; driver CUDA 12.9, NVRTC 12.9, cuBLASLt", "| kernels | passed |", "with eager, torch 9: 2.00 times as fast as the peer",
		"with eager, torch 9: 0.50 times the peer's", "with eager, torch 9: 2.00 times the peer's",
		"| throughput | training, sequences of 16: speed |", "- faults: without libnvrtc: ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// TestFailure holds that a result out of its bound fails its part, which is run again, and that another key runs it, too.
func TestFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	wrong := tinySizes()
	wrong.bounds.lossSingle = -1
	out, err := do(t, wrong, path, "model", "faults")
	if err == nil || err.Error() != "1 of 2 parts failed" {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"FAILED deepseek_v2, f32: loss, relative: ", ", more than -1", "\nmodel FAILED qwen3_moe, f32: loss"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if out, err = do(t, tinySizes(), path, "model", "faults"); err != nil || strings.Count(out, "nothing has changed") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	other := tinySizes()
	other.name = "other"
	if out, err = do(t, other, path, "faults"); err != nil || strings.Contains(out, "nothing has changed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDeadline holds that a part whose time is over fails and says why.
func TestDeadline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if testing.Short() {
		t.Skip("runs the processor's kernels once")
	}
	var out bytes.Buffer
	err := run(context.Background(), &out, tinySizes(), options{results: path, limit: time.Nanosecond}, []string{"kernels", "training"})
	if err == nil || !strings.Contains(out.String(), "training FAILED context deadline exceeded") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestArguments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	for names, want := range map[string]string{"": "name the parts to run, or all; see --list", "speed": `there is no part "speed"; see --list`} {
		if _, err := do(t, tinySizes(), path, strings.Fields(names)...); err == nil || err.Error() != want {
			t.Errorf("%q: %v", names, err)
		}
	}
	var out bytes.Buffer
	if err := run(context.Background(), &out, tinySizes(), options{list: true}, nil); err != nil || strings.Count(out.String(), "\n") != 8 {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := run(context.Background(), &out, tinySizes(), options{results: path, markdown: true}, nil); err == nil {
		t.Error("results that are not there are printed")
	}
}
