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
	// Balanced adds the routers' load-balancing loss.
	Balanced  bool
	Precision tensor.Precision
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
			dev.WeightOnHost(p.Elements())
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
	// A held-out loss has activations of its own, which stay.
	if _, _, err := m.Loss(context.Background(), b, nil); err != nil {
		return tensor.Usage{}, err
	}
	if job.Balanced {
		_, _, _, err = m.BackwardBalanced(context.Background(), b, 1, Balance{Scale: 1, Attended: make([]bool, b.positions())})
	} else {
		_, _, err = m.Backward(context.Background(), b, 1)
	}
	return dev.Usage(), err
}

// Fit is a way to keep a job in memory.
type Fit struct {
	Job
	tensor.Usage
}

// String is one line for people.
func (f Fit) String() string {
	line := fmt.Sprintf("%s: %s on the card (weights %s, masters %s, gradients %s, moments %s, activations %s)", f.Precision,
		gb(f.Card()), gb(f.Weights), gb(f.Masters), gb(f.Gradients), gb(f.Moments), gb(f.Activations))
	if f.Recompute {
		line += ", activations computed once more"
	}
	if f.Host() > 0 {
		line += fmt.Sprintf(", %s in the host's memory (weights %s, moments %s)", gb(f.Host()), gb(f.WeightsHost),
			gb(f.MomentsHost))
	}
	return line
}

func gb(bytes int64) string {
	if bytes < 1e8 {
		return fmt.Sprintf("%.2f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(bytes)/1e9)
}

// FitError says that no way to keep a job fits.
type FitError struct {
	Least                Fit // on the card
	CardBytes, HostBytes int64
}

// Error implements error.
func (e *FitError) Error() string {
	return fmt.Sprintf("the job takes more than the %s that the card has free, or than the %s of the host; the least is %s; "+
		"use fewer trainable tensors, shorter sequences or a smaller batch", gb(e.CardBytes), gb(e.HostBytes), e.Least)
}

// Fitting returns the first way to keep a job that takes no more memory than there is. The ways are tried from the
// fastest and most exact on: moments in F32 before moments of 8 bits, and those before moments in the host's memory;
// each as it is, then with layers computed once more in the backward pass; and all of that again with the layers'
// weights in the host's memory. precision restricts them unless it is "".
func Fitting(cfg Config, job Job, precision tensor.Precision, cardBytes, hostBytes int64) (Fit, error) {
	precisions := []tensor.Precision{tensor.Half, tensor.HalfAdam8, tensor.HalfHost}
	if precision != "" {
		precisions = []tensor.Precision{precision}
	}
	var least Fit
	for _, job.LayersOnHost = range []bool{false, true} {
		for _, job.Precision = range precisions {
			for _, job.Recompute = range []bool{false, true} {
				use, err := Footprint(cfg, job)
				if err != nil {
					return Fit{}, err
				}
				f := Fit{job, use}
				if use.Card() <= cardBytes && use.Host() <= hostBytes {
					return f, nil
				}
				if least.Card() == 0 || use.Card() < least.Card() {
					least = f
				}
			}
		}
	}
	return Fit{}, &FitError{least, cardBytes, hostBytes}
}
