package model

import (
	"context"
	"fmt"

	"bzdata/train/tensor"
)

// Job is what a model is to be trained with, as far as memory goes.
type Job struct {
	Hold
	// Trains says which weights are trained; nil trains none and counts a forward pass.
	Trains func(name string) bool
	// Sequences and Length are a batch's shape.
	Sequences, Length int
	Precision         tensor.Precision
	// Recompute is as in [Model.SetRecompute].
	Recompute bool
}

// Footprint returns the memory of a job on a card. It runs one training step on a device that only counts, so that it is
// what the program takes and no formula.
func Footprint(cfg Config, job Job) (tensor.Usage, error) {
	dev := tensor.NewCounter(job.Precision)
	m, err := build(cfg, dev, job.Own)
	if err != nil {
		return tensor.Usage{}, err
	}
	for _, p := range m.params {
		if job.LayersOnHost && m.onHost(p) && (job.Trains == nil || !job.Trains(p.Name)) {
			p.home = &stored{}
		} else {
			p.w.Data = dev.Weight(p.Elements())
		}
	}
	if job.Length < 1 || job.Sequences < 1 {
		return tensor.Usage{}, fmt.Errorf("a batch of %d sequences of %d tokens", job.Sequences, job.Length)
	}
	b := Batch{Sequences: job.Sequences, Length: job.Length}
	b.Tokens, b.Targets = make([]int32, b.positions()), make([]int32, b.positions())
	if job.Trains == nil {
		_, _, err = m.Loss(context.Background(), b, nil)
		return dev.Usage(), err
	}
	m.SetRecompute(job.Recompute)
	if m.SetTrainable(job.Trains) == 0 {
		return tensor.Usage{}, fmt.Errorf("no tensor of the model is trainable")
	}
	for _, p := range m.params {
		if p.Trains() {
			dev.Moments(p.Elements())
		}
	}
	_, _, err = m.Backward(context.Background(), b, 1)
	return dev.Usage(), err
}
