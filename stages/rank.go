package stages

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

const (
	// rankWithin is how long the user's own software has to tell the rank, from the beginning of the proof
	// of loss: as long as a program takes that connects to a chain first.
	rankWithin = 30 * time.Second
	// rankShare of what is left of a window is the most that it has there. The losses are measured meanwhile,
	// and training has left three times what they seem to take.
	rankShare = 4
)

// askRank begins to ask for the miner's rank, if there is someone to ask; rank, which is 0 for none, waits for the
// answer or reads the plan's file. stop ends the asking.
func askRank(ctx context.Context, t *pipeline.Task) (rank func() (int, error), stop context.CancelFunc) {
	if t.Rank == nil {
		return func() (int, error) { return readRank(t) }, func() {}
	}
	within := rankWithin
	if w := t.Plan.Window; w != nil {
		within = min(within, w.Left()/rankShare)
	}
	ctx, stop = context.WithTimeout(ctx, within)
	type answer struct {
		rank int
		err  error
	}
	come := make(chan answer, 1)
	go func() {
		n, err := t.Rank(ctx)
		come <- answer{n, err}
	}()
	return func() (int, error) { a := <-come; return a.rank, a.err }, stop
}

// readRank reads the rank that the user's own software has written to a file; 0 is none.
func readRank(t *pipeline.Task) (int, error) {
	name := string(t.Plan.Metrics.RankFile)
	if name == "" {
		return 0, nil
	}
	data, err := store.ReadAll(t.Inputs, t.Plan.Path(name))
	if err != nil {
		return 0, fmt.Errorf("rank_file: %w", err)
	}
	rank, err := ParseRank(data)
	if err != nil {
		return 0, fmt.Errorf("rank_file: %s %w", name, err)
	}
	return rank, nil
}

// ParseRank reads a rank, a whole number from 1 with blanks around it.
func ParseRank(text []byte) (int, error) {
	rank, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || rank < 1 {
		return 0, fmt.Errorf("holds no rank, but %.40q; write a number such as 3", text)
	}
	return rank, nil
}
