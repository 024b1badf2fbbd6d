package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"bzdata/train"
	"bzdata/train/model"
	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
)

// reserveBytes are left on a card for its context, kernels and the workspace of products, as in stages.
const reserveBytes = 1 << 30

var expertName = regexp.MustCompile(`\.mlp\.experts\.(\d+)\.`)

// trains chooses the experts of lite that are trained: the first of each layer.
func (c *check) trains(name string) bool {
	found := expertName.FindStringSubmatch(name)
	if found == nil {
		return false
	}
	expert, err := strconv.Atoi(found[1])
	return err == nil && expert < c.trained
}

// hostBytes is the host's memory that is free for weights.
func hostBytes() (int64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^MemAvailable: *(\d+) kB$`).FindSubmatch(data)
	if found == nil {
		return 0, errors.New("/proc/meminfo does not say what is available")
	}
	kilobytes, err := strconv.ParseInt(string(found[1]), 10, 64)
	return kilobytes << 10, err
}

// fit is the way to keep a job of lite in some of the card's memory, or in all that is free if that is 0.
func (c *check) fit(j job, cardBytes int64, asked tensor.Precision) (model.Fit, error) {
	if cardBytes > 0 {
		cardBytes -= c.slackBytes
	} else {
		d, err := cuda.New(cuda.Options{})
		if err != nil {
			return model.Fit{}, err
		}
		m, err := d.Memory()
		if err = cmp.Or(err, d.Close()); err != nil {
			return model.Fit{}, err
		}
		cardBytes = m.CardFree - reserveBytes
	}
	host, err := hostBytes()
	if err != nil {
		return model.Fit{}, err
	}
	return model.Fitting(c.lite, model.Job{Trains: c.trains, Sequences: j.sequences, Length: j.length}, asked, cardBytes, host)
}

// opened is lite on a card.
type opened struct {
	card  *cuda.Device
	timed *timed
	*model.Model
}

// openLite opens lite as a fit says, within a bound of memory unless that is 0.
func (c *check) openLite(fit model.Fit, bytesMax int64) (opened, error) {
	card, err := cuda.New(cuda.Options{Precision: fit.Precision, MemoryBytesMax: bytesMax})
	if err != nil {
		return opened{}, err
	}
	o := opened{card: card, timed: newTimed(card)}
	weights, err := newSource(c.lite, 1, nil)
	if err != nil {
		return o, cmp.Or(err, card.Close())
	}
	took, err := clock(func() error {
		o.Model, err = model.FromSource(c.lite, weights, fit.Hold, o.timed)
		return err
	})
	if err != nil {
		return o, cmp.Or(err, card.Close())
	}
	o.SetRecompute(fit.Recompute)
	o.SetTrainable(c.trains)
	c.note("weights made and loaded in %.1f s; %s", took, fit)
	return o, card.Err()
}

// plan24 trains lite as a card of 24 GB would, and without a bound.
func plan24(ctx context.Context, c *check) error {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(c.plan.time)
	}
	// What has no bound is faster: it gets a quarter of the time.
	want, err := c.follow(ctx, c.plan, 0, tensor.Half, time.Now().Add(time.Until(end)/4))
	if err != nil {
		return err
	}
	short := c.plan
	short.steps = len(want)
	got, err := c.follow(ctx, short, c.planBytes, "", end.Add(-time.Until(end)/10))
	if err != nil {
		return err
	}
	if len(got) < c.plan.steps {
		c.note("%d of %d steps were made in the time", len(got), c.plan.steps)
	}
	worst := 0.
	for i := range got {
		worst = max(worst, relative(got[i].LossNats, want[i].LossNats))
	}
	c.within(fmt.Sprintf("loss of each of %d steps, relative", len(got)), worst, c.bounds.plan)
	c.note("loss %.4f to %.4f nats, without a bound %.4f to %.4f", got[0].LossNats, got[len(got)-1].LossNats, want[0].LossNats,
		want[len(got)-1].LossNats)
	c.within("training: "+falls, fallen(got), 0.9999)
	return nil
}

// follow trains lite until its steps are made or the time is over.
func (c *check) follow(ctx context.Context, j job, bytesMax int64, asked tensor.Precision,
	end time.Time) ([]train.Metrics, error) {
	fit, err := c.fit(j, bytesMax, asked)
	if err != nil {
		return nil, err
	}
	o, err := c.openLite(fit, bytesMax)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("bound %.1f GB", float64(bytesMax)/1e9)
	hooks := train.Hooks{Stop: func() bool { return time.Now().After(end) }}
	var res train.Result
	took, err := clock(func() error {
		res, err = train.Run(ctx, o.Model, newCorpus(c.lite, 4096, j.length, 11), recipe(j.sequences, j.steps, c.liteRate), hooks)
		return err
	})
	memory, memoryErr := o.card.Memory()
	if err := cmp.Or(err, memoryErr, o.card.Close()); err != nil {
		return nil, err
	}
	if len(res.Metrics) == 0 {
		return nil, fmt.Errorf("%s: no step was made in the time", name)
	}
	c.figure(name+": time of a step", took/float64(len(res.Metrics)), seconds)
	c.figure(name+": peak memory in use", float64(memory.PeakUsed), size)
	if bytesMax > 0 {
		c.within(name+": peak memory", float64(memory.Peak), float64(bytesMax))
	}
	c.within(name+": peak memory in use", float64(memory.PeakUsed), 1.02*float64(fit.Card())+float64(c.slackBytes))
	return res.Metrics, nil
}

// evaluation judges a candidate, whose trained experts are others, against the base as validators do.
func evaluation(ctx context.Context, c *check) error {
	weights, err := newSource(c.lite, 1, nil)
	if err != nil {
		return err
	}
	base, err := hold(weights)
	if err != nil {
		return err
	}
	others, err := newSource(c.lite, 2, c.trains)
	if err != nil {
		return err
	}
	candidate, err := hold(others)
	if err != nil {
		return err
	}
	card, err := cuda.New(cuda.Options{Precision: tensor.Half})
	if err != nil {
		return err
	}
	defer card.Close()
	s, err := model.NewStream(c.lite, base, card)
	if err != nil {
		return err
	}
	return c.judge(ctx, s, candidate, card)
}

// judge measures the seeds one after the other.
func (c *check) judge(ctx context.Context, s *model.Stream, candidate *held, card *cuda.Device) error {
	total := 0.
	for seed := range c.judgedSeeds {
		var batches []model.Batch
		data := newCorpus(c.lite, c.judged, c.judgedLength, uint64(100+seed))
		for from := 0; from < c.judged; from += c.judgedBatch {
			batches = append(batches, data.batch(from, min(c.judgedBatch, c.judged-from)))
		}
		var first, second [][]float32
		took, err := clock(func() (err error) {
			first, second, err = s.Losses(ctx, batches, candidate)
			return err
		})
		if err != nil {
			return err
		}
		total += took
		c.note("seed %d: base %.4f, candidate %.4f nats, %.1f s", seed, mean(first), mean(second), took)
		c.within(fmt.Sprintf("seed %d: losses that are no number", seed), float64(bad(mean(first))+bad(mean(second))), 0)
	}
	memory, err := card.Memory()
	c.figure("evaluation, base and candidate", total, seconds)
	c.figure("evaluation, peak memory in use", float64(memory.PeakUsed), size)
	return err
}

// mean is that of the counted positions, whose loss is not 0.
func mean(losses [][]float32) float64 {
	sum, n := 0., 0
	for _, batch := range losses {
		for _, l := range batch {
			if sum += float64(l); l != 0 {
				n++
			}
		}
	}
	return sum / float64(n)
}

func bad(x float64) int {
	if x > 0 && x < 1e6 {
		return 0
	}
	return 1
}
