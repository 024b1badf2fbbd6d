package cli

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"bzdata/pipeline"
)

// clock knows when the window closes.
type clock struct {
	at  atomic.Int64 // the deadline, in Unix nanoseconds
	now func() time.Time
}

func (c *clock) deadline() time.Time { return time.Unix(0, c.at.Load()) }

// phaseEvery is how often the phase command is asked.
const phaseEvery = 10 * time.Second

// clock reads the deadline from the flags, which may count from now.
func (f *cycleFlags) clock(ctx context.Context, now func() time.Time) (*clock, error) {
	c := &clock{now: now}
	switch {
	case f.deadline != "":
		at, err := time.Parse(time.RFC3339, f.deadline)
		if err != nil {
			return nil, &flagError{fmt.Errorf("--deadline %s: want a time such as 2026-01-31T12:00:00Z", f.deadline)}
		}
		c.at.Store(at.UnixNano())
		return c, nil
	case f.blocksLeft > 0:
		c.at.Store(c.now().Add(time.Duration(f.blocksLeft) * f.block).UnixNano())
		return c, nil
	}
	return c, f.askPhase(ctx, c)
}

// follow corrects the deadline by the phase command, if there is one, until ctx ends.
func (f *cycleFlags) follow(ctx context.Context, env *environment, c *clock) {
	if f.phase == "" {
		return
	}
	go func() {
		every := time.NewTicker(phaseEvery)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
				if err := f.askPhase(ctx, c); err != nil && ctx.Err() == nil {
					fmt.Fprintf(env.stderr, "%v; the deadline stays %s\n", err, c.deadline().Format(time.RFC3339))
				}
			}
		}
	}()
}

// askPhase asks the command how many blocks are left.
func (f *cycleFlags) askPhase(ctx context.Context, c *clock) error {
	asked := c.now() // the answer may have been true from then on
	out, err := ask(ctx, "--phase-command", f.phase, askedWithin)
	if err != nil {
		return err
	}
	blocks, err := strconv.ParseInt(string(bytes.TrimSpace(out)), 10, 32)
	if err != nil || blocks < 0 {
		return fmt.Errorf("--phase-command %s: it prints %.40q; want the number of blocks that are left", f.phase, out)
	}
	c.at.Store(asked.Add(time.Duration(blocks) * f.block).UnixNano())
	return nil
}

// within is ctx until the deadline, when it ends with a [pipeline.LateError].
func (c *clock) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			left := c.deadline().Sub(c.now())
			if left <= 0 {
				cancel(&pipeline.LateError{Msg: "too late: the deadline came before the bundle was written"})
				return
			}
			timer := time.NewTimer(min(left, time.Second)) // the deadline may move
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
