package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"bzdata/train"
	"bzdata/train/model"
	"bzdata/train/tensor/cuda"
)

// throughput trains lite at several lengths of sequences.
func throughput(ctx context.Context, c *check) error {
	card, err := cuda.Find(0)
	if err != nil {
		return err
	}
	for _, j := range c.throughput {
		if err := c.measure(ctx, j, card.Name); err != nil {
			return fmt.Errorf("sequences of %d: %w", j.length, err)
		}
	}
	return nil
}

// meter times steps: those after a warm-up first, then some more with each operation by itself.
type meter struct {
	opened
	warmup, timed         int
	end                   time.Time
	began                 time.Time
	took                  time.Duration
	steps, byOperation    int
	trained, trainedFirst float64 // rows that went to trained experts in the timed steps
	err                   error
}

// operationSteps are the steps in which each operation is waited for.
const operationSteps = 3

// onStep begins and ends the timed steps. A step's update may still be under way when the next one begins, so that the card is
// waited for at both ends only.
func (m *meter) onStep(s train.Metrics) {
	switch {
	case s.Step == m.warmup:
		m.err = m.card.Sync()
		m.began = time.Now()
	case s.Step < m.warmup:
	case m.took == 0:
		if m.steps++; m.steps == m.timed || time.Now().After(m.end) {
			m.err = cmp.Or(m.err, m.card.Sync())
			m.took = time.Since(m.began)
			m.opened.timed.on = true
		}
	default:
		m.byOperation++
	}
}

// onLoad counts the rows of trained experts.
func (m *meter) onLoad(trained int) func(step int, load []model.LayerCounts) {
	return func(step int, load []model.LayerCounts) {
		if step <= m.warmup || m.took > 0 {
			return
		}
		for i, layer := range load {
			for _, n := range layer.Experts[:trained] {
				m.trained += float64(n)
				if i == 0 {
					m.trainedFirst += float64(n)
				}
			}
		}
	}
}

func (c *check) measure(ctx context.Context, j job, card string) error {
	fit, err := c.fit(j, 0, "")
	if err != nil {
		return err
	}
	o, err := c.openLite(fit, 0)
	if err != nil {
		return err
	}
	m := &meter{opened: o, warmup: c.warmup, timed: c.timed, end: time.Now().Add(j.time)}
	hooks := train.Hooks{OnStep: m.onStep, OnLoad: m.onLoad(c.trained),
		Stop: func() bool { return m.byOperation == operationSteps }}
	recipe := recipe(j.sequences, c.warmup+c.timed+operationSteps, c.liteRate)
	res, err := train.Run(ctx, o.Model, newCorpus(c.lite, 4096, j.length, 13), recipe, hooks)
	memory, memoryErr := o.card.Memory()
	if err := cmp.Or(err, m.err, memoryErr, o.card.Close()); err != nil {
		return err
	}
	c.within(fmt.Sprintf("sequences of %d: %s", j.length, falls), fallen(res.Metrics), 1)
	c.tell(j, m, card)
	c.figure(fmt.Sprintf("training, sequences of %d: peak memory", j.length), float64(memory.Peak), size)
	return nil
}

// tell keeps what was measured.
func (c *check) tell(j job, m *meter, card string) {
	name := fmt.Sprintf("training, sequences of %d", j.length)
	step := m.took.Seconds() / float64(m.steps)
	rows := float64(j.sequences * j.length)
	c.figure(name+": speed", rows/step, rate)
	c.figure(name+": time of a step", step, seconds)
	flops := workOf(c.lite, j.length).step(rows, m.trained/float64(m.steps), m.trainedFirst/float64(m.steps))
	c.figure(name+": work of a step", flops/1e12, "TFLOP")
	c.figure(name+": rate", flops/step/1e12, "TFLOP/s")
	if peak := peakOf(card); peak > 0 {
		c.figure(name+": model FLOP utilisation", 100*flops/step/peak, "%")
	} else {
		c.note("%s: the peak of %s is not known, so there is no utilisation", name, card)
	}
	for _, o := range m.opened.timed.sorted() {
		c.note("%s: %s, %d times, %.2f ms of a step", name, o.name, o.calls/m.byOperation,
			1e3*o.took.Seconds()/float64(m.byOperation))
	}
}
