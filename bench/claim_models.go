package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"bzdata/pipeline/store"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// The batch of the claim about models, and how often it is run after a warm-up.
const (
	modelSequences = 4
	modelLength    = 256
	modelRepeats   = 8
)

const aboutModels = `Forward pass with loss, in single precision, of random models that "bzdata sample --model ARCH --size small"
writes: %d sequences of %d tokens, %d times after a warm-up, on all cores. transformers runs with its attention
by default (SDPA), without gradients, and runs experts in both ways that do not copy their weights for each
token. Reading the model is not in the
times, but in the peak memory.`

// modelArchitectures are those of the claim.
func modelArchitectures() []string { return []string{"deepseek_v2", "qwen3_moe"} }

// measureModels compares the forward passes of mixture-of-experts models.
func measureModels(ctx context.Context, b *bench) (*section, error) {
	s := &section{title: "Models on the CPU",
		about: []string{oneLine(fmt.Sprintf(aboutModels, modelSequences, modelLength, modelRepeats))}}
	for _, arch := range modelArchitectures() {
		if err := b.forwardPasses(ctx, s, arch); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (b *bench) forwardPasses(ctx context.Context, s *section, arch string) error {
	dir, err := b.sampleModel(ctx, arch)
	if err != nil {
		return err
	}
	ours := b.worker("bzdata", "model-forward", dir)
	ours.cores = allCores()
	cs := []*contender{ours}
	for _, experts := range []string{"eager", "grouped_mm"} {
		peer := b.python(ctx, "transformers, experts "+experts, "models", "torch_forward.py", dir,
			strconv.Itoa(modelSequences), strconv.Itoa(modelLength), strconv.Itoa(modelRepeats), experts, strconv.Itoa(allCores()))
		peer.cores = allCores()
		cs = append(cs, peer)
	}
	if err := alternate(ctx, b.progress, b.rounds, cs); err != nil {
		return err
	}
	s.groups = append(s.groups, group{fmt.Sprintf("%s, %d tokens (speeds are not stated; the wall time of the passes is):", arch,
		modelSequences*modelLength*modelRepeats), 0, cs})
	for _, peer := range cs[1:] {
		s.found = append(s.found,
			comparison{what: arch + ": wall time of the passes, " + peer.name, over: peer, under: ours, value: passesOf, bar: 1},
			comparison{what: arch + ": peak memory, " + peer.name, over: peer, under: ours, value: memoryOf, bar: 1})
	}
	s.noteSpeeds(arch, cs, modelRepeats, "mean loss")
	return nil
}

// noteSpeeds says how many tokens a second each contender made, in so many batches, and its loss.
func (s *section) noteSpeeds(model string, cs []*contender, batches float64, loss string) {
	for _, c := range cs {
		if len(c.runs) > 0 {
			passes := spreadOf(c.of(passesOf)).median
			s.notes = append(s.notes, fmt.Sprintf("%s, %s: %.0f tokens a second, %s %s nats", model, c.name,
				modelSequences*modelLength*batches/passes, loss, c.runs[0].said.Sum))
		}
	}
}

// sampleModel returns the folder of a small random model, made if need be.
func (b *bench) sampleModel(ctx context.Context, arch string) (string, error) {
	dir := filepath.Join(b.work, "models", arch+"-small")
	if _, err := os.Stat(filepath.Join(dir, model.ConfigFile)); err == nil {
		return dir, nil
	}
	out, err := exec.CommandContext(ctx, b.bzdata, "sample", dir, "--model", arch, "--size", "small", "--progress", "none").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("bzdata sample: %w: %s", err, out)
	}
	return dir, nil
}

func passesOf(s sample) float64 { return s.said.Walls["passes"] }
func memoryOf(s sample) float64 { return float64(s.rss) }

// forwardBzdata runs the batch through a model folder.
func forwardBzdata(args []string, s *said) error {
	kernels, err := tensor.Choose("auto")
	if err != nil {
		return err
	}
	m, err := model.Open(store.OS(), args[0], tensor.New(kernels, allCores()))
	if err != nil {
		return err
	}
	batch := modelBatch(m.Config().VocabSize)
	sum, tokens := 0.0, 0
	pass := func() error {
		var err error
		sum, tokens, err = m.Loss(context.Background(), batch, nil)
		return err
	}
	s.Version = "kernels " + kernels.Name()
	err = errors.Join(pass(), s.phase("passes", func() error {
		var errs []error
		for range modelRepeats {
			errs = append(errs, pass())
		}
		return errors.Join(errs...)
	}))
	s.Sum = fmt.Sprintf("%.4f", sum/float64(tokens))
	return err
}

// modelBatch is the tokens that torch_forward.py makes: a linear congruential sequence.
func modelBatch(vocab int) model.Batch {
	b := model.Batch{Sequences: modelSequences, Length: modelLength}
	x := uint32(1)
	for range modelSequences * modelLength {
		x = x*1664525 + 1013904223
		b.Tokens = append(b.Tokens, int32(x>>8)%int32(vocab))
	}
	for i := range b.Tokens {
		target := int32(-1)
		if i%modelLength < modelLength-1 {
			target = b.Tokens[i+1]
		}
		b.Targets = append(b.Targets, target)
	}
	return b
}
