package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"bzdata/train"
	"bzdata/train/model"
	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
)

func everything(string) bool { return true }

// clock measures the seconds that something takes.
func clock(do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return time.Since(began).Seconds(), err
}

// random opens a model of random weights, the same on every device.
func random(cfg model.Config, d tensor.Device) (*model.Model, error) {
	weights, err := newSource(cfg, 1, nil)
	if err != nil {
		return nil, err
	}
	return model.FromSource(cfg, weights, model.Hold{}, d)
}

// models compares mixtures on the card with those on the processor.
func models(ctx context.Context, c *check) error {
	for _, m := range c.mixtures {
		host, err := processor()
		if err != nil {
			return err
		}
		want, err := c.pass(ctx, m.config, host)
		if err != nil {
			return err
		}
		c.note("%s: %.1f M weights, loss %.6f nats on the processor", m.name, float64(want.weights)/1e6, want.loss)
		for _, p := range []tensor.Precision{tensor.Single, tensor.Half} {
			if err := c.compareModel(ctx, m, p, want); err != nil {
				return fmt.Errorf("%s, %s: %w", m.name, p, err)
			}
		}
	}
	return nil
}

// passed is what a model has computed for a batch.
type passed struct {
	weights int
	loss    float64 // a token, in nats
	grads   map[string][]float32
	choices [][]int32 // by layer: each row's experts, sorted
}

// pass runs one batch forward and backward.
func (c *check) pass(ctx context.Context, cfg model.Config, d tensor.Device) (passed, error) {
	p := passed{grads: map[string][]float32{}}
	m, err := random(cfg, d)
	if err != nil {
		return p, err
	}
	m.SetTrainable(everything)
	b := newCorpus(cfg, c.sequences, c.length, 3).batch(0, c.sequences)
	k := cfg.NumExpertsPerTok
	err = m.Routes(ctx, b, func(r model.Route) {
		chosen := slices.Clone(r.Experts)
		for at := 0; at < len(chosen); at += k {
			slices.Sort(chosen[at : at+k])
		}
		p.choices = append(p.choices, chosen)
	})
	if err != nil {
		return p, err
	}
	sum, tokens, err := m.Backward(ctx, b, 1/float32(len(b.Tokens)))
	if err != nil {
		return p, err
	}
	p.loss = sum / float64(tokens)
	for _, w := range m.Params() {
		p.weights += w.Elements()
		p.grads[w.Name] = slices.Clone(w.Gradient())
	}
	return p, d.Err()
}

func (c *check) compareModel(ctx context.Context, m named, p tensor.Precision, want passed) error {
	card, err := cuda.New(cuda.Options{Precision: p})
	if err != nil {
		return err
	}
	defer card.Close()
	got, err := c.pass(ctx, m.config, card)
	if err != nil {
		return err
	}
	loss, gradient, routes := c.bounds.lossHalf, c.bounds.gradientHalf, c.bounds.routesHalf
	if p == tensor.Single {
		loss, gradient, routes = c.bounds.lossSingle, c.bounds.gradientSingle, c.bounds.routesSingle
	}
	name := fmt.Sprintf("%s, %s", m.name, p)
	c.within(name+": loss, relative", relative(got.loss, want.loss), loss)
	c.within(name+": gradient, distance of vectors", gradientApart(got, want), gradient)
	other, all := otherChoices(got, want, m.config.NumExpertsPerTok)
	c.note("%s: loss %.6f nats; the routers choose other experts in %d of %d cases", name, got.loss, other, all)
	c.within(name+": share of choices that differ", float64(other)/float64(max(1, all)), routes)
	return nil
}

// gradientApart is the distance of the whole gradients.
func gradientApart(got, want passed) float64 {
	size, off := 0., 0.
	for name, w := range want.grads {
		g := got.grads[name]
		for i := range w {
			d := float64(g[i]) - float64(w[i])
			size, off = size+float64(w[i])*float64(w[i]), off+d*d
		}
	}
	return math.Sqrt(off / size)
}

// otherChoices counts the rows, in all layers, that go to other experts.
func otherChoices(got, want passed, k int) (other, all int) {
	for l, w := range want.choices {
		for at := 0; at < len(w); at += k {
			all++
			if !slices.Equal(got.choices[l][at:at+k], w[at:at+k]) {
				other++
			}
		}
	}
	return other, all
}

// training trains the first mixture on the processor and, in each precision, on the card.
func training(ctx context.Context, c *check) error {
	m := c.mixtures[0]
	host, err := processor()
	if err != nil {
		return err
	}
	want, took, err := c.train(ctx, m.config, host)
	if err != nil {
		return err
	}
	first, last := want[0].LossNats, want[len(want)-1].LossNats
	c.note("%s on the processor: %.4f to %.4f nats in %d steps, %.0f s", m.name, first, last, len(want), took)
	c.within("on the processor: "+falls, fallen(want), 0.999)
	for _, p := range tensor.Precisions() {
		card, err := cuda.New(cuda.Options{Precision: p})
		if err != nil {
			return err
		}
		got, took, err := c.train(ctx, m.config, card)
		if closeErr := card.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		end := got[len(got)-1]
		c.note("%s on the card, %s: %.4f to %.4f nats, %.1f s", m.name, p, got[0].LossNats, end.LossNats, took)
		c.within(fmt.Sprintf("%s: loss at step %d, relative", p, end.Step), relative(end.LossNats, last), c.bounds.training)
		worst := 0.
		for i := range got {
			worst = max(worst, relative(got[i].LossNats, want[i].LossNats))
		}
		c.figure(fmt.Sprintf("%s: greatest relative difference of a step's loss", p), worst, "")
	}
	return nil
}

// fallen is the mean loss of the last quarter of steps as a part of that of the first: single steps have tokens of their own.
func fallen(steps []train.Metrics) float64 {
	n, first, last := (len(steps)+3)/4, 0., 0.
	for i := range n {
		first, last = first+steps[i].LossNats, last+steps[len(steps)-1-i].LossNats
	}
	return last / first
}

// train trains all weights of a model, and returns its steps and the seconds.
func (c *check) train(ctx context.Context, cfg model.Config, d tensor.Device) ([]train.Metrics, float64, error) {
	m, err := random(cfg, d)
	if err != nil {
		return nil, 0, err
	}
	m.SetTrainable(everything)
	rule := recipe(c.sequences, c.steps, c.rate)
	var res train.Result
	took, err := clock(func() error {
		res, err = train.Run(ctx, m, newCorpus(cfg, 4096, c.length, 7), rule, train.Hooks{})
		return err
	})
	return res.Metrics, took, err
}

// recipe is AdamW as networks have it, at a constant rate after a warm-up.
func recipe(sequences, steps int, rate float64) train.Config {
	cfg := train.DefaultConfig()
	cfg.BatchSize, cfg.AccumulationSteps, cfg.MaxSteps, cfg.Seed = sequences, 1, steps, 5
	cfg.LearningRate, cfg.Schedule, cfg.WarmupSteps = rate, train.Constant, min(5, steps-1)
	return cfg
}
